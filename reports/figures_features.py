"""The figure of domains inside networks: how far source and target lie apart, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from .data import ReportData
from .style import PAGE_WIDTH, Drawing, new_figure, quiet_grid, style
from .views_transfer import condition_colour, condition_labels, in_transfers, transfers, with_condition

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["feature_distances_figure"]

_REAL = "real images, no neurons"
_PANELS = 12
_LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))


def feature_distances_figure(data: ReportData) -> Drawing | None:
    """Draw the distance of source and target in every layer, without and with NeuRN.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer_features``.

    Returns
    -------
    Drawing or None
        At most twelve transfers and five models; ``None`` where no network was looked into.
    """
    table = with_condition(data.table("transfer_features"))
    table = table[table["condition"].isin(["baseline", "neurn"]) & np.isfinite(table["distance"].astype(float))]
    if table.empty:
        return None
    every, models = transfers(table), list(pd.unique(table["model"]))
    pairs, drawn = every[:_PANELS], models[: len(_LINES)]
    names = [name for name in ("baseline", "neurn") if name in set(table["condition"])]
    columns = min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    with style():
        width = PAGE_WIDTH if columns > 1 else 4.2
        figure = new_figure("Source and target inside the networks", width, 0.95 + 1.65 * rows, mark=_REAL)
        panes = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for place, axes in enumerate(panes.flat):
            if place >= len(pairs):
                axes.set_visible(False)
                continue
            _panel(axes, in_transfers(table, *pairs[place]), drawn, names)
            axes.set_title(" → ".join(pairs[place]), fontsize=7.5)
            axes.tick_params(axis="x", labelbottom=place + columns >= len(pairs))
            if place % columns == 0:
                axes.set_ylabel("distance (no unit)")
        figure.legend(handles=_handles(data, drawn, names), loc="outside lower center", ncols=5)
    images = pd.to_numeric(table["images_source"], errors="coerce").dropna()
    n = f"{int(images.min()):,} to {int(images.max()):,}" if images.nunique() > 1 else f"{int(images.max()):,}"
    caption = (
        "Distance between the source's and the target's mean features, over the spread of images within a domain (1: "
        "as far apart as an image typically lies from its own domain's mean), from what the first layer receives "
        f"(left: pixels, after NeuRN where it is there) to the classifier (right). n = {n} test images of each "
        "domain, first seed only, so without an interval; each convolution's and linear layer's outputs as means "
        "over space."
    )
    left = []
    if len(models) > len(drawn):
        left.append(f"the first {len(drawn)} of {len(models)} models")
    if len(every) > len(pairs):
        left.append(f"the first {len(pairs)} of {len(every)} transfers")
    if left:
        caption += f" Drawn are {' and '.join(left)}; all are in tables/transfer_features.csv."
    means = table.groupby("condition")["distance"].mean()
    said = ", ".join(f"{name} {means[name]:.2f}" for name in names)
    return Drawing("transfer_features", figure, caption, f"Distances by layer; mean over layers and transfers: {said}.")


def _panel(axes: Axes, part: pd.DataFrame, models: list[str], names: list[str]) -> None:
    for model, line in zip(models, _LINES, strict=False):
        for name in names:
            own = part[(part["model"] == model) & (part["condition"] == name)].sort_values("layer_index")
            if own.empty:
                continue
            depth = np.linspace(0, 1, len(own)) if len(own) > 1 else np.zeros(1)
            colour = condition_colour(name)
            axes.plot(depth, own["distance"], color=colour, linestyle=line, linewidth=1.1)
            axes.scatter(depth[[0, -1]], own["distance"].iloc[[0, -1]], s=6, color=colour, linewidth=0, zorder=3)
    axes.set_xticks([0, 1], ["input", "output"])
    axes.set_xlim(-0.06, 1.06)
    axes.set_ylim(bottom=0)
    quiet_grid(axes)


def _handles(data: ReportData, models: list[str], names: list[str]) -> list[Line2D]:
    labels = condition_labels(data)
    handles = [Line2D([], [], color=condition_colour(name), label=labels[name]) for name in names]
    if len(models) > 1:
        handles += [
            Line2D([], [], color="#444f5a", linestyle=line, label=str(model))  # type: ignore[arg-type]
            for model, line in zip(models, _LINES, strict=False)
        ]
    return handles
