"""Noise ceilings: how well a population's responses predict themselves, trials split in halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from alignment._validation import check_choice, check_integer, fail

from ._arrays import Array, as_array
from .rsa import compare_rdms, rdm

__all__ = ["NoiseCeiling", "noise_ceiling", "normalise", "spearman_brown", "split_halves"]


@dataclass(frozen=True)
class NoiseCeiling:
    """Split-half ceilings and the reasons for those that are undefined.

    Attributes
    ----------
    value : (cell,) or (1,) float64 array
        Mean over splits, Spearman–Brown corrected; NaN where undefined.
    low, high : arrays of the same shape
        2.5th and 97.5th percentile over splits (the spread of splitting, not of animals).
    reason : array of str of the same shape
        Empty, or why the ceiling is NaN.
    splits, seed : int
        How it was made.
    """

    value: Array
    low: Array
    high: Array
    reason: Array
    splits: int
    seed: int


def noise_ceiling(
    responses: Any,
    kind: Literal["tuning", "rdm"] | Callable[[Array, Array], Any] = "tuning",
    *,
    splits: int = 20,
    seed: int = 0,
) -> NoiseCeiling:
    """Split-half noise ceiling over trials, Spearman–Brown corrected to the whole number of trials.

    Each split halves every scene's trials at random (an odd trial out is left aside) and compares the halves'
    means.

    Parameters
    ----------
    responses : (cell, scene, trial) array
        Responses; NaN marks a trial that was not measured.
    kind : {"tuning", "rdm"} or callable
        ``"tuning"``: each cell's correlation over scenes between halves, its reliability.
        ``"rdm"``: the Spearman correlation between the halves' dissimilarity matrices, one value for the
        population. A callable takes both halves' means (cell, scene) and gives one number a cell or one for
        all; it is averaged over splits and **not** corrected, since the correction is one of correlations
        (:func:`group_ceilings` has its counterpart for RMSE and KDE-IoU).
    splits, seed : int
        Number of random splits, and their seed.

    Returns
    -------
    NoiseCeiling
        Values, their spread over splits, and a reason for each that is NaN.

    Raises
    ------
    InputError
        Not three axes, or fewer than two trials or three scenes.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> tuning = rng.normal(size=(2, 50, 1))
    >>> noisy = np.concatenate([tuning + 0.1 * rng.normal(size=(2, 50, 20)), np.zeros((1, 50, 20))])
    >>> found = noise_ceiling(noisy)
    >>> found.value.round(2), found.reason.tolist()
    (array([ 1.,  1., nan]), ['', '', 'the mean response is the same to every scene'])
    """
    trials = _check_trials(responses, splits, seed, "noise_ceiling")
    if not callable(kind):
        check_choice(kind, "kind", "noise_ceiling", ("tuning", "rdm"))
    known_kinds: dict[str, Callable[[Array, Array], Any]] = {"tuning": _tuning, "rdm": _rdms}
    compare = kind if callable(kind) else known_kinds[kind]
    found = np.array([np.atleast_1d(compare(*halves)) for halves in _halves(trials, splits, seed)], dtype=np.float64)
    if not callable(kind):
        found = spearman_brown(found)
    # A split that happens to leave a half without variation is left out of the mean; a cell without any split
    # is NaN.
    known = np.isfinite(found)
    count = known.sum(axis=0)
    total = np.where(known, found, 0.0).sum(axis=0)
    value = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    low, high = np.full(len(value), np.nan), np.full(len(value), np.nan)
    some = count > 0
    low[some], high[some] = np.nanquantile(found[:, some], [0.025, 0.975], axis=0)
    return NoiseCeiling(value, low, high, _reasons(trials, value), splits, seed)


def spearman_brown(correlation: Any) -> Array:
    """Correct a correlation of two halves to their whole: 2r / (1 + r).

    Parameters
    ----------
    correlation : array
        Between halves. At −1 and below it the correction is undefined and gives NaN.

    Returns
    -------
    array
        Of the same shape, at most 1.

    Examples
    --------
    >>> spearman_brown([0.5, 0.0, 1.0]).round(3)
    array([0.667, 0.   , 1.   ])
    """
    r = as_array(correlation, "correlation", "spearman_brown")
    corrected: Array = 2 * r / np.where(r > -1, 1 + r, np.nan)
    return corrected


def normalise(score: Any, ceiling: Any, kind: Literal["correlation", "distance", "overlap"] = "correlation") -> Array:
    """Express scores as a part of what the data's own reliability allows; larger is nearer to the ceiling.

    Parameters
    ----------
    score : array
        Of a model, which has no noise of its own, against noisy data.
    ceiling : array
        The data against themselves, by their trials. For correlations the split-half reliability,
        Spearman–Brown corrected; √reliability is the largest correlation that a noiseless model of the true
        responses can reach.
    kind : {"correlation", "distance", "overlap"}
        ``"correlation"``: score / √ceiling. ``"distance"`` (RMSE): ceiling / score. ``"overlap"`` (KDE-IoU):
        score / ceiling. The last two are 1 where a model is as close to the cells as a noiseless model of the
        true responses would be; see :func:`group_ceilings`.

    Returns
    -------
    array
        NaN where the ceiling is not above zero: there is nothing to normalise by. May exceed 1.

    Examples
    --------
    >>> normalise([0.3, 0.3], [0.36, -0.1])
    array([0.5, nan])
    >>> normalise([0.2], [0.1], kind="distance")
    array([0.5])
    """
    check_choice(kind, "kind", "normalise", ("correlation", "distance", "overlap"))
    raw = as_array(score, "score", "normalise").astype(np.float64)
    limit = as_array(ceiling, "ceiling", "normalise").astype(np.float64)
    limit = np.where(limit > 0, limit, np.nan)
    if kind == "correlation":
        return np.asarray(raw / np.sqrt(limit))
    if kind == "overlap":
        return np.asarray(raw / limit)
    with np.errstate(divide="ignore"):
        return np.asarray(limit / np.where(raw >= 0, raw, np.nan))


def split_halves(responses: Any, splits: int = 20, seed: int = 0) -> Iterator[tuple[Array, Array]]:
    """Yield both halves' means over trials for random splits of every scene's trials.

    Parameters
    ----------
    responses : (cell, scene, trial) array
        NaN marks a trial that was not measured.
    splits, seed : int
        Number of random splits, and their seed. The same as those of :func:`noise_ceiling`.

    Yields
    ------
    (cell, scene) float64 array, twice
        NaN where a half holds no measured trial. An odd trial out is left aside.

    Examples
    --------
    >>> import numpy as np
    >>> first, second = next(split_halves(np.ones((2, 3, 5)), splits=1))
    >>> first.shape, float(second.mean())
    ((2, 3), 1.0)
    """
    return _halves(_check_trials(responses, splits, seed, "split_halves"), splits, seed)


def _check_trials(responses: Any, splits: int, seed: int, owner: str) -> Array:
    trials = as_array(responses, "responses", owner)
    if trials.ndim != 3 or trials.shape[0] < 1 or trials.shape[1] < 3 or trials.shape[2] < 2:
        allowed = "an array (cell, scene, trial) with at least 3 scenes and 2 trials"
        raise fail("responses", owner, allowed, trials.shape)
    check_integer(splits, "splits", owner, low=1)
    check_integer(seed, "seed", owner, low=0)
    return trials


def _halves(trials: Array, splits: int, seed: int) -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng(seed)
    n_scenes, n_trials = trials.shape[1:]
    half = n_trials // 2
    known = np.isfinite(trials)
    complete = bool(known.all())
    filled = trials if complete else np.where(known, trials, 0.0)
    for _ in range(splits):
        order = rng.random((n_scenes, n_trials)).argsort(axis=1)
        sides = np.zeros((2, n_scenes, n_trials))
        np.put_along_axis(sides[0], order[:, :half], 1.0, axis=1)
        np.put_along_axis(sides[1], order[:, half : 2 * half], 1.0, axis=1)
        means = []
        for side in sides:
            total = np.einsum("cst,st->cs", filled, side.astype(filled.dtype)).astype(np.float64)
            count = half if complete else np.einsum("cst,st->cs", known.astype(np.float32), side.astype(np.float32))
            means.append(total / np.where(np.asarray(count) > 0, count, np.nan))
        yield means[0], means[1]


def _tuning(first: Array, second: Array) -> Array:
    """Return each cell's Pearson correlation over the scenes that both halves measured."""
    both = np.isfinite(first) & np.isfinite(second)
    count = np.maximum(both.sum(axis=1, keepdims=True), 1)
    deviations = []
    for half in (first, second):
        masked = np.where(both, half, 0.0)
        deviation = np.where(both, masked - masked.sum(axis=1, keepdims=True) / count, 0.0)
        largest = np.abs(masked).max(axis=1, keepdims=True)
        # What rounding leaves of a constant response is no variation.
        deviation[(np.abs(deviation).max(axis=1, keepdims=True) <= 1e-9 * largest)[:, 0]] = 0.0
        deviations.append(deviation)
    a, b = deviations
    with np.errstate(invalid="ignore", divide="ignore"):
        r: Array = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.where(both.sum(axis=1) > 2, r, np.nan)


def _rdms(first: Array, second: Array) -> float:
    cells = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    if cells.sum() < 2:
        return float("nan")
    return float(compare_rdms(rdm(first[cells].T), rdm(second[cells].T)))


def _reasons(trials: Array, value: Array) -> Array:
    reasons = np.full(len(value), "", dtype=object)
    for position in np.flatnonzero(~np.isfinite(value)):
        cell = trials[position] if len(value) == len(trials) else trials.reshape(-1, trials.shape[2])
        measured = np.isfinite(cell).sum(axis=1)
        if not measured.any():
            reasons[position] = "no trial was measured"
        elif (measured < 2).all():
            reasons[position] = "no scene has two measured trials"
        elif np.ptp(np.nanmean(cell[measured > 0], axis=1)) <= 1e-9 * np.nanmax(np.abs(cell)):
            reasons[position] = "the mean response is the same to every scene"
        else:
            reasons[position] = "no split of the trials left two halves that vary over scenes"
    return reasons.astype(str)
