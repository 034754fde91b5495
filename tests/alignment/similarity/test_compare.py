"""Two groups beside each other: layers chosen apart from where they are scored, notes, refused input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.similarity import benjamini_hochberg, compare_groups, scene_halves
from neural_alignment import InputError

LAYERS = ("conv1", "conv2", "fc")
DONORS = np.repeat(np.arange(12), 5)
GROUPS = {
    "Fezf2-1": np.arange(0, 20),
    "Sst-1": np.arange(20, 60),
    "excitatory": np.arange(0, 40),
    "straddling": np.arange(18, 23),
    "one": np.array([59]),
}


def scores(seed: int, best: str = "conv2", gap: float = 0.05, models: tuple = ("vgg11",)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([models, LAYERS, range(60)], names=["model", "layer", "cell"])
    table = index.to_frame(index=False)
    value = 0.2 + 0.01 * rng.normal(size=len(table)) - 0.05 * (table["layer"] == best) + gap * (table["cell"] >= 20)
    return table.assign(rmse_mean=value, kde_iou_unit=1 - value)


def test_best_layer_comes_from_the_other_half() -> None:
    found = compare_groups(
        scores(0, "fc"), GROUPS, "Fezf2-1", "Sst-1", DONORS, selection=scores(1, "conv2"), by=("model",)
    ).table
    assert (found["layer"] == "conv2").all()
    evaluated = scores(0, "fc")
    conv2 = evaluated[evaluated["layer"] == "conv2"]["rmse_mean"].to_numpy()
    row = found[found["metric"] == "rmse_mean"].iloc[0]
    assert (row["a_value"], row["b_value"]) == pytest.approx((conv2[:20].mean(), conv2[20:].mean()))
    assert row["difference"] == pytest.approx(conv2[:20].mean() - conv2[20:].mean())
    assert row["ci_low"] < row["difference"] < row["ci_high"] < 0
    assert (row["a_cells"], row["b_cells"], row["a_donors"], row["b_donors"]) == (20, 40, 4, 8)
    assert row["permuted"] == "donors"
    assert row["p"] == row["p_least"] == 1 / 495  # 12 choose 4
    best_overlap = found[found["metric"] == "kde_iou_unit"].iloc[0]
    assert best_overlap["difference"] == pytest.approx(-row["difference"])


def test_layers_of_each_model_are_chosen_apart() -> None:
    models = ("vgg11", "resnet18")
    selection = pd.concat([scores(1, "conv1", models=models[:1]), scores(2, "fc", models=models[1:])])
    found = compare_groups(
        scores(0, models=models), GROUPS, "Fezf2-1", "Sst-1", DONORS, selection=selection, by=("model",)
    ).table
    assert found.groupby("model")["layer"].unique().map(list).to_dict() == {
        "vgg11": ["conv1"],
        "resnet18": ["fc"],
    }
    for _, family in found.groupby("metric"):
        np.testing.assert_allclose(family["q"], benjamini_hochberg(family["p"].to_numpy()))


@pytest.mark.parametrize(("layer", "expected"), [("all", list(LAYERS)), ("fc", ["fc"])])
def test_named_and_all_layers(layer: str, expected: list) -> None:
    found = compare_groups(scores(0), GROUPS, "Fezf2-1", "Sst-1", DONORS, layer=layer, metrics=["rmse_mean"])
    assert found.table["layer"].tolist() == expected
    assert found.parameters["selected_on"] is None


def test_no_difference_gives_uniform_p() -> None:
    p = [
        compare_groups(
            scores(seed, gap=0.0),
            GROUPS,
            "Fezf2-1",
            "Sst-1",
            DONORS,
            layer="fc",
            metrics=["rmse_mean"],
            bootstraps=100,
            permutations=99,
        )
        .table["p"]
        .item()
        for seed in range(100)
    ]
    assert min(p) >= 0.01
    assert abs(np.mean(np.array(p) <= 0.2) - 0.2) < 0.12  # 3 standard errors


def test_shared_cells_count_for_the_smaller_group() -> None:
    found = compare_groups(scores(0), GROUPS, "excitatory", "Fezf2-1", DONORS, layer="fc").table.iloc[0]
    assert (found["a_cells"], found["b_cells"]) == (20, 20)
    assert "20 cells of both groups count for Fezf2-1 alone" in found["note"]
    back = compare_groups(scores(0), GROUPS, "Fezf2-1", "excitatory", DONORS, layer="fc").table.iloc[0]
    assert back["difference"] == pytest.approx(-found["difference"])


def test_straddling_donors_and_single_cells_are_said() -> None:
    groups = {"a": np.arange(0, 18), "b": np.arange(18, 40)}
    found = compare_groups(scores(0), groups, "a", "b", DONORS, layer="fc").table.iloc[0]
    assert found["permuted"] == "donors"
    assert "1 donor has cells on both sides" in found["note"]
    assert (found["a_donors"], found["b_donors"]) == (4, 5)
    assert found["p_least"] == 1 / (35 * 2)  # 3 of 7 donors, and one that changes its parts about
    single = compare_groups(scores(0), GROUPS, "Fezf2-1", "one", DONORS, layer="fc").table.iloc[0]
    assert "one: one cell, no interval" in single["note"]
    assert np.isnan(single["ci_low"])
    assert np.isnan([single["p"], single["q"]]).all()
    assert single["reason"] == (
        "not testable: 4 against 1 donor can be parted in 5 ways, so p is at least 0.2, above 0.05"
    )


def test_missing_scores_are_left_out_and_said() -> None:
    table = scores(0)
    table.loc[table["cell"] == 2, "rmse_mean"] = np.nan
    found = compare_groups(table, GROUPS, "Fezf2-1", "Sst-1", DONORS, selection=table).table.iloc[0]
    assert found["a_cells"] == 19
    assert "Fezf2-1: 1 of 20 cells left out" in found["note"]


def test_seeded() -> None:
    once, again, other = (
        compare_groups(scores(0), GROUPS, "Fezf2-1", "Sst-1", DONORS, layer="fc", seed=seed).table for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(once, again)
    assert (once["ci_low"] != other["ci_low"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": "Fezf2"}, "Did you mean 'Fezf2-1'"),
        ({"b": "Fezf2-1"}, "another group than 'a'"),
        ({"layer": "conv3"}, "Did you mean 'conv"),
        ({"layer": "best"}, "Score the same cells on the other half"),
        (
            {"layer": "best", "selection": scores(1).query("layer != 'fc'")},
            "over the comparisons, layers and cells",
        ),
        ({"layer": "best", "selection": scores(1).assign(rmse_mean=np.nan)}, "NaN throughout a layer"),
        ({"groups": {"Fezf2-1": [1, 2], "Sst-1": []}}, "none in 'Sst-1'"),
        ({"groups": {"Fezf2-1": [1, 2], "Sst-1": [1, 2]}}, "at least one scored cell of their own"),
        ({"cells": scores(0)[["cell", "layer"]]}, "columns of 'cells'"),
        ({"permutations": 3}, "permutations"),
    ],
)
def test_refused(change: dict, message: str) -> None:
    arguments = {"cells": scores(0), "groups": GROUPS, "a": "Fezf2-1", "b": "Sst-1", "layer": "fc"} | change
    with pytest.raises(InputError, match=message):
        compare_groups(**arguments)


@given(st.integers(4, 300), st.integers(0, 2**32))
def test_halves_of_the_scenes_are_halves(scenes: int, seed: int) -> None:
    first = scene_halves(scenes, seed)
    assert first.dtype == bool and first.shape == (scenes,)
    assert first.sum() == scenes // 2
    np.testing.assert_array_equal(first, scene_halves(scenes, seed))


def test_halves_depend_on_the_seed_and_refuse_too_few() -> None:
    assert len({scene_halves(118, seed).tobytes() for seed in range(20)}) == 20
    with pytest.raises(InputError, match=r"'scenes' parameter of scene_halves must be an integer ≥ 4\. Got 3"):
        scene_halves(3)


def test_each_side_has_its_own_interval() -> None:
    found = compare_groups(scores(0), GROUPS, "Fezf2-1", "Sst-1", DONORS, layer="all").table
    for side in "ab":
        assert (found[f"{side}_low"] < found[f"{side}_value"]).all()
        assert (found[f"{side}_value"] < found[f"{side}_high"]).all()
    single = compare_groups(scores(0), GROUPS, "Fezf2-1", "one", DONORS, layer="fc").table.iloc[0]
    assert np.isnan([single["b_low"], single["b_high"]]).all()
    assert single["a_low"] < single["a_value"] < single["a_high"]


def test_as_labelled_data() -> None:
    found = compare_groups(scores(0), GROUPS, "Fezf2-1", "Sst-1", DONORS, layer="all")
    labelled = found.to_xarray()
    assert labelled.sizes == {"comparison": len(found.table)}
    assert (labelled.attrs["a"], labelled.attrs["b"], labelled.attrs["layer"]) == ("Fezf2-1", "Sst-1", "all")
    assert {"layer", "metric", "permuted", "note"} <= set(labelled.coords)
    chosen = labelled.where((labelled["layer"] == "fc") & (labelled["metric"] == "rmse_mean"), drop=True)
    row = found.table.query("layer == 'fc' and metric == 'rmse_mean'").iloc[0]
    assert chosen["difference"].item() == row["difference"]
    assert chosen["a_cells"].item() == 20


@pytest.mark.parametrize(("cells", "ways", "least"), [((10, 10), 6, 1 / 3), ((10, 15), 10, 0.1)])
def test_too_few_donors_give_neither_p_nor_q(cells: tuple[int, int], ways: int, least: float) -> None:
    """Donors of five cells each; two against two can be parted in six ways, three of which look alike."""
    groups = {"a": np.arange(cells[0]), "b": np.arange(20, 20 + cells[1])}
    table = compare_groups(scores(0, gap=5.0), groups, "a", "b", DONORS, layer="fc", metrics=["rmse_mean"]).table
    row = table.iloc[0]
    assert np.isnan(row["p"]) and np.isnan(row["q"]) and row["p_least"] == pytest.approx(least)
    assert row["permuted"] == "donors"
    assert f"can be parted in {ways} ways, so p is at least {least:.3g}, above 0.05" in row["reason"]
    assert np.isfinite([row["difference"], row["ci_low"], row["ci_high"]]).all()


@pytest.mark.parametrize(("cells", "least"), [((10, 30), 1 / 28), ((20, 20), 2 / 70)])
def test_enough_donors_give_the_least_p_where_all_differ(cells: tuple[int, int], least: float) -> None:
    groups = {"a": np.arange(cells[0]), "b": np.arange(20, 20 + cells[1])}
    row = compare_groups(scores(0, gap=5.0), groups, "a", "b", DONORS, layer="fc").table.iloc[0]
    assert row["p"] == row["p_least"] == pytest.approx(least)
    assert row["reason"] == ""


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6), st.booleans(), st.integers(19, 60))
def test_p_and_q_are_above_0_and_at_most_1(seed: int, n_a: int, n_b: int, constant: bool, permutations: int) -> None:
    rng = np.random.default_rng(seed)
    value = np.ones(12) if constant else rng.random(12)
    table = pd.DataFrame({"layer": "conv", "cell": range(12), "rmse_mean": value})
    groups = {"a": np.arange(n_a), "b": np.arange(6, 6 + n_b)}
    donors = rng.integers(0, 8, 12)
    found = compare_groups(
        table, groups, "a", "b", donors, layer="all", bootstraps=100, permutations=permutations, seed=seed
    ).table.iloc[0]
    if found["p_least"] > 0.05:
        assert np.isnan(found["p"]) and np.isnan(found["q"]) and found["reason"]
        return
    assert 0 < found["p_least"] <= found["p"] <= found["q"] <= 1
    assert found["reason"] == ""
    if constant:
        assert found["p"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("donors", "between"), [((4, 4), 1.0), ((12, 5), 1.0), ((6, 18), 0.3), ((1, 1), 0.0)])
def test_coverage_of_the_difference(donors: tuple[int, int], between: float) -> None:
    """The 95 % interval of the difference of two groups of cells, donors differing among themselves."""
    rng = np.random.default_rng(3)
    covered = np.zeros(400, dtype=bool)
    for trial in range(len(covered)):
        codes = np.repeat(np.arange(sum(donors)), 12)
        value = between * rng.normal(size=sum(donors))[codes] + rng.normal(size=len(codes))
        split = 12 * donors[0]
        value[:split] += 0.7
        table = pd.DataFrame({"layer": "fc", "cell": range(len(codes)), "rmse_mean": value + 10})
        groups = {"a": np.arange(split), "b": np.arange(split, len(codes))}
        row = compare_groups(
            table, groups, "a", "b", codes, layer="fc", bootstraps=400, permutations=19, seed=trial
        ).table.iloc[0]
        covered[trial] = row["ci_low"] <= 0.7 <= row["ci_high"]
    # Three standard errors of a share of 400; intervals from the side with fewer donors are wide rather than narrow.
    assert covered.mean() >= 0.95 - 3 * (0.95 * 0.05 / len(covered)) ** 0.5
