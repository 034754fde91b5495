"""Sections about neurons beside networks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .blocks import Block, Column, Prose, Section, figure_block, table_block
from .controls import group_directions, null_sentence
from .data import ReportData
from .figures_examples import density_pairs, example_maps
from .figures_groups import neurn_scatter, rmse_violins
from .figures_layers import layer_profile
from .findings import CANNOT_TELL, interval, signed
from .style import variant_label
from .views import best_layers, group_scores, lower_is_better, shown_metrics

__all__ = ["alignment_sections"]

_GROUP_COLUMNS = [
    Column("group", "group"),
    Column("neuron_class", "class"),
    Column("cells", "cells (donors)", sort_by="n_cells"),
    Column("baseline", "without", 4),
    Column("variant", "with", 4),
    Column("difference", "difference", 4, signed=True),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("tests", "q < 0.05: below, above 0", sort_by="n_lower"),
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
    frames = []
    for by in ("neuron_class", "area", "genotype"):
        scores = group_scores(data, by, metric)
        # Only of RMSE is there a published statement to judge.
        directions = group_directions(data, by)["direction"] if metric == "rmse_mean" else pd.Series(dtype=object)
        frames.append(scores.assign(verdict=directions.reindex(scores.index)))
    whole = pd.concat([frame for frame in frames if len(frame)]) if any(map(len, frames)) else pd.DataFrame()
    if whole.empty:
        return (Prose("This study has no group scored both without and with NeuRN.", absent=True),)
    ends = whole[["ci_low", "ci_high"]].to_numpy(dtype=float)
    counts = whole[["n_lower", "n_higher", "n_tests"]].to_numpy(dtype=float)
    table = whole.assign(
        group=whole.index,
        verdict=whole["verdict"].fillna(CANNOT_TELL),
        cells=[_counted(cells, donors) for cells, donors in whole[["n_cells", "n_donors"]].to_numpy(dtype=float)],
        interval=[interval(low, high, signed) for low, high in ends],
        tests=[f"{low:.0f}, {high:.0f} of {tests:.0f}" if tests > 0 else None for low, high, tests in counts],
    )
    caption = (
        f"{name} (no unit) of each group without and with NeuRN, mean over layers and models, and the "
        "difference with its 95 % interval (mean of the layers' intervals: conservative; of one donor, over its cells "
        "alone). There is one test per model and layer, paired by cell, signs flipped by donor, and none of fewer than "
        "six donors; q after Benjamini–Hochberg. The last column says which way the mean over layers and models moves "
        "(q < 0.05 and an interval without 0), or that the shuffled scenes or the donors do not allow to tell; the "
        f"table of the published statements says why. {null_sentence(data, metric)}"
    )
    drawing = figure_block(neurn_scatter(data, metric), "")
    return (drawing, table_block(table, _GROUP_COLUMNS, caption, csv="similarity"))


def _counted(cells: float, donors: float) -> str | None:
    if not np.isfinite(cells):
        return None
    return f"{cells:.0f} ({donors:.0f})" if np.isfinite(donors) else f"{cells:.0f}"


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
