"""The inner loop of a training: images resident on the device, and one synchronisation an epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from alignment.transfer.device import is_out_of_memory
from alignment.transfer.domains import Domain
from alignment.transfer.evaluation import predict, predict_domain, to_float
from alignment.transfer.images import stratified_split
from alignment.transfer.methods import Batch, Method
from neural_alignment import DataError

__all__ = ["EpochResult", "Loop", "Settings"]


@dataclass(frozen=True)
class Settings:
    """The parameters of a training; see :func:`alignment.transfer.train`."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    validation: float


@dataclass(frozen=True)
class EpochResult:
    """Means over an epoch, and the first step (from 0) whose loss was not finite."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    bad_step: int | None


class Loop:
    """Runs the epochs of one training.

    Every epoch seeds torch's generator from the training's seed and its own number, inside a fork of the
    caller's random state. So an epoch does not depend on how the earlier ones were run, and resuming needs
    no saved state.
    """

    def __init__(
        self,
        model: nn.Module,
        domain: Domain,
        settings: Settings,
        method: Method,
        device: torch.device,
        target: Domain | None,
    ) -> None:
        self.settings, self.method, self.device = settings, method, device
        self.model = model.to(device)
        # As convolutions want them, on a CPU too: 1.4 times as fast there for a small network of them.
        self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        kept, held = stratified_split(domain.labels, settings.validation, settings.seed)
        if held.size == 0:
            raise DataError(f"The domain '{domain.name}' has too few images to keep some for validation.")
        # uint8 on the device: a quarter of the memory of floats, and nothing crosses the bus in a step.
        self.images = torch.from_numpy(domain.images[kept]).to(device)
        self.labels = torch.from_numpy(domain.labels[kept]).to(device)
        self.held_images = torch.from_numpy(domain.images[held]).to(device)
        self.held_labels = torch.from_numpy(domain.labels[held]).to(device)
        self.target = None if target is None else torch.from_numpy(target.images).to(device)
        self.steps = -(-len(self.images) // settings.batch_size)
        self.micro_batch = settings.batch_size
        self.precision = self._precision()
        self._prepare(len(domain.classes), domain.name)
        trained = [weight for weight in (*model.parameters(), *method.parameters()) if weight.requires_grad]
        if not trained:
            raise DataError("The network has no weights to train: all of them are frozen.")
        self.optimiser = torch.optim.Adam(trained, lr=settings.learning_rate, fused=device.type in ("cpu", "cuda"))

    def _precision(self) -> torch.dtype | None:
        bfloat = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if bfloat else None

    def _prepare(self, classes: int, name: str) -> None:
        """Look at the network's outputs once, and let the method get ready."""
        with self._seeded(0, 1), self._autocast():
            example = to_float(self.images[:2])
            outputs = predict_domain(self.model, self.images[:2], self.device, 2, name)
            if outputs.ndim != 2 or outputs.shape[1] != classes:
                raise DataError(
                    f"The network gives {tuple(outputs.shape[1:])} outputs an image, and the domain "
                    f"'{name}' has "
                    f"{classes} classes. Make it with num_classes={classes}."
                )
            self.method.prepare(self.model, example, classes)
            self.method.to(self.device)

    def _seeded(self, epoch: int, purpose: int) -> _Seeded:
        state = np.random.SeedSequence([self.settings.seed, epoch, purpose]).generate_state(1, np.uint64)[0]
        return _Seeded(int(state >> np.uint64(1)), self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision is not None)

    def epoch(self, number: int) -> EpochResult:
        """Train for one epoch (counted from 0) and validate."""
        started = time.perf_counter()
        losses = self.train(number)
        right, loss = self._validate()
        # The epoch's only wait for the device: everything it has to tell, at once.
        told = torch.cat([losses, loss[None], right[None]]).tolist()
        finite = np.isfinite(told[:-1])
        bad = None if finite.all() else min(int(np.argmin(finite)), self.steps - 1)
        seconds = time.perf_counter() - started
        return EpochResult(float(np.mean(told[: self.steps])), told[-2], told[-1] / len(self.held_labels), seconds, bad)

    def train(self, number: int) -> Tensor:
        """Take an epoch's steps (counted from 0) without waiting for the device; return their losses."""
        losses = torch.zeros(self.steps, device=self.device)
        with self._seeded(number, 0):
            self.model.train()
            self.method.train()
            order = torch.randperm(len(self.images)).to(self.device, non_blocking=True)
            for step, positions in enumerate(order.tensor_split(self.steps)):
                done = (number + step / self.steps) / self.settings.epochs
                losses[step] = self._step(positions, done)
        return losses

    def _step(self, positions: Tensor, progress: float) -> Tensor:
        while True:
            try:
                return self._try_step(positions, progress)
            except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            self._halve()

    def _try_step(self, positions: Tensor, progress: float) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        total: Tensor | None = None
        # Equal parts: none of them is too small for batch statistics.
        parts = -(-len(positions) // self.micro_batch)
        for part in positions.tensor_split(parts) if parts > 1 else (positions,):
            batch = Batch(
                to_float(self.images.index_select(0, part)),
                self.labels.index_select(0, part),
                self._target_images(len(part)),
                progress,
            )
            with self._autocast():
                loss = self.method.loss(self.model, batch)
            if parts > 1:
                loss = loss * (len(part) / len(positions))
            loss.backward()  # type: ignore[no-untyped-call]
            total = loss.detach() if total is None else total + loss.detach()
        self.optimiser.step()
        assert total is not None
        return total

    def _target_images(self, number: int) -> Tensor | None:
        if self.target is None:
            return None
        return to_float(self.target.index_select(0, torch.randint(len(self.target), (number,)).to(self.device)))

    def _halve(self) -> None:
        # The failed step's activations must be gone before the next try, hence outside of the except clause.
        if self.micro_batch < 4:
            raise DataError(
                f"The memory of {self.device} is too small for this network even with {self.micro_batch} "
                f"images at "
                "once. Take a smaller network or image size."
            )
        self.micro_batch //= 2
        self.optimiser.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _validate(self) -> tuple[Tensor, Tensor]:
        with self._autocast():
            logits = predict(self.model, self.held_images, self.device, max(2, min(self.micro_batch, 512)))
        loss = functional.cross_entropy(logits, self.held_labels)
        return (logits.argmax(dim=1) == self.held_labels).sum().float(), loss


class _Seeded:
    """Torch's generators seeded inside, and as they were before outside."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        devices = [device] if device.type == "cuda" else []
        self._fork = torch.random.fork_rng(devices=devices)

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *details: object) -> None:
        self._fork.__exit__(*details)  # type: ignore[arg-type]
