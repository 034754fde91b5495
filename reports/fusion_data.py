"""Samples of a fusion for a report: where heads look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["AttentionMaps"]


@dataclass(frozen=True)
class AttentionMaps:
    """Where one head's query looks in a few images.

    Parameters
    ----------
    variant : str
        The head.
    images : (n, y, x, channel) uint8 array
        The images.
    maps : (n, row, column) array
        Attention to each patch token, mean over heads.
    labels : sequence of str
        The images' classes.
    """

    variant: str
    images: np.ndarray
    maps: np.ndarray
    labels: Sequence[str]
