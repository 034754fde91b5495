"""Figures of alignment and transfer side by side: every model's two scores, and what NeuRN gains in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from alignment.transfer import GainLink, correlate_gains
from alignment.transfer.link import FEWEST_MODELS

from .controls import null_sentence
from .data import ReportData
from .labels import label_points
from .style import (
    MUTED,
    PAGE_WIDTH,
    VARIANT_MARKERS,
    Drawing,
    new_figure,
    quiet_grid,
    style,
    variant_colour,
)
from .views_transfer import GAIN_METRICS, alignment_means, equal_transfers, gains, unseen_means
from .words import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FEWEST_GAINS", "alignment_and_transfer", "gain_against_gain", "say_link"]

FEWEST_GAINS = 3
"""Networks below which no scatter is drawn: two points always lie on a line."""


def alignment_and_transfer(data: ReportData, metric: str = "rmse_mean") -> Drawing | None:
    """Draw alignment (left) and accuracy on unseen domains (right) of every model, without and with NeuRN.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity`` and ``transfer``; one of them is enough.
    metric : str
        Which metric stands for alignment.

    Returns
    -------
    Drawing or None
        ``None`` where neither part has NeuRN beside the baseline.
    """
    sides = [
        ("alignment: RMSE to all cells (lower is more alike)", alignment_means(data, metric)),
        ("transfer: accuracy on unseen domains (%)", unseen_means(data)),
    ]
    sides = [(title, frame) for title, frame in sides if len(frame)]
    if not sides:
        return None
    models = list(dict.fromkeys(model for _, frame in sides for model in frame.index))
    with style():
        figure = new_figure(
            "Alignment beside domain transfer, without and with NeuRN",
            PAGE_WIDTH,
            1.35 + 0.3 * len(models),
            mark="SIMULATED" if data.simulated and sides[0][0].startswith("alignment") else None,
        )
        panes = figure.subplots(1, len(sides), squeeze=False, sharey=True)[0]
        for axes, (title, frame) in zip(panes, sides, strict=True):
            _dumbbells(axes, frame, models)
            axes.set_title(title, fontsize=7.8)
        panes[0].set_yticks(range(len(models)), models)
        panes[0].set_ylim(len(models) - 0.5, -0.5)
        handles = [
            Line2D(
                [],
                [],
                color=variant_colour(v),
                marker=VARIANT_MARKERS[v],
                linestyle="none",
                markersize=5.5,
                label=label,
            )
            for v, label in (("baseline", "without NeuRN"), ("neurn", "with NeuRN"))
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    told = []
    if sides[0][0].startswith("alignment"):
        told.append(f"RMSE (no unit) to all cells, mean over layers. {null_sentence(data, metric)}")
    if sides[-1][0].startswith("transfer"):
        told.append(
            "Accuracy on targets that differ from the source, mean over targets and seeds; these images are real."
        )
        equal = [f"{source} → {target}" for source, target in equal_transfers(data)]
        if equal:
            told[-1] += f" NeuRN makes {' and '.join(equal)} equal to the source by construction."
    if len(told) == 2:
        told = [f"Left: {told[0]}", f"Right: a{told[1][1:]}"]
    caption = f"{' '.join(told)} n = {len(models)} model{'s' * (len(models) != 1)}. Numbers: NeuRN minus baseline."
    lines = [
        f"{title}: " + ", ".join(f"{m} {r.baseline:.3g} to {r.neurn:.3g}" for m, r in f.iterrows())
        for title, f in sides
    ]
    return Drawing("alignment_and_transfer", figure, caption, "; ".join(lines) + ".")


def gain_against_gain(data: ReportData) -> Drawing | None:
    """Draw, for every model, what NeuRN gains in transfer against what it gains in alignment.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity`` and ``transfer``.

    Returns
    -------
    Drawing or None
        ``None`` with fewer than three models that have both, where no relation could show.
    """
    table = gains(data)
    if len(table) < FEWEST_GAINS:
        return None
    panels = [(metric, label) for metric, label in GAIN_METRICS if metric in table]
    y = table["transfer"].to_numpy()
    with style():
        mark = "SIMULATED" if data.simulated else None
        figure = new_figure("Gain in transfer against gain in alignment", 3.5 * len(panels), 3.2, mark=mark)
        panes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (metric, label) in zip(panes, panels, strict=True):
            axes.scatter(table[metric], y, s=22, color=variant_colour("neurn"), zorder=3)
            axes.axhline(0, color=MUTED, linewidth=0.7)
            axes.axvline(0, color=MUTED, linewidth=0.7)
            axes.margins(0.2)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.set_xlabel(label)
            axes.grid(True)
        panes[0].set_ylabel("gain in accuracy on\nunseen domains (points)")
        figure.draw_without_rendering()
        for axes, (metric, _) in zip(panes, panels, strict=True):
            label_points(axes, table[metric].to_numpy(), y, [str(model) for model in table.index])
    said = "; ".join(f"{label}: {say_link(correlate_gains(table[metric], y))}" for metric, label in panels)
    how = "with its 95 % percentile interval by bootstrap over models (2,000 resamples)"
    how = how if len(table) >= FEWEST_MODELS else "without an interval"
    caption = (
        f"One point a model (n = {len(table)}): accuracy gained on unseen domains (percentage points, real images) "
        "against alignment gained, both means over layers or targets and seeds. Spearman correlation "
        f"{how}: {said}. With this few models only a very strong relation could be told from none."
    )
    return Drawing("gain_against_gain", figure, caption, f"Scatter of gains by model; {said}.")


def say_link(link: GainLink) -> str:
    """Write a correlation of gains with its interval, or why there is none."""
    if not np.isfinite(link.rho):
        return f"none ({link.note})"
    if not np.isfinite(link.ci_low):
        return f"ρ = {signed(link.rho, 2)} ({link.note})"
    return f"ρ = {signed(link.rho, 2)} [{signed(link.ci_low, 2)}, {signed(link.ci_high, 2)}]"


def _dumbbells(axes: Axes, frame: pd.DataFrame, models: list[str]) -> None:
    reach = float(np.ptp(frame.to_numpy())) or abs(float(frame.to_numpy().mean())) * 0.1 or 1.0
    for model, row in frame.iterrows():
        y = models.index(model)
        axes.plot([row["baseline"], row["neurn"]], [y, y], color=MUTED, linewidth=1, zorder=2)
        for variant in ("baseline", "neurn"):
            axes.scatter(
                row[variant],
                y,
                s=30,
                color=variant_colour(variant),
                marker=VARIANT_MARKERS[variant],
                zorder=3,
            )
        change = row["neurn"] - row["baseline"]
        text = f"{change:+.4f}" if abs(frame.to_numpy()).max() <= 1 else f"{change:+.1f}"
        axes.text(row.max() + 0.06 * reach, y, text.replace("-", "−"), fontsize=6.8, va="center", color=MUTED)
    axes.set_xlim(frame.to_numpy().min() - 0.08 * reach, frame.to_numpy().max() + 0.28 * reach)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    quiet_grid(axes, "x")
    axes.tick_params(axis="y", length=0)
