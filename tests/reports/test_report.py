"""The seam: a folder with the page, the PDF, figures and tables."""

from __future__ import annotations

from pathlib import Path

from reports import ReportData, write_report


def test_a_study_without_parts_still_makes_a_page(tmp_path: Path) -> None:
    data = ReportData(
        name="none", title="Nothing", sentence="Empty.", simulated=True, study_yaml="a: 1", command="nalign"
    )
    files = write_report(data, tmp_path / "run")
    assert files.pdf is not None and files.pdf.read_bytes().startswith(b"%PDF")
    assert "SIMULATED" in files.html.read_text()
