"""Sign-flip and permutation tests over whole donors: every arrangement of a few, a random sample of many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ._arrays import Array

__all__ = ["LEVEL", "MOST_EXACT", "DonorTest", "as_extreme", "flip_test", "split_test"]

LEVEL: Final = 0.05
"""Significance level. Where no arrangement of the donors can give a p this small, there is no test."""

MOST_EXACT: Final = 2**12
"""Up to this many arrangements are all tried; of more, a random sample is."""

# Numbers (8 bytes each) of arrangements held at a time.
_BLOCK = 2**23


@dataclass(frozen=True)
class DonorTest:
    """The outcome of a test over donors.

    Attributes
    ----------
    p : (test,) array
        With every arrangement tried, the share that is at least as extreme, the observed one included; of a random
        sample, (b + 1) / (n + 1). NaN where ``p_least`` exceeds :data:`LEVEL`.
    p_least : float
        The smallest p that so many donors (and so many permutations) can give, whatever the scores are.
    exact : bool
        Whether every arrangement was tried.
    reason : str
        Why there is no p; empty where there is one.
    """

    p: Array
    p_least: float
    exact: bool
    reason: str


def flip_test(
    differences: Array,
    units: Array,
    permutations: int,
    rng: np.random.Generator,
    *,
    alternative: str = "two-sided",
    noun: str = "donor",
) -> DonorTest:
    """Test that the mean of paired differences is zero by flipping the signs of whole units.

    Parameters
    ----------
    differences : (cell, test) array
        Paired differences.
    units : (cell,) int array
        The unit of each cell, 0, 1, ...: its donor.
    permutations : int
        Random flips, where there are too many to try all.
    rng : numpy.random.Generator
        Draws the random flips.
    alternative : {"two-sided", "less", "greater"}
        On which side a mean counts as extreme.
    noun : str
        What a unit is called in the reason.

    Returns
    -------
    DonorTest
        One p per test.
    """
    sums = _sums(differences, units)
    count = len(sums)
    least, exact = _least(2**count, permutations, mirrored=alternative == "two-sided")
    if least > LEVEL:
        reason = f"not testable: with {_counted(count, noun)} p is at least {least:.3g}, above {LEVEL:g}"
        return DonorTest(np.full(sums.shape[1], np.nan), least, exact, reason)
    observed, scale = sums.sum(axis=0), np.abs(sums).sum(axis=0)
    counts = np.zeros(sums.shape[1])
    for flips in _flips(count, permutations, exact, rng):
        counts += as_extreme((1.0 - 2.0 * flips) @ sums, observed, alternative, scale)
    return DonorTest(_p(counts, 2**count if exact else permutations, exact), least, exact, "")


def split_test(
    scores: tuple[Array, Array],
    units: tuple[Array, Array],
    permutations: int,
    rng: np.random.Generator,
    *,
    noun: str = "donor",
) -> DonorTest:
    """Test that two groups' means are equal, two-sided, by parting whole units between the groups anew.

    A unit with cells in one group changes places with others of that kind; a unit with cells in both changes its
    own two parts about, so that what it has of its own stays on both sides.

    Parameters
    ----------
    scores : two (cell, test) arrays
        Scores of the groups a and b.
    units : two (cell,) int arrays
        The unit of each cell; the same number in both groups is the same unit.
    permutations : int
        Random arrangements, where there are too many to try all.
    rng : numpy.random.Generator
        Draws the random arrangements.
    noun : str
        What a unit is called in the reason.

    Returns
    -------
    DonorTest
        One p per test.
    """
    own = [np.unique(side) for side in units]
    shared = np.intersect1d(own[0], own[1])
    alone = [np.setdiff1d(side, shared) for side in own]
    ways = math.comb(len(alone[0]) + len(alone[1]), len(alone[0])) * 2 ** len(shared)
    # Of two groups of as many units, an arrangement and its mirror image differ by as much.
    least, exact = _least(ways, permutations, mirrored=len(alone[0]) == len(alone[1]))
    together = np.concatenate(scores)
    if least > LEVEL:
        donors = f"{len(own[0])} against {_counted(len(own[1]), noun)}"
        donors += f" ({len(shared)} in both groups)" if len(shared) else ""
        reason = f"not testable: {donors} can be parted in {_counted(ways, 'way')}, so p is at least {least:.3g}"
        return DonorTest(np.full(together.shape[1], np.nan), least, exact, f"{reason}, above {LEVEL:g}")
    # Blocks: units of a alone, of b alone, then the parts in a and the parts in b of those in both.
    order = np.concatenate(alone)
    place = [np.searchsorted(shared, side) for side in units]
    blocks = []
    for at, side in enumerate(units):
        known = {unit: number for number, unit in enumerate(order)}
        in_both = np.isin(side, shared)
        first = np.array([known.get(unit, 0) for unit in side], dtype=np.int64)
        blocks.append(np.where(in_both, len(order) + at * len(shared) + place[at], first))
    codes = np.concatenate(blocks)
    sums, sizes = _sums(together, codes), np.bincount(codes).astype(np.float64)
    means = [side.mean(axis=0) for side in scores]
    observed = means[0] - means[1]
    scale = np.abs(together).mean(axis=0)
    counts = np.zeros(together.shape[1])
    for in_a in _arrangements([len(side) for side in alone], len(shared), permutations, exact, rng):
        size = (in_a @ sizes)[:, None]
        inside = in_a @ sums
        null = inside / size - (sums.sum(axis=0) - inside) / (sizes.sum() - size)
        counts += as_extreme(null, observed, "two-sided", scale)
    return DonorTest(_p(counts, ways if exact else permutations, exact), least, exact, "")


def as_extreme(null: Array, observed: Array, alternative: str, scale: Array | float = 0.0) -> Array:
    """Count the rows of ``null`` (permutation, test) that lie at least as far out as ``observed`` (test,).

    ``scale`` is the size of the terms that were summed: equal sums come out unequal in the last digits when
    they are summed in another order.
    """
    slack = 1e-9 * np.abs(observed) + 1e-12 * np.asarray(scale)
    if alternative == "two-sided":
        extreme = np.abs(null) >= np.abs(observed) - slack
    elif alternative == "less":
        extreme = null <= observed + slack
    else:
        extreme = null >= observed - slack
    counts: Array = extreme.sum(axis=0)
    return counts


def _least(ways: int, permutations: int, *, mirrored: bool) -> tuple[float, bool]:
    """Return the least p of so many arrangements, and whether all of them are tried."""
    exact = ways <= MOST_EXACT
    least = min(1.0, (2 if mirrored else 1) / ways)
    return (least if exact else max(least, 1 / (permutations + 1))), exact


def _p(counts: Array, tried: int, exact: bool) -> Array:
    p: Array = np.maximum(counts, 1) / tried if exact else (counts + 1) / (tried + 1)
    return p


def _sums(values: Array, codes: Array) -> Array:
    sums = np.zeros((int(codes.max()) + 1, values.shape[1]))
    np.add.at(sums, codes, values)
    return sums


def _flips(count: int, permutations: int, exact: bool, rng: np.random.Generator) -> Iterator[Array]:
    """Yield which units are flipped, (some arrangements, unit) of 0 and 1: all arrangements, or random ones."""
    if exact:
        yield _every_flip(count)
        return
    height = max(1, _BLOCK // count)
    for begin in range(0, permutations, height):
        shape = (min(height, permutations - begin), count)
        yield rng.integers(2, size=shape, dtype=np.int8).astype(np.float64)


def _every_flip(count: int) -> Array:
    flips: Array = ((np.arange(2**count)[:, None] >> np.arange(count)) & 1).astype(np.float64)
    return flips


def _arrangements(
    alone: list[int], shared: int, permutations: int, exact: bool, rng: np.random.Generator
) -> Iterator[Array]:
    """Yield which blocks count for group a, (some arrangements, block) of 0 and 1, in the order of the blocks."""
    total = sum(alone)
    if exact:
        chosen = np.zeros((math.comb(total, alone[0]), total))
        for row, members in enumerate(itertools.combinations(range(total), alone[0])):
            chosen[row, list(members)] = 1.0
        swapped = _every_flip(shared)
        parts = np.repeat(chosen, len(swapped), axis=0), np.tile(swapped, (len(chosen), 1))
        yield np.concatenate([parts[0], 1.0 - parts[1], parts[1]], axis=1)
        return
    height = max(1, _BLOCK // (total + 2 * shared))
    for begin in range(0, permutations, height):
        rows = min(height, permutations - begin)
        chosen = np.zeros((rows, total))
        drawn = rng.random((rows, total)).argsort(axis=1)[:, : alone[0]]
        np.put_along_axis(chosen, drawn, 1.0, axis=1)
        swapped = rng.integers(2, size=(rows, shared)).astype(np.float64)
        yield np.concatenate([chosen, 1.0 - swapped, swapped], axis=1)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
