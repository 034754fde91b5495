"""What a network makes of domains inside: mean, spread and sparsity by layer, and domains' distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from alignment._validation import check_integer
from alignment.models._hooks import own
from alignment.transfer.device import resolve_device
from alignment.transfer.domains import Domain
from alignment.transfer.evaluation import predict
from neural_alignment import InputError

__all__ = ["activation_statistics", "domains_inside", "feature_distances"]

_KINDS = (nn.Conv2d, nn.Linear)


def activation_statistics(
    model: nn.Module,
    domain: Domain,
    *,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    with_input: bool = False,
) -> pd.DataFrame:
    """Statistics of every convolution's and linear layer's output on a domain.

    Parameters
    ----------
    model : nn.Module
        Takes (n, 3, y, x) float images in [0, 1].
    domain : Domain
        Its images.
    batch_size : int, optional
        Images a pass; also what the memory depends on.
    device : str, optional
        Where to run.
    with_input : bool, optional
        Begin with a row ``input``: what the first of these layers receives, so the images as a layer in
        front of the network has left them.

    Returns
    -------
    pandas.DataFrame
        A row a layer, in the order in which they first run: ``layer``, ``mean`` and ``sd`` over all values,
        ``active`` (the share above 0, which is what a ReLU after it lets through), ``sparsity`` and
        ``units``. Sparsity is that of Treves and Rolls in Vinje and Gallant's form (2000), (1 − (Σr/n)² /
        (Σr²/n)) / (1 − 1/n), of each channel's rectified mean response over the images, averaged over
        channels that respond at all: 0 where it responds to all images alike, 1 where it responds to a
        single one.

    Raises
    ------
    InputError
        A network without convolutions and linear layers.

    Examples
    --------
    >>> from alignment.transfer import load_domain
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
    >>> domain = load_domain("digits", "test", image_size=8, limit=20)
    >>> activation_statistics(network, domain, device="cpu")["layer"].tolist()
    ['0', '3']
    """
    noted = _look(model, domain, batch_size, device, with_input)
    rows = [{"layer": name, **layer.statistics(), "units": layer.features.shape[1]} for name, layer in noted.items()]
    return pd.DataFrame(rows)


def feature_distances(
    model: nn.Module,
    source: Domain,
    target: Domain,
    *,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    with_input: bool = False,
) -> pd.DataFrame:
    """How far two domains lie apart in every layer's channel means.

    Parameters
    ----------
    model : nn.Module
        Takes (n, 3, y, x) float images in [0, 1].
    source, target : Domain
        The domains.
    batch_size : int, optional
        Images a pass.
    device : str, optional
        Where to run.
    with_input : bool, optional
        As of :func:`activation_statistics`.

    Returns
    -------
    pandas.DataFrame
        A row a layer: ``layer``, ``distance`` and ``units``. The distance is that of the domains' mean
        feature vectors (each image's spatial means), over the root of the mean of their total variances: 0
        for equal means, 1 where the domains lie as far apart as an image typically lies from its own
        domain's mean.

    Raises
    ------
    InputError
        A network without convolutions and linear layers.
    """
    here, there = (_look(model, domain, batch_size, device, with_input) for domain in (source, target))
    rows = [
        {"layer": name, "distance": _distance(layer, there[name]), "units": layer.features.shape[1]}
        for name, layer in here.items()
    ]
    return pd.DataFrame(rows)


def domains_inside(
    model: nn.Module,
    source: Domain,
    target: Domain,
    *,
    batch_size: int = 256,
    device: str | torch.device = "auto",
) -> pd.DataFrame:
    """Distances and statistics of two domains together, each domain passed through the network once.

    Parameters
    ----------
    model, source, target, batch_size, device
        As of :func:`feature_distances`.

    Returns
    -------
    pandas.DataFrame
        A row a layer, the ``input`` first: ``layer``, ``layer_index``, ``distance``, ``units``, and the columns
        of :func:`activation_statistics` with ``_source`` and ``_target`` behind their names.

    Raises
    ------
    InputError
        A network without convolutions and linear layers.
    """
    here, there = (_look(model, domain, batch_size, device, True) for domain in (source, target))
    rows = []
    for index, (name, layer) in enumerate(here.items()):
        row = {"layer": name, "layer_index": index, "distance": _distance(layer, there[name])}
        row["units"] = layer.features.shape[1]
        for side, one in (("source", layer), ("target", there[name])):
            row |= {f"{key}_{side}": value for key, value in one.statistics().items()}
        rows.append(row)
    return pd.DataFrame(rows)


class _Layer:
    """What is kept of one layer's outputs: sums over all values, and each image's channels."""

    def __init__(self) -> None:
        self._n, self._sum, self._square, self._active = 0, 0.0, 0.0, 0.0
        self._features: list[Tensor] = []
        self._responses: list[Tensor] = []

    def add(self, output: Tensor) -> None:
        values = output.detach()
        self._n += values.numel()
        # Summed in float64: a float32 sum over millions of values would lose digits.
        self._sum += float(values.sum(dtype=torch.float64))
        self._square += float(values.square().sum(dtype=torch.float64))
        self._active += float((values > 0).sum())
        self._features.append(_channels(values).cpu())
        self._responses.append(_channels(values.clamp_min(0)).cpu())

    @property
    def features(self) -> npt.NDArray[np.float64]:
        """Each image's mean of each channel, (image, channel)."""
        return np.asarray(torch.cat(self._features).numpy())

    def statistics(self) -> dict[str, float]:
        mean = self._sum / self._n
        spread = max(0.0, self._square / self._n - mean**2) ** 0.5
        sparsity = _sparsity(torch.cat(self._responses).numpy())
        return {"mean": mean, "sd": spread, "active": self._active / self._n, "sparsity": sparsity}


def _distance(here: _Layer, there: _Layer) -> float:
    left, right = here.features, there.features
    spread = float(left.var(axis=0).sum() + right.var(axis=0).sum()) / 2
    apart = float(np.linalg.norm(left.mean(axis=0) - right.mean(axis=0)))
    if spread > 0:
        return apart / float(np.sqrt(spread))
    return 0.0 if apart == 0 else float("inf")


def _look(
    model: nn.Module, domain: Domain, batch_size: int, device: str | torch.device, with_input: bool
) -> dict[str, _Layer]:
    """Pass a domain through the network and keep what its layers give, in the order in which they first run."""
    noted: dict[str, _Layer] = {}
    _run(
        model, domain, batch_size, device, lambda name, output: noted.setdefault(name, _Layer()).add(output), with_input
    )
    return noted


def _run(
    model: nn.Module,
    domain: Domain,
    batch_size: int,
    device: str | torch.device,
    note: Callable[[str, Tensor], None],
    with_input: bool,
) -> None:
    check_integer(batch_size, "batch_size", "activation_statistics", low=1)
    where = resolve_device(device)
    model = model.to(where)
    chosen = [(name, module) for name, module in model.named_modules() if isinstance(module, _KINDS)]
    if not chosen:
        raise InputError("Activation statistics need a network with convolutions or linear layers; it has none.")

    def listen(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, inputs, output: note(name, output)

    handles = [module.register_forward_hook(own(listen(name))) for name, module in chosen]
    if with_input:
        handles += _listen_to_input(model, [module for _, module in chosen], note)
    try:
        predict(model, torch.from_numpy(domain.images), where, batch_size)
    finally:
        for handle in handles:
            handle.remove()


def _listen_to_input(
    model: nn.Module, chosen: list[nn.Module], note: Callable[[str, Tensor], None]
) -> list[RemovableHandle]:
    """Note what the first of the chosen modules to run in a pass receives."""
    waiting = False

    def begin(module: nn.Module, inputs: Any) -> None:
        nonlocal waiting
        waiting = True

    def first(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal waiting
        if waiting:
            waiting = False
            note("input", inputs[0])

    # The whole model's hook first: a model that is one single layer is in ``chosen`` itself.
    return [
        model.register_forward_pre_hook(own(begin)),
        *(module.register_forward_pre_hook(own(first)) for module in chosen),
    ]


def _channels(values: Tensor) -> Tensor:
    """Reduce an output to (image, channel) in float64: means over space of maps, over tokens of sequences."""
    if values.ndim == 4:
        return values.mean(dim=(2, 3), dtype=torch.float64)
    return values.double() if values.ndim == 2 else values.flatten(1, -2).mean(dim=1, dtype=torch.float64)


def _sparsity(responses: npt.NDArray[np.float64]) -> float:
    n = len(responses)
    if n < 2:
        return float("nan")
    square = (responses**2).mean(axis=0)
    responding = square > 0
    if not responding.any():
        return float("nan")
    ratio = responses.mean(axis=0)[responding] ** 2 / square[responding]
    return float(((1 - ratio) / (1 - 1 / n)).mean())
