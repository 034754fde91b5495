"""What a neuron represents of the scenes, as an image or as a tuning vector, in [0, 1].

Three kinds (Mice to Machines, arXiv 2505.06886; NeuralOOD, arXiv 2408.14950): ``weighted``, N = TᵀF, the
scenes F summed with the neuron's responses T as weights; ``matched``, the same for the neuron, where the
units of a network get the same operator instead of their activation maps; ``tuning``, the mean response to
each scene.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from alignment._validation import check_choice, check_integer, fail
from neural_alignment import DataError, InputError

__all__ = ["KINDS", "represent", "resize_scenes", "scale_unit", "trial_means", "weighted_images"]

Kind = Literal["weighted", "matched", "tuning"]
KINDS = ("weighted", "matched", "tuning")

# Rows are worked on in blocks of about this many values, so that float64 copies stay small for any number of
# cells.
_BLOCK_VALUES = 8_000_000


def resize_scenes(scenes: Any, grid: tuple[int, int] = (32, 32)) -> npt.NDArray[np.float32]:
    """Shrink scenes by area averaging: each grid value is the mean of the patch of the scene that it covers.

    A pixel that lies across the border of two patches counts in each by its share, so nothing aliases and the
    mean of the scene is kept exactly.

    Parameters
    ----------
    scenes : (scene, height, width) uint8 array
        Or floats already in [0, 1].
    grid : (int, int)
        Height and width of the result.

    Returns
    -------
    (scene, y, x) float32 array
        In [0, 1].

    Raises
    ------
    InputError
        For a wrong number of axes, or floats outside of [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> resize_scenes(np.array([[[0, 255, 255], [0, 255, 255]]], dtype=np.uint8), (1, 2)).round(3)
    array([[[0.333, 1.   ]]], dtype=float32)
    """
    images = np.asarray(scenes)
    if images.ndim != 3:
        raise fail("scenes", "resize_scenes", "an array (scene, height, width)", images.shape)
    rows, columns = _check_grid(grid)
    scale = 1.0
    if images.dtype == np.uint8:
        scale = 1.0 / 255.0
    elif not np.issubdtype(images.dtype, np.floating) or not (images.min() >= 0 and images.max() <= 1):
        raise fail("scenes", "resize_scenes", "uint8, or floats between 0 and 1", f"{images.dtype} values")
    down = _area_weights(images.shape[1], rows)
    across = _area_weights(images.shape[2], columns).T
    small = np.empty((len(images), rows, columns), dtype=np.float32)
    for number, image in enumerate(images):
        # Rows first: that leaves the smaller of the two products.
        small[number] = (down @ image.astype(np.float32)) @ across * scale
    return np.clip(small, 0.0, 1.0)


def _area_weights(size: int, parts: int) -> npt.NDArray[np.float32]:
    """Share of `size` pixels in each of `parts` equal stretches: (part, pixel), rows summing to one."""
    edges = np.arange(parts + 1) * (size / parts)
    pixels = np.arange(size)
    shares = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(shares, 0.0, None) * (parts / size), dtype=np.float32)


def weighted_images(responses: Any, scenes: Any) -> npt.NDArray[Any]:
    """Sum the scenes with responses as weights, N = TᵀF: the same operator for neurons and for units.

    Parameters
    ----------
    responses : (n, scene) array
        Mean response of each neuron or unit to each scene; NaN leaves a scene out.
    scenes : (scene, y, x) array
        Resized scenes in [0, 1].

    Returns
    -------
    (n, y, x) array
        Not scaled; float32 if both inputs are, else float64.

    Raises
    ------
    InputError
        If the numbers of scenes differ.

    Examples
    --------
    >>> import numpy as np
    >>> weighted_images([[2.0, 1.0]], np.array([[[1.0, 0.0]], [[1.0, 1.0]]]))
    array([[[3., 1.]]])
    """
    weights, images = np.asarray(responses), np.asarray(scenes)
    if weights.ndim != 2 or images.ndim != 3 or weights.shape[1] != images.shape[0]:
        raise InputError(
            "weighted_images needs responses (n, scene) and scenes (scene, y, x) of as many scenes. "
            f"Got shapes {weights.shape} and {images.shape} instead."
        )
    single = weights.dtype == np.float32 and images.dtype == np.float32
    dtype: Any = np.float32 if single else np.float64
    known = np.isfinite(weights)
    filled = (weights if known.all() else np.where(known, weights, 0.0)).astype(dtype, copy=False)
    flat = filled @ images.reshape(len(images), -1).astype(dtype, copy=False)
    return cast(npt.NDArray[Any], flat.reshape(len(weights), *images.shape[1:]))


def scale_unit(x: Any, axis: int | tuple[int, ...] = -1) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Scale to [0, 1] by minimum and maximum over an axis or axes.

    Parameters
    ----------
    x : array
    axis : int or tuple of int
        What is scaled as one: -1 for vectors, (-2, -1) for images.

    Returns
    -------
    scaled : array
        Of the shape of `x`, float32 if `x` is, else float64.
    degenerate : bool array
        Without `axis`: True where the values are constant to rounding, not finite, or their range is not;
        these are all zeros in `scaled`.

    Examples
    --------
    >>> scale_unit([[1.0, 3.0, 2.0], [4.0, 4.0, 4.0]])
    (array([[0. , 1. , 0.5], [0. , 0. , 0. ]]), array([False,  True]))
    """
    values = np.asarray(x)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    axes = axis if isinstance(axis, tuple) else (axis,)
    low = values.min(axis=axes, keepdims=True)
    high = values.max(axis=axes, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        span = high - low
        rounding = 4 * np.finfo(values.dtype).eps * np.maximum(np.abs(low), np.abs(high))
        good = np.isfinite(span) & (span > rounding)
        scaled = (values - low) / np.where(good, span, 1)
    scaled = np.where(good, scaled, 0).astype(values.dtype, copy=False)
    return scaled, np.asarray(~np.squeeze(good, axis=axes))


def represent(
    responses: xr.Dataset, scenes: Any = None, kind: Kind = "weighted", grid: tuple[int, int] = (32, 32)
) -> xr.Dataset:
    """Represent every cell as an image on a grid or as a tuning vector, in [0, 1].

    Parameters
    ----------
    responses : xarray.Dataset
        From ``trial_responses`` or ``join_sessions``.
    scenes : (scene, height, width) uint8 array, optional
        The natural scenes; floats in [0, 1] of the size of the grid are taken as already resized. Not needed
        for ``"tuning"``.
    kind : {"weighted", "matched", "tuning"}
        The first two are the same for neurons.
    grid : (int, int)
        Height and width of the images.

    Returns
    -------
    xarray.Dataset
        ``representation`` float32, (cell, y, x) or for tuning (cell, scene), each cell's scaled to [0, 1];
        the cells' coordinates and ``degenerate`` (cell), true where it was constant and is all zeros. A scene
        without a valid trial adds nothing to an image and takes the cell's mean in a tuning vector.

    Raises
    ------
    InputError
        For an unknown kind, missing scenes, or a number of scenes other than that of the responses.
    DataError
        If there is no cell.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> trials = np.random.default_rng(0).normal(size=(3, 118, 5)).astype(np.float32)
    >>> responses = xr.Dataset({"response": (("cell", "scene", "trial"), trials)})
    >>> scenes = np.random.default_rng(1).integers(0, 256, (118, 90, 110), dtype=np.uint8)
    >>> represent(responses, scenes)["representation"].shape
    (3, 32, 32)
    """
    check_choice(kind, "kind", "represent", KINDS)
    tuning = trial_means(responses["response"].transpose("cell", "scene", "trial").values)
    if not len(tuning):
        raise DataError("There is no cell to represent. Choose other sessions or a lower reliability.")
    cell_coordinates = {name: value for name, value in responses.coords.items() if value.dims == ("cell",)}
    if kind == "tuning":
        with np.errstate(invalid="ignore"):
            known = np.isfinite(tuning)
            mean = np.where(known, tuning, 0.0).sum(axis=1, keepdims=True) / known.sum(axis=1, keepdims=True)
        scaled, degenerate = scale_unit(np.where(known, tuning, mean), axis=-1)
        dims: tuple[str, ...] = ("cell", "scene")
        shape_coordinates: dict[str, Any] = {"scene": np.arange(tuning.shape[1])}
    else:
        images = _grid_scenes(scenes, tuning.shape[1], grid, kind)
        scaled, degenerate = _represent_blocks(tuning, images)
        dims = ("cell", "y", "x")
        shape_coordinates = {"y": np.arange(images.shape[1]), "x": np.arange(images.shape[2])}
    return xr.Dataset(
        {"representation": (dims, scaled.astype(np.float32, copy=False))},
        coords={**cell_coordinates, **shape_coordinates, "degenerate": ("cell", degenerate)},
        attrs={**responses.attrs, "kind": kind, "degenerate_cells": int(degenerate.sum())},
    )


def _represent_blocks(
    tuning: npt.NDArray[np.float64], images: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    scaled = np.empty((len(tuning), *images.shape[1:]), dtype=np.float32)
    degenerate = np.empty(len(tuning), dtype=bool)
    step = max(1, _BLOCK_VALUES // max(1, images[0].size))
    for first in range(0, len(tuning), step):
        block = slice(first, first + step)
        # In float64: the scaling magnifies what float32 would lose where responses nearly cancel.
        scaled[block], degenerate[block] = scale_unit(weighted_images(tuning[block], images), axis=(-2, -1))
    return scaled, degenerate


def trial_means(response: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean over the valid trials, (cell, scene, trial) to (cell, scene) float64; NaN where there is none."""
    tuning = np.empty(response.shape[:2])
    step = max(1, _BLOCK_VALUES // max(1, response[:1].size))
    for first in range(0, len(response), step):
        part = response[first : first + step]
        good = np.isfinite(part)
        if good.all():
            tuning[first : first + step] = part.mean(axis=2, dtype=np.float64)
            continue
        with np.errstate(invalid="ignore"):
            total = np.where(good, part, 0).sum(axis=2, dtype=np.float64)
            tuning[first : first + step] = total / good.sum(axis=2)
    return tuning


def _grid_scenes(scenes: Any, count: int, grid: tuple[int, int], kind: str) -> npt.NDArray[np.float32]:
    if scenes is None:
        raise InputError(f"The {kind} representation needs the scenes. Give Session.scenes(), or use kind='tuning'.")
    images = np.asarray(scenes)
    if images.ndim != 3 or len(images) != count:
        raise fail("scenes", "represent", f"an array ({count}, height, width), one image per scene", images.shape)
    if images.dtype != np.uint8 and images.shape[1:] == _check_grid(grid):
        return images.astype(np.float32)
    return resize_scenes(images, grid)


def _check_grid(grid: tuple[int, int]) -> tuple[int, int]:
    try:
        rows, columns = grid
    except (TypeError, ValueError):
        raise fail("grid", "represent", "a pair (height, width)", grid) from None
    return (
        check_integer(rows, "grid", "represent", low=1),
        check_integer(columns, "grid", "represent", low=1),
    )
