"""Every figure: what it shows, the mark it bears, and that nothing is drawn from nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports import Examples, ReportData
from reports.architecture_figures import architecture_heatmap
from reports.data import TABLES
from reports.figures_conditions import condition_differences_figure, condition_ranks
from reports.figures_errors import class_recall, confusion_matrices, reliability_diagram
from reports.figures_examples import density_pairs, domain_images, example_maps
from reports.figures_features import feature_distances_figure
from reports.figures_groups import neurn_scatter, rmse_violins
from reports.figures_layers import layer_profile
from reports.figures_link import alignment_and_transfer, gain_against_gain
from reports.figures_quality import (
    embedding_and_kept,
    marginal_quantiles,
    peak_against_time,
    reliability_by_area,
)
from reports.figures_transfer import transfer_accuracy
from reports.style import Drawing, to_svg
from reports.views import group_scores, transfer_summary

Made = Drawing | list[Drawing] | None
FROM_NEURONS: dict[str, Callable[[ReportData], Made]] = {
    "scatter": neurn_scatter,
    "violins by area": lambda data: rmse_violins(data, "area"),
    "violins by genotype": lambda data: rmse_violins(data, "genotype"),
    "layers": layer_profile,
    "overlap by layer": lambda data: layer_profile(data, "kde_iou_population"),
    "densities": density_pairs,
    "maps": example_maps,
    "glance": alignment_and_transfer,
    "gains": gain_against_gain,
    "peaks": peak_against_time,
    "reliability": reliability_by_area,
    "marginals": marginal_quantiles,
    "embedding": embedding_and_kept,
}
FROM_IMAGES: dict[str, Callable[[ReportData], Made]] = {
    "architectures": architecture_heatmap,
    "transfer": transfer_accuracy,
    "differences": condition_differences_figure,
    "ranks": condition_ranks,
    "recall": class_recall,
    "confusion": confusion_matrices,
    "reliability": reliability_diagram,
    "features": feature_distances_figure,
    "domains": domain_images,
}


TRANSFER = tuple(name for name in TABLES if name.startswith("transfer"))


def drawings(made: Made) -> list[Drawing]:
    return [] if made is None else made if isinstance(made, list) else [made]


def texts(figure: Figure) -> list[str]:
    return [item.get_text() for item in figure.findobj(Text) if item.get_text()]


@pytest.mark.parametrize("name", FROM_NEURONS)
def test_a_figure_of_simulated_neurons_says_so_in_itself(name: str, report_data: ReportData) -> None:
    for drawing in drawings(FROM_NEURONS[name](report_data)):
        assert "SIMULATED" in texts(drawing.figure)


@pytest.mark.parametrize("name", FROM_NEURONS)
def test_a_figure_of_recorded_neurons_does_not(name: str, build_report: Callable[..., ReportData]) -> None:
    made = drawings(FROM_NEURONS[name](build_report(simulated=False)))
    assert made and all("SIMULATED" not in texts(drawing.figure) for drawing in made)


@pytest.mark.parametrize("name", FROM_IMAGES)
def test_a_figure_of_real_images_is_not_called_simulated(name: str, report_data: ReportData) -> None:
    made = drawings(FROM_IMAGES[name](report_data))
    assert made and all("SIMULATED" not in texts(drawing.figure) for drawing in made)


@pytest.mark.parametrize("name", [*FROM_NEURONS, *FROM_IMAGES])
def test_every_figure_is_told_with_its_n_and_the_same_bytes(name: str, build_report: Callable[..., ReportData]) -> None:
    make = (FROM_NEURONS | FROM_IMAGES)[name]
    first, second = drawings(make(build_report())), drawings(make(build_report()))
    for one, other in zip(first, second, strict=True):
        assert to_svg(one.figure) == to_svg(other.figure)
        assert len(one.caption) > 60 and one.alt and one.caption.endswith(".")
        assert one.figure.get_figwidth() <= 7.0 and one.figure.get_figheight() <= 9.3, "must fit on a page"
    if name not in ("marginals", "domains", "maps", "confusion"):
        assert "n = " in first[0].caption


@pytest.mark.parametrize("name", [*FROM_NEURONS, *FROM_IMAGES])
def test_nothing_is_drawn_from_nothing(name: str, build_report: Callable[..., ReportData]) -> None:
    bare = dict.fromkeys(
        (
            "similarity",
            "paired",
            "cell_scores",
            "cells",
            "marginals",
            "embedding",
            "examples",
            "architectures",
            *TRANSFER,
        )
    )
    make = (FROM_NEURONS | FROM_IMAGES)[name]
    assert drawings(make(build_report(**bare))) == []
    empty = {
        key: build_report().table(key)[:0]
        for key in ("similarity", "paired", "cell_scores", "marginals", "embedding", *TRANSFER)
    }
    gone = build_report(
        **empty,
        cells=build_report().table("cells").assign(peak=np.nan, reliability=np.nan),
        examples=Examples(),
        architectures=None,
    )
    assert drawings(make(gone)) == []


def offsets(figure: Figure) -> Iterable[np.ndarray]:
    for axes in figure.axes:
        for item in axes.collections:
            if isinstance(item, PathCollection):
                yield np.asarray(item.get_offsets())


def test_the_scatter_shows_every_group_at_its_numbers(report_data: ReportData) -> None:
    drawing = neurn_scatter(report_data)
    assert drawing is not None
    shown = np.concatenate(list(offsets(drawing.figure)))
    for by in ("neuron_class", "area", "genotype"):
        for group, row in group_scores(report_data, by, "rmse_mean").iterrows():
            assert np.isclose(shown, row[["baseline", "variant"]].astype(float)).all(axis=1).any(), group
            assert group in texts(drawing.figure)
    assert "RMSE without NeuRN" in texts(drawing.figure) and "29 of 30" in drawing.caption


@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_the_diagonal_is_always_in_view(shift: float, build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("similarity")
    moved = table["value"] + np.where(table["neurn"], shift, 0.0)
    drawing = neurn_scatter(build_report(similarity=table.assign(value=moved), paired=None))
    assert drawing is not None
    for axes in drawing.figure.axes:
        (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
        assert max(x0, y0) < min(x1, y1)
        assert x1 - x0 == pytest.approx(y1 - y0)


def test_violins_leave_no_cell_out(report_data: ReportData) -> None:
    drawing = rmse_violins(report_data, "genotype")
    assert drawing is not None and f"n = {len(report_data.table('cells')):,} cells" in drawing.caption


def test_small_groups_become_points(build_report: Callable[..., ReportData]) -> None:
    data = build_report()
    cells = data.table("cells").copy()
    cells.loc[0, "genotype"] = "lonely"
    drawing = rmse_violins(dataclasses.replace(data, cells=cells), "genotype")
    assert drawing is not None and "lonely (1)" in texts(drawing.figure)
    assert sum(len(found) for found in offsets(drawing.figure)) == 2


def test_many_models_are_spread_over_figures(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("similarity")
    table = table[(table["model"] == "vgg11") & (table["group_by"] == "neuron_class")]
    many = pd.concat([table.assign(model=f"model {number}") for number in range(11)])
    made = layer_profile(build_report(similarity=many))
    assert [drawing.name for drawing in made] == ["layers_rmse_mean_1", "layers_rmse_mean_2"]
    shown = {text for drawing in made for text in texts(drawing.figure)}
    assert {f"model {number}" for number in range(11)} <= shown


def test_many_transfers_are_spread_over_figures(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("transfer")
    table = table[table["target"] == "digits"]
    many = pd.concat([table.assign(target=f"t{number}") for number in range(16)])
    made = transfer_accuracy(build_report(transfer=many))
    shown = {text for drawing in made for text in texts(drawing.figure)}
    assert len(made) == 2 and {f"digits →\nt{number}" for number in range(16)} <= shown


def test_transfer_draws_every_run_its_mean_and_chance(report_data: ReportData) -> None:
    (drawing,) = transfer_accuracy(report_data)
    runs = np.sort(np.concatenate([found[:, 1] for found in offsets(drawing.figure)]))
    assert runs == pytest.approx(np.sort(100 * report_data.table("transfer")["accuracy"].to_numpy()))
    lines = [np.asarray(line.get_ydata()) for axes in drawing.figure.axes for line in axes.lines]
    flat = [line[0] for line in lines if np.ptp(line) == 0]
    for mean in transfer_summary(report_data)["mean"]:
        assert np.isclose(flat, 100 * mean).any()
    assert flat.count(10.0) == 4


def test_chance_is_not_guessed(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("transfer").drop(columns="classes")
    (drawing,) = transfer_accuracy(build_report(transfer=table))
    assert "chance" not in texts(drawing.figure)


def test_a_variant_of_a_users_own_is_drawn(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("transfer")
    table = table.assign(layer_variant=table["layer_variant"].replace("lcn", "my own"))
    (drawing,) = transfer_accuracy(build_report(transfer=table))
    assert "my own" in texts(drawing.figure)


def test_large_scatters_are_pictures_not_thousands_of_marks(build_report: Callable[..., ReportData]) -> None:
    cells = pd.concat([build_report().table("cells")] * 150, ignore_index=True)
    drawing = peak_against_time(build_report(cells=cells))
    assert drawing is not None and len(to_svg(drawing.figure)) < 1_000_000


def test_glance_without_transfer_or_without_neurons(build_report: Callable[..., ReportData]) -> None:
    only_neurons = alignment_and_transfer(build_report(transfer=None))
    only_images = alignment_and_transfer(build_report(similarity=None))
    assert only_neurons is not None and len(only_neurons.figure.axes) == 1
    assert only_images is not None and len(only_images.figure.axes) == 1
    assert "SIMULATED" in texts(only_neurons.figure) and "SIMULATED" not in texts(only_images.figure)


def test_images_of_all_kinds_are_drawn(build_report: Callable[..., ReportData]) -> None:
    rng = np.random.default_rng(0)
    (domain, *_) = build_report().examples.domains
    grey = dataclasses.replace(domain, images=rng.random((3, 8, 8)), neurn=rng.random((3, 8, 8, 1)), labels=())
    drawing = domain_images(build_report(examples=Examples(domains=[domain, grey])))
    assert drawing is not None
    assert sum(len(axes.images) for axes in drawing.figure.axes) == 2 * 6 + 2 * 3


@pytest.mark.parametrize("best", [True, False])
def test_densities_of_one_kind_alone(best: bool, report_data: ReportData) -> None:
    assert report_data.examples is not None
    pairs = [pair for pair in report_data.examples.densities if pair.best == best]
    drawing = density_pairs(dataclasses.replace(report_data, examples=Examples(densities=pairs)))
    assert drawing is not None and f"{pairs[0].iou:.2f}" in drawing.caption
    assert ("best" in drawing.caption) == best


def test_kept_cells_are_counted_in_the_bars(report_data: ReportData) -> None:
    drawing = embedding_and_kept(report_data)
    assert drawing is not None
    kept = report_data.table("embedding").query("kept")
    heights = [patch.get_height() for patch in drawing.figure.axes[2].patches]
    assert sum(heights[-6:]) == len(kept)
    assert f"{len(kept):,} kept" in drawing.caption


def test_the_heat_map_orders_alike_networks_together(report_data: ReportData) -> None:
    rng = np.random.default_rng(1)
    kinds = np.arange(12) % 3
    features = 4 * np.eye(3)[kinds] @ rng.normal(size=(3, 30)) + rng.normal(size=(12, 30))
    names = [f"{'abc'[kind]}{k}" for k, kind in enumerate(kinds)]
    dims = ("model", "other")
    made = xr.Dataset(
        {"score": (dims, np.zeros((12, 12))), "correlation": (dims, np.corrcoef(features))},
        coords={"model": names, "other": names},
        attrs={"match": 1, "mismatch": -2, "gap": -2},
    )
    drawing = architecture_heatmap(dataclasses.replace(report_data, architectures=made))
    assert drawing is not None
    order = [label.get_text()[0] for label in drawing.figure.axes[1].get_yticklabels()]
    assert len([k for k in range(1, 12) if order[k] != order[k - 1]]) == 2
    assert "n = 12 networks" in drawing.caption


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_networks_need_no_tree(n: int, report_data: ReportData) -> None:
    assert report_data.architectures is not None
    few = report_data.architectures.isel(model=slice(n), other=slice(n))
    assert architecture_heatmap(dataclasses.replace(report_data, architectures=few)) is not None


def test_two_models_draw_no_relation(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("transfer")
    assert gain_against_gain(build_report(transfer=table[table["model"] != "vgg11"])) is None


def test_the_profile_draws_the_table_in_the_order_of_the_layers(
    build_report: Callable[..., ReportData],
) -> None:
    table = build_report().table("similarity").sample(frac=1, random_state=0)
    (drawing,) = layer_profile(build_report(similarity=table))
    axes = {axes.get_title(loc="left"): axes for axes in drawing.figure.axes}["resnet18"]
    chosen = table.query(
        "model == 'resnet18' and representation == 'weighted' and metric == 'rmse_mean'"
        " and group == 'inhibitory' and layer_variant == 'neurn'"
    ).sort_values("layer_index")
    assert any(
        len(line.get_ydata()) == len(chosen) and np.allclose(line.get_ydata(), chosen["value"]) for line in axes.lines
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"stage{k}" for k in range(1, 7)]


def test_the_profile_takes_all_cells_where_there_are_no_classes(
    build_report: Callable[..., ReportData],
) -> None:
    table = build_report().table("similarity")
    (drawing,) = layer_profile(build_report(similarity=table[table["group_by"] == "all"]))
    assert "all n = 396" in drawing.caption


def test_long_names_of_layers_are_shortened_but_told_apart(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("similarity")
    long = table.assign(layer="backbone.features.block." + table["layer_index"].astype(int).astype(str) + ".conv")
    (drawing,) = layer_profile(build_report(similarity=long))
    ticks = [label.get_text() for label in drawing.figure.axes[0].get_xticklabels()]
    assert all(len(tick) <= 16 for tick in ticks) and len(set(ticks)) == len(ticks)


def test_deep_networks_keep_readable_ticks(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("similarity").query("model == 'vgg11' and layer_index == 0")
    deep = pd.concat([table.assign(layer=f"l{k}", layer_index=k) for k in range(54)])
    (drawing,) = layer_profile(build_report(similarity=deep))
    assert len(drawing.figure.axes[0].get_xticks()) <= 10


def test_peaks_are_told_by_class_with_their_medians(report_data: ReportData) -> None:
    drawing = peak_against_time(report_data)
    assert drawing is not None
    for name, cells in report_data.table("cells").groupby("neuron_class"):
        assert f"{name} {cells['peak'].median():.1f} % at {cells['time_to_peak'].median():.2f} s" in drawing.caption
    assert {"peak dF/F (%)", "time to peak (s from onset)"} <= set(texts(drawing.figure))
    assert sum(len(found) for found in offsets(drawing.figure)) == len(report_data.table("cells"))


def test_undefined_reliabilities_are_counted_not_hidden(report_data: ReportData) -> None:
    drawing = reliability_by_area(report_data)
    assert drawing is not None
    unknown = int(report_data.table("cells")["reliability"].isna().sum())
    assert unknown > 0 and f"undefined for {unknown} more" in drawing.caption


def test_quantiles_are_drawn_against_each_other(report_data: ReportData) -> None:
    drawing = marginal_quantiles(report_data)
    assert drawing is not None and len(drawing.figure.axes) == 2
    part = report_data.table("marginals").query("quantity == 'split-half reliability'")
    line = drawing.figure.axes[1].lines[1]
    assert np.allclose(line.get_xdata(), part["real"]) and np.allclose(line.get_ydata(), part["simulated"])


@pytest.mark.parametrize("only", ["neuron", "unit"])
def test_maps_of_one_side_alone(only: str, report_data: ReportData) -> None:
    assert report_data.examples is not None
    maps = [item for item in report_data.examples.maps if item.kind == only]
    drawing = example_maps(dataclasses.replace(report_data, examples=Examples(maps=maps)))
    assert drawing is not None and drawing.figure.get_figwidth() == 3.5
    shown = [axes.images[0].get_array() for axes in drawing.figure.axes if axes.images]
    assert len(shown) == len(maps)
    assert all(np.array_equal(made, item.image) for made, item in zip(shown, maps, strict=True))


def test_glance_prints_the_change_of_every_model(report_data: ReportData) -> None:
    drawing = alignment_and_transfer(report_data)
    assert drawing is not None
    summary = transfer_summary(report_data).query("source != target and method == 'plain'")
    wide = summary.pivot_table(index="model", columns="layer_variant", values="mean")
    for change in 100 * (wide["neurn"] - wide["baseline"]):
        assert f"{change:+.1f}" in texts(drawing.figure)
