"""Per-layer activations of any network on the scenes: one pass, reduced as they appear."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from alignment._validation import check_choice
from alignment.models._extraction import AMP, Plan, compare_precision, determinism, listening, prepared, run
from alignment.models._extraction_checks import OWNER, check_halves
from alignment.models._maps import MapStore
from alignment.models._preflight import check_memory
from alignment.models._reduction import Totals, layout_of_call
from alignment.models.weights import weights_digest

__all__ = ["extract_activations"]


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
    change it, so that memory beside the results is that of one batch, whatever the number of images. The pass
    ends at the last layer that is read.

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

    Other threads may run the same model meanwhile: what reads the layers answers to this call's thread alone.
    Calls that hold a model in evaluation mode take turns within a process; a model that came in training mode is
    in evaluation mode for other threads too until the call is done.

    Examples
    --------
    >>> import torch
    >>> from alignment.models import create_model
    >>> model = create_model("small_cnn", num_classes=10, image_size=32)
    >>> found = extract_activations(model, torch.rand(4, 3, 32, 32), grid=(8, 8))
    >>> [(name, dict(layer.sizes)["unit"]) for name, layer in found.items()]
    [('relu1', 32), ('relu2', 64), ('relu3', 128)]
    """
    check_choice(amp or "none", "amp", OWNER, ("none", *AMP))
    with prepared(model, images, layers, grid, batch_size, device) as plan:
        plan.amp, plan.channels_last, plan.halves = amp, channels_last, check_halves(halves, plan.scenes)
        check_memory(plan)
        store = None if save_maps is None else MapStore(Path(save_maps), plan.calls, plan.scenes, batch_size)
        with determinism(deterministic), listening(plan, compile):
            difference = compare_precision(plan, compile) if amp or channels_last or compile else 0.0
            # Half a gigabyte of weights takes a third of a second to digest, which the forward passes can
            # hide.
            with ThreadPoolExecutor(1) as aside:
                weights = aside.submit(weights_digest, model)
                totals, digest = run(plan, store, progress)
        measured = {"weights": weights.result(), "scene_digest": digest, "float32_difference": difference}
        return _datasets(plan, totals, {**_model_attrs(plan), **measured})


def _datasets(plan: Plan, totals: Totals, attrs: dict[str, Any]) -> dict[str, xr.Dataset]:
    found = {}
    for index, call in enumerate(plan.calls):
        layout, sums = layout_of_call(call), totals.maps(call.name)
        variables: dict[str, Any] = {
            "unit_response": (("scene", "unit"), totals.responses[call.name]),
            "unit_map": (("unit", "y", "x"), (sums.sum(dim=0) / plan.scenes).float().numpy()),
        }
        coordinates: dict[str, Any] = {"scene": np.arange(plan.scenes), "unit": np.arange(layout.units)}
        if plan.halves is not None:
            counts = torch.tensor([plan.halves.sum(), (~plan.halves).sum()], dtype=torch.float64)
            means = (sums / counts[:, None, None, None]).float().numpy()
            variables["unit_map_half"] = (("half", "unit", "y", "x"), means)
            coordinates["scene_half"] = ("scene", np.where(plan.halves, 0, 1).astype(np.int8))
        here = {
            "layer": call.name,
            "layer_index": index,
            "native_size": f"{layout.height}x{layout.width}",
            "prefix_tokens": layout.prefix,
        }
        found[call.name] = xr.Dataset(variables, coords=coordinates, attrs={**attrs, **here})
    return found


def _model_attrs(plan: Plan) -> dict[str, Any]:
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
