"""Figures of representational similarity: all networks, best layers, depth, and what a layer in front does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .data import ReportData
from .style import GRID, INK, MUTED, PAGE_WIDTH, Drawing, new_figure, quiet_grid, style, variant_colour, variant_label
from .views import ordered_variants
from .views_rsa import (
    headline,
    model_names,
    pixel_scores,
    row_label,
    shown_groups,
    spearman,
    twin_scores,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rsa_depth", "rsa_differences", "rsa_glance", "rsa_map"]

_HEAT = LinearSegmentedColormap.from_list("teal", ["#ffffff", "#a9d5cb", "#00856f", "#00463a"])
_NULL = "#e7ebef"
_LEVEL = 0.05
_COLUMNS = 4


def _mark(data: ReportData) -> str | None:
    return "SIMULATED" if data.simulated else None


def _over(data: ReportData) -> str:
    """Say what the score that sums all up is taken over."""
    if headline(data) == ("mean", "mean"):
        return f"mean over n = {len(shown_groups(data, summary=False))} populations"
    return "all cells"


def _scenes(data: ReportData) -> str:
    counts = pd.to_numeric(data.table("rsa")["n_scenes"], errors="coerce").dropna()
    return f"n = {int(counts.max())} scenes" if len(counts) else "scenes not counted"


def rsa_glance(data: ReportData) -> Drawing | None:
    """Draw every network's best layer with its random twins, the pixels and the null; ``None`` without scores.

    Parameters
    ----------
    data : ReportData
        Uses ``rsa_best`` and ``rsa_twins``.
    """
    best = spearman(data, "rsa_best")
    by, group = headline(data)
    best = best[(best["group_by"] == by) & (best["group"] == group)]
    models = model_names(data)
    if best.empty or not models:
        return None
    twins = twin_scores(data)
    twins = twins[(twins["group_by"] == by) & (twins["group"] == group)]
    variants = ordered_variants(best)
    with style():
        height = 1.25 + len(models) * (0.16 + 0.13 * len(variants))
        figure = new_figure("Networks beside cortex, by dissimilarities", PAGE_WIDTH, height, mark=_mark(data))
        axes = figure.subplots()
        _reference_lines(axes, best, pixel_scores(data).get((by, group), np.nan))
        for place, model in enumerate(models):
            for step, variant in enumerate(variants):
                y = place + 0.72 * (step - (len(variants) - 1) / 2) / max(len(variants), 1)
                _point(axes, y, best[(best["model"] == model) & (best["layer_variant"] == variant)], variant)
                own = twins[(twins["model"] == model) & (twins["layer_variant"] == variant)]
                axes.plot(
                    own["value"], np.full(len(own), y), "o", markersize=3.2, markerfacecolor="none",
                    markeredgecolor=variant_colour(variant, variants), markeredgewidth=0.8, zorder=2,
                )  # fmt: skip
        axes.set_yticks(range(len(models)), models)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_xlabel(f"Spearman correlation of dissimilarities, best layer, {_over(data)}")
        quiet_grid(axes, "x")
        figure.legend(handles=_glance_handles(variants, len(own) > 0), loc="outside lower center", ncols=6)
    caption = (
        f"Filled: each network's best layer, {_over(data)}, {_scenes(data)}, with its 95 % interval (bootstrap over "
        "scenes). Rings: the same network with random weights, one a seed. Grey band: up to the 95th percentile of "
        "the best layer with the scenes shuffled. Dashed: the pixels themselves."
    )
    alt = f"Dot plot of {len(models)} networks: {', '.join(models)}; the values are in rsa_best.csv."
    return Drawing("rsa_glance", figure, caption, alt)


def _reference_lines(axes: Axes, best: pd.DataFrame, pixels: float) -> None:
    high = pd.to_numeric(best["null_high"], errors="coerce").max()
    if np.isfinite(high):
        axes.axvspan(0, high, color=_NULL, linewidth=0, zorder=0)
    if np.isfinite(pixels):
        axes.axvline(pixels, color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    axes.axvline(0, color=GRID, linewidth=0.8, zorder=1)


def _point(axes: Axes, y: float, row: pd.DataFrame, variant: str) -> None:
    if row.empty or not np.isfinite(float(row["value"].iloc[0])):
        return
    value, low, high = (float(row[name].iloc[0]) for name in ("value", "ci_low", "ci_high"))
    colour = variant_colour(variant)
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([low, high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=3)
    axes.plot(value, y, "o", color=colour, markersize=5, zorder=4)


def _glance_handles(variants: list[str], twins: bool) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=variant_colour(name), marker="o", markersize=5, label=variant_label(name))
        for name in variants
    ]
    if twins:
        ring = {"markerfacecolor": "none", "markeredgecolor": MUTED, "markersize": 4}
        handles.append(Line2D([], [], linestyle="none", marker="o", label="random weights", **ring))  # type: ignore[arg-type]
    handles.append(Line2D([], [], color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)), label="pixels"))
    return [*handles, Patch(color=_NULL, label="scenes shuffled")]


def rsa_map(data: ReportData) -> Drawing | None:
    """Draw the best layer's score of every network and layer variant against every population as a heat table."""
    best = spearman(data, "rsa_best")
    if best.empty:
        return None
    groups = shown_groups(data)
    rows = list(dict.fromkeys(zip(best["model"], best["layer_variant"], strict=True)))
    indexed = best.set_index(["model", "layer_variant", "group_by", "group"])
    values = np.array([[_cell(indexed, row, group, "value") for group in groups] for row in rows])
    rates = np.array([[_cell(indexed, row, group, "q") for group in groups] for row in rows])
    top = max(0.1, float(np.nanmax(values))) if np.isfinite(values).any() else 1.0
    with style():
        height = 1.3 + 0.21 * len(rows)
        figure = new_figure("Best layer against every population", PAGE_WIDTH, height, mark=_mark(data))
        axes = figure.subplots()
        axes.imshow(np.clip(values, 0, None), cmap=_HEAT, vmin=0, vmax=top, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                text = f"{value:.2f}".replace("-", "−")
                weight = "bold" if rates[row, column] < _LEVEL else "normal"
                ink = "white" if value > 0.62 * top else INK
                axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=ink, fontweight=weight)
        axes.set_xticks(
            range(len(groups)), [name for _, name in groups], rotation=35, ha="right", rotation_mode="anchor"
        )
        axes.set_yticks(range(len(rows)), [row_label(*row) for row in rows], fontsize=6.8)
        axes.tick_params(length=0)
        for place in range(1, len(rows)):
            if rows[place][0] != rows[place - 1][0]:
                axes.axhline(place - 0.5, color=MUTED, linewidth=0.6)
        for spine in axes.spines.values():
            spine.set_visible(False)
    caption = (
        f"Spearman correlation of each network's best layer with each population's dissimilarities, {_scenes(data)}. "
        f"Bold: q < {_LEVEL} against shuffled scenes, the best of all layers compared with the best of all layers of "
        "each shuffle."
    )
    alt = f"Heat table of {len(rows)} networks by {len(groups)} groups; the values are in rsa_best.csv."
    return Drawing("rsa_map", figure, caption, alt)


def _cell(indexed: pd.DataFrame, row: tuple[str, str], group: tuple[str, str], column: str) -> float:
    key = (*row, *group)
    return float(indexed.loc[key, column]) if key in indexed.index else np.nan  # type: ignore[index,arg-type]


def rsa_depth(data: ReportData) -> list[Drawing]:
    """Draw a score against the depth of the layer: a figure a network, a panel a population, a line a layer variant."""
    table = spearman(data, "rsa")
    drawings = []
    for number, model in enumerate(model_names(data), 1):
        own = table[table["model"] == model]
        # A network of one layer has no depth.
        if own["layer_index"].nunique() > 1:
            drawings.append(_depth(data, own, model, number))
    return drawings


def _depth(data: ReportData, table: pd.DataFrame, model: str, number: int) -> Drawing:
    groups, variants = shown_groups(data), ordered_variants(table)
    twins = spearman(data, "rsa_twins")
    twins = twins[(twins["model"] == model) & (twins["layer_variant"] == "baseline")]
    pixels = pixel_scores(data)
    rows = -(-len(groups) // _COLUMNS)
    with style():
        figure = new_figure(f"Depth of {model}", PAGE_WIDTH, 0.9 + 1.28 * rows, mark=_mark(data))
        panes = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
        for axes, (by, group) in zip(panes.flat, groups, strict=False):
            chosen = table[(table["group_by"] == by) & (table["group"] == group)]
            _depth_panel(axes, chosen, variants)
            random = twins[(twins["group_by"] == by) & (twins["group"] == group)]
            mean = random.groupby("layer_index")["value"].mean()
            axes.plot(mean.index, mean, color=INK, linewidth=0.9, linestyle=":", zorder=3)
            axes.axhline(pixels.get((by, group), np.nan), color=MUTED, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
            axes.set_title("mean of all" if by == "mean" else group, fontsize=7.5)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        _hide_and_label(panes, len(groups), "layer, from the input (0) on")
        figure.supylabel("Spearman correlation", fontsize=8)
        figure.legend(handles=_depth_handles(variants), loc="outside lower center", ncols=6)
    caption = (
        f"{model}: Spearman correlation of every layer that was read with each population, {_scenes(data)}. Shaded: "
        "95 % interval over scenes. Grey band: 95th percentile with the scenes shuffled. Dashed: pixels. Dotted: mean "
        "of its random twins without a layer in front."
    )
    alt = f"Scores along the depth of {model} in {len(groups)} panels; the values are in rsa.csv."
    return Drawing(f"rsa_depth_{number}", figure, caption, alt)


def _hide_and_label(panes: np.ndarray, used: int, label: str) -> None:
    """Hide the panes that stay empty, and label the lowest of each column."""
    columns = panes.shape[1]
    for place, axes in enumerate(panes.flat):
        if place >= used:
            axes.set_visible(False)
        elif place + columns >= used:
            axes.set_xlabel(label, fontsize=7)
            axes.tick_params(labelbottom=True)


def _depth_panel(axes: Axes, table: pd.DataFrame, variants: list[str]) -> None:
    null = table.groupby("layer_index")["null_high"].max()
    axes.fill_between(
        null.index.to_numpy(dtype=float), 0, null.to_numpy(dtype=float), color=_NULL, linewidth=0, zorder=0
    )
    for variant in variants:
        part = table[table["layer_variant"] == variant].sort_values("layer_index")
        colour = variant_colour(variant, variants)
        x = part["layer_index"].to_numpy(dtype=float)
        axes.plot(x, part["value"], color=colour, linewidth=1.2, marker="o", markersize=1.8, zorder=4)
        axes.fill_between(x, part["ci_low"], part["ci_high"], color=colour, alpha=0.12, linewidth=0, zorder=2)
    axes.axhline(0, color=GRID, linewidth=0.8, zorder=1)
    quiet_grid(axes)


def _depth_handles(variants: list[str]) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=variant_colour(name, variants), label=variant_label(name)) for name in variants
    ]
    handles.append(Line2D([], [], color=INK, linewidth=0.9, linestyle=":", label="random weights"))
    handles.append(Line2D([], [], color=MUTED, linewidth=0.8, linestyle=(0, (4, 2)), label="pixels"))
    return [*handles, Patch(color=_NULL, label="scenes shuffled")]


def rsa_differences(data: ReportData) -> Drawing | None:
    """Draw layer variant less baseline between best layers, with intervals; ``None`` without a pair."""
    table = spearman(data, "rsa_differences")
    table = table[table["layer"] == "best"]
    if table.empty:
        return None
    models = list(pd.unique(table["model"]))
    groups, variants = shown_groups(data), ordered_variants(table)
    columns = min(_COLUMNS, len(models))
    rows = -(-len(models) // columns)
    with style():
        height = 1.1 + rows * (0.4 + 0.15 * len(groups))
        figure = new_figure("What a layer in front changes", PAGE_WIDTH, height, mark=_mark(data))
        panes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, model in zip(panes.flat, models, strict=False):
            _difference_panel(axes, table[table["model"] == model], groups, variants)
            axes.set_title(model, fontsize=7.5)
        _hide_and_label(panes, len(models), "difference of correlations")
        handles = [
            Line2D([], [], color=variant_colour(name, variants), marker="o", markersize=4, label=variant_label(name))
            for name in variants
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    caption = (
        f"Difference of Spearman correlations between the best layers with and without a layer in front, "
        f"{_scenes(data)}, 95 % interval (bootstrap over scenes, paired). Filled: q < {_LEVEL} over populations; "
        f"the one that sums all up: p < {_LEVEL}."
    )
    alt = f"Differences of {len(models)} networks over {len(groups)} groups; the values are in rsa_differences.csv."
    return Drawing("rsa_differences", figure, caption, alt)


def _difference_panel(axes: Axes, table: pd.DataFrame, groups: list[tuple[str, str]], variants: list[str]) -> None:
    for step, variant in enumerate(variants):
        own = table[table["layer_variant"] == variant].set_index(["group_by", "group"])
        colour = variant_colour(variant, variants)
        for place, group in enumerate(groups):
            if group not in own.index or not np.isfinite(float(own.loc[group, "difference"])):  # type: ignore[arg-type]
                continue
            row = own.loc[group]
            y = place + 0.34 * (step - (len(variants) - 1) / 2)
            axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=1.0, zorder=2)
            face = colour if row["q"] < _LEVEL else "white"
            axes.plot(row["difference"], y, "o", color=colour, markerfacecolor=face, markersize=3.4, zorder=3)
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(groups)), ["mean of all" if by == "mean" else name for by, name in groups], fontsize=6.3)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    quiet_grid(axes, "x")
