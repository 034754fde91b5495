"""Where a network's convolutional stages end: the last maps before they become smaller."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from alignment.models._hooks import evaluating, own

__all__ = ["stage_ends"]


def stage_ends(model: nn.Module, example: Tensor) -> list[str]:
    """Name the modules that end a network's stages of convolutional maps, in the order in which they run.

    Parameters
    ----------
    model : nn.Module
        Any network; it is run once, in evaluation mode.
    example : (n, 3, y, x) float tensor
        Images to find out shapes with, on the network's device.

    Returns
    -------
    list of str
        The last module before the maps next become smaller, for each size of maps that is followed by a smaller
        one; a transformer's only stage is its patch embedding. Empty for a network without convolutions.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1))
    >>> stage_ends(network, torch.zeros(1, 3, 8, 8))
    ['1']
    """
    seen: list[tuple[str, int]] = []
    handles = []
    latest: torch.Size | None = None

    def hook(name: str, convolution: bool) -> Callable[..., None]:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal latest
            if not isinstance(output, Tensor) or output.ndim != 4:
                return
            latest = output.shape if convolution else latest
            # With the latest convolution's channels: neither the image before it nor an attention's heads.
            if latest is not None and output.shape[1] == latest[1] and 1 < output.shape[-1] <= latest[-1]:
                seen.append((name, output.shape[-1]))

        return note

    for name, module in model.named_modules():
        if not list(module.children()):
            handles.append(module.register_forward_hook(own(hook(name, isinstance(module, nn.Conv2d)))))
    try:
        with evaluating(model), torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    ends = [name for (name, size), (_, following) in pairwise(seen) if following < size]
    return list(dict.fromkeys(ends)) or ([seen[-1][0]] if seen else [])
