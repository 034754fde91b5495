"""The sections of a report in order; a part that the study did not have becomes a sentence that says so."""

from __future__ import annotations

from dataclasses import replace

from .blocks import Findings, Prose, Section, figure_block, split_wide
from .data import ReportData
from .figures_link import alignment_and_transfer
from .findings import key_findings
from .sections_alignment import alignment_sections
from .sections_architectures import architecture_section
from .sections_claims import claims_section
from .sections_controls import controls_section
from .sections_data import (
    cells_section,
    citation_section,
    provenance_section,
    quality_section,
)
from .sections_fusion import fusion_findings, fusion_sections
from .sections_rsa import rsa_sections
from .sections_transfer import link_blocks, published_section, transfer_sections

__all__ = ["build_sections"]

_NO_GLANCE = "This study has neither RMSE to cells nor accuracy on unseen domains both without and with NeuRN."


def build_sections(data: ReportData) -> list[Section]:
    """Build every section of the page.

    Parameters
    ----------
    data : ReportData
        What the study handed over.

    Returns
    -------
    list of Section
        In the order of the page, figures rendered.
    """
    glance = figure_block(alignment_and_transfer(data), _NO_GLANCE)
    sections = [
        Section("findings", "Key findings", (_findings(data),)),
    ]
    if data.has_neurons or not data.has_brain:  # matrices hold no cells whose scores stand beside transfer
        sections.append(Section("glance", "Alignment beside domain transfer", (glance, *link_blocks(data))))
    if data.has_neurons:
        sections += alignment_sections(data)
        if data.has("similarity"):
            sections += [claims_section(data), controls_section(data)]
    elif not data.has_brain:
        absent = Prose("Neurons were not part of this study, so there is no alignment to show.", absent=True)
        sections.append(Section("groups", "Alignment with neurons", (absent,)))
    sections += rsa_sections(data)
    sections += [*transfer_sections(data), published_section(data)]
    sections += fusion_sections(data)
    if data.has_neurons:
        sections += [cells_section(data), quality_section(data)]
    sections.append(architecture_section(data))
    sections += [provenance_section(data), citation_section(data)]
    return [replace(own, blocks=[part for block in own.blocks for part in split_wide(block)]) for own in sections]


def _findings(data: ReportData) -> Findings | Prose:
    """Return what came out of every part of the study; where no part has a finding, what there is to see."""
    found = [*key_findings(data), *(fusion_findings(data) if data.has("fusion") else ())]
    if found:
        return Findings(found)
    if any(data.has(part) for part in ("similarity", "transfer", "rsa", "architectures")):
        return Prose("This study tested no difference. What it scored is in the sections below.", absent=True)
    return Prose("There is nothing to compare in this study yet.", absent=True)
