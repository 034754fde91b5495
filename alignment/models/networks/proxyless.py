"""ProxylessNAS for the GPU (Cai et al., 2019): the inverted-residual network that the search found."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["proxyless_gpu"]

# Channels, stride of the first, then (kernel, expansion) of each layer that the search kept; a layer that it
# dropped is not there.
_STAGES: tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...] = (
    (24, 1, ((3, 1),)),
    (32, 2, ((5, 3),)),
    (56, 2, ((7, 3), (3, 3))),
    (112, 2, ((7, 6), (5, 3))),
    (128, 1, ((5, 6), (3, 3), (5, 3))),
    (256, 2, ((7, 6), (7, 6), (7, 6), (5, 6))),
    (432, 1, ((7, 6),)),
)


class InvertedResidual(nn.Module):
    """Expand, filter by channel, project; added to the input where the shape stays.

    Parameters
    ----------
    before, after, kernel, stride, expansion : int
        Channels in and out, kernel side, stride, and factor on the channels inside.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += _unit(before, wide, 1)
        layers += _unit(wide, wide, kernel, stride, groups=wide)
        layers += [nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after, eps=1e-3)]
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, before, H, W) to (B, after, H/stride, W/stride)."""
        made: Tensor = self.body(x)
        return x + made if self.residual else made


class Proxyless(nn.Module):
    """A convolution, the searched blocks, a 1×1 convolution, an average and a linear layer.

    Parameters
    ----------
    num_classes : int
        Outputs.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_unit(3, 40, 3, 2))
        blocks: list[nn.Module] = []
        before = 40
        for channels, stride, layers in _STAGES:
            for i, (kernel, expansion) in enumerate(layers):
                blocks.append(InvertedResidual(before, channels, kernel, stride if i == 0 else 1, expansion))
                before = channels
        self.blocks = nn.Sequential(*blocks)
        self.feature_mix_layer = nn.Sequential(*_unit(before, 1728, 1))
        self.global_avg_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1728, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, num_classes)."""
        x = self.feature_mix_layer(self.blocks(self.first_conv(image)))
        scores: Tensor = self.classifier(self.global_avg_pooling(x).flatten(1))
        return scores


def proxyless_gpu(num_classes: int = 1000) -> nn.Module:
    """Build the network that the search found for the GPU."""
    return Proxyless(num_classes)


def _unit(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(after, eps=1e-3), nn.ReLU6(inplace=True)]
