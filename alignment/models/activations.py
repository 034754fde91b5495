"""Per-layer activations of any network on the scenes: one pass, reduced as they appear."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional

from alignment._validation import check_choice, check_integer, fail
from alignment.models._extraction_checks import (
    OWNER,
    check_batch,
    check_device,
    check_grid,
    check_halves,
    check_images,
    float32,
)
from alignment.models._maps import MapStore
from alignment.models._probe import Call, choose, fold, hooked, probe
from alignment.models.weights import check_finite, network_of, weights_digest
from neural_alignment import DataError

__all__ = ["Preflight", "as_images", "extract_activations", "preflight", "resize_maps", "scene_digest"]

_AMP = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Preflight:
    """What an extraction will take, measured before it runs.

    Attributes
    ----------
    layers : list of str
        The layers that will be read, in execution order.
    skipped : dict
        Layers that were passed over, with the reason.
    parameters : int
        Of the network.
    result_bytes : int
        Memory of the results.
    batch_bytes : int
        Rough memory of one batch: the images and the two largest activations.
    seconds : float
        For all scenes, from two timed batches.
    """

    layers: list[str]
    skipped: dict[str, str]
    parameters: int
    result_bytes: int
    batch_bytes: int
    seconds: float


@dataclass
class _Plan:
    """Everything one extraction has decided before its first batch."""

    model: nn.Module
    net: nn.Module
    images: Any
    calls: list[Call]
    skipped: dict[str, str]
    grid: tuple[int, int]
    batch_size: int
    device: torch.device
    amp: str | None = None
    channels_last: bool = False
    compiled: Callable[[Tensor], Any] | None = None
    halves: npt.NDArray[np.bool_] | None = None
    every: list[Call] = field(default_factory=list)
    sink: _Reduced | None = None
    restart: Callable[[], None] = lambda: None

    @property
    def scenes(self) -> int:
        return int(self.images.shape[0])

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {c.module: self.net.get_submodule(c.module) for c in self.calls}


def extract_activations(
    model: nn.Module,
    images: Any,
    layers: str | Iterable[str] = "auto",
    grid: tuple[int, int] = (32, 32),
    batch_size: int = 32,
    device: str = "auto",
    *,
    amp: str | None = None,
    channels_last: bool = False,
    compile: bool = False,
    deterministic: bool = False,
    save_maps: str | Path | None = None,
    halves: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, xr.Dataset]:
    """Read a network's layers on images, in one forward pass for each batch.

    Every chosen layer is reduced in a hook the moment it appears, before a later in-place operation can
    change it, so that memory beside the results is that of one batch, whatever the number of images.

    Parameters
    ----------
    model : nn.Module
        A model of the zoo, with or without a layer in front, or any module that takes images (B, 3, H, W).
    images : array or Tensor, (scene, 3, H, W), floating point in [0, 1]
        In scene order. Anything sliceable will do (a memory map, a Zarr array): one batch at a time is read.
    layers : str or iterable of str
        Modules' names, globs (``"layer?.0"``), ``"all"`` (every leaf module), ``"blocks"`` (residual,
        inception or transformer blocks) or ``"auto"`` (about 12 evenly by depth: of the blocks, else of the
        nonlinearities). A module that runs more than once in a pass gives ``name``, ``name#2``, ...
    grid : (int, int)
        Rows and columns of ``unit_map``.
    batch_size : int
        Halved, and the batch run again, when memory runs out.
    device : str
        ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda:0"``, ...
    amp : {None, "bfloat16", "float16"}
        Mixed precision.
    channels_last, compile : bool
        Other ways to run the network. With any of these three options the first batch also runs plainly in
        float32, and the largest relative difference is recorded in the attribute ``float32_difference``.
    deterministic : bool
        Use deterministic algorithms only.
    save_maps : path, optional
        Also write every full map to this Zarr folder, one array (scene, unit, y, x) a layer. Refused where
        the disk has too little room.
    halves : (scene,) array of bool, optional
        Also average the maps over the scenes where it is true, and over the others, as ``unit_map_half`` (half,
        unit, y, x): a layer can then be chosen on one half of the scenes and scored on the other. The
        coordinate ``scene_half`` (scene), 0 or 1, says which scene is where.
    progress : callable, optional
        Called with (scenes done, scenes) after every batch.

    Returns
    -------
    dict of str to Dataset
        Layers in execution order. ``unit_response`` (scene, unit), float32: the spatial mean of each unit's
        map; ``unit_map`` (unit, y, x), float32: the mean map over scenes, resized to ``grid`` by averaging
        areas where it is larger and bilinearly where it is smaller. Tokens of a transformer fold to their
        grid, without class and register tokens. Attributes: model, layer_variant, neurn, weights (digest),
        image_size, scene_digest, layer, layer_index and how it was run.

    Raises
    ------
    InputError
        Images of the wrong shape or range; a layer that does not exist, never runs, or has no spatial or
        token shape. Under ``auto``, ``all``, ``blocks`` and globs such layers are passed over and listed in
        the attribute ``skipped``.
    DataError
        NaN weights or activations; too little memory or disk.

    Notes
    -----
    Units as in Mice to Machines (arXiv 2505.06886): a unit is a channel, its representation the activation
    map averaged over scenes.

    Examples
    --------
    >>> import torch
    >>> from alignment.models import create_model
    >>> model = create_model("small_cnn", num_classes=10, image_size=32)
    >>> found = extract_activations(model, torch.rand(4, 3, 32, 32), grid=(8, 8))
    >>> [(name, dict(layer.sizes)["unit"]) for name, layer in found.items()]
    [('relu1', 32), ('relu2', 64), ('relu3', 128)]
    """
    check_choice(amp or "none", "amp", OWNER, ("none", *_AMP))
    with _prepared(model, images, layers, grid, batch_size, device) as plan:
        plan.amp, plan.channels_last, plan.halves = amp, channels_last, check_halves(halves, plan.scenes)
        _check_memory(plan)
        store = None if save_maps is None else MapStore(Path(save_maps), plan.calls, plan.scenes, batch_size)
        with _determinism(deterministic), _listening(plan, compile):
            difference = _compare_precision(plan, compile) if amp or channels_last or compile else 0.0
            # Half a gigabyte of weights takes a third of a second to digest, which the forward passes can
            # hide.
            with ThreadPoolExecutor(1) as aside:
                weights = aside.submit(weights_digest, model)
                sums = _run(plan, store, progress)
            if channels_last:
                plan.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return _datasets(plan, sums, weights.result(), difference)


def preflight(
    model: nn.Module,
    images: Any,
    layers: str | Iterable[str] = "auto",
    grid: tuple[int, int] = (32, 32),
    batch_size: int = 32,
    device: str = "auto",
) -> Preflight:
    """Measure what :func:`extract_activations` will take with the same arguments, and fail where it would.

    Examples
    --------
    >>> import torch
    >>> from alignment.models import create_model
    >>> model = create_model("small_cnn", num_classes=10, image_size=32)
    >>> preflight(model, torch.rand(4, 3, 32, 32)).layers
    ['relu1', 'relu2', 'relu3']
    """
    with _prepared(model, images, layers, grid, batch_size, device) as plan:
        _check_memory(plan)
        reduced = _Reduced(plan)
        batch = _batch(plan, 0, min(batch_size, plan.scenes))
        seconds = []
        with _listening(plan, opaque=False):
            for _ in range(2):
                start = time.perf_counter()
                _forward(plan, batch, reduced)
                if plan.device.type == "cuda":
                    torch.cuda.synchronize(plan.device)
                seconds.append(time.perf_counter() - start)
        largest = sorted((c.numbers for c in plan.every), reverse=True)[:2]
        numbers = int(np.prod(batch.shape[1:])) + sum(largest)
        return Preflight(
            [c.name for c in plan.calls],
            plan.skipped,
            sum(p.numel() for p in plan.net.parameters()),
            _result_bytes(plan),
            4 * numbers * batch_size,
            min(seconds) * plan.scenes / len(batch),
        )


def as_images(scenes: Any, image_size: int) -> npt.NDArray[np.float32]:
    """Turn grey scenes into images for a network: resized with antialiasing, three equal channels.

    Parameters
    ----------
    scenes : array, (scene, y, x)
        uint8 grey levels, or floating point in [0, 1].
    image_size : int
        Side of the square result; scenes of another aspect are squeezed, as the published analysis does.

    Returns
    -------
    ndarray, (scene, 3, image_size, image_size), float32

    Examples
    --------
    >>> as_images(np.full((2, 60, 80), 255, np.uint8), 32).shape
    (2, 3, 32, 32)
    """
    size = check_integer(image_size, "image_size", "as_images", low=1)
    scenes = np.asarray(scenes)
    if scenes.ndim != 3 or not (scenes.dtype == np.uint8 or np.issubdtype(scenes.dtype, np.floating)):
        got = f"{scenes.dtype} of shape {scenes.shape}"
        raise fail("scenes", "as_images", "uint8 or floating point of shape (scene, y, x)", got)
    result = np.empty((len(scenes), 3, size, size), np.float32)
    for i, scene in enumerate(scenes):
        image = torch.from_numpy(np.asarray(scene, np.float32))[None, None]
        if scenes.dtype == np.uint8:
            image = image / 255.0
        image = functional.interpolate(image, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        result[i] = image[0].clamp(0.0, 1.0).numpy()
    return result


def scene_digest(images: Any) -> str:
    """SHA-256 of images in their order, as float32; results carry it to say whose rows they hold."""
    digest = hashlib.sha256()
    for start in range(0, int(images.shape[0]), 64):
        digest.update(float32(images[start : start + 64]).tobytes())
    return digest.hexdigest()


def resize_maps(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize maps (C, H, W) to a grid: averages of areas where they shrink, bilinear where they grow."""
    height, width = maps.shape[-2:]
    if (height, width) == tuple(grid):
        return maps
    if height >= grid[0] and width >= grid[1]:
        return functional.adaptive_avg_pool2d(maps, grid)
    return functional.interpolate(maps[None], size=grid, mode="bilinear", align_corners=False, antialias=True)[0]


class _Reduced:
    """What the hooks keep of one batch: each layer's unit responses and its maps summed over scenes."""

    def __init__(self, plan: _Plan, store: MapStore | None = None) -> None:
        self.calls = {c.name: c for c in plan.calls}
        self.grid = plan.grid
        self.halves = plan.halves
        self.store = store
        self.rows = slice(0, 0)
        self.responses: dict[str, Tensor] = {}
        self.maps: dict[str, Tensor] = {}

    def start(self, rows: slice) -> None:
        self.rows = rows
        self.responses.clear()
        self.maps.clear()

    def see(self, name: str, output: Tensor) -> None:
        call = self.calls.get(name)
        if call is None or call.layout is None:
            return
        maps = fold(output.detach(), call.layout)
        self.responses[name] = maps.mean(dim=(2, 3), dtype=torch.float32)
        if self.halves is None:
            parts = [maps]
        else:
            first = torch.from_numpy(self.halves[self.rows]).to(maps.device)
            parts = [maps[first], maps[~first]]
        sums = (part.sum(dim=0, dtype=torch.float32) for part in parts)
        self.maps[name] = torch.stack([resize_maps(total, self.grid) for total in sums])
        if self.store is not None:
            self.store.write(name, self.rows, maps)


@contextmanager
def _prepared(model: nn.Module, images: Any, layers: Any, grid: Any, batch_size: int, device: str) -> Iterator[_Plan]:
    """Check everything that can be checked before the run; the model goes back as it came."""
    if not isinstance(model, nn.Module):
        raise fail("model", OWNER, "a torch module", type(model).__name__, "Make one with create_model.")
    grid = check_grid(grid)
    batch_size = check_integer(batch_size, "batch_size", OWNER, low=1)
    images = check_images(images, model)
    target = check_device(device)
    net = network_of(model)
    check_finite(net.state_dict(), getattr(model, "name", type(net).__name__))
    with ExitStack() as stack:
        modes = {module: module.training for module in model.modules()}
        stack.callback(_restore, modes)
        home = next((p.device for p in model.parameters()), torch.device("cpu"))
        if home != target:
            model.to(target)
            stack.callback(model.to, home)
        model.eval()
        first = torch.from_numpy(check_batch(images[:1], 0)).to(target)
        every = probe(model, net, first)
        calls, skipped = choose(net, every, layers)
        yield _Plan(model, net, images, calls, skipped, grid, batch_size, target, every=every)


def _run(
    plan: _Plan, store: MapStore | None, progress: Callable[[int, int], None] | None
) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, Tensor], str]:
    responses = {c.name: np.empty((plan.scenes, _units(c)), np.float32) for c in plan.calls}
    parts = 1 if plan.halves is None else 2
    totals = {c.name: torch.zeros((parts, _units(c), *plan.grid), dtype=torch.float64) for c in plan.calls}
    digest = hashlib.sha256()
    reduced = _Reduced(plan, store)
    start, size = 0, plan.batch_size
    while start < plan.scenes:
        stop = min(start + size, plan.scenes)
        batch = _batch(plan, start, stop)
        reduced.start(slice(start, stop))
        try:
            _forward(plan, batch, reduced)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            size = _halve(size, plan, error)
            continue
        # Only a whole batch counts: one that ran out of memory half-way has left nothing behind.
        for name, values in reduced.responses.items():
            responses[name][start:stop] = values.cpu().numpy()
            totals[name] += reduced.maps[name].cpu().double()
        digest.update(batch.tobytes())
        start = stop
        if progress is not None:
            progress(start, plan.scenes)
    for name, found in responses.items():
        if not np.isfinite(found).all():
            raise DataError(
                f"The layer {name!r} gives NaN or infinite activations. Run it without amp, or look at its weights."
            )
    plan.batch_size = size
    return responses, totals, digest.hexdigest()


@contextmanager
def _listening(plan: _Plan, opaque: bool) -> Iterator[None]:
    """Put hooks on the layers once for the whole run, so that a compiled model keeps those it knows."""

    def see(name: str, output: Tensor) -> None:
        if plan.sink is not None:
            plan.sink.see(name, output)

    with hooked(plan.modules, see, opaque) as plan.restart:
        yield


def _forward(plan: _Plan, batch: npt.NDArray[np.float32], reduced: _Reduced) -> None:
    image = torch.from_numpy(batch).to(plan.device, non_blocking=True)
    if plan.channels_last:
        image = image.to(memory_format=torch.channels_last)
    autocast = nullcontext() if plan.amp is None else torch.autocast(plan.device.type, dtype=_AMP[plan.amp])
    plan.sink = reduced
    plan.restart()
    with torch.no_grad(), autocast:
        model = plan.model if plan.compiled is None else plan.compiled
        model(image)
    lost = sorted(reduced.calls.keys() - reduced.responses.keys())
    if lost:
        raise DataError(
            f"The layer {lost[0]!r} ran on the first image and not on a batch: the network's path depends on its input."
        )


def _compare_precision(plan: _Plan, compile: bool) -> float:
    """Run the first batch plainly and as asked; return the largest difference, relative to its layer."""
    batch = _batch(plan, 0, min(plan.batch_size, plan.scenes))
    amp, channels_last = plan.amp, plan.channels_last
    plain, asked = _Reduced(plan), _Reduced(plan)
    plan.amp, plan.channels_last = None, False
    _forward(plan, batch, plain)
    plan.amp, plan.channels_last = amp, channels_last
    if channels_last:
        plan.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        plan.compiled = torch.compile(plan.model)
    _forward(plan, batch, asked)
    worst = 0.0
    for name, values in plain.responses.items():
        scale = float(values.abs().max()) or 1.0
        worst = max(worst, float((asked.responses[name] - values).abs().max()) / scale)
    return worst


def _datasets(plan: _Plan, sums: tuple[Any, Any, str], weights: str, difference: float) -> dict[str, xr.Dataset]:
    responses, totals, digest = sums
    attrs = {
        **_model_attrs(plan),
        "weights": weights,
        "scene_digest": digest,
        "float32_difference": difference,
    }
    found = {}
    for index, call in enumerate(plan.calls):
        layout = call.layout
        assert layout is not None
        sums_by_half = totals[call.name]
        variables: dict[str, Any] = {
            "unit_response": (("scene", "unit"), responses[call.name]),
            "unit_map": (("unit", "y", "x"), (sums_by_half.sum(dim=0) / plan.scenes).float().numpy()),
        }
        coordinates: dict[str, Any] = {"scene": np.arange(plan.scenes), "unit": np.arange(layout.units)}
        if plan.halves is not None:
            counts = torch.tensor([plan.halves.sum(), (~plan.halves).sum()], dtype=torch.float64)
            means = (sums_by_half / counts[:, None, None, None]).float().numpy()
            variables["unit_map_half"] = (("half", "unit", "y", "x"), means)
            coordinates["scene_half"] = ("scene", np.where(plan.halves, 0, 1).astype(np.int8))
        found[call.name] = xr.Dataset(
            variables,
            coords=coordinates,
            attrs={
                **attrs,
                "layer": call.name,
                "layer_index": index,
                "native_size": f"{layout.height}x{layout.width}",
                "prefix_tokens": layout.prefix,
            },
        )
    return found


def _model_attrs(plan: _Plan) -> dict[str, Any]:
    variant = str(getattr(plan.model, "layer_variant", "baseline"))
    return {
        "model": str(getattr(plan.model, "name", type(plan.net).__name__)),
        "layer_variant": variant,
        "neurn": int(variant == "neurn"),
        "front_layer": repr(getattr(plan.model, "layer", None) or "none"),
        "weights_source": str(getattr(plan.model, "weights_source", "")),
        "image_size": f"{plan.images.shape[-2]}x{plan.images.shape[-1]}",
        "preprocessing": json.dumps(getattr(plan.model, "preprocessing", {}), default=str, sort_keys=True),
        "small_form": str(getattr(plan.model, "small_form", "")),
        "device": str(plan.device),
        "amp": plan.amp or "none",
        "batch_size": plan.batch_size,
        "skipped": json.dumps(plan.skipped, sort_keys=True),
    }


def _restore(modes: dict[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training


def _batch(plan: _Plan, start: int, stop: int) -> npt.NDArray[np.float32]:
    return check_batch(plan.images[start:stop], start)


@contextmanager
def _determinism(wanted: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _units(call: Call) -> int:
    assert call.layout is not None
    return call.layout.units


def _result_bytes(plan: _Plan) -> int:
    maps = 1 if plan.halves is None else 5  # sums in float64 and the means in float32, of both halves
    each = 4 * plan.scenes + 8 * maps * plan.grid[0] * plan.grid[1]
    return sum(_units(c) for c in plan.calls) * each


def _check_memory(plan: _Plan) -> None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = _result_bytes(plan)
    if needed > 0.8 * memory:
        raise DataError(
            f"The results of {len(plan.calls)} layers on {plan.scenes} scenes take {needed / 1e9:.1f} GB, "
            "and this "
            f"machine has {memory / 1e9:.1f} GB. Choose fewer layers or a smaller grid."
        )


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _halve(size: int, plan: _Plan, error: RuntimeError) -> int:
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()
    if size == 1:
        raise DataError(
            f"Memory runs out on one image of {plan.images.shape[-2]}x{plan.images.shape[-1]}. Use smaller "
            "images, fewer "
            "layers or another device."
        ) from error
    return max(1, size // 2)
