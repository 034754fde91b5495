"""Local standard deviation on CUDA: one fused Triton pass, each pixel read from memory once."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from alignment.models._local_std import FLAT, border_index, over_largest

__all__ = ["AVAILABLE", "local_std_cuda"]

# Triton comes with the CUDA builds of torch only.
AVAILABLE = importlib.util.find_spec("triton") is not None

_BLOCK = 512


if AVAILABLE:
    import triton
    import triton.language as tl

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _planes(
        source: Any,
        target: Any,
        rows: Any,
        columns: Any,
        pixels: Any,
        height: Any,
        width: Any,
        flat: Any,
        k: tl.constexpr,
        block: tl.constexpr,
    ) -> None:
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


def local_std_cuda(image: Tensor, k: int = 3, border: str = "reflect", scope: str = "none") -> Tensor:
    """Compute :func:`~alignment.models._local_std.local_std` of a float32 image, without gradients."""
    batch, channels, height, width = image.shape
    source = image.detach().contiguous()
    sigma = torch.empty_like(source)
    rows = torch.tensor(border_index(height, k // 2, border), dtype=torch.int32, device=image.device)
    columns = torch.tensor(border_index(width, k // 2, border), dtype=torch.int32, device=image.device)
    pixels = height * width
    # Planes run along the second axis of the launch, whose limit is 65,535.
    planes = batch * channels
    flat_source, flat_sigma = source.view(planes, pixels), sigma.view(planes, pixels)
    for start in range(0, planes, 65_535):
        part = flat_source[start : start + 65_535]
        launch = (triton.cdiv(pixels, _BLOCK), len(part))
        with torch.cuda.device(image.device):
            _planes[launch](
                part,
                flat_sigma[start : start + 65_535],
                rows,
                columns,
                pixels,
                height,
                width,
                k * k * FLAT,
                k=k,
                block=_BLOCK,
            )
    return over_largest(sigma, scope)
