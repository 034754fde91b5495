"""Figures of fusion's scores: every head against the reference, and accuracy under each corruption."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm

from .data import ReportData
from .figures_fusion import mark_of, numbers
from .style import INK, MUTED, PAGE_WIDTH, Drawing, new_figure, quiet_grid, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ablation_figure", "heat_figure", "severity_figure", "shown_variants"]

SHIFTED = "all shifted"
_KIND_COLOURS = {"predicted": "#00856f", "shuffled": "#c45a9a", "random": "#e0a100", "projection": "#5d4fa2"}
_IMAGE = "#7a8691"
_LINES = ("cross_attention", "concatenate", "shuffled", "projection", "image_only", "linear")


def variant_kind(row: pd.Series) -> str:
    """Return what a head is given: ``predicted``, a control, or ``image`` for a head without a brain."""
    return "image" if row["fuse"] in ("image", "linear") else str(row["responses"])


def colour_of(kind: str) -> str:
    """Return the colour of what a head is given."""
    return _KIND_COLOURS.get(kind, _IMAGE)


def shown_variants(data: ReportData, most: int = 6) -> list[str]:
    """Return the heads that line plots show: the known ones that the study has, else its first."""
    present = list(dict.fromkeys(data.table("fusion_seeds")["variant"]))
    design = data.fusion_design or {}
    chosen = [name for name in _LINES if name in present] or present
    reference = design.get("reference")
    if reference in present and reference not in chosen[:most]:
        chosen = [*chosen[: most - 1], str(reference)]
    return chosen[:most]


def rows_of(data: ReportData, table: str, target: str) -> pd.DataFrame:
    """Return a table's rows of one domain."""
    frame = data.table(table)
    return frame[frame["target"] == target]


def _runs_of(data: ReportData, variant: str) -> pd.Series:
    """Return the accuracy of one head by domain and seed."""
    frame = data.table("fusion")
    return frame[frame["variant"] == variant].set_index(["target", "seed"])["accuracy"]


def ablation_figure(data: ReportData) -> Drawing | None:
    """Draw every head's accuracy less the reference's, within the domain and over the shifted ones."""
    paired = data.table("fusion_paired")
    design = data.fusion_design
    if paired.empty or not design:
        return None
    targets = [name for name in (design["source"], SHIFTED) if (paired["target"] == name).any()]
    order = list(dict.fromkeys(paired["variant"]))[::-1]
    kinds = {row["variant"]: variant_kind(row) for _, row in data.table("fusion_seeds").iterrows()}
    reference = _runs_of(data, design["reference"])
    with style():
        figure = new_figure(
            f"Every head less {_word(design['reference'])}", PAGE_WIDTH, 1.05 + 0.19 * len(order), mark=mark_of(data)
        )
        panels = np.atleast_1d(figure.subplots(1, len(targets), sharey=True))
        for axes, target in zip(panels, targets, strict=True):
            _differences(axes, data, target, order, kinds, reference)
            axes.set_title("within the domain" if target == design["source"] else "mean over all shifted domains")
            axes.set_xlabel("accuracy difference, points")
        panels[0].set_yticks(range(len(order)), [_word(name) for name in order], fontsize=6.8)
        seen = [kind for kind in (*_KIND_COLOURS, "image") if kind in {kinds[name] for name in order}]
        words = {"predicted": "predicted responses", "projection": "random projection", "image": "image only"}
        for kind in seen:
            panels[0].scatter([], [], color=colour_of(kind), s=18, label=words.get(kind, f"{kind} responses"))
        figure.legend(loc="outside lower center", ncols=len(seen))
    seeds = int(paired["seeds"].max())
    lines = f"there are no intervals, for {seeds} seed{'s are' if seeds != 1 else ' is'} too few"
    if numbers(paired, "ci_low").notna().any():
        lines = (
            f"lines 95 % intervals (Student's t over {seeds} paired seeds, their spread at least the binomial error "
            "over test images; they tell how trainings vary on these images, not how images do)"
        )
    caption = (
        f"Accuracy of each head minus that of {_word(design['reference'])}, in percentage points: small dots are "
        f"seeds, large ones their mean, {lines}."
    )
    return Drawing("fusion_ablation", figure, caption, "Dot plot of accuracy differences of every head with intervals.")


def _differences(
    axes: Axes, data: ReportData, target: str, order: list[str], kinds: dict[str, str], reference: pd.Series
) -> None:
    paired = rows_of(data, "fusion_paired", target).set_index("variant")
    runs = rows_of(data, "fusion", target)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    for place, name in enumerate(order):
        colour = colour_of(kinds[name])
        own = runs[runs["variant"] == name]
        each = [100 * (row["accuracy"] - reference.get((target, row["seed"]), np.nan)) for _, row in own.iterrows()]
        axes.scatter(each, np.full(len(each), place), s=7, color=colour, alpha=0.5, linewidth=0)
        row = paired.loc[name]
        axes.plot([100 * row["ci_low"], 100 * row["ci_high"]], [place, place], color=colour, linewidth=1.4)
        axes.scatter(100 * row["difference"], place, s=26, color=colour, edgecolor="white", linewidth=0.6, zorder=3)
    # Wide intervals of few seeds must not hide the means.
    middle = 100 * numbers(paired, "difference").abs().max()
    limit = max(2.0, 2.2 * float(middle))
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-0.7, len(order) - 0.3)
    quiet_grid(axes, "x")


def severity_figure(data: ReportData) -> Drawing | None:
    """Draw accuracy against severity, a panel a corruption."""
    table = data.table("fusion_seeds")
    table = table.assign(severity=numbers(table, "severity"))
    shifted = table.dropna(subset=["severity"])
    shifts = [
        name
        for name in dict.fromkeys(shifted["shift"])
        if shifted.loc[shifted["shift"] == name, "severity"].nunique() > 1
    ]
    if not shifts:
        return None
    variants = shown_variants(data)
    clean = table[table["shift"] == "none"].set_index("variant")["mean"]
    columns = min(4, len(shifts))
    lines = -(-len(shifts) // columns)
    kinds = {row["variant"]: variant_kind(row) for _, row in table.iterrows()}
    dashes = ["-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1))]
    with style():
        figure = new_figure("Accuracy under corruption", PAGE_WIDTH, 0.85 + 1.55 * lines, mark=mark_of(data))
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axes, shift in zip(grid.ravel(), shifts, strict=False):
            for place, name in enumerate(variants):
                own = shifted[(shifted["shift"] == shift) & (shifted["variant"] == name)].sort_values("severity")
                levels = np.concatenate([[0], own["severity"]])
                means = np.concatenate([[clean.get(name, np.nan)], own["mean"]])
                colour = colour_of(kinds[name])
                axes.plot(levels, 100 * means, color=colour, linestyle=dashes[place], label=_word(name))
            axes.set_title(shift.replace("_", " "), fontsize=7.5)
            axes.set_xticks(range(6))
            quiet_grid(axes)
        for axes in grid.ravel()[len(shifts) :]:
            axes.set_visible(False)
        design = data.fusion_design or {}
        for axes in grid.ravel()[: len(shifts)]:
            axes.axhline(100 / design.get("classes", np.inf), color=MUTED, linestyle=(0, (1, 2)), linewidth=0.8)
        for axes in grid[-1]:
            axes.set_xlabel("severity")
        figure.supylabel("accuracy, %", fontsize=8)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    seeds = int(table["seeds"].max())
    caption = (
        f"Accuracy (%, mean over {seeds} seeds) at five severities of each corruption, 0 is the test split as it is; "
        "the dotted line is chance. Colours: green predicted responses, purple a random projection, pink shuffled, "
        "grey image only."
    )
    return Drawing("fusion_severity", figure, caption, "Curves of accuracy against severity for several heads.")


def heat_figure(data: ReportData) -> Drawing | None:
    """Draw every head less the reference on every target as a map."""
    paired, design = data.table("fusion_paired"), data.fusion_design
    if paired.empty or not design:
        return None
    targets = [name for name in dict.fromkeys(paired["target"]) if name != SHIFTED]
    order = list(dict.fromkeys(paired["variant"]))
    wide = 100 * paired.pivot(index="target", columns="variant", values="difference").loc[targets, order]
    q = paired.pivot(index="target", columns="variant", values="q").loc[targets, order]
    seeds = data.table("fusion_seeds")
    base = 100 * seeds[seeds["variant"] == design["reference"]].set_index("target")["mean"].reindex(targets)
    limit = max(1.0, float(np.nanquantile(np.abs(wide.to_numpy(float)), 0.98)))
    with style():
        height = 1.35 + 0.145 * len(targets)
        figure = new_figure("Every head on every domain", PAGE_WIDTH, height, mark=mark_of(data))
        axes = figure.add_subplot()
        norm = TwoSlopeNorm(0, -limit, limit)
        drawn = axes.imshow(wide.to_numpy(float), cmap="PiYG", norm=norm, aspect="auto", interpolation="nearest")
        strong = np.argwhere(q.to_numpy(float) < 0.05)
        axes.scatter(strong[:, 1], strong[:, 0], marker=".", s=12, color=INK)
        words = [f"{_target(name, design['source'])}   {base[name]:.1f} %" for name in targets]
        axes.set_yticks(range(len(targets)), words, fontsize=5.8)
        axes.set_xticks(
            range(len(order)), [_word(name) for name in order], rotation=50, ha="right", rotation_mode="anchor"
        )
        axes.tick_params(axis="x", labelsize=6.3)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.015)
        bar.set_label("difference, points", fontsize=7)
    tested = numbers(paired, "q").notna().any()
    dots = "dots mark q < 0.05 (paired t test, Benjamini-Hochberg over the heads of a row)"
    caption = (
        f"Accuracy of each head minus that of {_word(design['reference'])} (whose own accuracy stands beside the "
        f"domain), mean over seeds; {dots if tested else 'too few seeds to test any'}."
    )
    return Drawing("fusion_heat", figure, caption, "Map of accuracy differences of every head on every domain.")


def _word(variant: object) -> str:
    return str(variant).replace("_", " ")


def _target(target: str, source: str) -> str:
    return "as it is" if target == source else target.removeprefix(f"{source}.").replace("_", " ")
