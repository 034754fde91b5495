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
from alignment.transfer.device import resolve_device
from alignment.transfer.domains import Domain
from alignment.transfer.evaluation import predict
from neural_alignment import InputError

__all__ = ["activation_statistics", "feature_distances"]

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
    sums: dict[str, dict[str, Any]] = {}

    def note(name: str, output: Tensor) -> None:
        values = output.detach().double()
        kept = sums.setdefault(name, {"n": 0, "sum": 0.0, "square": 0.0, "active": 0.0, "responses": []})
        kept["n"] += values.numel()
        kept["sum"] = kept["sum"] + values.sum()
        kept["square"] = kept["square"] + values.square().sum()
        kept["active"] = kept["active"] + (values > 0).double().sum()
        kept["responses"].append(_channels(values.clamp_min(0)).cpu())

    _run(model, domain, batch_size, device, note, with_input)
    rows = []
    for name, kept in sums.items():
        mean, n = float(kept["sum"]) / kept["n"], kept["n"]
        variance = max(0.0, float(kept["square"]) / n - mean**2)
        responses = torch.cat(kept["responses"]).numpy()
        row = {"layer": name, "mean": mean, "sd": variance**0.5, "active": float(kept["active"]) / n}
        rows.append({**row, "sparsity": _sparsity(responses), "units": responses.shape[1]})
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
    means = []
    for domain in (source, target):
        collected: dict[str, list[Tensor]] = {}

        def note(name: str, output: Tensor, into: dict[str, list[Tensor]] = collected) -> None:
            into.setdefault(name, []).append(_channels(output.detach().double()).cpu())

        _run(model, domain, batch_size, device, note, with_input)
        means.append({name: torch.cat(parts).numpy() for name, parts in collected.items()})
    rows = []
    for name, left in means[0].items():
        right = means[1][name]
        spread = (left.var(axis=0).sum() + right.var(axis=0).sum()) / 2
        apart = float(np.linalg.norm(left.mean(axis=0) - right.mean(axis=0)))
        distance = apart / spread**0.5 if spread > 0 else (0.0 if apart == 0 else float("inf"))
        rows.append({"layer": name, "distance": distance, "units": left.shape[1]})
    return pd.DataFrame(rows)


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

    handles = [module.register_forward_hook(listen(name)) for name, module in chosen]
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
    return [model.register_forward_pre_hook(begin), *(module.register_forward_pre_hook(first) for module in chosen)]


def _channels(values: Tensor) -> Tensor:
    """Reduce an output to (image, channel): means over space of maps, over tokens of token sequences."""
    if values.ndim == 4:
        return values.mean(dim=(2, 3))
    return values if values.ndim == 2 else values.flatten(1, -2).mean(dim=1)


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
