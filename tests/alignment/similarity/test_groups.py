"""Group scores against a plain loop over pairs; resampling, degenerate cells, overlapping groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from alignment.similarity import CELL_METRICS, METRICS, bootstrap, kde_iou, score_groups, score_layers
from alignment.similarity.groups import group_rng
from alignment.similarity.inference import interval_limits, resample
from neural_alignment import InputError


def scaled(values: np.ndarray) -> np.ndarray:
    low = values.min(axis=1, keepdims=True)
    return (values - low) / (values.max(axis=1, keepdims=True) - low)


@pytest.fixture(scope="module")
def study() -> dict:
    rng = np.random.default_rng(0)
    neurons = scaled(rng.normal(size=(30, 256)) * rng.uniform(0.5, 2, (30, 1)))
    layers = {
        "conv1": scaled(np.maximum(rng.normal(size=(12, 256)), 0)),
        "conv2": scaled(rng.normal(size=(20, 256)) ** 3),
    }
    groups = {"VISp": np.arange(0, 20), "VISl": np.arange(20, 30), "excitatory": np.arange(5, 25)}
    donors = np.repeat(["m1", "m2", "m3", "m4", "m5", "m6"], 5)
    return {"neurons": neurons, "layers": layers, "groups": groups, "donors": donors}


@pytest.fixture(scope="module")
def scored(study: dict):
    return score_layers(**study, metrics=METRICS, bootstraps=300, seed=1)


def value_of(table: pd.DataFrame, metric: str, group: str, layer: str | None = None) -> pd.Series:
    rows = table[(table["metric"] == metric) & (table["group"] == group)]
    rows = rows if layer is None else rows[rows["layer"] == layer]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("group", ["VISp", "VISl", "excitatory"])
def test_values_are_those_of_a_loop_over_pairs(study: dict, scored, layer: str, group: str) -> None:
    cells, units = study["neurons"][study["groups"][group]], study["layers"][layer]
    distance = cdist(cells, units) / 16
    overlap = np.array([[kde_iou(cell, unit) for unit in units] for cell in cells])
    expected = {
        "rmse_mean": (distance.mean(), 1e-6),
        "rmse_nearest": (distance.min(axis=1).mean(), 1e-6),
        "kde_iou_population": (kde_iou(cells.ravel(), units.ravel()), 1e-3),
        "kde_iou_unit": (overlap.mean(), 1e-3),
        "kde_iou_unit_best": (overlap.max(axis=1).mean(), 1e-3),
    }
    for metric, (value, tolerance) in expected.items():
        row = value_of(scored.table, metric, group, layer)
        assert row["value"] == pytest.approx(value, abs=tolerance), metric
        assert row["ci_low"] <= row["value"] <= row["ci_high"] or metric == "kde_iou_population"
        assert (row["n_cells"], row["n_units"]) == (len(cells), len(units))
        assert row["resampled"] == "donors, cells"


def test_population_agrees_with_scipy_on_a_wide_grid(study: dict, scored) -> None:
    from scipy.stats import gaussian_kde

    pooled = study["neurons"][study["groups"]["VISl"]].ravel(), study["layers"]["conv2"].ravel()
    grid = np.linspace(-0.5, 1.5, 3001)
    p, q = (gaussian_kde(values)(grid) for values in pooled)
    expected = np.minimum(p, q).sum() / np.maximum(p, q).sum()
    found = value_of(scored.table, "kde_iou_population", "VISl", "conv2")["value"]
    assert found == pytest.approx(expected, abs=1e-4)


def test_cells_table_holds_every_cell_once_a_layer(study: dict, scored) -> None:
    assert len(scored.cells) == 2 * 30
    assert set(scored.cells) == {"layer", "cell", *CELL_METRICS, "nearest_unit", "best_unit"}
    conv1 = scored.cells[scored.cells["layer"] == "conv1"].set_index("cell")
    distance = cdist(study["neurons"], study["layers"]["conv1"])
    np.testing.assert_array_equal(conv1["nearest_unit"], distance.argmin(axis=1))
    cell, unit = 7, int(conv1.loc[7, "best_unit"])
    best = kde_iou(study["neurons"][cell], study["layers"]["conv1"][unit])
    assert conv1.loc[7, "kde_iou_unit_best"] == pytest.approx(best, abs=1e-3)


def test_intervals_are_those_of_the_bootstrap(study: dict, scored) -> None:
    conv1 = scored.cells[scored.cells["layer"] == "conv1"]
    cells = study["groups"]["VISp"]
    own = np.unique(study["donors"][cells], return_inverse=True)[1]
    shares = np.concatenate(list(resample(own, 300, group_rng("VISp", 1))))
    low, high = interval_limits(
        shares @ conv1["rmse_mean"].to_numpy()[cells], conv1["rmse_mean"].to_numpy()[cells].mean(), 4
    )
    row = value_of(scored.table, "rmse_mean", "VISp", "conv1")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), rel=1e-5)
    apart = bootstrap(conv1["rmse_mean"].to_numpy()[cells], study["donors"][cells], bootstraps=300)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(apart.high - apart.low, rel=0.25)


@pytest.mark.parametrize("n_cells", [4, 30])
def test_population_intervals_pool_what_is_drawn(study: dict, n_cells: int) -> None:
    """With more cells than resamples densities are mixed before they are smoothed; both ways are one."""
    from alignment.similarity._cells import CellScorer
    from alignment.similarity._lattice import overlap_to_iou

    scorer = CellScorer(study["neurons"], ("kde_iou_population",), seed=0, max_pairs=10**6)
    layers = [scorer.score(name, units) for name, units in study["layers"].items()]
    population = scorer.population(np.arange(n_cells))
    counts = np.random.default_rng(2).multinomial(n_cells, np.full(n_cells, 1 / n_cells), size=10)
    drawn = overlap_to_iou(population.resampled((counts / n_cells).astype(np.float32), layers))
    for repeat in range(10):
        pooled = np.repeat(study["neurons"][:n_cells], counts[repeat], axis=0).ravel()
        for column, units in enumerate(study["layers"].values()):
            assert drawn[repeat, column] == pytest.approx(kde_iou(pooled, units.ravel()), abs=5e-3)


def test_a_group_scores_alike_whatever_stands_beside_it(study: dict, scored) -> None:
    alone = score_groups(
        study["neurons"],
        study["layers"]["conv2"],
        {"VISl": study["groups"]["VISl"]},
        METRICS,
        study["donors"],
        bootstraps=300,
        seed=1,
    )
    beside = scored.table[(scored.table["layer"] == "conv2") & (scored.table["group"] == "VISl")]
    columns = ["value", "ci_low", "ci_high"]
    np.testing.assert_allclose(alone.table[columns], beside[columns], rtol=1e-5)
    assert "layer" not in alone.table
    assert "layer" not in alone.cells
    again = score_groups(study["neurons"], study["layers"]["conv2"], {"VISl": range(20, 30)}, seed=1)
    twice = score_groups(study["neurons"], study["layers"]["conv2"], {"VISl": range(20, 30)}, seed=1)
    pd.testing.assert_frame_equal(again.table, twice.table)


def test_layers_come_one_at_a_time_and_in_order(study: dict) -> None:
    seen: list[str] = []
    layers = ((name, study["layers"][name]) for name in ("conv2", "conv1"))
    found = score_layers(
        study["neurons"], layers, {"VISp": [0, 1]}, ("rmse_mean",), bootstraps=100, progress=seen.append
    )
    assert seen == ["conv2", "conv1"] == list(found.table["layer"])


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_alone_is_what_it_is_among_all(study: dict, scored, metric: str) -> None:
    alone = score_layers(**study, metrics=(metric,), bootstraps=300, seed=1).table
    among = scored.table[scored.table["metric"] == metric].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, among, rtol=1e-5)


def test_missing_cells_are_left_out_and_said(study: dict) -> None:
    neurons = study["neurons"].copy()
    neurons[3, 5] = np.nan
    groups = {
        "some": [2, 3, 4],
        "all missing": [3],
        "none": np.array([], dtype=int),
        "one": [5],
        "mask": np.arange(30) < 2,
    }
    found = score_groups(neurons, study["layers"]["conv1"], groups, donors=study["donors"], bootstraps=100)
    notes = found.table.drop_duplicates("group").set_index("group")
    assert notes.loc["some", "n_cells"] == 2
    assert "1 of 3 cells left out: their representation is not finite" in notes.loc["some", "note"]
    assert "one donor, or none named: only cells are resampled" in notes.loc["some", "note"]
    assert notes.loc["some", "reason"] == ""
    assert notes.loc["all missing", "n_cells"] == 0
    assert "1 of 1 cells left out" in notes.loc["all missing", "reason"]
    assert notes.loc["none", "reason"] == "no cells in this group"
    assert notes.loc["one", "reason"] == "one cell: no interval"
    assert notes.loc["mask", "n_cells"] == 2
    one = found.table[found.table["group"] == "one"]
    assert one["value"].notna().all()
    assert one["ci_low"].isna().all()
    assert found.table[found.table["group"].isin(["all missing", "none"])]["value"].isna().all()
    assert found.parameters["cells_left_out"] == 1
    assert found.cells.loc[3, list(CELL_METRICS[:3])].isna().all()
    assert found.cells.loc[3, "nearest_unit"] == -1


def test_constant_cells_and_units_follow_the_point_rules(study: dict) -> None:
    neurons, units = study["neurons"].copy(), study["layers"]["conv1"].copy()
    neurons[0] = 0.0
    units[0] = units[1] = 0.0
    found = score_groups(neurons, units, {"point": [0], "both": [0, 1]}, METRICS, bootstraps=100)
    assert value_of(found.table, "kde_iou_unit", "point")["value"] == pytest.approx(2 / 12)
    assert value_of(found.table, "kde_iou_unit_best", "point")["value"] == 1.0
    assert value_of(found.table, "kde_iou_population", "point")["value"] == 0.0
    zeros = score_groups(neurons, np.zeros((3, 256)), {"point": [0], "other": [1]}, METRICS, bootstraps=100)
    assert value_of(zeros.table, "kde_iou_population", "point")["value"] == 1.0
    assert value_of(zeros.table, "kde_iou_population", "other")["value"] == 0.0


def test_values_outside_of_the_neurons_range_get_a_lattice_of_their_own(study: dict) -> None:
    units = 5.0 + 3.0 * study["layers"]["conv2"]
    found = score_groups(study["neurons"], units, {"a": range(30)}, METRICS, bootstraps=100)
    assert value_of(found.table, "kde_iou_population", "a")["value"] < 1e-3
    shifted = score_groups(study["neurons"], units - 4.8, {"a": range(30)}, METRICS, bootstraps=100)
    expected = kde_iou(study["neurons"].ravel(), units.ravel() - 4.8)
    assert value_of(shifted.table, "kde_iou_population", "a")["value"] == pytest.approx(expected, abs=2e-3)


def test_sampled_units_are_seeded_and_said(study: dict) -> None:
    options = {"metrics": ("rmse_mean", "kde_iou_unit"), "bootstraps": 100, "max_pairs": 30 * 8}
    found = score_groups(study["neurons"], study["layers"]["conv2"], {"VISp": range(20)}, seed=3, **options)
    row = value_of(found.table, "kde_iou_unit", "VISp")
    assert "KDE-IoU with 8 of 20 units, sampled" in row["note"]
    assert "units, sampled" not in value_of(found.table, "rmse_mean", "VISp")["note"]
    assert found.parameters["units_sampled"] == {"": 8}
    again = score_groups(study["neurons"], study["layers"]["conv2"], {"VISp": range(20)}, seed=3, **options)
    assert value_of(again.table, "kde_iou_unit", "VISp")["value"] == row["value"]


def test_a_layer_of_the_cells_themselves_is_best(study: dict) -> None:
    rng = np.random.default_rng(4)
    layers = {"truth": study["neurons"], "random": scaled(rng.normal(size=(30, 256)))}
    found = score_layers(study["neurons"], layers, {"all": range(30)}, METRICS, bootstraps=100).table
    assert value_of(found, "rmse_nearest", "all", "truth")["value"] == 0.0
    assert value_of(found, "rmse_nearest", "all", "random")["value"] > 0.1
    assert value_of(found, "kde_iou_population", "all", "truth")["value"] == pytest.approx(1.0, abs=1e-6)
    assert value_of(found, "kde_iou_unit_best", "all", "truth")["value"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": np.ones((3, 100))}, "256 values. Got 100 instead. Represent both on the same grid"),
        ({"units": np.full((3, 256), np.nan)}, "first in row 0"),
        ({"neurons": np.full((30, 256), np.nan)}, "finite in at least one row"),
        ({"metrics": ("rmse_men",)}, "Did you mean 'rmse_mean'"),
        ({"metrics": "rmse_mean"}, "a list of names"),
        ({"metrics": ()}, "a list of names"),
        ({"groups": {"VISp": [30]}}, "positions among the 30 cells"),
        ({"groups": {"VISp": [-1]}}, "positions among the 30 cells"),
        ({"groups": {"VISp": np.ones(7, dtype=bool)}}, "a mask of that length"),
        ({"groups": {"VISp": ["a"]}}, "positions among"),
        ({"donors": ["a"]}, "one donor for each of the 30 cells"),
        ({"bootstraps": 10}, "'bootstraps' parameter of score_groups"),
        ({"seed": -1}, "seed"),
    ],
)
def test_refused(study: dict, change: dict, message: str) -> None:
    arguments = {
        "neurons": study["neurons"],
        "units": study["layers"]["conv1"],
        "groups": study["groups"],
    } | change
    with pytest.raises(InputError, match=message):
        score_groups(**arguments)


def test_a_refused_layer_is_named(study: dict) -> None:
    with pytest.raises(InputError, match=r"score_groups \(layer 'fc'\)"):
        score_layers(study["neurons"], {"fc": np.ones((2, 3))}, study["groups"])
