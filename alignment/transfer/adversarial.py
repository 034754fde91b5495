"""Domain-adversarial training, which looks at unlabelled images of the target."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from alignment._validation import check_integer, check_number
from alignment.models._hooks import own
from alignment.transfer.methods import Batch, Method
from neural_alignment import InputError

__all__ = ["DomainAdversarial", "classifier_of"]


class DomainAdversarial(Method):
    """Features from which a second classifier cannot tell the source from the target.

    It sees the target's images (not their labels), so it is no domain *generalisation*: results mark it, and
    it stands beside the others as what seeing the target is worth.

    Parameters
    ----------
    strength : float, optional
        Largest weight of the reversed gradient; it grows from 0 over the training.
    hidden : int, optional
        Width of the domain classifier.

    Raises
    ------
    InputError
        A parameter beyond its limits, or a network that does not end in a linear classifier.

    Notes
    -----
    Ganin et al. (2016), Domain-adversarial training of neural networks, section 5.2 for the growth of the
    weight.
    """

    sees_target = True

    def __init__(self, strength: float = 1.0, hidden: int = 100) -> None:
        super().__init__()
        self.strength = check_number(strength, "strength", "DomainAdversarial", low=0)
        self.hidden = check_integer(hidden, "hidden", "DomainAdversarial", low=1)
        self._features: Tensor | None = None
        self._handle: Any = None

    def prepare(self, model: nn.Module, example: Tensor, num_classes: int) -> None:
        """Make the domain classifier, and listen in on the features before the last linear layer."""
        del example
        classifier = classifier_of(model, num_classes)
        self.critic = nn.Sequential(
            nn.Linear(classifier.in_features, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1)
        )
        self._handle = classifier.register_forward_pre_hook(own(self._listen))

    def _listen(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0]

    def release(self) -> None:
        """Stop listening."""
        if self._handle is not None:
            self._handle.remove()
        self._handle = self._features = None

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy of the source plus the domain classifier's loss, its gradient reversed."""
        assert batch.target_images is not None
        number = len(batch.images)
        logits = model(torch.cat([batch.images, batch.target_images]))
        assert self._features is not None
        weight = self.strength * (2 / (1 + math.exp(-10 * batch.progress)) - 1)
        features = self._features.flatten(1)
        reversed_features = (1 + weight) * features.detach() - weight * features
        told = self.critic(reversed_features.float()).squeeze(1)
        is_target = torch.zeros_like(told)
        is_target[number:] = 1
        confusion = functional.binary_cross_entropy_with_logits(told, is_target)
        return functional.cross_entropy(logits[:number], batch.labels) + confusion


def classifier_of(model: nn.Module, num_classes: int) -> nn.Linear:
    """Return a network's last linear layer with an output a class."""
    found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    found = [module for module in found if module.out_features == num_classes]
    if not found:
        raise InputError(f"This needs a network that ends in a linear layer of {num_classes} outputs; it has none.")
    return found[-1]
