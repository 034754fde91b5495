"""Figures of architectural similarity: all networks as a heat map with its tree, and one pair aligned."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle

from alignment._validation import check_name

from .data import ReportData
from .style import GRID, INK, MUTED, PAGE_WIDTH, Drawing, new_figure, style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from alignment.models.architecture import Alignment
    from alignment.models.families import Clustering

__all__ = ["architecture_heatmap", "architecture_map", "architecture_pair"]

EQUAL, UNEQUAL, GAP = "#dbe9f4", "#f6c9b0", "#f1f3f5"
PATH, WAY = "#b3261e", "#fff1c9"
SHORTLIST = 13  # networks that stand for all, as many as the papers took
_LABELS = {"correlation": "Pearson correlation", "normalised": "score per symbol", "score": "score"}
_ROW = 34  # columns of an alignment in a line
_CELLS = 60  # beyond this many rows or columns the matrix is drawn without its numbers


def architecture_heatmap(data: ReportData) -> Drawing | None:
    """Draw the map of a study's networks, or ``None`` where it compared none.

    Parameters
    ----------
    data : ReportData
        Uses ``architectures``. Networks whose rows cannot be correlated keep their order and have no tree.
    """
    if data.architectures is None:
        return None
    from alignment.models.families import cluster, shortlist

    similarity = data.architectures
    count = similarity.sizes["model"]
    if count < 2 or similarity["correlation"].isnull().any():
        return architecture_map(similarity, None)
    chosen = shortlist(similarity, SHORTLIST).query("chosen")["model"] if count > SHORTLIST else ()
    return architecture_map(similarity, cluster(similarity), tuple(chosen))


def architecture_map(
    similarity: xr.Dataset,
    clustering: Clustering | None,
    chosen: Collection[str] = (),
    *,
    variable: str = "correlation",
) -> Drawing:
    """Draw the similarity of all networks, in the order of their tree.

    Parameters
    ----------
    similarity : xr.Dataset
        Of :func:`~alignment.models.architecture.similarity_matrix`.
    clustering : Clustering or None
        Of :func:`~alignment.models.families.cluster`; without one the networks keep their order.
    chosen : collection of str
        Names to set in bold: the shortlist.
    variable : {"correlation", "normalised", "score"}
        What to show.
    """
    label = _LABELS[check_name(variable, "variable", _LABELS)]
    order = [str(name) for name in similarity["model"].values] if clustering is None else list(clustering.order)
    values = similarity[variable].sel(model=order, other=order).values
    limit = 1.0 if variable == "correlation" else float(np.abs(values).max())
    with style():
        side = float(np.clip(2.4 + 0.105 * len(order), 4.0, PAGE_WIDTH))
        figure = new_figure("Architectural similarity", side, side + 0.9)
        upper, lower = figure.subplots(2, 1, height_ratios=[1, 6])
        _tree(upper, clustering)
        shown = lower.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        small = float(np.clip(260 / len(order), 4.3, 7.0))
        lower.set_xticks(range(len(order)), order, rotation=90, fontsize=small)
        lower.set_yticks(range(len(order)), order, fontsize=small)
        lower.tick_params(length=0)
        for text in (*lower.get_xticklabels(), *lower.get_yticklabels()):
            if text.get_text() in chosen:
                text.set_fontweight("bold")
        figure.colorbar(shown, ax=[upper, lower], shrink=0.5, aspect=30, label=label, pad=0.01)
    alt = f"Heat map of {len(order)} networks in the order {', '.join(order)}."
    caption = _map_caption(similarity, label, len(order), clustering is not None, len(chosen))
    return Drawing("architecture-map", figure, caption, alt)


def _tree(axes: Axes, clustering: Clustering | None) -> None:
    if clustering is None:
        axes.set_axis_off()
        return
    from scipy.cluster.hierarchy import dendrogram

    dendrogram(clustering.linkage, ax=axes, no_labels=True, color_threshold=0, above_threshold_color=INK)
    for lines in axes.collections:
        lines.set_linewidth(0.7)  # type: ignore[attr-defined]
    axes.set_ylabel("1 − r")
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(0, 10 * len(clustering.order))


def _map_caption(similarity: xr.Dataset, label: str, count: int, tree: bool, chosen: int) -> str:
    attrs = similarity.attrs
    ordered = "tree by average linkage of 1 − correlation" if tree else "in the order they were named"
    return (
        f"{label[0].upper()}{label[1:]} of Needleman–Wunsch scores (match {attrs['match']}, mismatch "
        f"{attrs['mismatch']}, gap {attrs['gap']}) of n = {count} networks' layer sequences; {ordered}."
        + (f" In bold: the {chosen} that stand for all." if chosen else "")
        + " No neurons enter this figure."
    )


def architecture_pair(names: tuple[str, str], alignment: Alignment) -> Drawing:
    """Draw two networks aligned: layers opposite each other, and the score matrix with the way through it.

    Parameters
    ----------
    names : tuple of str
        The networks, the rows' first.
    alignment : Alignment
        Of :func:`~alignment.models.architecture.needleman_wunsch`.
    """
    rows, columns = alignment.matrix.shape
    lines = -(-len(alignment.pairs) // _ROW)
    numbered = max(rows, columns) <= _CELLS
    with style():
        high = float(np.clip(0.2 * rows if numbered else 5.2, 1.6, 9.0))
        width = PAGE_WIDTH if numbered else 6.2
        strip = 0.62 * lines + 0.25
        figure = new_figure(f"{names[0]} and {names[1]}", width, strip + high + 0.9)
        upper, lower = figure.subplots(2, 1, height_ratios=[strip, high])
        _opposite(upper, names, alignment)
        _matrix(lower, names, alignment, numbered)
    different = sum(one != other for one, other in alignment.pairs)
    caption = (
        f"Layers of {names[0]} ({rows - 1}) and {names[1]} ({columns - 1}) aligned end to end: score "
        f"{alignment.score} (match {alignment.match}, mismatch {alignment.mismatch}, gap {alignment.gap}), "
        f"{different} of {len(alignment.pairs)} columns differ (shaded). Below, the best score of every "
        "pair of beginnings, and the alignment's way through them."
    )
    one, other = alignment.aligned
    return Drawing("architecture-pair", figure, caption, f"{names[0]}: {one}. {names[1]}: {other}.")


def _opposite(axes: Axes, names: tuple[str, str], alignment: Alignment) -> None:
    """Draw the symbols opposite each other, columns that differ shaded."""
    longest = max((len(word or "-") for pair in alignment.pairs for word in pair), default=1)
    size = float(np.clip(26 / longest, 3.0, 7.5))
    for column, pair in enumerate(alignment.pairs):
        line, x = divmod(column, _ROW)
        colour = EQUAL if pair[0] == pair[1] else GAP if None in pair else UNEQUAL
        for side, word in enumerate(pair):
            y = line * 2.6 + side
            fill = UNEQUAL if None in pair and word is not None else colour
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=fill, edgecolor="white", linewidth=0.8))
            text = "–" if word is None else word
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=size, color=INK)
    lines = -(-len(alignment.pairs) // _ROW)
    for line in range(lines):
        for side, name in enumerate(names):
            axes.text(-0.3, line * 2.6 + side + 0.5, name, ha="right", va="center", fontsize=6.5, color=MUTED)
    axes.set_xlim(0, _ROW)
    axes.set_ylim(lines * 2.6 - 0.4, -0.2)
    axes.set_axis_off()


def _matrix(axes: Axes, names: tuple[str, str], alignment: Alignment, numbered: bool) -> None:
    matrix, path = alignment.matrix, alignment.traceback
    limit = max(1, int(np.abs(matrix).max()))
    axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.45, aspect="auto", interpolation="nearest")
    if not numbered:
        axes.plot(path[:, 1], path[:, 0], color=PATH, linewidth=1.0, alpha=0.75)
    axes.set_xlabel(names[1])
    axes.set_ylabel(names[0])
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if not numbered:
        return
    longest = max(len(word) for word in (*alignment.a, *alignment.b))
    rotation = 0 if longest == 1 else 90
    axes.set_xticks(range(matrix.shape[1]), ["", *alignment.b], fontsize=6.5, rotation=rotation)
    axes.set_yticks(range(matrix.shape[0]), ["", *alignment.a], fontsize=6.5)
    axes.set_xticks(np.arange(matrix.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(matrix.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.4)
    axes.tick_params(which="minor", length=0)
    passed = {(int(i), int(j)) for i, j in path}
    for i, j in passed:
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=WAY, edgecolor=PATH, linewidth=0.5))
    size = float(np.clip(190 / matrix.shape[1], 3.0, 6.0))
    for i, j in np.ndindex(*matrix.shape):
        bold = "bold" if (i, j) in passed else "normal"
        colour = PATH if (i, j) in passed else INK
        axes.text(j, i, str(matrix[i, j]), ha="center", va="center", fontsize=size, color=colour, fontweight=bold)
