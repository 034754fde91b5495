"""The loop that trains decoders and heads on stored features: resident tensors, early stopping, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from alignment._validation import check_integer, check_number
from alignment.transfer.checkpoints import read_checkpoint, write_checkpoint
from alignment.transfer.training import DivergenceError
from neural_alignment import DataError

__all__ = ["FitResult", "FitSettings", "fit", "precision"]


@dataclass(frozen=True)
class FitSettings:
    """How a decoder or head is trained.

    Attributes
    ----------
    seed : int
        Of the initial weights, the validation split, the order of the images and dropout.
    epochs, patience : int
        At most so many epochs, and no more than ``patience`` in a row without a better validation score.
    batch_size : int
        Images a step.
    learning_rate, weight_decay : float
        Of AdamW.
    validation : float
        Share of the images that is kept for early stopping.
    """

    seed: int = 0
    epochs: int = 100
    patience: int = 10
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    validation: float = 0.1

    def __post_init__(self) -> None:
        check_integer(self.seed, "seed", "FitSettings", low=0)
        for name in ("epochs", "patience"):
            check_integer(getattr(self, name), name, "FitSettings", low=1)
        check_integer(self.batch_size, "batch_size", "FitSettings", low=2)
        check_number(self.learning_rate, "learning_rate", "FitSettings", low=0, open_low=True)
        check_number(self.weight_decay, "weight_decay", "FitSettings", low=0)
        check_number(self.validation, "validation", "FitSettings", low=0, high=0.9, open_low=True)


@dataclass(frozen=True)
class FitResult:
    """How a training went: a row an epoch (``epoch``, ``train_loss``, ``validation_loss``, ``validation_score``,
    ``seconds``), epochs, the best one's number, and seconds.
    """  # noqa: D205

    history: pd.DataFrame
    epochs: int
    best_epoch: int
    seconds: float


@dataclass
class _State:
    epoch: int = 0
    best_epoch: int = 0
    best: float = float("-inf")


def precision(device: torch.device) -> torch.autocast:
    """Mixed precision where it is safe without loss scaling: bfloat16 on CUDA."""
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def fit(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    validate: Callable[[], tuple[Tensor, Tensor]],
    positions: Any,
    settings: FitSettings,
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    job: dict[str, Any] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> FitResult:
    """Train a module, already on ``device``, and leave it with the weights of its best epoch, in evaluation mode.

    Parameters
    ----------
    module : nn.Module
        What is trained.
    loss : callable
        Of the positions (on the device) of a batch.
    validate : callable
        Gives the validation score (higher is better) and the validation loss.
    positions : (n,) int array
        The images to train on.
    settings : FitSettings
        How.
    device : torch.device
        Where.
    checkpoint : Path, optional
        A folder for a checkpoint after every epoch, from which an interrupted training goes on.
    job : dict, optional
        What makes this training this one; a checkpoint of another is refused.
    progress : callable, optional
        ``progress(done, total, text)`` after every epoch.
    """
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    named = {**(job or {}), **{k: v for k, v in asdict(settings).items() if k not in ("epochs", "patience")}}
    state, best = _State(), _copy(module)
    rows: list[dict[str, float]] = []
    if checkpoint is not None:
        state, best, rows = _resume(checkpoint, named, module, optimiser, device, (state, best, rows))
    chosen = torch.as_tensor(np.asarray(positions), dtype=torch.int64)
    while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
        rows.append(_epoch(module, loss, validate, chosen, settings, optimiser, device, state.epoch))
        state.epoch += 1
        if rows[-1]["validation_score"] > state.best:
            state.best, state.best_epoch, best = rows[-1]["validation_score"], state.epoch, _copy(module)
        if checkpoint is not None:
            _save(checkpoint, named, module, optimiser, state, best, rows)
        if progress is not None:
            progress(state.epoch, settings.epochs, f"epoch {state.epoch}: {rows[-1]['validation_score']:.3f}")
    module.load_state_dict(best)
    module.eval()
    history = pd.DataFrame(rows).astype({"epoch": int})
    return FitResult(history, state.epoch, state.best_epoch, float(history["seconds"].sum()))


def _epoch(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    validate: Callable[[], tuple[Tensor, Tensor]],
    chosen: Tensor,
    settings: FitSettings,
    optimiser: torch.optim.Optimizer,
    device: torch.device,
    number: int,
) -> dict[str, float]:
    started = time.perf_counter()
    seed = np.random.SeedSequence([settings.seed, number, 7]).generate_state(1, np.uint64)[0]
    steps = -(-len(chosen) // settings.batch_size)
    losses = torch.zeros(steps, device=device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed >> np.uint64(1)))
        module.train()
        order = chosen[torch.randperm(len(chosen))].to(device)
        for step, batch in enumerate(order.tensor_split(steps)):
            optimiser.zero_grad(set_to_none=True)
            with precision(device):
                value = loss(batch)
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses[step] = value.detach()
    module.eval()
    with torch.inference_mode(), precision(device):
        score, held = validate()
    told = torch.cat([losses, torch.stack([score.float(), held.float()])]).tolist()
    if not np.isfinite(told).all():
        bad = int(np.argmin(np.isfinite(told[:-2]))) if not np.isfinite(told[:-2]).all() else steps - 1
        raise DivergenceError(
            f"The training diverged: the loss was not finite in epoch {number + 1}. Take a learning rate below "
            f"{settings.learning_rate:g}.",
            number * steps + bad + 1,
            number + 1,
        )
    return {
        "epoch": number + 1,
        "train_loss": float(np.mean(told[:-2])),
        "validation_loss": told[-1],
        "validation_score": told[-2],
        "seconds": time.perf_counter() - started,
    }


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _save(
    folder: Path,
    job: dict[str, Any],
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: _State,
    best: dict[str, Tensor],
    rows: Sequence[dict[str, float]],
) -> None:
    tensors = {f"model/{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": tensor for name, tensor in values.items()}
    write_checkpoint(folder, tensors, {"job": job, "state": asdict(state), "rows": list(rows)})


def _resume(
    folder: Path,
    job: dict[str, Any],
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    device: torch.device,
    fresh: tuple[_State, dict[str, Tensor], list[dict[str, float]]],
) -> tuple[_State, dict[str, Tensor], list[dict[str, float]]]:
    found = read_checkpoint(folder)
    if found is None:
        return fresh
    tensors, told = found
    if told.get("job") != job:
        raise DataError(f"The checkpoint in {folder} belongs to another training. Give another folder, or remove it.")
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    module.load_state_dict(parts["model"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        index, _, key = name.partition("/")
        moments.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    best = {name: tensor.to(device) for name, tensor in parts["best"].items()}
    return _State(**told["state"]), best, told["rows"]
