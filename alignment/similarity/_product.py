"""The matrix product of the machine: numpy's, or torch's where it is much faster.

Each brings a BLAS of its own, and one that does not know the processor is several times slower: numpy 1.23's took 4.7
times as long as torch's on an Intel Xeon. Which one to take is measured once in a process.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np

from ._arrays import Array

__all__ = ["product"]

_LARGE = 2**28  # multiplications from which measuring (about 50 ms), and importing torch, pays
_MARGIN = 1.5  # how much faster torch must be: far from noise, so that each process of a run decides alike


def product(left: Array, right: Array, out: Array) -> None:
    """Write the inner product of every two rows into ``out``.

    Parameters
    ----------
    left, right : (n, d) and (m, d) arrays
        Writable, and of one precision: float32 or float64.
    out : (n, m) array
        Of the same precision.
    """
    large = left.shape[0] * right.shape[0] * left.shape[1] >= _LARGE
    (_torch if large and _torch_is_faster(str(left.dtype)) else _numpy)(left, right, out)


@functools.cache
def _torch_is_faster(precision: str) -> bool:
    rng = np.random.default_rng(0)
    left, right = (rng.random((rows, 512)).astype(precision) for rows in (256, 1024))
    out = np.empty((256, 1024), dtype=precision)
    seconds = {how: _seconds(how, left, right, out) for how in (_numpy, _torch)}
    return seconds[_numpy] > _MARGIN * seconds[_torch]


def _seconds(how: Callable[[Array, Array, Array], None], left: Array, right: Array, out: Array) -> float:
    """Return the shortest of some runs, after one that loads what is loaded once."""
    how(left, right, out)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        how(left, right, out)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _numpy(left: Array, right: Array, out: Array) -> None:
    np.matmul(left, right.T, out=out)


def _torch(left: Array, right: Array, out: Array) -> None:
    import torch

    torch.mm(torch.from_numpy(left), torch.from_numpy(right).T, out=torch.from_numpy(out))
