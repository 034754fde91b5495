"""The heads on frozen tokens: fusion with a brain, and the image-only heads that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignment._validation import check_choice, check_integer, check_number, fail
from alignment.transfer.fusion.brain_transformer import BrainTransformer
from neural_alignment import DataError

__all__ = ["FUSE", "FusionHead", "HeadOptions", "HeadOutput"]

FUSE = ("cross_attention", "concatenate", "add", "image", "linear")
"""Ways to classify: three with a brain, an image-only head of as many weights, and a bare linear layer."""


@dataclass(frozen=True)
class HeadOptions:
    """Size of a head.

    Attributes
    ----------
    width, depth, heads : int
        Of the brain transformer and of the attention; ``width`` a multiple of ``heads``.
    patch : int
        Units in a patch of responses.
    dropout : float
        In the transformer and before the classifier.
    positions : bool
        Whether the image tokens get learned positions. Without them the fusion does not depend on their order.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    patch: int = 16
    dropout: float = 0.1
    positions: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "patch"):
            check_integer(getattr(self, name), name, "HeadOptions", low=1)
        check_number(self.dropout, "dropout", "HeadOptions", low=0, high=0.9)
        if self.width % self.heads:
            raise fail("width", "HeadOptions", f"a multiple of heads ({self.heads})", self.width)


@dataclass(frozen=True)
class HeadOutput:
    """What a head gives for a batch.

    Attributes
    ----------
    logits : (n, class) Tensor
    image : (n, width) Tensor
        The globally pooled image tokens.
    brain : (n, width) Tensor or None
        The brain's [CLS]; None for a head without a brain.
    attention : (n, head, token) Tensor or None
        How the query looks at the patch tokens; None where it was not asked for or there is none.
    """

    logits: Tensor
    image: Tensor
    brain: Tensor | None
    attention: Tensor | None = None


class FusionHead(nn.Module):
    """A classifier on stored tokens and predicted responses.

    Tokens are standardised and projected to ``width``. ``cross_attention``: the brain transformer's [CLS] is the
    query and the image tokens (an own [CLS] of the network among them) are keys and values; what it reads is
    concatenated with the mean of the patch tokens and classified linearly. ``concatenate`` and ``add`` put the
    brain's [CLS] itself beside or onto the mean. ``image`` is ``cross_attention`` with the query made from the mean
    of the tokens by a perceptron with one hidden layer, just wide enough that the head has as many weights as one
    with a brain of ``units`` units. ``linear`` classifies the standardised mean of the tokens.

    Parameters
    ----------
    features, tokens : int
        Length and number of the patch tokens.
    units : int
        Predicted responses an image.
    classes : int
        Outputs.
    fuse : str
        One of :data:`FUSE`.
    options : HeadOptions, optional
        Sizes.
    has_cls : bool
        Whether the network has a [CLS] token of its own.

    Examples
    --------
    >>> head = FusionHead(6, 4, 20, 3, options=HeadOptions(width=8, heads=2))
    >>> head(torch.zeros(5, 4, 6), torch.zeros(5, 6), torch.zeros(5, 20)).logits.shape
    torch.Size([5, 3])
    """

    feature_mean: Tensor
    feature_sd: Tensor
    unit_mean: Tensor
    unit_sd: Tensor

    def __init__(
        self,
        features: int,
        tokens: int,
        units: int,
        classes: int,
        *,
        fuse: str = "cross_attention",
        options: HeadOptions | None = None,
        has_cls: bool = False,
    ) -> None:
        super().__init__()
        check_choice(fuse, "fuse", "FusionHead", FUSE)
        for name, value in (("features", features), ("tokens", tokens), ("units", units), ("classes", classes)):
            check_integer(value, name, "FusionHead", low=1)
        own = options or HeadOptions()
        self.fuse, self.has_cls, self.units = fuse, has_cls, units
        for name, size in (("feature", features), ("unit", units)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_sd", torch.ones(size))
        if fuse == "linear":
            self.classify: nn.Module = nn.Linear(features, classes)
            return
        width = own.width
        self.project = nn.Linear(features, width)
        self.place = nn.Parameter(0.02 * torch.randn(1, tokens, width)) if own.positions else None
        sizes = {"width": width, "depth": own.depth, "heads": own.heads, "patch": own.patch}
        brain = BrainTransformer(units, **sizes, dropout=own.dropout)
        if fuse == "image":
            hidden = max(1, round((_count(brain) - width) / (2 * width + 1)))
            self.query: nn.Module = nn.Sequential(
                nn.Linear(width, hidden), nn.GELU(), nn.Dropout(own.dropout), nn.Linear(hidden, width)
            )
        else:
            self.brain = brain
        if fuse in ("cross_attention", "image"):
            self.attention = nn.MultiheadAttention(width, own.heads, batch_first=True)
        self.drop = nn.Dropout(own.dropout)
        self.classify = nn.Linear(width if fuse == "add" else 2 * width, classes)

    @property
    def has_brain(self) -> bool:
        """Whether the head looks at responses at all."""
        return self.fuse not in ("image", "linear")

    def standardise(self, patches: Tensor, responses: Tensor | None) -> None:
        """Take means and standard deviations of tokens and responses from the training images.

        Raises
        ------
        DataError
            No responses for a head with a brain.
        """
        values = patches.float().flatten(0, 1)
        self.feature_mean.copy_(values.mean(dim=0))
        self.feature_sd.copy_(values.std(dim=0).clamp(min=1e-6))
        if self.has_brain:
            if responses is None:
                raise DataError(f"A head that fuses by {self.fuse} needs predicted responses. Got none.")
            self.unit_mean.copy_(responses.float().mean(dim=0))
            self.unit_sd.copy_(responses.float().std(dim=0).clamp(min=1e-6))

    def forward(
        self, patches: Tensor, cls: Tensor, responses: Tensor | None = None, *, attention: bool = False
    ) -> HeadOutput:
        """Classify images.

        Parameters
        ----------
        patches : (n, token, feature) Tensor
        cls : (n, feature) Tensor
            Looked at only where the network has its own.
        responses : (n, unit) Tensor, optional
            Not needed by a head without a brain.
        attention : bool, optional
            Give the attention as well.
        """
        scaled = (patches.float() - self.feature_mean) / self.feature_sd
        if self.fuse == "linear":
            pooled = scaled.mean(dim=1)
            return HeadOutput(self.classify(pooled), pooled, None)
        tokens = self.project(scaled)
        if self.place is not None:
            tokens = tokens + self.place
        pooled = tokens.mean(dim=1)
        brain = None
        if self.has_brain:
            assert responses is not None
            brain = self.brain((responses.float() - self.unit_mean) / self.unit_sd)
        if self.fuse == "add":
            return HeadOutput(self.classify(self.drop(pooled + brain)), pooled, brain)
        if self.fuse == "concatenate":
            assert brain is not None
            return HeadOutput(self.classify(self.drop(torch.cat([brain, pooled], dim=1))), pooled, brain)
        query = self.query(pooled) if brain is None else brain
        read, looked = self._attend(query, tokens, cls, attention)
        return HeadOutput(self.classify(self.drop(torch.cat([read, pooled], dim=1))), pooled, brain, looked)

    def _attend(self, query: Tensor, tokens: Tensor, cls: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        if self.has_cls:
            first = self.project((cls.float() - self.feature_mean) / self.feature_sd)
            tokens = torch.cat([first[:, None], tokens], dim=1)
        read, looked = self.attention(query[:, None], tokens, tokens, need_weights=wanted, average_attn_weights=False)
        if not wanted:
            return read[:, 0], None
        return read[:, 0], looked[:, :, 0, 1 if self.has_cls else 0 :]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def weights_of(head: nn.Module) -> int:
    """Return the number of trained weights of a head."""
    return _count(head)


def head_state(head: FusionHead) -> dict[str, Any]:
    """Return a head's weights on the CPU, for a store."""
    return {name: tensor.detach().cpu() for name, tensor in head.state_dict().items()}
