"""Operations on stacks of uint8 images that every domain needs: resize, channels, stratified subsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neural_alignment import DataError

__all__ = ["stratified_split", "stratified_subset", "to_stack"]

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def to_stack(images: npt.NDArray[Any], image_size: int, chunk: int = 4096) -> Images:
    """Bring images to (image, 3, image_size, image_size).

    Parameters
    ----------
    images : (n, h, w) or (n, h, w, 3) uint8 array
        Grey or RGB images. Grey ones get three equal channels.
    image_size : int
        Side of the result in pixels. Resizing is bilinear, with antialiasing when it shrinks.
    chunk : int, optional
        Images a step, which bounds the memory of the conversion.

    Returns
    -------
    (n, 3, image_size, image_size) uint8 array

    Examples
    --------
    >>> to_stack(np.zeros((2, 8, 8), np.uint8), 32).shape
    (2, 3, 32, 32)
    """
    import torch
    from torch.nn import functional

    grey = images.ndim == 3
    n, height, width = images.shape[:3]
    stack = np.empty((n, 3, image_size, image_size), np.uint8)
    for start in range(0, n, chunk):
        part = images[start : start + chunk]
        part = part[:, None] if grey else np.moveaxis(part, 3, 1)
        if (height, width) != (image_size, image_size):
            tensor = torch.from_numpy(np.ascontiguousarray(part)).float()
            size = (image_size, image_size)
            tensor = functional.interpolate(tensor, size, mode="bilinear", antialias=True)
            part = tensor.round_().clamp_(0, 255).to(torch.uint8).numpy()
        stack[start : start + chunk] = part
    return stack


def stratified_subset(labels: Labels, limit: int, seed: int) -> npt.NDArray[np.int64]:
    """Choose ``limit`` images at random with every class in its share.

    Parameters
    ----------
    labels : (n,) int array
        One class an image.
    limit : int
        How many to choose; at least the number of classes. ``limit >= n`` chooses all.
    seed : int
        Of the choice. A smaller limit with the same seed does not promise a subset of a larger one.

    Returns
    -------
    (min(limit, n),) int64 array
        Positions, ascending.

    Raises
    ------
    DataError
        ``limit`` is smaller than the number of classes.

    Examples
    --------
    >>> stratified_subset(np.array([0, 0, 0, 0, 1, 1]), 3, seed=0).size
    3
    """
    if limit >= labels.size:
        return np.arange(labels.size, dtype=np.int64)
    classes, counts = np.unique(labels, return_counts=True)
    if limit < classes.size:
        raise DataError(
            f"A limit of {limit} images cannot hold all {classes.size} classes. "
            f"Ask for at least {classes.size} images, or for no limit."
        )
    # Largest remainders, after one image for every class, so that a rare class is never lost.
    share = counts / counts.sum() * limit
    take = np.maximum(np.floor(share).astype(int), 1)
    while take.sum() > limit:
        take[np.argmax(take)] -= 1
    room = np.where(take < counts, share - take, -np.inf)
    for place in np.argsort(-room, kind="stable")[: limit - take.sum()]:
        take[place] += 1
    generator = np.random.default_rng([seed, 0x5B5E7])
    chosen = [
        generator.permutation(np.flatnonzero(labels == value))[:number]
        for value, number in zip(classes, take, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def stratified_split(labels: Labels, fraction: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split positions in two, every class in its share.

    Parameters
    ----------
    labels : (n,) int array
        One class an image.
    fraction : float
        Share of each class, in (0, 1), that goes to the second part: rounded, and at least one image of a
        class that has two.
    seed : int
        Of the choice.

    Returns
    -------
    first, second : int64 arrays
        Positions, ascending; together all of them.

    Examples
    --------
    >>> first, second = stratified_split(np.repeat([0, 1], 10), 0.2, seed=0)
    >>> first.size, second.size
    (16, 4)
    """
    generator = np.random.default_rng([seed, 0x59117])
    second = []
    for value in np.unique(labels):
        members = np.flatnonzero(labels == value)
        number = round(fraction * members.size)
        if members.size > 1:
            number = min(max(number, 1), members.size - 1)
        second.append(generator.permutation(members)[:number])
    chosen = np.sort(np.concatenate(second)) if second else np.empty(0, np.int64)
    mask = np.ones(labels.size, bool)
    mask[chosen] = False
    return np.flatnonzero(mask).astype(np.int64), chosen.astype(np.int64)
