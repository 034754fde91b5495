"""One group of cells against another: to whose representations a network comes closer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from alignment._validation import check_integer, check_name, fail

from ._arrays import Array
from ._cells import CELL_METRICS
from ._donor_tests import split_test
from ._remarks import NO_DONORS
from .groups import check_groups, group_rng
from .inference import benjamini_hochberg, donor_codes, flip_units, interval_limits, resample
from .paired import score_cube

__all__ = ["LOWER_IS_CLOSER", "GroupComparison", "compare_groups", "scene_halves"]

LOWER_IS_CLOSER: Final = frozenset({"rmse_mean", "rmse_nearest"})
"""Metrics of which a smaller value means more alike; of the others a larger one does."""

_STATISTICS = ("a_value", "a_low", "a_high", "b_value", "b_low", "b_high", "difference", "ci_low", "ci_high", "p")
_NUMBERS = (*_STATISTICS, "p_least", "q", "a_cells", "b_cells", "a_donors", "b_donors")


@dataclass(frozen=True)
class GroupComparison:
    """Group a beside group b.

    Attributes
    ----------
    a, b : str
        The groups' names.
    table : pandas.DataFrame
        One row a comparison (columns of ``by``), layer and metric: ``a_value`` with its interval ``a_low`` to
        ``a_high``, the same of b, ``difference`` (a − b) with ``ci_low`` to ``ci_high``, ``p``, ``p_least``
        (the smallest p that so many donors can give), ``q``, ``a_cells``, ``b_cells``, ``a_donors``,
        ``b_donors``, ``permuted`` ("donors", or "cells" where none are named), ``reason`` (why p and q are
        missing) and ``note``.
    parameters : dict
        How layers were chosen, resamples, permutations, seed: for the provenance.
    sides : (int array, int array)
        The cells that were compared: those of a and of b that have all scores, none on both sides.
    """

    a: str
    b: str
    table: pd.DataFrame
    parameters: dict[str, Any]
    sides: tuple[Array, Array]

    def to_xarray(self) -> xr.Dataset:
        """Return the table as a labelled data set along ``comparison``.

        Returns
        -------
        xarray.Dataset
            Numbers are variables; model, layer, metric and all other words are coordinates. Attributes: ``a``,
            ``b`` and the parameters.

        Examples
        --------
        >>> scores = pd.DataFrame({"layer": "conv1", "cell": range(8), "rmse_mean": [0.1, 0.2] * 4})
        >>> groups = {"Fezf2-1": [0, 2, 4], "Sst-1": [1, 3, 5]}
        >>> labelled = compare_groups(scores, groups, "Fezf2-1", "Sst-1", layer="all").to_xarray()
        >>> round(labelled["difference"].sel(comparison=labelled["layer"] == "conv1").item(), 3)
        -0.1
        """
        words = [name for name in self.table.columns if name not in _NUMBERS]
        kept = {name: ("comparison", self.table[name].to_numpy(np.float64)) for name in _NUMBERS if name in self.table}
        coordinates = {name: ("comparison", self.table[name].to_numpy()) for name in words}
        known = {name: value for name, value in self.parameters.items() if value is not None}
        return xr.Dataset(kept, coordinates, attrs={"a": self.a, "b": self.b, **known})


def scene_halves(scenes: int, seed: int = 0) -> Array:
    """Draw which scenes belong to the first of two halves: a layer is chosen there and scored on the others.

    Parameters
    ----------
    scenes : int
        How many, at least 4: a correlation over fewer than two scenes is none.
    seed : int
        Of the draw.

    Returns
    -------
    (scene,) bool array
        True for the first half, which has the smaller share of an odd number.

    Examples
    --------
    >>> first = scene_halves(118)
    >>> int(first.sum()), int((~first).sum())
    (59, 59)
    """
    check_integer(scenes, "scenes", "scene_halves", low=4)
    check_integer(seed, "seed", "scene_halves", low=0)
    first = np.zeros(scenes, dtype=bool)
    first[np.random.default_rng([seed, scenes]).permutation(scenes)[: scenes // 2]] = True
    return first


def compare_groups(
    cells: pd.DataFrame,
    groups: Mapping[str, Any],
    a: str,
    b: str,
    donors: Any = None,
    *,
    layer: str = "best",
    selection: pd.DataFrame | None = None,
    by: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    bootstraps: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
) -> GroupComparison:
    """Compare two groups' scores: difference, bootstrap interval, permutation p, q.

    Cells that both groups hold count for the smaller group alone ("Fezf2-1" against "excitatory" is Fezf2-1
    against the other excitatory cells). Donors and then cells are resampled on each side. For p, which donors
    belong to which group is permuted, and a donor with cells in both changes its own two parts about; all ways of
    doing so are tried where they are at most 4,096. Where so few ways leave no p of 0.05 there is neither p nor
    q, and ``reason`` says so.

    Parameters
    ----------
    cells : pandas.DataFrame
        Cells' scores as :attr:`GroupScores.cells` holds them, with the columns ``layer``, ``cell``, those of
        ``by``, and metrics.
    groups : mapping of str to index array or boolean mask
        The cells of each group, among which ``a`` and ``b`` are.
    a, b : str
        The groups to compare.
    donors : (cell,) array, optional
        Each cell's donor. Without, every cell counts as independent, and the note says so.
    layer : str
        ``"best"``: for each comparison and metric the layer that is closest to the cells of both groups
        together in ``selection``. ``"all"``, or a layer's name.
    selection : pandas.DataFrame, optional
        The same cells' scores from the other half of the scenes; ``"best"`` needs it, since a layer chosen
        and scored on the same scenes looks better than it is.
    by : sequence of str
        Columns whose values tell comparisons apart, such as ``("model", "layer_variant")``.
    metrics : sequence of str, optional
        Columns to compare; those of :data:`CELL_METRICS` that the table holds by default.
    bootstraps, permutations, seed : int
        Resamples (at least 100), random permutations (at least 19), and the seed of both.

    Returns
    -------
    GroupComparison
        The table is one to print; q is over its rows of one metric.

    Raises
    ------
    InputError
        An unknown group or layer (the closest is named), a group without cells of its own, no ``selection``
        for ``"best"``, or tables that do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> scores = pd.DataFrame({"layer": "conv1", "cell": range(8), "rmse_mean": [0.1, 0.2] * 4})
    >>> groups = {"Fezf2-1": [0, 2, 4], "Sst-1": [1, 3, 5]}
    >>> found = compare_groups(scores, groups, "Fezf2-1", "Sst-1", layer="all")
    >>> found.table[["a_value", "b_value", "difference", "a_cells", "permuted"]].round(3)
       a_value  b_value  difference  a_cells permuted
    0      0.1      0.2        -0.1        3    cells
    """
    owner = "compare_groups"
    check_integer(bootstraps, "bootstraps", owner, low=100)
    check_integer(permutations, "permutations", owner, low=19)
    names = _metrics(cells, metrics, owner)
    keys, cube = score_cube(cells, [*by, "layer"], names, "cells", owner)
    members = check_groups(groups, cube.shape[1], owner)
    codes = donor_codes(donors, cube.shape[1], owner)
    sides, notes = _sides(members, a, b, cube, owner)
    if layer == "best":
        tests = _best(keys, names, selection, list(by), np.concatenate(sides), owner)
    else:
        if layer != "all":
            check_name(layer, "layer", list(dict.fromkeys(keys["layer"])), "the 'layer' column")
        rows = np.arange(len(keys)) if layer == "all" else np.flatnonzero(keys["layer"] == layer)
        tests = [(int(row), metric) for row in rows for metric in range(len(names))]
    at, metric_at = (np.array(part) for part in zip(*tests, strict=True))
    scores = [cube[at][:, side, :][np.arange(len(at)), :, metric_at].T for side in sides]
    sampled = [codes[side] for side in sides]
    statistics = _statistics(scores, sampled, (a, b), bootstraps, seed)
    permuted = flip_units(donors, codes)[1]
    test = split_test(
        (scores[0], scores[1]),
        (sampled[0], sampled[1]) if permuted == "donors" else (sides[0], sides[1]),
        permutations,
        group_rng(f"{a} - {b}", seed),
        noun=permuted.removesuffix("s"),
    )
    table = keys.iloc[at].reset_index(drop=True).assign(metric=[names[m] for m in metric_at])
    table = table.assign(**dict(zip(_STATISTICS, [*statistics, test.p], strict=True)), p_least=test.p_least)
    by_metric = table.groupby("metric", sort=False)["p"]
    table["q"] = by_metric.transform(lambda p: benjamini_hochberg(p.to_numpy()))
    for name, side in zip("ab", sides, strict=True):
        table[f"{name}_cells"], table[f"{name}_donors"] = len(side), len(np.unique(codes[side]))
    notes += _donor_notes((a, b), sampled, donors is not None)
    table = table.assign(permuted=permuted, reason=test.reason, note="; ".join(notes))
    parameters = {
        "layer": layer,
        "selected_on": "other half of the scenes" if layer == "best" else None,
        "bootstraps": bootstraps,
        "permutations": permutations,
        "seed": seed,
    }
    return GroupComparison(a, b, table, parameters, (sides[0], sides[1]))


def _metrics(cells: pd.DataFrame, metrics: Sequence[str] | None, owner: str) -> list[str]:
    chosen = [name for name in CELL_METRICS if name in cells.columns] if metrics is None else list(metrics)
    if not chosen:
        raise fail("metrics", owner, "columns of 'cells'", metrics, f"It holds {', '.join(map(str, cells.columns))}.")
    return chosen


def _sides(members: dict[str, Array], a: str, b: str, cube: Array, owner: str) -> tuple[list[Array], list[str]]:
    """Return the cells of each side, none on both, and what a reader must know of them."""
    for name in (a, b):
        check_name(name, "group", list(members))
    if a == b:
        raise fail("b", owner, f"another group than 'a', {a!r}", b)
    notes = []
    known: Array = np.all(np.isfinite(cube), axis=(0, 2))
    sides = []
    for name in (a, b):
        side = members[name][known[members[name]]]
        if len(side) < len(members[name]):
            out = len(members[name]) - len(side)
            notes.append(f"{name}: {out} of {len(members[name])} cells left out, a score of theirs is missing")
        sides.append(side)
    shared = np.intersect1d(sides[0], sides[1])
    if len(shared):
        larger = int(len(sides[1]) >= len(sides[0]))
        sides[larger] = np.setdiff1d(sides[larger], shared)
        notes.append(f"{len(shared)} cells of both groups count for {(a, b)[1 - larger]} alone")
    for name, side in zip((a, b), sides, strict=True):
        if len(side) == 0:
            allowed = "two groups with at least one scored cell of their own"
            raise fail("groups", owner, allowed, f"none in {name!r}")
    return sides, notes


def _donor_notes(names: tuple[str, str], codes: list[Array], donors_known: bool) -> list[str]:
    notes = [] if donors_known else [NO_DONORS]
    straddling = len(np.intersect1d(codes[0], codes[1])) if donors_known else 0
    if straddling:
        have = "1 donor has" if straddling == 1 else f"{straddling} donors have"
        notes.append(f"{have} cells on both sides: the interval, which ignores that, is wide")
    for name, side in zip(names, codes, strict=True):
        if len(side) == 1:
            notes.append(f"{name}: one cell, no interval")
        elif len(np.unique(side)) == 1:
            of = "one donor: only its cells" if donors_known else "only cells"
            notes.append(f"{name}: {of} are resampled, so the interval says nothing of other animals")
    return notes


def _best(
    keys: pd.DataFrame,
    names: list[str],
    selection: pd.DataFrame | None,
    by: list[str],
    cells: Array,
    owner: str,
) -> list[tuple[int, int]]:
    """Return (row of ``keys``, metric) of the layer closest to the cells in the other half of the scenes."""
    if selection is None:
        hint = "Score the same cells on the other half of the scenes, or name a layer, or layer='all'."
        raise fail("selection", owner, "a table of cells' scores when layer='best'", None, hint)
    theirs, cube = score_cube(selection, [*by, "layer"], names, "selection", owner)
    columns = [*by, "layer"]
    order = keys.merge(theirs.assign(_row=np.arange(len(theirs))), how="left", on=columns)["_row"]
    if order.isna().any() or cells.max() >= cube.shape[1]:
        allowed = "a table over the comparisons, layers and cells of 'cells'"
        raise fail("selection", owner, allowed, f"{len(theirs)} comparisons of {cube.shape[1]} cells")
    theirs_scores = cube[order.to_numpy(np.int64)][:, cells]
    known = np.isfinite(theirs_scores)
    if not known.any(axis=1).all():
        hint = "Those layers have no finite score of any cell."
        raise fail("selection", owner, "a table with a score in every layer", "NaN throughout a layer", hint)
    means = np.where(known, theirs_scores, 0.0).sum(axis=1) / known.sum(axis=1)
    signs = np.array([1.0 if name in LOWER_IS_CLOSER else -1.0 for name in names])
    ranked = means * signs
    families: list[Array] = [np.arange(len(keys))]
    if by:
        families = [np.asarray(rows) for rows in keys.groupby(by, sort=False).indices.values()]
    return [(int(rows[np.argmin(ranked[rows, metric])]), metric) for rows in families for metric in range(len(names))]


def _statistics(
    scores: list[Array],
    codes: list[Array],
    names: tuple[str, str],
    bootstraps: int,
    seed: int,
) -> Array:
    """Return (statistic, test), all statistics but p; scores are (cell, test), one array per side."""
    out = np.full((len(_STATISTICS) - 1, scores[0].shape[1]), np.nan)
    at = {name: position for position, name in enumerate(_STATISTICS)}
    a_value, b_value = (side.mean(axis=0) for side in scores)
    difference = a_value - b_value
    out[at["a_value"]], out[at["b_value"]], out[at["difference"]] = a_value, b_value, difference
    own = [np.unique(side, return_inverse=True)[1].reshape(-1).astype(np.int64) for side in codes]
    draws, independent = {}, {}
    for letter, side, code, name in zip("ab", scores, own, names, strict=True):
        if len(side) < 2:
            continue
        independent[letter] = int(code.max()) + 1 if code.max() > 0 else len(code)
        drawn = [shares @ side for shares in resample(code, bootstraps, group_rng(name, seed))]
        draws[letter] = np.concatenate(drawn)
        low, high = interval_limits(draws[letter], side.mean(axis=0), independent[letter])
        out[at[f"{letter}_low"]], out[at[f"{letter}_high"]] = np.maximum(low, 0.0), high
    if len(draws) == 2:
        limits = interval_limits(draws["a"] - draws["b"], difference, min(independent.values()))
        out[at["ci_low"]], out[at["ci_high"]] = limits
    return out
