"""The section on what the scores are worth: ceilings, shuffled scenes, untrained twins, Sobel."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .blocks import Block, Column, Findings, Prose, Section, figure_block, table_block
from .controls import condition_scores, group_ceilings
from .data import ReportData
from .figures_controls import controls_figure
from .findings import interval, signed
from .style import variant_label
from .views import GROUP_NAMES, shown_metrics

__all__ = ["controls_section"]

_CONDITIONS = [
    Column("model", "model"),
    Column("layer", "layer in front"),
    Column("measure", "score"),
    Column("value", "value", 4),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("null_mean", "shuffled", 4),
    Column("clear", "q < 0.05", sort_by="n_clear"),
    Column("ceiling", "ceiling", 4),
    Column("normalised", "part", 2),
]
_CEILINGS = [
    Column("group", "group"),
    Column("n_cells", "cells"),
    Column("correlation", "reliability", 2),
    Column("ceiling", "ceiling", 4),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("baseline", "without", 4),
    Column("baseline_part", "part", 2),
    Column("neurn", "with", 4),
    Column("neurn_part", "part", 2),
    Column("reason", "why missing"),
]


def controls_section(data: ReportData) -> Section:
    """Build the section: a figure and a table of controls, and the ceilings of the groups."""
    drawings = controls_figure(data)
    if not drawings:
        absent = Prose("This study compared no networks with neurons.", absent=True)
        return Section("controls", "Ceilings and controls", (absent,))
    blocks: list[Block] = [figure_block(drawing, "") for drawing in drawings]
    metrics = shown_metrics(data)
    frames = [condition_scores(data, metric).assign(measure=name) for metric, name in metrics.items()]
    whole = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    said = _sentences(whole)
    if said:
        blocks.insert(0, Findings(said))
    blocks.append(_conditions(whole, list(metrics.values())))
    metric, name = next(iter(metrics.items()))
    ceilings = group_ceilings(data, metric)
    if len(ceilings):
        blocks.append(_ceilings(ceilings, name))
    return Section("controls", "Ceilings and controls", tuple(blocks))


def _sentences(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Say what the controls leave of the scores: beside shuffled scenes, untrained twins, Sobel and the ceiling."""
    said = []
    for measure, rows in frame.groupby("measure", sort=False):
        own = rows[~rows["twin"].astype(bool)]
        layers = own[own["n_clear"].notna()]
        told = []
        if len(layers):
            clear, count = int(layers["n_clear"].sum()), int(layers["n_layers"].sum())
            told.append(f"{clear} of {count} layers are closer to the cells than with the scenes shuffled (q < 0.05)")
        pairs = own.merge(rows[rows["twin"].astype(bool)], on=["model", "layer_variant"], suffixes=("", "_twin"))
        if len(pairs):
            difference = signed(float((pairs["value"] - pairs["value_twin"]).mean()))
            told.append(f"networks as compared less their random twins {difference}")
        wide = own.pivot_table(index="model", columns="layer_variant", values="value")
        if {"neurn", "sobel"} <= set(wide.columns):
            told.append(f"NeuRN less Sobel {signed(float((wide['neurn'] - wide['sobel']).mean()))}")
        if own["normalised"].notna().any():
            told.append(f"{float(own['normalised'].mean()):.2f} of the noise ceiling on average")
        if told:
            said.append((f"{measure} to all cells, mean over layers and models: {'; '.join(told)}.", ""))
    return said


def _conditions(frame: pd.DataFrame, names: list[str]) -> Block:
    ends = frame[["ci_low", "ci_high"]].to_numpy(dtype=float)
    counts = frame[["n_clear", "n_layers"]].to_numpy(dtype=float)
    table = frame.assign(
        layer=[
            f"{variant_label(name)}, random twin" if twin else variant_label(name)
            for name, twin in zip(frame["layer_variant"], frame["twin"], strict=True)
        ],
        interval=[interval(low, high, lambda value: f"{value:.4f}") for low, high in ends],
        clear=[f"{clear:.0f} of {layers:.0f}" if np.isfinite(clear) else None for clear, layers in counts],
    )
    caption = (
        f"{' and '.join(names)} to all cells, mean over layers. A random twin is the same network "
        "with the same first weights, before training. Shuffled: mean of the scores of cells whose responses were "
        "dealt to other scenes; q < 0.05: layers that are closer than that (one-sided, over groups). The noise ceiling "
        "is half of the trials against all of them, as far apart as all of them are from the truth; the part of it is "
        "ceiling / RMSE or KDE-IoU / ceiling, 1 for a noiseless model of each cell. Over all pairs no network whose "
        "units differ from each other gets there. All scores, of every group and layer, have these columns in the "
        "table beside this page."
    )
    return table_block(table, _CONDITIONS, caption, csv="similarity")


def _ceilings(frame: pd.DataFrame, name: str) -> Block:
    ends = frame[["ci_low", "ci_high"]].to_numpy(dtype=float)
    table = frame.assign(
        group=frame["group"].where(frame["group_by"] != "all", GROUP_NAMES["all"]),
        interval=[interval(low, high, lambda value: f"{value:.4f}") for low, high in ends],
        reason=[str(reason) if isinstance(reason, str) and reason else None for reason in frame["reason"]],
    )
    caption = (
        f"Noise ceilings of {name} by group with the 95 % interval over donors and cells, beside {name} without and "
        "with NeuRN (mean over layers and models) and the part of the ceiling that each is. Reliability: Pearson "
        "correlation of the representations of two halves of the trials, Spearman–Brown corrected. Where a ceiling or "
        "interval is missing the last column says why."
    )
    return table_block(table, _CEILINGS, caption, csv="ceilings")
