"""Ceilings of groups: each metric between half of the trials and all, and what is said where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.similarity import (
    CEILING_KINDS,
    METRICS,
    bootstrap,
    group_ceilings,
    kde_iou,
    noise_ceiling,
    normalise,
    rmse,
    spearman_brown,
    split_halves,
)
from neural_alignment import InputError

GROUPS = {"VISp": np.arange(6), "VISl": np.arange(6, 10), "none": np.array([], dtype=int), "one": np.array([2])}
DONORS = np.repeat(["a", "b", "c", "d", "e"], 2)


def halves(splits: int = 3, noise: float = 0.1, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    true = rng.random((10, 64))
    return [tuple(true + rng.normal(0, noise, true.shape) for _ in range(2)) for _ in range(splits)]  # type: ignore[misc]


def mean_of(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.mean(np.concatenate([np.stack(pair) for pair in pairs]), axis=0)


def value(table: pd.DataFrame, metric: str, group: str) -> pd.Series:
    return table[(table["metric"] == metric) & (table["group"] == group)].iloc[0]


def test_every_metric_is_what_it_is_between_half_and_whole() -> None:
    pairs = halves()
    whole = mean_of(pairs)
    found = group_ceilings(pairs, whole, GROUPS, METRICS, DONORS)
    sides = [half for pair in pairs for half in pair]
    for group, cells in (("VISp", list(range(6))), ("VISl", list(range(6, 10))), ("one", [2])):
        row = {metric: value(found.table, metric, group) for metric in CEILING_KINDS}
        distance = np.mean([[rmse(half[[i]], whole[[i]], reduce="mean") for i in cells] for half in sides])
        overlap = np.mean([[kde_iou(half[i], whole[i]) for i in cells] for half in sides])
        pooled = np.mean([kde_iou(half[cells].ravel(), whole[cells].ravel()) for half in sides])
        r = np.array([[np.corrcoef(a[i], b[i])[0, 1] for i in cells] for a, b in pairs])
        apart = np.mean([[rmse(a[[i]], b[[i]], reduce="mean") for i in cells] for a, b in pairs])
        for metric in ("rmse_mean", "rmse_nearest"):
            assert row[metric]["ceiling"] == pytest.approx(distance, rel=1e-6)
            assert row[metric]["halves"] == pytest.approx(apart, rel=1e-6)
        for metric in ("kde_iou_unit", "kde_iou_unit_best"):
            assert row[metric]["ceiling"] == pytest.approx(overlap, abs=1e-3)
            assert row[metric]["halves"] == pytest.approx(
                np.mean([kde_iou(a[cells], b[cells]) for a, b in pairs]), abs=1e-3
            )
        assert row["kde_iou_population"]["ceiling"] == pytest.approx(pooled, abs=2e-3)
        assert row["correlation"]["ceiling"] == pytest.approx(np.mean(spearman_brown(r)), rel=1e-6)
    assert found.parameters == {"splits": 3, "bootstraps": 1000, "seed": 0}
    assert set(found.table["metric"]) == set(CEILING_KINDS)


@pytest.mark.parametrize(("noise", "tolerance"), [(0.3, 0.05), (1.0, 0.1), (2.0, 0.2)])
def test_the_ceiling_is_what_a_noiseless_model_reaches(noise: float, tolerance: float) -> None:
    """Cells of known tuning, represented as N = TᵀF: half against all trials tells all against the truth."""
    rng = np.random.default_rng(0)
    scenes = np.cumsum(np.cumsum(rng.normal(size=(118, 16, 16)), axis=1), axis=2).reshape(118, -1)
    tuning = rng.exponential(1.0, (60, 118)) * (rng.random((60, 118)) < 0.3)
    trials = tuning[:, :, None] + noise * rng.normal(size=(60, 118, 20))

    def scaled(means: np.ndarray) -> np.ndarray:
        images = means @ scenes
        low = images.min(axis=1, keepdims=True)
        return (images - low) / (images.max(axis=1, keepdims=True) - low)

    whole, truth = scaled(trials.mean(axis=2)), scaled(tuning)
    pairs = [(scaled(a), scaled(b)) for a, b in split_halves(trials, 5)]
    table = group_ceilings(pairs, whole, {"all": np.arange(60)}).table
    reached = {
        "rmse_mean": np.sqrt(((whole - truth) ** 2).mean(axis=1)).mean(),
        "kde_iou_unit": np.mean(kde_iou(whole, truth)),
    }
    for metric, expected in reached.items():
        assert value(table, metric, "all")["ceiling"] == pytest.approx(expected, rel=tolerance), metric
        # Half against half is far from it.
        assert abs(value(table, metric, "all")["halves"] - expected) > abs(
            value(table, metric, "all")["ceiling"] - expected
        )


def test_intervals_resample_donors_and_cells() -> None:
    found = group_ceilings(halves(), mean_of(halves()), GROUPS, donors=DONORS, bootstraps=2000)
    row = value(found.table, "rmse_mean", "VISp")
    apart = bootstrap(found.cells["rmse"].to_numpy()[:6], DONORS[:6], bootstraps=2000)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(apart.high - apart.low, rel=0.2)
    assert row["ci_low"] < row["ceiling"] < row["ci_high"] and (row["n_cells"], row["n_donors"]) == (6, 3)
    assert np.isnan(value(found.table, "kde_iou_population", "VISp")["ci_low"])


def test_what_is_missing_has_a_reason() -> None:
    pairs = halves()
    for first, _ in pairs:
        first[0] = 0.0
        first[7:10] = 0.3
        first[6, 0] = np.nan
    found = group_ceilings(pairs, mean_of(halves()), GROUPS, METRICS)
    table = found.table
    assert value(table, "rmse_mean", "none")[["n_cells", "reason"]].tolist() == [0, "no cells in this group"]
    assert value(table, "rmse_mean", "one")["reason"] == "one cell: no interval"
    assert np.isfinite(value(table, "rmse_mean", "one")["ceiling"])
    some = value(table, "kde_iou_unit", "VISp")
    assert (some["n_cells"], some["reason"]) == (5, "") and "1 of 6 cells left out: half of the trials" in some["note"]
    every = table[table["group"] == "VISl"]
    assert every["ceiling"].isna().all() and every["reason"].str.contains("4 of 4 cells left out").all()
    assert (table["reason"].ne("") == table[["ceiling", "ci_low"]].isna().any(axis=1))[
        table["metric"] != "kde_iou_population"
    ].all()


def test_without_halves_every_ceiling_is_missing_and_says_so() -> None:
    found = group_ceilings([], mean_of(halves()), GROUPS)
    assert found.table["ceiling"].isna().all() and found.cells["rmse"].isna().all()
    assert value(found.table, "rmse_mean", "VISp")["reason"].endswith("or fewer than three scenes")
    assert found.parameters["splits"] == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20), st.floats(0.0, 2.0))
def test_limits_hold_for_any_noise(seed: int, noise: float) -> None:
    pairs = halves(1, noise, seed)
    table = group_ceilings(pairs, mean_of(pairs), GROUPS, METRICS, DONORS, bootstraps=100).table
    known = table.dropna(subset=["ceiling"])
    overlap = known["metric"].str.startswith("kde")
    assert (known["ceiling"] >= -1).all() and (known.loc[overlap, "ceiling"] <= 1 + 1e-9).all()
    assert (known.loc[overlap, "ci_high"].dropna() <= 1).all() and (known["ci_low"].dropna() >= -1).all()


def test_more_noise_lowers_every_ceiling() -> None:
    quiet, loud = (
        group_ceilings(halves(noise=noise), mean_of(halves(noise=noise)), GROUPS).table for noise in (0.05, 0.5)
    )
    for metric, sign in (("rmse_mean", 1), ("kde_iou_unit", -1), ("correlation", -1)):
        difference = value(loud, metric, "VISp")["ceiling"] - value(quiet, metric, "VISp")["ceiling"]
        assert sign * difference > 0, metric


def test_halves_are_those_of_the_noise_ceiling() -> None:
    trials = np.random.default_rng(1).normal(size=(4, 9, 6))
    trials[1, 2, 3] = np.nan
    pairs = list(split_halves(trials, 5, seed=2))
    assert len(pairs) == 5 and pairs[0][0].shape == (4, 9)
    seen: list[np.ndarray] = []
    noise_ceiling(trials, lambda first, second: seen.append(first) or 0.0, splits=5, seed=2)
    np.testing.assert_array_equal(seen, [first for first, _ in pairs])
    whole = np.full((1, 3, 4), 2.0)
    assert (next(split_halves(whole, 1))[0] == 2.0).all()


@pytest.mark.parametrize(
    ("score", "ceiling", "kind", "expected"),
    [
        (0.3, 0.36, "correlation", 0.5), (0.3, 0.0, "correlation", np.nan), (0.2, 0.1, "distance", 0.5),
        (0.1, 0.2, "distance", 2.0), (0.2, 0.0, "distance", np.nan), (0.4, 0.8, "overlap", 0.5),
        (0.4, -0.1, "overlap", np.nan), (np.nan, 0.5, "overlap", np.nan), (0.0, 0.5, "distance", np.inf),
    ],
)  # fmt: skip
def test_normalised_scores(score: float, ceiling: float, kind: str, expected: float) -> None:
    assert normalise([score], [ceiling], kind=kind).item() == pytest.approx(expected, nan_ok=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"halves": [(np.ones((10, 4)), np.ones((10, 5)))]}, "pairs of arrays"),
        ({"halves": [(np.ones((9, 64)), np.ones((9, 64)))]}, "pairs of arrays"),
        ({"whole": np.ones(10)}, "'whole' parameter"),
        ({"metrics": ["rmse"]}, "Did you mean 'rmse_mean'|one of"),
        ({"groups": {"VISp": [10]}}, "positions among the 10 cells"),
        ({"bootstraps": 5}, "bootstraps"),
        ({"donors": ["a"]}, "one donor for each of the 10 cells"),
    ],
)
def test_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        group_ceilings(**({"halves": halves(), "whole": np.ones((10, 64)), "groups": GROUPS} | change))


@pytest.mark.parametrize("shape", [(3, 4), (2, 2, 4), (2, 4, 1)])
def test_trials_that_cannot_be_halved_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="at least 3 scenes and 2 trials"):
        split_halves(np.ones(shape))
    with pytest.raises(InputError, match="'kind' parameter of normalise"):
        normalise([1.0], [1.0], kind="rmse")  # type: ignore[arg-type]
