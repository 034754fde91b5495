"""MiDaS 2.1, large (Ranftl et al., 2020): a ResNeXt encoder and a refining decoder give depth."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from alignment.models import _libraries

__all__ = ["midas"]


class ResidualUnit(nn.Module):
    """Two 3×3 convolutions, each after a ReLU, added to their input.

    Parameters
    ----------
    channels : int
        In and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        added: Tensor = x + self.conv2(self.relu(self.conv1(self.relu(x))))
        return added


class Fusion(nn.Module):
    """Joins the coarser level with this one's features, refines, and doubles the size.

    Parameters
    ----------
    channels : int
        In and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2H, 2W)."""
        if finer is not None:
            # An odd size does not double into its neighbour's; interpolation makes them meet.
            if x.shape[-2:] != finer.shape[-2:]:
                x = functional.interpolate(x, size=finer.shape[-2:], mode="bilinear", align_corners=True)
            x = x + self.resConfUnit1(finer)
        x = self.resConfUnit2(x)
        return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class Midas(nn.Module):
    """ResNeXt-101 32x8d features at four sizes, brought to 256 channels and fused from coarse to fine.

    Parameters
    ----------
    channels : int
        Of the decoder.
    """

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        encoder = _libraries.torchvision("models").resnext101_32x8d(weights=None)
        self.pretrained = nn.Module()
        stem = (encoder.conv1, encoder.bn1, encoder.relu, encoder.maxpool)
        self.pretrained.layer1 = nn.Sequential(*stem, encoder.layer1)
        self.pretrained.layer2 = encoder.layer2
        self.pretrained.layer3 = encoder.layer3
        self.pretrained.layer4 = encoder.layer4
        self.scratch = nn.Module()
        for i, before in enumerate((256, 512, 1024, 2048), start=1):
            self.scratch.add_module(f"layer{i}_rn", nn.Conv2d(before, channels, 3, padding=1, bias=False))
        for i in (4, 3, 2, 1):
            self.scratch.add_module(f"refinenet{i}", Fusion(channels))
        self.scratch.output_conv = nn.Sequential(
            nn.Conv2d(channels, 128, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(128, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 1, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to inverse depth (B, H, W)."""
        levels = []
        x = image
        for i in (1, 2, 3, 4):
            x = self.pretrained.get_submodule(f"layer{i}")(x)
            levels.append(self.scratch.get_submodule(f"layer{i}_rn")(x))
        path = self.scratch.get_submodule("refinenet4")(levels[3])
        for i in (3, 2, 1):
            path = self.scratch.get_submodule(f"refinenet{i}")(path, levels[i - 1])
        depth = cast(nn.Module, self.scratch.output_conv)(path)
        return cast(Tensor, depth).squeeze(1)


def midas() -> nn.Module:
    """Build MiDaS 2.1 large."""
    return Midas()
