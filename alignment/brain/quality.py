"""How far a cell can be trusted: reliability, responsiveness, and what was left out and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from alignment._validation import check_integer, check_number, fail

__all__ = ["quality_by_cell", "quality_table", "responsiveness", "split_half_reliability"]

FloatArray = npt.NDArray[np.float64]

# Cells are worked on in blocks of about this many values, so that memory stays bounded for any number of
# cells.
_BLOCK_VALUES = 4_000_000


def split_half_reliability(response: Any, seed: int = 0, splits: int = 100) -> FloatArray:
    """Reliability of each cell's scene tuning: split-half correlation, Spearman–Brown corrected.

    The trials are split into random halves; the two halves' mean responses are correlated (Pearson) over
    scenes; the correlation r, averaged over splits, is corrected to the full number of trials, 2r / (1 + r).

    Parameters
    ----------
    response : (cell, scene, trial) array
        numpy, torch or xarray (then its variable ``response`` or a data array of it); NaN marks missing
        trials.
    seed : int
        Of the random halves.
    splits : int
        How many random halves.

    Returns
    -------
    (cell,) float64 array
        At most 1, not below -1. NaN where no correlation exists: the tuning is constant, or fewer than three
        scenes have a trial in both halves (`quality_by_cell` names the reason).

    Raises
    ------
    InputError
        If the array has not three axes or fewer than two trials.

    Notes
    -----
    Trial numbers are split, the same for every scene and cell, so that the halves are two sessions' worth of
    trials.

    Examples
    --------
    >>> import numpy as np
    >>> tuning = np.random.default_rng(0).normal(size=(2, 118, 1))
    >>> noise = np.random.default_rng(1).normal(size=(2, 118, 50))
    >>> split_half_reliability(tuning + noise).round(2)
    array([0.98, 0.98])
    """
    values = _response_array(response)
    cells, scenes, trials = values.shape
    splits = check_integer(splits, "splits", "split_half_reliability", low=1)
    halves = _halves(trials, splits, seed)
    reliability = np.empty(cells)
    step = max(1, _BLOCK_VALUES // (scenes * 2 * splits))
    for first in range(0, cells, step):
        block = values[first : first + step]
        reliability[first : first + step] = _split_half_block(block, halves, splits)
    return reliability


def _split_half_block(block: npt.NDArray[Any], halves: FloatArray, splits: int) -> FloatArray:
    good = np.isfinite(block)
    filled = np.where(good, block, 0.0).astype(np.float64)
    cells, scenes, trials = filled.shape
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = (filled.reshape(-1, trials) @ halves).reshape(cells, scenes, 2, splits)
        if good.all():
            means = sums / (trials // 2)
            both = None
        else:
            counts = (good.reshape(-1, trials).astype(np.float64) @ halves).reshape(cells, scenes, 2, splits)
            means = sums / counts
            both = (counts > 0).all(axis=2)
        correlation = _correlate(means[:, :, 0], means[:, :, 1], both)
        usable = np.isfinite(correlation)
        total = np.where(usable, correlation, 0.0).sum(axis=1)
        average = total / usable.sum(axis=1)
        return np.asarray(np.clip(2.0 * average / (1.0 + average), -1.0, 1.0))


def _correlate(a: FloatArray, b: FloatArray, both: npt.NDArray[np.bool_] | None) -> FloatArray:
    """Correlate over axis 1 (scenes), where `both` holds; NaN if constant or of fewer than three scenes."""
    if both is not None:
        count = both.sum(axis=1, keepdims=True).astype(np.float64)
        a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    else:
        count = np.full((len(a), 1, a.shape[2]), float(a.shape[1]))
    size_a, size_b = np.abs(a).max(axis=1), np.abs(b).max(axis=1)
    a = a - a.sum(axis=1, keepdims=True) / count
    b = b - b.sum(axis=1, keepdims=True) / count
    if both is not None:
        a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    norm_a, norm_b = np.sqrt((a * a).sum(axis=1)), np.sqrt((b * b).sum(axis=1))
    flat = (norm_a <= 1e-12 * size_a) | (norm_b <= 1e-12 * size_b) | (count[:, 0] < 3)
    return np.where(flat, np.nan, (a * b).sum(axis=1) / (norm_a * norm_b))


def _halves(trials: int, splits: int, seed: int) -> FloatArray:
    """Membership (trial, 2 * splits): the columns of the first halves, then those of the second ones."""
    if trials < 2:
        raise fail("response", "split_half_reliability", "an array with at least 2 trials", trials)
    rng = np.random.default_rng(seed)
    half = trials // 2
    members = np.zeros((trials, 2, splits))
    for split in range(splits):
        order = rng.permutation(trials)
        members[order[:half], 0, split] = 1.0
        members[order[half : 2 * half], 1, split] = 1.0
    return members.reshape(trials, 2 * splits)


def _response_array(response: Any) -> npt.NDArray[Any]:
    if isinstance(response, xr.Dataset):
        response = response["response"]
    if isinstance(response, xr.DataArray) and {"cell", "scene", "trial"} == set(response.dims):
        response = response.transpose("cell", "scene", "trial")
    values = np.asarray(response)
    if values.ndim != 3:
        raise fail("response", "split_half_reliability", "an array (cell, scene, trial)", values.shape)
    return values


def responsiveness(responses: xr.Dataset, permutations: int = 999, seed: int = 0) -> FloatArray:
    """Test whether a cell responds to any scene more than to the blank.

    The statistic is the highest scene's mean response less the mean of the blanks. Under the hypothesis of no
    response the labels of the sweeps, scenes and blank alike, are exchangeable: they are shuffled, the same
    way for all cells, and the whole statistic with its maximum is computed again, so that 118 scenes need no
    correction.

    Parameters
    ----------
    responses : xarray.Dataset
        From ``trial_responses``.
    permutations : int
        How many shuffles.
    seed : int
        Of the shuffles.

    Returns
    -------
    (cell,) float64 array
        p = (b + 1) / (n + 1), b the shuffles that reach the observed value; NaN for a cell without a blank or
        a response.
    """
    count = check_integer(permutations, "permutations", "responsiveness", low=1)
    scenes, trials = responses.sizes["scene"], responses.sizes["trial"]
    cells = responses.sizes["cell"]
    values = np.empty(cells)
    step = max(1, _BLOCK_VALUES // ((scenes + 1) * trials))
    for first in range(0, cells, step):
        block = slice(first, first + step)
        sweeps = np.concatenate(
            [
                responses["response"].values[block].reshape(-1, scenes * trials),
                responses["blank"].values[block].reshape(-1, trials),
            ],
            axis=1,
        )
        # Sweeps by rows: shuffling then moves whole rows, which is what memory likes.
        values[block] = _permute(np.ascontiguousarray(sweeps.T), trials, count, seed)
    return values


def _permute(sweeps: npt.NDArray[Any], trials: int, permutations: int, seed: int) -> FloatArray:
    good = np.isfinite(sweeps)
    some = good.any(axis=1)
    labels = np.repeat(np.arange(len(sweeps) // trials), trials)[some]
    filled = np.where(good, sweeps, 0.0).astype(np.float32)[some]
    # Where the same sweeps are missing in all cells, as with moving trials, counts are one column for all.
    gaps = good[some]
    shared = bool((gaps == gaps[:, :1]).all())
    weights = gaps[:, :1] if shared else gaps
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    blank = labels[-1] == len(sweeps) // trials - 1 if len(labels) else False
    if not blank or len(starts) < 2:
        return np.full(sweeps.shape[1], np.nan)
    whole = bool(weights.all())
    full = np.diff(np.append(starts, len(labels)))[:, None]
    # Shuffles that reach the observed value count, also where rounding puts them a hair below it.
    rounding = 1e-6 * np.abs(filled).max(axis=0)
    # Centred, so that sums in float32 keep their digits.
    filled -= np.where(gaps, (filled.sum(axis=0) / gaps.sum(axis=0).clip(1)), 0.0).astype(np.float32)

    def statistic(order: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        sums = np.add.reduceat(filled[order], starts, axis=0)
        counts = full if whole else np.add.reduceat(weights[order], starts, axis=0, dtype=np.int64)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = sums / counts
        best = np.max(means[:-1], axis=0, where=np.isfinite(means[:-1]), initial=-np.inf)
        return np.asarray(best - means[-1])

    rng = np.random.default_rng(seed)
    observed = statistic(np.arange(len(labels)))
    reached = np.zeros(sweeps.shape[1])
    for _ in range(permutations):
        reached += statistic(rng.permutation(len(labels))) >= observed - rounding
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(observed), (reached + 1) / (permutations + 1), np.nan)


def quality_by_cell(responses: xr.Dataset, *, seed: int = 0, splits: int = 100, permutations: int = 0) -> pd.DataFrame:
    """Tabulate every cell's reliability, with the reason where it has none.

    Parameters
    ----------
    responses : xarray.Dataset
        From ``trial_responses`` or ``join_sessions``.
    seed, splits : int
        See `split_half_reliability`; a coordinate ``reliability`` of the cells is taken as it is.
    permutations : int
        Of `responsiveness`; 0 leaves that test out.

    Returns
    -------
    pandas.DataFrame
        cell_specimen_id, experiment_id, reliability, reason ("", "constant tuning", "too few trials"),
        missing_trials, and responsive_p where asked for.
    """
    values = _response_array(responses)
    if "reliability" in responses.coords:
        reliability = np.asarray(responses["reliability"].values, dtype=np.float64)
    else:
        reliability = split_half_reliability(values, seed=seed, splits=splits)
    good = np.isfinite(values)
    enough = (good.sum(axis=2) >= 2).sum(axis=1) >= 3
    reason = np.where(np.isfinite(reliability), "", np.where(enough, "constant tuning", "too few trials"))
    table = pd.DataFrame(
        {
            "cell_specimen_id": responses["cell_specimen_id"].values,
            "experiment_id": responses["experiment_id"].values,
            "reliability": reliability,
            "reason": reason,
            "missing_trials": (~good).sum(axis=(1, 2)),
        }
    )
    if permutations:
        table["responsive_p"] = responsiveness(responses, permutations, seed)
    return table


def quality_table(
    responses: xr.Dataset,
    cells: pd.DataFrame | None = None,
    *,
    min_reliability: float = 0.3,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Tabulate what each session holds and what was left out of it, and why.

    Parameters
    ----------
    responses : xarray.Dataset
        From ``trial_responses`` or ``join_sessions``.
    cells : pandas.DataFrame, optional
        From `quality_by_cell`; computed where not given.
    min_reliability : float
        From which a cell counts as reliable.
    alpha : float
        Below which a cell counts as responsive, where `cells` has ``responsive_p``.

    Returns
    -------
    pandas.DataFrame
        One row per experiment: area, genotype, depth_um, cells, reliable_cells, median_reliability,
        unreliable_cells, without_reliability, dropped_nan, dropped_constant, missing_trials, moving_trials,
        and responsive_cells.
    """
    limit = check_number(min_reliability, "min_reliability", "quality_table", low=-1, high=1)
    cells = quality_by_cell(responses) if cells is None else cells
    experiments = responses["experiment_id"].values
    sessions = np.asarray(responses["session"].values if "session" in responses.coords else experiments[:1])
    rows = []
    for number, session in enumerate(sessions):
        mine = experiments == session
        reliability = cells.loc[mine, "reliability"].to_numpy()
        known = reliability[np.isfinite(reliability)]
        one = responses.isel(cell=np.flatnonzero(mine)[:1])
        row = {
            "experiment_id": int(session),
            **{name: one[name].values[0] if mine.any() else None for name in ("area", "genotype", "depth_um")},
            "cells": int(mine.sum()),
            "reliable_cells": int((known >= limit).sum()),
            "unreliable_cells": int((known < limit).sum()),
            "without_reliability": int(mine.sum() - len(known)),
            "median_reliability": float(np.median(known)) if len(known) else np.nan,
        }
        for name in ("dropped_nan", "dropped_constant", "missing_trials", "moving_trials"):
            by_session = name in responses.coords
            row[name] = int(responses[name].values[number] if by_session else responses.attrs.get(name, 0))
        if "responsive_p" in cells:
            row["responsive_cells"] = int((cells.loc[mine, "responsive_p"] < alpha).sum())
        rows.append(row)
    return pd.DataFrame(rows)
