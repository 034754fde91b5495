"""CIFAR-100, the 27 of its classes that the Allen natural scenes show ("CIFAR-27"), and 20 classes apart from 80.

The papers fine-tune on a natural-scene subset of CIFAR-100 with 27 classes and do not list them. Ours are
classes of which at least one of the 118 natural scenes of the Allen Visual Coding data shows a member or a
near relative, read off the scenes by eye: :data:`CIFAR27` says which frames. Frames 59 to 117 were read at
31×31 pixels, where plants and buildings can be told and species hardly. It is a choice, made once and before
any result.

:data:`CIFAR20_CLASSES` holds the alphabetically first class of each of the 20 superclasses; ``cifar80`` is the
other 80 classes, for a network that must not have seen the 20.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neural_alignment import DataError

__all__ = ["CIFAR20_CLASSES", "CIFAR27", "CIFAR27_CLASSES", "read_cifar"]

CIFAR27: dict[str, str] = {
    "bear": "bears, frames 0 to 2",
    "beetle": "a ladybird, frame 42",
    "butterfly": "a monarch, frame 41",
    "cattle": "a bison, frame 46",
    "chimpanzee": "apes and monkeys, frames 23 and 53",
    "cloud": "clouds, frames 31, 61 and 102",
    "elephant": "elephants, frames 8, 9 and 34",
    "forest": "woods, frames 59, 82 and 92",
    "house": "buildings, frames 81, 85 and 86",
    "kangaroo": "a wallaby, frame 54",
    "leopard": "cheetahs and leopards, frames 15 to 17, 22 and 39",
    "lion": "lions, frames 5 to 7",
    "lizard": "a salamander and a lizard, frames 26 and 48",
    "maple_tree": "lobed leaves, frames 87 and 110",
    "mountain": "mountains, frames 30 and 37",
    "oak_tree": "single broad trees, frames 60, 95 and 98",
    "orchid": "blossoms, frame 40",
    "otter": "an otter, frame 25",
    "pine_tree": "straight trunks of a wood, frame 82",
    "plain": "grassland, frames 36 and 43",
    "poppy": "open blossoms, frame 65",
    "road": "a way under trees, frame 79",
    "sunflower": "round flower heads, frames 71 and 116",
    "tiger": "tigers, frames 10 to 12 and 27",
    "turtle": "a tortoise, frame 3",
    "willow_tree": "hanging branches, frame 108",
    "wolf": "wolves and coyotes, frames 14, 29 and 50",
}
"""Why each class is in CIFAR-27: what the scenes show, and where."""

CIFAR27_CLASSES: tuple[str, ...] = tuple(CIFAR27)
"""The 27 classes, alphabetically."""

CIFAR20_CLASSES: tuple[str, ...] = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "bicycle", "bottle", "bridge", "camel", "clock",
    "cloud", "crab", "crocodile", "fox", "hamster", "lawn_mower", "maple_tree", "orchid",
)  # fmt: skip
"""One class of each superclass of CIFAR-100, the first by name."""


def read_cifar(
    path: Path, classes: Sequence[str] | None = None, without: Sequence[str] = ()
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    """Read one split of CIFAR-100 from an ``.npz`` file, whole or some of its classes.

    Parameters
    ----------
    path : Path
        With the arrays ``X`` (n, 32, 32, 3) uint8, ``y`` (n,) and ``classes`` (100 names).
    classes : sequence of str, optional
        The classes to keep, in the order that numbers them anew.
    without : sequence of str, optional
        Instead: the classes to leave out of all.

    Returns
    -------
    images : (n, 32, 32, 3) uint8 array
    labels : (n,) int64 array
    classes : tuple of str

    Raises
    ------
    DataError
        The file is partial, or not of this form, or lacks one of the classes.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            images, labels, names = stored["X"], stored["y"], [str(name) for name in stored["classes"]]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is not a complete CIFAR-100 file: {error}. It must hold the arrays X, y and classes."
        ) from error
    shaped = images.dtype == np.uint8 and images.shape == (len(labels), 32, 32, 3) and len(labels) > 0
    if not shaped or len(names) != 100 or labels.min() < 0 or labels.max() > 99:
        raise DataError(
            f"{path} must hold X (n, 32, 32, 3) uint8, y (n,) from 0 to 99 and 100 class names. "
            f"Got X {images.shape} {images.dtype}, y {labels.shape} and {len(names)} names."
        )
    if classes is None and not without:
        return images, labels.astype(np.int64), tuple(names)
    lacking = [name for name in (*(classes or ()), *without) if name not in names]
    if lacking:
        raise DataError(f"{path} lacks the CIFAR-100 classes {', '.join(lacking)}.")
    kept = tuple(classes) if classes is not None else tuple(name for name in names if name not in without)
    renumbered = np.full(len(names), -1, np.int64)
    renumbered[[names.index(name) for name in kept]] = np.arange(len(kept))
    chosen = renumbered[labels]
    return images[chosen >= 0], chosen[chosen >= 0], kept
