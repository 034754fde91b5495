"""The shuffled-scene null of group scores: what every score is when it is broken which scene a response is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
import pandas as pd

from alignment._validation import check_choice, check_integer, fail

from . import _kernels
from ._arrays import Array, as_vectors
from ._cells import METRICS, CellScorer, LayerScores, Population
from ._lattice import overlap_to_iou
from .groups import check_groups
from .inference import benjamini_hochberg
from .null import null_test

__all__ = ["null_scores", "scene_null_table"]

# Cells of several shuffles are scored together, as many as these rows hold.
_ROWS = 2**13
_COLUMNS = ("null_mean", "null_low", "null_high", "p")


def null_scores(
    shuffled: Iterable[Any],
    layers: Mapping[str, Any],
    groups: Mapping[str, Any],
    metrics: Sequence[str] = METRICS[:4],
    *,
    seed: int = 0,
    max_pairs: int = 2**26,
    progress: Callable[[int], None] | None = None,
) -> Array:
    """Score representations of shuffled scenes as :func:`score_layers` scores the true ones.

    Parameters
    ----------
    shuffled : iterable of (cell, d) arrays
        The cells' representations, one array a shuffle; see :func:`shuffled_scenes`.
    layers : mapping of str to (unit, d) array
        The layers' units; read once for every few shuffles, so that a mapping may make them when asked.
    groups : mapping of str to index array or boolean mask
        The cells of each group.
    metrics, seed, max_pairs
        As of :func:`score_layers`; the same units are sampled.
    progress : callable, optional
        Called with the number of shuffles done.

    Returns
    -------
    (shuffle, layer, group, metric) float64 array
        NaN for groups without a cell.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> null_scores([rng.random((6, 64))], {"conv1": rng.random((5, 64))}, {"VISp": [0, 1]}, ["rmse_mean"]).shape
    (1, 1, 1, 1)
    """
    owner = "null_scores"
    chosen = tuple(dict.fromkeys(check_choice(metric, "metrics", owner, METRICS) for metric in metrics))
    check_integer(max_pairs, "max_pairs", owner, low=1)
    found: list[Array] = []
    for stack, n_cells in _stacks(shuffled, owner):
        count = len(stack) // n_cells
        members = check_groups(groups, n_cells, owner)
        scorer = CellScorer(stack, chosen, seed=seed, max_pairs=max_pairs * count)
        scored = [scorer.score(name, layers[name]) for name in layers]
        found += [_by_group(scorer, scored, members, chosen, part * n_cells, n_cells) for part in range(count)]
        if progress is not None:
            progress(len(found))
    if not found:
        raise fail("shuffled", owner, "at least one shuffle", "none")
    return np.stack(found)


def scene_null_table(observed: pd.DataFrame, null: Array, layers: Sequence[str], groups: Sequence[str]) -> pd.DataFrame:
    """Put scores beside their null: mean, spread, one-sided p and q over the groups of a layer and metric.

    Parameters
    ----------
    observed : pandas.DataFrame
        ``layer``, ``group``, ``metric``, ``value``, as :attr:`GroupScores.table` has them.
    null : (shuffle, layer, group, metric) array
        Of :func:`null_scores`, metrics in the order of their first appearance in ``observed``.
    layers, groups : sequence of str
        Names along the axes.

    Returns
    -------
    pandas.DataFrame
        ``layer``, ``group``, ``metric``, ``null_mean``, ``null_low``, ``null_high`` (2.5th and 97.5th
        percentile), ``p`` ((b + 1) / (n + 1); RMSE is expected to be lower than its null, KDE-IoU higher),
        ``q`` (Benjamini–Hochberg) and ``n_shuffles``. NaN where a group has no score.

    Examples
    --------
    >>> table = pd.DataFrame({"layer": "conv1", "group": ["VISp"], "metric": "rmse_mean", "value": 0.1})
    >>> null = np.linspace(0.2, 0.3, 99).reshape(99, 1, 1, 1)
    >>> scene_null_table(table, null, ["conv1"], ["VISp"])[["null_mean", "p", "q"]].round(3)
       null_mean     p     q
    0       0.25  0.01  0.01
    """
    metrics = list(dict.fromkeys(observed["metric"]))
    shape = (len(layers), len(groups), len(metrics))
    if null.ndim != 4 or null.shape[1:] != shape:
        raise fail("null", "scene_null_table", f"an array (shuffle, {', '.join(map(str, shape))})", null.shape)
    index = pd.MultiIndex.from_product([list(layers), list(groups), list(metrics)], names=["layer", "group", "metric"])
    values = observed.set_index(["layer", "group", "metric"])["value"].reindex(index).to_numpy().reshape(shape)
    columns = np.full((len(_COLUMNS), *shape), np.nan)
    for at, metric in enumerate(metrics):
        side: Literal["less", "greater"] = "less" if metric.startswith("rmse") else "greater"
        tested = null_test(values[..., at], null[..., at], side)
        columns[:, ..., at] = tested.mean, tested.low, tested.high, tested.p
    table = index.to_frame(index=False).assign(**dict(zip(_COLUMNS, columns.reshape(len(_COLUMNS), -1), strict=True)))
    families = table.groupby(["layer", "metric"], sort=False)["p"]
    return table.assign(q=families.transform(lambda p: benjamini_hochberg(p.to_numpy())), n_shuffles=len(null))


def _stacks(shuffled: Iterable[Any], owner: str) -> Iterator[tuple[Array, int]]:
    """Yield the cells of a few shuffles below each other, and how many cells a shuffle has."""
    rest = iter(shuffled)
    for first in rest:
        vectors = as_vectors(first, "shuffled", owner)
        more = islice(rest, max(0, _ROWS // len(vectors) - 1))
        parts = [vectors, *(as_vectors(part, "shuffled", owner) for part in more)]
        if {part.shape for part in parts} != {vectors.shape}:
            raise fail("shuffled", owner, f"arrays of one shape, {vectors.shape}", [part.shape for part in parts])
        yield np.concatenate(parts) if len(parts) > 1 else vectors, len(vectors)


def _by_group(
    scorer: CellScorer,
    scored: list[LayerScores],
    members: Mapping[str, Array],
    metrics: tuple[str, ...],
    start: int,
    n_cells: int,
) -> Array:
    """Return (layer, group, metric) of the shuffle whose cells begin at ``start``."""
    out = np.full((len(scored), len(members), len(metrics)), np.nan)
    finite = scorer.finite[start : start + n_cells]
    used = [index[finite[index]] for index in members.values()]
    shares = np.zeros((len(members), n_cells))
    for row, index in enumerate(used):
        shares[row, index] = 1.0 / max(len(index), 1)
    some = np.array([len(index) > 0 for index in used])
    for at, layer in enumerate(scored):
        cells = np.where(finite[:, None], layer.values[start : start + n_cells], 0.0)
        means = np.where(some[:, None], shares @ cells, np.nan)
        for column, metric in enumerate(scorer.cell_metrics):
            out[at, :, metrics.index(metric)] = means[:, column]
    if "kde_iou_population" in metrics:
        out[:, :, metrics.index("kde_iou_population")] = _populations(scorer, scored, used, start)
    return out


def _populations(scorer: CellScorer, scored: list[LayerScores], used: list[Array], start: int) -> Array:
    """Return the KDE-IoU of each group's pooled values with each layer's, (layer, group), all groups at once."""
    out = np.full((len(scored), len(used)), np.nan)
    groups: list[tuple[int, Population]] = []
    for at, index in enumerate(used):
        if not len(index):
            continue
        population = scorer.population(start + index)
        if population.width[0] == 0:  # all of the group's values are equal: no density to mix
            out[:, at] = overlap_to_iou(population.observed(scored))
        else:
            groups.append((at, population))
    if not groups:
        return out
    places = np.array([at for at, _ in groups])
    rows = np.unique(np.concatenate([population.rows for _, population in groups]))
    shares = np.zeros((len(groups), len(rows)), dtype=np.float32)
    for row, (_, population) in enumerate(groups):
        shares[row, np.searchsorted(rows, population.rows)] = 1.0 / len(population.rows)
    widths = np.concatenate([population.width for _, population in groups])
    for lattice in {layer.lattice for layer in scored if layer.lattice is not None}:
        masses = lattice.smooth(shares @ scorer.cell_counts(lattice)[rows], widths)
        for at, layer in enumerate(scored):
            if layer.lattice != lattice:
                continue
            overlap = np.zeros(len(groups)) if layer.density is None else _overlap(masses, layer.density)
            out[at, places] = overlap_to_iou(overlap)
    return out


def _overlap(masses: Array, density: Array) -> Array:
    overlap: Array = _kernels.overlap_pairs(masses, density[None])[:, 0]
    return overlap
