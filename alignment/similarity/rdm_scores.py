"""A network's layers beside cortical populations by their dissimilarity matrices, with inference over scenes.

Where only matrices are known there are no cells or animals to resample: every interval here is one over
scenes, and says what other scenes would give, not what other mice would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alignment._validation import check_integer, fail

from ._arrays import Array, as_array
from .ceiling import normalise
from .inference import benjamini_hochberg
from .rsa import compare_rdms, shuffled_correlations

__all__ = ["MEAN_GROUP", "RdmScores", "rdm_differences", "score_rdms"]

MEAN_GROUP = "mean"
"""The group that stands for the mean over all populations."""

_LEAST_SCENES = 6  # both halves of the scenes must leave a correlation of several pairs
_NO_PATTERN = "all units respond alike to a scene, which leaves no pattern to correlate"


@dataclass(frozen=True)
class RdmScores:
    """Scores of one network's layers against populations.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a layer and group: ``layer``, ``layer_index``, ``group``, ``value`` (Spearman), ``ci_low``,
        ``ci_high`` (95 %, bootstrap over scenes), ``p`` (scenes shuffled, one-sided), ``q`` (over the groups of a
        layer), ``null_mean``, ``null_high`` (mean and 95th percentile with the scenes shuffled), ``ceiling``,
        ``normalised`` (value / √ceiling), ``n_scenes`` and ``note``, the reason for what is missing.
    best : pandas.DataFrame
        One row a group, the same columns for its best layer; ``p``, ``null_mean`` and ``null_high`` are then of the
        best of all layers under shuffling, so that the choice is paid for, and ``half_value`` is the score, on half
        of the scenes, of the layer chosen on the other half (mean over random halves, both ways).
    draws : (bootstrap, layer, group) array
        Scores of each resample of scenes.
    halves : (split, layer, group) arrays, two
        Scores on both halves of each random split.
    parameters : dict
        Bootstraps, permutations, splits, seed.
    """

    table: pd.DataFrame
    best: pd.DataFrame
    draws: Array = field(repr=False)
    halves: tuple[Array, Array] = field(repr=False)
    parameters: dict[str, Any]


def score_rdms(
    layers: Mapping[str, Any],
    groups: Mapping[str, Any],
    ceilings: Mapping[str, float] | None = None,
    *,
    bootstraps: int = 1000,
    permutations: int = 1000,
    splits: int = 50,
    seed: int = 0,
) -> RdmScores:
    """Compare every layer's dissimilarity matrix with every population's.

    Parameters
    ----------
    layers : mapping of str to (scene, scene) array
        A network's matrices by layer, in the order of the network, as :func:`~alignment.similarity.rdm` makes
        them.
    groups : mapping of str to (scene, scene) array
        The populations' matrices over the same scenes in the same order. One called ``"mean"`` would clash with
        the mean over all and is refused.
    ceilings : mapping of str to float, optional
        Split-half reliability of each population's matrix, where it is known.
    bootstraps, permutations, splits : int
        Resamples of scenes (at least 100), shuffles of scenes (at least 19), random halves.
    seed : int
        Of all three. The same seed draws the same scenes whatever is compared, so that scores can be paired.

    Returns
    -------
    RdmScores
        ``table``, ``best``, and what :func:`rdm_differences` needs.

    Raises
    ------
    InputError
        Nothing to compare, matrices over different numbers of scenes, or too few scenes.

    Notes
    -----
    A resample draws scenes with replacement; pairs of a scene with itself are left out, since they are alike in
    every matrix, and the ranks are those of the resample. Rows of the group ``"mean"`` average over the groups.

    Examples
    --------
    >>> import numpy as np
    >>> from alignment.similarity import rdm
    >>> cells = np.random.default_rng(0).normal(size=(20, 30))
    >>> noisy = cells + np.random.default_rng(1).normal(size=(20, 30))
    >>> found = score_rdms({"early": rdm(noisy[:, :3]), "late": rdm(noisy)}, {"VISp L2/3": rdm(cells)})
    >>> found.best.loc[0, "layer"], float(found.best.loc[0, "p"])
    ('late', 0.000999000999000999)
    """
    for name, value, low in (
        ("bootstraps", bootstraps, 100),
        ("permutations", permutations, 19),
        ("splits", splits, 1),
    ):
        check_integer(value, name, "score_rdms", low=low)
    check_integer(seed, "seed", "score_rdms", low=0)
    if MEAN_GROUP in groups:
        raise fail("groups", "score_rdms", f"names other than {MEAN_GROUP!r}, the mean over all", MEAN_GROUP)
    ours, theirs = _stack(layers, "layers"), _stack(groups, "groups")
    scenes = ours.shape[1]
    if theirs.shape[1] != scenes:
        allowed = f"matrices over the {scenes} scenes of 'layers', in the same order"
        raise fail("groups", "score_rdms", allowed, theirs.shape[1:], "Does one side hold the blank as a scene?")
    if scenes < _LEAST_SCENES:
        raise fail("layers", "score_rdms", f"matrices over at least {_LEAST_SCENES} scenes", scenes)
    values = _with_mean(np.asarray(compare_rdms(ours, theirs)))
    null = _with_mean(shuffled_correlations(ours, theirs, permutations, np.random.default_rng([seed, 0])))
    draws = _with_mean(_bootstrap(ours, theirs, bootstraps, np.random.default_rng([seed, 1])))
    halves = _halves(ours, theirs, splits, np.random.default_rng([seed, 2]))
    names, ceiling = [*groups, MEAN_GROUP], [float((ceilings or {}).get(name, np.nan)) for name in groups]
    # The mean's ceiling stays unknown where one of the groups' is.
    limits = dict(zip(names, [*ceiling, float(np.mean(ceiling))], strict=True))
    told = {"bootstraps": bootstraps, "permutations": permutations, "splits": splits, "seed": seed, "scenes": scenes}
    table = _layer_table(list(layers), names, values, null, draws, limits, scenes)
    best = _best_table(table, list(layers), names, values, null, halves)
    return RdmScores(table, best, draws, halves, told)


def rdm_differences(baseline: RdmScores, variant: RdmScores) -> pd.DataFrame:
    """Differences variant − baseline over the same scenes, layer by layer and between the best layers.

    Parameters
    ----------
    baseline, variant : RdmScores
        Of :func:`score_rdms` with the same groups, scenes and seed. Layers pair by position; where their numbers
        differ only the best are compared.

    Returns
    -------
    pandas.DataFrame
        One row a group for the best layers (``layer`` is ``"best"``, ``layer_index`` −1), then one a layer and group:
        ``baseline_value``, ``variant_value``, ``difference``, ``ci_low``, ``ci_high``, ``p`` and ``q``; for the best
        also ``half_difference``, each side's layer chosen on half of the scenes and scored on the other. p is the
        two-sided bootstrap p, twice the smaller share of resamples on either side of zero, (b + 1) / (n + 1).

    Raises
    ------
    InputError
        The two were scored on other groups, scenes, resamples or seeds.
    """
    if baseline.parameters != variant.parameters or list(baseline.best["group"]) != list(variant.best["group"]):
        raise fail(
            "variant", "rdm_differences", "scored on the baseline's groups with its seed and resamples",
            variant.parameters,
        )  # fmt: skip
    groups = list(baseline.best["group"])
    rows: list[dict[str, Any]] = []
    columns = np.arange(len(groups))
    chosen = [_positions(side.best["layer_index"]) for side in (baseline, variant)]
    picked = [side.draws[:, layer, columns] for side, layer in zip((baseline, variant), chosen, strict=True)]
    crossed = _crossed(variant.halves) - _crossed(baseline.halves)
    first, second = (side.best["value"].to_numpy() for side in (baseline, variant))
    rows += _difference_rows("best", -1, groups, (first, second), picked[1] - picked[0], crossed)
    if baseline.draws.shape[1] == variant.draws.shape[1]:
        names = variant.table.drop_duplicates("layer_index")["layer"].tolist()
        for index, name in enumerate(names):
            here = [side.table[side.table["layer_index"] == index] for side in (baseline, variant)]
            sides = [table["value"].to_numpy() for table in here]
            drawn = variant.draws[:, index] - baseline.draws[:, index]
            rows += _difference_rows(name, index, groups, (sides[0], sides[1]), drawn, np.full(len(groups), np.nan))
    return pd.DataFrame(rows)


def _difference_rows(
    layer: str, index: int, groups: list[str], sides: tuple[Array, Array], drawn: Array, crossed: Array
) -> list[dict[str, Any]]:
    difference = sides[1] - sides[0]
    known = np.isfinite(difference) & np.isfinite(drawn).all(axis=0)
    low, high = np.full(len(groups), np.nan), np.full(len(groups), np.nan)
    p = np.full(len(groups), np.nan)
    if known.any():
        low[known], high[known] = np.quantile(drawn[:, known], [0.025, 0.975], axis=0)
        fewer = np.minimum((drawn[:, known] <= 0).sum(axis=0), (drawn[:, known] >= 0).sum(axis=0))
        p[known] = np.minimum(2.0 * (fewer + 1) / (len(drawn) + 1), 1.0)
    q = _rates(p)
    return [
        {
            "layer": layer,
            "layer_index": index,
            "group": group,
            "baseline_value": sides[0][place],
            "variant_value": sides[1][place],
            "difference": difference[place],
            "ci_low": low[place],
            "ci_high": high[place],
            "p": p[place],
            "q": q[place],
            "half_difference": crossed[place],
        }
        for place, group in enumerate(groups)
    ]


def _layer_table(
    layers: list[str],
    groups: list[str],
    values: Array,
    null: Array,
    draws: Array,
    limits: dict[str, float],
    scenes: int,
) -> pd.DataFrame:
    low, high = _quantiles(draws, (0.025, 0.975))
    (null_high,) = _quantiles(null, (0.95,))
    p = _shares(null, values)
    rows = []
    for index, layer in enumerate(layers):
        q = _rates(p[index])
        for place, group in enumerate(groups):
            rows.append(
                {
                    "layer": layer,
                    "layer_index": index,
                    "group": group,
                    "value": values[index, place],
                    "ci_low": low[index, place],
                    "ci_high": high[index, place],
                    "p": p[index, place],
                    "q": q[place],
                    "null_mean": null[:, index, place].mean(),
                    "null_high": null_high[index, place],
                    "ceiling": limits[group],
                    "normalised": float(normalise(values[index, place], limits[group])),
                    "n_scenes": scenes,
                    "note": "" if np.isfinite(values[index, place]) else _NO_PATTERN,
                }
            )
    return pd.DataFrame(rows)


def _best_table(
    table: pd.DataFrame, layers: list[str], groups: list[str], values: Array, null: Array, halves: tuple[Array, Array]
) -> pd.DataFrame:
    chosen = np.where(np.isfinite(values), values, -np.inf).argmax(axis=0)
    with np.errstate(invalid="ignore"):
        best_null = np.where(np.isfinite(null), null, -np.inf).max(axis=1)
    best = table.set_index(["layer_index", "group"]).loc[list(zip(chosen, groups, strict=True))].reset_index()
    value = best["value"].to_numpy()
    known = np.isfinite(value)
    p = np.where(known, _shares(best_null, value), np.nan)
    best_null[:, ~known] = np.nan
    (high,) = _quantiles(best_null, (0.95,))
    best = best.assign(p=p, q=_rates(p), null_mean=best_null.mean(axis=0), null_high=high, half_value=_crossed(halves))
    return best.assign(n_layers=len(layers))


def _rates(p: Array) -> Array:
    """Return q over the groups; the mean over all (last) is no test of its own family and keeps its p."""
    return np.concatenate([benjamini_hochberg(p[:-1]), p[-1:]])


def _shares(null: Array, values: Array) -> Array:
    """Return the one-sided share of shuffles at least as high; NaN where the value is."""
    with np.errstate(invalid="ignore"):
        count = (null >= values - 1e-12).sum(axis=0)
    return np.where(np.isnan(values), np.nan, (count + 1) / (len(null) + 1))


def _quantiles(draws: Array, levels: tuple[float, ...]) -> Array:
    """Return quantiles over the first axis; NaN where a draw has none (np.quantile carries NaN)."""
    found: Array = np.quantile(draws, levels, axis=0)
    return found


def _with_mean(values: Array) -> Array:
    """Append the mean over groups (last axis)."""
    return np.concatenate([values, values.mean(axis=-1, keepdims=True)], axis=-1)


def _positions(layer_index: Any) -> Array:
    positions: Array = layer_index.to_numpy(dtype=np.int64)
    return positions


def _crossed(halves: tuple[Array, Array]) -> Array:
    """Return the score on one half of the layer chosen on the other, both ways, averaged over the splits."""
    found = []
    for choose, score in (halves, halves[::-1]):
        layer = np.where(np.isfinite(choose), choose, -np.inf).argmax(axis=1)
        found.append(np.take_along_axis(score, layer[:, None], axis=1)[:, 0])
    mean: Array = np.concatenate(found).mean(axis=0)
    return mean


def _halves(ours: Array, theirs: Array, splits: int, rng: np.random.Generator) -> tuple[Array, Array]:
    first: list[Array] = []
    second: list[Array] = []
    for _ in range(splits):
        order = rng.permutation(ours.shape[1])
        half = len(order) // 2
        for rows, found in ((order[:half], first), (order[half:], second)):
            own, other = ours[:, rows[:, None], rows], theirs[:, rows[:, None], rows]
            found.append(np.asarray(compare_rdms(own, other)))
    return _with_mean(np.stack(first)), _with_mean(np.stack(second))


def _bootstrap(ours: Array, theirs: Array, bootstraps: int, rng: np.random.Generator) -> Array:
    """Return Spearman correlations over resampled scenes, (bootstrap, layer, group)."""
    scenes = ours.shape[1]
    upper = np.triu_indices(scenes, 1)
    sides = [_Ranked(stack[:, upper[0], upper[1]]) for stack in (ours, theirs)]
    found = np.empty((bootstraps, len(ours), len(theirs)))
    for number, counts in enumerate(_draw_scenes(scenes, bootstraps, rng)):
        # A scene drawn a times and another drawn b times make a·b pairs.
        weights = counts[upper[0]] * counts[upper[1]]
        drawn = np.flatnonzero(weights)
        share = weights[drawn]
        first, second = (side.unit_ranks(weights, drawn, share) for side in sides)
        found[number] = (first * share) @ second.T
    return np.clip(found, -1.0, 1.0)


def _draw_scenes(scenes: int, bootstraps: int, rng: np.random.Generator) -> Iterator[Array]:
    for _ in range(bootstraps):
        counts = np.zeros(scenes)
        while np.count_nonzero(counts) < 4:  # fewer make no correlation of pairs
            counts = np.bincount(rng.integers(scenes, size=scenes), minlength=scenes).astype(np.float64)
        yield counts


class _Ranked:
    """Upper triangles in their order, so that a resample's ranks are running sums of its weights."""

    def __init__(self, values: Array) -> None:
        self.valid: Array = np.all(np.isfinite(values), axis=1)
        self.levels = []
        for row in values:
            _, level = np.unique(row, return_inverse=True)
            self.levels.append(level.reshape(-1))

    def unit_ranks(self, weights: Array, drawn: Array, share: Array) -> Array:
        """Return the drawn pairs' mid-ranks, without their weighted mean and of weighted length 1."""
        total = share.sum()
        ranks = np.full((len(self.levels), len(drawn)), np.nan)
        for place, level in enumerate(self.levels):
            if not self.valid[place]:
                continue
            at_level = np.bincount(level, weights=weights)
            below = np.cumsum(at_level)
            ranks[place] = (below - at_level / 2)[level[drawn]] - total / 2
        length = np.sqrt((ranks**2) @ share)
        length[~(length > 0)] = np.nan
        unit: Array = ranks / length[:, None]
        return unit


def _stack(matrices: Mapping[str, Any], parameter: str) -> Array:
    if not matrices:
        raise fail(parameter, "score_rdms", "a mapping of names to matrices (scene, scene)", matrices)
    arrays = {name: as_array(matrix, f"{parameter}[{name!r}]", "score_rdms") for name, matrix in matrices.items()}
    scenes = len(next(iter(arrays.values())))
    for name, array in arrays.items():
        if array.shape != (scenes, scenes):
            allowed = f"a matrix (scene, scene) over {scenes} scenes, as the first"
            raise fail(f"{parameter}[{name!r}]", "score_rdms", allowed, array.shape)
    return np.stack(list(arrays.values())).astype(np.float64)
