"""RMSE and KDE-IoU with torch, for CUDA; the same code runs on torch's CPU, where it is tested too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ._arrays import Array

__all__ = ["TorchBlock", "overlap_ratio", "rmse_blocks"]


@dataclass(frozen=True)
class TorchBlock:
    """Some rows and columns of the RMSE matrix on a device, and its reductions as numpy arrays."""

    matrix: torch.Tensor

    def values(self) -> Array:
        """Return the block itself."""
        values: Array = self.matrix.cpu().numpy()
        return values

    def row_sums(self) -> Array:
        """Return each row's sum, in float64."""
        sums: Array = self.matrix.sum(dim=1, dtype=torch.float64).cpu().numpy()
        return sums

    def row_minima(self) -> tuple[Array, Array]:
        """Return each row's smallest value and its column."""
        value, column = self.matrix.min(dim=1)
        return value.cpu().numpy(), column.cpu().numpy()


def rmse_blocks(
    left: Array,
    right: Array,
    centre: Array,
    scale: float,
    precision: str,
    shape: tuple[int, int],
    close: Mapping[str, float],
    device: str,
) -> Iterator[tuple[slice, slice, TorchBlock]]:
    """Yield the RMSE matrix block by block; see :func:`alignment.similarity.rmse` for what is computed."""
    dtype = torch.float32 if precision == "float32" else torch.float64
    middle = torch.from_numpy(centre).to(device)
    back = 1.0 / (left.shape[1] * scale * scale)

    def prepared(rows: Array) -> torch.Tensor:
        return ((torch.from_numpy(np.ascontiguousarray(rows)).to(device) - middle) * scale).to(dtype)

    for column in range(0, len(right), shape[1]):
        columns = slice(column, min(column + shape[1], len(right)))
        b = prepared(right[columns])
        b_norms = b.double().square().sum(dim=1)
        for row in range(0, len(left), shape[0]):
            rows = slice(row, min(row + shape[0], len(left)))
            a = prepared(left[rows])
            total = a.double().square().sum(dim=1)[:, None] + b_norms
            with _full_precision():
                squared = total - 2.0 * (a @ b.T).double()
            pairs = (squared < close[precision] * total).nonzero()
            block = (squared.clamp_(min=0.0) * back).sqrt_()
            _recompute(block, pairs, left[rows], right[columns])
            yield rows, columns, TorchBlock(block.float())


def overlap_ratio(left: Array, right: Array, low: Array, step: Array, widths: Array, size: int, device: str) -> Array:
    """Return ∫min / ∫max of pairs of densities on grids of ``size`` nodes.

    Parameters
    ----------
    left, right : (p, n) and (p, m) arrays
        Pairs of samples.
    low, step : (p,) arrays
        Each pair's first node and distance of nodes.
    widths : (2, p) array
        Bandwidths in nodes.
    size : int
        Nodes.
    device : str
        Where to compute.

    Returns
    -------
    (p,) float64 array
        In [0, 1].
    """
    from scipy.fft import next_fast_len

    length = next_fast_len(size + int(np.ceil(3.0 * widths.max())) + 1, real=True)
    start, spacing, width = (torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in (low, step, widths))
    counts = torch.zeros((2, len(low), length), dtype=torch.float64, device=device)
    width = width.clone()
    for side, values in enumerate((left, right)):
        sample = torch.from_numpy(np.ascontiguousarray(values)).to(device).double()
        position = (sample - start[:, None]) / spacing[:, None]
        node = position.long().clamp_(0, size - 2)
        part = position - node
        counts[side].scatter_add_(1, node, (1.0 - part) / values.shape[1])
        counts[side].scatter_add_(1, node + 1, part / values.shape[1])
        # Sharing a value between two nodes spreads it: the kernel leaves that much out.
        width[side] = (width[side] ** 2 - (part * (1.0 - part)).mean(dim=1)).clamp_(min=0.0).sqrt_()
    frequency = 2 * np.pi * torch.arange(length // 2 + 1, device=device, dtype=torch.float64) / length
    spectrum = torch.fft.rfft(counts, dim=2) * torch.exp(-0.5 * (width[:, :, None] * frequency) ** 2)
    masses = torch.fft.irfft(spectrum, n=length, dim=2)[:, :, :size].clamp_(min=0.0)
    # The trapezoidal rule: end nodes count half.
    masses[:, :, 0] *= 0.5
    masses[:, :, -1] *= 0.5
    lower = torch.minimum(masses[0], masses[1]).sum(dim=1)
    ratio: Array = (lower / (masses.sum(dim=(0, 2)) - lower)).clamp_(0.0, 1.0).cpu().numpy()
    return ratio


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Switch TF32 off: it keeps 10 bits of a product, and RMSE needs more."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _recompute(block: torch.Tensor, pairs: torch.Tensor, left: Array, right: Array) -> None:
    """Compute listed pairs again from the differences of their values, in float64."""
    a, b = (torch.from_numpy(np.ascontiguousarray(x)).to(block.device) for x in (left, right))
    height = max(1, 2**24 // left.shape[1])
    for begin in range(0, len(pairs), height):
        some = pairs[begin : begin + height]
        difference = a[some[:, 0]].double() - b[some[:, 1]].double()
        block[some[:, 0], some[:, 1]] = difference.square().mean(dim=1).sqrt_()
