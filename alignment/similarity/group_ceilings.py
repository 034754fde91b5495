"""Noise ceilings of groups of cells, in the unit of each score: half of the trials against the other half."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from alignment._validation import check_choice, check_integer, fail

from . import _kernels
from ._arrays import Array, as_vectors
from ._cells import METRICS
from ._lattice import Lattice, overlap_to_iou, pooled_moments
from ._remarks import remarks
from .ceiling import spearman_brown
from .groups import check_groups, group_rng
from .inference import donor_codes, interval_limits, resample
from .kde_iou import kde_iou, scott_bandwidth

__all__ = ["CEILING_KINDS", "GroupCeilings", "group_ceilings"]

CEILING_KINDS: Final[Mapping[str, Literal["correlation", "distance", "overlap"]]] = {
    "rmse_mean": "distance",
    "rmse_nearest": "distance",
    "kde_iou_population": "overlap",
    "kde_iou_unit": "overlap",
    "kde_iou_unit_best": "overlap",
    "correlation": "correlation",
}
"""How :func:`~alignment.similarity.normalise` takes each metric's ceiling."""

_MEASURES = ("rmse", "kde_iou", "correlation")
_MEASURE_OF = {
    "rmse_mean": "rmse",
    "rmse_nearest": "rmse",
    "kde_iou_unit": "kde_iou",
    "kde_iou_unit_best": "kde_iou",
    "correlation": "correlation",
}
_NO_HALVES = "the trials cannot be halved: fewer than two of each scene, or fewer than three scenes"
_CONSTANT = "half of the trials leaves a representation without variation"
_NODES = 1024


@dataclass(frozen=True)
class GroupCeilings:
    """Ceilings by group, and the cells' own that they were made from.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a group and metric, and one for ``correlation``: ``ceiling``, ``ci_low``, ``ci_high``,
        ``n_cells``, ``n_donors``, ``reason`` (why something is NaN) and ``note``.
    cells : pandas.DataFrame
        One row a cell: ``cell``, ``rmse``, ``kde_iou``, ``correlation`` (Spearman–Brown corrected), ``reason``.
    parameters : dict
        Splits, bootstraps, seed: for the provenance.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    parameters: dict[str, Any]


def group_ceilings(
    halves: Iterable[tuple[Any, Any]],
    groups: Mapping[str, Any],
    n_cells: int,
    metrics: Sequence[str] = METRICS[:4],
    donors: Any = None,
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> GroupCeilings:
    """Score the representations of half of the trials against those of the other half, cell by cell.

    For ``rmse_mean`` and ``rmse_nearest`` the ceiling of a cell is the RMSE between its two halves, for
    ``kde_iou_unit`` their KDE-IoU, and a group's is the mean over its cells; for ``kde_iou_population`` it is
    the KDE-IoU of the group's pooled values in both halves. Each is a mean over splits and in the unit of the
    score. They are not corrected to the whole number of trials, a correction that only correlations have; the
    Pearson correlation between halves is given beside them, Spearman–Brown corrected.

    Scores over all pairs (``rmse_mean``, ``kde_iou_unit``) stay below such a ceiling for any network whose units
    differ from each other, however good it is.

    Parameters
    ----------
    halves : iterable of ((cell, d) array, (cell, d) array)
        Both halves' representations, one pair a split; none where the trials cannot be halved.
    groups : mapping of str to index array or boolean mask
        The cells of each group.
    n_cells : int
        How many cells there are.
    metrics : sequence of str
        As of :func:`score_groups`.
    donors : (cell,) array, optional
        Each cell's donor.
    bootstraps, seed : int
        Of the intervals of the cells' means. ``kde_iou_population`` has none.

    Returns
    -------
    GroupCeilings
        ``table``, ``cells`` and ``parameters``.

    Raises
    ------
    InputError
        Halves of another number of cells, unknown metrics, indices that are no cells.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> true = rng.random((4, 64))
    >>> halves = [(true + rng.normal(0, 0.1, true.shape), true + rng.normal(0, 0.1, true.shape))]
    >>> found = group_ceilings(halves, {"VISp": [0, 1], "VISl": []}, 4).table
    >>> found.loc[found["metric"] == "rmse_mean", ["group", "ceiling", "n_cells"]].round(2)
      group  ceiling  n_cells
    0  VISp     0.13        2
    5  VISl      NaN        0
    """
    owner = "group_ceilings"
    members = check_groups(groups, n_cells, owner)
    chosen = [*dict.fromkeys(check_choice(metric, "metrics", owner, METRICS) for metric in metrics), "correlation"]
    check_integer(bootstraps, "bootstraps", owner, low=100)
    codes = donor_codes(donors, n_cells, owner)
    pooled = "kde_iou_population" in chosen
    splits: list[Array] = []
    population: list[Array] = []
    for pair in halves:
        first, second = (as_vectors(half, "halves", owner) for half in pair)
        if first.shape != second.shape or len(first) != n_cells:
            raise fail("halves", owner, f"pairs of arrays ({n_cells}, d)", f"{first.shape} and {second.shape}")
        good = _varies(first) & _varies(second)
        splits.append(_of_cells(first, second, good))
        if pooled:
            population.append(_of_groups(first, second, {name: at[good[at]] for name, at in members.items()}))
    cells = _cell_table(splits, n_cells)
    overall = _known_mean(population) if population else np.full(len(members), np.nan)
    rows: list[tuple[Any, ...]] = []
    for position, (group, index) in enumerate(members.items()):
        rows += _rows(group, index, cells, chosen, float(overall[position]), codes, bootstraps, seed)
    names = ["group", "metric", "ceiling", "ci_low", "ci_high", "n_cells", "n_donors", "reason", "note"]
    parameters = {"splits": len(splits), "bootstraps": bootstraps, "seed": seed}
    return GroupCeilings(pd.DataFrame(rows, columns=names), cells, parameters)


def _varies(vectors: Array) -> Array:
    finite = np.isfinite(vectors).all(axis=1)
    spans = np.zeros(len(vectors))
    spans[finite] = np.ptp(vectors[finite], axis=1)
    good: Array = finite & (spans > 0)
    return good


def _of_cells(first: Array, second: Array, good: Array) -> Array:
    """Return (cell, measure) of one split; NaN for cells that have a half without variation."""
    out = np.full((len(first), len(_MEASURES)), np.nan)
    if good.any():
        a, b = first[good], second[good]
        out[good, 0] = np.sqrt(np.mean((a - b) ** 2, axis=1, dtype=np.float64))
        out[good, 1] = kde_iou(a, b)
        a, b = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in (a, b))
        out[good, 2] = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return out


def _of_groups(first: Array, second: Array, members: Mapping[str, Array]) -> Array:
    """Return the KDE-IoU of each group's pooled values in both halves; NaN where it has no cell."""
    out = np.full(len(members), np.nan)
    used = np.unique(np.concatenate([*members.values(), np.empty(0, dtype=np.int64)]))
    if not len(used):
        return out
    length = first.shape[1]
    rows = [half[used] for half in (first, second)]
    moments = [_kernels.row_moments(half) for half in rows]
    at = {name: np.searchsorted(used, index) for name, index in members.items() if len(index)}
    widths = [
        np.concatenate([scott_bandwidth(pooled_moments(of[i], length), len(i) * length) for i in at.values()])
        for of in moments
    ]
    low = float(min(of[:, 0].min() for of in moments))
    high = float(max(of[:, 1].max() for of in moments))
    lattice = Lattice.over(low, high, length, float(min(width.min() for width in widths)), _NODES)
    shares = np.zeros((len(at), len(used)), dtype=np.float32)
    for row, index in enumerate(at.values()):
        shares[row, index] = 1.0 / len(index)
    masses = [lattice.smooth(shares @ lattice.counts(half), width) for half, width in zip(rows, widths, strict=True)]
    found = overlap_to_iou(np.minimum(*masses).sum(axis=1, dtype=np.float64))
    out[[name in at for name in members]] = found
    return out


def _cell_table(splits: list[Array], n_cells: int) -> pd.DataFrame:
    if not splits:
        empty = pd.DataFrame(np.nan, index=range(n_cells), columns=list(_MEASURES))
        return empty.rename_axis("cell").reset_index().assign(reason=_NO_HALVES)
    corrected = [np.column_stack([split[:, :2], spearman_brown(split[:, 2])]) for split in splits]
    means = _known_mean(corrected)
    table = pd.DataFrame(means, columns=list(_MEASURES))
    table.insert(0, "cell", np.arange(n_cells))
    return table.assign(reason=np.where(np.isfinite(means[:, 0]), "", _CONSTANT))


def _known_mean(parts: list[Array]) -> Array:
    """Return the mean over splits of what each of them could tell."""
    values = np.asarray(parts)
    known = np.isfinite(values)
    count = known.sum(axis=0)
    mean: Array = np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return mean


def _rows(
    group: str,
    index: Array,
    cells: pd.DataFrame,
    metrics: Sequence[str],
    overall: float,
    codes: Array,
    bootstraps: int,
    seed: int,
) -> list[tuple[Any, ...]]:
    values = cells[list(_MEASURES)].to_numpy()[index]
    known = np.isfinite(values).all(axis=1)
    used, values = index[known], values[known]
    n_donors = len(np.unique(codes[used]))
    why = next((str(reason) for reason in cells["reason"].iloc[index] if reason), "")
    reason, note = remarks(len(index), len(used), n_donors, why)
    means = values.mean(axis=0) if len(used) else np.full(len(_MEASURES), np.nan)
    low = high = np.full(len(_MEASURES), np.nan)
    if len(used) > 1:
        own = np.unique(codes[used], return_inverse=True)[1].reshape(-1).astype(np.int64)
        drawn = np.concatenate([shares @ values for shares in resample(own, bootstraps, group_rng(group, seed))])
        low, high = interval_limits(drawn, means, n_donors if n_donors > 1 else len(used))
    limits = np.array([[0.0, np.inf], [0.0, 1.0], [-1.0, 1.0]])
    low, high = np.maximum(low, limits[:, 0]), np.minimum(high, limits[:, 1])
    rows: list[tuple[Any, ...]] = []
    for metric in metrics:
        if metric == "kde_iou_population":
            ends: tuple[float, ...] = (overall, np.nan, np.nan)
        else:
            at = _MEASURES.index(_MEASURE_OF[metric])
            ends = (float(means[at]), float(low[at]), float(high[at]))
        rows.append((group, metric, *ends, len(used), n_donors, reason, note))
    return rows
