"""Summaries that figures, tables and sentences share, so that all of them say the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from .data import ReportData
from .style import VARIANT_COLOURS

__all__ = [
    "GROUP_NAMES",
    "METRIC_NAMES",
    "best_layers",
    "class_of_groups",
    "group_scores",
    "model_scores",
    "ordered_groups",
    "ordered_variants",
    "paired_groups",
    "primary_representation",
    "shown_metrics",
    "transfer_differences",
    "transfer_summary",
]

GROUP_NAMES: Final[Mapping[str, str]] = {
    "all": "all cells",
    "area": "area",
    "cre_line": "Cre line",
    "genotype": "genotype",
    "neuron_class": "neuron class",
    "cortical_layer": "cortical layer",
    "depth_um": "depth (µm)",
}
METRIC_NAMES: Final[Mapping[str, str]] = {
    "rmse_mean": "RMSE, mean of all pairs",
    "rmse_nearest": "RMSE, nearest unit",
    "kde_iou_population": "KDE-IoU, population",
    "kde_iou_unit": "KDE-IoU, single pairs",
}
_LEADING: Final = (
    {"rmse_mean": "RMSE", "rmse_nearest": "RMSE to the nearest unit"},
    {"kde_iou_population": "KDE-IoU", "kde_iou_unit": "KDE-IoU of single pairs"},
)
AREA_ORDER: Final = ("VISp", "VISl", "VISal", "VISpm", "VISam", "VISrl")
INHIBITORY_GENES: Final = ("Pvalb", "Sst", "Vip")


def lower_is_better(metric: str) -> bool:
    """Tell whether a smaller value of a metric means more alike."""
    return metric.startswith("rmse")


def shown_metrics(data: ReportData) -> dict[str, str]:
    """Return the metrics that figures and tables show, one RMSE and one KDE-IoU as far as scored, with short names."""
    present = set(data.table("similarity")["metric"])
    firsts = [next(((metric, name) for metric, name in kind.items() if metric in present), None) for kind in _LEADING]
    return dict(first for first in firsts if first is not None)


def primary_representation(table: pd.DataFrame) -> str:
    """Return the representation that leads the report: the papers' ``weighted`` where the study has it."""
    present = list(pd.unique(table["representation"].dropna()))
    for name in ("weighted", "matched", "tuning"):
        if name in present:
            return name
    return str(present[0]) if present else ""


def ordered_variants(table: pd.DataFrame) -> list[str]:
    """Return the layer variants of a table: the known ones in a fixed order, then a user's own by name."""
    present = set(table["layer_variant"].dropna())
    return [name for name in VARIANT_COLOURS if name in present] + sorted(present - set(VARIANT_COLOURS))


def ordered_groups(groups: pd.Index | list[str]) -> list[str]:
    """Return groups as a reader expects them: areas along the hierarchy, excitatory first, else by name."""
    fixed = {name: place for place, name in enumerate((*AREA_ORDER, "excitatory", "inhibitory"))}
    return sorted((str(group) for group in groups), key=lambda name: (fixed.get(name, 99), name))


def class_of_groups(data: ReportData, group_by: str) -> dict[str, str]:
    """Map every group to its neuron class where all its cells share one, else to ``"both"``.

    Read from the cells; without them, from the gene that leads the name of a Cre line or genotype.
    """
    cells = data.table("cells")
    if group_by in cells.columns and len(cells):
        names = cells[group_by].astype(str)
        return {
            str(group): str(classes.iloc[0]) if classes.nunique() == 1 else "both"
            for group, classes in cells["neuron_class"].groupby(names)
        }
    groups = data.table("similarity").query("group_by == @group_by")["group"].astype(str).unique()
    return {group: _class_by_name(group, group_by) for group in groups}


def _class_by_name(group: str, group_by: str) -> str:
    if group in ("excitatory", "inhibitory"):
        return group
    if group_by not in ("cre_line", "genotype"):
        return "both"
    return "inhibitory" if group.startswith(INHIBITORY_GENES) else "excitatory"


def _chosen(table: pd.DataFrame, group_by: str, metric: str) -> pd.DataFrame:
    if table.empty:
        return table
    representation = primary_representation(table)
    keep = (table["group_by"] == group_by) & (table["metric"] == metric)
    if "twin" in table:
        keep &= ~table["twin"].astype(bool)
    chosen = table[keep & (table["representation"] == representation)]
    return chosen.assign(group=chosen["group"].astype(str))


def model_scores(data: ReportData, group_by: str, metric: str) -> pd.DataFrame:
    """Average a metric over the layers of each model.

    Returns
    -------
    pandas.DataFrame
        Columns model, layer_variant, group, value, ci_low, ci_high, n_cells. The interval is the mean of
        the layers' intervals: the layers share their cells, so this is at least as wide as the interval of
        the mean.
    """
    chosen = _chosen(data.table("similarity"), group_by, metric)
    columns = ["value", "ci_low", "ci_high", "n_cells"]
    if chosen.empty:
        return _no_rows(["model", "layer_variant", "group"], columns)
    numbers = chosen.assign(**{name: pd.to_numeric(chosen[name], errors="coerce") for name in columns})
    return numbers.groupby(["model", "layer_variant", "group"], sort=False)[columns].mean().reset_index()


def group_scores(data: ReportData, group_by: str, metric: str, variant: str = "neurn") -> pd.DataFrame:
    """Average a metric over layers, then models, for every group, without and with a layer variant.

    Only models that have both are counted.

    Returns
    -------
    pandas.DataFrame
        Indexed by group: baseline, variant, difference, ci_low, ci_high (of the difference, where the
        paired table has it), n_tests, n_lower, n_higher, n_cells, n_donors, n_models, neuron_class.
    """
    scores = model_scores(data, group_by, metric)
    both = scores.pivot_table(index=["group", "model"], columns="layer_variant", values="value")
    if "baseline" not in both.columns or variant not in both.columns:
        return _no_rows(["neuron_class"], ["baseline", "variant", "n_cells", "n_models"])
    both = both[["baseline", variant]].dropna()
    frame = both.groupby(level="group").mean().rename(columns={variant: "variant"})
    frame["n_models"] = both.groupby(level="group").size()
    frame["n_cells"] = scores.groupby("group")["n_cells"].max().reindex(frame.index)
    classes = class_of_groups(data, group_by)
    frame["neuron_class"] = [classes.get(group, "both") for group in frame.index]
    paired = paired_groups(data, group_by, metric).drop(columns="neuron_class")
    if variant != "neurn":
        paired = paired.iloc[:0]
    frame = frame.join(paired)
    frame["difference"] = frame["difference"].fillna(frame["variant"] - frame["baseline"])
    return frame.rename_axis(columns=None).loc[ordered_groups(list(frame.index))]


def paired_groups(data: ReportData, group_by: str, metric: str) -> pd.DataFrame:
    """Average NeuRN − baseline over layers, then models, for every group of cells.

    Returns
    -------
    pandas.DataFrame
        Indexed by group: difference, ci_low, ci_high (means of the intervals, at least as wide as the
        mean's), n_tests (those that the donors allow), n_lower, n_higher (tests with q < 0.05 and a difference
        below or above zero), n_donors, neuron_class.
    """
    paired = data.table("paired")
    chosen = _chosen(
        paired[(paired["layer_variant"] == "neurn") & (paired["reference"] == "baseline")], group_by, metric
    )
    if chosen.empty:
        counts = ["n_tests", "n_lower", "n_higher", "n_donors"]
        return _no_rows(["neuron_class"], ["difference", "ci_low", "ci_high", *counts])
    numbers = ["difference", "ci_low", "ci_high", "q", "n_donors"]
    chosen = chosen.assign(**{name: pd.to_numeric(chosen[name], errors="coerce") for name in numbers})
    clear = chosen["q"] < 0.05
    chosen = chosen.assign(
        n_tests=chosen["q"].notna(),
        n_lower=clear & (chosen["difference"] < 0),
        n_higher=clear & (chosen["difference"] > 0),
    )
    # Every model counts once, however many layers were read of it: as in the scores beside.
    by_model = chosen.groupby(["group", "model"])[["difference", "ci_low", "ci_high"]].mean()
    means = by_model.groupby(level="group").mean()
    counts = chosen.groupby("group")[["n_tests", "n_lower", "n_higher"]].sum()
    frame = means.join(counts).join(chosen.groupby("group")["n_donors"].max())
    classes = class_of_groups(data, group_by)
    frame["neuron_class"] = [classes.get(group, "both") for group in frame.index]
    return frame.loc[ordered_groups(list(frame.index))]


def best_layers(data: ReportData, group_by: str, metric: str) -> pd.DataFrame:
    """Return, for every model, layer variant and group, the layer with the best score, with its whole row."""
    chosen = _chosen(data.table("similarity"), group_by, metric).dropna(subset=["value"])
    if chosen.empty:
        return chosen
    keys = ["model", "layer_variant", "group"]
    by_key = chosen.groupby(keys, sort=False)["value"]
    rows = by_key.idxmin() if lower_is_better(metric) else by_key.idxmax()
    return chosen.loc[rows].reset_index(drop=True)


def transfer_summary(data: ReportData) -> pd.DataFrame:
    """Average accuracy over seeds.

    Returns
    -------
    pandas.DataFrame
        Columns model, layer_variant, method, source, target, mean, sd (NaN with one seed), seeds, n (test
        images).
    """
    transfer = data.table("transfer")
    keys = ["model", "layer_variant", "method", "source", "target"]
    if transfer.empty:
        return _no_rows(keys, ["mean", "sd", "seeds", "n"])
    numbers = transfer.assign(
        accuracy=pd.to_numeric(transfer["accuracy"]), n=pd.to_numeric(transfer["n"], errors="coerce")
    )
    grouped = numbers.groupby(keys, sort=False)
    frame = grouped["accuracy"].agg(mean="mean", sd="std", seeds="count")
    return frame.assign(n=grouped["n"].max()).reset_index()


def transfer_differences(data: ReportData, variant: str = "neurn") -> pd.DataFrame:
    """Return variant − baseline of every plain training that has both (same model, seed, source and target).

    Returns
    -------
    pandas.DataFrame
        Columns model, seed, source, target, baseline, variant, difference (fractions, not percent).
    """
    transfer = data.table("transfer")
    keys = ["model", "seed", "source", "target"]
    empty = pd.DataFrame(columns=[*keys, "baseline", "variant", "difference"])
    transfer = transfer[transfer["method"] == "plain"]
    if transfer.empty:
        return empty
    numbers = transfer.assign(accuracy=pd.to_numeric(transfer["accuracy"]))
    wide = numbers.pivot_table(index=keys, columns="layer_variant", values="accuracy", sort=False)
    if "baseline" not in wide.columns or variant not in wide.columns:
        return empty
    both = wide[["baseline", variant]].dropna().rename(columns={variant: "variant"})
    return both.assign(difference=both["variant"] - both["baseline"]).reset_index().rename_axis(columns=None)


def _no_rows(names: list[str], numbers: list[str]) -> pd.DataFrame:
    """Return an empty table whose columns have the types that averaging and pivoting expect."""
    columns = dict.fromkeys(names, pd.Series(dtype=object)) | dict.fromkeys(numbers, pd.Series(dtype=float))
    return pd.DataFrame(columns)
