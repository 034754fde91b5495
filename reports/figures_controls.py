"""The figure of scores beside what they are worth: the ceiling, shuffled scenes, untrained twins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .controls import condition_scores
from .data import ReportData
from .style import GRID, INK, MUTED, PAGE_WIDTH, Drawing, new_figure, quiet_grid, style, variant_colour, variant_label
from .views import METRIC_NAMES, primary_representation, shown_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["controls_figure"]

_PANELS = 4
_BESIDE = 0.17


def controls_figure(data: ReportData) -> list[Drawing]:
    """Draw each network's score to all cells, by the layer in front, beside its twin, its null and the ceiling.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity``.

    Returns
    -------
    list of Drawing
        Four models a figure; empty where the study has no scores.
    """
    frames = {metric: condition_scores(data, metric) for metric in shown_metrics(data)}
    frames = {metric: frame for metric, frame in frames.items() if frame["value"].notna().any()}
    if not frames:
        return []
    models = list(pd.unique(next(iter(frames.values()))["model"]))
    parts = [models[start : start + _PANELS] for start in range(0, len(models), _PANELS)]
    return [_draw(data, frames, part, "" if len(parts) == 1 else f"_{number}") for number, part in enumerate(parts, 1)]


def _draw(data: ReportData, frames: dict[str, pd.DataFrame], models: list[str], suffix: str) -> Drawing:
    shown = {metric: frame[frame["model"].isin(models)] for metric, frame in frames.items()}
    whole = pd.concat(shown.values())
    with style():
        figure = new_figure(
            "Scores to all cells beside their controls",
            PAGE_WIDTH,
            0.9 + 2.1 * len(shown),
            mark="SIMULATED" if data.simulated else None,
        )
        panes = figure.subplots(len(shown), len(models), squeeze=False, sharey="row", sharex="col")
        for row, (metric, frame) in zip(panes, shown.items(), strict=True):
            for axes, model in zip(row, models, strict=True):
                _panel(axes, frame[frame["model"] == model])
            row[0].set_ylabel(METRIC_NAMES[metric].replace(", ", ",\n"))
        for axes, model in zip(panes[0], models, strict=True):
            axes.set_title(model)
        handles = _handles(whole)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    ceiling = ""
    if whole["ceiling"].notna().any():
        ceiling = "dashed: the noise ceiling, what a noiseless model of these cells would reach; "
    caption = (
        f"Scores (no unit) to all {int(whole['n_cells'].max()):,} cells, mean over layers with the mean of the "
        f"layers' 95 % intervals; {primary_representation(data.table('similarity'))} representations. RMSE: lower is "
        "more alike, KDE-IoU: higher. Filled: the network as compared; open: its randomly initialised twin; "
        f"{ceiling}grey: 2.5th to 97.5th percentile of the same score with the scenes shuffled."
    )
    alt = f"Scores of {', '.join(models)} beside their controls; the values are in the table below."
    return Drawing(f"controls{suffix}", figure, caption, alt)


def _panel(axes: Axes, frame: pd.DataFrame) -> None:
    variants = list(pd.unique(frame["layer_variant"]))
    ceiling = frame["ceiling"].dropna()
    if len(ceiling):
        axes.axhline(float(ceiling.iloc[0]), color=INK, linewidth=0.9, linestyle="--", zorder=1)
    both = frame["twin"].any()
    for place, variant in enumerate(variants):
        for twin in (False, True):
            rows = frame[(frame["layer_variant"] == variant) & (frame["twin"] == twin)]
            if rows.empty:
                continue
            row = rows.iloc[0]
            x = place + (_BESIDE if twin else -_BESIDE) * both
            colour = variant_colour(variant)
            if np.isfinite(row["null_low"]):
                axes.fill_between(
                    [x - 0.14, x + 0.14], row["null_low"], row["null_high"], color=GRID, linewidth=0, zorder=1
                )
                axes.plot([x - 0.14, x + 0.14], [row["null_mean"]] * 2, color=MUTED, linewidth=0.8, zorder=2)
            if np.isfinite(row["ci_low"]):
                axes.vlines(x, row["ci_low"], row["ci_high"], color=colour, linewidth=1.1, zorder=3)
            face = "white" if twin else colour
            axes.scatter([x], [row["value"]], s=26, color=face, edgecolor=colour, linewidth=1.1, zorder=4)
    axes.set_xlim(-0.5, len(variants) - 0.5)
    axes.set_xticks(
        range(len(variants)),
        [variant_label(name) for name in variants],
        rotation=30,
        ha="right",
        rotation_mode="anchor",
    )
    quiet_grid(axes)


def _handles(frame: pd.DataFrame) -> list[Line2D | Patch]:
    dot = {"marker": "o", "linestyle": "none", "markersize": 5, "markeredgecolor": INK}
    handles: list[Line2D | Patch] = [Line2D([], [], markerfacecolor=INK, label="as compared", **dot)]  # type: ignore[arg-type]
    if frame["twin"].any():
        handles.append(Line2D([], [], markerfacecolor="white", label="random twin", **dot))  # type: ignore[arg-type]
    if frame["null_low"].notna().any():
        handles.append(Patch(color=GRID, label="scenes shuffled"))
    if frame["ceiling"].notna().any():
        handles.append(Line2D([], [], color=INK, linewidth=0.9, linestyle="--", label="noise ceiling"))
    return handles
