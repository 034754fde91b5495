"""Kernel densities of many samples on one lattice, each made once and then compared with many others.

Values are binned on a fine lattice; the Gaussian is applied to the spectrum, and only as many frequencies are
turned back as the coarser nodes need. The lattice closes to a circle 4 of the widest possible bandwidths
beyond the values, so every density keeps its whole mass and ∫max is 2 − ∫min.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _kernels
from ._arrays import Array
from .kde_iou import scott_bandwidth

__all__ = ["Lattice", "overlap_to_iou", "pooled_moments"]

_BATCH = 2**18
# Nodes in one bandwidth: with 1.5 the Gaussian's spectrum has fallen to 1e-5 where the nodes' frequencies
# end.
_NODES_PER_BANDWIDTH = 1.5


@dataclass(frozen=True)
class Lattice:
    """Evenly spaced nodes on a circle that holds all values.

    Parameters
    ----------
    low, high : float
        Ends of the circle, which coincide.
    nodes : int
        Where densities are evaluated.
    oversampling : int
        Bins a node.
    """

    low: float
    high: float
    nodes: int
    oversampling: int

    @classmethod
    def over(cls, low: float, high: float, size: int, narrowest: float, nodes: int) -> Lattice:
        """Return the lattice for samples of at least ``size`` values in [low, high].

        ``nodes`` is doubled until the narrowest bandwidth is resolved, eight times at most.
        """
        span = high - low if high > low else max(abs(low), 1.0)
        # No sample's standard deviation exceeds half of its range (but for n / (n − 1)).
        margin = 4.0 * 0.5 * span * (size / max(size - 1, 1)) ** 0.5 * size**-0.2
        low, high = low - margin, high + margin
        needed = _NODES_PER_BANDWIDTH * (high - low) / narrowest if narrowest > 0 else 0.0
        doublings = int(np.clip(np.ceil(np.log2(max(needed / nodes, 1.0))), 0, 8))
        return cls(float(low), float(high), nodes * 2**doublings, max(2, 2048 // (nodes * 2**doublings)))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return self.nodes * self.oversampling

    def counts(self, rows: Array) -> Array:
        """Bin each row's values; rows of the result (n, bins) sum to 1."""
        out = np.empty((len(rows), self.bins), dtype=np.float32)
        step = (self.high - self.low) / self.bins
        height = max(1, _BATCH // self.bins)
        for start in range(0, len(rows), height):
            part = rows[start : start + height]
            ones = np.ones(len(part))
            out[start : start + height] = _kernels.bin_rows(part, self.low * ones, step * ones, self.bins)
        return out

    def smooth(self, counts: Array, widths: Array) -> Array:
        """Smooth counts (n, bins) by a Gaussian of each row's width: masses (n, nodes) that sum to 1.

        A row of width 0 (a constant sample) has no density and becomes zeros.
        """
        from scipy.fft import irfft, rfft

        out = np.empty((len(counts), self.nodes), dtype=np.float32)
        frequency = 2 * np.pi * np.arange(self.nodes // 2 + 1) / (self.high - self.low)
        # Linear binning is itself a convolution, with a triangle two bins wide; on average this takes it
        # back.
        binning = np.sinc(frequency * (self.high - self.low) / self.bins / (2 * np.pi)) ** 2
        height = max(1, _BATCH // self.bins)
        for start in range(0, len(counts), height):
            part, width = counts[start : start + height], widths[start : start + height]
            spectrum = rfft(part, axis=1)[:, : self.nodes // 2 + 1]
            spectrum *= (np.exp(-0.5 * np.outer(width, frequency) ** 2) / binning).astype(np.float32)
            masses = irfft(spectrum, n=self.nodes, axis=1)
            np.maximum(masses, 0.0, out=masses)
            masses *= (width > 0)[:, None] / masses.sum(axis=1, keepdims=True)
            out[start : start + height] = masses
        return out

    def densities(self, rows: Array, moments: Array) -> Array:
        """Return each row's density as masses on the nodes, (n, nodes), with its own Scott bandwidth."""
        widths = scott_bandwidth(moments, rows.shape[1])
        out = np.empty((len(rows), self.nodes), dtype=np.float32)
        height = max(1, 2**22 // self.bins)
        for start in range(0, len(rows), height):
            part = slice(start, start + height)
            out[part] = self.smooth(self.counts(rows[part]), widths[part])
        return out


def overlap_to_iou(overlap: Array) -> Array:
    """Return ∫min / ∫max from ∫min, both densities having the area 1."""
    iou: Array = np.clip(overlap / (2.0 - overlap), 0.0, 1.0)
    return iou


def pooled_moments(moments: Array, size: int) -> Array:
    """Return the moments (1, 4) of all rows' values taken together, from those of rows of ``size`` values."""
    mean = moments[:, 2].mean()
    spread = moments[:, 3].sum() + size * np.sum((moments[:, 2] - mean) ** 2)
    return np.array([[moments[:, 0].min(), moments[:, 1].max(), mean, spread]])
