"""What an extraction will take, measured before it runs."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from alignment.models._extraction import Plan, forward, listening, prepared
from neural_alignment import DataError

__all__ = ["Preflight", "check_memory", "preflight"]


@dataclass(frozen=True)
class Preflight:
    """What an extraction will take, measured before it runs.

    Attributes
    ----------
    layers : list of str
        The layers that will be read, in execution order.
    skipped : dict
        Layers that were passed over, with the reason.
    parameters : int
        Of the network.
    result_bytes : int
        Memory of the results.
    batch_bytes : int
        Memory of one batch: the most that the images and the tensors made from them take at one time, measured
        on one image and taken as many times as a batch holds. Workspace of the convolution libraries and the
        interpreter's own memory come on top (``docs/models.md`` compares it with measured peaks).
    seconds : float
        For all scenes, from two timed batches.
    """

    layers: list[str]
    skipped: dict[str, str]
    parameters: int
    result_bytes: int
    batch_bytes: int
    seconds: float


def preflight(
    model: nn.Module,
    images: Any,
    layers: str | Iterable[str] = "auto",
    grid: tuple[int, int] = (32, 32),
    batch_size: int = 32,
    device: str = "auto",
) -> Preflight:
    """Measure what :func:`extract_activations` will take with the same arguments, and fail where it would.

    Examples
    --------
    >>> import torch
    >>> from alignment.models import create_model
    >>> model = create_model("small_cnn", num_classes=10, image_size=32)
    >>> preflight(model, torch.rand(4, 3, 32, 32)).layers
    ['relu1', 'relu2', 'relu3']
    """
    with prepared(model, images, layers, grid, batch_size, device) as plan:
        check_memory(plan)
        reduced = plan.reduced()
        size = min(plan.batch_size, plan.scenes)
        batch = plan.batch(0, size)
        seconds = []
        with listening(plan, opaque=False):
            with _LiveBytes(plan.net) as live:
                forward(plan, batch[:1], reduced)
            for _ in range(2):
                reduced.start(slice(0, size))
                start = time.perf_counter()
                forward(plan, batch, reduced)
                if plan.device.type == "cuda":
                    torch.cuda.synchronize(plan.device)
                seconds.append(time.perf_counter() - start)
        return Preflight(
            [c.name for c in plan.calls],
            plan.skipped,
            sum(p.numel() for p in plan.net.parameters()),
            plan.result_bytes,
            size * (batch[:1].nbytes + live.most),
            min(seconds) * plan.scenes / len(batch),
        )


def check_memory(plan: Plan) -> None:
    """Refuse results that this machine cannot hold."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = plan.result_bytes
    if needed > 0.8 * memory:
        raise DataError(
            f"The results of {len(plan.calls)} layers on {plan.scenes} scenes take {needed / 1e9:.1f} GB, "
            "and this "
            f"machine has {memory / 1e9:.1f} GB. Choose fewer layers or a smaller grid."
        )


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of tensors as they are made and let go; ``most`` is the most at one time.

    Parameters
    ----------
    net : nn.Module
        Its parameters and buffers, and views of them, do not count.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self._now = 0
        self._known = {id(t.untyped_storage()) for t in (*net.parameters(), *net.buffers())}
        self._kept = [t.untyped_storage() for t in (*net.parameters(), *net.buffers())]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator and count what it made."""
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(item, Tensor):
                self._count(item)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        self._now += storage.nbytes()
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._let_go, id(storage), storage.nbytes())

    def _let_go(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size
