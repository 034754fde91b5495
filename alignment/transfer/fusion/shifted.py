"""Domains with other classes than the head was trained on: matched by name, by wnid, or by ImageNet's numbers."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignment.models import _libraries
from neural_alignment import DataError

__all__ = ["MatchedClasses", "imagenet_wnids", "match_classes"]

_WNID = re.compile(r"^n\d{8}$")


@dataclass(frozen=True)
class MatchedClasses:
    """Which images of a domain a head can be asked about.

    Attributes
    ----------
    positions : (n,) int64 array
        Images of classes that the head knows.
    labels : (n,) int64 array
        Their classes, numbered as the head's outputs are.
    left_out : int
        Images of other classes.
    shared : int
        Classes that both have.
    """

    positions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    left_out: int
    shared: int


def match_classes(
    domain: str, classes: Sequence[str], labels: npt.NDArray[np.int64], known: Sequence[str]
) -> MatchedClasses:
    """Match a domain's classes with a head's.

    A folder in the layout of ImageNet-A, -R, -Sketch or Stylized-ImageNet names its classes by wnid (``n02123045``);
    ImageNet-V2 numbers them 0 to 999 in the order of the wnids. Either may have some of the 1,000 classes, and a
    head may be trained on some: images of classes that the head does not know are left out and counted, and its
    outputs for classes that the domain does not have compete all the same.

    Parameters
    ----------
    domain : str
        For messages.
    classes : sequence of str
        The domain's.
    labels : (image,) int64 array
        Numbered by ``classes``.
    known : sequence of str
        The head's.

    Returns
    -------
    MatchedClasses

    Raises
    ------
    DataError
        Not one class in common.

    Examples
    --------
    >>> found = match_classes("pets", ["cat", "emu"], np.array([0, 1, 1]), ["ant", "cat"])
    >>> found.labels.tolist(), found.left_out
    ([1], 2)
    """
    names = _as_wnids(classes, known)
    numbers = {name: number for number, name in enumerate(known)}
    table = np.array([numbers.get(name, -1) for name in names], np.int64)
    matched = table[labels]
    positions = np.flatnonzero(matched >= 0)
    if positions.size == 0:
        theirs, ours = ", ".join(list(classes)[:3]), ", ".join(list(known)[:3])
        raise DataError(
            f"The domain '{domain}' has no image of a class that the head was trained on: its classes are called "
            f"{theirs}, ..., the head's {ours}, .... Source and target must name the same classes."
        )
    shared = int((table >= 0).sum())
    return MatchedClasses(positions, matched[positions], int(len(labels) - positions.size), shared)


@functools.cache
def imagenet_wnids() -> tuple[str, ...]:
    """Return the 1,000 wnids of ImageNet's classification task in their order, from timm's tables."""
    info = _libraries.timm("data").ImageNetInfo("imagenet-1k")
    return tuple(str(info.index_to_label_name(index)) for index in range(info.num_classes()))


def _as_wnids(classes: Sequence[str], known: Sequence[str]) -> list[str]:
    numbered = all(name.isdecimal() and int(name) < 1000 for name in classes)
    if numbered and all(_WNID.match(name) for name in known):
        return [imagenet_wnids()[int(name)] for name in classes]
    return list(classes)
