"""Scores of a network's layers against groups of cells, with hierarchical bootstrap intervals."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alignment._validation import check_choice, check_integer, fail

from ._arrays import Array, as_vectors, check_same_axes
from ._cells import CELL_METRICS, METRICS, CellScorer, LayerScores
from ._lattice import overlap_to_iou
from ._remarks import remarks
from .inference import donor_codes, interval_limits, resample

__all__ = [
    "CELL_METRICS",
    "METRICS",
    "GroupScores",
    "check_groups",
    "group_rng",
    "score_groups",
    "score_layers",
]

_TABLE = (
    "layer",
    "group",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n_cells",
    "n_donors",
    "n_units",
    "resampled",
    "reason",
    "note",
)


@dataclass(frozen=True)
class GroupScores:
    """Scores by group, and the cells' own scores that they were made from.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a (layer,) group and metric: ``value``, ``ci_low``, ``ci_high``, ``n_cells``, ``n_donors``,
        ``n_units``, ``resampled`` ("donors, cells", "cells" or "none"), ``reason``, why a value or an interval is
        NaN (empty where none is), and ``note``: cells left out, units sampled, only cells resampled.
    cells : pandas.DataFrame
        One row a (layer and) cell: ``cell`` (its row among the neurons), the cell's metrics, ``nearest_unit``
        and ``best_unit``. Cells whose representation is not finite have NaN.
    parameters : dict
        Bootstraps, seed, number of cells left out, units sampled: for the provenance.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    parameters: dict[str, Any]


def score_groups(
    neurons: Any,
    units: Any,
    groups: Mapping[str, Any],
    metrics: Sequence[str] = METRICS[:4],
    donors: Any = None,
    *,
    bootstraps: int = 1000,
    seed: int = 0,
    max_pairs: int = 2**26,
) -> GroupScores:
    """Compare one layer's units with groups of cells by RMSE and KDE-IoU.

    Every cell is scored once; groups, which may overlap, aggregate the cells' scores.

    Parameters
    ----------
    neurons : (cell, d) or (cell, y, x) array
        One representation a cell, scaled as the units' are. A cell with NaN or infinity is left out, and the
        note of each of its groups says so.
    units : (unit, d) or (unit, y, x) array
        One representation a unit.
    groups : mapping of str to index array or boolean mask
        The cells of each group. A group without a cell gets NaN and the reason.
    metrics : sequence of str
        ``rmse_mean`` (over all pairs), ``rmse_nearest`` (each cell's closest unit), ``kde_iou_population``
        (the group's pooled values against the layer's), ``kde_iou_unit`` (mean over neuron–unit pairs),
        ``kde_iou_unit_best`` (each cell's best unit).
    donors : (cell,) array, optional
        Each cell's donor; without, only cells are resampled.
    bootstraps, seed : int
        Resamples (at least 100) and their seed. A group of the same name and cells is resampled alike
        whatever it is compared with, so that tables can be paired.
    max_pairs : int
        Neuron–unit pairs for ``kde_iou_unit``; with more, a seeded sample of the units is compared, and the
        note and the parameters say so.

    Returns
    -------
    GroupScores
        ``table``, ``cells`` and ``parameters``.

    Raises
    ------
    InputError
        Vectors of different length, grids or labelled scenes, units that are not finite, unknown metrics,
        indices that are no cells.

    Notes
    -----
    Intervals of ``kde_iou_population`` hold each group's bandwidth at that of the whole group.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> found = score_groups(rng.random((6, 64)), rng.random((9, 64)), {"VISp": [0, 1, 2], "VISl": [3, 4, 5]})
    >>> found.table.loc[found.table["metric"] == "rmse_mean", ["group", "n_cells", "n_units"]]
      group  n_cells  n_units
    0  VISp        3        9
    4  VISl        3        9
    """
    scored = score_layers(
        neurons,
        {"": units},
        groups,
        metrics,
        donors,
        bootstraps=bootstraps,
        seed=seed,
        max_pairs=max_pairs,
    )
    return GroupScores(scored.table.drop(columns="layer"), scored.cells.drop(columns="layer"), scored.parameters)


def score_layers(
    neurons: Any,
    layers: Mapping[str, Any] | Iterable[tuple[str, Any]],
    groups: Mapping[str, Any],
    metrics: Sequence[str] = METRICS[:4],
    donors: Any = None,
    *,
    bootstraps: int = 1000,
    seed: int = 0,
    max_pairs: int = 2**26,
    progress: Callable[[str], None] | None = None,
) -> GroupScores:
    """Compare every layer of a network with groups of cells, sharing what layers share.

    Parameters
    ----------
    layers : mapping of str to (unit, d) array, or iterable of (name, array)
        The layers' units. An iterable is read one layer at a time, so that one layer's units are held at
        once.
    progress : callable, optional
        Called with a layer's name when it has been scored.
    neurons, groups, metrics, donors, bootstraps, seed, max_pairs
        As in :func:`score_groups`.

    Returns
    -------
    GroupScores
        With a first column ``layer`` in both tables.

    Raises
    ------
    InputError
        As in :func:`score_groups`; a refused layer is named.
    """
    owner = "score_groups"
    vectors = as_vectors(neurons, "neurons", owner)
    chosen = _check_metrics(metrics, owner)
    members = check_groups(groups, len(vectors), owner)
    check_integer(bootstraps, "bootstraps", owner, low=100)
    check_integer(seed, "seed", owner, low=0)
    check_integer(max_pairs, "max_pairs", owner, low=1)
    codes = donor_codes(donors, len(vectors), owner)
    scorer = CellScorer(vectors, chosen, seed=seed, max_pairs=max_pairs)
    scored = []
    for name, units in layers.items() if isinstance(layers, Mapping) else layers:
        check_same_axes(neurons, units, ("neurons", "units"), f"{owner} (layer {name!r})" if name else owner)
        scored.append(scorer.score(name, units))
        if progress is not None:
            progress(name)
    rows = []
    for group, index in members.items():
        rows += _group_rows(group, index, scorer, scored, codes, bootstraps, seed)
    table = pd.DataFrame(rows, columns=list(_TABLE))
    order = {layer.name: position for position, layer in enumerate(scored)}
    table = table.sort_values("layer", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    parameters = {
        "metrics": list(chosen),
        "bootstraps": bootstraps,
        "seed": seed,
        "cells_left_out": int((~scorer.finite).sum()),
        "units_sampled": {layer.name: layer.n_compared for layer in scored if layer.n_compared < layer.n_units},
    }
    cells = pd.concat([layer.frame() for layer in scored], ignore_index=True) if scored else pd.DataFrame()
    return GroupScores(table, cells, parameters)


def check_groups(groups: Mapping[str, Any], n_cells: int, owner: str) -> dict[str, Array]:
    """Return each group's cells as sorted unique positions; refuse positions and masks that do not fit."""
    members = {}
    for name, cells in groups.items():
        index = np.asarray(list(cells) if isinstance(cells, range) else cells)
        index = index.astype(np.int64) if index.size == 0 else index
        if index.dtype == bool:
            good = index.shape == (n_cells,)
            index = np.flatnonzero(index) if good else index
        else:
            good = index.ndim == 1 and index.dtype.kind in "iu"
            good = good and (index.size == 0 or (index.min() >= 0 and index.max() < n_cells))
        if not good:
            allowed = f"positions among the {n_cells} cells, or a mask of that length, in every group"
            raise fail("groups", owner, allowed, f"{name}: {cells!r}")
        members[str(name)] = np.unique(index).astype(np.int64)
    return members


def group_rng(group: str, seed: int) -> np.random.Generator:
    """Return a group's own random numbers, the same whatever else is scored beside it."""
    return np.random.default_rng([seed, zlib.crc32(group.encode())])


def _check_metrics(metrics: Sequence[str], owner: str) -> tuple[str, ...]:
    if isinstance(metrics, str) or not metrics:
        raise fail("metrics", owner, f"a list of names among {', '.join(METRICS)}", metrics)
    return tuple(dict.fromkeys(check_choice(metric, "metrics", owner, METRICS) for metric in metrics))


def _group_rows(
    group: str,
    index: Array,
    scorer: CellScorer,
    scored: list[LayerScores],
    codes: Array,
    bootstraps: int,
    seed: int,
) -> list[tuple[Any, ...]]:
    """Aggregate one group's cells over all layers: one set of resamples for all scores."""
    used = index[scorer.finite[index]]
    n_donors = len(np.unique(codes[used]))
    reason, note = remarks(len(index), len(used), n_donors, "their representation is not finite")
    if len(used) == 0:
        missing = (np.nan, np.nan, np.nan, 0, 0)
        return [
            (layer.name, group, metric, *missing, layer.n_units, "none", reason, note)
            for layer in scored
            for metric in scorer.metrics
        ]
    parts = _aggregated(used, scorer, scored, codes[used], bootstraps, group_rng(group, seed))
    resampled = "none" if len(used) < 2 else "donors, cells" if n_donors > 1 else "cells"
    counts = (len(used), n_donors)
    rows = []
    for position, layer in enumerate(scored):
        for metric in scorer.metrics:
            whole = metric == "kde_iou_population"
            at = position if whole else position * len(scorer.cell_metrics) + scorer.cell_metrics.index(metric)
            value = tuple(float(part[at]) for part in parts[int(whole)])
            said = "; ".join(filter(None, (note, layer.note if metric.startswith("kde_iou_unit") else "")))
            rows.append((layer.name, group, metric, *value, *counts, layer.n_units, resampled, reason, said))
    return rows


def _aggregated(
    used: Array,
    scorer: CellScorer,
    scored: list[LayerScores],
    donors: Array,
    bootstraps: int,
    rng: np.random.Generator,
) -> list[tuple[Array, Array, Array]]:
    """Return values and limits: the cells' metrics layer by layer, then the population's layer by layer."""
    columns = np.concatenate([layer.values[used] for layer in scored], axis=1)
    population = scorer.population(used) if "kde_iou_population" in scorer.metrics else None
    values = [columns.mean(axis=0), np.empty(0)]
    drawn: list[list[Array]] = [[], []]
    if population is not None:
        values[1] = overlap_to_iou(population.observed(scored))
    own = np.unique(donors, return_inverse=True)[1].reshape(-1).astype(np.int64)
    for shares in resample(own, bootstraps, rng) if len(used) > 1 else ():
        drawn[0].append(shares @ columns.astype(np.float32))
        if population is not None:
            drawn[1].append(overlap_to_iou(population.resampled(shares, scored)))
    # Every metric is at least 0, and KDE-IoU at most 1; a symmetric interval does not know that.
    most = np.array([1.0 if name.startswith("kde") else np.inf for name in scorer.cell_metrics])
    independent = int(own.max()) + 1 if own.max() > 0 else len(used)
    parts = []
    for value, draws, highest in zip(values, drawn, (np.tile(most, len(scored)), np.ones(1)), strict=True):
        low = high = np.full(len(value), np.nan)
        if draws:
            low, high = interval_limits(np.concatenate(draws), value, independent)
        parts.append((value, np.maximum(low, 0.0), np.minimum(high, highest)))
    return parts
