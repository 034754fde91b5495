"""Local standard deviation on the CPU: one compiled pass in float64 over strips that stay in the cache."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from alignment.models._local_std import FLAT, border_index

__all__ = ["local_std_cpu"]

Kernel = Callable[[Any, Any, Any, Any], None]

# Pixels of a strip: three float64 rows of buffers of it fit the first-level cache of every processor of the
# last ten years, and it is long enough for the loops over it to run at full width.
_STRIP = 1024
# Below this a second thread costs more than it saves.
_PIXELS_PER_THREAD = 2_000_000


def local_std_cpu(image: Tensor, k: int = 3, border: str = "reflect") -> Tensor:
    """Compute :func:`~alignment.models._local_std.local_std` of a float32 image without gradients."""
    batch, channels, height, width = image.shape
    source = image.detach().contiguous().view(batch * channels, height, width).numpy()
    sigma = torch.empty((batch, channels, height, width), dtype=torch.float32)
    target = sigma.view(batch * channels, height, width).numpy()
    rows = np.asarray(border_index(height, k // 2, border))
    columns = np.asarray(border_index(width, k // 2, border))
    kernel = _kernel(k)
    threads = max(1, min(torch.get_num_threads(), len(source), source.size // _PIXELS_PER_THREAD))
    if threads == 1:
        kernel(source, target, rows, columns)
        return sigma
    cuts = np.linspace(0, len(source), threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        parts = pairwise(cuts)
        for done in [pool.submit(kernel, source[a:b], target[a:b], rows, columns) for a, b in parts]:
            done.result()
    return sigma


@functools.cache
def _kernel(k: int) -> Kernel:
    """Compile the pass for one patch size, so that its sums unroll; kept on disk between processes."""
    pad, count, strip = k // 2, k * k, _STRIP
    inverse, flat = np.float32(1.0 / count), count * FLAT
    one, taps = np.uintp(1), np.uintp(k)

    # No fast-math: a NaN must come out as NaN. nogil: threads share the planes, without numba's own thread
    # pool, which neither survives a fork nor two callers at once.
    @numba.njit(nogil=True, cache=True, error_model="numpy")
    def local_std_planes(source, target, rows, columns):  # type: ignore[no-untyped-def]
        planes, height, width = source.shape
        wide = width + 2 * pad
        tall = max(1, strip // wide)
        padded = np.zeros((tall + 2 * pad) * wide, np.float32)
        size = tall * wide
        total = np.zeros(size + 2 * pad, np.float64)
        squares = np.zeros(size + 2 * pad, np.float64)
        sigma = np.empty(size, np.float32)
        for plane in range(planes):
            for top in range(0, height, tall):
                deep = min(tall, height - top)
                for r in range(deep + 2 * pad):
                    start = r * wide
                    if rows[top + r] < 0:
                        padded[start : start + wide] = 0.0
                        continue
                    row = source[plane, rows[top + r]]
                    line = padded[start + pad : start + pad + width]
                    for c in range(width):
                        line[c] = row[c]
                    for c in range(pad):
                        left, right = columns[c], columns[wide - 1 - c]
                        padded[start + c] = row[left] if left >= 0 else 0.0
                        padded[start + wide - 1 - c] = row[right] if right >= 0 else 0.0
                # Vertical, then horizontal sums, over the strip as one line; the 2·pad sums that straddle a
                # line's end are wasted, which costs less than starting the loops anew for every line.
                # Unsigned indices, because a signed one might count from the end, and asking that of every
                # pixel keeps the loops from being vectorised.
                step = np.uintp(wide)
                for i in range(np.uintp(deep * wide)):
                    x = np.float64(padded[i])
                    s, q = x, x * x
                    for t in range(one, taps):
                        x = np.float64(padded[i + t * step])
                        s += x
                        q += x * x
                    total[i] = s
                    squares[i] = q
                for i in range(np.uintp(deep * wide)):
                    s, q = total[i], squares[i]
                    for t in range(one, taps):
                        s += total[i + t]
                        q += squares[i + t]
                    scaled = count * q - s * s
                    sigma[i] = np.sqrt(np.float32(0.0 if scaled <= flat * q else scaled)) * inverse
                for r in range(deep):
                    line = target[plane, top + r]
                    for c in range(width):
                        line[c] = sigma[r * wide + c]

    kernel: Kernel = local_std_planes
    return kernel
