"""The brain encoder as a transformer decoder: one learned query a region of interest reads the patch tokens.

After the encoding models of Adeli, Sun & Kriegeskorte (2023, Predicting brain activity using transformers), which the
fusion system builds on: queries attend to the image's tokens, and each region's units are read linearly from its own
query.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alignment._validation import check_integer, fail

__all__ = ["RoiDecoder"]


class RoiDecoder(nn.Module):
    """Patch tokens to the responses of all units.

    Parameters
    ----------
    features : int
        Length of a patch token.
    tokens : int
        Patch tokens an image; each place has a learned position.
    roi : (unit,) int array
        The region of each unit, from 0, units of a region side by side.
    width, depth, heads : int
        Of the decoder; ``width`` a multiple of ``heads``.
    dropout : float
        In attention and feed-forward layers.

    Examples
    --------
    >>> decoder = RoiDecoder(features=6, tokens=4, roi=np.array([0, 0, 1]), width=8, depth=1, heads=2)
    >>> decoder(torch.zeros(5, 4, 6)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        features: int,
        tokens: int,
        roi: npt.NDArray[Any],
        *,
        width: int = 64,
        depth: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value in (("features", features), ("tokens", tokens), ("depth", depth), ("heads", heads)):
            check_integer(value, name, "RoiDecoder", low=1)
        check_integer(width, "width", "RoiDecoder", low=1)
        if width % heads:
            raise fail("width", "RoiDecoder", f"a multiple of heads ({heads})", width)
        counts = np.bincount(np.asarray(roi, np.int64))
        if len(counts) == 0 or (counts == 0).any() or (np.diff(roi) < 0).any():
            raise fail("roi", "RoiDecoder", "regions from 0, each with units, side by side", list(roi)[:8])
        self.counts = [int(count) for count in counts]
        self.take_in = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.queries = nn.Parameter(torch.randn(1, len(counts), width))
        layer = nn.TransformerDecoderLayer(
            width, heads, 2 * width, dropout=dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, depth, norm=nn.LayerNorm(width))
        self.readout = nn.ModuleList(nn.Linear(width, count) for count in self.counts)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patch tokens (n, token, feature) to responses (n, unit)."""
        memory = self.take_in(patches) + self.place
        read = self.decoder(self.queries.expand(len(patches), -1, -1), memory)
        return torch.cat([linear(read[:, index]) for index, linear in enumerate(self.readout)], dim=1)
