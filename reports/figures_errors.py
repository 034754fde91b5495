"""Figures of what goes wrong: recall of each class, confusions, and confidence against accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D

from .data import ReportData
from .style import GRID, MUTED, PAGE_WIDTH, VARIANT_MARKERS, Drawing, new_figure, quiet_grid, style
from .views_transfer import condition_colour, condition_labels, in_transfers, transfers, with_condition

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["class_recall", "confusion_matrices", "reliability_diagram"]

_REAL = "real images, no neurons"
_PANELS = 12
_MODELS = 3
_NAMED = 12  # classes whose names fit under a panel
_TEAL = LinearSegmentedColormap.from_list("teal", ["#ffffff", "#006257"])


def _shown(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows without and with NeuRN, plainly trained; without these the first two conditions there are."""
    table = with_condition(table)
    present = list(pd.unique(table["condition"]))
    names = [name for name in ("baseline", "neurn") if name in present] or present[:2]
    return table[table["condition"].isin(names)], names


def class_recall(data: ReportData) -> Drawing | None:
    """Draw each class's recall without and with NeuRN: a panel a source and target.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer_recall``.

    Returns
    -------
    Drawing or None
        At most twelve transfers; ``None`` where there are no recalls.
    """
    if not data.has("transfer_recall"):
        return None
    table, names = _shown(data.table("transfer_recall"))
    labels, every = condition_labels(data), transfers(table)
    pairs, models = every[:_PANELS], table["model"].nunique()
    columns = min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    with style():
        figure = new_figure("Recall of each class", PAGE_WIDTH, 0.75 + 1.5 * rows, mark=_REAL)
        panes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axes in enumerate(panes.flat):
            if place >= len(pairs):
                axes.set_visible(False)
                continue
            _recall_panel(axes, in_transfers(table, *pairs[place]), names)
            axes.set_title(" → ".join(pairs[place]), fontsize=7.5)
            if place % columns == 0:
                axes.set_ylabel("recall (%)")
        figure.legend(handles=_handles(names, labels), loc="outside lower center", ncols=len(names))
    least, most = int(table["n"].min()), int(table["n"].max())
    images = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    caption = (
        f"Share (%) of each class's test images that were recognised, mean over n = {models} "
        f"model{'s' * (models != 1)} and {_seeds(table)}; the thin line spans the models. {images} images "
        "a class. A class without test images has no mark."
    )
    if len(every) > len(pairs):
        caption += f" The first {len(pairs)} of {len(every)} transfers; all are in tables/transfer_recall.csv."
    worst = table.groupby(["condition", "class_name"])["recall"].mean()
    said = "; ".join(
        f"{labels[name]}: lowest {100 * worst[name].min():.0f} % (class {worst[name].idxmin()})" for name in names
    )
    return Drawing("transfer_recall", figure, caption, f"Recall by class, mean over transfers. {said}.")


def _recall_panel(axes: Axes, part: pd.DataFrame, names: list[str]) -> None:
    first = part[part["condition"] == names[0]].groupby("class_name", sort=False)["recall"].mean()
    classes = list(pd.unique(part["class_name"]))
    if len(classes) > _NAMED:  # too many to name: from the best recognised to the worst
        classes = list(first.sort_values(ascending=False).index)
    places = {name: place for place, name in enumerate(classes)}
    for shift, name in zip(np.linspace(-0.15, 0.15, len(names)) if len(names) > 1 else [0.0], names, strict=True):
        grouped = part[part["condition"] == name].groupby("class_name", sort=False)["recall"]
        x = np.array([places[str(label)] for label in grouped.mean().index]) + shift
        colour = condition_colour(name)
        axes.vlines(x, 100 * grouped.min(), 100 * grouped.max(), color=colour, linewidth=0.8, alpha=0.6)
        size = 14 if len(classes) <= _NAMED else 5
        marker = VARIANT_MARKERS.get(name, "X")
        axes.scatter(
            x, 100 * grouped.mean(), s=size, color=colour, marker=marker, linewidth=0.3, edgecolor="white", zorder=3
        )
    if len(classes) <= _NAMED:
        long = max(map(len, map(str, classes))) > 3
        axes.set_xticks(range(len(classes)), classes, rotation=40 if long else 0, ha="right" if long else "center")
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(classes)} classes, by recall", fontsize=7)
    axes.set_ylim(0, 103)
    quiet_grid(axes)
    axes.tick_params(axis="x", length=0)


def confusion_matrices(data: ReportData) -> list[Drawing]:
    """Draw what is taken for what: a row a source and target, for each model the baseline beside NeuRN.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer_confusion``.

    Returns
    -------
    list of Drawing
        Six transfers a figure, at most two figures, of the first three models.
    """
    if not data.has("transfer_confusion"):
        return []
    table, names = _shown(data.table("transfer_confusion"))
    every, pairs = list(pd.unique(table["model"])), transfers(table)
    parts = [pairs[start : start + 6] for start in range(0, min(len(pairs), 12), 6)]
    return [
        _confusion_figure(data, table, names, every, part, len(pairs), "" if len(parts) == 1 else f"_{number}")
        for number, part in enumerate(parts, 1)
    ]


def _confusion_figure(
    data: ReportData,
    table: pd.DataFrame,
    names: list[str],
    every: list[str],
    pairs: list[tuple[str, str]],
    total: int,
    suffix: str,
) -> Drawing:
    labels, models = condition_labels(data), every[:_MODELS]
    shown = [(model, name) for model in models for name in names]
    with style():
        side = min(1.35, (PAGE_WIDTH - 0.6) / len(shown))
        width = max(3.2, 0.6 + side * len(shown) + 0.5)
        figure = new_figure(
            "Confusions", min(PAGE_WIDTH, width), 0.75 + len(pairs) * (side + 0.07), layout="compressed"
        )
        panes = figure.subplots(len(pairs), len(shown), squeeze=False)
        picture = None
        for line, (row, (source, target)) in enumerate(zip(panes, pairs, strict=True)):
            here = in_transfers(table, source, target)
            classes = _classes(here)
            for axes, (model, name) in zip(row, shown, strict=True):
                own = here[(here["model"] == model) & (here["condition"] == name)]
                picture = axes.imshow(_matrix(own, classes), cmap=_TEAL, vmin=0, vmax=100, interpolation="nearest")
                _class_ticks(axes, classes, axes is row[0], line == len(pairs) - 1)
            row[0].set_ylabel(f"{source} →\n{target}\n(true class)", fontsize=6)
        for axes, (model, name) in zip(panes[0], shown, strict=True):
            axes.set_title(f"{model}\n{labels[name]}", fontsize=6.5, loc="center")
        for axes in panes[-1]:
            axes.set_xlabel("taken for", fontsize=6)
        assert picture is not None
        bar = figure.colorbar(picture, ax=panes, shrink=min(1.0, 1.6 / (len(pairs) * side)), pad=0.015, aspect=14)
        bar.set_label("% of the true class", fontsize=6.5)
        bar.outline.set_edgecolor(GRID)  # type: ignore[operator]
        bar.ax.tick_params(labelsize=6)
    left = []
    if len(every) > len(models):
        left.append(f"the first {len(models)} of {len(every)} models")
    if total > len(pairs):
        left.append(f"{len(pairs)} of {total} transfers")
    rest = f" Shown are {' and '.join(left)}; all counts are in tables/transfer_confusion.csv." if left else ""
    caption = (
        "Confusion matrices, baseline beside NeuRN: a row is a true class, a column what its test images were taken "
        f"for, in % of the class, added up over {_seeds(table)}; the diagonal is the recall. A row without images "
        f"stays white.{rest}"
    )
    alt = f"Confusion matrices of {len(pairs)} transfers and {len(models)} models, {' and '.join(names)}."
    return Drawing(f"transfer_confusion{suffix}", figure, caption, alt)


def _classes(table: pd.DataFrame) -> list[str]:
    """Return the classes that occur, numbers by value and names by the alphabet."""
    names = {str(name) for column in ("true_class", "predicted_class") for name in table[column]}
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _matrix(table: pd.DataFrame, classes: list[str]) -> np.ndarray:
    wide = table.pivot_table(index="true_class", columns="predicted_class", values="n", aggfunc="sum")
    wide.index, wide.columns = wide.index.astype(str), wide.columns.astype(str)
    counts = wide.reindex(index=classes, columns=classes).fillna(0.0).to_numpy(dtype=float)
    sums = counts.sum(axis=1, keepdims=True)
    return np.asarray(100 * np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0))


def _class_ticks(axes: Axes, classes: list[str], left: bool, bottom: bool) -> None:
    axes.tick_params(length=0, labelsize=5, pad=1)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_edgecolor(GRID)
    if len(classes) > _NAMED:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    places = range(len(classes))
    axes.set_yticks(places, classes if left else [""] * len(classes))
    long = max(map(len, classes)) > 2
    axes.set_xticks(places, classes if bottom else [""] * len(classes), rotation=90 if long else 0)


def reliability_diagram(data: ReportData) -> Drawing | None:
    """Draw accuracy against confidence without and with NeuRN: a panel a source and target.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer_calibration`` and, for the errors, ``transfer_seeds``.

    Returns
    -------
    Drawing or None
        At most twelve transfers; ``None`` without calibration.
    """
    if not data.has("transfer_calibration"):
        return None
    table, names = _shown(data.table("transfer_calibration"))
    errors, _ = _shown(data.table("transfer_seeds"))
    labels, every = condition_labels(data), transfers(table)
    pairs, models = every[:_PANELS], table["model"].nunique()
    columns = min(len(pairs), 4)
    rows = -(-len(pairs) // columns)
    with style():
        width = min(PAGE_WIDTH, max(3.6, 0.4 + 1.75 * columns))
        figure = new_figure("Confidence and accuracy", width, 0.85 + 1.75 * rows, mark=_REAL if columns > 2 else None)
        panes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for place, axes in enumerate(panes.flat):
            if place >= len(pairs):
                axes.set_visible(False)
                continue
            _reliability_panel(axes, in_transfers(table, *pairs[place]), in_transfers(errors, *pairs[place]), names)
            source, target = pairs[place]
            axes.set_title(f"{source} →\n{target}", fontsize=7.5)
            axes.tick_params(axis="x", labelbottom=place + columns >= len(pairs))
            if place + columns >= len(pairs):
                axes.set_xlabel("confidence (%)")
            if place % columns == 0:
                axes.set_ylabel("accuracy (%)")
        handles = [*_handles(names, labels), Line2D([], [], color=MUTED, linestyle=":", label="calibrated")]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    caption = (
        "Accuracy of the test images whose predicted class was given a confidence in the same fifteenth of 0 to 100 %, "
        f"at their mean confidence; added up over n = {models} model{'s' * (models != 1)} and {_seeds(errors)}. The "
        "area of a mark grows with its images. Below the diagonal a network is surer than it is right. Numbers: "
        "expected calibration error (ECE, %), mean over models and seeds."
    )
    if len(every) > len(pairs):
        caption += f" The first {len(pairs)} of {len(every)} transfers; all are in tables/transfer_calibration.csv."
    said = ", ".join(
        f"{labels[name]} {100 * errors.loc[errors['condition'] == name, 'ece'].mean():.1f} %" for name in names
    )
    return Drawing("transfer_calibration", figure, caption, f"Reliability diagrams; mean ECE: {said}.")


def _reliability_panel(axes: Axes, part: pd.DataFrame, errors: pd.DataFrame, names: list[str]) -> None:
    axes.plot([0, 100], [0, 100], color=MUTED, linestyle=":", linewidth=0.9, zorder=1)
    for line, name in enumerate(names):
        own = part[part["condition"] == name]
        sums = own.assign(sure=own["confidence"] * own["n"], right=own["accuracy"] * own["n"])
        bins = sums.groupby("low")[["n", "sure", "right"]].sum()
        colour, x, y = condition_colour(name), 100 * bins["sure"] / bins["n"], 100 * bins["right"] / bins["n"]
        axes.plot(x, y, color=colour, linewidth=1.0, alpha=0.8)
        size = 4 + 40 * bins["n"] / max(float(bins["n"].sum()), 1.0)
        axes.scatter(x, y, s=size, color=colour, marker=VARIANT_MARKERS.get(name, "X"), linewidth=0, zorder=3)
        error = errors.loc[errors["condition"] == name, "ece"].mean()
        if np.isfinite(error):
            axes.text(3, 97 - 9 * line, f"ECE {100 * error:.1f}", color=colour, fontsize=6.5, va="top")
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 102)
    axes.set_xticks([0, 50, 100])
    axes.set_yticks([0, 50, 100])
    axes.grid(True)


def _handles(names: list[str], labels: dict[str, str]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=condition_colour(name),
            marker=VARIANT_MARKERS.get(name, "X"),
            linestyle="none",
            markersize=4.5,
            label=labels[name],
        )
        for name in names
    ]


def _seeds(table: pd.DataFrame) -> str:
    counts = sorted(set(pd.to_numeric(table["seeds"], errors="coerce").dropna().astype(int)))
    if not counts:
        return "seeds"
    if counts == [1]:
        return "one seed (no spread is known)"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
