"""What a way of generalising from one source is: one small class, on the same footing as plain training.

A method may change the images (:meth:`Method.augment`), the loss (:meth:`Method.loss`) or the network's
inside (:meth:`Method.prepare`); it overrides what it needs. A study names one of :data:`METHODS`, or its own
class as ``package.module:Class``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from neural_alignment import InputError, closest

__all__ = ["METHODS", "Batch", "Method", "create_method"]


@dataclass(frozen=True)
class Batch:
    """What a method is given at a step.

    Attributes
    ----------
    images : (n, 3, y, x) float32 tensor
        In [0, 1].
    labels : (n,) int64 tensor
        Their classes.
    target_images : (n, 3, y, x) float32 tensor or None
        Unlabelled images of the target, for methods that see them.
    progress : float
        How far the training is, from 0 to 1.
    """

    images: Tensor
    labels: Tensor
    target_images: Tensor | None
    progress: float


class Method(nn.Module):
    """Plain training (empirical risk minimisation), and the base of every other method.

    Random numbers are drawn from torch's own generator, which the training seeds for every epoch. Parameters
    and submodules that a method makes in :meth:`prepare` are trained and checkpointed with the network.

    Attributes
    ----------
    sees_target : bool
        Whether it looks at unlabelled images of the target; results say so, and the training must be given
        them.

    Examples
    --------
    >>> import torch
    >>> class Darker(Method):
    ...     def augment(self, images):
    ...         return images * torch.rand(len(images), 1, 1, 1, device=images.device)
    >>> Darker().augment(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    sees_target = False

    def prepare(self, model: nn.Module, example: Tensor, num_classes: int) -> None:
        """Get ready before the first step: make layers, set hooks in the network.

        Parameters
        ----------
        model : nn.Module
            The network to be trained, on its device.
        example : (2, 3, y, x) float32 tensor
            Two images, to find out shapes with.
        num_classes : int
            Of the source.
        """

    def augment(self, images: Tensor) -> Tensor:
        """Return changed images, (n, 3, y, x) float in [0, 1] or beyond; the same by default."""
        return images

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a step, a mean over the images: cross-entropy of the augmented ones."""
        logits: Tensor = model(self.augment(batch.images))
        return functional.cross_entropy(logits, batch.labels)

    def describe(self) -> str:
        """Return the options, as text: a checkpoint of other options is another training's."""
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return str(sorted((name, value) for name, value in public.items() if name != "training"))

    def release(self) -> None:
        """Take hooks out of the network again; called however the training ends."""


METHODS: dict[str, str] = {
    "plain": "alignment.transfer.methods:Method",
    "randconv": "alignment.transfer.augmentations:RandConv",
    "augmix": "alignment.transfer.augmentations:AugMix",
    "randaugment": "alignment.transfer.augmentations:RandAugment",
    "mixstyle": "alignment.transfer.mixstyle:MixStyle",
    "adversarial": "alignment.transfer.adversarial:DomainAdversarial",
}
"""The methods by name: where each class is."""


def create_method(name: str, **options: Any) -> Method:
    """Make a method by name.

    Parameters
    ----------
    name : str
        One of :data:`METHODS`, or ``package.module:Class`` of a subclass of :class:`Method`.
    **options
        For the class.

    Returns
    -------
    Method

    Raises
    ------
    InputError
        Unknown name, a class that cannot be imported or is no method, or options that it does not take.

    Examples
    --------
    >>> create_method("plain").sees_target
    False
    """
    place = METHODS.get(name, name)
    module_name, colon, class_name = place.partition(":")
    if not colon:
        known = ", ".join(METHODS)
        raise InputError(
            f"Unknown method '{name}'. Known are {known}, or package.module:Class.{closest(name, METHODS)}"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"The method '{name}' cannot be imported: {error}. It must lie beside the study or on the Python path."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise InputError(f"The method '{name}' must be a subclass of alignment.transfer.Method. Got {found!r} instead.")
    try:
        return found(**options)
    except TypeError as error:
        raise InputError(f"The method '{name}' does not take these options: {error}.") from error
