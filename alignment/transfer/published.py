"""Accuracies that the papers report, to print beside ours: of other weights and protocols, no goal."""

from __future__ import annotations

import pandas as pd

__all__ = ["published_transfers"]

_ROWS = (
    ("vgg19", "mnist", "mnist_m", 0.397, 0.626, "arXiv 2505.06886"),
    ("vgg19", "mnist", "svhn", 0.137, 0.245, "arXiv 2505.06886"),
    ("vgg19", "mnist", "mnist_m", 0.40, 0.596, "arXiv 2505.06881, table 1 (baseline read as about 40 %)"),
    ("vgg19", "mnist", "mnist", 0.709, 0.742, "arXiv 2505.06881, table 1"),
    ("spos_shufflenet", "mnist_m", "svhn", 0.183, 0.504, "arXiv 2505.06881"),
)


def published_transfers() -> pd.DataFrame:
    """Return the published transfer accuracies.

    Returns
    -------
    pandas.DataFrame
        Columns ``model``, ``source``, ``target``, ``baseline``, ``neurn`` (accuracies in [0, 1]),
        ``reference`` and ``protocol``, which says that weights and protocol are others than ours.

    Examples
    --------
    >>> float(published_transfers().loc[0, "neurn"])
    0.626
    """
    columns = ["model", "source", "target", "baseline", "neurn", "reference"]
    return pd.DataFrame(_ROWS, columns=columns).assign(protocol="the paper's own weights and protocol")
