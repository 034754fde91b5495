"""Populations that come as representational similarity matrices, without their cells, and the scenes they saw."""

from __future__ import annotations

import hashlib
import math
import os
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from alignment._validation import check_integer, check_name
from alignment.brain.catalogue import AREAS, LAYERS
from neural_alignment import DataError

__all__ = ["read_rsms", "read_scenes"]

_LAYER_NAMES = {"layer23": "L2/3", "layer4": "L4", "layer5": "L5", "layer6": "L6"}


def read_rsms(path: str | os.PathLike[str], scenes: int = 118) -> xr.Dataset:
    """Read representational similarity matrices (RSMs) by area and layer.

    Parameters
    ----------
    path : str or path
        An ``.npz`` file, keys ``AREA__LAYER`` (``VISp__layer23``), each a symmetric matrix of Pearson
        correlations between population responses to the scenes, with one more row and column, the last, for
        the blank.
    scenes : int
        Number of scenes.

    Returns
    -------
    xarray.Dataset
        ``rsm`` (population, scene, scene_b) float64 and ``blank`` (population, scene), each scene's
        similarity to the blank (absent where the matrices have no row for it). Coordinates by population:
        population (``"VISp L2/3"``), area, cortical_layer, and n_cells, 0 as the cells are not at hand. Areas
        and layers in anatomical order. Attributes: simulated (0), similarity, source (the file's name) and
        digest (SHA-256 of the file, by which results can be traced to it).

    Raises
    ------
    DataError
        If the file is missing, damaged, or a matrix is no similarity matrix of that many scenes.
    InputError
        For an unknown area or layer in a key, or a number of scenes that is none.
    """
    file = Path(path)
    scenes = check_integer(scenes, "scenes", "read_rsms", low=2)
    matrices = _read(file)
    found: dict[tuple[int, int], tuple[str, str, npt.NDArray[np.float64]]] = {}
    for key, matrix in matrices.items():
        parts = re.fullmatch(r"(\w+?)__(\w+)", key)
        if parts is None:
            raise DataError(f"{file} has a matrix {key!r}; keys must read AREA__LAYER, as 'VISp__layer23'.")
        area = check_name(parts[1], f"area in {file}", AREAS)
        layer = _LAYER_NAMES[check_name(parts[2], f"layer in {file}", _LAYER_NAMES)]
        found[AREAS.index(area), LAYERS.index(layer)] = (area, layer, _check(matrix, key, file, scenes))
    if not found:
        raise DataError(f"{file} holds no matrix.")
    populations = [found[place] for place in sorted(found)]
    stack = np.stack([matrix[:scenes, :scenes] for _, _, matrix in populations])
    variables: dict[str, tuple[tuple[str, ...], npt.NDArray[np.float64]]] = {
        "rsm": (("population", "scene", "scene_b"), stack)
    }
    sizes = {len(matrix) for _, _, matrix in populations}
    if len(sizes) > 1:
        without = ", ".join(f"{area} {layer}" for area, layer, matrix in populations if len(matrix) == scenes)
        raise DataError(
            f"{file} has a row for the blank in some of its matrices, but none in {without}. Make them alike."
        )
    if sizes == {scenes + 1}:
        blank = np.stack([matrix[scenes, :scenes] for _, _, matrix in populations])
        variables["blank"] = (("population", "scene"), blank)
    return xr.Dataset(
        variables,
        coords={
            "population": [f"{area} {layer}" for area, layer, _ in populations],
            "area": ("population", [area for area, _, _ in populations]),
            "cortical_layer": ("population", [layer for _, layer, _ in populations]),
            "n_cells": ("population", np.zeros(len(populations), dtype=np.int64)),
            "scene": np.arange(scenes),
            "scene_b": np.arange(scenes),
        },
        attrs={
            "simulated": 0,
            "similarity": "Pearson correlation",
            "source": file.name,
            "digest": hashlib.sha256(file.read_bytes()).hexdigest(),
        },
    )


def read_scenes(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Read the scenes that similarity matrices were measured with.

    Parameters
    ----------
    path : str or path
        An ``.npy`` file, (scene, y, x), or (scene, y·x) of square scenes; grey levels 0 to 255, or values in [0, 1].
        Row i is the scene of the matrices' row i.

    Returns
    -------
    (scene, y, x) float32 array
        In [0, 1].

    Raises
    ------
    DataError
        The file is missing, damaged or of another shape, or a scene (named) holds NaN, leaves the range, or is
        one grey level only.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"The file of scenes {file} is missing. Give the path of an .npy file.")
    try:
        scenes = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read as an .npy file of numbers: {error}. Copy it again.") from error
    shape = np.shape(scenes)
    if not isinstance(scenes, np.ndarray) or scenes.dtype.kind not in "uif" or len(shape) not in (2, 3) or 0 in shape:
        raise DataError(
            f"{file} must hold scenes (scene, y, x) of numbers. Got {getattr(scenes, 'dtype', '?')} {shape}."
        )
    if len(shape) == 2:
        side = math.isqrt(shape[1])
        if side * side != shape[1]:
            raise DataError(
                f"{file} holds {shape[0]} rows of {shape[1]} values, which make no square scene. Save it as "
                "(scene, y, x)."
            )
        scenes = scenes.reshape(shape[0], side, side)
    values: npt.NDArray[np.float64] = scenes.astype(np.float64)
    if scenes.dtype.kind in "ui" or values.max(initial=0.0, where=np.isfinite(values)) > 1.0:
        values = values / 255.0
    flat = values.reshape(len(values), -1)
    with np.errstate(invalid="ignore"):
        good = np.isfinite(flat).all(axis=1) & (flat.min(axis=1) >= 0) & (flat.max(axis=1) <= 1 + 1e-9)
        seen = good & (np.ptp(flat, axis=1) > 0)
    for fits, reason in ((good, "NaN, or values outside of 0 to 255"), (seen, "one grey level only")):
        if not fits.all():
            odd = np.flatnonzero(~fits)
            named = ", ".join(map(str, odd[:5])) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
            raise DataError(f"{file}: scene {named} holds {reason}. Leave out the blank; mend or replace the file.")
    return values.astype(np.float32)


def _read(file: Path) -> dict[str, npt.NDArray[np.float64]]:
    if not file.is_file():
        raise DataError(f"The file of similarity matrices {file} is missing. Give the path of an .npz file.")
    try:
        with np.load(file, allow_pickle=False) as archive:
            held = {key: np.asarray(archive[key]) for key in archive.files}
        for key, matrix in held.items():
            if matrix.dtype.kind not in "uif":
                raise ValueError(f"{key} holds {matrix.dtype}")
        return {key: matrix.astype(np.float64) for key, matrix in held.items()}
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"{file} cannot be read as an .npz file of numbers: {error}. It is damaged or of another kind: "
            "copy it again from where it came."
        ) from error


def _check(matrix: npt.NDArray[np.float64], key: str, file: Path, scenes: int) -> npt.NDArray[np.float64]:
    size = len(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or size not in (scenes, scenes + 1):
        raise DataError(
            f"{key} in {file} has shape {matrix.shape}; a similarity matrix of {scenes} scenes has "
            f"{scenes} or, with the blank, {scenes + 1} rows and columns."
        )
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > 1 + 1e-6:
        raise DataError(f"{key} in {file} has values that are no correlations (not finite, or outside of -1..1).")
    if not np.allclose(matrix, matrix.T, atol=1e-5) or not np.allclose(np.diag(matrix), 1, atol=1e-5):
        raise DataError(f"{key} in {file} is no similarity matrix: it is not symmetric with ones on its diagonal.")
    return matrix
