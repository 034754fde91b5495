"""Local standard deviation of images: the eager reference, and the choice of a faster kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["BORDERS", "border_index", "largest", "local_std", "local_std_eager", "over_largest"]

BORDERS = ("reflect", "replicate", "zeros")

# Below this share of n·Σx² the difference n·Σx² − (Σx)² is rounding: float64 keeps 2⁻⁵³ of each of the few
# hundred sums, so anything smaller cannot be told from a flat patch. It corresponds to σ of about 1e-7 of the
# grey level itself, one unit in the last place of a float32 pixel, and is what makes flat patches exactly
# zero.
FLAT = 64 * 2.0**-53


def local_std(image: Tensor, k: int = 3, border: str = "reflect", scope: str = "none") -> Tensor:
    """Compute the population standard deviation of the k×k patch around each pixel, per channel.

    Parameters
    ----------
    image : Tensor, (B, C, H, W)
        Floating point. float64 gives float64; every other type is measured in float64 or exact float32 pixels
        and returned as float32.
    k : int
        Side of the patch, odd.
    border : {"reflect", "replicate", "zeros"}
        What stands outside of the image. ``reflect`` mirrors about the edge pixel, as often as a patch larger
        than the image needs (``numpy.pad``'s rule; ``torch.nn.functional.pad`` refuses those).
    scope : {"none", "image", "channel"}
        What the deviations are divided by: nothing, or the largest of the image or of each channel. A kernel
        that does it while an image is still in the cache saves two passes over memory.

    Returns
    -------
    Tensor, (B, C, H, W)
        Exactly 0 on flat patches; NaN wherever a patch holds a NaN or an infinity, and in all that is divided
        by one.
    """
    if image.is_floating_point() and image.dtype != torch.float64:
        image = image.float()
    kernel = None if _needs_eager(image) else _kernel_for(image.device.type)
    sigma = None if kernel is None else kernel(image, k, border, scope)
    if sigma is None:
        return over_largest(local_std_eager(image, k, border), scope)
    if image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous():
        return sigma.contiguous(memory_format=torch.channels_last)
    return sigma


def local_std_eager(image: Tensor, k: int = 3, border: str = "reflect") -> Tensor:
    """Compute :func:`local_std` with torch's own operators: differentiable and traceable.

    The sums are separable and in float64. float32 would lose the variance of a patch that is bright and
    nearly flat, where E[x²] and E[x]² agree in all but their last digits; there float64 still holds seven
    digits of σ.
    """
    wide = image.double()
    padded = _pad(wide, k // 2, border)
    total = _box_sum(padded, k)
    squares = _box_sum(padded * padded, k)
    count = k * k
    scaled = count * squares - total * total
    # Two `where`s: the root's slope at zero is infinite, and infinity times zero would put NaN into the
    # gradient.
    flat = scaled <= FLAT * count * squares
    sigma = torch.where(flat, 0.0, torch.where(flat, 1.0, scaled).sqrt() / count)
    return sigma.to(image.dtype)


def over_largest(sigma: Tensor, scope: str) -> Tensor:
    """Divide deviations (B, C, H, W) by the largest of each image or channel, or by nothing; zeros stay zeros."""
    peak = largest(sigma, scope)
    # A peak of 0 is a flat image, whose σ are all 0 already.
    return sigma if peak is None else sigma / torch.where(peak == 0, 1.0, peak)


def largest(sigma: Tensor, scope: str) -> Tensor | None:
    """Largest deviation of each image or channel, as (B, 1, 1, 1) or (B, C, 1, 1); None for no scope."""
    if scope == "none":
        return None
    return sigma.amax(dim=(1, 2, 3) if scope == "image" else (2, 3), keepdim=True)


def border_index(size: int, pad: int, border: str) -> list[int]:
    """Source index of every position of a padded axis; -1 stands for a zero.

    Examples
    --------
    >>> border_index(4, 2, "reflect")
    [2, 1, 0, 1, 2, 3, 2, 1]
    >>> border_index(1, 1, "reflect"), border_index(2, 1, "zeros")
    ([0, 0, 0], [-1, 0, 1, -1])
    """
    positions = range(-pad, size + pad)
    if border == "zeros":
        return [i if 0 <= i < size else -1 for i in positions]
    if border == "replicate" or size == 1:
        return [min(max(i, 0), size - 1) for i in positions]
    period = 2 * (size - 1)
    return [min(i % period, period - i % period) for i in positions]


def _pad(image: Tensor, pad: int, border: str) -> Tensor:
    if border == "zeros":
        return functional.pad(image, (pad, pad, pad, pad))
    if border == "replicate" or pad < min(image.shape[-2:]):
        return functional.pad(image, (pad, pad, pad, pad), mode=border)
    for axis in (-2, -1):
        index = torch.tensor(border_index(image.shape[axis], pad, border), device=image.device)
        image = image.index_select(axis, index)
    return image


def _box_sum(padded: Tensor, k: int) -> Tensor:
    for axis in (-2, -1):
        size = padded.shape[axis] - k + 1
        total = padded.narrow(axis, 0, size)
        for shift in range(1, k):
            total = total + padded.narrow(axis, shift, size)
        padded = total
    return padded


def _needs_eager(image: Tensor) -> bool:
    """Gradients, tracing and compilation need torch's own operators; float64 wants no other."""
    return (
        image.dtype == torch.float64
        or (image.requires_grad and torch.is_grad_enabled())
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or type(image) is not Tensor
        or torch._C._functorch.maybe_current_level() is not None
    )


def _kernel_for(device: str) -> Callable[[Tensor, int, str, str], Tensor | None] | None:
    """Return the kernel of a device, or None where there is only the eager path; a kernel may return None as well."""
    if device == "cpu":
        from alignment.models._local_std_cpu import local_std_cpu

        return local_std_cpu
    if device == "cuda":
        from alignment.models._local_std_cuda import local_std_cuda

        return local_std_cuda
    return None
