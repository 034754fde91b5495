"""Figures of domain transfer: every run's accuracy, and alignment and transfer side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .data import ReportData
from .findings import signed
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
    variant_label,
)
from .views import lower_is_better, model_scores, ordered_variants, transfer_summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["alignment_and_transfer", "gain_against_gain", "transfer_accuracy"]

_PANELS = 12
_REAL = "real images, no neurons"


def transfer_accuracy(data: ReportData) -> list[Drawing]:
    """Draw every run's accuracy: a panel a source and target, a column a model, a colour a variant.

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
    pairs = list(transfer[["source", "target"]].drop_duplicates().itertuples(index=False, name=None))
    parts = [pairs[start : start + _PANELS] for start in range(0, len(pairs), _PANELS)]
    return [
        _accuracy_figure(data, transfer, part, "" if len(parts) == 1 else f"_{number}")
        for number, part in enumerate(parts, 1)
    ]


def _accuracy_figure(data: ReportData, transfer: pd.DataFrame, pairs: list[tuple[str, str]], suffix: str) -> Drawing:
    models, variants = list(pd.unique(transfer["model"])), ordered_variants(transfer)
    columns = min(len(pairs), 2 if len(models) * len(variants) > 8 else 4)
    rows = -(-len(pairs) // columns)
    with style():
        figure = new_figure("Accuracy by source and target", PAGE_WIDTH, 0.8 + 1.85 * rows, mark=_REAL)
        panes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axes in enumerate(panes.flat):
            if place >= len(pairs):
                axes.set_visible(False)
                continue
            source, target = pairs[place]
            part = transfer[(transfer["source"] == source) & (transfer["target"] == target)]
            _accuracy_panel(axes, part, models, variants, 0.8 * PAGE_WIDTH / columns)
            # Two lines: names of domains are long, and panels narrow.
            axes.set_title(f"{source} →\n{target}", fontsize=8)
            if place % columns == 0:
                axes.set_ylabel("accuracy (%)")
        handles = [
            Line2D(
                [],
                [],
                color=variant_colour(variant, variants),
                marker=VARIANT_MARKERS.get(variant, "X"),
                linestyle="none",
                markersize=4.5,
                label=variant_label(variant),
            )
            for variant in variants
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


def _accuracy_panel(axes: Axes, part: pd.DataFrame, models: list[str], variants: list[str], room: float) -> None:
    width = 0.8 / len(variants)
    for column, model in enumerate(models):
        for place, variant in enumerate(variants):
            runs = part[(part["model"] == model) & (part["layer_variant"] == variant)]
            if runs.empty:
                continue
            values = 100 * pd.to_numeric(runs["accuracy"]).to_numpy()
            x = column - 0.4 + width * (place + 0.5)
            colour = variant_colour(variant, variants)
            axes.plot([x, x], [values.min(), values.max()], color=colour, linewidth=0.8, alpha=0.7)
            axes.plot([x - 0.36 * width, x + 0.36 * width], [values.mean()] * 2, color=colour, linewidth=2)
            offsets = np.linspace(-0.2, 0.2, len(values)) * width if len(values) > 1 else np.zeros(1)
            axes.scatter(
                x + offsets,
                values,
                s=9,
                color=colour,
                marker=VARIANT_MARKERS.get(variant, "X"),
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
        ("alignment: RMSE to all cells (lower is closer)", _alignment(data, metric)),
        ("transfer: accuracy on unseen domains (%)", _unseen(data)),
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
    caption = (
        "Left: RMSE (no unit) to all cells, mean over layers. Right: accuracy on targets that differ from "
        f"the source, mean over targets and seeds; these images are real. n = {len(models)} models. Numbers: "
        "NeuRN minus baseline."
    )
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
    panels = _gains(data)
    if not panels:
        return None
    correlations = [gain_correlation(gains) for _, gains in panels]
    with style():
        figure = new_figure(
            "Gain in transfer against gain in alignment",
            3.5 * len(panels),
            3.2,
            mark="SIMULATED" if data.simulated else None,
        )
        panes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (label, gains) in zip(panes, panels, strict=True):
            axes.scatter(gains["alignment"], gains["transfer"], s=22, color=variant_colour("neurn"), zorder=3)
            axes.axhline(0, color=MUTED, linewidth=0.7)
            axes.axvline(0, color=MUTED, linewidth=0.7)
            axes.margins(0.2)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.set_xlabel(label)
            axes.grid(True)
        panes[0].set_ylabel("gain in accuracy on\nunseen domains (points)")
        figure.draw_without_rendering()
        for axes, (_, gains) in zip(panes, panels, strict=True):
            x, y = gains["alignment"].to_numpy(), gains["transfer"].to_numpy()
            label_points(axes, x, y, [str(model) for model in gains.index])
    said = "; ".join(
        f"{label}: ρ = {signed(rho, 2)} [{signed(low, 2)}, {signed(high, 2)}]"
        for (label, _), (rho, low, high) in zip(panels, correlations, strict=True)
    )
    caption = (
        f"One point a model (n = {len(panels[0][1])}): accuracy gained on unseen domains (percentage points, "
        "real images) against alignment gained, both means over layers or targets and seeds. Spearman "
        f"correlation with its 95 % interval (Fisher): {said}. With this few models only a very strong "
        "relation could be told from none."
    )
    return Drawing("gain_against_gain", figure, caption, f"Scatter of gains by model; {said}.")


def _gains(data: ReportData) -> list[tuple[str, pd.DataFrame]]:
    """Return, for each metric of at least three models, what NeuRN gains in alignment and in transfer."""
    unseen = _unseen(data)
    panels = []
    for metric, label in (
        ("rmse_mean", "fall of RMSE with NeuRN"),
        ("kde_iou_population", "rise of KDE-IoU with NeuRN"),
    ):
        frame = _alignment(data, metric)
        if unseen.empty or frame.empty:
            continue
        sign = -1.0 if lower_is_better(metric) else 1.0
        gains = pd.DataFrame(
            {
                "alignment": sign * (frame["neurn"] - frame["baseline"]),
                "transfer": unseen["neurn"] - unseen["baseline"],
            }
        ).dropna()
        if len(gains) >= 3:
            panels.append((label, gains))
    return panels


def gain_correlation(gains: pd.DataFrame) -> tuple[float, float, float]:
    """Return Spearman's ρ of two gains with a 95 % interval by Fisher's transformation.

    The standard error is √(1.06 / (n − 3)) (Fieller, Hartley and Pearson 1957); with three models or with
    equal gains nothing is known, and the interval is −1 to 1.
    """
    ranks = gains[["alignment", "transfer"]].rank()
    constant = (ranks.nunique() < 2).any()
    rho = 0.0 if constant else float(np.corrcoef(ranks.to_numpy().T)[0, 1])
    if len(gains) <= 3 or constant:
        return rho, -1.0, 1.0
    centre = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    half = 1.959964 * np.sqrt(1.06 / (len(gains) - 3))
    return rho, float(np.tanh(centre - half)), float(np.tanh(centre + half))


def _alignment(data: ReportData, metric: str) -> pd.DataFrame:
    for group_by in ("all", "neuron_class", "area"):
        scores = model_scores(data, group_by, metric)
        if len(scores):
            return _without_and_with(
                scores.pivot_table(index="model", columns="layer_variant", values="value", sort=False)
            )
    return pd.DataFrame()


def _unseen(data: ReportData) -> pd.DataFrame:
    summary = transfer_summary(data)
    summary = summary[summary["source"] != summary["target"]]
    if summary.empty:
        return pd.DataFrame()
    wide = summary.pivot_table(index="model", columns="layer_variant", values="mean", sort=False)
    return 100 * _without_and_with(wide)


def _without_and_with(wide: pd.DataFrame) -> pd.DataFrame:
    if "baseline" not in wide.columns or "neurn" not in wide.columns:
        return pd.DataFrame()
    return wide[["baseline", "neurn"]].dropna()


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
