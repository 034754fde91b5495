"""The sections of a report in order; a part that the study did not have becomes a sentence that says so."""

from __future__ import annotations

from .blocks import Findings, Prose, Section, figure_block
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
from .sections_fusion import fusion_sections
from .sections_rsa import rsa_sections
from .sections_transfer import link_blocks, published_section, transfer_sections

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
        In the order of the page, figures rendered.
    """
    found = key_findings(data)
    first = Findings(found) if found else Prose("There is nothing to compare in this study yet.", absent=True)
    glance = figure_block(alignment_and_transfer(data), "Nothing in this study was scored both without and with NeuRN.")
    sections = [
        Section("findings", "Key findings", (first,)),
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
    return [*sections, provenance_section(data), citation_section(data)]
