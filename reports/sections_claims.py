"""The section on the published statements: whether each holds in this data, group by group."""

from __future__ import annotations

import pandas as pd

from .blocks import Block, Column, Findings, Prose, Section, table_block
from .controls import claim_rows
from .data import ReportData
from .findings import CANNOT_TELL, interval, signed
from .style import variant_label
from .views import GROUP_NAMES

__all__ = ["claims_section"]

_GROUPS = [
    Column("group", "group"),
    Column("difference", "RMSE with − without", 4, signed=True),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("q", "q", 3),
    Column("n_cells", "cells"),
    Column("n_donors", "donors"),
    Column("expected", "published"),
    Column("verdict", "in this data"),
    Column("missing", "why it cannot tell"),
]
_CLASSES = [
    Column("model", "model"),
    Column("layer", "layer in front"),
    Column("a_value", "excitatory", 4),
    Column("b_value", "inhibitory", 4),
    Column("difference", "difference", 4, signed=True),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("q", "q", 3),
    Column("verdict", "in this data"),
    Column("missing", "why it cannot tell"),
]


def claims_section(data: ReportData) -> Section:
    """Build the section: what comes out in a few sentences, a row a group, and a row a network for the classes."""
    groups, classes = claim_rows(data)
    title = "Do the published statements hold in this data?"
    if groups.empty and classes.empty:
        absent = (
            "The published statements are about RMSE without and with NeuRN. This study did not score both, so they "
            "are not tested."
        )
        return Section("claims", title, (Prose(absent, absent=True),))
    blocks: list[Block] = [Findings(_sentences(data, groups, classes))]
    if len(groups):
        caption = (
            f"RMSE without and with NeuRN of each group: each cell's mean over layers, {_over(groups)}. It holds where "
            "the difference has the published sign, q < 0.05 (signs flipped by donor, Benjamini–Hochberg over all "
            "testable groups) and the 95 % interval (donors, then cells; of one donor its cells alone) leaves out 0; "
            "it is contradicted where all of that is so with the other sign. It cannot tell where no layer is closer "
            "to the cells than with the scenes shuffled, and where so few donors allow no p of 0.05, which leaves "
            "neither p nor q. Fezf2 is judged by its difference less that of the other groups of its kind, donors "
            "permuted. Groups of two coordinates, each model and the RMSEs are in the table beside this page."
        )
        names = groups["group"].where(groups["group_by"] != "all", GROUP_NAMES["all"])
        blocks.append(table_block(_told(groups.assign(group=names)), _GROUPS, caption, csv="claims"))
    if len(classes):
        table = classes.assign(layer=[variant_label(name) for name in classes["layer_variant"]])
        caption = (
            "RMSE of excitatory less that of inhibitory cells, each cell's mean over layers; donors permuted for q. "
            "It cannot tell where the donors allow no p of 0.05, or where no layer is closer to the cells of one class "
            "than with the scenes shuffled."
        )
        blocks.append(table_block(_told(table), _CLASSES, caption, csv="claims"))
    return Section("claims", title, tuple(blocks))


def _sentences(data: ReportData, groups: pd.DataFrame, classes: pd.DataFrame) -> list[tuple[str, str]]:
    said = []
    if data.simulated:
        said.append(
            (
                "The cells are simulated: a verdict here says what the analysis finds in the simulation. It cannot "
                "confirm a statement about mice, nor refute one.",
                "caution",
            )
        )
    usual = groups[groups["expected"] == "lower"]
    for name, rows in (
        ("RMSE is lower with NeuRN", usual),
        ("Fezf2, the published exception, rises against the other groups", groups.drop(usual.index)),
    ):
        if len(rows):
            counts = rows["verdict"].value_counts()
            told = ", ".join(f"{counts[word]} {word}" for word in _WORDS if word in counts)
            groups_are = "1 group" if len(rows) == 1 else f"{len(rows)} groups"
            said.append((f"{name}: of {groups_are}, {told}.", ""))
    if len(classes):
        row = classes.iloc[0]
        ends = interval(float(row["ci_low"]), float(row["ci_high"]))
        told = f"difference {signed(float(row['difference']))} {ends}, " if ends else ""
        why = f" ({row['reason']})" if row["verdict"] == CANNOT_TELL and row["reason"] else ""
        said.append(
            (
                f"RMSE is lower for excitatory than for inhibitory cells ({row['model']}, "
                f"{variant_label(row['layer_variant'])}): {told}{row['verdict']}{why}.",
                "",
            )
        )
    return said


_WORDS = ("holds", "contradicted", "undecided", CANNOT_TELL)


def _told(table: pd.DataFrame) -> pd.DataFrame:
    ends = table[["ci_low", "ci_high"]].to_numpy(dtype=float)
    return table.assign(
        interval=[interval(low, high, signed) for low, high in ends],
        missing=[reason if isinstance(reason, str) and reason else None for reason in table["reason"]],
    )


def _over(groups: pd.DataFrame) -> str:
    model = str(groups["model"].iloc[0])
    return "mean over all models" if model == "all models" else f"of {model}"
