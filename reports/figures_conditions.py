"""Figures that set layers and methods side by side: differences to the baseline, and ranks over transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from .data import ReportData
from .style import MUTED, PAGE_WIDTH, Drawing, new_figure, quiet_grid, style
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

__all__ = ["condition_differences_figure", "condition_ranks"]

_PANELS = 12
_REAL = "real images, no neurons"
_MODEL_MARKERS = "osD^vP*Xph<>"


def condition_differences_figure(data: ReportData) -> list[Drawing]:
    """Draw how far every layer and method lies from the baseline: a panel a source and target.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer_overall`` and ``transfer_paired``.

    Returns
    -------
    list of Drawing
        Twelve panels a figure; empty where nothing was compared with the baseline.
    """
    overall = with_condition(data.table("transfer_overall").query("reference == 'baseline'"))
    if overall.empty:
        return []
    paired = with_condition(data.table("transfer_paired").query("reference == 'baseline'"))
    pairs = transfers(overall)
    parts = [pairs[start : start + _PANELS] for start in range(0, len(pairs), _PANELS)]
    return [
        _differences(data, overall, paired, part, "" if len(parts) == 1 else f"_{number}")
        for number, part in enumerate(parts, 1)
    ]


def _differences(
    data: ReportData, overall: pd.DataFrame, paired: pd.DataFrame, pairs: list[tuple[str, str]], suffix: str
) -> Drawing:
    conditions, labels = ordered_conditions(overall), condition_labels(data)
    known = ordered_conditions(data.table("transfer"))
    columns = min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    with style():
        height = 0.45 + rows * (0.62 + 0.17 * len(conditions))
        figure = new_figure("Accuracy minus the baseline's", PAGE_WIDTH, height, mark=_REAL)
        panes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for place, axes in enumerate(panes.flat):
            if place >= len(pairs):
                axes.set_visible(False)
                continue
            source, target = pairs[place]
            for y, name in enumerate(conditions):
                mean = in_transfers(overall[overall["condition"] == name], source, target)
                runs = in_transfers(paired[paired["condition"] == name], source, target)
                _difference(axes, y, mean, runs, condition_colour(name, known))
            axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
            axes.set_title(f"{source} → {target}", fontsize=7.5)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            quiet_grid(axes, "x")
            axes.tick_params(axis="y", length=0)
            axes.tick_params(axis="x", labelbottom=place + columns >= len(pairs))
            if place + columns >= len(pairs):
                axes.set_xlabel("difference (points)")
        panes[0, 0].set_yticks(range(len(conditions)), [labels[name] for name in conditions])
        panes[0, 0].set_ylim(len(conditions) - 0.4, -0.6)
        _fit(panes[0, 0], overall, paired)
    models, seeds = int(overall["models"].max()), int(overall["seeds"].max())
    if overall["ci_low"].notna().any():
        spread = (
            f"the line its 95 % t interval over n = {seeds} seeds, their spread at least the binomial error over test "
            "images (it may go on beyond the panel)"
        )
    else:
        spread = f"{seeds} seed{'s' * (seeds != 1)}, too few for an interval"
    caption = (
        "Accuracy minus that of the baseline trained plainly with the same seed (percentage points). The large dot is "
        f"the mean over n = {models} model{'s' * (models != 1)}, {spread}; the small dots are the models. p and q of "
        "every model (Benjamini–Hochberg over all tests against the baseline) stand in tables/transfer_paired.csv, of "
        "the means in tables/transfer_overall.csv."
    )
    said = ", ".join(
        f"{labels[name]} {100 * overall.loc[overall['condition'] == name, 'difference'].mean():+.1f}"
        for name in conditions
    )
    alt = f"Differences to the baseline by source and target; mean over transfers in points: {said}."
    return Drawing(f"transfer_differences{suffix}", figure, caption, alt)


def _difference(axes: Axes, y: int, mean: pd.DataFrame, runs: pd.DataFrame, colour: str) -> None:
    values = 100 * runs["difference"].to_numpy(dtype=float)
    if len(values) > 1:
        axes.scatter(values, y + np.linspace(-0.18, 0.18, len(values)), s=5, color=colour, alpha=0.6, linewidth=0)
    for row in mean.itertuples():
        if np.isfinite(row.ci_low):
            axes.plot([100 * row.ci_low, 100 * row.ci_high], [y, y], color=colour, linewidth=1.4, zorder=2)
        axes.scatter(100 * row.difference, y, s=24, color=colour, edgecolor="white", linewidth=0.5, zorder=3)


def _fit(axes: Axes, overall: pd.DataFrame, paired: pd.DataFrame) -> None:
    """Show all differences, and of intervals what lies near them: two seeds can give one that dwarfs the rest."""
    values = 100 * np.concatenate([overall["difference"], paired["difference"], [0.0]]).astype(float)
    reach = max(float(np.ptp(values)), 4.0)
    ends = 100 * overall[["ci_low", "ci_high"]].to_numpy(dtype=float)
    low = max(np.nanmin([values.min(), *ends.ravel()]), values.min() - 0.75 * reach)
    high = min(np.nanmax([values.max(), *ends.ravel()]), values.max() + 0.75 * reach)
    axes.set_xlim(low - 0.05 * reach, high + 0.05 * reach)


def condition_ranks(data: ReportData) -> Drawing | None:
    """Draw each condition's mean accuracy over unseen domains with its mean rank, best first.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer_ranks``.

    Returns
    -------
    Drawing or None
        ``None`` with fewer than two conditions, or without a transfer.
    """
    ranks = with_condition(data.table("transfer_ranks"))
    if ranks["condition"].nunique() < 2:
        return None
    means = ranks.groupby("condition")[["mean_accuracy", "mean_rank"]].mean().sort_values("mean_rank", kind="stable")
    labels, known = condition_labels(data), ordered_conditions(data.table("transfer"))
    models = list(pd.unique(ranks["model"]))
    with style():
        figure = new_figure("Mean over unseen domains", 5.4, 0.95 + 0.22 * len(means), mark=_REAL)
        axes = figure.subplots()
        for y, (name, row) in enumerate(means.iterrows()):
            colour = condition_colour(str(name), known)
            own = ranks[ranks["condition"] == name]
            for model, value in zip(own["model"], own["mean_accuracy"], strict=True):
                marker = _MODEL_MARKERS[models.index(model) % len(_MODEL_MARKERS)]
                axes.scatter(100 * value, y, s=14, marker=marker, color=colour, alpha=0.75, linewidth=0)
            axes.plot([100 * row["mean_accuracy"]] * 2, [y - 0.3, y + 0.3], color=colour, linewidth=2.2)
            axes.text(1.01, y, f"{row['mean_rank']:.1f}", transform=axes.get_yaxis_transform(), fontsize=7, va="center")
        axes.text(1.01, -0.95, "mean rank", transform=axes.get_yaxis_transform(), fontsize=6.5, color=MUTED)
        axes.set_yticks(range(len(means)), [labels[str(name)] for name in means.index])
        axes.set_ylim(len(means) - 0.4, -0.6)
        axes.set_xlabel("accuracy (%), mean over unseen domains")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        quiet_grid(axes, "x")
        axes.tick_params(axis="y", length=0)
        for place, model in enumerate(models if len(models) > 1 else []):
            marker = _MODEL_MARKERS[place % len(_MODEL_MARKERS)]
            axes.scatter([], [], s=14, marker=marker, color=MUTED, label=str(model))
        if len(models) > 1:
            figure.legend(loc="outside lower center", ncols=min(4, len(models)))
    counts = sorted(set(ranks["transfers"].astype(int)))
    over = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    caption = (
        f"Accuracy (%) of each layer and method, mean over the n = {over} transfers (source ≠ target) that all of a "
        f"model's conditions have, and over seeds; a mark is a model (n = {len(models)}), the bar their mean. Right: "
        "rank among the conditions (1 is best, ties share), mean over transfers and models."
    )
    said = ", ".join(f"{labels[str(name)]} {100 * row['mean_accuracy']:.1f} %" for name, row in means.iterrows())
    return Drawing("transfer_ranks", figure, caption, f"Best first: {said}.")
