"""The shuffled-scene null of group scores: the same numbers as scoring every shuffle alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.similarity import METRICS, benjamini_hochberg, null_scores, scene_null, scene_null_table, score_layers
from neural_alignment import InputError

GROUPS = {"VISp": np.arange(8), "VISl": np.arange(8, 12), "none": np.array([], dtype=int), "one": np.array([3])}


def scaled(values: np.ndarray) -> np.ndarray:
    low = values.min(axis=1, keepdims=True)
    return (values - low) / (values.max(axis=1, keepdims=True) - low)


@pytest.fixture(scope="module")
def study() -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    shuffled = [scaled(rng.normal(size=(12, 144)) * rng.uniform(0.5, 2, (12, 1))) for _ in range(5)]
    return shuffled, {"conv1": scaled(rng.normal(size=(9, 144)) ** 3), "fc": scaled(rng.random((14, 144)))}


def alone(vectors: np.ndarray, layers: dict[str, np.ndarray]) -> np.ndarray:
    table = score_layers(vectors, layers, GROUPS, METRICS, bootstraps=100).table
    index = pd.MultiIndex.from_product([layers, GROUPS, METRICS])
    return table.set_index(["layer", "group", "metric"])["value"].reindex(index).to_numpy().reshape(2, 4, 5)


@pytest.mark.parametrize("rows", [1, 24, 2**13])
def test_shuffles_together_score_as_each_alone(study, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled, layers = study
    monkeypatch.setattr(scene_null, "_ROWS", rows)
    done: list[int] = []
    found = null_scores(iter(shuffled), layers, GROUPS, METRICS, progress=done.append)
    assert found.shape == (5, 2, 4, 5) and done[-1] == 5
    expected = np.stack([alone(vectors, layers) for vectors in shuffled])
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(found[..., :2], expected[..., :2], rtol=1e-6)
    assert np.isnan(found[:, :, 2]).all() and np.isfinite(found[:, :, [0, 1, 3]]).all()


def test_cells_without_values_and_without_variation(study) -> None:
    shuffled, layers = study
    broken = [vectors.copy() for vectors in shuffled]
    for vectors in broken:
        vectors[0] = np.nan
        vectors[8:12] = 0.0
    found = null_scores(broken, layers, GROUPS, METRICS)
    np.testing.assert_allclose(found, np.stack([alone(vectors, layers) for vectors in broken]), atol=1e-3)
    assert (found[:, :, 1, METRICS.index("kde_iou_population")] == 0).all()


def test_the_same_units_are_sampled(study) -> None:
    shuffled, layers = study
    options = {"metrics": ("kde_iou_unit",), "max_pairs": 12 * 4, "seed": 3}
    found = null_scores(shuffled[:2], layers, {"VISp": GROUPS["VISp"]}, **options)
    table = score_layers(shuffled[1], layers, {"VISp": GROUPS["VISp"]}, bootstraps=100, **options).table
    np.testing.assert_allclose(found[1, :, 0, 0], table["value"], atol=1e-3)


def observed(values: dict[tuple[str, str], float]) -> pd.DataFrame:
    rows = [
        {"layer": "l", "group": group, "metric": metric, "value": value} for (metric, group), value in values.items()
    ]
    return pd.DataFrame(rows)


def test_p_is_one_sided_by_metric_and_q_over_groups() -> None:
    table = observed(
        {("rmse_mean", "a"): 0.1, ("rmse_mean", "b"): 0.9, ("kde_iou_unit", "a"): 0.1, ("kde_iou_unit", "b"): 0.9}
    )
    null = np.tile(np.linspace(0.4, 0.6, 99)[:, None, None, None], (1, 1, 2, 2))
    found = scene_null_table(table, null, ["l"], ["a", "b"]).set_index(["metric", "group"])
    assert found["p"].round(2).tolist() == [0.01, 1.0, 1.0, 0.01]
    np.testing.assert_allclose(found.loc["rmse_mean", "q"], benjamini_hochberg([0.01, 1.0]))
    assert (found["null_mean"].round(6) == 0.5).all() and (found["n_shuffles"] == 99).all()
    assert ((found["null_low"] > 0.4) & (found["null_high"] < 0.6)).all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-10, 10) | st.just(float("nan")), min_size=2, max_size=2), st.integers(1, 30), st.integers(0, 99)
)
def test_p_is_never_zero_nor_above_one(values: list[float], shuffles: int, seed: int) -> None:
    null = np.random.default_rng(seed).normal(size=(shuffles, 1, 2, 1))
    found = scene_null_table(
        observed({("rmse_mean", "a"): values[0], ("rmse_mean", "b"): values[1]}), null, ["l"], ["a", "b"]
    )
    known = np.isfinite(values)
    assert found["p"].notna().tolist() == known.tolist() == found["q"].notna().tolist()
    for name in ("p", "q"):
        assert ((found[name][known] >= 1 / (shuffles + 1) - 1e-12) & (found[name][known] <= 1)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: null_scores([], {"l": np.ones((2, 3))}, {"a": [0]}), "at least one shuffle"),
        (
            lambda: null_scores([np.ones((2, 3)), np.ones((3, 3))], {"l": np.ones((2, 3))}, {"a": [0]}),
            "arrays of one shape",
        ),
        (lambda: null_scores([np.ones((2, 3))], {"l": np.ones((2, 3))}, {"a": [0]}, ["rmse"]), "one of"),
        (
            lambda: scene_null_table(observed({("rmse_mean", "a"): 1.0}), np.ones((3, 1, 1, 2)), ["l"], ["a"]),
            "an array",
        ),
    ],
)
def test_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
