"""Figures of the cells: size and timing of responses, reliability, marginals, which cells were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .data import ReportData
from .figures_groups import half_violin
from .labels import label_points
from .style import (
    AREA_COLOURS,
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
from .views import class_of_groups, ordered_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["embedding_and_kept", "marginal_quantiles", "peak_against_time", "reliability_by_area"]

_MARKERS = {"excitatory": "o", "inhibitory": "s"}
_SPARE_AREAS = ("#882255", "#cc6677", "#ddaa33", "#555555")


def peak_against_time(data: ReportData) -> Drawing | None:
    """Draw every cell's peak dF/F against the time from onset to it, with the distributions at the sides.

    Parameters
    ----------
    data : ReportData
        Uses ``cells.peak`` (% dF/F) and ``cells.time_to_peak`` (s).

    Returns
    -------
    Drawing or None
        ``None`` where no cell has both.
    """
    cells = data.table("cells")
    cells = cells.assign(
        peak=pd.to_numeric(cells["peak"], errors="coerce"),
        time_to_peak=pd.to_numeric(cells["time_to_peak"], errors="coerce"),
    ).dropna(subset=["peak", "time_to_peak"])
    if cells.empty:
        return None
    with style():
        figure = new_figure(
            "Size and time of the peak response", 5.2, 4.4, mark="SIMULATED" if data.simulated else None
        )
        panes = figure.subplot_mosaic(
            [["top", "none"], ["main", "side"]],
            width_ratios=[4, 1],
            height_ratios=[1, 3.4],
            empty_sentinel="none",
        )
        main, top, side = panes["main"], panes["top"], panes["side"]
        top.sharex(main)
        side.sharey(main)
        _peak_panels(main, top, side, cells)
        main.set(xlabel="time to peak (s from onset)", ylabel="peak dF/F (%)")
        main.grid(True)
        for axes in (top, side):
            axes.tick_params(labelbottom=axes is side, labelleft=axes is top)
        top.set_ylabel("share")
        side.set_xlabel("share")
        figure.legend(*main.get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=1.8)
    medians = [
        f"{name} {part['peak'].median():.1f} % at {part['time_to_peak'].median():.2f} s"
        for name, part in cells.groupby("neuron_class")
    ]
    caption = (
        "Peak dF/F (%) of each cell's mean response to its best scene against the time from onset to it "
        f"(s). Medians: {', '.join(medians)}. n = {len(cells):,} cells; the histograms are shares of each "
        "class."
    )
    return Drawing("peak_against_time", figure, caption, f"Scatter of peak dF/F and time to peak; medians {medians}.")


def _peak_panels(main: Axes, top: Axes, side: Axes, cells: pd.DataFrame) -> None:
    x_bins = np.histogram_bin_edges(cells["time_to_peak"], 28)
    y_bins = np.histogram_bin_edges(cells["peak"], 28)
    for name, colour in CLASS_COLOURS.items():
        part = cells[cells["neuron_class"] == name]
        if part.empty:
            continue
        main.scatter(
            part["time_to_peak"],
            part["peak"],
            s=7,
            color=colour,
            marker=_MARKERS[name],
            alpha=0.55,
            linewidth=0,
            # Thousands of points as vectors would make the page heavy and slow to print.
            rasterized=len(cells) > 1500,
            label=f"{name} (n = {len(part):,})",
        )
        weights = np.full(len(part), 1 / len(part))
        top.hist(part["time_to_peak"], x_bins, weights=weights, color=colour, alpha=0.45)
        side.hist(part["peak"], y_bins, weights=weights, color=colour, alpha=0.45, orientation="horizontal")


def reliability_by_area(data: ReportData) -> Drawing | None:
    """Draw the split-half reliability of the cells of each area, by class.

    Parameters
    ----------
    data : ReportData
        Uses ``cells.reliability`` (Spearman–Brown corrected correlation).

    Returns
    -------
    Drawing or None
        ``None`` where no cell has one.
    """
    cells = data.table("cells")
    cells = cells.assign(reliability=pd.to_numeric(cells["reliability"], errors="coerce"))
    known = cells.dropna(subset=["reliability"])
    if known.empty:
        return None
    areas = ordered_groups(list(known["area"].dropna().unique()))
    with style():
        figure = new_figure(
            "Split-half reliability of the cells",
            PAGE_WIDTH,
            2.7,
            mark="SIMULATED" if data.simulated else None,
        )
        axes = figure.subplots()
        for place, area in enumerate(areas):
            for side, name in ((-1, "excitatory"), (1, "inhibitory")):
                part = known[(known["area"] == area) & (known["neuron_class"] == name)]
                half_violin(axes, place, part["reliability"].to_numpy(), class_colour(name), side, faint=False)
        counts = known["area"].value_counts()
        axes.set_xticks(range(len(areas)), [f"{area}\n(n = {counts[area]:,})" for area in areas])
        axes.set_ylabel("split-half reliability")
        axes.axhline(0, color=MUTED, linewidth=0.7)
        quiet_grid(axes)
        axes.tick_params(axis="x", length=0)
        handles = [Patch(color=colour, label=name) for name, colour in CLASS_COLOURS.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    undefined = len(cells) - len(known)
    caption = (
        "Correlation of the mean responses to the scenes in two halves of the trials, Spearman–Brown "
        f"corrected (1 is perfectly repeatable); median {known['reliability'].median():.2f}, n = "
        f"{len(known):,} cells{f'; undefined for {undefined:,} more' if undefined else ''}. Left half "
        "excitatory, right half inhibitory."
    )
    return Drawing("reliability", figure, caption, "Violins of split-half reliability by area and class.")


def marginal_quantiles(data: ReportData) -> Drawing | None:
    """Draw quantiles of the simulation against those of real recordings.

    Parameters
    ----------
    data : ReportData
        Uses ``marginals``: quantity, quantile, simulated, real.

    Returns
    -------
    Drawing or None
        ``None`` where there are none.
    """
    marginals = data.table("marginals")
    if marginals.empty:
        return None
    names = list(pd.unique(marginals["quantity"]))
    with style():
        figure = new_figure(
            "Simulated beside real: quantiles",
            min(PAGE_WIDTH, 3.4 * len(names)) if len(names) > 1 else 4.2,
            3.4,
            mark="SIMULATED" if data.simulated else None,
        )
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            part = marginals[marginals["quantity"] == name]
            both = part[["real", "simulated"]].to_numpy(dtype=float)
            ends = [np.nanmin(both), np.nanmax(both)]
            axes.plot(ends, ends, color=MUTED, linestyle="--", linewidth=0.9)
            axes.plot(both[:, 0], both[:, 1], color=INK, marker="o", markersize=2.4, linewidth=0.8)
            axes.set(xlabel=f"real: {name}", ylabel="simulated", title=str(name))
            axes.grid(True)
    caption = (
        f"Quantiles {marginals['quantile'].min():.2g} to {marginals['quantile'].max():.2g} of the simulation "
        "against the same quantiles of real recordings; on the dashed line the two agree."
    )
    return Drawing("marginals", figure, caption, f"Quantile plots of {', '.join(map(str, names))}.")


def embedding_and_kept(data: ReportData) -> Drawing | None:
    """Draw the UMAP embedding by area and by genotype, and bars of the cells kept of each.

    Parameters
    ----------
    data : ReportData
        Uses ``embedding``: x, y, area, genotype, neuron_class, kept.

    Returns
    -------
    Drawing or None
        ``None`` where the study chose no cells this way.
    """
    embedding = data.table("embedding")
    if embedding.empty:
        return None
    kept = embedding["kept"].astype(bool)
    areas = ordered_groups(list(embedding["area"].dropna().unique()))
    colours = _area_colours(areas)
    classes = class_of_groups(data, "genotype")
    genotypes = ordered_groups(list(embedding["genotype"].dropna().astype(str).unique()))
    genotypes.sort(key=lambda name: (classes.get(name) == "inhibitory", name))
    with style():
        figure = new_figure("Which cells were kept", PAGE_WIDTH, 5.6, mark="SIMULATED" if data.simulated else None)
        panes = figure.subplots(2, 2, height_ratios=[1.35, 1], width_ratios=[1, 1.3])
        by_area = [colours[area] for area in embedding["area"]]
        by_class = [class_colour(name) for name in embedding["neuron_class"]]
        _embedding_panel(panes[0, 0], embedding, kept, by_area, "by area")
        handles = [Line2D([], [], marker="o", linestyle="none", markersize=4, color=colours[a], label=a) for a in areas]
        panes[0, 0].legend(handles=handles, ncols=2, handletextpad=0.1, columnspacing=0.6, fontsize=6.3)
        _embedding_panel(panes[0, 1], embedding, kept, by_class, "by class; + marks a genotype's median")
        _kept_bars(panes[1, 0], embedding["area"].astype(str), kept, areas, [colours[a] for a in areas])
        _kept_bars(
            panes[1, 1],
            embedding["genotype"].astype(str),
            kept,
            genotypes,
            [class_colour(classes.get(g, "both")) for g in genotypes],
        )
        panes[1, 0].set_ylabel("cells")
        centres = embedding.groupby(embedding["genotype"].astype(str))[["x", "y"]].median().loc[genotypes]
        figure.draw_without_rendering()
        panes[0, 1].scatter(centres["x"], centres["y"], s=9, marker="+", color=INK, linewidth=0.7)
        label_points(panes[0, 1], centres["x"].to_numpy(), centres["y"].to_numpy(), genotypes, fontsize=5.8)
    split = embedding.loc[kept, "neuron_class"].value_counts()
    counts = ", ".join(f"{count:,} {name}" for name, count in split.items())
    caption = (
        f"UMAP of the representations of n = {len(embedding):,} cells (axes without unit): pale all, solid "
        f"the {int(kept.sum()):,} kept ({counts}). Below, cells of each area and genotype: pale all, solid "
        "kept."
    )
    return Drawing("embedding", figure, caption, f"Embedding of the cells; kept: {counts}.")


def _embedding_panel(axes: Axes, embedding: pd.DataFrame, kept: pd.Series, colours: Sequence[str], title: str) -> None:
    tones = np.asarray(colours)
    for chosen, alpha, size in ((~kept, 0.18, 4), (kept, 0.8, 7)):
        points = embedding[chosen]
        axes.scatter(
            points["x"],
            points["y"],
            s=size,
            c=tones[chosen.to_numpy()],
            alpha=alpha,
            linewidth=0,
            rasterized=True,
        )
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2", title=title)


def _kept_bars(axes: Axes, names: pd.Series, kept: pd.Series, order: Sequence[str], colours: Sequence[str]) -> None:
    whole = names.value_counts().reindex(order, fill_value=0)
    chosen = names[kept].value_counts().reindex(order, fill_value=0)
    places = np.arange(len(order))
    axes.bar(places, whole, color=colours, alpha=0.25, width=0.8)
    axes.bar(places, chosen, color=colours, width=0.8)
    axes.set_xticks(places, order, rotation=55, ha="right", rotation_mode="anchor", fontsize=6.3)
    quiet_grid(axes)


def _area_colours(areas: Sequence[str]) -> dict[str, str]:
    own = [area for area in areas if area not in AREA_COLOURS]
    spare = {area: _SPARE_AREAS[place % len(_SPARE_AREAS)] for place, area in enumerate(own)}
    return AREA_COLOURS | spare
