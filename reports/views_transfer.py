"""Summaries of domain transfer by condition: a layer in front of the network, a way of training it, or both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .data import ReportData
from .style import METHOD_COLOURS, VARIANT_COLOURS, variant_colour, variant_label
from .views import lower_is_better, model_scores, transfer_summary

__all__ = [
    "GAIN_METRICS",
    "alignment_means",
    "cells_below",
    "condition",
    "condition_colour",
    "condition_labels",
    "equal_transfers",
    "gains",
    "in_transfers",
    "judged",
    "ordered_conditions",
    "transfers",
    "unseen_means",
    "with_condition",
]

GAIN_METRICS = (("rmse_mean", "fall of RMSE with NeuRN"), ("kde_iou_population", "rise of KDE-IoU with NeuRN"))
_CELL = ["model", "source", "target"]
_PLAIN = "plain"
_JOIN = " + "


def condition(variant: str, method: str) -> str:
    """Name what a network was trained with: its layer variant, its method where that is not plain, or both."""
    if method == _PLAIN:
        return variant
    return method if variant == "baseline" else f"{variant}{_JOIN}{method}"


def with_condition(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of transfer with a column ``condition`` more."""
    pairs = zip(table["layer_variant"].astype(str), table["method"].astype(str), strict=True)
    return table.assign(condition=[condition(*pair) for pair in pairs])


def ordered_conditions(table: pd.DataFrame) -> list[str]:
    """Return the conditions of a table: layers in their fixed order, then methods, then what is a user's own."""
    present = with_condition(table) if "condition" not in table else table
    names = set(present["condition"])
    known = [name for name in (*VARIANT_COLOURS, *METHOD_COLOURS) if name in names]
    return known + sorted(names - set(known))


def condition_labels(data: ReportData) -> dict[str, str]:
    """Return how figures and tables call each condition; those that saw images of the target say so."""
    table = with_condition(data.table("transfer"))
    seen = set(table.loc[table["sees_target"].astype(bool), "condition"])
    labels = {name: _label(name) + (" (sees target)" if name in seen else "") for name in ordered_conditions(table)}
    return _Labels(labels)


class _Labels(dict[str, str]):
    """Labels of conditions; one that no run has is called by its name."""

    def __missing__(self, name: str) -> str:
        return _label(name)


def _label(name: str) -> str:
    return _JOIN.join(variant_label(part) for part in name.split(_JOIN))


def condition_colour(name: str, known: Sequence[str] = ()) -> str:
    """Return the colour of a condition; see :func:`reports.style.variant_colour`."""
    return METHOD_COLOURS[name] if name in METHOD_COLOURS else variant_colour(name, list(known))


def transfers(table: pd.DataFrame, *, unseen: bool = False) -> list[tuple[str, str]]:
    """Return the pairs of source and target in order of appearance; with ``unseen`` those that differ."""
    pairs = table[["source", "target"]].drop_duplicates().itertuples(index=False, name=None)
    return [(str(source), str(target)) for source, target in pairs if not unseen or source != target]


def in_transfers(table: pd.DataFrame, source: str, target: str) -> pd.DataFrame:
    """Return the rows of one source and target."""
    return table[(table["source"] == source) & (table["target"] == target)]


def cells_below(data: ReportData) -> pd.DataFrame:
    """Return the models, sources and targets whose network without a layer lies below chance or nearest neighbours.

    Returns
    -------
    pandas.DataFrame
        Rows of ``transfer_floors``; nothing is concluded about layers from these networks.
    """
    floors = data.table("transfer_floors")
    return floors[floors["reference"].eq(True) & floors["below"].fillna("").ne("")].reset_index(drop=True)


def judged(data: ReportData, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table whose model, source and target are not in :func:`cells_below`."""
    below = set(cells_below(data)[_CELL].itertuples(index=False, name=None))
    return table[[cell not in below for cell in table[_CELL].itertuples(index=False, name=None)]]


def equal_transfers(data: ReportData, variant: str = "neurn") -> list[tuple[str, str]]:
    """Return the pairs of source and target whose images a layer makes equal by construction, for every model."""
    table = data.table("transfer_invariance")
    table = table[table["layer_variant"] == variant]
    return [pair for pair in transfers(table) if in_transfers(table, *pair)["equal"].eq(True).all()]


def alignment_means(data: ReportData, metric: str) -> pd.DataFrame:
    """Return each model's mean score over layers, without and with NeuRN, in the widest grouping that there is."""
    for group_by in ("all", "neuron_class", "area"):
        scores = model_scores(data, group_by, metric)
        if len(scores):
            wide = scores.pivot_table(index="model", columns="layer_variant", values="value", sort=False)
            return _without_and_with(wide)
    return pd.DataFrame()


def unseen_means(data: ReportData) -> pd.DataFrame:
    """Return each model's accuracy (%) on targets that are not its source, plainly trained without and with NeuRN."""
    summary = transfer_summary(data)
    summary = summary[(summary["source"] != summary["target"]) & (summary["method"] == _PLAIN)]
    if summary.empty:
        return pd.DataFrame()
    wide = summary.pivot_table(index="model", columns="layer_variant", values="mean", sort=False)
    return 100 * _without_and_with(wide)


def _without_and_with(wide: pd.DataFrame) -> pd.DataFrame:
    if "baseline" not in wide.columns or "neurn" not in wide.columns:
        return pd.DataFrame()
    return wide[["baseline", "neurn"]].dropna()


def gains(data: ReportData) -> pd.DataFrame:
    """Return what NeuRN gains in alignment and in transfer.

    Returns
    -------
    pandas.DataFrame
        Indexed by model: a column a metric of :data:`GAIN_METRICS` that the study has (positive is more
        alike) and ``transfer`` (percentage points); models that lack a part are left out. Empty where the
        study has only one side.
    """
    unseen = unseen_means(data)
    columns: dict[str, pd.Series] = {}
    for metric, _ in GAIN_METRICS:
        means = alignment_means(data, metric)
        if len(means):
            sign = -1.0 if lower_is_better(metric) else 1.0
            columns[metric] = sign * (means["neurn"] - means["baseline"])
    if unseen.empty or not columns:
        return pd.DataFrame()
    table = pd.DataFrame({**columns, "transfer": unseen["neurn"] - unseen["baseline"]})
    return table.dropna().replace([np.inf, -np.inf], np.nan).dropna()
