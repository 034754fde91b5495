"""Hooks and modes of a model that several threads may share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["evaluating", "own"]

# One lock for all models: two of them may share any of their modules.
_TURN = threading.RLock()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode; every module goes back to the mode it came in.

    One thread at a time, whatever the model: a second one would take the first one's mode for the model's own, and
    the first to finish would put the model back into training under the other.
    """
    with _TURN:
        modes = {module: module.training for module in model.modules()}
        try:
            model.eval()
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def own(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Make a hook of a module answer in the thread that calls this, and in no other.

    Hooks belong to the module, so that without this a forward pass of another thread would run them as well.
    """
    thread = threading.get_ident()

    def answer(*arguments: Any) -> Any:
        return hook(*arguments) if threading.get_ident() == thread else None

    return answer
