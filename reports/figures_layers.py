"""Figures of scores along the depth of each network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from .data import ReportData
from .style import MUTED, PAGE_WIDTH, Drawing, class_colour, new_figure, quiet_grid, style, variant_label
from .views import METRIC_NAMES, lower_is_better, ordered_groups, ordered_variants, primary_representation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["layer_profile"]

_PANELS = 9
_LINES = {"baseline": "--", "neurn": "-"}
_OTHER_LINES = (":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def layer_profile(data: ReportData, metric: str = "rmse_mean") -> list[Drawing]:
    """Draw a score against the depth of the layer, a panel a model, a line a class and layer variant.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity`` grouped by ``neuron_class``, or else by ``all``.
    metric : str
        Which metric.

    Returns
    -------
    list of Drawing
        Nine models a figure; empty where the study has no such scores.
    """
    table = data.table("similarity")
    table = table[(table["metric"] == metric) & (table["representation"] == primary_representation(table))]
    table = table[~table["twin"].astype(bool)]
    for group_by in ("neuron_class", "all"):
        chosen = table[table["group_by"] == group_by]
        if len(chosen):
            break
    chosen = chosen.assign(
        **{name: pd.to_numeric(chosen[name], errors="coerce") for name in ("value", "ci_low", "ci_high", "layer_index")}
    ).dropna(subset=["value"])
    models = list(pd.unique(chosen["model"]))
    parts = [models[start : start + _PANELS] for start in range(0, len(models), _PANELS)]
    return [
        _profile(data, chosen, metric, part, "" if len(parts) == 1 else f"_{number}")
        for number, part in enumerate(parts, 1)
    ]


def _profile(data: ReportData, chosen: pd.DataFrame, metric: str, models: list[str], suffix: str) -> Drawing:
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    name = METRIC_NAMES.get(metric, metric)
    groups, variants = ordered_groups(list(pd.unique(chosen["group"]))), ordered_variants(chosen)
    with style():
        figure = new_figure(
            f"{name.split(',')[0]} along the depth of the networks",
            PAGE_WIDTH,
            0.9 + 2.2 * rows,
            mark="SIMULATED" if data.simulated else None,
        )
        panes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axes in enumerate(panes.flat):
            if place >= len(models):
                axes.set_visible(False)
                continue
            _panel(axes, chosen[chosen["model"] == models[place]], groups, variants)
            axes.set_title(models[place])
            if place % columns == 0:
                axes.set_ylabel(name.replace(", ", ",\n"))
        figure.legend(handles=_handles(groups, variants), loc="outside lower center", ncols=4)
    cells = pd.to_numeric(chosen["n_cells"], errors="coerce").groupby(chosen["group"]).max().dropna()
    counts = ", ".join(f"{group} n = {int(cells[group]):,}" for group in groups if group in cells)
    better = "lower" if lower_is_better(metric) else "higher"
    caption = (
        f"{name} (no unit; {better} is more alike) of each layer, from the input to the output, against all "
        f"cells of a class ({counts or 'cells not counted'}); {primary_representation(chosen)} "
        "representations. Shaded: 95 % interval over donors and cells. Dashed: without, solid: with NeuRN."
    )
    alt = f"{name} by layer, one panel for each of {', '.join(models)}; the values are in similarity.csv."
    return Drawing(f"layers_{metric}{suffix}", figure, caption, alt)


def _panel(axes: Axes, table: pd.DataFrame, groups: list[str], variants: list[str]) -> None:
    for group in groups:
        for variant in variants:
            part = table[(table["group"] == group) & (table["layer_variant"] == variant)].sort_values("layer_index")
            if part.empty:
                continue
            colour = class_colour(group)
            x = part["layer_index"].to_numpy(dtype=float)
            axes.plot(
                x,
                part["value"],
                color=colour,
                linestyle=_line(variant, variants),
                marker="o",
                markersize=2.6,
                zorder=3,
            )
            if part["ci_low"].notna().any():
                axes.fill_between(x, part["ci_low"], part["ci_high"], color=colour, alpha=0.13, linewidth=0, zorder=2)
    layers = table.drop_duplicates("layer_index").sort_values("layer_index")
    step = int(np.ceil(len(layers) / 10))
    axes.set_xticks(
        layers["layer_index"].astype(float).tolist()[::step],
        [_shorten(str(layer)) for layer in layers["layer"]][::step],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
        fontsize=6.3,
    )
    quiet_grid(axes)


def _line(variant: str, variants: list[str]) -> object:
    others = [name for name in variants if name not in _LINES]
    return _LINES.get(variant) or _OTHER_LINES[others.index(variant) % len(_OTHER_LINES)]


def _shorten(layer: str) -> str:
    return layer if len(layer) <= 16 else f"{layer[:6]}…{layer[-8:]}"


def _handles(groups: list[str], variants: list[str]) -> list[Line2D]:
    handles = [Line2D([], [], color=class_colour(group), marker="o", markersize=3, label=group) for group in groups]
    lines = [
        Line2D([], [], color=MUTED, linestyle=_line(variant, variants), label=variant_label(variant))  # type: ignore[arg-type]
        for variant in variants
    ]
    return handles + lines
