"""NeuRN: each pixel replaced by the contrast of its surroundings, relative to the strongest in the image."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from alignment._validation import check_choice, check_integer, fail
from alignment.models._local_std import BORDERS, largest, local_std

__all__ = ["FORMS", "GREY_LEVEL", "SCOPES", "NeuRN", "check_image"]

FORMS = ("contrast", "inverse")
SCOPES = ("image", "channel", "none")
GREY_LEVEL = 1.0 / 255.0


class NeuRN(nn.Module):
    r"""Neuronal response normalisation of raw pixels, a layer without trainable weights.

    With :math:`\sigma` the population standard deviation of the k×k patch around each pixel, per channel and
    at stride 1, the output is :math:`\sigma / c`, where c is the largest :math:`\sigma` of the image. A flat
    image gives zeros.

    Parameters
    ----------
    k : int, default 3
        Side of the patch: an odd integer ≥ 3.
    border : {"reflect", "replicate", "zeros"}
        What the patch sees outside of the image.
    scope : {"image", "channel", "none"}
        What c is the maximum over: all pixels and channels of an image, each channel apart, or no c at all (c
        = 1).
    form : {"contrast", "inverse"}
        ``contrast`` is :math:`\sigma / c`; ``inverse`` is :math:`1 / (c\,\sigma)`, the formula as the papers
        print it, with :math:`\sigma` (and so c) held at one grey level, 1/255, or above.

    Notes
    -----
    Source: NeuRN (arXiv 2505.06881), section 3. The printed formula is the ``inverse`` form; the papers' own
    figures are reproduced by ``contrast`` with k = 3, which is the default here (``docs/neurn.md``).

    The layer sits on pixels in [0, 1], before a model's own normalisation of colours. Statistics are computed
    in float64 sums of float32 pixels whatever the input's type, also under autocast; the output has the
    input's type. The relative error is below 1e-5 wherever :math:`\sigma` exceeds a tenth of a grey level,
    and flat patches are exactly 0. The gradient passes through the maximum; at flat patches, where the root
    has none, it is 0.

    A NaN or an infinity in an image makes every value that depends on it NaN: through c the whole image (the
    channel with ``scope="channel"``, the patches around it with ``scope="none"``); other images of the batch
    are untouched.

    Examples
    --------
    >>> import torch
    >>> image = torch.zeros(1, 1, 4, 4)
    >>> image[..., 2:] = 1.0
    >>> NeuRN()(image)[0, 0, 0]
    tensor([0., 1., 1., 0.])
    >>> NeuRN(k=4)
    Traceback (most recent call last):
        ...
    neural_alignment.InputError: The 'k' parameter of NeuRN must be an odd integer ≥ 3. Got 4 instead.
    """

    def __init__(self, k: int = 3, border: str = "reflect", scope: str = "image", form: str = "contrast") -> None:
        super().__init__()
        self.k = check_integer(k, "k", "NeuRN", low=3, odd=True)
        self.border = check_choice(border, "border", "NeuRN", BORDERS)
        self.scope = check_choice(scope, "scope", "NeuRN", SCOPES)
        self.form = check_choice(form, "form", "NeuRN", FORMS)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) floating-point images to contrasts of the same shape, type and memory format."""
        check_image(image, "NeuRN")
        if self.form == "contrast":
            return local_std(image, self.k, self.border, self.scope).to(image.dtype)
        sigma = local_std(image, self.k, self.border).clamp_min(GREY_LEVEL)
        peak = largest(sigma, self.scope)
        return (1.0 / (sigma if peak is None else peak * sigma)).to(image.dtype)

    def extra_repr(self) -> str:
        """Show the options in the module's printed form."""
        return f"k={self.k}, border={self.border!r}, scope={self.scope!r}, form={self.form!r}"


def check_image(image: Any, owner: str) -> None:
    """Refuse what is not a batch of floating-point images (B, C, H, W) with at least one pixel."""
    if not isinstance(image, Tensor) or image.dim() != 4:
        got = tuple(image.shape) if hasattr(image, "shape") else type(image).__name__
        raise fail("image", owner, "a tensor of shape (B, C, H, W)", got, "Add a batch axis with image[None].")
    if not image.is_floating_point():
        hint = "Convert grey levels with image.float() / 255."
        raise fail("image", owner, "floating point, in [0, 1]", str(image.dtype), hint)
    if 0 in image.shape[1:]:
        raise fail("image", owner, "at least one pixel and channel large", tuple(image.shape))
