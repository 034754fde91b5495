"""Provenance, quality and citations as they are printed."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from reports import ReportData
from reports.blocks import Code, Prose, References, TableBlock
from reports.sections_data import citation_section, provenance_section, quality_section


def entry(**changes: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "stage": "responses",
        "key": "0123456789abcdef" * 4,
        "version": "3",
        "seconds": 1.25,
        "device": "cpu",
        "seed": 0,
        "packages": {"numpy": "1.23.5"},
    }
    return plain | changes


def table(data: ReportData) -> TableBlock:
    (found,) = (block for block in provenance_section(data).blocks if isinstance(block, TableBlock))
    return found


def codes(data: ReportData) -> dict[str, str]:
    return {block.title: block.text for block in provenance_section(data).blocks if isinstance(block, Code)}


def test_a_stage_is_one_row_with_the_start_of_its_key(build_report: Callable[..., ReportData]) -> None:
    made = table(build_report(provenance=[entry(), entry(stage="similarity", seconds=60)]))
    assert [cell.text for cell in made.rows[0]] == ["responses", "0123456789ab", "3", "cpu", "0", "1.2"]
    assert made.rows[1][0].text == "similarity" and "n = 2" in made.caption


@pytest.mark.parametrize("gone", ["key", "version", "device", "seed", "seconds", "packages"])
def test_what_a_stage_does_not_know_is_left_out(gone: str, build_report: Callable[..., ReportData]) -> None:
    known = {name: value for name, value in entry().items() if name != gone}
    made = table(build_report(provenance=[known]))
    assert made.rows[0][0].text == "responses" and "None" not in [cell.text for cell in made.rows[0]]


def test_a_package_that_changed_between_stages_is_listed_twice(
    build_report: Callable[..., ReportData],
) -> None:
    data = build_report(provenance=[entry(), entry(packages={"numpy": "2.0.0", "torch": "2.13.0"})])
    assert codes(data)["Packages"].splitlines() == ["numpy==1.23.5", "numpy==2.0.0", "torch==2.13.0"]


def test_the_command_and_the_study_are_printed_as_they_are(build_report: Callable[..., ReportData]) -> None:
    printed = codes(build_report(command="nalign run 'my study.yaml'", study_yaml="a: 1\nb: [2, 3]\n"))
    assert printed["Run it again"] == "nalign run 'my study.yaml'"
    assert printed["The study as resolved"] == "a: 1\nb: [2, 3]\n"


def test_no_provenance_is_said(build_report: Callable[..., ReportData]) -> None:
    blocks = provenance_section(build_report(provenance=(), command="", study_yaml="")).blocks
    assert blocks == (Prose("No provenance was handed over.", absent=True),)


def test_sessions_are_printed_with_readable_headings(build_report: Callable[..., ReportData]) -> None:
    sessions = pd.DataFrame({"experiment_id": [501559087], "depth_um": [175], "reliability_median": [0.456]})
    blocks = quality_section(build_report(sessions=sessions)).blocks
    (made,) = (block for block in blocks if isinstance(block, TableBlock))
    assert [column.label for column in made.columns] == ["experiment", "depth, µm", "median reliability"]
    assert [cell.text for cell in made.rows[0]] == ["501559087", "175", "0.46"]


@pytest.mark.parametrize("simulated", [True, False])
def test_citations_say_whether_recordings_are_shown(simulated: bool, build_report: Callable[..., ReportData]) -> None:
    lead, references = citation_section(build_report(simulated=simulated)).blocks
    assert isinstance(lead, Prose) and isinstance(references, References)
    assert ("no recordings of the Allen Institute are shown" in lead.text) == simulated
    assert ("must cite the Allen Institute" in lead.text) != simulated
    assert all(address.startswith("https://") for _, _, address, _ in references.items)
