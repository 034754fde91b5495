"""ResNet-50 with instance and batch normalisation side by side (IBN-a; Pan et al., 2018)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from alignment.models import _libraries

__all__ = ["ibn_resnet50"]


class InstanceBatchNorm(nn.Module):
    """Instance normalisation of the first half of the channels, batch normalisation of the others.

    Parameters
    ----------
    channels : int
        Of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        first, second = image[:, : self.split].contiguous(), image[:, self.split :].contiguous()
        return torch.cat([self.IN(first), self.BN(second)], dim=1)


def ibn_resnet50(num_classes: int = 1000) -> nn.Module:
    """Build IBN-a: the first normalisation of each block of the first three stages is split."""
    net = cast(nn.Module, _libraries.torchvision("models").resnet50(weights=None, num_classes=num_classes))
    for stage in ("layer1", "layer2", "layer3"):
        for block in net.get_submodule(stage).children():
            block.bn1 = InstanceBatchNorm(cast(nn.BatchNorm2d, block.bn1).num_features)
    return net
