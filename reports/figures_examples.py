"""Figures of examples: densities of pairs, representations beside feature maps, images of the domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Patch

from .data import DensityPair, DomainImages, MapExample, ReportData
from .style import MUTED, PAGE_WIDTH, Drawing, class_colour, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["density_pairs", "domain_images", "example_maps"]

_UNIT = "#4d4a7c"


def density_pairs(data: ReportData) -> Drawing | None:
    """Draw the kernel densities of the best and worst matched pairs of a neuron and a unit.

    Parameters
    ----------
    data : ReportData
        Uses ``examples.densities``; at most four pairs a row.

    Returns
    -------
    Drawing or None
        ``None`` where there are no examples.
    """
    if data.examples is None or not data.examples.densities:
        return None
    pairs = data.examples.densities
    rows = [[pair for pair in pairs if pair.best][:4], [pair for pair in pairs if not pair.best][:4]]
    rows = [row for row in rows if row]
    columns = max(len(row) for row in rows)
    with style():
        figure = new_figure(
            "Value densities of neuron and unit: best and worst pairs",
            PAGE_WIDTH,
            0.8 + 1.75 * len(rows),
            mark="SIMULATED" if data.simulated else None,
        )
        panes = figure.subplots(len(rows), columns, squeeze=False)
        for line, row in zip(panes, rows, strict=True):
            for place, axes in enumerate(line):
                if place < len(row):
                    _density_panel(axes, row[place])
                else:
                    axes.set_visible(False)
            line[0].set_ylabel(f"{'best' if row[0].best else 'worst'} pairs\ndensity")
        for axes in panes[-1]:
            axes.set_xlabel("representation value (0–1)")
        handles = [
            Patch(color=class_colour("excitatory"), alpha=0.55, label="excitatory neuron"),
            Patch(color=class_colour("inhibitory"), alpha=0.55, label="inhibitory neuron"),
            Patch(color=_UNIT, alpha=0.45, label="unit"),
        ]
        shown = {pair.neuron_class for row in rows for pair in row}
        keep = [handle for handle, kind in zip(handles[:2], ("excitatory", "inhibitory"), strict=True) if kind in shown]
        figure.legend(handles=[*keep, handles[2]], loc="outside lower center", ncols=3)
    scores = ["best " + _scores(row) if row[0].best else "worst " + _scores(row) for row in rows]
    caption = (
        "Gaussian kernel densities (Scott's rule) of the values of one neuron's representation and one "
        "unit's map; KDE-IoU is the area below both curves over the area below either. n = "
        f"{sum(map(len, rows))} pairs: {'; '.join(scores)}."
    )
    return Drawing("kde_pairs", figure, caption, f"Density curves of pairs; KDE-IoU {'; '.join(scores)}.")


def _scores(row: Sequence[DensityPair]) -> str:
    return ", ".join(f"{pair.iou:.2f}" for pair in row)


def _density_panel(axes: Axes, pair: DensityPair) -> None:
    colour = class_colour(pair.neuron_class)
    axes.fill_between(pair.x, pair.neuron, color=colour, alpha=0.3, linewidth=0)
    axes.fill_between(pair.x, pair.unit, color=_UNIT, alpha=0.25, linewidth=0)
    axes.plot(pair.x, pair.neuron, color=colour)
    axes.plot(pair.x, pair.unit, color=_UNIT)
    axes.set_ylim(0, None)
    axes.set_xlim(float(pair.x.min()), float(pair.x.max()))
    axes.set_title(f"IoU {pair.iou:.2f}", fontsize=8, pad=19)
    axes.text(
        0,
        1.03,
        f"{_shorten(pair.neuron_label, 34)}\n{_shorten(pair.unit_label, 34)}",
        transform=axes.transAxes,
        fontsize=6,
        color=MUTED,
        va="bottom",
    )
    axes.tick_params(labelsize=6.3)


def example_maps(data: ReportData) -> Drawing | None:
    """Draw sample neural representations on the left beside sample feature maps on the right.

    Parameters
    ----------
    data : ReportData
        Uses ``examples.maps``; at most nine a side.

    Returns
    -------
    Drawing or None
        ``None`` where there are no examples.
    """
    if data.examples is None or not data.examples.maps:
        return None
    sides = [
        ("neurons: representations", [item for item in data.examples.maps if item.kind == "neuron"][:9]),
        ("units: feature maps", [item for item in data.examples.maps if item.kind != "neuron"][:9]),
    ]
    sides = [(title, items) for title, items in sides if items]
    rows = max(-(-len(items) // 3) for _, items in sides)
    with style():
        figure = new_figure(
            "Sample neural representations beside feature maps",
            PAGE_WIDTH if len(sides) == 2 else PAGE_WIDTH / 2,
            0.65 + 1.33 * rows,
            mark="SIMULATED" if data.simulated else None,
        )
        halves = np.atleast_1d(figure.subfigures(1, len(sides), wspace=0.04))
        for half, (title, items) in zip(halves, sides, strict=True):
            half.suptitle(title, fontsize=8.5, fontweight="bold", x=0.02, ha="left")
            for place, axes in enumerate(half.subplots(rows, 3, squeeze=False).flat):
                if place < len(items):
                    _map_panel(axes, items[place])
                else:
                    axes.set_visible(False)
    counts = " and ".join(f"{len(items)} {title.split(':')[0]}" for title, items in sides)
    shapes = " and ".join(
        sorted({f"{item.image.shape[0]}×{item.image.shape[1]}" for _, items in sides for item in items})
    )
    caption = (
        f"{counts}, each map on a grey scale from its own lowest (black) to its own highest value (white), "
        f"no unit; grids of {shapes} over the stimulus. Frame of a neuron: its class (blue excitatory, "
        "vermilion inhibitory)."
    )
    labels = "; ".join(item.label for _, items in sides for item in items)
    return Drawing("example_maps", figure, caption, f"Grey-scale maps: {labels}.")


def _map_panel(axes: Axes, item: MapExample) -> None:
    axes.imshow(item.image, cmap="gray", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(_shorten(item.label, 24), fontsize=6.3, labelpad=2)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(class_colour(item.neuron_class) if item.kind == "neuron" else MUTED)
        spine.set_linewidth(1.6 if item.kind == "neuron" else 0.6)


def domain_images(data: ReportData) -> Drawing | None:
    """Draw sample images of every transfer domain above what NeuRN makes of them, as published.

    Parameters
    ----------
    data : ReportData
        Uses ``examples.domains``; at most ten images a domain.

    Returns
    -------
    Drawing or None
        ``None`` where there are no images.
    """
    if data.examples is None or not data.examples.domains:
        return None
    domains = data.examples.domains
    columns = min(10, max(len(domain.images) for domain in domains))
    with style():
        width = min(PAGE_WIDTH, max(4.0, 0.5 + 0.68 * columns))
        side = (width - 0.5) / columns
        height = 0.45 + len(domains) * (2 * min(side, 0.75) + 0.2)
        figure = new_figure("The domains as they are and after NeuRN", width, height, layout="compressed")
        panes = figure.subplots(2 * len(domains), columns, squeeze=False)
        for place, domain in enumerate(domains):
            _domain_rows(panes[2 * place : 2 * place + 2], domain)
    caption = (
        f"Up to {columns} images of each of {len(domains)} domains and, below, NeuRN's output (local "
        "standard deviation over the image's maximum; 0 black, 1 white; colour channels apart)."
    )
    names = ", ".join(domain.domain for domain in domains)
    return Drawing("domain_images", figure, caption, f"Image samples of {names}, and the same after NeuRN.")


def _domain_rows(rows: np.ndarray, domain: DomainImages) -> None:
    for line, images, name in ((rows[0], domain.images, domain.domain), (rows[1], domain.neurn, "NeuRN")):
        for place, axes in enumerate(line):
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
            if place >= len(images):
                continue
            image = images[place]
            image = image / 255.0 if image.dtype == np.uint8 else np.clip(image, 0, 1)
            image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if place < len(domain.labels) and images is domain.images:
                axes.set_title(
                    _shorten(str(domain.labels[place]), 12),
                    fontsize=6,
                    fontweight="normal",
                    loc="center",
                    pad=2,
                )
        line[0].set_ylabel(_shorten(name, 14), fontsize=6.5)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
