"""The figure of architectural likeness: the heat map of all pairs of networks, ordered by a dendrogram."""

from __future__ import annotations

import numpy as np

from .data import ReportData
from .style import INK, PAGE_WIDTH, Drawing, new_figure, style

__all__ = ["architecture_heatmap"]


def architecture_heatmap(data: ReportData) -> Drawing | None:
    """Draw the correlation of the rows of the alignment scores, models in the order of a clustering.

    Parameters
    ----------
    data : ReportData
        Uses ``architectures.correlation`` (model, model).

    Returns
    -------
    Drawing or None
        ``None`` where the study compared no architectures.
    """
    if data.architectures is None:
        return None
    values = data.architectures["correlation"]
    names = np.array([str(name) for name in values.coords[values.dims[0]].values])
    matrix = np.asarray(values.values, dtype=float)
    order, tree = _clustering(matrix)
    with style():
        size = min(PAGE_WIDTH, max(4.4, 2.6 + 0.11 * len(names)))
        figure = new_figure("Architectural likeness of the networks", size, size + 0.3)
        upper, lower = figure.subplots(2, 1, height_ratios=[1, 6], sharex=False)
        if tree is not None:
            from scipy.cluster.hierarchy import dendrogram

            dendrogram(tree, ax=upper, no_labels=True, color_threshold=0, above_threshold_color=INK)
        for lines in upper.collections:
            lines.set_linewidth(0.8)  # type: ignore[attr-defined]
        upper.set_axis_off()
        shown = lower.imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        small = float(np.clip(260 / len(names), 4.2, 7.0))
        lower.set_xticks(range(len(names)), names[order], rotation=90, fontsize=small)
        lower.set_yticks(range(len(names)), names[order], fontsize=small)
        lower.tick_params(length=0)
        figure.colorbar(shown, ax=lower, shrink=0.6, label="Pearson correlation", pad=0.01)
    caption = (
        "Pearson correlation (−1 to 1) between rows of the Needleman–Wunsch score matrix of n = "
        f"{len(names)} networks, in the order of an average-linkage clustering of 1 − correlation. No "
        "neurons enter this figure."
    )
    return Drawing("architectures", figure, caption, f"Heat map of {len(names)} networks: {', '.join(names[order])}.")


def _clustering(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the order of the leaves and the linkage; models that cannot be clustered keep their order."""
    if len(matrix) < 3 or not np.isfinite(matrix).all():
        return np.arange(len(matrix)), None
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = np.clip(1 - (matrix + matrix.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return leaves_list(tree), tree
