"""The correlation between two modalities' features, as a term of a loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from alignment._validation import check_number
from neural_alignment import InputError

__all__ = ["fusion_loss", "pearson"]


def pearson(a: Tensor, b: Tensor, eps: float = 1e-12) -> Tensor:
    """Mean over features of the Pearson correlation between two modalities, over the images of a batch.

    Each feature is correlated over images, not each image over features: the latter is 1 for two constant vectors that
    tell nothing of the images. A feature that is constant over the batch counts 0 and has no gradient.

    Parameters
    ----------
    a, b : (image, feature) Tensor
        Features of the two modalities.
    eps : float, optional
        Variances below it (relative to the mean square) are none.

    Returns
    -------
    Tensor
        One number in [−1, 1], differentiable.

    Raises
    ------
    InputError
        Tensors of different shapes, or not of two axes.

    Examples
    --------
    >>> a = torch.tensor([[0.0], [1.0], [2.0]])
    >>> round(float(pearson(a, -3 * a + 1)), 6)
    -1.0
    """
    if a.shape != b.shape or a.ndim != 2:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise InputError(f"pearson needs features (image, feature) of one shape from both modalities. Got {shapes}.")
    if not torch.is_autocast_enabled(a.device.type) and a.dtype == b.dtype == torch.float64:
        first, second = a, b
    else:
        first, second = a.float(), b.float()  # sums of squares overflow and round badly in half precision
    scale = first.square().mean(dim=0) * second.square().mean(dim=0)
    first, second = first - first.mean(dim=0), second - second.mean(dim=0)
    product = first.square().mean(dim=0) * second.square().mean(dim=0)
    alive = (product > eps * scale) & (product > 0)
    size = torch.where(alive, product, torch.ones_like(product)).sqrt()
    r = (first * second).mean(dim=0) / size
    return torch.where(alive, r, torch.zeros_like(r)).mean()


def fusion_loss(
    logits: Tensor, labels: Tensor, image_features: Tensor, brain_features: Tensor | None, weight: float
) -> Tensor:
    """Cross-entropy − weight · Pearson correlation of the two modalities' features.

    Parameters
    ----------
    logits : (image, class) Tensor
    labels : (image,) int64 Tensor
    image_features, brain_features : (image, feature) Tensor
        The second may be None, for a head without a brain; the correlation is then left out.
    weight : float
        λ ≥ 0; 0 leaves the correlation out.

    Returns
    -------
    Tensor
        One number.

    Raises
    ------
    InputError
        A negative λ: it would drive the modalities apart.
    """
    check_number(weight, "weight", "fusion_loss", low=0)
    loss = functional.cross_entropy(logits, labels)
    if weight == 0 or brain_features is None:
        return loss
    return loss - weight * pearson(image_features, brain_features)
