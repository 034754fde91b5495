"""MobileNetV1 at a quarter of its width, whose ImageNet weights are small enough to travel with a study."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["mobilenetv1_025"]


class MobileNetV1(nn.Module):
    """Depthwise-separable convolutions in three stages (Howard et al., 2017), plain ReLU.

    Parameters
    ----------
    num_classes : int
        Outputs.
    base : int
        Channels after the first convolution: 32 at full width.
    """

    def __init__(self, num_classes: int = 1000, base: int = 8) -> None:
        super().__init__()
        b = base
        self.stage1 = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)),
            _separable(b, 2 * b),
            _separable(2 * b, 4 * b, 2),
            _separable(4 * b, 4 * b),
            _separable(4 * b, 8 * b, 2),
            _separable(8 * b, 8 * b),
        )
        self.stage2 = nn.Sequential(_separable(8 * b, 16 * b, 2), *(_separable(16 * b, 16 * b) for _ in range(5)))
        self.stage3 = nn.Sequential(_separable(16 * b, 32 * b, 2), _separable(32 * b, 32 * b))
        self.avg = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32 * b, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, num_classes)."""
        features: Tensor = self.stage3(self.stage2(self.stage1(image)))
        scores: Tensor = self.fc(self.avg(features).flatten(1))
        return scores


def mobilenetv1_025(num_classes: int = 1000, image_size: int = 224) -> nn.Module:
    """Build MobileNetV1 ×0.25 (0.47 million weights)."""
    return MobileNetV1(num_classes, base=8)


def _separable(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.ReLU(inplace=True),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
