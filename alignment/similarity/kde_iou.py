"""Overlap of two distributions of values: intersection over union of their kernel densities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignment._validation import check_integer, fail

from . import _kernels
from ._arrays import Array, as_array, check_device

__all__ = ["Densities", "kde_densities", "kde_iou", "scott_bandwidth"]

# A density needs this many nodes within one bandwidth before binned counts stand for the values themselves.
_NODES_PER_BANDWIDTH = 8.0
_FINEST = 2**16
# Bandwidths that the grid reaches beyond the outermost values.
_MARGIN = 3.0
# Numbers (8 bytes each) that one batch of pairs may take: small enough to stay in the cache.
_BATCH = 2**17


@dataclass(frozen=True)
class Densities:
    """Kernel densities of two samples on one grid.

    Attributes
    ----------
    x : (g,) array
        The grid, in the units of the values.
    a, b : (g,) arrays
        The densities, per unit of the values.
    iou : float
        Area of the lower over area of the upper envelope.
    """

    x: Array
    a: Array
    b: Array
    iou: float


def kde_iou(a: Any, b: Any, grid_size: int = 1024, *, device: str = "cpu") -> float | Array:
    """Intersection over union of two samples' Gaussian kernel densities (Mice to Machines, KDE-IoU).

    Each sample's bandwidth follows Scott's rule, n^(-1/5) times its standard deviation. Both densities are
    evaluated on one grid that reaches 3 bandwidths beyond the values of both, from linearly binned counts
    convolved by FFT.

    Parameters
    ----------
    a, b : (n,) and (m,), or (p, n) and (p, m) arrays
        Two samples, or p pairs of them.
    grid_size : int
        Nodes of the grid, at least 16. Pairs with a bandwidth too narrow for it get a finer one.
    device : str
        ``"cpu"`` (numpy), or ``"cuda"``, ``"cuda:1"`` ...: with torch.

    Returns
    -------
    float or (p,) array
        In [0, 1]: 1 for identical samples, 0 for samples far apart.

        A sample whose values are all equal (a single value too) is a point: two points at one place give 1,
        otherwise a point gives 0, the limit of ever narrower densities. An empty sample, or one that holds
        NaN or infinity, has no density and gives NaN.

    Raises
    ------
    InputError
        The shapes do not pair up, or ``grid_size`` is too small.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.random.default_rng(0).normal(size=500)
    >>> kde_iou(values, values)
    1.0
    >>> round(kde_iou(values, values + 1.0), 3)
    0.469
    >>> kde_iou(np.stack([values, values]), np.stack([values, values + 100.0])).round(12)
    array([1., 0.])
    """
    left, right = as_array(a, "a", "kde_iou"), as_array(b, "b", "kde_iou")
    check_integer(grid_size, "grid_size", "kde_iou", low=16)
    single = left.ndim == right.ndim == 1
    if single:
        left, right = left[None], right[None]
    if left.ndim != 2 or right.ndim != 2 or len(left) != len(right):
        allowed = f"a sample (m,) beside (n,), or (p, m) beside (p, n); 'a' has the shape {np.shape(a)}"
        raise fail("b", "kde_iou", allowed, np.shape(b))
    check_device(device, "kde_iou")
    iou = _iou(left, right, grid_size, device)
    return float(iou[0]) if single else iou


def kde_densities(a: Any, b: Any, grid_size: int = 1024) -> Densities:
    """Return the two densities that :func:`kde_iou` compares, to draw them.

    Parameters
    ----------
    a, b : (n,) and (m,) arrays
        Two samples of finite values, neither constant.
    grid_size : int
        Nodes of the grid, at least 16.

    Returns
    -------
    Densities
        Grid, densities and their intersection over union.

    Raises
    ------
    InputError
        A sample is empty, constant or not finite, so that it has no density to draw.

    Examples
    --------
    >>> import numpy as np
    >>> drawn = kde_densities(np.arange(5.0), np.arange(5.0) + 2)
    >>> drawn.x.shape, bool(drawn.iou == kde_iou(np.arange(5.0), np.arange(5.0) + 2))
    ((1024,), True)
    """
    check_integer(grid_size, "grid_size", "kde_densities", low=16)
    samples = []
    for values, name in ((a, "a"), (b, "b")):
        sample = as_array(values, name, "kde_densities").reshape(1, -1)
        if sample.size == 0 or not np.isfinite(sample).all() or np.ptp(sample) == 0:
            raise fail(name, "kde_densities", "finite values that are not all equal", np.asarray(values))
        samples.append(sample)
    pairs = _Pairs.of(samples[0], samples[1])
    size = int(pairs.sizes(grid_size)[0])
    masses = pairs.masses(slice(0, 1), size)
    x = np.linspace(pairs.low[0], pairs.high[0], size)
    step = x[1] - x[0]
    return Densities(x, masses[0][0] / step, masses[1][0] / step, float(_ratio(*masses)[0]))


def scott_bandwidth(moments: Array, size: int) -> Array:
    """Return Scott's bandwidth of each row from its moments (n, 4) and the number of its values."""
    if size < 2:
        return np.zeros(len(moments))
    # Equal values have no spread, whatever rounding leaves of their squared deviations.
    spread = np.where(moments[:, 0] == moments[:, 1], 0.0, moments[:, 3])
    bandwidth: Array = np.sqrt(spread / (size - 1)) * size ** (-0.2)
    return bandwidth


@dataclass(frozen=True)
class _Pairs:
    """Pairs of samples that both have a density, and the grid of each pair."""

    left: Array
    right: Array
    left_width: Array
    right_width: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, left: Array, right: Array, moments: tuple[Array, Array] | None = None) -> _Pairs:
        moments = moments or (_kernels.row_moments(left), _kernels.row_moments(right))
        widths = scott_bandwidth(moments[0], left.shape[1]), scott_bandwidth(moments[1], right.shape[1])
        low = np.minimum(moments[0][:, 0] - _MARGIN * widths[0], moments[1][:, 0] - _MARGIN * widths[1])
        high = np.maximum(moments[0][:, 1] + _MARGIN * widths[0], moments[1][:, 1] + _MARGIN * widths[1])
        return cls(left, right, *widths, low, high)

    def take(self, chosen: Array) -> _Pairs:
        return _Pairs(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def sizes(self, grid_size: int) -> Array:
        """Return each pair's nodes: ``grid_size``, doubled until the narrower bandwidth is resolved."""
        narrow = np.minimum(self.left_width, self.right_width)
        with np.errstate(divide="ignore"):
            wanted = _NODES_PER_BANDWIDTH * (self.high - self.low) / narrow / grid_size
        finest = max(0, int(np.log2(_FINEST / grid_size)))
        doublings = np.clip(np.ceil(np.log2(np.maximum(wanted, 1.0))), 0, finest)
        sizes: Array = grid_size * 2 ** doublings.astype(np.int64)
        return sizes

    def masses(self, rows: slice, size: int) -> tuple[Array, Array]:
        """Return both samples' density times the step, on ``size`` nodes."""
        from scipy.fft import irfft, next_fast_len, rfft

        low, step = self.low[rows], (self.high[rows] - self.low[rows]) / (size - 1)
        widths = np.stack([self.left_width[rows], self.right_width[rows]]) / step
        # What runs over one end must not come in at the other: the circle is 3 bandwidths longer.
        length = next_fast_len(size + int(np.ceil(_MARGIN * widths.max())) + 1, real=True)
        counts = np.zeros((2, len(low), length))
        for side, values in enumerate((self.left[rows], self.right[rows])):
            added = _kernels.bin_rows_into(counts[side], values, low, step, size)
            # Sharing a value between two nodes spreads it: the kernel leaves that much out.
            widths[side] = np.sqrt(np.maximum(widths[side] ** 2 - added, 0.0))
        # Beyond 9 / bandwidth the Gaussian's spectrum is below 1e-17; irfft takes what is left out as zeros.
        narrowest = float(widths.min())
        kept = length // 2 + 1
        if narrowest > 0:
            kept = min(kept, int(9.0 / narrowest * length / (2 * np.pi)) + 2)
        frequency = 2 * np.pi * np.arange(kept) / length
        spectrum = rfft(counts, axis=2)[:, :, :kept]
        spectrum *= np.exp(-0.5 * (widths[:, :, None] * frequency) ** 2)
        smooth = irfft(spectrum, n=length, axis=2)[:, :, :size]
        np.maximum(smooth, 0.0, out=smooth)
        return smooth[0], smooth[1]

    def on_device(self, rows: slice, size: int, device: str) -> Array:
        """Return some pairs' intersection over union, computed by torch."""
        from ._torch import overlap_ratio

        low, step = self.low[rows], (self.high[rows] - self.low[rows]) / (size - 1)
        widths = np.stack([self.left_width[rows], self.right_width[rows]]) / step
        return overlap_ratio(self.left[rows], self.right[rows], low, step, widths, size, device)


def _iou(left: Array, right: Array, grid_size: int, device: str) -> Array:
    if left.shape[1] == 0 or right.shape[1] == 0:
        return np.full(len(left), np.nan)
    first, second = _kernels.row_moments(left), _kernels.row_moments(right)
    points = (first[:, 0] == first[:, 1]) | (second[:, 0] == second[:, 1])
    result = np.where((first == second)[:, :2].all(axis=1), 1.0, 0.0)
    result[np.isnan(first[:, 0]) | np.isnan(second[:, 0])] = np.nan
    # Beyond 9 bandwidths a density is below 1e-17 of its peak.
    reach = [9.0 * scott_bandwidth(m, x.shape[1]) for m, x in ((first, left), (second, right))]
    gap = np.maximum(first[:, 0], second[:, 0]) - np.minimum(first[:, 1], second[:, 1])
    smooth = np.flatnonzero(~points & np.isfinite(result) & (gap < reach[0] + reach[1]))
    if len(smooth) == 0:
        return result
    if len(smooth) < len(left):
        left, right, first, second = (part[smooth] for part in (left, right, first, second))
    pairs = _Pairs.of(left, right, (first, second))
    sizes = pairs.sizes(grid_size)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        same = pairs if len(chosen) == len(sizes) else pairs.take(chosen)
        for rows in _batches(len(chosen), int(size), _BATCH if device == "cpu" else 2**28):
            if device == "cpu":
                ratio = _ratio(*same.masses(rows, int(size)))
            else:
                ratio = same.on_device(rows, int(size), device)
            result[smooth[chosen[rows]]] = ratio
    return result


def _batches(count: int, size: int, numbers: int) -> Iterator[slice]:
    rows = max(1, numbers // (8 * size))
    return (slice(start, start + rows) for start in range(0, count, rows))


def _ratio(left: Array, right: Array) -> Array:
    """Return ∫min / ∫max by the trapezoidal rule; ∫max = ∫left + ∫right − ∫min."""
    ends = np.minimum(left[:, 0], right[:, 0]) + np.minimum(left[:, -1], right[:, -1])
    lower = _kernels.overlap_rows(left, right) - 0.5 * ends
    areas = left.sum(axis=1) + right.sum(axis=1)
    areas -= 0.5 * (left[:, 0] + left[:, -1] + right[:, 0] + right[:, -1])
    ratio: Array = np.clip(lower / (areas - lower), 0.0, 1.0)
    return ratio
