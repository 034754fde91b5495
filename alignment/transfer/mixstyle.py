"""MixStyle: new domains made inside the network, by mixing the feature statistics of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alignment._validation import check_integer, check_number
from alignment.models._hooks import own
from alignment.models.stages import stage_ends
from alignment.transfer.methods import Method
from neural_alignment import InputError, closest

__all__ = ["MixStyle"]


class MixStyle(Method):
    """Mix each image's channel means and deviations with another's, in early convolutional maps.

    Parameters
    ----------
    probability : float, optional
        Of mixing in a step.
    alpha : float, optional
        Of the Beta(alpha, alpha) that the mixing weights come from.
    stages : int, optional
        After how many early stages to mix. A stage ends where the maps next become smaller; a transformer's
        only stage is its patch embedding.
    after : sequence of str, optional
        Names of modules to mix after, instead of ``stages``.

    Raises
    ------
    InputError
        A parameter beyond its limits, a module that is not there, or a network without convolutional maps.

    Notes
    -----
    Zhou et al. (2021), Domain generalization with MixStyle (ICLR), equations 3 to 6; probability 0.5 and
    alpha 0.1.
    """

    def __init__(
        self,
        probability: float = 0.5,
        alpha: float = 0.1,
        stages: int = 2,
        after: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.probability = check_number(probability, "probability", "MixStyle", low=0, high=1)
        self.alpha = check_number(alpha, "alpha", "MixStyle", low=0, open_low=True)
        self.stages = check_integer(stages, "stages", "MixStyle", low=1)
        self.after = None if after is None else tuple(after)
        self._handles: list[Any] = []

    def prepare(self, model: nn.Module, example: Tensor, num_classes: int) -> None:
        """Set the hooks."""
        del num_classes
        names = self.after if self.after is not None else early_stages(model, example, self.stages)
        modules = dict(model.named_modules())
        for name in names:
            if name not in modules:
                hint = closest(name, modules)
                raise InputError(f"The network has no module '{name}' for MixStyle to mix after.{hint}")
            self._handles.append(modules[name].register_forward_hook(own(self._hook)))

    def release(self) -> None:
        """Take the hooks out."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        del inputs
        if not module.training or float(torch.rand(())) >= self.probability:
            return None
        return mix_styles(output, self.alpha)


def mix_styles(maps: Tensor, alpha: float) -> Tensor:
    """Mix channel means and deviations of maps (n, channel, y, x) with those of a random other image."""
    mean = maps.mean(dim=(2, 3), keepdim=True).detach()
    deviation = (maps.var(dim=(2, 3), keepdim=True) + 1e-6).sqrt().detach()
    shape = (len(maps), 1, 1, 1)
    weight = torch.distributions.Beta(alpha, alpha).sample(torch.Size(shape)).to(maps)
    other = torch.randperm(len(maps)).to(maps.device)
    mixed_mean = weight * mean + (1 - weight) * mean[other]
    mixed_deviation = weight * deviation + (1 - weight) * deviation[other]
    return (maps - mean) / deviation * mixed_deviation + mixed_mean


def early_stages(model: nn.Module, example: Tensor, stages: int) -> list[str]:
    """Name the modules that end a network's first stages; see :func:`alignment.models.stages.stage_ends`."""
    ends = stage_ends(model, example)
    if not ends:
        raise InputError(
            "MixStyle needs a network with convolutional maps; this one has none. Name modules by 'after'."
        )
    return ends[:stages]
