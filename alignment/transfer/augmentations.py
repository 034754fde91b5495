"""Methods that change the source's images: RandConv, AugMix and RandAugment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from alignment._validation import check_integer, check_number
from alignment.models._libraries import torchvision
from alignment.transfer.methods import Batch, Method

__all__ = ["AugMix", "RandAugment", "RandConv"]


class RandConv(Method):
    """Random convolutions, which change texture and keep shape.

    Each step convolves the images with fresh random kernels of a random size and mixes the result with the
    originals by a random weight; with probability ``keep`` the images stay as they are. A consistency term
    draws the predictions on three such versions together.

    Parameters
    ----------
    sizes : tuple of int, optional
        Odd kernel sizes to draw from.
    keep : float, optional
        Probability of the originals, in [0, 1].
    consistency : float, optional
        Weight of the consistency term; 0 takes one version and no such term, a third of the work.

    Raises
    ------
    InputError
        A parameter beyond its limits.

    Notes
    -----
    After Xu et al. (2021), Robust and generalizable visual representation learning via random convolutions (ICLR),
    sections 3 and 4: sizes 1 to 7. Not as published: there the originals are kept with mixing off and weight 5
    (RC_img), or never kept with mixing and weight 10 (RC_mix), and validation is on random convolutions.
    """

    def __init__(self, sizes: tuple[int, ...] = (1, 3, 5, 7), keep: float = 0.5, consistency: float = 10.0) -> None:
        super().__init__()
        self.sizes = tuple(check_integer(size, "sizes", "RandConv", low=1, high=31, odd=True) for size in sizes)
        self.keep = check_number(keep, "keep", "RandConv", low=0, high=1)
        self.consistency = check_number(consistency, "consistency", "RandConv", low=0)

    def augment(self, images: Tensor) -> Tensor:
        """Return the images convolved and mixed, or as they are."""
        if float(torch.rand(())) < self.keep:
            return images
        size = self.sizes[int(torch.randint(len(self.sizes), ()))]
        channels = images.shape[1]
        # He's scale: the filtered images vary about as much as the originals.
        kernel = torch.randn(channels, channels, size, size) / (channels * size * size) ** 0.5
        mixed = float(torch.rand(()))
        # On values around zero, as the paper normalises them: black would stay black under any kernel.
        centred = 2 * images - 1
        filtered = functional.conv2d(centred, kernel.to(images), padding=size // 2)
        return (mixed * centred + (1 - mixed) * filtered + 1) / 2

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy, with the consistency over three versions."""
        if self.consistency == 0:
            return super().loss(model, batch)
        versions = [self.augment(batch.images) for _ in range(3)]
        logits = model(torch.cat(versions)).float().chunk(3)
        loss = functional.cross_entropy(logits[0], batch.labels)
        return loss + self.consistency * _divergence(list(logits))


class AugMix(Method):
    """Mixtures of chains of simple operations, with consistent predictions asked for.

    Parameters
    ----------
    severity : int, optional
        Strength of the operations, 1 to 10.
    consistency : float, optional
        Weight of the Jensen-Shannon term over the original and two mixtures; 0 takes one mixture and no such
        term.
    groups : int, optional
        Parts of a batch that get operations of their own: more is more varied and slower.

    Raises
    ------
    InputError
        A parameter beyond its limits.

    Notes
    -----
    After Hendrycks et al. (2020), AugMix: a simple data processing method to improve robustness and uncertainty
    (ICLR); severity 3 and weight 12 as there. Not as published: torchvision's operations include brightness,
    colour, contrast and sharpness, which the paper leaves out.
    """

    def __init__(self, severity: int = 3, consistency: float = 12.0, groups: int = 8) -> None:
        super().__init__()
        self.severity = check_integer(severity, "severity", "AugMix", low=1, high=10)
        self.consistency = check_number(consistency, "consistency", "AugMix", low=0)
        self.groups = check_integer(groups, "groups", "AugMix", low=1)
        self._transform = torchvision("transforms").AugMix(severity=severity)

    def augment(self, images: Tensor) -> Tensor:
        """Return one mixture of each image."""
        return _in_groups(self._transform, images, self.groups)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy of the originals with the Jensen-Shannon term."""
        if self.consistency == 0:
            return super().loss(model, batch)
        versions = [batch.images, self.augment(batch.images), self.augment(batch.images)]
        logits = model(torch.cat(versions)).float().chunk(3)
        loss = functional.cross_entropy(logits[0], batch.labels)
        return loss + self.consistency * _divergence(list(logits))


class RandAugment(Method):
    """A few random operations in a row.

    Parameters
    ----------
    operations : int, optional
        How many in a row.
    magnitude : int, optional
        Their strength, 0 to 30.
    groups : int, optional
        Parts of a batch that get operations of their own.

    Raises
    ------
    InputError
        A parameter beyond its limits.

    Notes
    -----
    Cubuk et al. (2020), RandAugment: practical automated data augmentation with a reduced search space.
    """

    def __init__(self, operations: int = 2, magnitude: int = 9, groups: int = 8) -> None:
        super().__init__()
        self.operations = check_integer(operations, "operations", "RandAugment", low=1, high=10)
        self.magnitude = check_integer(magnitude, "magnitude", "RandAugment", low=0, high=30)
        self.groups = check_integer(groups, "groups", "RandAugment", low=1)
        self._transform = torchvision("transforms").RandAugment(num_ops=operations, magnitude=magnitude)

    def augment(self, images: Tensor) -> Tensor:
        """Return the images after their operations."""
        return _in_groups(self._transform, images, self.groups)


def _in_groups(transform: Any, images: Tensor, groups: int) -> Tensor:
    # torchvision's operations are defined on bytes and treat a whole stack alike.
    stack = images.mul(255).round().to(torch.uint8)
    parts = [transform(part) for part in torch.tensor_split(stack, min(groups, len(stack)))]
    return torch.cat(parts).to(images.dtype).div(255)


def _divergence(logits: list[Tensor]) -> Tensor:
    """Jensen-Shannon divergence of the predictions on several versions, a mean over the images, in nats."""
    logs = [part.log_softmax(dim=1) for part in logits]
    mixture = torch.stack([part.exp() for part in logs]).mean(dim=0).clamp_min(1e-7).log()
    parts = [functional.kl_div(mixture, part, reduction="batchmean", log_target=True) for part in logs]
    return torch.stack(parts).mean()
