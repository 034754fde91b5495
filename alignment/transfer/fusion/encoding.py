"""The brain encoder: from a frozen network's tokens to the responses of a brain, and how well it does held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from alignment._validation import check_choice, check_integer
from alignment.transfer.device import resolve_device
from alignment.transfer.fusion._fit import FitSettings, fit
from alignment.transfer.fusion.decoder import RoiDecoder
from alignment.transfer.fusion.responses import ResponsePairs
from alignment.transfer.fusion.ridge import LAMBDAS, Ridge, fit_ridge
from alignment.transfer.fusion.tokens import Tokens
from neural_alignment import DataError

__all__ = ["BrainEncoder", "EncoderOptions", "fit_encoder", "score_encoder"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EncoderOptions:
    """How responses are predicted from tokens.

    Attributes
    ----------
    kind : {"ridge", "decoder"}
        Closed-form ridge regression from all patch tokens, one λ an ROI by exact leave-one-out errors; or a
        transformer decoder with one learned query an ROI, trained by mean squared error.
    lambdas : sequence of float
        Of the ridge.
    width, depth, heads : int
        Of the decoder.
    fit : FitSettings
        How the decoder is trained.
    """

    kind: str = "ridge"
    lambdas: Sequence[float] = LAMBDAS
    width: int = 64
    depth: int = 1
    heads: int = 4
    fit: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", "EncoderOptions", ("ridge", "decoder"))


@dataclass(frozen=True)
class BrainEncoder:
    """A fitted encoder; its predictions are in units of each unit's standard deviation over the training images.

    Attributes
    ----------
    options : EncoderOptions
        How it was fitted.
    roi, rois, classes
        As in :class:`~alignment.transfer.fusion.ResponsePairs`.
    scale : (2, ...) tuple of arrays
        Mean and standard deviation of the features, (feature,) each.
    ridge, decoder : optional
        The one of ``options.kind``.
    """

    options: EncoderOptions
    roi: npt.NDArray[np.int64]
    rois: tuple[str, ...]
    classes: tuple[str, ...]
    scale: tuple[Array, Array]
    ridge: Ridge | None = None
    decoder: RoiDecoder | None = None

    def predict(self, tokens: Tokens, *, batch_size: int = 512, device: str | torch.device = "auto") -> Array:
        """Return predicted responses (image, unit), z-scored over the images that the encoder was fitted on."""
        parts = []
        where = resolve_device(device)
        if self.decoder is not None:
            self.decoder.to(where).eval()
        for start in range(0, len(tokens), batch_size):
            scaled = _scaled(tokens.patches[start : start + batch_size], self.scale)
            if self.ridge is not None:
                parts.append(self.ridge.predict(scaled.reshape(len(scaled), -1)))
            else:
                assert self.decoder is not None
                with torch.inference_mode():
                    parts.append(self.decoder(torch.from_numpy(scaled).to(where)).float().cpu().numpy())
        return np.concatenate(parts)

    def to_parts(self) -> dict[str, Any]:
        """Return arrays, tensors and plain data, for a store."""
        told: dict[str, Any] = {"options": asdict(self.options), "rois": list(self.rois), "classes": list(self.classes)}
        told["options"]["lambdas"] = list(self.options.lambdas)
        parts: dict[str, Any] = {"roi": self.roi, "mean": self.scale[0], "sd": self.scale[1]}
        if self.ridge is not None:
            parts["ridge"] = {name: getattr(self.ridge, name) for name in ("weights", "mean", "intercept", "penalty")}
        else:
            assert self.decoder is not None
            told["tokens"] = int(self.decoder.place.shape[1])
            parts["decoder"] = {name: tensor.detach().cpu() for name, tensor in self.decoder.state_dict().items()}
        return {**parts, "told": told}

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any]) -> BrainEncoder:
        """Return the encoder that :meth:`to_parts` gave."""
        told = parts["told"]
        options = EncoderOptions(**{**told["options"], "fit": FitSettings(**told["options"]["fit"])})
        common = (options, parts["roi"], tuple(told["rois"]), tuple(told["classes"]), (parts["mean"], parts["sd"]))
        if options.kind == "ridge":
            return cls(*common, ridge=Ridge(**parts["ridge"]))
        decoder = _decoder(options, len(parts["mean"]), int(told["tokens"]), parts["roi"])
        decoder.load_state_dict(parts["decoder"])
        return cls(*common, decoder=decoder.eval())


def fit_encoder(
    tokens: Tokens,
    pairs: ResponsePairs,
    options: EncoderOptions | None = None,
    *,
    device: str | torch.device = "auto",
    checkpoint: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> BrainEncoder:
    """Fit an encoder on all pairs.

    Parameters
    ----------
    tokens : Tokens
        Of the pairs' images, in their order.
    pairs : ResponsePairs
        The responses.
    options : EncoderOptions, optional
        How.
    device : str, optional
        Where a decoder is trained.
    checkpoint : Path, optional
        A folder for a decoder's checkpoints.
    progress : callable, optional
        ``progress(done, total, text)``.

    Returns
    -------
    BrainEncoder

    Raises
    ------
    DataError
        Different numbers of tokens and responses, or a unit that responds to all images alike.
    """
    options = options or EncoderOptions()
    if len(tokens) != len(pairs.responses):
        raise DataError(
            f"The encoder of {pairs.name} needs tokens of the {len(pairs.responses)} images that the responses are to. "
            f"Got tokens of {len(tokens)} images."
        )
    sd = pairs.responses.std(axis=0, dtype=np.float64)
    if (sd == 0).any():
        raise DataError(f"{int((sd == 0).sum())} units of {pairs.name} respond to all images alike. Leave them out.")
    targets = ((pairs.responses - pairs.responses.mean(axis=0, dtype=np.float64)) / sd).astype(np.float32)
    scale = _scale_of(tokens.patches)
    features = _scaled(tokens.patches, scale)
    common = (options, pairs.roi, pairs.rois, pairs.classes, scale)
    if options.kind == "ridge":
        flat = features.reshape(len(features), -1)
        return BrainEncoder(*common, ridge=fit_ridge(flat, targets, pairs.roi, lambdas=options.lambdas))
    decoder = _train_decoder(features, targets, pairs, options, resolve_device(device), checkpoint, progress)
    return BrainEncoder(*common, decoder=decoder)


def score_encoder(
    tokens: Tokens,
    pairs: ResponsePairs,
    options: EncoderOptions | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """How well an encoder predicts images that it was not fitted on.

    Parameters
    ----------
    tokens, pairs, options, device
        As of :func:`fit_encoder`.
    folds : int, optional
        The images are cut at random into so many parts; each is predicted by an encoder fitted on the others (its λ,
        scaling and early stopping included).
    seed : int, optional
        Of the cut.
    progress : callable, optional
        ``progress(done, total, text)`` after every fold.

    Returns
    -------
    pandas.DataFrame
        A row an ROI: ``roi``, ``neuron_class``, ``units``; ``r``, the mean over units of the held-out Pearson
        correlation (over the images of a fold, averaged over folds; a constant prediction counts 0); ``r_sd`` over the
        units; ``ceiling``, the mean of the units' ceilings; ``r2``, the share of the held-out variance that is
        explained, over all units, against the training images' mean; ``worse_than_mean``, whether it is below 0.

    Raises
    ------
    InputError
        Fewer than two folds, or more than a third of the images.
    """
    check_integer(folds, "folds", "score_encoder", low=2, high=max(2, len(tokens) // 3))
    order = np.random.default_rng([seed, 0xE2C0DE]).permutation(len(tokens))
    r, error, spread = [], np.zeros(pairs.units), np.zeros(pairs.units)
    for done, held in enumerate(np.array_split(order, folds)):
        kept = np.setdiff1d(order, held)
        training = pairs.responses[kept]
        mean, sd = training.mean(axis=0, dtype=np.float64), training.std(axis=0, dtype=np.float64)
        alive = sd > 0
        part = _subset(pairs, kept, alive)
        encoder = fit_encoder(tokens.take(kept), part, options, device=device)
        predicted = np.zeros((len(held), pairs.units))
        predicted[:, alive] = encoder.predict(tokens.take(held), device=device)
        truth = (pairs.responses[held] - mean) / np.where(alive, sd, 1)
        r.append(_correlation(predicted, truth))
        error += ((truth - predicted) ** 2).sum(axis=0)
        spread += (truth**2).sum(axis=0)
        if progress is not None:
            progress(done + 1, folds, f"fold {done + 1} of {folds}")
    return _table(pairs, np.mean(r, axis=0), error, spread)


def _subset(pairs: ResponsePairs, rows: npt.NDArray[np.int64], units: npt.NDArray[np.bool_]) -> ResponsePairs:
    """Return pairs of some images and units; ROIs whose units are all silent in them stay out."""
    found, roi = np.unique(pairs.roi[units], return_inverse=True)
    return replace(
        pairs,
        images=pairs.images[rows],
        responses=pairs.responses[rows][:, units],
        roi=roi.astype(np.int64),
        rois=tuple(pairs.rois[number] for number in found),
        classes=tuple(pairs.classes[number] for number in found),
        ceiling=pairs.ceiling[units],
    )


def _table(
    pairs: ResponsePairs, r: npt.NDArray[Any], error: npt.NDArray[Any], spread: npt.NDArray[Any]
) -> pd.DataFrame:
    rows = []
    for number, name in enumerate(pairs.rois):
        own = pairs.roi == number
        ceilings = pairs.ceiling[own]
        r2 = 1 - float(error[own].sum() / spread[own].sum())
        rows.append(
            {
                "roi": name,
                "neuron_class": pairs.classes[number],
                "units": int(own.sum()),
                "r": float(r[own].mean()),
                "r_sd": float(r[own].std(ddof=1)) if own.sum() > 1 else float("nan"),
                "ceiling": float(np.nanmean(ceilings)) if np.isfinite(ceilings).any() else float("nan"),
                "r2": r2,
                "worse_than_mean": r2 < 0,
            }
        )
    return pd.DataFrame(rows)


def _correlation(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the Pearson correlation of each column; 0 where one of the two is constant."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray((a * b).sum(axis=0) / np.where(size > 1e-12, size, np.inf), np.float64)


def _scale_of(patches: npt.NDArray[Any]) -> tuple[Array, Array]:
    mean = patches.mean(axis=(0, 1), dtype=np.float64)
    sd = patches.std(axis=(0, 1), dtype=np.float64)
    return mean.astype(np.float32), np.where(sd > 1e-6, sd, 1).astype(np.float32)


def _scaled(patches: npt.NDArray[Any], scale: tuple[Array, Array]) -> Array:
    return np.asarray((patches.astype(np.float32) - scale[0]) / scale[1], np.float32)


def _decoder(options: EncoderOptions, features: int, tokens: int, roi: npt.NDArray[np.int64]) -> RoiDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.fit.seed)
        return RoiDecoder(features, tokens, roi, width=options.width, depth=options.depth, heads=options.heads)


def _train_decoder(
    features: Array,
    targets: Array,
    pairs: ResponsePairs,
    options: EncoderOptions,
    device: torch.device,
    checkpoint: Path | None,
    progress: Callable[[int, int, str], None] | None,
) -> RoiDecoder:
    decoder = _decoder(options, features.shape[2], features.shape[1], pairs.roi).to(device)
    order = np.random.default_rng([options.fit.seed, 0xDEC0]).permutation(len(features))
    held = max(1, round(options.fit.validation * len(features)))
    if len(features) - held < 2:
        raise DataError(f"{len(features)} images are too few to train a decoder and to keep some for early stopping.")
    x, y = torch.from_numpy(features).to(device), torch.from_numpy(targets).to(device)
    kept_out = torch.from_numpy(order[:held]).to(device)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(decoder(x[batch]).float(), y[batch])

    def validate() -> tuple[torch.Tensor, torch.Tensor]:
        value = loss(kept_out)
        return -value, value

    job = {
        "decoder": f"{features.shape} {targets.shape}",
        **{k: getattr(options, k) for k in ("width", "depth", "heads")},
    }
    fit(decoder, loss, validate, order[held:], options.fit, device, checkpoint=checkpoint, job=job, progress=progress)
    return decoder
