"""Figures of brain-machine fusion: what was built, how the brain is predicted, and where heads look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from .data import ReportData
from .style import CLASS_COLOURS, INK, MUTED, PAGE_WIDTH, Drawing, class_colour, new_figure, quiet_grid, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["attention_figure", "design_figure", "encoder_figure"]

_VISION, _BRAIN, _FUSED, _FROZEN = "#dceaf5", "#f7e3d4", "#dff0ea", "#eceff2"
_MOST_ROIS = 48
_STRAIGHT = (
    ((9, 35.5), (13, 35.5)),
    ((28, 35.5), (33, 35.5)),
    ((74, 42), (79, 37)),
    ((74, 27.5), (79, 32)),
    ((88, 34), (92, 34)),
    ((17, 10), (21, 10)),
    ((34, 10), (38, 10)),
    ((53, 10), (57, 10)),
)


def mark_of(data: ReportData) -> str | None:
    """Return what stands on a figure whose heads read a simulated brain."""
    design = data.fusion_design or {}
    return "SIMULATED" if design.get("simulated", data.simulated) else None


def design_figure(data: ReportData) -> Drawing | None:
    """Draw the system as it was built, with its sizes."""
    design = data.fusion_design
    if not design:
        return None
    with style():
        figure = new_figure("The fusion, as built", PAGE_WIDTH, 3.75, mark=mark_of(data))
        axes = figure.add_subplot()
        axes.set(xlim=(0, 100), ylim=(0, 50), xticks=[], yticks=[])
        axes.axis("off")
        _draw_boxes(axes, design)
    kind = "closed-form ridge regression, one penalty a region" if design["kind"] == "ridge" else "transformer decoder"
    rows, columns = design["grid"]
    caption = (
        f"Frozen vision encoder ({design['encoder']}, layer {design['layer']}): {rows}×{columns} patch tokens of "
        f"{design['features']} features. Brain encoder ({kind}), fitted to {design['units']:,} units of "
        f"{design['name']} in {design['rois']} regions on {design['images']:,} images. Grey parts are fixed before a "
        "head is trained; the coloured ones are trained by the loss at the right. The variants take parts away or "
        "replace them."
    )
    alt = (
        "Flow from the image through the frozen encoder to tokens; tokens go to the brain encoder, whose predicted "
        "responses the brain transformer reads; its [CLS] queries the tokens; both are joined and classified."
    )
    return Drawing("fusion_design", figure, caption, alt)


def _draw_boxes(axes: Axes, design: Any) -> None:
    width = design["width"]
    rows, columns = design["grid"]
    patches = -(-int(design["units"]) // int(design["patch"]))
    encoder = "ridge, one λ\na region" if design["kind"] == "ridge" else "decoder, one\nquery a region"
    cls = " + [CLS]" if design["has_cls"] else ""
    _box(axes, 0, 30, 9, 11, "image", _FROZEN)
    _box(axes, 13, 28, 15, 15, f"vision encoder\n{_short(design['encoder'])}\n(frozen)", _FROZEN)
    _box(axes, 33, 28, 15, 15, f"{rows}×{columns} patch\ntokens{cls}\n{design['features']} → {width}", _VISION)
    _box(axes, 59, 38, 15, 8, "mean over tokens", _VISION)
    _box(axes, 59, 22, 15, 11, f"cross-attention\n{design['heads']} heads", _FUSED)
    _box(axes, 79, 28, 9, 12, "join,\nlinear", _FUSED)
    _box(axes, 92, 30, 8, 8, f"{design['classes']}\nclasses", _FUSED)
    _box(axes, 0, 4, 17, 12, f"brain encoder\n{encoder}", _FROZEN)
    _responses(axes, 21, 5, 13, 10, design)
    _box(axes, 38, 4, 15, 12, f"1-D convolution\n{patches} patches\n+ [CLS] + places", _BRAIN)
    _box(
        axes,
        57,
        4,
        19,
        12,
        f"brain transformer\ndepth {design['depth']}, {design['heads']} heads\n→ [CLS], {width}",
        _BRAIN,
    )
    _box(
        axes,
        80,
        3,
        20,
        14,
        f"loss = cross-entropy\n− λ · Pearson r\n(mean of tokens, [CLS])\nλ = {design['pearson']:g}",
        "#ffffff",
    )
    for start, end in _STRAIGHT:
        _arrow(axes, start, end)
    _arrow(axes, (48, 40), (59, 42))
    _arrow(axes, (48, 32), (59, 28.5), "keys, values", (53.5, 32.4))
    _arrow(axes, (66.5, 16), (66.5, 22), "query", (70.2, 19))
    # From the tokens down and back to the brain encoder.
    axes.plot([40.5, 40.5, 8.5], [28, 21.5, 21.5], color=MUTED, linewidth=1)
    _arrow(axes, (8.5, 21.6), (8.5, 16))
    axes.text(24, 22.6, "patch tokens", fontsize=6.5, color=MUTED, ha="center")


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    shape = "round,pad=0,rounding_size=1.2"
    axes.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle=shape, facecolor=colour, edgecolor=MUTED, linewidth=0.8)
    )
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=6.8, color=INK, linespacing=1.35)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", at: tuple[float, float] = (0, 0)
) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, color=MUTED, linewidth=1, shrinkA=0, shrinkB=0)
    )
    if text:
        axes.text(*at, text, fontsize=6.5, color=MUTED, ha="center", va="center")


def _responses(axes: Axes, x: float, y: float, width: float, height: float, design: Any) -> None:
    """Draw the predicted responses as a strip of bars (a picture, not data)."""
    heights = 0.25 + 0.75 * np.abs(np.sin(1.7 * np.arange(16) + 0.6) * np.cos(0.9 * np.arange(16)))
    step = width / 16
    for index, share in enumerate(heights):
        corner = (x + index * step, y + 2.5)
        axes.add_patch(Rectangle(corner, 0.75 * step, (height - 2.5) * share, color="#c07a45"))
    axes.text(
        x + width / 2, y + 0.6, f"{design['units']:,} predicted", ha="center", va="center", fontsize=6.5, color=INK
    )


def _short(name: str) -> str:
    plain = name.rpartition(":")[2]
    return plain if len(plain) <= 16 else plain[:15] + "…"


def encoder_figure(data: ReportData) -> Drawing | None:
    """Draw the held-out correlation of every region beside its noise ceiling."""
    if not data.has("fusion_encoder"):
        return None
    table = data.table("fusion_encoder").sort_values("r", ascending=False, kind="stable")
    shown = table.head(_MOST_ROIS).iloc[::-1]
    with style():
        height = 1.2 + 0.155 * len(shown)
        figure = new_figure("Held-out prediction of each region", PAGE_WIDTH, height, mark=mark_of(data))
        axes = figure.add_subplot()
        _region_bars(axes, shown)
        labels = [f"{row['roi']}  ({int(row['units'])})" for _, row in shown.iterrows()]
        axes.set_yticks(np.arange(len(shown)), labels, fontsize=6.3)
        axes.axvline(0, color=MUTED, linewidth=0.7)
        axes.set_xlabel("Pearson r between predicted and measured response, images held out")
        axes.set_ylim(-0.7, len(shown) - 0.3)
        quiet_grid(axes, "x")
        handles, words = axes.get_legend_handles_labels()
        if words:
            figure.legend(handles, words, loc="outside lower center", ncols=len(words))
    more = f" The best {_MOST_ROIS} of {len(table)} regions." if len(table) > _MOST_ROIS else ""
    told = "Nothing tells the noise of these responses, so no ceiling is drawn."
    if shown["ceiling"].notna().any():
        told = "Ticks: mean noise ceiling, the root of the split-half reliability."
    caption = (
        "Mean over a region's units (their number in brackets) of the correlation over images that the encoder was not "
        f"fitted on; lines are standard errors over units. {told}{more}"
    )
    return Drawing("fusion_encoder", figure, caption, "Bars of held-out correlation by region with noise ceilings.")


def _region_bars(axes: Axes, shown: pd.DataFrame) -> None:
    places = np.arange(len(shown))
    worse = shown["worse_than_mean"].to_numpy(bool)
    for place, bad, (_, row) in zip(places, worse, shown.iterrows(), strict=True):
        looks: dict[str, Any] = {"alpha": 0.35, "hatch": "////"} if bad else {"alpha": 0.85}
        colour = class_colour(row["neuron_class"])
        axes.barh(place, row["r"], height=0.66, color=colour, edgecolor="white", linewidth=0, **looks)
    error = numbers(shown, "r_sd").fillna(0) / np.sqrt(shown["units"])
    axes.errorbar(shown["r"], places, xerr=error, fmt="none", ecolor=INK, elinewidth=0.7)
    if shown["ceiling"].notna().any():
        look: dict[str, Any] = {"marker": "|", "s": 40, "color": INK, "linewidth": 1.4, "zorder": 3}
        axes.scatter(numbers(shown, "ceiling"), places, label="noise ceiling", **look)
    for kind, colour in CLASS_COLOURS.items():
        if (shown["neuron_class"] == kind).any():
            axes.barh(0, 0, color=colour, alpha=0.85, label=kind)
    if worse.any():
        axes.barh(0, 0, color=MUTED, alpha=0.35, hatch="////", edgecolor="white", label="worse than the mean")


def attention_figure(data: ReportData) -> Drawing | None:
    """Draw where heads look in a few images."""
    if not data.attention:
        return None
    preferred = [maps for maps in data.attention if maps.variant in ("cross_attention", "shuffled", "image_only")]
    chosen = (preferred or list(data.attention))[:4]
    images, labels = chosen[0].images, chosen[0].labels
    with style():
        height = 0.45 + 0.9 * (len(chosen) + 1)
        figure = new_figure("Where the heads look", PAGE_WIDTH, height, mark=mark_of(data), layout="compressed")
        grid = figure.subplots(len(chosen) + 1, len(images), squeeze=False)
        for axes, image, label in zip(grid[0], images, labels, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_title(str(label).replace("_", " "), fontsize=6.3, fontweight="normal", loc="center", pad=2)
        # In multiples of an even look, one scale for all heads.
        top = max(2.0, max(float(maps.maps.max()) * maps.maps[0].size for maps in chosen))
        for row, maps in zip(grid[1:], chosen, strict=True):
            for axes, image, looked in zip(row, maps.images, maps.maps, strict=True):
                axes.imshow(image.mean(axis=2), cmap="gray", interpolation="nearest", alpha=0.55)
                extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
                told = {"cmap": "magma", "vmin": 0, "vmax": top, "alpha": 0.7, "interpolation": "bilinear"}
                drawn = axes.imshow(looked * looked.size, extent=extent, **told)
            row[0].set_ylabel(maps.variant.replace("_", "\n"), fontsize=6.5, rotation=0, ha="right", va="center")
        for axes in grid.ravel():
            axes.set(xticks=[], yticks=[])
            for side in axes.spines.values():
                side.set_visible(False)
        bar = figure.colorbar(drawn, ax=grid[1:], shrink=0.7, pad=0.01)
        bar.set_label("attention, even = 1", fontsize=7)
    rows, columns = chosen[0].maps.shape[1:]
    spread = ", ".join(f"{maps.variant} {_concentration(maps.maps):.2f}" for maps in chosen)
    caption = (
        f"Attention of the query to each of the {rows}×{columns} patch tokens (mean over heads, first seed), in "
        "multiples of an even look; test images of the source, one a class. How concentrated it is, 0 even to 1 one "
        f"token: {spread}."
    )
    return Drawing("fusion_attention", figure, caption, "Images and, below them, attention maps of several heads.")


def _concentration(maps: np.ndarray) -> float:
    """One less the entropy over that of an even map, mean over images."""
    share = maps.reshape(len(maps), -1)
    share = share / share.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)
    return float(1 - (entropy / np.log(share.shape[1])).mean())


def numbers(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as numbers; what is none becomes NaN."""
    return pd.to_numeric(frame[column], errors="coerce")
