"""Scenes as images for networks, and the digest that says which scenes a result is of."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from alignment._validation import check_integer, fail
from alignment.models._extraction_checks import float32

__all__ = ["as_images", "scene_digest"]


def as_images(scenes: Any, image_size: int) -> npt.NDArray[np.float32]:
    """Turn grey scenes into images for a network: resized with antialiasing, three equal channels.

    Parameters
    ----------
    scenes : array, (scene, y, x)
        uint8 grey levels, or floating point in [0, 1].
    image_size : int
        Side of the square result; scenes of another aspect are squeezed, as the published analysis does.

    Returns
    -------
    ndarray, (scene, 3, image_size, image_size), float32

    Examples
    --------
    >>> as_images(np.full((2, 60, 80), 255, np.uint8), 32).shape
    (2, 3, 32, 32)
    """
    size = check_integer(image_size, "image_size", "as_images", low=1)
    scenes = np.asarray(scenes)
    if scenes.ndim != 3 or not (scenes.dtype == np.uint8 or np.issubdtype(scenes.dtype, np.floating)):
        got = f"{scenes.dtype} of shape {scenes.shape}"
        raise fail("scenes", "as_images", "uint8 or floating point of shape (scene, y, x)", got)
    result = np.empty((len(scenes), 3, size, size), np.float32)
    for i, scene in enumerate(scenes):
        image = torch.from_numpy(np.asarray(scene, np.float32))[None, None]
        if scenes.dtype == np.uint8:
            image = image / 255.0
        image = functional.interpolate(image, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        result[i] = image[0].clamp(0.0, 1.0).numpy()
    return result


def scene_digest(images: Any) -> str:
    """SHA-256 of images in their order, as float32; results carry it to say whose rows they hold."""
    digest = hashlib.sha256()
    for start in range(0, int(images.shape[0]), 64):
        digest.update(float32(images[start : start + 64]).tobytes())
    return digest.hexdigest()
