"""Which shifts a layer undoes by construction: how far apart images and their shifted copies lie behind it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from alignment.transfer.corruptions import exact_shift

__all__ = ["EQUAL_SHARE", "paired_distances"]

EQUAL_SHARE = 0.01
"""Share of the distance of paired images up to which a layer makes them equal by construction."""

_BATCH = 256


def paired_distances(
    layers: Mapping[str, nn.Module],
    images: npt.NDArray[np.uint8],
    shift: str,
    strength: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Distance of images from their shifted copies, before and behind layers in front of a network.

    Parameters
    ----------
    layers : mapping of str to nn.Module
        By name; each takes (n, 3, y, x) float images in [0, 1] and keeps their number.
    images : (n, 3, y, x) uint8 array
        The images, at least two.
    shift, strength, seed
        As of :func:`alignment.transfer.apply_shift`.

    Returns
    -------
    pandas.DataFrame
        One row per layer: ``layer_variant``, ``before`` and ``behind`` (root mean square distance of the pairs, over
        the root mean square distance of the images from their mean, so that a layer's scale does not count),
        ``share`` (behind over before), ``equal`` (a share of at most :data:`EQUAL_SHARE`) and ``images``. NaN,
        and not equal, where the copies are the images themselves or a layer leaves no difference between images.

    Raises
    ------
    InputError
        An unknown shift or strength.

    Notes
    -----
    The copies are not rounded to whole grey levels: a layer that divides by an image's contrast enlarges the
    rounding of a faint copy, and that is no property of the shift.

    Examples
    --------
    >>> from alignment.models import create_layer
    >>> images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    >>> layers = {name: create_layer(name) for name in ("baseline", "neurn")}
    >>> paired_distances(layers, images, "inversion")["equal"].tolist()
    [False, True]
    """
    originals = torch.from_numpy(images).float() / 255
    copies = torch.from_numpy(exact_shift(images, shift, strength, seed)) / 255
    before = _distance(originals, copies)
    rows = []
    for name, layer in layers.items():
        behind = _distance(_through(layer, originals), _through(layer, copies))
        share = behind / before if before > 0 else float("nan")
        rows.append({"layer_variant": name, "before": before, "behind": behind, "share": share})
    table = pd.DataFrame(rows)
    return table.assign(equal=table["share"] <= EQUAL_SHARE, images=len(images))


def _through(layer: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([layer(part) for part in torch.split(images, _BATCH)])


def _distance(originals: Tensor, copies: Tensor) -> float:
    apart = (copies - originals).double().square().sum()
    spread = (originals - originals.mean(dim=0)).double().square().sum()
    return float((apart / spread).sqrt()) if spread > 0 else float("nan")
