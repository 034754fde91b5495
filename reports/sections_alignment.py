"""Sections about neurons beside networks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .blocks import Block, Column, Prose, Section, figure_block, table_block
from .data import ReportData
from .figures_examples import density_pairs, example_maps
from .figures_groups import neurn_scatter, rmse_violins
from .figures_layers import layer_profile
from .findings import interval, signed, verdict
from .style import variant_label
from .views import best_layers, group_scores, lower_is_better, shown_metrics

__all__ = ["alignment_sections"]

_GROUP_COLUMNS = [
    Column("group", "group"),
    Column("neuron_class", "class"),
    Column("n_cells", "cells"),
    Column("baseline", "without", 4),
    Column("variant", "with", 4),
    Column("difference", "difference", 4, signed=True),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("tests", "q < 0.05: lower, higher", sort_by="n_lower"),
    Column("verdict", "with NeuRN"),
]
_BEST_COLUMNS = [
    Column("model", "model"),
    Column("layer_variant", "layer in front"),
    Column("group", "class"),
    Column("layer", "best layer"),
    Column("value", "score", 4),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("ceiling", "noise ceiling", 4),
    Column("n_cells", "cells"),
    Column("n_units", "units"),
]


def alignment_sections(data: ReportData) -> list[Section]:
    """Build the sections on groups, distributions over cells, depth, density pairs and sample maps."""
    return [
        Section("groups", "Neuron groups without and with NeuRN", _groups(data)),
        Section("violins", "RMSE of single cells", _violins(data)),
        Section("layers", "Alignment along the depth of the networks", _layers(data)),
        Section(
            "densities",
            "Densities of the best and worst pairs",
            (figure_block(density_pairs(data), "This study kept no densities of single pairs."),),
        ),
        Section(
            "maps",
            "Sample representations beside feature maps",
            (figure_block(example_maps(data), "This study kept no sample representations."),),
        ),
    ]


def _groups(data: ReportData) -> tuple[Block, ...]:
    metric, name = next(iter(shown_metrics(data).items()), ("rmse_mean", "RMSE"))
    frames = [group_scores(data, by, metric) for by in ("neuron_class", "area", "genotype")]
    whole = pd.concat([frame for frame in frames if len(frame)]) if any(map(len, frames)) else pd.DataFrame()
    if whole.empty:
        return (Prose("This study has no group scored both without and with NeuRN.", absent=True),)
    ends = whole[["ci_low", "ci_high"]].to_numpy(dtype=float)
    counts = whole[["n_lower", "n_higher", "n_tests"]].to_numpy(dtype=float)
    table = whole.assign(
        group=whole.index,
        verdict=[verdict(low, high) for low, high in ends],
        interval=[interval(low, high, signed) for low, high in ends],
        tests=[f"{low:.0f}, {high:.0f} of {tests:.0f}" if np.isfinite(tests) else None for low, high, tests in counts],
    )
    caption = (
        f"{name} (no unit) of each group without and with NeuRN, mean over layers and models, and the "
        "difference with its 95 % interval (mean of the layers' intervals: conservative). Tests are one a "
        "model and layer, paired by cell; q after Benjamini–Hochberg. The last column reads the interval: "
        "lower, higher or undecided."
    )
    drawing = figure_block(neurn_scatter(data, metric), "")
    return (drawing, table_block(table, _GROUP_COLUMNS, caption, csv="similarity"))


def _violins(data: ReportData) -> tuple[Block, ...]:
    drawings = [rmse_violins(data, by) for by in ("area", "genotype")]
    if None in drawings:
        return (Prose("This study scored no single cell by RMSE over all units (rmse_mean).", absent=True),)
    return tuple(figure_block(drawing, "") for drawing in drawings)


def _layers(data: ReportData) -> tuple[Block, ...]:
    if not data.has("similarity"):
        return (Prose("This study compared no networks with neurons.", absent=True),)
    drawings = [drawing for metric in shown_metrics(data) for drawing in layer_profile(data, metric)]
    blocks: list[Block] = [figure_block(drawing, "") for drawing in drawings]
    metric, name = next(iter(shown_metrics(data).items()), ("rmse_mean", "RMSE"))
    best = best_layers(data, "neuron_class", metric)
    if len(best):
        ends = best[["ci_low", "ci_high"]].to_numpy(dtype=float)
        best = best.assign(
            layer_variant=[variant_label(name) for name in best["layer_variant"]],
            interval=[interval(low, high, lambda value: f"{value:.4f}") for low, high in ends],
        )
        better = "lowest" if lower_is_better(metric) else "highest"
        caption = (
            f"The layer with the {better} {name} to each class. It is chosen on the scenes it is scored on, so "
            "its value is optimistic; compare layers by the figures above."
        )
        blocks.append(table_block(best, _BEST_COLUMNS, caption, csv="similarity"))
    return tuple(blocks) or (Prose("This study has no scores by neuron class.", absent=True),)
