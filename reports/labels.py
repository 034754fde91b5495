"""Labels beside points that do not overlap each other, the points, or the frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg

from .style import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["label_points", "place_boxes"]

_ANGLES = np.deg2rad([0, 180, 45, 315, 135, 225, 90, 270, 22, 338, 158, 202, 67, 293, 113, 247])


def place_boxes(
    points: np.ndarray,
    sizes: np.ndarray,
    frame: tuple[float, float, float, float],
    gap: float = 6.0,
    obstacles: np.ndarray | None = None,
) -> np.ndarray:
    """Choose the centre of one box for every point so that boxes cover neither each other nor a point.

    The most crowded points choose first; each takes the nearest free place on rings around it. Where no
    place is free the one that covers least is taken.

    Parameters
    ----------
    points : (n, 2) array
        Positions, in pixels.
    sizes : (n, 2) array
        Width and height of the boxes, in pixels.
    frame : (x0, y0, x1, y1)
        Boxes stay inside.
    gap : float
        Radius kept free around each point, in pixels.
    obstacles : (m, 2) array, optional
        Further positions (along lines, say) that boxes rather do not cover.

    Returns
    -------
    (n, 2) array
        The boxes' centres, in pixels.
    """
    n = len(points)
    extra = np.empty((0, 2)) if obstacles is None else obstacles
    centres = np.array(points, dtype=float)
    if n == 0:
        return centres
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    crowding = np.sort(distance, axis=1)[:, : min(4, n)].sum(axis=1)
    placed: list[int] = []
    for i in np.argsort(crowding, kind="stable"):
        best_cost = np.inf
        for ring in range(12):
            reach = gap + ring * 0.75 * sizes[i, 1]
            for turn, angle in enumerate(_ANGLES):
                direction = np.array([np.cos(angle), np.sin(angle)])
                centre = points[i] + direction * (reach + sizes[i] / 2)
                cost = _covered(centre, sizes[i], i, points, sizes, centres, placed, frame, gap)
                half = sizes[i] / 2
                cost += 5.0 * float(np.all(np.abs(extra - centre) < half, axis=1).sum())
                cost += 0.02 * reach + 0.01 * turn
                if cost < best_cost:
                    best_cost, centres[i] = cost, centre
            if best_cost < 0.02 * (reach + 1) + 0.2:
                break
        placed.append(int(i))
    return centres


def _covered(
    centre: np.ndarray,
    size: np.ndarray,
    own: int,
    points: np.ndarray,
    sizes: np.ndarray,
    centres: np.ndarray,
    placed: Sequence[int],
    frame: tuple[float, float, float, float],
    gap: float,
) -> float:
    """Return the area (pixels²) that a box at ``centre`` would cover, plus a price for leaving the frame."""
    low, high = centre - size / 2, centre + size / 2
    outside = np.maximum(np.array(frame[:2]) - low, 0) + np.maximum(high - np.array(frame[2:]), 0)
    cost = 20.0 * float(outside.sum())
    if placed:
        others = np.asarray(placed)
        shared = np.minimum(high, centres[others] + sizes[others] / 2 + 1)
        shared = shared - np.maximum(low, centres[others] - sizes[others] / 2 - 1)
        cost += float(np.prod(np.maximum(shared, 0), axis=1).sum())
    near = np.all((points > low - 0.6 * gap) & (points < high + 0.6 * gap), axis=1)
    near[own] = False
    # A line to the label that runs through a neighbour's marker would give the label to the neighbour.
    end = np.clip(points[own], low, high) - points[own]
    others = np.delete(points, own, axis=0) - points[own]
    along = np.clip(others @ end / max(float(end @ end), 1e-9), 0, 1)
    crossed = np.linalg.norm(others - along[:, None] * end, axis=1) < 0.6 * gap
    crossed &= along > 0
    return cost + 25.0 * float(near.sum()) + 15.0 * float(crossed.sum())


def label_points(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    texts: Sequence[str],
    fontsize: float = 6.5,
    obstacles: np.ndarray | None = None,
) -> None:
    """Write one label beside every point, with a thin line to it where the label had to move away.

    Call it when the limits of the axes are final and the layout of the figure has been made. ``obstacles``
    (m, 2), in data coordinates, are further positions that labels rather do not cover.
    """
    figure = axes.figure
    renderer = RendererAgg(*(figure.get_size_inches() * figure.dpi), figure.dpi)  # type: ignore[union-attr]
    drawn = [axes.text(0, 0, text, fontsize=fontsize, transform=None) for text in texts]
    extents = [text.get_window_extent(renderer) for text in drawn]
    sizes = np.array([[box.width + 1, box.height] for box in extents]).reshape(-1, 2)
    points = axes.transData.transform(np.column_stack([x, y]))
    box = axes.get_window_extent(renderer)
    further = None if obstacles is None else axes.transData.transform(obstacles)
    centres = place_boxes(points, sizes, (box.x0, box.y0, box.x1, box.y1), obstacles=further)
    for item in drawn:
        item.remove()
    to_fraction = axes.transAxes.inverted()
    for text, size, point, centre in zip(texts, sizes, points, centres, strict=True):
        nearest = np.clip(point, centre - size / 2, centre + size / 2)
        if np.linalg.norm(nearest - point) > 9:
            line = to_fraction.transform(np.array([point, nearest]))
            axes.plot(line[:, 0], line[:, 1], color=MUTED, linewidth=0.5, transform=axes.transAxes, zorder=1.5)
        where = to_fraction.transform(centre)
        axes.text(
            where[0],
            where[1],
            text,
            fontsize=fontsize,
            ha="center",
            va="center",
            color=INK,
            transform=axes.transAxes,
        )
