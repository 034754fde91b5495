"""What figures, tables and sentences on representational similarity share: which groups, baselines and twins."""

from __future__ import annotations

from typing import Final

import pandas as pd

from .data import ReportData
from .style import variant_label
from .views import ordered_groups

__all__ = [
    "PIXELS",
    "headline",
    "model_names",
    "pixel_scores",
    "row_label",
    "shown_groups",
    "spearman",
    "twin_scores",
]

PIXELS: Final = "pixels"
"""What tables call the scenes themselves."""

_MOST_GROUPS = 14  # columns of the heat table; the CSV holds every group
_FAMILIES: Final = ("area and layer", "mean", "all", "neuron_class", "area", "cortical_layer")


def spearman(data: ReportData, table: str) -> pd.DataFrame:
    """Return a table of RSA with its rank correlations alone."""
    frame = data.table(table)
    return frame[frame["metric"] == "rsa_spearman"]


def headline(data: ReportData) -> tuple[str, str]:
    """Return grouping and name of the group that sums all up: the mean over populations, or all cells."""
    pairs = set(zip(*(spearman(data, "rsa_best")[name] for name in ("group_by", "group")), strict=True))
    return ("mean", "mean") if ("mean", "mean") in pairs else ("all", "all")


def shown_groups(data: ReportData, *, summary: bool = True) -> list[tuple[str, str]]:
    """Return the groups that figures show, in order; with the one that sums all up, or without."""
    table = spearman(data, "rsa_best").drop_duplicates(["group_by", "group"])
    found: list[tuple[str, str]] = []
    for family in _FAMILIES:
        names = list(table.loc[table["group_by"] == family, "group"])
        # Populations come in anatomical order; groups of cells in the report's.
        names = names if family == "area and layer" else ordered_groups(names)
        if len(found) + len(names) <= _MOST_GROUPS:
            found += [(family, name) for name in names]
    top = headline(data)
    return [pair for pair in found if summary or pair != top]


def pixel_scores(data: ReportData) -> pd.Series:
    """Return the scenes' own score, without a layer in front, by grouping and group."""
    best = spearman(data, "rsa_best")
    chosen = best[(best["model"] == PIXELS) & (best["layer_variant"] == "baseline")]
    return chosen.set_index(["group_by", "group"])["value"]


def twin_scores(data: ReportData) -> pd.DataFrame:
    """Return each random twin's score with its best layer, by model, layer variant, group and seed."""
    keys = ["model", "layer_variant", "group_by", "group", "seed"]
    twins = spearman(data, "rsa_twins")
    if twins.empty:
        return pd.DataFrame(columns=[*keys, "value"])
    return twins.groupby(keys, sort=False)["value"].max().reset_index()


def model_names(data: ReportData) -> list[str]:
    """Return the networks in the order of the study, without the pixels."""
    return [name for name in pd.unique(data.table("rsa_best")["model"]) if name != PIXELS]


def row_label(model: str, variant: str) -> str:
    """Return what a row is called: the model, and the layer in front where there is one."""
    return model if variant == "baseline" else f"{model}, {variant_label(variant)}"
