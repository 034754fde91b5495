"""Noise ceilings of groups of cells, in the unit of each score: half of the trials against all of them."""

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

_MEASURES = ("rmse", "kde_iou", "correlation", "rmse_halves", "kde_iou_halves")
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
        ``halves`` (half against half, not corrected), ``n_cells``, ``n_donors``, ``reason`` (why something is
        NaN) and ``note``.
    cells : pandas.DataFrame
        One row a cell: ``cell``, ``rmse``, ``kde_iou``, ``correlation`` (Spearman–Brown corrected),
        ``rmse_halves``, ``kde_iou_halves``, ``reason``.
    parameters : dict
        Splits, bootstraps, seed: for the provenance.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    parameters: dict[str, Any]


def group_ceilings(
    halves: Iterable[tuple[Any, Any]],
    whole: Any,
    groups: Mapping[str, Any],
    metrics: Sequence[str] = METRICS[:4],
    donors: Any = None,
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> GroupCeilings:
    """Score the representations of half of the trials against those of all trials, cell by cell.

    The noise of half of the trials in the mean of all of them is as large as the noise of all trials around the
    truth: with variance s² a trial, the mean of half differs from that of all n by s²/n, and so does that of all
    from the truth. Half against all is therefore for an error or an overlap what the Spearman–Brown formula is
    for a correlation: the score that a noiseless model of the true responses would reach. In simulations (20
    trials) RMSE and KDE-IoU to the truth were met within 0.005 and 0.015 for cells of reliability 0.9, and within
    0.02 and 0.04 at 0.7; for less reliable cells, whose scaling follows the noise, the ceiling is out of reach.

    For ``rmse_mean`` and ``rmse_nearest`` the ceiling of a cell is that RMSE, for ``kde_iou_unit`` that KDE-IoU,
    and a group's is the mean over its cells; for ``kde_iou_population`` it is the KDE-IoU of the group's pooled
    values. The Pearson correlation between halves is given beside them, Spearman–Brown corrected.

    Scores over all pairs (``rmse_mean``, ``kde_iou_unit``) stay below such a ceiling for any network whose units
    differ from each other, however good it is.

    Parameters
    ----------
    halves : iterable of ((cell, d) array, (cell, d) array)
        Both halves' representations, one pair a split; none where the trials cannot be halved.
    whole : (cell, d) array
        The representations of all trials, scaled alike.
    groups : mapping of str to index array or boolean mask
        The cells of each group.
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
    >>> found = group_ceilings(halves, np.mean(halves[0], axis=0), {"VISp": [0, 1], "VISl": []}).table
    >>> found.loc[found["metric"] == "rmse_mean", ["group", "ceiling", "halves", "n_cells"]].round(2)
      group  ceiling  halves  n_cells
    0  VISp     0.07    0.13        2
    5  VISl      NaN     NaN        0
    """
    owner = "group_ceilings"
    everything = as_vectors(whole, "whole", owner)
    members = check_groups(groups, len(everything), owner)
    chosen = [*dict.fromkeys(check_choice(metric, "metrics", owner, METRICS) for metric in metrics), "correlation"]
    check_integer(bootstraps, "bootstraps", owner, low=100)
    codes = donor_codes(donors, len(everything), owner)
    splits: list[Array] = []
    population: list[Array] = []
    for pair in halves:
        first, second = (as_vectors(half, "halves", owner) for half in pair)
        if not first.shape == second.shape == everything.shape:
            raise fail("halves", owner, f"pairs of arrays {everything.shape}", f"{first.shape} and {second.shape}")
        good = _varies(first) & _varies(second) & _varies(everything)
        splits.append(_of_cells(first, second, everything, good))
        if "kde_iou_population" in chosen:
            used = {name: at[good[at]] for name, at in members.items()}
            population.append(_of_groups([first, second, everything], used))
    cells = _cell_table(splits, len(everything))
    overall = _known_mean(population) if population else np.full((len(members), 2), np.nan)
    rows: list[tuple[Any, ...]] = []
    for position, (group, index) in enumerate(members.items()):
        rows += _rows(group, index, cells, chosen, overall[position], codes, bootstraps, seed)
    names = ["group", "metric", "ceiling", "ci_low", "ci_high", "halves", "n_cells", "n_donors", "reason", "note"]
    parameters = {"splits": len(splits), "bootstraps": bootstraps, "seed": seed}
    return GroupCeilings(pd.DataFrame(rows, columns=names), cells, parameters)


def _varies(vectors: Array) -> Array:
    finite = np.isfinite(vectors).all(axis=1)
    spans = np.zeros(len(vectors))
    spans[finite] = np.ptp(vectors[finite], axis=1)
    good: Array = finite & (spans > 0)
    return good


def _of_cells(first: Array, second: Array, whole: Array, good: Array) -> Array:
    """Return (cell, measure) of one split; NaN for cells that have a half without variation."""
    out = np.full((len(first), len(_MEASURES)), np.nan)
    if good.any():
        a, b, c = first[good], second[good], whole[good]
        out[good, 0] = (_rmse(a, c) + _rmse(b, c)) / 2
        out[good, 1] = (kde_iou(a, c) + kde_iou(b, c)) / 2
        out[good, 3], out[good, 4] = _rmse(a, b), kde_iou(a, b)
        a, b = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in (a, b))
        out[good, 2] = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return out


def _rmse(a: Array, b: Array) -> Array:
    found: Array = np.sqrt(np.mean((a - b) ** 2, axis=1, dtype=np.float64))
    return found


def _of_groups(parts: Sequence[Array], members: Mapping[str, Array]) -> Array:
    """Return the KDE-IoU of each group's pooled values, half against all and half against half: (group, 2).

    NaN where a group has no cell; ``parts`` are both halves and the whole.
    """
    out = np.full((len(members), 2), np.nan)
    used = np.unique(np.concatenate([*members.values(), np.empty(0, dtype=np.int64)]))
    if not len(used):
        return out
    length = parts[0].shape[1]
    rows = [part[used] for part in parts]
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
    masses = [lattice.smooth(shares @ lattice.counts(part), width) for part, width in zip(rows, widths, strict=True)]
    known = np.array([name in at for name in members])
    out[known, 0] = (_overlap(masses[0], masses[2]) + _overlap(masses[1], masses[2])) / 2
    out[known, 1] = _overlap(masses[0], masses[1])
    return out


def _overlap(a: Array, b: Array) -> Array:
    return overlap_to_iou(np.minimum(a, b).sum(axis=1, dtype=np.float64))


def _cell_table(splits: list[Array], n_cells: int) -> pd.DataFrame:
    if not splits:
        empty = pd.DataFrame(np.nan, index=range(n_cells), columns=list(_MEASURES))
        return empty.rename_axis("cell").reset_index().assign(reason=_NO_HALVES)
    corrected = [split.copy() for split in splits]
    for split in corrected:
        split[:, 2] = spearman_brown(split[:, 2])
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
    overall: Array,
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
    limits = np.array([[0.0, np.inf], [0.0, 1.0], [-1.0, 1.0], [0.0, np.inf], [0.0, 1.0]])
    low, high = np.maximum(low, limits[:, 0]), np.minimum(high, limits[:, 1])
    rows: list[tuple[Any, ...]] = []
    for metric in metrics:
        if metric == "kde_iou_population":
            ends: tuple[float, ...] = (float(overall[0]), np.nan, np.nan, float(overall[1]))
        else:
            at = _MEASURES.index(_MEASURE_OF[metric])
            apart = (
                float("nan") if metric == "correlation" else float(means[_MEASURES.index(f"{_MEASURES[at]}_halves")])
            )
            ends = (float(means[at]), float(low[at]), float(high[at]), apart)
        rows.append((group, metric, *ends, len(used), n_donors, reason, note))
    return rows
