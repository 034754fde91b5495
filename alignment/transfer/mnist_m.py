"""MNIST-M by its definition: |digit − patch| per channel, the patch cut from a photograph at random.

Ganin & Lempitsky, *Unsupervised Domain Adaptation by Backpropagation* (ICML 2015), section 4: digits blended
with patches of colour photographs of BSDS500. The same recipe over other photographs gives ``digits_m``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neural_alignment import DataError

__all__ = ["blend_digits", "embedded_photographs", "read_photographs"]

Images = npt.NDArray[np.uint8]


def blend_digits(digits: Images, photographs: Sequence[Images], seed: int) -> Images:
    """Blend each digit with a random patch of a random photograph: |digit − patch| per channel.

    Parameters
    ----------
    digits : (n, h, w) uint8 array
        Light digits on black.
    photographs : sequence of (y, x, 3) uint8 arrays
        Each at least h × w.
    seed : int
        Of the photographs and places. Image i gets the same patch whatever follows it.

    Returns
    -------
    (n, h, w, 3) uint8 array

    Raises
    ------
    DataError
        No photograph, or one that is smaller than a digit.

    Examples
    --------
    >>> photograph = np.full((40, 40, 3), 200, np.uint8)
    >>> blend_digits(np.full((1, 28, 28), 255, np.uint8), [photograph], seed=0)[0, 0, 0]
    array([55, 55, 55], dtype=uint8)
    """
    n, height, width = digits.shape
    if not photographs:
        raise DataError("MNIST-M needs at least one photograph to cut backgrounds from. Got none.")
    if any(photo.shape[0] < height or photo.shape[1] < width for photo in photographs):
        raise DataError(f"Every photograph for MNIST-M must be at least {height}×{width} pixels.")
    draws = np.random.default_rng(seed).random((n, 3))
    which = (draws[:, 0] * len(photographs)).astype(int)
    blended = np.empty((n, height, width, 3), np.uint8)
    for index in range(n):
        photo = photographs[which[index]]
        top = int(draws[index, 1] * (photo.shape[0] - height + 1))
        left = int(draws[index, 2] * (photo.shape[1] - width + 1))
        blended[index] = photo[top : top + height, left : left + width]
    grey = digits[..., None]
    # |a - b| of unsigned bytes without widening them.
    return np.asarray(np.maximum(blended, grey) - np.minimum(blended, grey), dtype=np.uint8)


def embedded_photographs() -> list[Images]:
    """Return the colour photographs that scikit-image and scikit-learn ship: six, (y, x, 3) uint8."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    read: Any = data  # the type stubs of scikit-image leave these readers untyped
    shipped = [read.astronaut(), read.chelsea(), read.coffee(), read.rocket(), *load_sample_images().images]
    return [np.ascontiguousarray(photo) for photo in shipped]


def read_photographs(files: Sequence[Path]) -> list[Images]:
    """Read photographs as RGB, in the order of their file names.

    Parameters
    ----------
    files : sequence of Path
        JPEG or PNG files.

    Returns
    -------
    list of (y, x, 3) uint8 arrays

    Raises
    ------
    DataError
        A file is no complete image.
    """
    from PIL import Image

    photographs = []
    for path in sorted(files, key=lambda file: file.name):
        try:
            with Image.open(path) as opened:
                photographs.append(np.asarray(opened.convert("RGB"), dtype=np.uint8))
        except (OSError, SyntaxError) as error:
            raise DataError(f"{path} is not a complete image: {error}. Fetch it again.") from error
    return photographs
