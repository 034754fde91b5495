"""CORnet-S (Kubilius et al., 2018): four areas of the ventral stream, three of them recurrent."""

from __future__ import annotations

import math

from torch import Tensor, nn

__all__ = ["cornet_s"]

_SCALE = 4


class Area(nn.Module):
    """A recurrent area: a bottleneck that runs ``times`` times on its own output, the first time at stride 2.

    Parameters
    ----------
    before, after : int
        Channels in and out.
    times : int
        Runs in a pass. Convolutions are shared over time, batch normalisation is not.
    """

    def __init__(self, before: int, after: int, times: int) -> None:
        super().__init__()
        self.times = times
        wide = after * _SCALE
        self.conv_input = nn.Conv2d(before, after, 1, bias=False)
        self.skip = nn.Conv2d(after, after, 1, stride=2, bias=False)
        self.norm_skip = nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(after, wide, 1, bias=False)
        self.nonlin1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(wide, wide, 3, stride=2, padding=1, bias=False)
        self.nonlin2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(wide, after, 1, bias=False)
        self.nonlin3 = nn.ReLU(inplace=True)
        for t in range(times):
            self.add_module(f"norm1_{t}", nn.BatchNorm2d(wide))
            self.add_module(f"norm2_{t}", nn.BatchNorm2d(wide))
            self.add_module(f"norm3_{t}", nn.BatchNorm2d(after))

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, before, H, W) to (B, after, H/2, W/2)."""
        x: Tensor = self.conv_input(image)
        for t in range(self.times):
            skip = self.norm_skip(self.skip(x)) if t == 0 else x
            self.conv2.stride = (2, 2) if t == 0 else (1, 1)
            x = self.nonlin1(self.get_submodule(f"norm1_{t}")(self.conv1(x)))
            x = self.nonlin2(self.get_submodule(f"norm2_{t}")(self.conv2(x)))
            x = self.get_submodule(f"norm3_{t}")(self.conv3(x))
            x = self.nonlin3(x + skip)
        return x


class CORnetS(nn.Module):
    """V1, V2, V4 and IT, then an average and a linear decoder.

    Parameters
    ----------
    num_classes : int
        Outputs.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.V1 = nn.Sequential()
        self.V1.add_module("conv1", nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False))
        self.V1.add_module("norm1", nn.BatchNorm2d(64))
        self.V1.add_module("nonlin1", nn.ReLU(inplace=True))
        self.V1.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
        self.V1.add_module("conv2", nn.Conv2d(64, 64, 3, padding=1, bias=False))
        self.V1.add_module("norm2", nn.BatchNorm2d(64))
        self.V1.add_module("nonlin2", nn.ReLU(inplace=True))
        self.V2 = Area(64, 128, times=2)
        self.V4 = Area(128, 256, times=4)
        self.IT = Area(256, 512, times=2)
        self.decoder = nn.Sequential()
        self.decoder.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
        self.decoder.add_module("flatten", nn.Flatten())
        self.decoder.add_module("linear", nn.Linear(512, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, num_classes)."""
        scores: Tensor = self.decoder(self.IT(self.V4(self.V2(self.V1(image)))))
        return scores


def cornet_s(num_classes: int = 1000) -> nn.Module:
    """Build CORnet-S: V2, V4 and IT run 2, 4 and 2 times."""
    return CORnetS(num_classes)
