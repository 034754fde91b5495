"""Whole activations of a network's layers on images, layer by layer, for what cannot be reduced as it appears.

Dissimilarities between scenes need every unit at every place. A layer is kept whole only until it has been
handed over, and layers that would not fit together are read in several passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alignment._validation import check_integer, fail
from alignment.models._extraction import placed
from alignment.models._extraction_checks import check_batch, check_device, check_images
from alignment.models._probe import Call, choose, fold, hooked, probe
from alignment.models.weights import check_finite, network_of
from neural_alignment import DataError

__all__ = ["LayerFeatures", "layer_features"]

_OWNER = "layer_features"


@dataclass(frozen=True)
class LayerFeatures:
    """One layer's activations.

    Attributes
    ----------
    name : str
        The layer, as :func:`~alignment.models.extract_activations` names it.
    index : int
        Its place among the layers that are read.
    values : (scene, feature) float32 array
        Every unit at every place of its map.
    units : int
        Channels.
    """

    name: str
    index: int
    values: npt.NDArray[np.float32]
    units: int


def layer_features(
    model: nn.Module,
    images: Any,
    layers: str | Iterable[str] = "auto",
    batch_size: int = 32,
    device: str = "auto",
    *,
    max_bytes: int = 2**30,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[LayerFeatures]:
    """Hand over a network's layers on images, whole and one after the other.

    Parameters
    ----------
    model : nn.Module
        A model of the zoo, with or without a layer in front, or any module that takes images (B, 3, H, W).
    images : array or Tensor, (scene, 3, H, W), floating point in [0, 1]
        In scene order.
    layers : str or iterable of str
        As :func:`~alignment.models.extract_activations` takes them, and chooses them.
    batch_size : int
        Images in a pass.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda:0"``, ...
    max_bytes : int
        How much is kept at a time; a layer that alone takes more is still read, by itself.
    progress : callable, optional
        Called with (layers done, layers).

    Yields
    ------
    LayerFeatures
        In execution order.

    Raises
    ------
    InputError
        Images of the wrong shape or range, or a layer that does not exist.
    DataError
        NaN weights or activations.

    Examples
    --------
    >>> import torch
    >>> from alignment.models import create_model
    >>> model = create_model("small_cnn", num_classes=10, image_size=32)
    >>> [(layer.name, layer.values.shape) for layer in layer_features(model, torch.rand(4, 3, 32, 32))]
    [('relu1', (4, 32768)), ('relu2', (4, 16384)), ('relu3', (4, 8192))]
    """
    if not isinstance(model, nn.Module):
        raise fail("model", _OWNER, "a torch module", type(model).__name__, "Make one with create_model.")
    batch_size = check_integer(batch_size, "batch_size", _OWNER, low=1)
    max_bytes = check_integer(max_bytes, "max_bytes", _OWNER, low=1)
    images = check_images(images, model)
    target = check_device(device)
    net = network_of(model)
    check_finite(net.state_dict(), getattr(model, "name", type(net).__name__))
    with placed(model, target):
        calls, _ = choose(net, probe(model, net, torch.from_numpy(check_batch(images[:1], 0)).to(target)), layers)
    done = 0
    for together in _passes(calls, len(images), max_bytes):
        # What is handed over may be kept waiting; the model is others' meanwhile.
        with placed(model, target):
            read = _read(model, net, images, together, batch_size, target)
        for call in together:
            assert call.layout is not None
            yield LayerFeatures(call.name, done, _finite(call, read.pop(call.name)), call.layout.units)
            done += 1
            if progress is not None:
                progress(done, len(calls))


def _passes(calls: list[Call], scenes: int, max_bytes: int) -> Iterator[list[Call]]:
    """Cut the layers into runs of neighbours that fit into the memory together."""
    together: list[Call] = []
    size = 0
    for call in calls:
        needed = 4 * scenes * _size(call)
        if together and size + needed > max_bytes:
            yield together
            together, size = [], 0
        together.append(call)
        size += needed
    yield together


def _read(
    model: nn.Module, net: nn.Module, images: Any, calls: list[Call], batch_size: int, device: torch.device
) -> dict[str, npt.NDArray[np.float32]]:
    """Read some layers in one pass."""
    wanted = {call.name: call for call in calls}
    kept = {name: np.empty((len(images), _size(call)), np.float32) for name, call in wanted.items()}
    rows = dict.fromkeys(wanted, 0)

    def see(name: str, output: Tensor) -> None:
        call = wanted.get(name)
        if call is not None and call.layout is not None:
            # Copied at once: a later operation may work in place.
            maps = fold(output.detach(), call.layout).float()
            kept[name][rows[name] : rows[name] + len(maps)] = maps.reshape(len(maps), -1).cpu().numpy()
            rows[name] += len(maps)

    modules = {call.module: net.get_submodule(call.module) for call in calls}
    with hooked(modules, see) as restart, torch.no_grad():
        for start in range(0, len(images), batch_size):
            restart()
            model(torch.from_numpy(check_batch(images[start : start + batch_size], start)).to(device))
    for call in calls:
        if rows[call.name] != len(images):
            raise DataError(
                f"The layer {call.name!r} ran on the first image and not on a batch: the network's path depends "
                "on its input."
            )
    return kept


def _finite(call: Call, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise DataError(f"The layer {call.name!r} gives NaN or infinite activations. Look at its weights.")
    return values


def _size(call: Call) -> int:
    assert call.layout is not None
    return call.layout.units * call.layout.height * call.layout.width
