"""Inner loops, compiled by numba when they are first called.

numba takes about a second to import, so nothing here imports it before a loop is needed. Each loop runs on
one thread: the pipeline spreads layers and models over processes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import Array

__all__ = [
    "bin_rows",
    "bin_rows_into",
    "count_draws",
    "exact_pairs",
    "finish_block",
    "overlap_pairs",
    "overlap_rows",
    "row_moments",
    "squared_norms",
]


@functools.cache
def _compile(loop: Callable[..., Any], fast: bool = False) -> Callable[..., Any]:
    import numba

    # Reordering sums is all that is wanted of fast-math; NaN and infinity keep their meaning.
    flags = {"reassoc", "contract", "arcp", "nsz"} if fast else False
    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True, fastmath=flags)(loop)
    return compiled


def squared_norms(rows: Array) -> Array:
    """Return the squared length of each row, accumulated in float64."""
    out: Array = _compile(_squared_norms, True)(rows)
    return out


def finish_block(
    products: Array,
    left: Array,
    right: Array,
    close: float,
    scale: float,
    flagged: Array,
    start: tuple[int, int] = (0, 0),
) -> int:
    """Turn inner products into root mean square differences, in place; list the pairs that are too close.

    Parameters
    ----------
    products : (≥ n, ≥ m) float array
        Inner products; those of the block are overwritten.
    left, right : (n,) and (m,) float64 arrays
        Squared lengths.
    close : float
        Pairs whose squared distance is below this part of the sum of squared lengths are listed.
    scale : float
        What a squared distance is multiplied with before the root.
    flagged : (capacity, 2) int64 array
        Receives the listed pairs, counted from the block's first.
    start : (int, int)
        Row and column of ``products`` at which the block begins.

    Returns
    -------
    int
        Number of close pairs; greater than the capacity when they did not all fit.
    """
    return int(_compile(_finish_block)(products, left, right, close, scale, flagged, *start))


def exact_pairs(left: Array, right: Array, pairs: Array) -> Array:
    """Return the mean squared difference of each listed pair of rows, in float64."""
    out: Array = _compile(_exact_pairs, True)(left, right, pairs)
    return out


def row_moments(rows: Array) -> Array:
    """Return each row's minimum, maximum, mean and sum of squared deviations: (n, d) to (n, 4) float64.

    A row with NaN or infinity gets NaN throughout.
    """
    out: Array = _compile(_row_moments)(rows)
    return out


def bin_rows(rows: Array, start: Array, step: Array, size: int) -> Array:
    """Share each value between the two nodes beside it (linear binning): (n, d) to shares (n, size).

    Shares of a row sum to 1.
    """
    out = np.zeros((len(rows), size))
    bin_rows_into(out, rows, start, step, size)
    return out


def bin_rows_into(out: Array, rows: Array, start: Array, step: Array, size: int) -> Array:
    """Add :func:`bin_rows` to zeros (n, ≥ size); return the variance that binning added, in squared steps."""
    added: Array = _compile(_bin_rows)(out, rows, start, step, size)
    return added


def overlap_pairs(left: Array, right: Array) -> Array:
    """Return the sum of the lower envelope of every pair of rows: (n, g), (m, g) to (n, m)."""
    out: Array = _compile(_overlap_pairs, True)(left, right)
    return out


def overlap_rows(left: Array, right: Array) -> Array:
    """Return the sum of the lower envelope of row i and row i: (n, g), (n, g) to (n,)."""
    out: Array = _compile(_overlap_rows, True)(left, right)
    return out


def count_draws(picked: Array, start: Array, size: Array, order: Array, uniform: Array) -> Array:
    """Count how often each cell is drawn when the picked donors' cells are drawn with replacement.

    Parameters
    ----------
    picked : (b, j) int64 array
        Donors drawn in each resample.
    start, size : (j,) int64 arrays
        Where a donor's cells begin in ``order`` and how many they are.
    order : (n,) int64 array
        Cells, donor by donor.
    uniform : (draws,) float64 array
        One number in [0, 1) a draw, in the order of use.

    Returns
    -------
    (b, n) float32 array
        How often each cell stands in each resample.
    """
    out: Array = _compile(_count_draws)(picked, start, size, order, uniform)
    return out


def _squared_norms(rows: Array) -> Array:
    out = np.zeros(rows.shape[0])
    for i in range(rows.shape[0]):
        total = np.float64(0.0)
        for k in range(rows.shape[1]):
            value = np.float64(rows[i, k])
            total += value * value
        out[i] = total
    return out


def _finish_block(
    products: Array,
    left: Array,
    right: Array,
    close: float,
    scale: float,
    flagged: Array,
    first_row: int,
    first_column: int,
) -> int:
    found = 0
    capacity = flagged.shape[0]
    for i in range(left.shape[0]):
        here = 0
        row = products[first_row + i, first_column : first_column + right.shape[0]]
        for j in range(right.shape[0]):
            total = left[i] + right[j]
            squared = total - 2.0 * row[j]
            here += squared < close * total
            row[j] = math.sqrt(max(squared, 0.0) * scale)
        if here:
            # The rare second look at a row keeps the first loop free of branches.
            for j in range(right.shape[0]):
                total = left[i] + right[j]
                if row[j] * row[j] < 1.0001 * close * total * scale:
                    if found < capacity:
                        flagged[found, 0] = i
                        flagged[found, 1] = j
                    found += 1
    return found


def _exact_pairs(left: Array, right: Array, pairs: Array) -> Array:
    out = np.zeros(pairs.shape[0])
    for p in range(pairs.shape[0]):
        i, j = pairs[p, 0], pairs[p, 1]
        total = np.float64(0.0)
        for k in range(left.shape[1]):
            difference = np.float64(left[i, k]) - np.float64(right[j, k])
            total += difference * difference
        out[p] = total / left.shape[1]
    return out


def _row_moments(rows: Array) -> Array:
    out = np.empty((rows.shape[0], 4))
    for i in range(rows.shape[0]):
        low, high, total = np.float64(rows[i, 0]), np.float64(rows[i, 0]), np.float64(0.0)
        for k in range(rows.shape[1]):
            value = np.float64(rows[i, k])
            low, high = min(low, value), max(high, value)
            total += value
        mean, spread = total / rows.shape[1], np.float64(0.0)
        for k in range(rows.shape[1]):
            spread += (np.float64(rows[i, k]) - mean) ** 2
        if not math.isfinite(total):
            low = high = mean = spread = np.float64(np.nan)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = low, high, mean, spread
    return out


def _bin_rows(out: Array, rows: Array, start: Array, step: Array, size: int) -> Array:
    added = np.zeros(rows.shape[0])
    share = 1.0 / rows.shape[1]
    for i in range(rows.shape[0]):
        inverse = 1.0 / step[i]
        for k in range(rows.shape[1]):
            position = (rows[i, k] - start[i]) * inverse
            node = min(max(int(position), 0), size - 2)
            part = position - node
            out[i, node] += share * (1.0 - part)
            out[i, node + 1] += share * part
            added[i] += share * part * (1.0 - part)
    return added


def _overlap_pairs(left: Array, right: Array) -> Array:
    out = np.empty((left.shape[0], right.shape[0]), dtype=np.float32)
    for i in range(left.shape[0]):
        for j in range(right.shape[0]):
            total = np.float32(0.0)
            for k in range(left.shape[1]):
                total += min(left[i, k], right[j, k])
            out[i, j] = total
    return out


def _overlap_rows(left: Array, right: Array) -> Array:
    out = np.empty(left.shape[0], dtype=left.dtype)
    for i in range(left.shape[0]):
        total = left[i, 0] * 0
        for k in range(left.shape[1]):
            total += min(left[i, k], right[i, k])
        out[i] = total
    return out


def _count_draws(picked: Array, start: Array, size: Array, order: Array, uniform: Array) -> Array:
    out = np.zeros((picked.shape[0], order.shape[0]), dtype=np.float32)
    used = 0
    for b in range(picked.shape[0]):
        for j in range(picked.shape[1]):
            donor = picked[b, j]
            for _ in range(size[donor]):
                out[b, order[start[donor] + int(uniform[used] * size[donor])]] += np.float32(1.0)
                used += 1
    return out
