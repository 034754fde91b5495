"""The figure of domain transfer's accuracies: every run, by source, target, model and condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from .data import ReportData
from .style import (
    MUTED,
    PAGE_WIDTH,
    VARIANT_MARKERS,
    Drawing,
    new_figure,
    quiet_grid,
    style,
)
from .views import transfer_summary
from .views_transfer import (
    condition_colour,
    condition_labels,
    in_transfers,
    ordered_conditions,
    transfers,
    with_condition,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["transfer_accuracy"]

_PANELS = 12
_REAL = "real images, no neurons"


def transfer_accuracy(data: ReportData) -> list[Drawing]:
    """Draw every run's accuracy: a panel a source and target, a column a model, a colour a condition.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer``.

    Returns
    -------
    list of Drawing
        Twelve panels a figure; empty where the study had no transfer.
    """
    transfer = data.table("transfer")
    if transfer.empty:
        return []
    transfer, pairs = with_condition(transfer), transfers(transfer)
    parts = [pairs[start : start + _PANELS] for start in range(0, len(pairs), _PANELS)]
    return [
        _accuracy_figure(data, transfer, part, "" if len(parts) == 1 else f"_{number}")
        for number, part in enumerate(parts, 1)
    ]


def _accuracy_figure(data: ReportData, transfer: pd.DataFrame, pairs: list[tuple[str, str]], suffix: str) -> Drawing:
    models, conditions = list(pd.unique(transfer["model"])), ordered_conditions(transfer)
    labels = condition_labels(data)
    columns = min(len(pairs), 2 if len(models) * len(conditions) > 8 else 4)
    rows = -(-len(pairs) // columns)
    with style():
        figure = new_figure("Accuracy by source and target", PAGE_WIDTH, 0.8 + 1.85 * rows, mark=_REAL)
        panes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axes in enumerate(panes.flat):
            if place >= len(pairs):
                axes.set_visible(False)
                continue
            source, target = pairs[place]
            part = in_transfers(transfer, source, target)
            _accuracy_panel(axes, part, models, conditions, 0.8 * PAGE_WIDTH / columns)
            # Two lines: names of domains are long, and panels narrow.
            axes.set_title(f"{source} →\n{target}", fontsize=8)
            if place % columns == 0:
                axes.set_ylabel("accuracy (%)")
        handles = [
            Line2D(
                [],
                [],
                color=condition_colour(name, conditions),
                marker=VARIANT_MARKERS.get(name, "X"),
                linestyle="none",
                markersize=4.5,
                label=labels[name],
            )
            for name in conditions
        ]
        if transfer["classes"].notna().any():
            handles.append(Line2D([], [], color=MUTED, linestyle=":", label="chance"))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
    summary = transfer_summary(data)
    images = pd.to_numeric(summary["n"], errors="coerce").dropna()
    tested = f"{int(images.min()):,} to {int(images.max()):,}" if len(images) else "a number not given of"
    tested = f"{int(images.min()):,}" if len(images) and images.min() == images.max() else tested
    seeds = f"{summary['seeds'].min()} to {summary['seeds'].max()}"
    seeds = f"{summary['seeds'].min()}" if summary["seeds"].nunique() == 1 else seeds
    caption = (
        "Accuracy (%) on the target's test split of networks trained on the source alone. A dot is one seed "
        f"(n = {seeds} a model), the bar their mean, the thin line the range; n = {tested} test images a "
        "run. Real images: no simulated data enter this figure."
    )
    alt = "Accuracies by source, target, model and layer; the values are in the table below."
    return Drawing(f"transfer{suffix}", figure, caption, alt)


def _accuracy_panel(axes: Axes, part: pd.DataFrame, models: list[str], conditions: list[str], room: float) -> None:
    width = 0.8 / len(conditions)
    for column, model in enumerate(models):
        for place, name in enumerate(conditions):
            runs = part[(part["model"] == model) & (part["condition"] == name)]
            if runs.empty:
                continue
            values = 100 * pd.to_numeric(runs["accuracy"]).to_numpy()
            x = column - 0.4 + width * (place + 0.5)
            colour = condition_colour(name, conditions)
            axes.plot([x, x], [values.min(), values.max()], color=colour, linewidth=0.8, alpha=0.7)
            axes.plot([x - 0.36 * width, x + 0.36 * width], [values.mean()] * 2, color=colour, linewidth=2)
            offsets = np.linspace(-0.2, 0.2, len(values)) * width if len(values) > 1 else np.zeros(1)
            axes.scatter(
                x + offsets,
                values,
                s=9,
                color=colour,
                marker=VARIANT_MARKERS.get(name, "X"),
                linewidth=0.3,
                edgecolor="white",
                zorder=3,
            )
    chance = 100 / pd.to_numeric(part["classes"], errors="coerce").dropna()
    if len(chance):
        axes.axhline(float(chance.iloc[0]), color=MUTED, linestyle=":", linewidth=0.9, zorder=1)
    turned = sum(map(len, models)) * 0.062 > room
    axes.set_xticks(
        range(len(models)),
        models,
        rotation=30 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )
    axes.set_xlim(-0.6, len(models) - 0.4)
    axes.set_ylim(0, 103)
    quiet_grid(axes)
    axes.tick_params(axis="x", length=0)
