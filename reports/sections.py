"""The sections of a report in order; a part that the study did not have becomes a sentence that says so."""

from __future__ import annotations

from .blocks import Code, Column, Prose, Section, table_block
from .data import ReportData

__all__ = ["build_sections"]


def build_sections(data: ReportData) -> list[Section]:
    """Build every section of the page.

    Parameters
    ----------
    data : ReportData
        What the study handed over.

    Returns
    -------
    list of Section
        In the order of the page.
    """
    transfer = (
        table_block(
            data.table("transfer"),
            [
                Column("model", "model"),
                Column("layer_variant", "layer"),
                Column("source", "source"),
                Column("target", "target"),
                Column("accuracy", "accuracy, %", 1, 100.0),
            ],
            "Accuracy.",
            csv="transfer",
        )
        if data.has("transfer")
        else Prose("This study had no transfer step.", absent=True)
    )
    return [
        Section("transfer", "Domain transfer", (transfer,)),
        Section(
            "rerun",
            "How to run it again",
            (Code(data.command, "Command"), Code(data.study_yaml, "Study", True)),
        ),
    ]
