"""What an accuracy is held against that took no training: chance, and the nearest training image in pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from alignment._validation import check_integer
from alignment.transfer.domains import Domain
from alignment.transfer.evaluation import match_labels

__all__ = ["transfer_floors", "words_below"]

_BATCH = 512


def transfer_floors(source: Domain, target: Domain, layers: Mapping[str, nn.Module], pixels: int = 16) -> pd.DataFrame:
    """Accuracy by chance and by the nearest training image, on the images as they are and behind each layer.

    Parameters
    ----------
    source : Domain
        The training images.
    target : Domain
        The test images.
    layers : mapping of str to nn.Module
        Layers in front, by name; each takes (n, 3, y, x) float images in [0, 1].
    pixels : int, optional
        Side of the small grey images that are compared: what a layer leaves, averaged over channels and resized.

    Returns
    -------
    pandas.DataFrame
        One row per layer: ``layer_variant``, ``chance`` (one over the number of the source's classes),
        ``nearest_neighbour`` (share of the target's images whose nearest training image, by Euclidean distance, is
        of their class), ``n`` and ``n_train`` (images) and ``pixels``.

    Raises
    ------
    DataError
        The target has classes that the source does not have.

    Examples
    --------
    >>> from alignment.models import create_layer
    >>> from alignment.transfer import load_domain
    >>> source, target = (load_domain("digits", split, image_size=16) for split in ("train", "test"))
    >>> floors = transfer_floors(source, target, {"baseline": create_layer("baseline")})
    >>> floors[["chance", "nearest_neighbour"]].round(2).values.tolist()
    [[0.1, 0.99]]
    """
    check_integer(pixels, "pixels", "transfer_floors", low=1)
    labels, classes = match_labels(target, source.classes), len(source.classes)
    rows = []
    for name, layer in layers.items():
        nearest = _nearest(_small(layer, source.images, pixels), _small(layer, target.images, pixels))
        accuracy = float(np.mean(source.labels[nearest] == labels))
        rows.append({"layer_variant": name, "chance": 1 / classes, "nearest_neighbour": accuracy})
    return pd.DataFrame(rows).assign(n=len(target), n_train=len(source), pixels=pixels)


def words_below(accuracy: float, chance: float, nearest_neighbour: float) -> str:
    """Say which floors an accuracy lies below; nothing where it lies below none.

    Examples
    --------
    >>> words_below(0.2, 0.1, 0.4)
    '1-nearest neighbour'
    """
    floors = {"chance": chance, "1-nearest neighbour": nearest_neighbour}
    return " and ".join(name for name, floor in floors.items() if accuracy < floor)


def _small(layer: nn.Module, images: npt.NDArray[np.uint8], pixels: int) -> Tensor:
    """Return what a layer makes of images as small grey ones, (image, pixel)."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            part = layer(torch.from_numpy(images[start : start + _BATCH]).float() / 255).mean(dim=1, keepdim=True)
            part = functional.interpolate(part, (pixels, pixels), mode="bilinear", antialias=True)
            parts.append(part.flatten(1))
    return torch.cat(parts)


def _nearest(train: Tensor, test: Tensor) -> npt.NDArray[np.int64]:
    """Return the position of the nearest training image of each test image."""
    return np.concatenate([torch.cdist(part, train).argmin(dim=1).numpy() for part in torch.split(test, _BATCH)])
