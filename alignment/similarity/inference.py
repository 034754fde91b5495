"""Intervals, paired tests and false discovery rates for scores of cells that come from a few donors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from alignment._validation import check_choice, check_integer, check_number, fail

from . import _kernels
from ._arrays import Array, as_array
from ._donor_tests import flip_test

__all__ = [
    "Interval",
    "PairedTest",
    "benjamini_hochberg",
    "bootstrap",
    "interval_limits",
    "paired_permutation",
    "resample",
]

# Shares (4 bytes each) held at a time.
_BLOCK = 2**24
# The widened percentiles of fewer units lie outside of all resamples.
LEAST_UNITS_FOR_PERCENTILES = 6


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval.

    Attributes
    ----------
    value, low, high : float
        The estimate and the limits; the limits are NaN where nothing can be resampled.
    n_cells, n_donors : int
        How many cells and donors stand behind it.
    resampled : {"donors, cells", "cells", "none"}
        What was resampled. One donor (or none named) leaves its cells alone to resample, and the interval
        then says nothing of other animals.
    bootstraps, seed : int
        How it was made.
    """

    value: float
    low: float
    high: float
    n_cells: int
    n_donors: int
    resampled: str
    bootstraps: int
    seed: int


@dataclass(frozen=True)
class PairedTest:
    """A paired sign-flip test.

    Attributes
    ----------
    difference : float
        Mean of the paired differences.
    p : float
        Never 0 and never above 1; NaN where ``p_least`` exceeds 0.05.
    p_least : float
        The smallest p that so many donors can give: two-sided 2 / 2ⁿ.
    n_cells, n_donors : int
        Pairs, and the donors they come from.
    flipped : {"donors", "cells"}
        Whether the signs of whole donors were flipped, or, where no donors are named, of single cells.
    exact : bool
        Whether every flip was tried.
    reason : str
        Why there is no p; empty where there is one.
    permutations, seed : int
        Of the random flips, where not all were tried.
    """

    difference: float
    p: float
    p_least: float
    n_cells: int
    n_donors: int
    flipped: str
    exact: bool
    reason: str
    permutations: int
    seed: int


def bootstrap(
    values: Any,
    donors: Any = None,
    *,
    statistic: Literal["mean"] | Callable[[Array], float] = "mean",
    bootstraps: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Hierarchical bootstrap interval: donors are drawn with replacement, then each drawn donor's cells.

    The percentiles are widened for the number of donors (Hesterberg 2015, the expanded percentile interval),
    since a handful of donors spreads less than the population they come from; with fewer than 6 the limits
    are Student's t times the resamples' standard deviation. In simulations with normal scores, 15 cells a
    donor and 3 to 20 donors, the 95 % interval covered the truth in 94 to 98.5 % of cases where half or more
    of the variance lay between donors; where little or none did, drawing cells too makes it conservative (98
    to 100 %).

    Parameters
    ----------
    values : (cell,) array
        One score a cell.
    donors : (cell,) array, optional
        Each cell's donor. With one donor, or none named, only cells are drawn, and the result says so.
    statistic : "mean" or callable
        What is estimated; a callable takes the drawn values, (cell,), and gives a float.
    bootstraps : int
        Number of resamples, at least 100.
    level : float
        Coverage, between 0 and 1.
    seed : int
        Of the draws.

    Returns
    -------
    Interval
        Value, limits, counts, and what was resampled.

    Raises
    ------
    InputError
        No cell, NaN among the values, or donors that do not match them.

    Examples
    --------
    >>> import numpy as np
    >>> found = bootstrap(np.arange(20.0), donors=np.repeat(["a", "b", "c", "d"], 5))
    >>> found.value, found.resampled
    (9.5, 'donors, cells')
    >>> found.low < 9.5 < found.high
    True
    """
    scores = _scores(values, "values", "bootstrap")
    codes = donor_codes(donors, len(scores), "bootstrap")
    check_integer(bootstraps, "bootstraps", "bootstrap", low=100)
    check_number(level, "level", "bootstrap", low=0.5, high=0.9999)
    check_integer(seed, "seed", "bootstrap", low=0)
    rng = np.random.default_rng(seed)
    value = float(scores.mean()) if statistic == "mean" else float(_callable(statistic)(scores))
    n_donors = int(codes.max()) + 1
    if len(scores) < 2:
        return Interval(value, np.nan, np.nan, 1, 1, "none", bootstraps, seed)
    drawn = []
    for block in resample(codes, bootstraps, rng, counts=statistic != "mean"):
        if statistic == "mean":
            drawn.append(block.astype(np.float64) @ scores)
        else:
            repeats = block.astype(np.int64)
            drawn.append(np.array([_callable(statistic)(np.repeat(scores, row)) for row in repeats]))
    low, high = interval_limits(np.concatenate(drawn), value, _independent(codes), level)
    resampled = "donors, cells" if n_donors > 1 else "cells"
    return Interval(value, float(low), float(high), len(scores), n_donors, resampled, bootstraps, seed)


def paired_permutation(
    a: Any,
    b: Any = None,
    donors: Any = None,
    *,
    permutations: int = 10_000,
    alternative: Literal["two-sided", "less", "greater"] = "two-sided",
    seed: int = 0,
) -> PairedTest:
    """Paired sign-flip test that the mean of a − b (or of a, where b is left out) is zero.

    Cells of one animal share its preparation, so the signs of whole donors are flipped. Up to 12 donors every one
    of the 2ⁿ flips is tried, and p is the share of them that is at least as extreme. With fewer than 6 donors no
    two-sided p can reach 0.05 (2 / 2⁵ = 0.06): then there is none, and ``reason`` says so.

    Parameters
    ----------
    a, b : (cell,) arrays
        Two scores of each cell; or the differences alone.
    donors : (cell,) array, optional
        Each cell's donor. Without, every pair counts as independent of the others and is flipped by itself.
    permutations : int
        Number of random flips, at least 19, where there are more than 4,096 to try.
    alternative : {"two-sided", "less", "greater"}
        ``"less"``: a is smaller than b.
    seed : int
        Of the flips.

    Returns
    -------
    PairedTest
        Difference, p, the least p, counts, and what was flipped.

    Raises
    ------
    InputError
        Different lengths, no cell, or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> paired_permutation(np.full(12, 0.1), np.full(12, 0.3), permutations=999).p < 0.01
    True
    """
    differences = _scores(a, "a", "paired_permutation")
    if b is not None:
        other = _scores(b, "b", "paired_permutation")
        if len(other) != len(differences):
            raise fail("b", "paired_permutation", f"one score for each of the {len(differences)} cells", len(other))
        differences = differences - other
    codes = donor_codes(donors, len(differences), "paired_permutation")
    check_integer(permutations, "permutations", "paired_permutation", low=19)
    check_integer(seed, "seed", "paired_permutation", low=0)
    check_choice(alternative, "alternative", "paired_permutation", ("two-sided", "less", "greater"))
    units, flipped = flip_units(donors, codes)
    rng = np.random.default_rng(seed)
    test = flip_test(
        differences[:, None], units, permutations, rng, alternative=alternative, noun=flipped.removesuffix("s")
    )
    return PairedTest(
        difference=float(differences.mean()),
        p=float(test.p[0]),
        p_least=test.p_least,
        n_cells=len(differences),
        n_donors=int(codes.max()) + 1,
        flipped=flipped,
        exact=test.exact,
        reason=test.reason,
        permutations=permutations,
        seed=seed,
    )


def benjamini_hochberg(p: Any) -> Array:
    """Return each test's false discovery rate among its family (Benjamini and Hochberg 1995).

    Parameters
    ----------
    p : (test,) array
        p values; NaN stands for a test that could not be made and is not counted.

    Returns
    -------
    (test,) float64 array
        q values in [0, 1], in the order given; NaN where p is.

    Raises
    ------
    InputError
        A value outside of [0, 1].

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5]).round(4)
    array([0.04  , 0.0533, 0.0533, 0.5   ])
    """
    values = as_array(p, "p", "benjamini_hochberg").astype(np.float64)
    if values.ndim != 1:
        raise fail("p", "benjamini_hochberg", "an array (test,)", values.shape)
    known = np.flatnonzero(~np.isnan(values))
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise fail("p", "benjamini_hochberg", "between 0 and 1", values)
    q = np.full(len(values), np.nan)
    order = known[np.argsort(values[known], kind="stable")]
    scaled = values[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def donor_codes(donors: Any, count: int, owner: str) -> Array:
    """Return each cell's donor as 0, 1, ...; all 0 where no donors are named."""
    if donors is None:
        return np.zeros(count, dtype=np.int64)
    names = np.asarray(donors)
    if names.shape != (count,):
        raise fail("donors", owner, f"an array (cell,) with one donor for each of the {count} cells", names.shape)
    codes: Array = np.unique(names.astype(str), return_inverse=True)[1].reshape(-1).astype(np.int64)
    return codes


def resample(codes: Array, bootstraps: int, rng: np.random.Generator, *, counts: bool = False) -> Iterator[Array]:
    """Yield the share of each cell in each resample, (some resamples, cell) float32, in bounded blocks.

    A resample's mean is ``shares @ values``, for any number of scores at once. Cells of a donor are drawn as
    often as it has cells, once for each time that the donor is drawn. ``counts`` yields how often instead of
    what share.
    """
    sizes = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    height = max(1, min(bootstraps, _BLOCK // len(codes)))
    for begin in range(0, bootstraps, height):
        picked = rng.integers(len(sizes), size=(min(height, bootstraps - begin), len(sizes)))
        uniform = rng.random(int(sizes[picked].sum()))
        drawn = _kernels.count_draws(picked, starts, sizes, order, uniform)
        if not counts:
            drawn /= drawn.sum(axis=1, keepdims=True)
        yield drawn


def flip_units(donors: Any, codes: Array) -> tuple[Array, str]:
    """Return the unit of each cell that a test flips or permutes, and what units are: donors, or cells without."""
    return (np.arange(len(codes)), "cells") if donors is None else (codes, "donors")


def interval_limits(draws: Array, value: Any, independent: int, level: float = 0.95) -> tuple[Array, Array]:
    """Return the limits around ``value`` from ``draws`` (resample, ...), widened for few independent units.

    The normal quantile of the percentile interval becomes √(n / (n − 1)) times Student's t with n − 1 degrees
    of freedom, n the number of independent units (donors, or cells of one donor). Below 6 units no percentile
    of the resamples reaches out that far; then it is that many standard deviations of the resamples to both
    sides.
    """
    from scipy.special import ndtr, stdtrit

    tail = (1.0 - level) / 2
    n = max(independent, 2)
    quantile = -float(np.sqrt(n / (n - 1)) * stdtrit(n - 1, tail))
    if n < LEAST_UNITS_FOR_PERCENTILES:
        half = quantile * draws.std(axis=0, ddof=1)
        return value - half, value + half
    tail = float(ndtr(-quantile))
    limits = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return limits[0], limits[1]


def _independent(codes: Array) -> int:
    n_donors = int(codes.max()) + 1
    return n_donors if n_donors > 1 else len(codes)


def _scores(values: Any, parameter: str, owner: str) -> Array:
    array = as_array(values, parameter, owner).astype(np.float64)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        got = array.shape if array.ndim != 1 or len(array) == 0 else array
        raise fail(parameter, owner, "an array (cell,) of at least one finite score", got)
    return array


def _callable(statistic: Any) -> Callable[[Array], float]:
    if not callable(statistic):
        raise fail("statistic", "bootstrap", "'mean' or a function of the drawn values", statistic)
    found: Callable[[Array], float] = statistic
    return found
