"""Synthetic shifts: a domain rotated, scaled, occluded, blurred, inverted, at low contrast, with noise, and more.

Each shift is a pure function of the images, its strength and a seed, so a shifted domain is as fixed as the
one that it is made from. Strengths are in units that a reader can picture and fit in a domain's name:
``mnist.rotation-30`` is MNIST with every digit turned by 30 degrees to the left or to the right. The common
corruptions of :mod:`alignment.transfer.severities` count in severities from 1 to 5: ``cifar100.jpeg-5``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from alignment._validation import check_choice, check_integer
from alignment.transfer.severities import SEVERITIES

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["SHIFTS", "Shift", "apply_shift", "exact_shift"]

Images = npt.NDArray[np.uint8]


def _rotation(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    import torch

    sign = torch.randint(0, 2, (len(images),), generator=generator) * 2.0 - 1.0
    angle = torch.deg2rad(sign * strength)
    zero = torch.zeros_like(angle)
    rows = [
        torch.stack([angle.cos(), -angle.sin(), zero], 1),
        torch.stack([angle.sin(), angle.cos(), zero], 1),
    ]
    return _warp(images, torch.stack(rows, 1))


def _scale(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    import torch

    del generator
    factor = 100.0 / strength
    matrix = torch.tensor([[factor, 0.0, 0.0], [0.0, factor, 0.0]]).expand(len(images), 2, 3)
    return _warp(images, matrix)


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    from torch.nn import functional

    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    # Border padding continues the image's own background; zeros would draw a frame around a natural
    # photograph.
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _occlusion(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    import torch

    n, _, height, width = images.shape
    side_y, side_x = (max(1, round(side * strength / 100)) for side in (height, width))
    top = torch.randint(0, height - side_y + 1, (n, 1), generator=generator)
    left = torch.randint(0, width - side_x + 1, (n, 1), generator=generator)
    y, x = torch.arange(height)[None], torch.arange(width)[None]
    rows, columns = (y >= top) & (y < top + side_y), (x >= left) & (x < left + side_x)
    covered = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(covered, torch.tensor(127.5), images)


def _blur(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    import torch
    from torch.nn import functional

    del generator
    sigma = strength / 100 * images.shape[-1]
    radius = min(max(1, round(3 * sigma)), images.shape[-1] - 1, images.shape[-2] - 1)
    place = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (place / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    padded = functional.pad(images, (radius, radius, radius, radius), mode="reflect")
    across = functional.conv2d(padded, kernel, groups=images.shape[1])
    return functional.conv2d(across, kernel.transpose(2, 3), groups=images.shape[1])


def _inversion(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    del generator
    kept = 1 - strength / 100
    return kept * images + (1 - kept) * (255 - images)


def _contrast(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    del generator
    return 127.5 + (images - 127.5) * (strength / 100)


def _noise(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    import torch

    return images + torch.randn(images.shape, generator=generator) * (255 * strength / 100)


@dataclass(frozen=True)
class Shift:
    """One kind of shift.

    Attributes
    ----------
    name : str
        As it stands in a domain's name.
    unit : str
        What the strength counts.
    default, low, high : int
        The strength when a name gives none, and its limits.
    function : callable
        ``(images float 0..255, strength, generator) -> images``; may leave 0..255, which is clipped after it.
    """

    name: str
    unit: str
    default: int
    low: int
    high: int
    function: Callable[[Tensor, float, torch.Generator], Tensor]


SHIFTS: dict[str, Shift] = {
    shift.name: shift
    for shift in (
        Shift("rotation", "degrees, to a random side", 30, 1, 180, _rotation),
        Shift("scale", "% of the size", 60, 20, 300, _scale),
        Shift("occlusion", "% of the side that a grey square covers", 40, 1, 90, _occlusion),
        Shift("blur", "standard deviation in % of the side", 5, 1, 30, _blur),
        Shift("inversion", "% of the way to the negative", 100, 1, 100, _inversion),
        Shift("contrast", "% of the contrast that is kept", 30, 1, 100, _contrast),
        Shift("noise", "standard deviation in % of the range", 20, 1, 100, _noise),
        *(Shift(name, f"severity {what}", 3, 1, 5, function) for name, (what, function) in SEVERITIES.items()),
    )
}
"""The shifts by name."""


def apply_shift(images: Images, shift: str, strength: int | None = None, seed: int = 0) -> Images:
    """Shift a stack of images.

    Parameters
    ----------
    images : (n, channel, y, x) uint8 array
        The images; they are not changed.
    shift : str
        One of :data:`SHIFTS`.
    strength : int, optional
        In the shift's own unit; its default when none is given.
    seed : int, optional
        Of the random sides, places and noise.

    Returns
    -------
    (n, channel, y, x) uint8 array

    Raises
    ------
    InputError
        Unknown shift or a strength beyond its limits.

    Examples
    --------
    >>> import numpy as np
    >>> int(apply_shift(np.full((1, 3, 2, 2), 10, np.uint8), "inversion").max())
    245
    """
    import torch

    shifted, start = np.empty_like(images), 0
    for part in _shifted(images, shift, strength, seed, "apply_shift"):
        shifted[start : start + len(part)] = part.round_().to(torch.uint8).numpy()
        start += len(part)
    return shifted


def exact_shift(images: Images, shift: str, strength: int | None = None, seed: int = 0) -> npt.NDArray[np.float32]:
    """Shift a stack of images without rounding the result to whole grey levels.

    Parameters
    ----------
    images, shift, strength, seed
        As of :func:`apply_shift`, whose result is this one rounded.

    Returns
    -------
    (n, channel, y, x) float32 array
        In [0, 255].

    Raises
    ------
    InputError
        As of :func:`apply_shift`.

    Examples
    --------
    >>> float(exact_shift(np.full((1, 3, 2, 2), 11, np.uint8), "inversion", 50)[0, 0, 0, 0])
    127.5
    """
    parts = [part.numpy() for part in _shifted(images, shift, strength, seed, "exact_shift")]
    return np.concatenate(parts) if parts else np.empty(images.shape, np.float32)


def _shifted(images: Images, shift: str, strength: int | None, seed: int, caller: str) -> Iterator[Tensor]:
    """Yield the shifted images part by part, floats clipped to [0, 255]."""
    import torch

    check_choice(shift, "shift", caller, list(SHIFTS))
    kind = SHIFTS[shift]
    value = kind.default if strength is None else strength
    check_integer(value, "strength", f"the shift '{shift}'", low=kind.low, high=kind.high)
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, len(images), 2048):
        part = torch.from_numpy(images[start : start + 2048]).float()
        yield kind.function(part, float(value), generator).clamp_(0, 255)
