"""A plain convolutional network of three layers, for digits."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

__all__ = ["small_cnn"]


def small_cnn(num_classes: int = 10, width: float = 1.0, image_size: int = 32) -> nn.Module:
    """Build three 3×3 convolutions with ReLU (two with max-pooling), an average and a linear layer.

    Parameters
    ----------
    num_classes : int
        Outputs.
    width : float
        Factor on the 32, 64 and 128 channels.
    image_size : int
        Not used: the average at the end takes any size.

    Returns
    -------
    nn.Module
        (B, 3, H, W) -> (B, num_classes); its convolutions are ``conv1`` to ``conv3``.
    """
    channels = [max(1, round(width * c)) for c in (32, 64, 128)]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for i, after in enumerate(channels, start=1):
        layers[f"conv{i}"] = nn.Conv2d(before, after, kernel_size=3, padding=1)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
        if i < len(channels):
            layers[f"pool{i}"] = nn.MaxPool2d(2)
        before = after
    layers["average"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(before, num_classes)
    net = nn.Sequential(layers)
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net
