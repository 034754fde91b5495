"""Whether networks that gain in alignment also gain in transfer: a rank correlation over networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignment._validation import check_integer, check_number
from neural_alignment import InputError

__all__ = ["FEWEST_MODELS", "GainLink", "correlate_gains"]

FEWEST_MODELS = 4
"""With fewer networks most resamples have ties or a correlation of one: an interval would mean nothing."""


@dataclass(frozen=True)
class GainLink:
    """A rank correlation over networks.

    Attributes
    ----------
    rho : float
        Spearman's correlation; NaN where it is not defined.
    ci_low, ci_high : float
        Percentile interval by bootstrap over networks; NaN where it is not defined.
    n : int
        Networks.
    note : str
        Why a number is missing; empty where none is.
    """

    rho: float
    ci_low: float
    ci_high: float
    n: int
    note: str = ""


def correlate_gains(
    alignment: Sequence[float] | npt.NDArray[np.float64],
    transfer: Sequence[float] | npt.NDArray[np.float64],
    *,
    bootstraps: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> GainLink:
    """Correlate what a layer gains in alignment with what it gains in transfer, over networks.

    Parameters
    ----------
    alignment, transfer : (model,) arrays
        The gains, in any units.
    bootstraps : int, optional
        Resamples of networks. Those in which all of one gain are equal have no correlation and are left out.
    level : float, optional
        Coverage of the interval.
    seed : int, optional
        Of the resamples.

    Returns
    -------
    GainLink
        With fewer than :data:`FEWEST_MODELS` networks no interval; with fewer than two, or equal gains, no
        correlation either.

    Raises
    ------
    InputError
        Arrays of different lengths, or values that are not finite.

    Examples
    --------
    >>> correlate_gains([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])
    GainLink(rho=1.0, ci_low=nan, ci_high=nan, n=3, note='the interval is not defined with fewer than 4 networks')
    """
    check_integer(bootstraps, "bootstraps", "correlate_gains", low=100)
    check_integer(seed, "seed", "correlate_gains", low=0)
    check_number(level, "level", "correlate_gains", low=0, high=1, open_low=True)
    x, y = (np.asarray(values, dtype=np.float64) for values in (alignment, transfer))
    if x.ndim != 1 or x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(
            f"correlate_gains needs two finite gains of each network. Got arrays of {x.shape} and {y.shape}; leave "
            "out the networks that lack one."
        )
    nan, n = float("nan"), len(x)
    if n < 2:
        return GainLink(nan, nan, nan, n, "a correlation needs at least 2 networks")
    rho = float(_spearman(x[None], y[None])[0])
    if np.isnan(rho):
        return GainLink(nan, nan, nan, n, "the correlation is not defined where all gains are equal")
    if n < FEWEST_MODELS:
        return GainLink(rho, nan, nan, n, f"the interval is not defined with fewer than {FEWEST_MODELS} networks")
    chosen = np.random.default_rng(seed).integers(0, n, (bootstraps, n))
    drawn = _spearman(x[chosen], y[chosen])
    tail = (1 - level) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return GainLink(rho, float(low), float(high), n)


def _spearman(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rank correlation of each row; NaN where a row is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=1) for values in (x, y)]
    left, right = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    scale = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        # Rounding may carry a perfect correlation a hair beyond one.
        return np.asarray(np.clip((left * right).sum(axis=1) / np.where(scale > 0, scale, np.nan), -1.0, 1.0))
