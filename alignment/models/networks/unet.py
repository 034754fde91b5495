"""U-Net (Ronneberger et al., 2015) with batch normalisation and 32 channels at its first level."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["unet"]

_LEVELS = 4


class UNet(nn.Module):
    """Four levels down, four up, each joined to the one of its size.

    Parameters
    ----------
    num_classes : int
        Channels of the map that comes out.
    base : int
        Channels of the first level; they double from level to level.
    """

    def __init__(self, num_classes: int = 1, base: int = 32) -> None:
        super().__init__()
        channels = [base * 2**i for i in range(_LEVELS + 1)]
        self.encoders = nn.ModuleList(
            _double(before, after) for before, after in zip([3, *channels[:3]], channels[:4], strict=True)
        )
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in range(_LEVELS))
        self.bottleneck = _double(channels[3], channels[4])
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(channels[i + 1], channels[i], 2, stride=2) for i in reversed(range(_LEVELS))
        )
        self.decoders = nn.ModuleList(_double(2 * channels[i], channels[i]) for i in reversed(range(_LEVELS)))
        self.conv = nn.Conv2d(base, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W), sides multiples of 16, to (B, num_classes, H, W)."""
        kept = []
        x = image
        for encode, pool in zip(self.encoders, self.pools, strict=True):
            x = encode(x)
            kept.append(x)
            x = pool(x)
        x = self.bottleneck(x)
        for up, decode in zip(self.ups, self.decoders, strict=True):
            x = decode(torch.cat([up(x), kept.pop()], dim=1))
        maps: Tensor = self.conv(x)
        return maps


def unet(num_classes: int = 1, width: float = 1.0) -> nn.Module:
    """Build the U-Net; ``width`` scales its 32 channels."""
    return UNet(num_classes, base=max(1, round(32 * width)))


def _double(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
