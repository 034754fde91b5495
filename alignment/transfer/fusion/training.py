"""Variants of the head, the controls for what the brain tells, and training and scoring a head on stored features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alignment._validation import check_choice, check_integer, check_number
from alignment.transfer.device import resolve_device
from alignment.transfer.evaluation import Evaluation, score
from alignment.transfer.fusion._fit import FitResult, FitSettings, fit
from alignment.transfer.fusion.head import FUSE, FusionHead, HeadOptions, HeadOutput
from alignment.transfer.fusion.loss import fusion_loss
from alignment.transfer.fusion.tokens import Tokens
from alignment.transfer.images import stratified_split
from neural_alignment import DataError

__all__ = ["RESPONSES", "TrainedHead", "Variant", "attention_maps", "control_responses", "evaluate_head", "train_head"]

RESPONSES = ("predicted", "shuffled", "random", "projection")
"""What a head is given as responses: the encoder's predictions, or one of the controls."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """One head of a study.

    Attributes
    ----------
    name : str
        What tables call it.
    fuse : str
        One of :data:`~alignment.transfer.fusion.FUSE`.
    responses : str
        One of :data:`RESPONSES`: ``predicted``; ``shuffled`` (the predictions of another image: the same statistics,
        nothing about this one); ``random`` (normal noise with each unit's mean and standard deviation); ``projection``
        (a random linear readout of the same tokens, as many units: about the image, not about a brain).
    pearson : float
        λ of the loss, ≥ 0.
    rois : tuple of str, optional
        Names or globs of the ROIs whose units are used; None for all.
    neuron_class : str, optional
        Only units of ROIs of this class.
    """

    name: str
    fuse: str = "cross_attention"
    responses: str = "predicted"
    pearson: float = 0.1
    rois: tuple[str, ...] | None = None
    neuron_class: str | None = None

    def __post_init__(self) -> None:
        check_choice(self.fuse, "fuse", "Variant", FUSE)
        check_choice(self.responses, "responses", "Variant", RESPONSES)
        check_number(self.pearson, "pearson", "Variant", low=0)


@dataclass(frozen=True)
class TrainedHead:
    """A trained head: the module (in evaluation mode), its training, and its number of weights."""

    head: FusionHead
    fit: FitResult
    weights: int
    device: str
    notes: tuple[str, ...] = field(default=())


def control_responses(
    kind: str, predicted: Array, tokens: Tokens, *, seed: int, draw: int, like: Array | None = None
) -> Array:
    """Return the responses that a variant is given.

    Parameters
    ----------
    kind : str
        One of :data:`RESPONSES`.
    predicted : (image, unit) array
        The encoder's predictions.
    tokens : Tokens
        Of the same images.
    seed : int
        Of the head; a projection is the same for all sets of images.
    draw : int
        A number of the set of images, so that training and test are shuffled apart.
    like : (image, unit) array, optional
        The training images' predictions, whose means and standard deviations ``random`` takes; by default
        ``predicted``.

    Returns
    -------
    (image, unit) float32 array

    Raises
    ------
    DataError
        Different numbers of images.
    """
    check_choice(kind, "kind", "control_responses", RESPONSES)
    check_integer(seed, "seed", "control_responses", low=0)
    if len(predicted) != len(tokens):
        raise DataError(f"Responses to {len(predicted)} images and tokens of {len(tokens)} do not belong together.")
    values = np.asarray(predicted, np.float32)
    generator = np.random.default_rng([seed, draw, 0xC0117])
    if kind == "shuffled":
        return np.asarray(values[generator.permutation(len(values))], np.float32)
    if kind == "random":
        source = values if like is None else np.asarray(like, np.float32)
        noise = generator.standard_normal(values.shape, dtype=np.float32)
        return np.asarray(source.mean(axis=0) + source.std(axis=0) * noise, np.float32)
    if kind == "projection":
        flat = tokens.patches.reshape(len(tokens), -1).astype(np.float32)
        fixed = np.random.default_rng([seed, 0x9405])
        readout = fixed.standard_normal((flat.shape[1], values.shape[1]), dtype=np.float32)
        return np.asarray(flat @ readout / np.sqrt(flat.shape[1]), np.float32)
    return values


def train_head(
    variant: Variant,
    tokens: Tokens,
    responses: Array,
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    options: HeadOptions | None = None,
    settings: FitSettings | None = None,
    device: str | torch.device = "auto",
    checkpoint: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> TrainedHead:
    """Train a head on stored features.

    Parameters
    ----------
    variant : Variant
        Which head, with which loss.
    tokens : Tokens
        Of the training images.
    responses : (image, unit) float32 array
        As :func:`control_responses` gave them, only the variant's units.
    labels : (image,) int64 array
    classes : int
        Outputs.
    options, settings : optional
        Sizes of the head, and how it is trained.
    device : str, optional
        Where; the features lie there as a whole, in the type that they are stored in.
    checkpoint : Path, optional
        A folder for checkpoints.
    progress : callable, optional
        ``progress(done, total, text)`` after every epoch.

    Returns
    -------
    TrainedHead

    Raises
    ------
    DataError
        Tokens, responses and labels of different numbers of images, or too few to keep some for validation.
    """
    if not len(tokens) == len(responses) == len(labels):
        counts = f"{len(tokens)}, {len(responses)} and {len(labels)}"
        raise DataError(f"A head needs tokens, responses and labels of the same images. Got {counts}.")
    how = settings or FitSettings()
    kept, held = stratified_split(labels, how.validation, how.seed)
    if held.size == 0:
        raise DataError(f"{len(labels)} images are too few to keep some for early stopping.")
    where = resolve_device(device)
    if variant.fuse == "linear":
        tokens = tokens.pooled()  # it sees no more than the mean, which need not be taken anew in every step
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        head = FusionHead(
            tokens.features, tokens.patches.shape[1], responses.shape[1], classes,
            fuse=variant.fuse, options=options, has_cls=tokens.has_cls,
        )  # fmt: skip
    data = _Resident(tokens, responses, where)
    truth = torch.from_numpy(labels).to(where)
    head.standardise(torch.from_numpy(tokens.patches[kept]), torch.from_numpy(responses[kept]))
    head.to(where)
    held_out = torch.from_numpy(held).to(where)

    def loss(batch: Tensor) -> Tensor:
        output = data.through(head, batch)
        return fusion_loss(output.logits.float(), truth[batch], output.image, output.brain, variant.pearson)

    def validate() -> tuple[Tensor, Tensor]:
        logits = torch.cat([data.through(head, part).logits.float() for part in torch.split(held_out, 512)])
        value = torch.nn.functional.cross_entropy(logits, truth[held_out])
        accuracy = (logits.argmax(dim=1) == truth[held_out]).float().mean()
        return accuracy - 1e-6 * value, value  # at equal accuracy the lower loss

    job = {"variant": repr(variant), "options": repr(options), "images": len(labels), "units": int(responses.shape[1])}
    done = fit(head, loss, validate, kept, how, where, checkpoint=checkpoint, job=job, progress=progress)
    return TrainedHead(head, done, sum(p.numel() for p in head.parameters()), str(where))


def evaluate_head(
    head: FusionHead,
    tokens: Tokens,
    responses: Array,
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    device: str | torch.device = "auto",
) -> Evaluation:
    """Score a head on a set of images: accuracy with its Wilson interval, calibration, confusion.

    Parameters
    ----------
    head : FusionHead
        As trained.
    tokens, responses, labels
        Of the images, as of :func:`train_head`.
    classes : sequence of str
        What the outputs stand for.
    device : str, optional
        Where.

    Returns
    -------
    Evaluation
    """
    logits = torch.cat([output.logits.float().cpu() for output in _pass(head, tokens, responses, device, False)])
    return score(logits, torch.from_numpy(labels), classes)


def attention_maps(
    head: FusionHead, tokens: Tokens, responses: Array, *, device: str | torch.device = "auto"
) -> npt.NDArray[np.float32]:
    """Return how the query looks at the image, mean over heads.

    Returns
    -------
    (image, row, column) float32 array
        Not negative; sums to 1 over an image (less where the network's own [CLS] takes some).

    Raises
    ------
    DataError
        The head has no attention.
    """
    parts = []
    for output in _pass(head, tokens, responses, device, True):
        if output.attention is None:
            raise DataError(f"A head that classifies by {head.fuse} has no attention to show.")
        parts.append(output.attention.float().mean(dim=1).cpu().numpy())
    maps = np.concatenate(parts).reshape(len(tokens), *tokens.grid)
    return np.asarray(maps, np.float32)


class _Resident:
    """Features on the device, and a head applied to some of them."""

    def __init__(self, tokens: Tokens, responses: Array, device: torch.device) -> None:
        self.patches = torch.from_numpy(np.ascontiguousarray(tokens.patches)).to(device)
        self.cls = torch.from_numpy(np.ascontiguousarray(tokens.cls)).to(device)
        self.responses = torch.from_numpy(np.ascontiguousarray(responses)).to(device)

    def through(self, head: FusionHead, batch: Tensor, attention: bool = False) -> HeadOutput:
        parts: list[Any] = [part.index_select(0, batch) for part in (self.patches, self.cls, self.responses)]
        output: HeadOutput = head(*parts, attention=attention)
        return output


def _pass(head: FusionHead, tokens: Tokens, responses: Array, device: str | torch.device, attention: bool) -> Any:
    if len(tokens) != len(responses):
        raise DataError(f"Responses to {len(responses)} images and tokens of {len(tokens)} do not belong together.")
    where = resolve_device(device)
    head = head.to(where).eval()
    with torch.inference_mode():
        for start in range(0, len(tokens), 512):
            part = slice(start, start + 512)
            rows = Tokens(tokens.cls[part], tokens.patches[part], tokens.grid, tokens.has_cls, tokens.layer)
            data = _Resident(rows, responses[part], where)
            yield data.through(head, torch.arange(len(rows), device=where), attention)
