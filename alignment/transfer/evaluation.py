"""Scoring a network on a domain: accuracy with its interval, recall per class, confusion and calibration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from alignment._validation import check_integer, check_number
from alignment.transfer.device import is_out_of_memory, resolve_device
from alignment.transfer.domains import Domain
from neural_alignment import DataError, InputError

__all__ = ["Evaluation", "calibration_bins", "evaluate", "expected_calibration_error", "wilson_interval"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """How a network did on one split of one domain.

    Attributes
    ----------
    accuracy : float
        Share of the images classified rightly, in [0, 1].
    n : int
        How many images.
    ci_low, ci_high : float
        95 % Wilson interval of the accuracy: over images drawn from this domain, not over trainings.
    confusion : (class, class) int64 array
        How many images of the row's class were taken for the column's.
    ece : float
        Expected calibration error in [0, 1]; see :func:`expected_calibration_error`.
    loss : float
        Mean cross-entropy in nats.
    classes : tuple of str
        The classes that number the confusion.
    calibration : pandas.DataFrame
        The bins behind ``ece``, as :func:`calibration_bins` gives them.
    """

    accuracy: float
    n: int
    ci_low: float
    ci_high: float
    confusion: npt.NDArray[np.int64]
    ece: float
    loss: float
    classes: tuple[str, ...]
    calibration: pd.DataFrame

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Share of each class that was recognised, (class,); NaN where the domain has no image of it."""
        counts = self.confusion.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.diag(self.confusion) / counts, dtype=np.float64)

    @property
    def missing_classes(self) -> tuple[str, ...]:
        """Classes of which the domain has no image: they count in no mean."""
        counts = self.confusion.sum(axis=1)
        return tuple(name for name, count in zip(self.classes, counts, strict=True) if count == 0)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that the domain has."""
        return float(np.nanmean(self.recall))


def evaluate(
    model: nn.Module,
    domain: Domain,
    *,
    batch_size: int = 512,
    device: str | torch.device = "auto",
    classes: Sequence[str] | None = None,
) -> Evaluation:
    """Score a network on a domain.

    Parameters
    ----------
    model : nn.Module
        Takes (n, 3, y, x) float images in [0, 1] and gives (n, class) logits. It is scored in evaluation
        mode, and is left in the mode it came in.
    domain : Domain
        The images and labels.
    batch_size : int, optional
        Images a pass; halved, with a warning in the log, where the memory is too small. It changes no score.
    device : str, optional
        Where to run; the network is moved there.
    classes : sequence of str, optional
        The classes that the network's outputs stand for, where they are not the domain's own. Labels are
        matched by name; the domain may lack some of the classes but may not have others.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        The domain has classes that the network does not know, the network's outputs do not fit the classes,
        it cannot take images of this size, or the memory is too small for a single image.

    Examples
    --------
    >>> from alignment.transfer import load_domain
    >>> _ = torch.manual_seed(0)
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
    >>> scored = evaluate(network, load_domain("digits", "test", image_size=8), device="cpu")
    >>> scored.n, int(scored.confusion.sum())
    (450, 450)
    """
    check_integer(batch_size, "batch_size", "evaluate", low=1)
    names = tuple(domain.classes if classes is None else classes)
    labels = match_labels(domain, names)
    where = resolve_device(device)
    model = model.to(where)
    images = torch.from_numpy(domain.images)
    logits = predict_domain(model, images, where, batch_size, domain.name)
    if logits.ndim != 2 or logits.shape[1] != len(names):
        raise DataError(
            f"The network gives {tuple(logits.shape[1:])} outputs an image, and the domain '{domain.name}' "
            f"has "
            f"{len(names)} classes. Evaluate on a domain with the classes that it was trained on."
        )
    return score(logits.cpu(), torch.from_numpy(labels), names)


def match_labels(domain: Domain, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return a domain's labels numbered by ``classes``; refuse images of classes that are not among them."""
    if tuple(classes) == tuple(domain.classes):
        return domain.labels
    numbers = {name: number for number, name in enumerate(classes)}
    present = [domain.classes[number] for number in np.unique(domain.labels)]
    unknown = [name for name in present if name not in numbers]
    if unknown:
        listed = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise DataError(
            f"The domain '{domain.name}' has classes that the network was not trained on: {listed}. Source "
            f"and "
            "target must name the same classes."
        )
    table = np.array([numbers.get(name, -1) for name in domain.classes], np.int64)
    return np.asarray(table[domain.labels], dtype=np.int64)


def predict(model: nn.Module, images: Tensor, device: torch.device, batch_size: int) -> Tensor:
    """Return the logits of uint8 images, (n, class) float32 on ``device``, without waiting for the device."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = (to_float(part.to(device, non_blocking=True)) for part in torch.split(images, batch_size))
            return torch.cat([model(part).float() for part in parts])
    finally:
        model.train(training)


def predict_domain(model: nn.Module, images: Tensor, device: torch.device, batch_size: int, name: str) -> Tensor:
    """Return :func:`predict`'s logits; halve the batch where memory is short, say where images do not fit."""
    while True:
        try:
            return predict(model, images, device, batch_size)
        except (RuntimeError, AssertionError) as error:
            short = isinstance(error, RuntimeError) and is_out_of_memory(error)
            if not short:
                size = "×".join(str(side) for side in images.shape[2:])
                raise DataError(
                    f"The network cannot take the images of the domain '{name}', {size} pixels: "
                    f"{str(error).splitlines()[0]}. Load the domain at the image size that the network was made for."
                ) from error
        if batch_size == 1:
            raise DataError(
                f"The memory of {device} is too small for this network even with a single image of the domain "
                f"'{name}'. Take a smaller network or image size."
            )
        batch_size //= 2
        _logger.warning(
            "The memory of %s is too small: the domain '%s' goes on with batches of %d.", device, name, batch_size
        )
        if device.type == "cuda":
            torch.cuda.empty_cache()


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1], channels last in memory (where convolutions want them so)."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255.0)


def score(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> Evaluation:
    """Score logits (n, class) against labels (n,)."""
    number = len(classes)
    probabilities = logits.softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    cells = torch.bincount(labels * number + predicted, minlength=number * number)
    confusion = cells.reshape(number, number).numpy().astype(np.int64)
    right, n = int(np.trace(confusion)), len(labels)
    low, high = wilson_interval(right, n)
    sure, correct = confidence.double().numpy(), (predicted == labels).numpy()
    ece = expected_calibration_error(sure, correct)
    loss = float(functional.cross_entropy(logits, labels))
    return Evaluation(right / n, n, low, high, confusion, ece, loss, tuple(classes), calibration_bins(sure, correct))


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion, which stays inside [0, 1] and holds its level near 0 and 1.

    Parameters
    ----------
    successes, n : int
        Successes among trials, 0 ≤ successes ≤ n, n ≥ 1.
    level : float, optional
        Coverage.

    Returns
    -------
    low, high : float

    Raises
    ------
    InputError
        Counts or a level that cannot be.

    Notes
    -----
    Wilson (1927), Probable inference, the law of succession, and statistical inference.

    Examples
    --------
    >>> [round(limit, 3) for limit in wilson_interval(9, 10)]
    [0.596, 0.982]
    """
    from scipy.special import ndtri

    check_integer(n, "n", "wilson_interval", low=1)
    check_integer(successes, "successes", "wilson_interval", low=0, high=n)
    check_number(level, "level", "wilson_interval", low=0, high=1, open_low=True)
    z = float(ndtri(0.5 + level / 2))
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At the ends the limits are exact; rounding could put them beside the share itself.
    low = 0.0 if successes == 0 else float(centre - half)
    return low, 1.0 if successes == n else float(centre + half)


def expected_calibration_error(
    confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence, weighted by their images.

    Parameters
    ----------
    confidence : (n,) array
        Probability of the predicted class, in [0, 1].
    correct : (n,) bool array
        Whether the prediction was right.
    bins : int, optional
        Number of bins.

    Returns
    -------
    float
        In [0, 1]; 0 means that images called with confidence p are right in p of the cases.

    Raises
    ------
    InputError
        Arrays of different lengths, or empty.

    Notes
    -----
    Guo et al. (2017), On calibration of modern neural networks, equation 5.

    Examples
    --------
    >>> expected_calibration_error(np.array([0.8, 0.8]), np.array([True, False]))
    0.3...
    """
    place = _bin(confidence, correct, bins, "expected_calibration_error")
    gap = np.bincount(place, confidence - correct, bins)
    return float(np.abs(gap).sum() / confidence.size)


def calibration_bins(
    confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_], bins: int = 15
) -> pd.DataFrame:
    """Return what a reliability diagram draws: confidence and accuracy in equal bins of confidence.

    Parameters
    ----------
    confidence, correct, bins
        As of :func:`expected_calibration_error`.

    Returns
    -------
    pandas.DataFrame
        A row a bin: ``low`` (exclusive, but for the first) and ``high`` (inclusive), ``n`` images,
        ``confidence`` (their mean) and ``right`` (how many of them were classified rightly). Bins of several
        evaluations add up: sum ``n`` and ``right``, weight ``confidence`` by ``n``. The confidence of an
        empty bin is NaN.

    Raises
    ------
    InputError
        Arrays of different lengths, or empty.

    Examples
    --------
    >>> calibration_bins(np.array([0.4, 0.9, 0.8]), np.array([True, True, False]), bins=2)["right"].tolist()
    [1, 1]
    """
    place = _bin(confidence, correct, bins, "calibration_bins")
    n, edges = np.bincount(place, minlength=bins), np.arange(bins + 1) / bins
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, confidence, bins) / n
    right = np.bincount(place[correct], minlength=bins)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, "confidence": mean, "right": right})


def _bin(
    confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_], bins: int, caller: str
) -> npt.NDArray[np.int64]:
    """Return the bin of every image, after looking at the arguments."""
    check_integer(bins, "bins", caller, low=1)
    if confidence.shape != correct.shape or confidence.size == 0:
        raise InputError(
            f"{caller} needs a confidence for every outcome, and at least one. Got {confidence.shape} and "
            f"{correct.shape}."
        )
    return np.asarray(np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1))
