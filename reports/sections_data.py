"""Sections about the data, how the results were made, and whom to cite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .blocks import Block, Code, Column, Prose, References, Section, figure_block, table_block
from .data import ReportData
from .figures_quality import embedding_and_kept, marginal_quantiles, peak_against_time, reliability_by_area
from .published import ALLEN_CITATIONS, CITATIONS

__all__ = [
    "cells_section",
    "citation_section",
    "provenance_section",
    "quality_section",
]

_LABELS = {
    "experiment_id": "experiment",
    "depth_um": "depth, µm",
    "cre_line": "Cre line",
    "reliability_median": "median reliability",
    "seconds": "seconds",
}
_IDENTIFIERS = ("experiment_id", "experiment_container_id", "donor_id")


def cells_section(data: ReportData) -> Section:
    """Build the section on the size and timing of responses, and the simulation beside real marginals."""
    blocks: list[Block] = [figure_block(peak_against_time(data), "This study measured no peaks.")]
    if data.has("marginals"):
        blocks.append(figure_block(marginal_quantiles(data), ""))
    return Section("responses", "Responses of the cells", tuple(blocks))


def quality_section(data: ReportData) -> Section:
    """Build the section on reliability, cells kept, and one row a session."""
    blocks: list[Block] = [figure_block(reliability_by_area(data), "This study has no reliabilities of cells.")]
    if data.has("embedding"):
        blocks.append(figure_block(embedding_and_kept(data), ""))
    if data.has("sessions"):
        sessions = data.table("sessions")
        # Identifiers are names, not quantities: as text they are never printed in powers of ten.
        sessions = sessions.assign(**{name: sessions[name].astype(str) for name in _IDENTIFIERS if name in sessions})
        caption = f"Quality of the n = {len(sessions):,} sessions."
        blocks.append(table_block(sessions, _columns(sessions), caption, csv="sessions"))
    else:
        blocks.append(Prose("This study has no table of sessions.", absent=True))
    return Section("quality", "Data quality", tuple(blocks))


def _columns(frame: pd.DataFrame) -> list[Column]:
    columns = []
    for name in frame.columns:
        label = _LABELS.get(str(name), str(name).replace("_", " "))
        fraction = pd.api.types.is_float_dtype(frame[name])
        columns.append(Column(str(name), label, 2 if fraction else None))
    return columns


def provenance_section(data: ReportData) -> Section:
    """Build the section on stages, versions and how to run the study again."""
    blocks: list[Block] = [Code(data.command, "Run it again")] if data.command else []
    stages = [_stage(entry) for entry in data.provenance]
    if stages:
        columns = [
            Column("stage", "stage"),
            Column("results", "results"),
            Column("key", "key in the store"),
            Column("version", "version"),
            Column("device", "device"),
            Column("seed", "seed"),
            Column("seconds", "seconds", 1),
        ]
        caption = (
            f"Stages of this report (n = {len(stages)}), seconds summed over results. A key digests a stage's "
            "parameters and inputs; provenance.json holds every one."
        )
        blocks.append(table_block(pd.DataFrame(stages), columns, caption))
    else:
        blocks.append(Prose("No provenance was handed over.", absent=True))
    packages = _packages(data)
    if packages:
        blocks.append(Code("\n".join(f"{name}=={version}" for name, version in packages), "Packages", folded=True))
    if data.study_yaml:
        blocks.append(Code(data.study_yaml, "The study as resolved", folded=True))
    return Section("provenance", "Provenance and how to run it again", tuple(blocks))


def _stage(entry: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: entry.get(name) for name in ("stage", "results", "key", "version", "device", "seed", "seconds")}
    row["key"] = str(row["key"])[:12] if row["key"] else None
    row["seed"] = None if row["seed"] is None else str(row["seed"])
    return row


def _packages(data: ReportData) -> list[tuple[str, str]]:
    """Return the packages of all stages, with each version that one had."""
    found = {
        (str(name), str(version))
        for entry in data.provenance
        if isinstance(entry.get("packages"), Mapping)
        for name, version in entry["packages"].items()
    }
    return sorted(found)


def citation_section(data: ReportData) -> Section:
    """Build the section on whom to cite."""
    cited = CITATIONS
    if not data.has_neurons:
        cited = tuple(entry for entry in CITATIONS if entry not in ALLEN_CITATIONS)
        lead = "What the similarity matrices ask to be cited stands in their origin, at the top of the page."
        if data.has("fusion"):
            lead = "The section on fusion says whose responses are fused; these are the methods' sources."
        elif not data.has_brain:
            lead = "No neurons are part of this study; these are the methods' sources."
    elif data.simulated:
        lead = (
            "The neurons are simulated, so no recordings of the Allen Institute are shown; their format, "
            "stimulus design and cell types are the Allen Brain Observatory's."
        )
    else:
        lead = "Results that use recordings of the Allen Brain Observatory must cite the Allen Institute as below."
    return Section("citations", "Citations", (Prose(lead), References(cited)))
