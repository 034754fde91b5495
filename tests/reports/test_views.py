"""Summaries against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports import ReportData
from reports.views import (
    best_layers,
    class_of_groups,
    group_scores,
    model_scores,
    ordered_groups,
    ordered_variants,
    paired_groups,
    primary_representation,
    transfer_differences,
    transfer_summary,
)


def held(**parts: Any) -> ReportData:
    return ReportData(name="a", title="A", sentence="S.", simulated=True, study_yaml="", command="", **parts)


def similarity(rows: list[tuple[str, str, str, str, float]], **changes: Any) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["model", "layer_variant", "layer", "group", "value"])
    fixed = {"representation": "weighted", "group_by": "genotype", "metric": "rmse_mean", "n_cells": 7}
    frame = frame.assign(ci_low=frame["value"] - 0.1, ci_high=frame["value"] + 0.2)
    return frame.assign(**(fixed | changes))


ROWS = [
    ("m", "baseline", "l1", "Sst", 1.0),
    ("m", "baseline", "l2", "Sst", 3.0),
    ("m", "neurn", "l1", "Sst", 1.0),
    ("m", "neurn", "l2", "Sst", 2.0),
    ("n", "baseline", "l1", "Sst", 6.0),
    ("n", "neurn", "l1", "Sst", 5.0),
    ("o", "baseline", "l1", "Sst", 99.0),
    ("m", "baseline", "l1", "Cux2-1", 4.0),
    ("m", "neurn", "l1", "Cux2-1", 5.0),
]


def test_scores_are_averaged_over_layers_within_each_model() -> None:
    scores = model_scores(held(similarity=similarity(ROWS)), "genotype", "rmse_mean")
    row = scores[(scores["model"] == "m") & (scores["layer_variant"] == "baseline") & (scores["group"] == "Sst")]
    assert row[["value", "ci_low", "ci_high"]].to_numpy() == pytest.approx(np.array([[2.0, 1.9, 2.2]]))


def test_groups_average_models_that_have_both_sides() -> None:
    scores = group_scores(held(similarity=similarity(ROWS)), "genotype", "rmse_mean")
    assert scores.loc["Sst", ["baseline", "variant", "difference"]].tolist() == pytest.approx([4.0, 3.25, -0.75])
    assert scores.loc["Sst", "n_models"] == 2, "model o has no NeuRN side and must not count"
    assert scores["neuron_class"].to_dict() == {"Cux2-1": "excitatory", "Sst": "inhibitory"}


def test_the_difference_comes_from_the_paired_table_where_there_is_one() -> None:
    paired = pd.DataFrame(
        {
            "model": ["m", "m", "n"],
            "layer": ["l1", "l2", "l1"],
            "representation": "weighted",
            "group_by": "genotype",
            "group": "Sst",
            "metric": "rmse_mean",
            "difference": [-0.3, -0.5, 0.2],
            "ci_low": [-0.4, -0.6, 0.1],
            "ci_high": [-0.2, -0.4, 0.3],
            "q": [0.01, 0.04, 0.04],
        }
    )
    data = held(similarity=similarity(ROWS), paired=paired)
    row = paired_groups(data, "genotype", "rmse_mean").loc["Sst"]
    assert row[["difference", "ci_low", "ci_high"]].tolist() == pytest.approx([-0.1, -0.2, 0.0])
    assert row[["n_tests", "n_lower", "n_higher"]].tolist() == [3, 2, 1]
    scores = group_scores(data, "genotype", "rmse_mean")
    assert scores.loc["Sst", "difference"] == pytest.approx(-0.1), "a network counts once, however many layers it has"
    assert scores.loc["Cux2-1", "difference"] == pytest.approx(1.0), "falls back to the difference of the means"


def test_another_variant_never_borrows_the_intervals_of_neurn(
    build_report: Callable[..., ReportData],
) -> None:
    data = build_report()
    table = data.table("similarity")
    data = build_report(similarity=pd.concat([table, table[table["neurn"]].assign(layer_variant="lcn")]))
    assert group_scores(data, "genotype", "rmse_mean", "lcn")["ci_low"].isna().all()
    assert group_scores(data, "genotype", "rmse_mean")["ci_low"].notna().all()


def test_the_difference_is_that_of_the_scores_beside_it_whatever_the_networks_depth(report_data: ReportData) -> None:
    assert report_data.table("similarity").groupby("model")["layer"].nunique().nunique() > 1
    scores = group_scores(report_data, "genotype", "rmse_mean")
    np.testing.assert_allclose(scores["difference"], scores["variant"] - scores["baseline"], atol=1e-12)


def test_the_papers_representation_leads_and_others_do_not_mix_in() -> None:
    both = pd.concat([similarity(ROWS, representation="tuning", ci_low=0).assign(value=50.0), similarity(ROWS)])
    data = held(similarity=both)
    assert primary_representation(both) == "weighted"
    assert group_scores(data, "genotype", "rmse_mean").loc["Sst", "baseline"] == pytest.approx(4.0)
    assert primary_representation(similarity(ROWS, representation="own")) == "own"


@pytest.mark.parametrize(("metric", "layer"), [("rmse_mean", "l1"), ("rmse_nearest", "l1"), ("kde_iou_unit", "l2")])
def test_the_best_layer_is_the_lowest_rmse_or_the_highest_overlap(metric: str, layer: str) -> None:
    best = best_layers(held(similarity=similarity(ROWS[:2], metric=metric)), "genotype", metric)
    assert best["layer"].tolist() == [layer]


@pytest.mark.parametrize(
    "frame",
    [None, similarity(ROWS, metric="other"), similarity(ROWS, group_by="area"), similarity([ROWS[0]])],
    ids=["no table", "other metric", "other grouping", "baseline alone"],
)
def test_nothing_to_compare_is_an_empty_table(frame: pd.DataFrame | None) -> None:
    assert group_scores(held(similarity=frame), "genotype", "rmse_mean").empty


def test_classes_come_from_the_cells_and_a_mixed_group_is_both() -> None:
    cells = pd.DataFrame(
        {
            "cell_specimen_id": [1, 2, 3],
            "area": ["VISp", "VISp", "VISl"],
            "cre_line": "x",
            "genotype": ["Vip", "a", "a"],
            "neuron_class": ["inhibitory", "excitatory", "excitatory"],
        }
    )
    data = held(cells=cells)
    assert class_of_groups(data, "area") == {"VISp": "both", "VISl": "excitatory"}
    assert class_of_groups(data, "genotype") == {"Vip": "inhibitory", "a": "excitatory"}


def test_orders() -> None:
    assert ordered_groups(["VISl", "Zz", "VISp", "Aa"]) == ["VISp", "VISl", "Aa", "Zz"]
    table = pd.DataFrame({"layer_variant": ["mine", "neurn", "baseline", None]})
    assert ordered_variants(table) == ["baseline", "neurn", "mine"]


def transfer(rows: list[tuple[str, str, int, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["model", "layer_variant", "seed", "accuracy"])
    return frame.assign(source="a", target="b")


def test_transfer_is_averaged_over_seeds_and_paired_within_them() -> None:
    data = held(
        transfer=transfer(
            [
                ("m", "baseline", 0, 0.2),
                ("m", "baseline", 1, 0.4),
                ("m", "neurn", 1, 0.5),
                ("m", "neurn", 2, 0.9),
            ]
        )
    )
    summary = transfer_summary(data).set_index("layer_variant")
    assert summary.loc["baseline", ["mean", "sd", "seeds"]].tolist() == pytest.approx([0.3, np.sqrt(0.02), 2])
    pairs = transfer_differences(data)
    assert pairs["seed"].tolist() == [1] and pairs["difference"].tolist() == pytest.approx([0.1])


def test_one_seed_has_no_spread() -> None:
    assert transfer_summary(held(transfer=transfer([("m", "neurn", 0, 0.2)])))["sd"].isna().all()
