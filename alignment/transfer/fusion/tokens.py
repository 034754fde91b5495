"""The frozen vision encoder: images to a [CLS] vector and a grid of patch tokens, computed once.

A transformer's patch tokens and [CLS] are those of its last layer that has both; of a convolutional network the last
map with more than one place is taken, each place a token, and their mean stands in for [CLS].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alignment._validation import check_choice, check_integer
from alignment.models._probe import Call, choose, fold, hooked, probe
from alignment.models.weights import network_of
from alignment.transfer.device import resolve_device
from alignment.transfer.domains import Domain
from alignment.transfer.evaluation import to_float
from neural_alignment import DataError, InputError

__all__ = ["Tokens", "extract_tokens"]

_OWNER = "extract_tokens"
_DTYPES: dict[str, Any] = {"float16": np.float16, "float32": np.float32}


@dataclass(frozen=True)
class Tokens:
    """What a frozen vision encoder makes of images.

    Attributes
    ----------
    cls : (image, feature) float16 or float32 array
        The [CLS] token, or the mean of the patch tokens of a network without one.
    patches : (image, token, feature) array of the same type
        Patch tokens, rows of the grid one after the other.
    grid : (int, int)
        Rows and columns of the tokens.
    has_cls : bool
        Whether ``cls`` is the network's own.
    layer : str
        Where in the network they were read.
    """

    cls: npt.NDArray[Any]
    patches: npt.NDArray[Any]
    grid: tuple[int, int]
    has_cls: bool
    layer: str

    def __post_init__(self) -> None:
        shapes = f"[CLS] {self.cls.shape} and patches {self.patches.shape}"
        if self.patches.ndim != 3 or self.cls.shape != (len(self.patches), self.patches.shape[2]):
            raise DataError(f"Tokens need (image, feature) and (image, token, feature) arrays. Got {shapes}.")
        if self.grid[0] * self.grid[1] != self.patches.shape[1]:
            raise DataError(f"A grid of {self.grid} tokens does not hold {self.patches.shape[1]} of them.")

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def features(self) -> int:
        """Length of one token."""
        return int(self.patches.shape[2])

    def take(self, positions: npt.NDArray[np.int64]) -> Tokens:
        """Return the tokens of the images at ``positions``."""
        return Tokens(self.cls[positions], self.patches[positions], self.grid, self.has_cls, self.layer)

    def pooled(self) -> Tokens:
        """Return the mean of each image's patch tokens as its only one, in float32."""
        mean = self.patches.mean(axis=1, dtype=np.float32, keepdims=True)
        return Tokens(self.cls, mean, (1, 1), self.has_cls, self.layer)

    def to_parts(self) -> dict[str, Any]:
        """Return arrays and plain data, for a store."""
        told = {"grid": list(self.grid), "has_cls": self.has_cls, "layer": self.layer}
        return {"cls": self.cls, "patches": self.patches, "told": told}

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any]) -> Tokens:
        """Return the tokens that :meth:`to_parts` gave."""
        told = parts["told"]
        rows, columns = told["grid"]
        return cls(parts["cls"], parts["patches"], (int(rows), int(columns)), bool(told["has_cls"]), str(told["layer"]))


def extract_tokens(
    model: nn.Module,
    images: npt.NDArray[np.uint8] | Domain,
    *,
    layer: str = "auto",
    grid: tuple[int, int] | None = None,
    dtype: str = "float16",
    batch_size: int = 256,
    device: str | torch.device = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> Tokens:
    """Run a frozen network on images and keep its [CLS] and patch tokens.

    Parameters
    ----------
    model : nn.Module
        Any network of :func:`alignment.models.create_model` (a ViT, DINOv2 by ``timm:vit_small_patch14_dinov2`` with
        a file of weights, a CNN), with or without a layer in front. Takes (n, 3, y, x) in [0, 1].
    images : (n, 3, y, x) uint8 array or Domain
        The images, at the size that the network takes.
    layer : str, optional
        The module to read; ``"auto"``: the last whose output has more than one place.
    grid : (int, int), optional
        Average the tokens over areas to a coarser grid.
    dtype : {"float16", "float32"}, optional
        How they are kept.
    batch_size : int, optional
        Images a pass.
    device : str, optional
        Where to run; on CUDA under bfloat16 autocast where the GPU has it.
    progress : callable, optional
        ``progress(done, total, text)`` after every batch.

    Returns
    -------
    Tokens

    Raises
    ------
    InputError
        A layer that is not there or has no places, or a grid finer than the tokens are.
    DataError
        Features that are not finite, or too large for float16.

    Examples
    --------
    >>> from alignment.models import create_model
    >>> network = create_model("small_cnn", num_classes=10, image_size=32)
    >>> tokens = extract_tokens(network, np.zeros((2, 3, 32, 32), np.uint8), grid=(4, 4), device="cpu")
    >>> tokens.layer, tokens.patches.shape, tokens.has_cls
    ('relu3', (2, 16, 128), False)
    """
    check_choice(dtype, "dtype", _OWNER, tuple(_DTYPES))
    check_integer(batch_size, "batch_size", _OWNER, low=1)
    pixels = torch.from_numpy(images.images if isinstance(images, Domain) else images)
    where = resolve_device(device)
    model = model.to(where).eval()
    net = network_of(model)
    call = _source(model, net, to_float(pixels[:1].to(where)), layer)
    assert call.layout is not None
    has_cls = call.layout.kind == "tokens" and call.layout.prefix > 0 and getattr(net, "cls_token", None) is not None
    size = _grid(grid, call)
    parts: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    seen: dict[str, Tensor] = {}
    done = 0
    with hooked(
        {call.module: net.get_submodule(call.module)}, lambda name, output: seen.update({name: output})
    ) as start:
        for batch in torch.split(pixels, batch_size):
            start()
            with torch.inference_mode(), _autocast(where):
                model(to_float(batch.to(where, non_blocking=True)))
            parts.append(_kept(seen[call.name], call, has_cls, size, _DTYPES[dtype]))
            done += len(batch)
            if progress is not None:
                progress(done, len(pixels), f"{done} images")
    cls, patches = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    if not np.isfinite(patches).all() or not np.isfinite(cls).all():
        raise DataError(f"The layer {call.name!r} gives features that {dtype} cannot hold. Take dtype='float32'.")
    return Tokens(cls, patches, size, has_cls, call.name)


def _source(model: nn.Module, net: nn.Module, image: Tensor, layer: str) -> Call:
    """Return the run of the module that gives the tokens."""
    calls = probe(model, net, image)
    if layer != "auto":
        return choose(net, calls, [layer])[0][-1]
    spatial = [call for call in calls if call.layout is not None and call.layout.height * call.layout.width > 1]
    if not spatial:
        raise InputError("No layer of this network has an output with more than one place: it gives no patch tokens.")
    return spatial[-1]


def _grid(grid: tuple[int, int] | None, call: Call) -> tuple[int, int]:
    assert call.layout is not None
    own = call.layout.height, call.layout.width
    if grid is None:
        return own
    rows, columns = (check_integer(side, "grid", _OWNER, low=1) for side in grid)
    if rows > own[0] or columns > own[1]:
        raise InputError(
            f"The 'grid' parameter of {_OWNER} must not be finer than the tokens of {call.name!r}, {own[0]}x{own[1]}. "
            f"Got {rows}x{columns} instead."
        )
    return rows, columns


def _kept(output: Tensor, call: Call, has_cls: bool, grid: tuple[int, int], dtype: Any) -> Any:
    assert call.layout is not None
    maps = fold(output, call.layout).float()
    if maps.shape[-2:] != grid:
        maps = nn.functional.adaptive_avg_pool2d(maps, grid)
    patches = maps.flatten(2).transpose(1, 2)
    cls = output[:, 0].float() if has_cls else patches.mean(dim=1)
    limit = float(np.finfo(dtype).max)
    # What does not fit becomes infinite here, and is refused once at the end.
    kept = [torch.where(values.abs() <= limit, values, torch.inf).cpu().numpy() for values in (cls, patches)]
    return kept[0].astype(dtype), kept[1].astype(dtype)


def _autocast(device: torch.device) -> torch.autocast:
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
