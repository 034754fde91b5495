"""Arrays at the door: numpy, torch or xarray in, checked matrices of vectors out."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from alignment._validation import fail

__all__ = [
    "Array",
    "as_array",
    "as_vectors",
    "check_device",
    "check_finite",
    "check_same_axes",
    "check_same_length",
    "check_same_scenes",
]

Array: TypeAlias = npt.NDArray[Any]


def as_array(values: Any, parameter: str, owner: str) -> Array:
    """Return numpy, torch or xarray data as a numpy array of floats (whole numbers become float64)."""
    if hasattr(values, "detach"):  # a torch tensor, told by its interface so that torch need not be imported
        values = values.detach().cpu()
        # numpy knows no bfloat16; every one of its values is a float32.
        values = values.float().numpy() if str(values.dtype) == "torch.bfloat16" else values.numpy()
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":  # the cast would drop the imaginary part
            raise TypeError
        if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise fail(parameter, owner, "an array of numbers", values) from None
    return array


def as_vectors(values: Any, parameter: str, owner: str) -> Array:
    """Return one row a neuron or unit, (n, d): the axes behind the first (y, x) are flattened."""
    array = as_array(values, parameter, owner)
    if array.ndim < 2 or 0 in array.shape:
        allowed = "an array (n, d) or (n, y, x) with at least one row and one value a row"
        raise fail(parameter, owner, allowed, array.shape, "Is the first axis the neurons or units?")
    return array.reshape(len(array), -1)


def check_finite(array: Array, parameter: str, owner: str) -> None:
    """Refuse NaN and infinite values, naming the first row that holds one."""
    finite = np.isfinite(array)
    if not finite.all():
        rows = np.flatnonzero(~finite.reshape(len(array), -1).all(axis=1))
        raise fail(
            parameter,
            owner,
            "finite",
            f"NaN or infinity in {len(rows)} of {len(array)} rows, first in row {rows[0]}",
            "Leave those rows out, or look at the trials they were made from.",
        )


def check_same_length(first: Array, second: Array, names: tuple[str, str], owner: str) -> None:
    """Refuse two sets of vectors whose vectors differ in length, as those of different grids do."""
    if first.shape[1] != second.shape[1]:
        raise fail(
            names[1],
            owner,
            f"vectors as long as those of '{names[0]}', {first.shape[1]} values",
            second.shape[1],
            "Represent both on the same grid, or over the same scenes.",
        )


def check_same_axes(first: Any, second: Any, names: tuple[str, str], owner: str) -> None:
    """Refuse maps on different grids, which may hold as many values, and data over different scenes."""
    grids = [tuple(getattr(values, "shape", ()))[1:] for values in (first, second)]
    if len(grids[0]) == len(grids[1]) > 1 and grids[0] != grids[1]:
        ours, theirs = ("×".join(map(str, grid)) for grid in grids)
        hint = "Represent both on the same grid."
        raise fail(names[1], owner, f"on the grid of '{names[0]}', {ours}", theirs, hint)
    check_same_scenes(first, second, names, owner)


def check_same_scenes(first: Any, second: Any, names: tuple[str, str], owner: str) -> None:
    """Refuse data whose labels along ``scene`` differ, naming the scenes; data without labels pass."""
    ours, theirs = _scenes(first), _scenes(second)
    if ours is None or theirs is None or np.array_equal(ours, theirs):
        return
    only = [np.setdiff1d(ours, theirs).tolist(), np.setdiff1d(theirs, ours).tolist()]
    said = [f"only '{name}' has {_listed(own)}" for name, own in zip(names, only, strict=True) if own]
    got = "; ".join(said) or "the same scenes in another order, or some of them again"
    hint = "Choose the scenes that both have, in one order: first.sel(scene=second['scene'])."
    raise fail(names[1], owner, f"over the scenes of '{names[0]}', {len(ours)} of them", got, hint)


def _scenes(values: Any) -> Array | None:
    """Return the labels along ``scene`` where xarray data have them."""
    found = "scene" in getattr(values, "dims", ()) and "scene" in getattr(values, "coords", ())
    return np.asarray(values["scene"].values) if found else None


def _listed(scenes: list[Any]) -> str:
    shown = ", ".join(map(str, scenes[:8]))
    return f"{shown} and {len(scenes) - 8} more" if len(scenes) > 8 else shown


def check_device(device: Any, owner: str) -> None:
    """Refuse anything but "cpu" and a CUDA device that torch sees."""
    good = isinstance(device, str) and (device == "cpu" or device.split(":")[0] == "cuda")
    if good and device != "cpu":
        import torch

        number = device.partition(":")[2] or "0"
        good = number.isdigit() and int(number) < torch.cuda.device_count()
    if not good:
        hint = "Run on 'cpu', or see `nalign doctor` for what torch sees."
        raise fail("device", owner, "'cpu', or a CUDA device that torch sees", device, hint)
