"""Local standard deviation on CUDA: one fused Triton pass, each pixel read from memory once."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import torch
from torch import Tensor

from alignment.models._local_std import FLAT, border_index, over_largest

__all__ = ["local_std_cuda"]

_BLOCK = 512
_planes: Any = None
# Why there is no kernel in this process; once known, it is not tried again.
_failure: str | None = None
_telling = threading.Lock()

# Triton comes with the CUDA builds of torch for Linux only, and one that does not go with them may fail in any way.
try:
    import triton
    import triton.language as tl
except Exception as error:
    _absence: str | None = f"Triton cannot be imported: {error}"
else:
    _absence = None

    # No annotations but tl.constexpr: the compiler looks them up among the globals that a kernel may use, and fails.
    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _planes(source, target, rows, columns, pixels, height, width, flat, k: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
        plane = tl.program_id(1).to(tl.int64)
        at = tl.program_id(0) * block + tl.arange(0, block)
        inside = at < pixels
        y, x = at // width, at % width
        total = tl.zeros((block,), tl.float64)
        squares = tl.zeros((block,), tl.float64)
        for i in range(k):
            row = tl.load(rows + y + i, mask=inside, other=-1)
            for j in range(k):
                column = tl.load(columns + x + j, mask=inside, other=-1)
                # -1 stands for a zero outside of the image.
                real = inside & (row >= 0) & (column >= 0)
                pixel = tl.load(source + plane * pixels + row * width + column, mask=real, other=0.0)
                wide = pixel.to(tl.float64)
                total += wide
                squares += wide * wide
        count = k * k
        scaled = count * squares - total * total
        scaled = tl.where(scaled <= flat * squares, 0.0, scaled)
        sigma = tl.sqrt(scaled.to(tl.float32)) / count
        tl.store(target + plane * pixels + at, sigma, mask=inside)


def local_std_cuda(image: Tensor, k: int = 3, border: str = "reflect", scope: str = "none") -> Tensor | None:
    """Compute :func:`~alignment.models._local_std.local_std` of a float32 image, without gradients.

    Returns None, with one warning per process, where Triton is missing or cannot compile or launch the kernel.
    """
    if _absence is not None:
        _give_up(_absence)
    if _failure is not None:
        return None
    sigma = torch.empty_like(image, memory_format=torch.contiguous_format)
    rows, columns = (
        torch.tensor(border_index(size, k // 2, border), dtype=torch.int32, device=image.device)
        for size in image.shape[2:]
    )
    source = image.detach().contiguous()
    try:
        _launch(source, sigma, rows, columns, k)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # Whatever a compiler, its C compiler or a driver may raise: the eager path says what is wrong with the device.
        first = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        _give_up(f"{type(error).__name__}: {first.strip()[:200]}")
        return None
    return over_largest(sigma, scope)


def _launch(source: Tensor, sigma: Tensor, rows: Tensor, columns: Tensor, k: int) -> None:
    """Write the deviations of a contiguous image."""
    height, width = source.shape[2:]
    pixels = height * width
    # Planes run along the second axis of the launch, whose limit is 65,535.
    flat_source, flat_sigma = source.flatten(0, 1).flatten(1), sigma.flatten(0, 1).flatten(1)
    with torch.cuda.device_of(source):  # type: ignore[no-untyped-call]
        for start in range(0, len(flat_source), 65_535):
            part, into = flat_source[start : start + 65_535], flat_sigma[start : start + 65_535]
            launch = (triton.cdiv(pixels, _BLOCK), len(part))
            _planes[launch](part, into, rows, columns, pixels, height, width, k * k * FLAT, k=k, block=_BLOCK)


def _give_up(why: str) -> None:
    """Note why there is no kernel, and warn of it the first time."""
    global _failure
    with _telling:
        if _failure is not None:
            return
        _failure = why
    warnings.warn(
        f"NeuRN's kernel for this GPU cannot be used ({why}). torch's own operators compute the same values, more "
        "slowly. Install the Triton that this version of torch asks for, and a C compiler.",
        UserWarning,
        stacklevel=3,
    )
