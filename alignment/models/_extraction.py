"""The pass over the scenes: preparation, batches, hooks, memory that runs out; the model goes back as it came."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alignment._validation import check_integer, fail
from alignment.models._extraction_checks import OWNER, check_batch, check_device, check_grid, check_images
from alignment.models._hooks import evaluating
from alignment.models._maps import MapStore
from alignment.models._probe import Call, choose, hooked, probe
from alignment.models._reduction import Reduced, Totals, layout_of_call
from alignment.models.weights import check_finite, network_of
from neural_alignment import DataError

__all__ = ["AMP", "Plan", "compare_precision", "determinism", "forward", "listening", "prepared", "run"]

AMP = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class _Seen(BaseException):
    """Ends a pass: all layers have been seen. No network's own handler of errors is to catch it."""


@dataclass
class Plan:
    """Everything one extraction has decided before its first batch."""

    model: nn.Module
    net: nn.Module
    images: Any
    calls: list[Call]
    skipped: dict[str, str]
    grid: tuple[int, int]
    batch_size: int
    device: torch.device
    amp: str | None = None
    channels_last: bool = False
    compiled: Callable[[Tensor], Any] | None = None
    halves: npt.NDArray[np.bool_] | None = None
    every: list[Call] = field(default_factory=list)
    sink: Reduced | None = None
    restart: Callable[[], None] = lambda: None

    @property
    def scenes(self) -> int:
        """How many images there are."""
        return int(self.images.shape[0])

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules to listen to, by name."""
        return {c.module: self.net.get_submodule(c.module) for c in self.calls}

    def batch(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read and check images."""
        return check_batch(self.images[start:stop], start)

    def reduced(self, store: MapStore | None = None) -> Reduced:
        """Return an empty place for what a batch leaves."""
        return Reduced(self.calls, self.grid, self.halves, store)

    @property
    def result_bytes(self) -> int:
        """Memory of the results: float32 responses, sums of maps in float64 (and of both halves the means too)."""
        maps = 1 if self.halves is None else 5
        each = 4 * self.scenes + 8 * maps * self.grid[0] * self.grid[1]
        return sum(layout_of_call(c).units for c in self.calls) * each


@contextmanager
def placed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Bring a model to a device, in evaluation mode; it goes back as it came."""
    with evaluating(model), ExitStack() as stack:
        home = next((p.device for p in model.parameters()), torch.device("cpu"))
        if home != device:
            model.to(device)
            stack.callback(model.to, home)
        yield


@contextmanager
def prepared(model: nn.Module, images: Any, layers: Any, grid: Any, batch_size: int, device: str) -> Iterator[Plan]:
    """Check everything that can be checked before the run; the model goes back as it came."""
    if not isinstance(model, nn.Module):
        raise fail("model", OWNER, "a torch module", type(model).__name__, "Make one with create_model.")
    grid = check_grid(grid)
    batch_size = check_integer(batch_size, "batch_size", OWNER, low=1)
    images = check_images(images, model)
    target = check_device(device)
    net = network_of(model)
    check_finite(net.state_dict(), getattr(model, "name", type(net).__name__))
    with placed(model, target), ExitStack() as stack:
        first = torch.from_numpy(check_batch(images[:1], 0)).to(target)
        every = probe(model, net, first)
        calls, skipped = choose(net, every, layers)
        plan = Plan(model, net, images, calls, skipped, grid, batch_size, target, every=every)
        stack.callback(_restore_format, plan)
        yield plan


@contextmanager
def listening(plan: Plan, opaque: bool) -> Iterator[None]:
    """Put hooks on the layers once for the whole run, so that a compiled model keeps those it knows."""

    def see(name: str, output: Tensor) -> None:
        if plan.sink is not None:
            plan.sink.see(name, output)
            # A classifier's fully connected layers may be a quarter of the work, and nothing reads them. A
            # compiled model has to run as it was compiled.
            if plan.compiled is None and plan.sink.complete:
                raise _Seen

    with hooked(plan.modules, see, opaque) as plan.restart:
        yield


def forward(plan: Plan, batch: npt.NDArray[np.float32], reduced: Reduced) -> None:
    """Run one batch up to the last layer that is read."""
    image = torch.from_numpy(batch).to(plan.device, non_blocking=True)
    if plan.channels_last:
        image = image.to(memory_format=torch.channels_last)
    autocast = nullcontext() if plan.amp is None else torch.autocast(plan.device.type, dtype=AMP[plan.amp])
    plan.sink = reduced
    plan.restart()
    with torch.no_grad(), autocast:
        model = plan.model if plan.compiled is None else plan.compiled
        try:
            model(image)
        except _Seen:
            return
        finally:
            plan.sink = None
    lost = sorted(reduced.calls.keys() - reduced.responses.keys())
    if lost:
        raise DataError(
            f"The layer {lost[0]!r} ran on the first image and not on a batch: the network's path depends on its input."
        )


def run(plan: Plan, store: MapStore | None, progress: Callable[[int, int], None] | None) -> tuple[Totals, str]:
    """Run all batches; return what is kept of them and the digest of the images in the order they were read."""
    totals = Totals(plan.calls, plan.scenes, plan.grid, 1 if plan.halves is None else 2)
    digest = hashlib.sha256()
    reduced = plan.reduced(store)
    start, size = 0, plan.batch_size
    while start < plan.scenes:
        stop = min(start + size, plan.scenes)
        batch = plan.batch(start, stop)
        reduced.start(slice(start, stop))
        try:
            forward(plan, batch, reduced)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            size = _halve(size, plan, error)
            continue
        # Only a whole batch counts: one that ran out of memory half-way has left nothing behind.
        totals.add(slice(start, stop), reduced)
        digest.update(batch.reshape(-1).view(np.uint8).data)
        start = stop
        if progress is not None:
            progress(start, plan.scenes)
    for name, found in totals.responses.items():
        if not np.isfinite(found).all():
            raise DataError(
                f"The layer {name!r} gives NaN or infinite activations. Run it without amp, or look at its weights."
            )
    plan.batch_size = size
    return totals, digest.hexdigest()


def compare_precision(plan: Plan, compile: bool) -> float:
    """Run the first batch plainly and as asked; return the largest difference, relative to its layer."""
    batch = plan.batch(0, min(plan.batch_size, plan.scenes))
    amp, channels_last = plan.amp, plan.channels_last
    plain, asked = plan.reduced(), plan.reduced()
    for reduced in (plain, asked):
        reduced.start(slice(0, len(batch)))
    plan.amp, plan.channels_last = None, False
    forward(plan, batch, plain)
    plan.amp, plan.channels_last = amp, channels_last
    if channels_last:
        plan.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        plan.compiled = torch.compile(plan.model)
    forward(plan, batch, asked)
    worst = 0.0
    for name, values in plain.responses.items():
        scale = float(values.abs().max()) or 1.0
        worst = max(worst, float((asked.responses[name] - values).abs().max()) / scale)
    return worst


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Use deterministic algorithms only, for a while."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _restore_format(plan: Plan) -> None:
    if plan.channels_last:
        plan.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _halve(size: int, plan: Plan, error: RuntimeError) -> int:
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()
    if size == 1:
        raise DataError(
            f"Memory runs out on one image of {plan.images.shape[-2]}x{plan.images.shape[-1]}. Use smaller "
            "images, fewer "
            "layers or another device."
        ) from error
    return max(1, size // 2)
