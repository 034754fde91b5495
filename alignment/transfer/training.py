"""Training a network on one source domain, by one protocol for every model, layer and method.

Adam, learning rate 0.001, batches of 256, a stratified tenth of the source's training split for early
stopping, and the weights of the best validation epoch in the end. No target image is looked at, unless a
method says that it does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from alignment._validation import check_integer, check_number
from alignment.transfer.checkpoints import read_checkpoint, state_digest, write_checkpoint
from alignment.transfer.device import resolve_device
from alignment.transfer.domains import Domain
from alignment.transfer.loop import Loop, Settings
from alignment.transfer.methods import Method, create_method
from neural_alignment import DataError, InputError, NeuralAlignmentError

__all__ = ["DivergenceError", "TrainingResult", "train"]

_logger = logging.getLogger(__name__)


class DivergenceError(NeuralAlignmentError):
    """The loss became NaN or infinite.

    Attributes
    ----------
    step : int
        The first step, counted from 1 over all epochs, whose loss was not finite.
    epoch : int
        Its epoch, from 1.
    """

    def __init__(self, message: str, step: int, epoch: int) -> None:
        super().__init__(message)
        self.step, self.epoch = step, epoch


@dataclass(frozen=True)
class TrainingResult:
    """A trained network and how it came to be.

    Attributes
    ----------
    model : nn.Module
        The network that was given, with the weights of the best validation epoch, in evaluation mode.
    history : pandas.DataFrame
        One row an epoch: ``epoch`` (from 1), ``train_loss``, ``validation_loss``, ``validation_accuracy``,
        ``seconds``.
    epochs : int
        Epochs trained, those of an earlier interrupted run included.
    seconds : float
        Time of all these epochs.
    best_epoch : int
        Whose weights the network has.
    device : str
        Where it was trained.
    classes : tuple of str
        The source's classes, which the outputs stand for.
    sees_target : bool
        Whether the method looked at unlabelled images of a target.
    micro_batch : int
        Images that went through the network at once: the batch size, or less where the memory was too small.
    notes : tuple of str
        What a reader should know.
    """

    model: nn.Module
    history: pd.DataFrame
    epochs: int
    seconds: float
    best_epoch: int
    device: str
    classes: tuple[str, ...]
    sees_target: bool
    micro_batch: int
    notes: tuple[str, ...] = ()


@dataclass
class _Progress:
    """What a checkpoint says about the training so far."""

    epoch: int
    best_epoch: int
    best_accuracy: float
    best_loss: float
    micro_batch: int
    history: list[dict[str, float]]
    notes: list[str]


def train(
    model: nn.Module,
    domain: Domain,
    *,
    seed: int = 0,
    epochs: int = 30,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    patience: int = 5,
    validation: float = 0.1,
    device: str | torch.device = "auto",
    checkpoint: str | Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    method: str | Method = "plain",
    target: Domain | None = None,
) -> TrainingResult:
    """Train a network on one domain.

    Parameters
    ----------
    model : nn.Module
        Takes (n, 3, y, x) float images in [0, 1], gives (n, class) logits. It is trained in place.
    domain : Domain
        The source, its training split.
    seed : int, optional
        Of the validation split, the order of the images, dropout and augmentation. The initial weights are
        the caller's. On a CPU the same seed gives the same weights; the caller's random state is left alone.
    epochs, patience : int, optional
        At most so many epochs, and no more than ``patience`` in a row without a better validation accuracy
        (at equal accuracy: a lower loss).
    batch_size : int, optional
        Images a step. An epoch is cut into equal steps of at most so many.
    learning_rate : float, optional
        Of Adam.
    validation : float, optional
        Share of the domain that is kept for early stopping, stratified by class.
    device : str, optional
        Where to train.
    checkpoint : path, optional
        A folder for a checkpoint after every epoch. When it holds one of this very training, the training
        goes on from there and ends with the numbers that it would have had uninterrupted.
    progress : callable, optional
        ``progress(done, total, text)`` after every epoch.
    method : str or Method, optional
        How to generalise; see :data:`alignment.transfer.METHODS`.
    target : Domain, optional
        The target's training split, for methods that look at its unlabelled images.

    Returns
    -------
    TrainingResult

    Raises
    ------
    InputError
        A parameter beyond its limits, or a method that misses the target's images or gets them at another
        size.
    DataError
        The network's outputs do not fit the classes, or the checkpoint is damaged or another training's.
    DivergenceError
        The loss became NaN. The checkpoint and the network keep the last good weights.

    Examples
    --------
    >>> from alignment.transfer import load_domain
    >>> _ = torch.manual_seed(0)
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
    >>> source = load_domain("digits", "train", image_size=8)
    >>> train(network, source, epochs=2, learning_rate=0.01, device="cpu").epochs
    2
    """
    settings = Settings(seed, epochs, batch_size, learning_rate, patience, validation)
    _check(settings)
    chosen = create_method(method) if isinstance(method, str) else method
    if chosen.sees_target and target is None:
        raise InputError(
            f"The method {type(chosen).__name__} looks at unlabelled images of the target: give target=..."
        )
    if chosen.sees_target and target is not None and target.image_size != domain.image_size:
        raise InputError(
            f"Source and target must have images of one size. Got {domain.image_size} pixels of '{domain.name}' and "
            f"{target.image_size} of '{target.name}'; load both with the same image_size."
        )
    where = resolve_device(device)
    folder = None if checkpoint is None else Path(checkpoint)
    # The identity of the training, before anything touches the weights.
    job = _job(model, domain, settings, chosen, target) if folder is not None else {}
    seen = target if chosen.sees_target else None
    try:
        loop = Loop(model, domain, settings, chosen, where, seen)
        return _Run(loop, domain, folder, job, progress).finish()
    finally:
        chosen.release()


def _check(settings: Settings) -> None:
    check_integer(settings.seed, "seed", "train", low=0)
    check_integer(settings.epochs, "epochs", "train", low=1)
    check_integer(settings.batch_size, "batch_size", "train", low=2)
    check_integer(settings.patience, "patience", "train", low=1)
    check_number(settings.learning_rate, "learning_rate", "train", low=0, open_low=True)
    check_number(settings.validation, "validation", "train", low=0, high=0.9, open_low=True)


def _job(model: nn.Module, domain: Domain, settings: Settings, method: Method, target: Domain | None) -> dict[str, Any]:
    """Return what makes a training this one. A longer or shorter run of it is still the same."""
    kept = {name: value for name, value in asdict(settings).items() if name not in ("epochs", "patience")}
    described = f"{type(method).__module__}:{type(method).__qualname__} {method.describe()}"
    if type(method).loss is not Method.loss:
        described += f" in {settings.epochs} epochs"  # its loss may depend on how much of them is done
    seen = target.digest if target is not None and method.sees_target else None
    return {
        "domain": domain.digest,
        "weights": state_digest(model),
        "method": described,
        "target": seen,
        **kept,
    }


class _Run:
    """One training from its checkpoint, or its start, to its end."""

    def __init__(
        self,
        loop: Loop,
        domain: Domain,
        folder: Path | None,
        job: dict[str, Any],
        tell: Callable[[int, int, str], None] | None,
    ) -> None:
        self.loop, self.domain, self.folder, self.job, self.tell = loop, domain, folder, job, tell
        self.state = _Progress(0, 0, -1.0, float("inf"), loop.micro_batch, [], [])
        self.best = self._weights()
        self._resume()

    def finish(self) -> TrainingResult:
        settings, state = self.loop.settings, self.state
        while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
            self._epoch()
        self.loop.model.load_state_dict(self.best)
        self.loop.model.eval()
        history = pd.DataFrame(state.history).astype({"epoch": int})
        return TrainingResult(
            model=self.loop.model,
            history=history,
            epochs=state.epoch,
            seconds=float(history["seconds"].sum()),
            best_epoch=state.best_epoch,
            device=str(self.loop.device),
            classes=self.domain.classes,
            sees_target=self.loop.method.sees_target,
            micro_batch=state.micro_batch,
            notes=tuple(state.notes),
        )

    def _epoch(self) -> None:
        state, settings = self.state, self.loop.settings
        done = self.loop.epoch(state.epoch)
        if done.bad_step is not None:
            self._diverged(done.bad_step)
        state.epoch += 1
        if self.loop.micro_batch != state.micro_batch:
            self._halved()
        state.history.append(
            {
                "epoch": state.epoch,
                "train_loss": done.train_loss,
                "validation_loss": done.validation_loss,
                "validation_accuracy": done.validation_accuracy,
                "seconds": done.seconds,
            }
        )
        better = (done.validation_accuracy, -done.validation_loss) > (state.best_accuracy, -state.best_loss)
        if better:
            state.best_epoch, state.best_accuracy = state.epoch, done.validation_accuracy
            state.best_loss = done.validation_loss
            self.best = self._weights()
        self._save()
        if self.tell is not None:
            text = f"epoch {state.epoch}: validation {100 * done.validation_accuracy:.1f} %"
            self.tell(state.epoch, settings.epochs, text)

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.loop.model.state_dict().items()}

    def _halved(self) -> None:
        note = (
            f"The memory of {self.loop.device} was too small for batches of {self.loop.settings.batch_size}: "
            f"each was put together from parts of {self.loop.micro_batch} (batch statistics are per part)."
        )
        _logger.warning(note)
        self.state.micro_batch = self.loop.micro_batch
        self.state.notes = [note]

    def _diverged(self, bad_step: int) -> None:
        state = self.state
        self.loop.model.load_state_dict(self.best)
        step = state.epoch * self.loop.steps + bad_step + 1
        kept = f"the weights of epoch {state.best_epoch}" if state.best_epoch else "its initial weights"
        where = f" The checkpoint in {self.folder} holds epoch {state.epoch}." if self.folder and state.epoch else ""
        raise DivergenceError(
            f"The training diverged: the loss was not finite at step {step} (epoch {state.epoch + 1}). The "
            f"network "
            f"has {kept} again.{where} Take a learning rate below {self.loop.settings.learning_rate:g}.",
            step,
            state.epoch + 1,
        )

    def _save(self) -> None:
        if self.folder is None:
            return
        tensors = {f"model/{name}": tensor for name, tensor in self.loop.model.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"method/{name}": tensor for name, tensor in self.loop.method.state_dict().items()}
        for index, values in self.loop.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{name}": tensor for name, tensor in values.items()}
        write_checkpoint(self.folder, tensors, {"job": self.job, "progress": asdict(self.state)})

    def _resume(self) -> None:
        found = None if self.folder is None else read_checkpoint(self.folder)
        if found is None:
            return
        tensors, told = found
        if told.get("job") != self.job:
            theirs = told.get("job", {})
            changed = ", ".join(sorted(name for name in self.job if self.job[name] != theirs.get(name)))
            raise DataError(
                f"The checkpoint in {self.folder} belongs to another training (different: {changed}). "
                "Give another folder, or remove it."
            )
        part = _parts(tensors)
        self.loop.model.load_state_dict(part["model"])
        self.loop.method.load_state_dict(part["method"])
        device = self.loop.device
        self.best = {name: tensor.to(device) for name, tensor in part["best"].items()}
        trained = self.loop.optimiser.param_groups[0]["params"]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in part["optimiser"].items():
            index, _, key = name.partition("/")
            weight = trained[int(index)]
            # In the weight's own layout: the fused optimiser walks through both in the order of the memory.
            laid = torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
            moments.setdefault(int(index), {})[key] = laid
        groups = self.loop.optimiser.state_dict()["param_groups"]
        self.loop.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.state = _Progress(**told["progress"])
        self.loop.micro_batch = self.state.micro_batch


def _parts(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "method": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    return parts
