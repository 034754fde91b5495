"""How a simulated observatory compares with the real one: the same statistics of both, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kurtosis

from alignment.brain import _allen_layout as layout
from alignment.brain._recording import mean_sweep_response
from alignment.brain._scenes import SCENE_COUNT
from alignment.brain.catalogue import neuron_class_of
from neural_alignment import DataError, InputError

__all__ = ["REAL_QUANTILES", "RELIABILITY_RANGE", "resemblance"]

Array = npt.NDArray[np.float64]

# Median split-half reliability (Spearman-Brown) of mouse visual cortex over natural images with tens of
# trials: weak on average, with a long tail of reliable cells. A loose range and not one study's figure.
RELIABILITY_RANGE = (0.05, 0.7)

# Quantiles of 900 single-trial responses (%) of 212 real VISp Cux2 cells, and over the cells of statistics of each;
# worked out from the table in github.com/psailamul/Allen_Brain_Observatory (data of the Allen Institute for Brain
# Science, Allen Brain Observatory).
REAL_QUANTILES: dict[str, dict[float, float]] = {
    "response": {
        0.01: -17.99, 0.05: -6.23, 0.25: -1.92, 0.5: -0.22, 0.75: 1.51, 0.95: 5.62, 0.99: 28.31, 0.999: 110.78
    },
    "deviation": {0.05: 2.74, 0.5: 5.97, 0.95: 15.48},
    "robust deviation": {0.05: 1.94, 0.5: 2.53, 0.95: 4.0},
    "excess kurtosis": {0.05: 6.71, 0.5: 41.53, 0.95: 202.7},
}  # fmt: skip

_OVER_CELLS = (0.05, 0.5, 0.95)
_REAL_TRIALS = 900


def resemblance(folder: str | os.PathLike[str], real: npt.ArrayLike | None = None) -> pd.DataFrame:
    """Compare single-trial responses of simulated excitatory cells with those of real ones.

    Parameters
    ----------
    folder : str or path
        A simulated observatory.
    real : (trial, cell) array, optional
        Real single-trial responses in %: 100 (mean of 14 frames from onset / mean of the 28 before - 1).
        Only their marginal distributions are used. Without it `REAL_QUANTILES` stand beside.

    Returns
    -------
    pandas.DataFrame
        Columns statistic, quantile, real, simulated: quantiles of all responses pooled, then quantiles over
        cells of each cell's standard deviation, robust deviation (1.4826 median absolute deviation) and
        excess kurtosis, and of its split-half reliability, for which ``real`` is empty: `RELIABILITY_RANGE`
        says what to expect.

    Raises
    ------
    InputError
        If ``real`` is not a table of finite numbers.
    DataError
        If the folder holds no simulated excitatory cells.
    """
    measured = None if real is None else _checked(real)
    simulated, reliability = _simulated(Path(folder), _REAL_TRIALS if measured is None else len(measured))
    rows = []
    for name, statistic in _STATISTICS.items():
        ours = statistic(simulated)
        theirs = None if measured is None else statistic(measured)
        for q, known in REAL_QUANTILES[name].items():
            found = known if theirs is None else float(np.quantile(theirs, q))
            rows.append((name, q, found, float(np.quantile(ours, q))))
    rows += [("split-half reliability", q, float("nan"), float(np.nanquantile(reliability, q))) for q in _OVER_CELLS]
    return pd.DataFrame(rows, columns=["statistic", "quantile", "real", "simulated"])


def _checked(real: npt.ArrayLike) -> Array:
    measured = np.asarray(real, dtype=np.float64)
    if measured.ndim != 2 or measured.size == 0 or not np.isfinite(measured).all():
        raise InputError(
            "The 'real' parameter of resemblance must be a (trial, cell) array of finite numbers. Got "
            f"one of shape {measured.shape} instead."
        )
    return measured


def _robust_deviation(values: Array) -> Array:
    return np.asarray(1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0))


_STATISTICS: dict[str, Callable[[Array], Any]] = {
    "response": lambda values: values,
    "deviation": lambda values: values.std(0),
    "robust deviation": _robust_deviation,
    "excess kurtosis": lambda values: kurtosis(values, axis=0),
}


def _simulated(folder: Path, trials: int) -> tuple[Array, Array]:
    """Return responses (trial, cell) of as many random sweeps as ``trials``, and every cell's reliability."""
    rng = np.random.default_rng(0)
    responses, reliability = [], []
    for path in sorted((folder / layout.NWB_FOLDER).glob("*.nwb")) if _is_simulated(folder) else []:
        with h5py.File(path, "r") as file:
            if neuron_class_of(file["general/subject/genotype"][()].decode()) == "inhibitory":
                continue
            fluorescence = file[f"{layout.PIPELINE}/Fluorescence"]
            neuropil = fluorescence["imaging_plane_1_neuropil_response"]
            corrected = fluorescence["imaging_plane_1_demixed_signal/data"][()]
            corrected = corrected - neuropil["r"][()][:, None] * neuropil["data"][()]
            shown = file["stimulus/presentation/natural_scenes_stimulus"]
            frame, onset = shown["data"][()], shown["frame_duration"][:, 0]
        response = mean_sweep_response(corrected, onset)
        chosen = rng.choice(response.shape[1], min(trials, response.shape[1]), replace=False)
        responses.append(response[:, chosen].T)
        by_scene = np.stack([response[:, frame == scene] for scene in range(SCENE_COUNT)], axis=1)
        reliability.append(_split_half(by_scene, rng))
    if not responses:
        raise DataError(
            f"{folder} holds no simulated excitatory cells to compare. Make them with simulate_observatory."
        )
    return np.concatenate(responses, axis=1), np.concatenate(reliability)


def _is_simulated(folder: Path) -> bool:
    return (folder / layout.SIMULATED).is_file()


def _split_half(response: Array, rng: np.random.Generator, splits: int = 10) -> Array:
    """Correlate the scene means of random halves of the trials, Spearman-Brown corrected, (cell,)."""
    half = response.shape[2] // 2
    if half == 0:
        return np.full(len(response), np.nan)
    found = []
    for _ in range(splits):
        order = rng.permutation(response.shape[2])
        first, second = response[:, :, order[:half]].mean(2), response[:, :, order[half : 2 * half]].mean(2)
        first = first - first.mean(1, keepdims=True)
        second = second - second.mean(1, keepdims=True)
        r = (first * second).sum(1) / np.sqrt((first**2).sum(1) * (second**2).sum(1))
        found.append(2 * r / (1 + r))
    return np.asarray(np.mean(found, axis=0))
