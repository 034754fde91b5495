"""A single path of the one-shot search space of Guo et al. (2020): ShuffleNet blocks of four kinds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["CHOICES", "PUBLISHED", "PUBLISHED_WIDTHS", "spos_shufflenet"]

# Kernel of each choice; the fourth is three depthwise convolutions as in Xception.
CHOICES = ("3", "5", "7", "x")
_STAGES = ((4, 64), (4, 160), (8, 320), (4, 640))
# The path that the published search found, and its blocks' inner widths as shares of half their outputs.
PUBLISHED = (0, 0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 2, 0, 2, 1, 3, 2)
PUBLISHED_WIDTHS = (
    1.4, 1.2, 0.8, 1.2, 0.6, 1.4, 0.8, 1.0, 0.6, 1.2, 1.6, 1.2, 1.0, 1.4, 1.6, 1.0, 1.0, 1.2, 1.0, 0.8,
)  # fmt: skip


class ShuffleBlock(nn.Module):
    """Half of the channels pass (or shrink), the others are filtered; at stride 2 both see the whole input.

    Parameters
    ----------
    before, after, stride : int
        Channels in and out, and stride.
    choice : int
        Index into :data:`CHOICES`.
    width : float
        Channels inside of the filter, as a share of half of ``after``.
    """

    def __init__(self, before: int, after: int, stride: int, choice: int, width: float = 1.0) -> None:
        super().__init__()
        self.stride = stride
        half = after // 2
        middle = int(half * width)
        inside = before if stride == 2 else before // 2
        made = after - inside if stride == 2 else half
        kernel = 3 if CHOICES[choice] == "x" else int(CHOICES[choice])
        build = _xception if CHOICES[choice] == "x" else _shuffle
        self.branch_main = build(inside, middle, made, kernel, stride)
        self.branch_proj = (
            nn.Sequential(*_depthwise(before, kernel, 2), *_pointwise(before, before)) if stride == 2 else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, before, H, W) to (B, after, H/stride, W/stride)."""
        if self.stride == 2:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], dim=1)
        # Shuffling by taking every other channel: what passes now is filtered by the next block.
        passed, filtered = x[:, 0::2], x[:, 1::2]
        return torch.cat([self.branch_proj(passed), self.branch_main(filtered)], dim=1)


class SinglePath(nn.Module):
    """Stem, twenty blocks of the chosen kinds, a 1×1 convolution, an average and a linear layer.

    Parameters
    ----------
    num_classes : int
        Outputs.
    path : sequence of int
        The choice of each block.
    widths : sequence of float
        The inner width of each block, as a share of half of its outputs.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        path: tuple[int, ...] = PUBLISHED,
        widths: tuple[float, ...] = PUBLISHED_WIDTHS,
    ) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        before, choices = 16, iter(zip(path, widths, strict=True))
        for count, channels in _STAGES:
            for i in range(count):
                blocks.append(ShuffleBlock(before, channels, 2 if i == 0 else 1, *next(choices)))
                before = channels
        self.features = nn.Sequential(*blocks)
        self.conv_last = nn.Sequential(*_pointwise(before, 1024))
        self.globalpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Sequential(nn.Linear(1024, num_classes, bias=False))

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, num_classes)."""
        x = self.globalpool(self.conv_last(self.features(self.first_conv(image)))).flatten(1)
        scores: Tensor = self.classifier(self.dropout(x))
        return scores


def spos_shufflenet(num_classes: int = 1000) -> nn.Module:
    """Build the path that the published search found (3.4 million weights)."""
    return SinglePath(num_classes)


def _depthwise(channels: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


def _pointwise(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _shuffle(before: int, middle: int, after: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(*_pointwise(before, middle), *_depthwise(middle, kernel, stride), *_pointwise(middle, after))


def _xception(before: int, middle: int, after: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_depthwise(before, kernel, stride),
        *_pointwise(before, middle),
        *_depthwise(middle, kernel, 1),
        *_pointwise(middle, middle),
        *_depthwise(middle, kernel, 1),
        *_pointwise(middle, after),
    )
