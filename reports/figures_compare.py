"""The figure of two groups of neurons: scores of both, and their difference with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from neural_alignment import DataError

from .style import INK, MUTED, PAGE_WIDTH, Drawing, new_figure, quiet_grid, style, variant_label
from .views import METRIC_NAMES, lower_is_better

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COMPARISON_COLUMNS", "compare_figure"]

COMPARISON_COLUMNS = ("model", "layer_variant", "layer", "metric", "a_value", "b_value", "difference")
"""What a comparison must have.

It may also have representation, ci_low, ci_high (of the difference), a_low, a_high, b_low, b_high, q, a_cells,
b_cells, a_donors, b_donors: the table of :func:`alignment.similarity.compare_groups`.
"""

_SIDES = (("a", "#0072b2", "o"), ("b", "#cc6677", "s"))
_MOST_ROWS = 40


def compare_figure(
    comparison: pd.DataFrame,
    a: str,
    b: str,
    *,
    simulated: bool,
    metric: str | None = None,
    representation: str | None = None,
) -> Drawing:
    """Draw two groups side by side: on the left the score of each, on the right a − b with its 95 % interval.

    Parameters
    ----------
    comparison : pandas.DataFrame
        One row a model, layer variant and layer, with :data:`COMPARISON_COLUMNS` and, where known,
        ``ci_low`` and ``ci_high`` of the difference, ``a_low`` to ``b_high`` of the scores, ``q``, and the
        numbers of cells and donors.
    a, b : str
        Names of the groups.
    simulated : bool
        Whether the neurons are; the figure then says so.
    metric : str, optional
        Which metric; by default the first in the table.
    representation : str, optional
        Which kind; by default the first in the table, where it tells kinds.

    Returns
    -------
    Drawing
        At most forty rows, those with the largest difference.

    Raises
    ------
    DataError
        The table lacks a column, or has no row of the metric.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"model": "vgg11", "layer_variant": "neurn", "layer": "conv3", "metric": "rmse_mean"}
    >>> table = pd.DataFrame([row | {"a_value": 0.11, "b_value": 0.12, "difference": -0.01}])
    >>> compare_figure(table, "Fezf2", "Sst", simulated=True).name
    'compare_rmse_mean'
    """
    missing = [column for column in COMPARISON_COLUMNS if column not in comparison.columns]
    if missing:
        raise DataError(
            f"A comparison must have the columns {', '.join(COMPARISON_COLUMNS)}. Got a table without "
            f"{', '.join(missing)} instead. Make the comparison again."
        )
    metric = str(comparison["metric"].iloc[0]) if metric is None and len(comparison) else str(metric)
    table = comparison[(comparison["metric"] == metric) & comparison["difference"].notna()]
    if "representation" in table.columns and len(table):
        representation = str(table["representation"].iloc[0]) if representation is None else representation
        table = table[table["representation"] == representation]
    if table.empty:
        raise DataError(
            f"The comparison of {a} with {b} has no scores of {metric!r} to draw. Choose groups that hold at "
            "least two cells each, or another metric."
        )
    whole = len(table)
    if whole > _MOST_ROWS:
        largest = table["difference"].abs().nlargest(_MOST_ROWS).index
        table = table.loc[table.index.isin(largest)]
    with style():
        figure = new_figure(
            f"{a} beside {b}", PAGE_WIDTH, 1.4 + 0.2 * len(table), mark="SIMULATED" if simulated else None
        )
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
        _scores(left, table)
        _differences(right, table)
        left.set_yticks(range(len(table)), [_row_name(row) for _, row in table.iterrows()])
        left.set_ylim(len(table) - 0.4, -0.6)
        name = METRIC_NAMES.get(metric, metric)
        left.set(xlabel=name, title="score")
        right.set(xlabel=f"difference in {name.split(',')[0]}", title=f"{a} − {b}")
        handles = _handles(a, b)
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    caption = _caption(table, a, b, metric, whole)
    if representation is not None:
        caption += f" Representation: {representation}."
    name = f"compare_{metric}" if representation is None else f"compare_{representation}_{metric}"
    return Drawing(name, figure, caption, f"{a} beside {b}, {metric}.")


def _handles(a: str, b: str) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=label)
        for (_, colour, marker), label in zip(_SIDES, (a, b), strict=True)
    ]
    mark: dict[str, Any] = {"color": INK, "marker": "D", "linestyle": "none", "markersize": 4}
    handles.append(Line2D([], [], label="q < 0.05", **mark))
    return [*handles, Line2D([], [], label="else", markerfacecolor="white", **mark)]


def _row_name(row: pd.Series) -> str:
    return f"{row['model']}, {variant_label(str(row['layer_variant']))}, {row['layer']}"


def _scores(axes: Axes, table: pd.DataFrame) -> None:
    rows = np.arange(len(table))
    for place, (side, colour, marker) in enumerate(_SIDES):
        y = rows + (place - 0.5) * 0.3
        if {f"{side}_low", f"{side}_high"} <= set(table.columns):
            axes.hlines(y, table[f"{side}_low"], table[f"{side}_high"], color=colour, linewidth=1.1, alpha=0.5)
        axes.scatter(table[f"{side}_value"], y, s=16, color=colour, marker=marker, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    quiet_grid(axes, "x")
    axes.tick_params(axis="y", length=0)


def _differences(axes: Axes, table: pd.DataFrame) -> None:
    rows = np.arange(len(table))
    axes.axvline(0, color=MUTED, linewidth=0.9, linestyle="--", zorder=1)
    if {"ci_low", "ci_high"} <= set(table.columns):
        axes.hlines(rows, table["ci_low"], table["ci_high"], color=INK, linewidth=1.1, zorder=2)
    q = pd.to_numeric(table["q"], errors="coerce") if "q" in table.columns else pd.Series(np.nan, table.index)
    face = ["white" if not value < 0.05 else INK for value in q]
    axes.scatter(table["difference"], rows, s=16, marker="D", c=face, edgecolor=INK, linewidth=0.8, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    quiet_grid(axes, "x")
    axes.tick_params(axis="y", length=0)


def _reasons(table: pd.DataFrame) -> str:
    if "reason" not in table.columns:
        return ""
    reasons = [str(reason) for reason in table["reason"].dropna().unique() if reason]
    return "".join(f" {reason[0].upper()}{reason[1:]}." for reason in reasons)


def _caption(table: pd.DataFrame, a: str, b: str, metric: str, whole: int) -> str:
    counts = []
    for side, name in (("a", a), ("b", b)):
        known = [
            f"{noun} {pd.to_numeric(table[column]).max():,.0f}"
            for noun, column in (("cells n =", f"{side}_cells"), ("donors n =", f"{side}_donors"))
            if column in table.columns and table[column].notna().any()
        ]
        counts.append(f"{name}: {', '.join(known) or 'cells not counted'}")
    better = "lower" if lower_is_better(metric) else "higher"
    cut = f" The {len(table)} largest of {whole} differences." if whole > len(table) else ""
    return (
        f"Left: {METRIC_NAMES.get(metric, metric)} (no unit; {better} is more alike) of {a} and {b}, by "
        "model, layer in front and network layer. Right: the difference with its 95 % interval; filled "
        f"where q < 0.05. {'; '.join(counts)}.{cut}{_reasons(table)}"
    )
