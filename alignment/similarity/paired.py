"""Differences of two tables of cells' scores, cell by cell: a layer variant less its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alignment._validation import check_integer, fail

from ._arrays import Array
from ._cells import CELL_METRICS
from ._donor_tests import flip_test
from ._remarks import NO_DONORS, remarks
from .groups import check_groups, group_rng
from .inference import benjamini_hochberg, donor_codes, flip_units, interval_limits, resample

__all__ = ["paired_differences"]

_STATISTICS = ("baseline", "variant", "difference", "ci_low", "ci_high", "p", "p_least")


def paired_differences(
    baseline: pd.DataFrame,
    variant: pd.DataFrame,
    groups: Mapping[str, Any],
    donors: Any = None,
    *,
    by: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    bootstraps: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Variant less baseline for each group of cells: interval, paired sign-flip p, and q over the groups.

    Parameters
    ----------
    baseline, variant : pandas.DataFrame
        Cells' scores as :attr:`GroupScores.cells` holds them: a column ``cell``, the columns of ``by``,
        metrics.
    groups : mapping of str to index array or boolean mask
        The cells of each group, as positions or over all positions.
    donors : (cell,) array, optional
        The donor of each position. Intervals resample donors, then cells. Signs of whole donors are flipped,
        every flip of up to 12 donors; a group of fewer than 6 donors, of which no p can reach 0.05, has neither p
        nor q. Without donors every cell counts as independent, as the columns ``flipped`` and ``note`` say.
    by : sequence of str
        Columns whose values tell comparisons apart and pair them, such as ``("layer_index",)``.
    metrics : sequence of str, optional
        Columns to compare; those of :data:`CELL_METRICS` that both tables hold by default.
    bootstraps, permutations, seed : int
        Resamples (at least 100), flips (at least 19), and the seed of both.

    Returns
    -------
    pandas.DataFrame
        ``by`` columns, ``group``, ``metric``, ``baseline``, ``variant`` (means), ``difference``, ``ci_low``,
        ``ci_high``, ``p``, ``p_least`` (the smallest p that the group's donors can give), ``q``
        (Benjamini–Hochberg over the testable groups of a comparison and metric), ``n_cells``, ``n_donors``,
        ``resampled``, ``flipped``, ``reason`` (why something is NaN), ``note``.

    Raises
    ------
    InputError
        The tables do not hold the same cells and comparisons, or lack a column.

    Examples
    --------
    >>> import numpy as np
    >>> before = pd.DataFrame({"cell": range(8), "rmse_mean": np.linspace(0.2, 0.3, 8)})
    >>> after = before.assign(rmse_mean=before["rmse_mean"] - 0.05)
    >>> found = paired_differences(before, after, {"VISp": range(8)}, permutations=999)
    >>> found[["group", "difference", "n_cells", "flipped"]].round(3)
      group  difference  n_cells flipped
    0  VISp       -0.05        8   cells
    """
    owner = "paired_differences"
    check_integer(bootstraps, "bootstraps", owner, low=100)
    check_integer(permutations, "permutations", owner, low=19)
    names = _metrics(baseline, variant, metrics, owner)
    keys, first, second = _aligned(baseline, variant, list(by), names, owner)
    n_cells = first.shape[1]
    members = check_groups(groups, n_cells, owner)
    codes = donor_codes(donors, n_cells, owner)
    tables = [
        _group(group, index, first, second, keys, names, codes, donors, bootstraps, permutations, seed)
        for group, index in members.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    families = [*by, "metric"]
    table["q"] = table.groupby(families, sort=False)["p"].transform(lambda p: benjamini_hochberg(p.to_numpy()))
    columns = [
        *by,
        "group",
        "metric",
        *_STATISTICS,
        "q",
        "n_cells",
        "n_donors",
        "resampled",
        "flipped",
        "reason",
        "note",
    ]
    return table[columns]


def _metrics(first: pd.DataFrame, second: pd.DataFrame, metrics: Sequence[str] | None, owner: str) -> list[str]:
    both = [name for name in first.columns if name in second.columns]
    chosen: list[str] = [name for name in CELL_METRICS if name in both] if metrics is None else list(metrics)
    missing = [name for name in chosen if name not in both]
    if missing or not chosen:
        allowed = "columns of both tables"
        raise fail("metrics", owner, allowed, missing or metrics, f"Both hold {', '.join(map(str, both))}.")
    return chosen


def score_cube(
    table: pd.DataFrame, by: Sequence[str], names: Sequence[str], parameter: str, owner: str
) -> tuple[pd.DataFrame, Array]:
    """Return the comparisons of a table of cells' scores, and the scores as (comparison, cell, metric)."""
    missing = [column for column in (*by, "cell", *names) if column not in table.columns]
    if missing:
        allowed = f"a table with the columns {', '.join((*by, 'cell', *names))}"
        raise fail(parameter, owner, allowed, f"a table without {', '.join(missing)}")
    indexed = table.set_index([*by, "cell"])[list(names)]
    if indexed.index.has_duplicates:
        hint = f"Name in 'by' what else tells rows apart; it is {tuple(by)}."
        raise fail(parameter, owner, "a table with one row a comparison and cell", f"{len(table)} rows", hint)
    keys = table[list(by)].drop_duplicates(ignore_index=True) if by else pd.DataFrame(index=range(1))
    cells = np.unique(table["cell"].to_numpy())
    if len(table) != len(keys) * len(cells) or not np.array_equal(cells, np.arange(len(cells))):
        allowed = "a table with every cell, 0 to n − 1, in each comparison"
        raise fail(parameter, owner, allowed, f"{len(table)} rows, {len(keys)} comparisons, {len(cells)} cells")
    order = keys.merge(pd.DataFrame({"cell": cells}), how="cross")
    index = pd.MultiIndex.from_frame(order) if by else pd.Index(order["cell"])
    scores = indexed.reindex(index).to_numpy(np.float64)
    return keys, scores.reshape(len(keys), len(cells), len(names))


def _aligned(
    baseline: pd.DataFrame, variant: pd.DataFrame, by: list[str], names: list[str], owner: str
) -> tuple[pd.DataFrame, Array, Array]:
    """Return the comparisons, and both tables' scores as (comparison, cell, metric) in one order."""
    keys, first = score_cube(baseline, by, names, "baseline", owner)
    theirs, second = score_cube(variant, by, names, "variant", owner)
    order = keys.merge(theirs.assign(_row=np.arange(len(theirs))), how="left", on=by)["_row"] if by else None
    same = len(keys) == len(theirs) and (order is None or not order.isna().any())
    if not same or first.shape != second.shape:
        allowed = f"a table over the same comparisons and {first.shape[1]} cells as 'baseline'"
        raise fail("variant", owner, allowed, f"{len(theirs)} comparisons of {second.shape[1]} cells")
    return keys, first, second if order is None else second[order.to_numpy(np.int64)]


def _group(
    group: str,
    index: Array,
    first: Array,
    second: Array,
    keys: pd.DataFrame,
    names: list[str],
    codes: Array,
    donors: Any,
    bootstraps: int,
    permutations: int,
    seed: int,
) -> pd.DataFrame:
    known = np.isfinite(first[:, index]).all(axis=(0, 2)) & np.isfinite(second[:, index]).all(axis=(0, 2))
    used = index[known]
    tests = len(keys) * len(names)
    statistics = np.full((len(_STATISTICS), tests), np.nan)
    n_donors = len(np.unique(codes[used]))
    reason, note = remarks(len(index), len(used), n_donors, "a score of theirs is missing")
    resampled = flipped = "none"
    statistics[6] = 1.0
    if len(used):
        a, b = (x[:, used].transpose(1, 0, 2).reshape(len(used), tests) for x in (first, second))
        differences = b - a
        statistics[:3] = a.mean(axis=0), b.mean(axis=0), differences.mean(axis=0)
        own = np.unique(codes[used], return_inverse=True)[1].reshape(-1).astype(np.int64)
        rng = group_rng(group, seed)
        if len(used) > 1:
            drawn = np.concatenate([shares @ differences for shares in resample(own, bootstraps, rng)])
            statistics[3:5] = interval_limits(drawn, statistics[2], n_donors if n_donors > 1 else len(used))
            resampled = "donors, cells" if n_donors > 1 else "cells"
        units, flipped = flip_units(donors, own)
        test = flip_test(differences, units, permutations, rng, noun=flipped.removesuffix("s"))
        statistics[5], statistics[6] = test.p, test.p_least
        reason = "; ".join(filter(None, (reason, test.reason)))
        note = "; ".join(filter(None, (note, NO_DONORS if donors is None else "")))
    table = keys.iloc[np.repeat(np.arange(len(keys)), len(names))].reset_index(drop=True)
    table = table.assign(group=group, metric=names * len(keys), **dict(zip(_STATISTICS, statistics, strict=True)))
    return table.assign(
        n_cells=len(used), n_donors=n_donors, resampled=resampled, flipped=flipped, reason=reason, note=note
    )
