"""Figures of transfer: every number drawn is one of the tables', and what is not known is not drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports import ReportData
from reports.figures_conditions import condition_differences_figure, condition_ranks
from reports.figures_errors import class_recall, confusion_matrices, reliability_diagram
from reports.figures_features import feature_distances_figure
from reports.figures_link import gain_against_gain, say_link
from reports.figures_transfer import transfer_accuracy
from reports.views_transfer import gains

Build = Callable[..., ReportData]


def texts(figure: Figure) -> list[str]:
    return [item.get_text() for item in figure.findobj(Text) if item.get_text()]


def points(figure: Figure) -> Iterator[np.ndarray]:
    for axes in figure.axes:
        for item in axes.collections:
            if isinstance(item, PathCollection) and len(item.get_offsets()):
                yield np.asarray(item.get_offsets())


def one_seed(data: ReportData, **more: pd.DataFrame) -> ReportData:
    """Return the study as it would be with a single seed: no spread, no interval."""
    nothing = {"ci_low": np.nan, "ci_high": np.nan, "p": np.nan, "q": np.nan, "seeds": 1}
    tables = {name: data.table(name).assign(**nothing) for name in ("transfer_paired", "transfer_overall")}
    tables["transfer"] = data.table("transfer").query("seed == 0")
    tables |= {name: data.table(name).assign(seeds=1) for name in ("transfer_recall", "transfer_confusion")}
    tables["transfer_seeds"] = data.table("transfer_seeds").assign(sd=np.nan, ece_sd=np.nan, seeds=1)
    return dataclasses.replace(data, **{**tables, **more})


def test_methods_are_drawn_beside_layers(report_data: ReportData) -> None:
    (drawing,) = transfer_accuracy(report_data)
    assert {"baseline", "NeuRN", "LCN", "after RandConv"} <= set(texts(drawing.figure))


def test_differences_are_those_of_the_tables_with_their_intervals(report_data: ReportData) -> None:
    (drawing,) = condition_differences_figure(report_data)
    overall = report_data.table("transfer_overall").query("reference == 'baseline'")
    paired = report_data.table("transfer_paired").query("reference == 'baseline'")
    drawn = np.sort(np.concatenate([found[:, 0] for found in points(drawing.figure)]))
    expected = 100 * np.concatenate([overall["difference"], paired["difference"]])
    assert drawn == pytest.approx(np.sort(expected))
    lines = [np.asarray(line.get_xdata()) for axes in drawing.figure.axes for line in axes.lines]
    for low, high in 100 * overall[["ci_low", "ci_high"]].to_numpy():
        assert any(np.allclose(line, [low, high]) for line in lines)
    assert "95 % t interval over n = 3 seeds" in drawing.caption
    assert "baseline" not in texts(drawing.figure), "the baseline minus itself says nothing"


def test_with_one_seed_no_interval_is_drawn_and_the_caption_says_so(report_data: ReportData) -> None:
    (drawing,) = condition_differences_figure(one_seed(report_data))
    assert "1 seed, too few for an interval" in drawing.caption and "t interval" not in drawing.caption
    horizontal = [line for axes in drawing.figure.axes for line in axes.lines if np.ptp(np.asarray(line.get_xdata()))]
    assert horizontal == []


def test_an_interval_of_two_seeds_does_not_dwarf_the_differences(build_report: Build) -> None:
    table = build_report().table("transfer_overall")
    wide = table.assign(ci_low=table["difference"] - 9, ci_high=table["difference"] + 9)
    (drawing,) = condition_differences_figure(build_report(transfer_overall=wide))
    low, high = drawing.figure.axes[0].get_xlim()
    assert high - low < 300


def test_ranks_are_drawn_best_first(report_data: ReportData) -> None:
    drawing = condition_ranks(report_data)
    assert drawing is not None
    labels = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    assert labels == ["NeuRN", "after RandConv", "LCN", "baseline"]
    assert {"1.0", "4.0", "resnet18"} <= set(texts(drawing.figure))


def test_one_condition_has_no_rank(build_report: Build) -> None:
    ranks = build_report().table("transfer_ranks").query("layer_variant == 'neurn'")
    assert condition_ranks(build_report(transfer_ranks=ranks)) is None


def test_recall_shows_every_class_without_and_with_neurn(report_data: ReportData) -> None:
    drawing = class_recall(report_data)
    assert drawing is not None
    table = report_data.table("transfer_recall").query("method == 'plain' and layer_variant in ['baseline', 'neurn']")
    means = 100 * table.groupby(["source", "target", "layer_variant", "class_name"])["recall"].mean()
    drawn = np.concatenate([found[:, 1] for found in points(drawing.figure)])
    assert np.sort(drawn) == pytest.approx(np.sort(means.to_numpy()))
    assert "54 images a class" in drawing.caption and "3 seeds" in drawing.caption


def test_a_hundred_classes_are_ordered_instead_of_named(build_report: Build) -> None:
    table = build_report().table("transfer_recall").query("class_name == '0' and target == 'digits_m'")
    rng = np.random.default_rng(0)
    many = pd.concat([table.assign(class_name=f"kind {k}", recall=rng.random(len(table))) for k in range(100)])
    drawing = class_recall(build_report(transfer_recall=many))
    assert drawing is not None and "100 classes, by recall" in texts(drawing.figure)
    assert not any(text.startswith("kind") for text in texts(drawing.figure))
    first = max(points(drawing.figure), key=lambda found: -found[0, 0])
    order = first[np.argsort(first[:, 0]), 1]
    assert (np.diff(order) <= 1e-9).all(), "from the class recognised best without NeuRN to the worst"


def test_confusions_are_shares_of_the_true_class(report_data: ReportData) -> None:
    (drawing,) = confusion_matrices(report_data)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in drawing.figure.axes if axes.images]
    assert len(pictures) == 4 * 3 * 2
    assert all(picture.sum(axis=1) == pytest.approx(100) for picture in pictures)
    table = report_data.table("transfer_confusion").query(
        "model == 'resnet18' and layer_variant == 'baseline' and method == 'plain' and target == 'digits'"
    )
    right = table[table["true_class"] == table["predicted_class"]].set_index("true_class")["n"]
    assert np.diag(pictures[0]) == pytest.approx([100 * right.get(str(k), 0) / 162 for k in range(10)])
    assert {"9", "taken for", "resnet18\nbaseline", "resnet18\nNeuRN"} <= set(texts(drawing.figure))


def test_of_many_models_and_transfers_the_first_are_drawn_and_the_rest_named(build_report: Build) -> None:
    table = build_report().table("transfer_confusion")
    models = pd.concat([table, table.assign(model=table["model"] + "b")])
    many = pd.concat([models.assign(target=models["target"] + f"_{k}") for k in range(4)])
    made = confusion_matrices(build_report(transfer_confusion=many))
    assert len(made) == 2 and made[0].name != made[1].name
    assert "the first 3 of 6 models and 6 of 16 transfers" in made[0].caption
    assert all(drawing.figure.get_figheight() <= 9.3 for drawing in made)


def test_a_class_without_images_stays_white(build_report: Build) -> None:
    table = build_report().table("transfer_confusion")
    (drawing,) = confusion_matrices(build_report(transfer_confusion=table[table["true_class"] != "7"]))
    pictures = [np.asarray(axes.images[0].get_array()) for axes in drawing.figure.axes if axes.images]
    assert all(picture.shape == (10, 10) and picture[7].sum() == 0 for picture in pictures)


def test_the_reliability_diagram_adds_bins_up_and_prints_the_error(report_data: ReportData) -> None:
    drawing = reliability_diagram(report_data)
    assert drawing is not None
    bins = report_data.table("transfer_calibration").query("target == 'digits_m' and method == 'plain'")
    drawn = np.concatenate(list(points(drawing.figure)))
    for variant in ("baseline", "neurn"):
        own = bins[bins["layer_variant"] == variant]
        for low, part in own.groupby("low"):
            x, y = (100 * np.average(part[name], weights=part["n"]) for name in ("confidence", "accuracy"))
            assert np.isclose(drawn, [x, y]).all(axis=1).any(), low
        ece = report_data.table("transfer_seeds").query(
            "target == 'digits_m' and method == 'plain' and layer_variant == @variant"
        )["ece"]
        assert f"ECE {100 * ece.mean():.1f}" in texts(drawing.figure)


def test_distances_are_drawn_from_input_to_output(report_data: ReportData) -> None:
    drawing = feature_distances_figure(report_data)
    assert drawing is not None and "without an interval" in drawing.caption and "n = 200" in drawing.caption
    table = report_data.table("transfer_features").query(
        "model == 'vgg11' and layer_variant == 'neurn' and target == 'digits_m'"
    )
    lines = [np.asarray(line.get_ydata()) for axes in drawing.figure.axes for line in axes.lines]
    assert any(len(line) == len(table) and np.allclose(line, table["distance"]) for line in lines)
    assert {"input", "output", "vit_small"} <= set(texts(drawing.figure))


def test_an_infinite_distance_is_left_out(build_report: Build) -> None:
    table = build_report().table("transfer_features")
    broken = table.assign(distance=np.where(table["layer_index"] == 1, np.inf, table["distance"]))
    drawing = feature_distances_figure(build_report(transfer_features=broken))
    assert drawing is not None
    assert np.isfinite(drawing.figure.axes[0].get_ylim()).all()


# --- the link to alignment ------------------------------------------------------------------------


def more_models(data: ReportData) -> ReportData:
    """Return the study with each model twice, the copies a little different."""

    def twice(table: pd.DataFrame, column: str, change: float) -> pd.DataFrame:
        other = table.assign(model=table["model"] + "x")
        other[column] = other[column] + change * (other["layer_variant"] == "neurn")
        return pd.concat([table, other], ignore_index=True)

    return dataclasses.replace(
        data,
        similarity=twice(data.table("similarity"), "value", 0.003),
        transfer=twice(data.table("transfer"), "accuracy", -0.03),
    )


def test_with_three_models_the_gains_are_drawn_without_an_interval(report_data: ReportData) -> None:
    drawing = gain_against_gain(report_data)
    assert drawing is not None and "(n = 3)" in drawing.caption
    assert "not defined with fewer than 4 networks" in drawing.caption and "without an interval" in drawing.caption
    assert "[" not in drawing.caption


def test_with_more_models_the_interval_is_a_bootstraps(report_data: ReportData) -> None:
    from alignment.transfer import correlate_gains

    data = more_models(report_data)
    drawing, table = gain_against_gain(data), gains(data)
    assert drawing is not None and len(table) == 6 and "bootstrap over models" in drawing.caption
    link = correlate_gains(table["rmse_mean"], table["transfer"])
    assert say_link(link) in drawing.caption and "[" in say_link(link)


def test_gains_are_signed_so_that_more_is_better(report_data: ReportData) -> None:
    table = gains(report_data)
    assert list(table.columns) == ["rmse_mean", "kde_iou_population", "transfer"]
    assert (table > 0).all(axis=None), "the synthetic NeuRN is closer and more accurate for every model"
