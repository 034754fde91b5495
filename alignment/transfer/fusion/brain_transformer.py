"""The brain transformer: a vector of predicted responses as patches, a [CLS], learned positions and an encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alignment._validation import check_integer, check_number, fail

__all__ = ["BrainTransformer"]


class BrainTransformer(nn.Module):
    """Predicted responses to one feature vector.

    A one-dimensional convolution cuts the units (sorted by region) into patches, a learned [CLS] is put in front,
    learned positions are added, and a transformer encoder (pre-norm) reads them; its [CLS] is the output.

    Parameters
    ----------
    units : int
        Responses an image.
    width, depth, heads : int
        Of the encoder; ``width`` a multiple of ``heads``.
    patch : int
        Units a patch; the last patch is filled up with zeros.
    dropout : float
        In attention and feed-forward layers.

    Examples
    --------
    >>> brain = BrainTransformer(units=20, width=8, depth=1, heads=2, patch=8)
    >>> brain(torch.zeros(5, 20)).shape, brain.patches
    (torch.Size([5, 8]), 3)
    """

    def __init__(
        self, units: int, *, width: int = 64, depth: int = 2, heads: int = 4, patch: int = 16, dropout: float = 0.1
    ) -> None:
        super().__init__()
        for name, value in (("units", units), ("width", width), ("depth", depth), ("heads", heads), ("patch", patch)):
            check_integer(value, name, "BrainTransformer", low=1)
        check_number(dropout, "dropout", "BrainTransformer", low=0, high=0.9)
        if width % heads:
            raise fail("width", "BrainTransformer", f"a multiple of heads ({heads})", width)
        self.units, self.patch = units, patch
        self.patches = -(-units // patch)
        self.cut = nn.Conv1d(1, width, kernel_size=patch, stride=patch)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, self.patches + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, responses: Tensor) -> Tensor:
        """Map responses (n, unit) to the encoder's [CLS] (n, width)."""
        filled = nn.functional.pad(responses, (0, self.patches * self.patch - self.units))
        patches = self.cut(filled[:, None]).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(responses), -1, -1), patches], dim=1) + self.place
        return torch.as_tensor(self.encoder(tokens)[:, 0])
