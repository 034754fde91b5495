"""Figures of neuron groups: scores without and with NeuRN, and their distributions over cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .controls import null_sentence
from .data import ReportData
from .labels import label_points
from .style import (
    CLASS_COLOURS,
    INK,
    MUTED,
    PAGE_WIDTH,
    Drawing,
    class_colour,
    new_figure,
    quiet_grid,
    style,
)
from .views import (
    GROUP_NAMES,
    class_of_groups,
    group_scores,
    lower_is_better,
    ordered_groups,
    primary_representation,
    shown_metrics,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["half_violin", "neurn_scatter", "rmse_violins"]

_CLASS_MARKERS = {"excitatory": "o", "inhibitory": "s", "both": "D"}


def neurn_scatter(data: ReportData, metric: str = "rmse_mean") -> Drawing | None:
    """Draw the score of every group without (x) against with NeuRN (y), as published.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity`` and ``cells``.
    metric : str
        Which metric of the similarity table.

    Returns
    -------
    Drawing or None
        ``None`` where no group has both scores.
    """
    name = shown_metrics(data).get(metric, metric)
    panels = [("area and class", ("neuron_class", "area")), ("genotype", ("genotype",))]
    frames = [(title, pd.concat([group_scores(data, by, metric) for by in groupings])) for title, groupings in panels]
    frames = [(title, frame) for title, frame in frames if len(frame)]
    if not frames:
        return None
    whole = pd.concat([frame for _, frame in frames])
    with style():
        figure = new_figure(
            f"{name} with NeuRN against without, by neuron group",
            PAGE_WIDTH,
            4.7 if len(frames) > 1 else 5.2,
            mark="SIMULATED" if data.simulated else None,
        )
        panes = figure.subplots(1, len(frames), squeeze=False, width_ratios=[1, 1.5][: len(frames)])[0]
        for axes, (title, frame) in zip(panes, frames, strict=True):
            _scatter_panel(axes, title, frame, name)
        handles = _scatter_handles(whole)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        figure.draw_without_rendering()
        for axes, (_, frame) in zip(panes, frames, strict=True):
            x, y = frame["baseline"].to_numpy(), frame["variant"].to_numpy()
            label_points(axes, x, y, [str(group) for group in frame.index], obstacles=_along_bars(frame))
    caption, alt = _scatter_words(data, whole, metric, name)
    caption += f" {null_sentence(data, metric)}"
    return Drawing("neurn_scatter", figure, caption, alt)


def _scatter_handles(whole: pd.DataFrame) -> list[Line2D]:
    names = {"excitatory": "excitatory", "inhibitory": "inhibitory", "both": "both classes"}
    handles = [
        Line2D(
            [],
            [],
            marker=_CLASS_MARKERS[name],
            color=class_colour(name),
            linestyle="none",
            markersize=5,
            label=label,
        )
        for name, label in names.items()
        if (whole["neuron_class"] == name).any()
    ]
    return [*handles, Line2D([], [], color=MUTED, linewidth=0.9, linestyle="--", label="equal")]


def _scatter_words(data: ReportData, whole: pd.DataFrame, metric: str, name: str) -> tuple[str, str]:
    side, lies = ("below", "lower") if lower_is_better(metric) else ("above", "higher")
    closer = whole["variant"] < whole["baseline"] if side == "below" else whole["variant"] > whole["baseline"]
    count = int(closer.sum())
    bars = ""
    if whole["ci_low"].notna().any():
        bars = "Bars: 95 % interval of the difference, mean over layers and models (conservative). "
    caption = (
        f"{name} (no unit; representations are scaled to 0–1) of each neuron group against all units: without "
        f"NeuRN on x, with NeuRN on y, mean over layers and {_count(whole['n_models'].max(), 'model')}; "
        f"{primary_representation(data.table('similarity'))} representations. Points {side} the dashed "
        f"line have a {lies} {name} with NeuRN ({count} of {len(whole)}). {bars}Cells in a group: "
        f"{_range(whole['n_cells'])}."
    )
    alt = (
        f"Scatter of {name} without and with NeuRN; {count} of {len(whole)} groups lie {side} the diagonal. The "
        "values are in the table of groups."
    )
    return caption, alt


def _scatter_panel(axes: Axes, title: str, frame: pd.DataFrame, measure: str) -> None:
    x_limits, y_limits = _square_limits(frame)
    ends = (min(x_limits[0], y_limits[0]), max(x_limits[1], y_limits[1]))
    axes.plot(ends, ends, color=MUTED, linewidth=0.9, linestyle="--", zorder=1)
    for name, marker in _CLASS_MARKERS.items():
        part = frame[frame["neuron_class"] == name]
        if part.empty:
            continue
        colour = class_colour(name)
        x, y = part["baseline"].to_numpy(), part["variant"].to_numpy()
        ends = part[["ci_low", "ci_high"]].to_numpy(dtype=float) + x[:, None]
        axes.vlines(x, ends[:, 0], ends[:, 1], color=colour, linewidth=0.8, alpha=0.55, zorder=2)
        axes.scatter(x, y, s=24, marker=marker, color=colour, edgecolor="white", linewidth=0.5, zorder=3)
    axes.set(
        xlim=x_limits,
        ylim=y_limits,
        xlabel=f"{measure} without NeuRN",
        ylabel=f"{measure} with NeuRN",
        title=f"by {title}",
    )
    axes.set_aspect("equal", adjustable="box")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(True)


def _along_bars(frame: pd.DataFrame) -> np.ndarray:
    """Return positions along the bars and the diagonal, (m, 2), for labels to keep off."""
    x = frame["baseline"].to_numpy(dtype=float)
    shares = np.linspace(0, 1, 7)
    low, high = frame["ci_low"].to_numpy(dtype=float) + x, frame["ci_high"].to_numpy(dtype=float) + x
    bars = np.column_stack([np.repeat(x, 7), (low[:, None] + shares * (high - low)[:, None]).ravel()])
    line = np.linspace(0.8 * x.min(), 1.2 * x.max(), 150)
    return np.concatenate([bars[np.isfinite(bars).all(axis=1)], np.column_stack([line, line])])


def _square_limits(frame: pd.DataFrame) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return limits of x and y of one length, so that the diagonal is at 45° and crosses the panel."""
    x = frame["baseline"].to_numpy(dtype=float)
    y = np.concatenate([frame["variant"], frame["ci_low"] + x, frame["ci_high"] + x]).astype(float)
    reaches = [float(np.nanmax(values) - np.nanmin(values)) or 0.005 for values in (x, y)]
    middles = [float(np.nanmax(values) + np.nanmin(values)) / 2 for values in (x, y)]
    half = max(0.62 * max(reaches), 0.6 * abs(middles[0] - middles[1]) + 0.3 * max(reaches))
    return (middles[0] - half, middles[0] + half), (middles[1] - half, middles[1] + half)


def rmse_violins(data: ReportData, by: str = "area") -> Drawing | None:
    """Draw the distribution over cells of each cell's RMSE, left half without and right half with NeuRN.

    Parameters
    ----------
    data : ReportData
        Uses ``cell_scores`` and ``cells``.
    by : {"area", "genotype", "cre_line"}
        Grouping of the cells. Areas are split by class.

    Returns
    -------
    Drawing or None
        ``None`` where no cell has an RMSE over all units.
    """
    scores = _cell_means(data)
    if scores.empty:
        return None
    split = by == "area"
    pick = _violin_groups(data, scores, by)
    columns = list(pick)
    names = list(dict.fromkeys(name for name, _ in columns))
    variants = [name for name in ("baseline", "neurn") if name in scores.columns]
    with style():
        figure = new_figure(
            f"RMSE of cells by {GROUP_NAMES.get(by, by)}",
            PAGE_WIDTH,
            3.3 if split else 3.7,
            mark="SIMULATED" if data.simulated else None,
        )
        axes = figure.subplots()
        for place, key in enumerate(columns):
            for variant in variants:
                side = 0 if len(variants) == 1 else (-1 if variant == "baseline" else 1)
                values = pick[key][variant].dropna().to_numpy()
                half_violin(axes, place, values, class_colour(key[1]), side, faint=variant == "baseline")
        _violin_axis(axes, columns, {key: len(pick[key]) for key in columns}, names if split else None)
        axes.set_ylabel("RMSE, mean over layers and models")
        kinds = {kind for _, kind in columns}
        handles = [Patch(color=CLASS_COLOURS[k], label=k) for k in CLASS_COLOURS if k in kinds]
        if len(variants) == 2:
            handles += [
                Patch(facecolor=MUTED, alpha=0.3, label="left: without NeuRN"),
                Patch(facecolor=MUTED, alpha=0.85, label="right: with NeuRN"),
            ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    total = sum(len(pick[key]) for key in columns)
    caption = (
        "Each cell's RMSE (no unit) to all units, mean over layers and "
        f"{_count(scores.attrs['models'], 'model')}; pale left half without, solid right half with NeuRN; "
        "bars are medians and quartiles, the shape is a Gaussian kernel density (Scott's rule). n = "
        f"{total:,} cells; the number under a name is its cells. Groups with fewer than five cells are drawn "
        "as points."
    )
    return Drawing(f"rmse_violins_{by}", figure, caption, f"Violins of the cells' RMSE by {GROUP_NAMES.get(by, by)}.")


def _violin_groups(data: ReportData, scores: pd.DataFrame, by: str) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the cells of every violin by group and class; areas are split by class, others ordered by it."""
    names = ordered_groups(list(scores[by].dropna().astype(str).unique()))
    classes = class_of_groups(data, by)
    if by != "area":
        names = sorted(names, key=lambda name: (classes.get(name) == "inhibitory", name))
    found = {}
    for name in names:
        of_group = scores[scores[by].astype(str) == name]
        for kind in ("excitatory", "inhibitory") if by == "area" else (classes.get(name, "both"),):
            cells = of_group if kind == "both" else of_group[of_group["neuron_class"] == kind]
            if len(cells):
                found[(name, kind)] = cells
    return found


def _cell_means(data: ReportData) -> pd.DataFrame:
    """Average each cell's RMSE over layers and models; a column a layer variant, beside the cell's labels."""
    scores = data.table("cell_scores")
    if scores["rmse_mean"].isna().all():
        return scores.iloc[:0]
    if scores["representation"].notna().any():
        scores = scores[scores["representation"] == primary_representation(scores)]
    wide = scores.pivot_table(index="cell", columns="layer_variant", values="rmse_mean")
    labels = data.table("cells")[["area", "cre_line", "genotype", "neuron_class"]]
    joined = wide.join(labels)
    joined.attrs["models"] = int(scores["model"].nunique())
    return joined


def half_violin(axes: Axes, place: float, values: np.ndarray, colour: str, side: int, *, faint: bool) -> None:
    """Draw a left (``side`` −1), right (1) or whole (0) violin; fewer than five values become points."""
    if len(values) == 0:
        return
    if len(values) < 5 or np.ptp(values) == 0:
        where = np.full(len(values), place + 0.12 * side)
        axes.scatter(where, values, s=7, color=colour, alpha=0.5 if faint else 0.9, linewidth=0)
        return
    from scipy.stats import gaussian_kde

    grid = np.linspace(values.min(), values.max(), 80)
    density = gaussian_kde(values)(grid)
    width = 0.42 * density / density.max()
    left = place - (width if side <= 0 else 0)
    right = place + (width if side >= 0 else 0)
    axes.fill_betweenx(grid, left, right, color=colour, alpha=0.3 if faint else 0.8, linewidth=0)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    x = place + 0.07 * side
    tone = colour if faint else INK
    axes.plot([x, x], [low, high], color=tone, linewidth=1.6, solid_capstyle="butt")
    axes.plot([x - 0.09, x + 0.09], [middle, middle], color=tone, linewidth=1.6)


def _violin_axis(
    axes: Axes,
    columns: Sequence[tuple[str, str]],
    counts: dict[tuple[str, str], int],
    split: Sequence[str] | None,
) -> None:
    quiet_grid(axes)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.tick_params(axis="x", length=0)
    if split is None:
        axes.set_xticks(
            range(len(columns)),
            [f"{name} ({counts[(name, kind)]})" for name, kind in columns],
            rotation=55,
            ha="right",
            rotation_mode="anchor",
        )
        return
    axes.set_xticks(range(len(columns)), [f"{kind[:3]}.\n({counts[(name, kind)]})" for name, kind in columns])
    for name in split:
        places = [place for place, key in enumerate(columns) if key[0] == name]
        if places:
            axes.text(
                float(np.mean(places)),
                -0.16,
                name,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=8,
                fontweight="bold",
            )
            if places[-1] < len(columns) - 1:
                axes.axvline(places[-1] + 0.5, color="#dde3e8", linewidth=0.7, zorder=0)


def _count(number: float, noun: str) -> str:
    return f"{int(number)} {noun}{'' if int(number) == 1 else 's'}"


def _range(values: pd.Series) -> str:
    numbers = pd.to_numeric(values, errors="coerce").dropna()
    if numbers.empty:
        return "not given"
    low, high = int(numbers.min()), int(numbers.max())
    return f"n = {low:,}" if low == high else f"n = {low:,} to {high:,}"
