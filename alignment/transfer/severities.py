"""Corruptions in five severities: noise, blur, weather of light and digital artefacts.

They follow the common corruptions of ImageNet-C and CIFAR-C (Hendrycks & Dietterich 2019, Benchmarking neural network
robustness to common corruptions and perturbations): the same definitions and the same documented parameters, those of
CIFAR-C for images of up to :data:`SMALL` pixels and those of ImageNet-C above. Random draws differ, and the blurs pad
by reflection, so that single pixels are not those of the published files. Snow, frost, fog, motion, glass and
elastic distortions, which need pictures or libraries of their own, are not here.

Each function takes images (n, channel, y, x) as floats 0..255, a severity from 1 to 5 and a generator; what leaves
0..255 is clipped after it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["SEVERITIES", "SMALL"]

SMALL = 64
"""Images of up to this many pixels a side are corrupted as CIFAR-C's 32×32 ones are, larger ones as ImageNet-C's."""

_NOISE = ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38))
_SHOT = ((500, 250, 100, 75, 50), (60, 25, 12, 5, 3))
_IMPULSE = ((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27))
_SPECKLE = ((0.06, 0.10, 0.12, 0.16, 0.20), (0.15, 0.20, 0.35, 0.45, 0.60))
_GAUSSIAN = ((0.4, 0.6, 0.7, 0.8, 1.0), (1, 2, 3, 4, 6))
_DEFOCUS = (
    ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
)
_ZOOM = (
    ((1.05, 0.01), (1.10, 0.01), (1.15, 0.01), (1.20, 0.01), (1.25, 0.01)),
    ((1.10, 0.01), (1.15, 0.01), (1.20, 0.02), (1.24, 0.02), (1.30, 0.03)),
)
_BRIGHTNESS = ((0.05, 0.10, 0.15, 0.20, 0.30), (0.1, 0.2, 0.3, 0.4, 0.5))
_CONTRAST = ((0.75, 0.50, 0.40, 0.30, 0.15), (0.40, 0.30, 0.20, 0.10, 0.05))
_PIXELATE = ((0.95, 0.90, 0.85, 0.75, 0.65), (0.60, 0.50, 0.40, 0.30, 0.25))
_JPEG = ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7))


def _pick(table: Sequence[Sequence[Any]], images: Tensor, severity: float) -> Any:
    small = max(images.shape[-2:]) <= SMALL
    return table[0 if small else 1][int(severity) - 1]


def _gaussian_noise(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    import torch

    sd = 255 * float(_pick(_NOISE, images, severity))
    return images + sd * torch.randn(images.shape, generator=generator)


def _shot_noise(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Photons counted at a rate in proportion to the intensity."""
    import torch

    photons = float(_pick(_SHOT, images, severity))
    return torch.poisson(images / 255 * photons, generator=generator) * (255 / photons)


def _impulse_noise(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Salt and pepper: a share of the values made 0 or 255."""
    import torch

    share = _pick(_IMPULSE, images, severity)
    drawn = torch.rand(images.shape, generator=generator)
    extreme = torch.where(drawn < share / 2, 0.0, 255.0)
    return torch.where(drawn < share, extreme, images)


def _speckle_noise(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    import torch

    sd = float(_pick(_SPECKLE, images, severity))
    return images * (1 + sd * torch.randn(images.shape, generator=generator))


def _gaussian_blur(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    import torch

    del generator
    sigma = float(_pick(_GAUSSIAN, images, severity))
    place = torch.arange(-round(4 * sigma), round(4 * sigma) + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (place / sigma) ** 2)
    kernel /= kernel.sum()
    return _convolve(images, kernel[:, None] * kernel[None])


def _defocus_blur(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Blur with a disk whose edge is itself blurred."""
    import torch

    del generator
    radius, edge = _pick(_DEFOCUS, images, severity)
    reach = max(1, int(radius)) + (2 if radius > 8 else 1)
    place = torch.arange(-reach, reach + 1, dtype=torch.float32)
    disk = ((place[:, None] ** 2 + place[None] ** 2) <= radius**2).float()
    half = 2 if radius > 8 else 1
    near = torch.exp(-0.5 * (torch.arange(-half, half + 1) / edge) ** 2)
    near /= near.sum()
    smooth = torch.nn.functional.conv2d(
        (disk / disk.sum())[None, None], (near[:, None] * near)[None, None], padding=half
    )
    return _convolve(images, smooth[0, 0] / smooth.sum())


def _convolve(images: Tensor, kernel: Tensor) -> Tensor:
    from torch.nn import functional

    channels, radius = images.shape[1], kernel.shape[0] // 2
    limit = min(images.shape[-2:]) - 1
    if radius > limit:  # reflection reaches no further than the image
        kernel = kernel[radius - limit : radius + limit + 1, radius - limit : radius + limit + 1]
        kernel, radius = kernel / kernel.sum(), limit
    padded = functional.pad(images, (radius,) * 4, mode="reflect")
    return functional.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)


def _zoom_blur(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Return the mean of the image and of it zoomed in more and more, as when a lens zooms during exposure."""
    import torch
    from torch.nn import functional

    del generator
    last, step = _pick(_ZOOM, images, severity)
    factors = np.arange(1, last + step / 2, step)
    total = images.clone()
    for factor in factors:
        matrix = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]], dtype=torch.float32)
        grid = functional.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        total += functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return total / (len(factors) + 1)


def _brightness(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Raise the value (HSV) at the same hue and saturation."""
    import torch

    del generator
    value = images.amax(dim=1, keepdim=True)
    raised = (value + 255 * _pick(_BRIGHTNESS, images, severity)).clamp(max=255)
    return torch.where(value > 0, images * (raised / value.clamp(min=1e-6)), raised)


def _contrast_loss(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Pull every channel towards its own mean."""
    del generator
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + (images - mean) * float(_pick(_CONTRAST, images, severity))


def _pixelate(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Shrink and enlarge again, both by box averages."""
    from PIL import Image

    share = _pick(_PIXELATE, images, severity)
    height, width = images.shape[-2:]
    small = max(1, int(width * share)), max(1, int(height * share))

    def change(picture: Image.Image) -> Image.Image:
        return picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)

    del generator
    return _one_by_one(images, change)


def _jpeg(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    from PIL import Image

    del generator
    quality = int(_pick(_JPEG, images, severity))

    def change(picture: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _one_by_one(images, change)


def _one_by_one(images: Tensor, change: Callable[[Any], Any]) -> Tensor:
    import torch
    from PIL import Image

    changed = np.empty(images.shape, np.float32)
    pictures = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    for index, picture in enumerate(pictures):
        changed[index] = np.asarray(change(Image.fromarray(picture)), np.float32).transpose(2, 0, 1)
    return torch.from_numpy(changed)


SEVERITIES: dict[str, tuple[str, Callable[[Any, float, Any], Any]]] = {
    "gaussian_noise": ("of normal noise", _gaussian_noise),
    "shot_noise": ("of photon noise", _shot_noise),
    "impulse_noise": ("of salt and pepper", _impulse_noise),
    "speckle_noise": ("of noise in proportion to the intensity", _speckle_noise),
    "defocus_blur": ("of a lens out of focus", _defocus_blur),
    "gaussian_blur": ("of a Gaussian blur", _gaussian_blur),
    "zoom_blur": ("of zooming during exposure", _zoom_blur),
    "brightness": ("of brightening", _brightness),
    "contrast_loss": ("of losing contrast", _contrast_loss),
    "pixelate": ("of coarse pixels", _pixelate),
    "jpeg": ("of JPEG compression", _jpeg),
}
"""The corruptions by name: what their severity is of, and the function."""
