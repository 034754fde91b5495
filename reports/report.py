"""Write a report: one standalone HTML page, the same as PDF, figures as SVG and tables as CSV and Parquet."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import jinja2

from neural_alignment import DataError, __version__

from .blocks import FigureBlock, Section
from .data import ReportData
from .printing import pdf_obstacle, render_pdf
from .sections import build_sections
from .tables import export_tables

__all__ = ["ReportFiles", "render_html", "render_pdf", "write_report"]

_INDEX = ".report-files.json"


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written.

    Parameters
    ----------
    html : pathlib.Path
        The standalone page.
    pdf : pathlib.Path or None
        The same for printing; ``None`` where none was asked for or none can be made here.
    figures, tables : tuple of pathlib.Path
        SVG, CSV and Parquet files.
    """

    html: Path
    pdf: Path | None
    figures: tuple[Path, ...]
    tables: tuple[Path, ...]


def write_report(data: ReportData, folder: str | Path, *, pdf: bool = True) -> ReportFiles:
    """Write a study's report into a folder.

    Everything is made in a temporary folder on the same disk and moved into place file by file, the page
    last; an interrupted run leaves the earlier report as it was. Figures and tables of an earlier report
    that the new one does not have are removed; other files in the folder stay.

    Parameters
    ----------
    data : ReportData
        What to show.
    folder : str or path
        Where to; made if missing. Holds ``report.html``, ``report.pdf``, ``figures/*.svg``,
        ``tables/*.csv`` and ``tables/*.parquet``.
    pdf : bool
        Whether to write the PDF. Where Pango is missing all but the PDF is written.

    Returns
    -------
    ReportFiles
        The files.

    Raises
    ------
    DataError
        The folder cannot be written.

    Warns
    -----
    UserWarning
        A PDF was asked for and cannot be made here: why, and what to install.
    """
    target = Path(folder)
    obstacle = pdf_obstacle() if pdf else ""
    sections = build_sections(data)
    page = render_html(data, sections)
    try:
        printed = render_pdf(page) if pdf and not obstacle else b""
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=target) as made:
            work = Path(made)
            tables = export_tables(data, work / "tables")
            figures = _write_figures(sections, work / "figures")
            (work / "report.html").write_text(page, encoding="utf-8")
            if printed:
                (work / "report.pdf").write_bytes(printed)
            _publish(work, target)
    except OSError as error:
        raise DataError(
            f"The report cannot be written to {target}: {error.strerror or error}. Give a folder that you "
            "may write to, on a disk with space left."
        ) from error
    if obstacle:
        warnings.warn(f"No PDF was written: {obstacle}", UserWarning, stacklevel=2)
    return ReportFiles(
        html=target / "report.html",
        pdf=target / "report.pdf" if printed else None,
        figures=tuple(target / "figures" / path.name for path in figures),
        tables=tuple(target / "tables" / path.name for path in tables),
    )


def render_html(data: ReportData, sections: list[Section] | None = None) -> str:
    """Render the page; every name and text of the data is escaped, and no outside file is referred to."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = build_sections(data) if sections is None else sections
    css = _template_text("report.css")
    script = _template_text("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    title, origin = _origin(data)
    return environment.get_template("report.html").render(
        data=data,
        sections=sections,
        origin_title=title,
        origin=origin,
        css=css,
        screen_css=_template_text("screen.css"),
        script=script,
        script_digest=digest,
        version=__version__,
    )


def _origin(data: ReportData) -> tuple[str, str]:
    """Say in plain sight where the neurons come from."""
    if not data.has_brain and data.fusion_design:
        simulated = " (SIMULATED)" if data.fusion_design.get("simulated") else ""
        return "The brain of the fusion.", f"Vision is fused with {data.fusion_design.get('name')}{simulated}."
    if not data.has_brain:
        return "No neurons.", data.origin or "This study compares no neurons; its images are real."
    if data.simulated:
        model = "They come from a documented model."
        return (
            "Simulated neurons.",
            f"{data.origin or model} They serve to try the analysis; no claim about mice rests on them.",
        )
    what = "neurons" if data.has_neurons else "similarity matrices"
    return f"Where the {what} come from.", data.origin or "Unknown: the study does not say."


def _template_text(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _write_figures(sections: list[Section], folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    written = []
    for section in sections:
        for block in section.blocks:
            if isinstance(block, FigureBlock):
                path = folder / f"{block.name}.svg"
                path.write_bytes(block.svg)
                written.append(path)
    return written


def _publish(work: Path, target: Path) -> None:
    """Move every file into place, the page last, and drop what only the earlier report had."""
    made = sorted(path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file())
    made.sort(key=lambda name: name == "report.html")
    index = target / _INDEX
    old = _read_index(index)
    (work / _INDEX).write_text(json.dumps(made, indent=1), encoding="utf-8")
    for folder in ("figures", "tables"):
        (target / folder).mkdir(exist_ok=True)
    for name in made:
        (work / name).replace(target / name)
    for name in set(old) - set(made):
        (target / name).unlink(missing_ok=True)
    (work / _INDEX).replace(index)


def _read_index(index: Path) -> list[str]:
    """Return the earlier report's figures and tables, and only such, so that nothing else is ever removed."""
    try:
        names = json.loads(index.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    if not isinstance(names, list):
        return []
    # "report.pdf" too: a page without its PDF must not stand beside the PDF of an earlier one.
    known = {"figures": (".svg",), "tables": (".csv", ".parquet")}
    paths = [Path(name) for name in names if isinstance(name, str)]
    return [
        path.as_posix()
        for path in paths
        if path.as_posix() == "report.pdf" or (len(path.parts) == 2 and path.suffix in known.get(path.parts[0], ()))
    ]
