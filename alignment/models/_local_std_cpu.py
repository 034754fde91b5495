"""Local standard deviation on the CPU: one compiled pass in float64, each image finished while it is in the cache."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
import torch
from torch import Tensor

from alignment.models._local_std import FLAT, border_index

__all__ = ["local_std_cpu"]

# Pixels of a strip: its float64 sums fit the first-level cache of most processors, and it is long enough for
# the loops over it to run at full width.
_STRIP = 2048
# Below this a second thread costs more than it saves.
_PIXELS_PER_THREAD = 250_000

_ONE = np.uintp(1)
# A NaN must come out as NaN, so of fast-math only the joining of products and sums. nogil: threads share the
# images, without numba's own thread pool, which neither survives a fork nor two callers at once.
_compiled = functools.partial(numba.njit, nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


def local_std_cpu(image: Tensor, k: int = 3, border: str = "reflect", scope: str = "none") -> Tensor:
    """Compute :func:`~alignment.models._local_std.local_std` of a float32 image without gradients."""
    batch, channels, height, width = image.shape
    source = image.detach().contiguous()
    result = torch.empty((batch, channels, height, width), dtype=torch.float32)
    groups, planes = (batch, channels) if scope == "image" else (batch * channels, 1)
    rows = np.asarray(border_index(height, k // 2, border))
    columns = np.asarray(border_index(width, k // 2, border))
    shape = (planes, height, width)
    pixels, target = (tensor.view(groups, planes * height * width).numpy() for tensor in (source, result))
    # The length of a tuple is part of its type: the sums over a patch's side are compiled for each k.
    taps = (0,) * k
    threads = max(1, min(torch.get_num_threads(), groups, source.numel() // _PIXELS_PER_THREAD))
    if threads == 1:
        _images(pixels, target, rows, columns, taps, shape, scope != "none")
        return result
    cuts = np.linspace(0, groups, threads + 1).astype(int)
    parts = [(pixels[a:b], target[a:b], rows, columns, taps, shape, scope != "none") for a, b in pairwise(cuts)]
    for done in [_pool(os.getpid(), threads).submit(_images, *part) for part in parts]:
        done.result()
    return result


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads that wait for the next batch; those of a parent do not survive a fork, hence the process."""
    del process
    return ThreadPoolExecutor(threads, "local_std")


# In what follows images are flat, and indices unsigned: a signed one might count from the end, and asking that
# of every pixel keeps the loops from being vectorised. The loops over pixels run over many rows at once,
# because one over 32 pixels does not get going.


@_compiled()
def _images(source, target, rows, columns, taps, shape, relative):  # type: ignore[no-untyped-def]
    """Write the deviations of groups of planes; if ``relative``, over the largest of the group."""
    planes, height, width = shape
    pad = len(taps) // 2
    # A strip hands the sums of its last 2·pad rows to the next one, so it is to be much longer than those.
    tall = min(height, max(1, _STRIP // width, 8 * pad))
    total = np.zeros((tall + 2 * pad) * width, np.float64)
    squares = np.zeros((tall + 2 * pad) * width, np.float64)
    for group in range(len(source)):
        for plane in range(planes):
            start = plane * height * width
            _plane(source[group], target[group], start, rows, columns, taps, tall, total, squares)
        if relative:
            _divide_by_peak(target[group])


@_compiled()
def _plane(source, target, start, rows, columns, taps, tall, total, squares):  # type: ignore[no-untyped-def]
    """Write the deviations of one plane, strip by strip of ``tall`` rows: sums along rows, then down columns."""
    side = len(taps)
    halo = side - 1
    width, height = len(columns) - halo, len(rows) - halo
    count, inverse, flat = float(side * side), np.float32(1.0 / (side * side)), side * side * FLAT
    step = np.uintp(width)
    for top in range(0, height, tall):
        last = min(tall, height - top) + halo
        done = 0
        if top > 0:
            handed = np.uintp(tall * width)
            for i in range(np.uintp(halo * width)):
                total[i] = total[handed + i]
                squares[i] = squares[handed + i]
            done = halo
        while done < last:
            first, run = rows[top + done], 1
            while first >= 0 and done + run < last and rows[top + done + run] == first + run:
                run += 1
            into = np.uintp(done * width)
            if first >= 0:
                _row_sums(source, start + first * width, run, columns, taps, total, squares, into)
            else:
                for i in range(into, into + step):
                    total[i] = 0.0
                    squares[i] = 0.0
            done += run
        out = np.uintp(start + top * width)
        for i in range(np.uintp((last - halo) * width)):
            s, q = total[i], squares[i]
            for t in range(_ONE, np.uintp(side)):
                s += total[i + t * step]
                q += squares[i + t * step]
            scaled = count * q - s * s
            target[out + i] = np.sqrt(np.float32(0.0 if scaled <= flat * q else scaled)) * inverse


@_compiled()
def _row_sums(source, start, run, columns, taps, total, squares, into):  # type: ignore[no-untyped-def]
    """Write the sums of pixels, and of their squares, along each of a run of rows."""
    side = len(taps)
    pad = side // 2
    width = len(columns) - side + 1
    if run * width >= side:
        begin, middle = np.uintp(start), into + np.uintp(pad)
        for i in range(np.uintp(run * width - 2 * pad)):
            x = np.float64(source[begin + i])
            s, q = x, x * x
            for t in range(_ONE, np.uintp(side)):
                x = np.float64(source[begin + i + t])
                s += x
                q += x * x
            total[middle + i] = s
            squares[middle + i] = q
    # The sums that straddle two rows, and those that see beyond the image, are written again.
    for low, high in ((0, min(pad, width)), (max(pad, width - pad), width)):
        if low >= high:
            continue
        for row in range(run):
            line, at = start + row * width, into + np.uintp(row * width + low)
            for c in range(np.uintp(high - low)):
                seen, seen_squared = 0.0, 0.0
                for t in range(np.uintp(side)):
                    column = columns[np.uintp(low) + c + t]
                    pixel = float(source[np.uintp(line + column)]) if column >= 0 else 0.0
                    seen += pixel
                    seen_squared += pixel * pixel
                total[at + c] = seen
                squares[at + c] = seen_squared


@_compiled()
def _divide_by_peak(values):  # type: ignore[no-untyped-def]
    """Divide by the largest value, unless all are 0; a NaN makes all of them NaN."""
    # As whole numbers the bits of floats ≥ 0 are in the same order, and those of any NaN are above them all.
    bits = values.view(np.uint32)
    peak = np.zeros(1, np.uint32)
    most = peak[0]
    for i in range(np.uintp(len(bits))):
        most = max(most, bits[i])
    peak[0] = most
    divisor = peak.view(np.float32)[0]
    if most > 0:
        for i in range(np.uintp(len(values))):
            values[i] = values[i] / divisor
