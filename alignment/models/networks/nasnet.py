"""NASNet-A mobile (Zoph et al., 2018), on timm's cells."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from alignment.models import _libraries

__all__ = ["nasnet_mobile"]


class _Passed(nn.Module):
    """Stands where the large network has a further cell: hands on what the cell before it made."""

    def forward(self, x: Tensor, x_prev: Tensor) -> Tensor:
        return x


def nasnet_mobile(num_classes: int = 1000) -> nn.Module:
    """Build NASNet-A (4 @ 1056): stem of 32 channels, four normal cells a stage, 1,056 features.

    timm defines the large network, six cells a stage. The two that the mobile one does not have are left out
    of every stage; the last cell kept before them then also stands in for the second-to-last that the next
    cell looks back to.
    """
    build = _libraries.timm("models.nasnet").NASNetALarge
    net: Any = build(num_classes=num_classes, stem_size=32, num_features=1056)
    for cell in ("cell_4", "cell_5", "cell_10", "cell_11", "cell_16", "cell_17"):
        setattr(net, cell, _Passed())
    return cast(nn.Module, net)
