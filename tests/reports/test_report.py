"""The folder: a standalone page, the same in print, figures and tables; all of it or none."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from neural_alignment import DataError
from reports import DensityPair, Examples, MapExample, ReportData, ReportFiles, report, write_report
from reports.report import render_html

EVIL = "<script>alert('x')</script> & \"$q$\""


class Page(HTMLParser):
    """Collect the tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def small(**parts: Any) -> ReportData:
    plain: dict[str, Any] = {
        "name": "none",
        "title": "Nothing",
        "sentence": "Empty.",
        "simulated": True,
        "study_yaml": "a: 1",
        "command": "nalign run",
    }
    return ReportData(**(plain | parts))


@pytest.fixture(scope="module")
def written(report_data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    return write_report(report_data, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def page(written: ReportFiles) -> Page:
    return Page(written.html.read_text(encoding="utf-8"))


def test_everything_is_written_where_it_says(written: ReportFiles) -> None:
    assert written.pdf is not None
    for path in (written.html, written.pdf, *written.figures, *written.tables):
        assert path.is_file() and path.stat().st_size > 100
    folder = written.html.parent
    assert sorted(folder.glob("figures/*")) == sorted(written.figures)
    assert sorted(folder.glob("tables/*")) == sorted(written.tables)
    assert not [path for path in folder.iterdir() if path.name.startswith(".report-") and path.is_dir()]


def test_the_page_is_small_enough_to_send(written: ReportFiles) -> None:
    assert written.html.stat().st_size < 5_000_000
    assert written.pdf is not None and written.pdf.stat().st_size < 5_000_000


def test_the_page_needs_no_other_file(page: Page) -> None:
    for tag in ("link", "iframe", "object", "embed", "source", "video", "base"):
        assert page.all(tag) == []
    sources = [image["src"] for image in page.all("img")]
    assert len(sources) >= 13 and all(str(source).startswith("data:image/svg+xml;base64,") for source in sources)
    assert all("src" not in script for script in page.all("script"))
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in str(policy) and "unsafe-inline'; script" in str(policy)


def test_the_script_is_the_one_that_the_policy_allows(written: ReportFiles) -> None:
    import hashlib

    html = written.html.read_text(encoding="utf-8")
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in html


def test_images_are_well_formed_and_described(page: Page) -> None:
    for image in page.all("img"):
        root = ET.fromstring(base64.b64decode(str(image["src"]).split(",")[1]))
        assert root.tag.endswith("svg") and image["alt"]


def test_contents_lead_to_sections_and_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for link in page.all("a"):
        if str(link["href"]).startswith("#"):
            assert str(link["href"])[1:] in ids


def test_links_beside_the_page_lead_to_files(page: Page, written: ReportFiles) -> None:
    beside = [str(link["href"]) for link in page.all("a") if link.get("class") == "file"]
    assert beside and all((written.html.parent / path).is_file() for path in beside)


def test_simulated_neurons_are_in_plain_sight(written: ReportFiles) -> None:
    html = written.html.read_text(encoding="utf-8")
    assert 'class="banner"' in html and "The neurons in this report are simulated" in html
    assert "(SIMULATED neurons)</title>" in html and 'content: "SIMULATED NEURONS"' in html


def test_recorded_neurons_are_not_called_simulated(build_report: Callable[..., ReportData]) -> None:
    text = render_html(small(simulated=False, origin="Recorded.", cells=build_report().cells))
    assert 'class="banner"' not in text and "SIMULATED NEURONS" not in text and "Recorded." in text


def test_every_page_of_the_pdf_says_simulated_and_nothing_runs_over(written: ReportFiles) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")
    done = subprocess.run(["pdftotext", "-layout", str(written.pdf), "-"], capture_output=True, text=True, check=True)
    pages = done.stdout.split("\f")[:-1]
    assert len(pages) >= 8 and all("SIMULATED NEURONS" in words for words in pages)
    assert f"{len(pages)} / {len(pages)}" in pages[-1]


def test_in_print_no_heading_is_left_alone_and_no_picture_is_cut(written: ReportFiles) -> None:
    from weasyprint import HTML

    width, height = 210 / 25.4 * 96, 297 / 25.4 * 96
    document = HTML(string=written.html.read_text(encoding="utf-8")).render()
    for sheet in document.pages:
        boxes = list(sheet._page_box.descendants())
        for box in boxes:
            if box.element_tag in ("img", "td", "th", "p", "pre"):
                assert box.position_x >= 0 and box.position_x + box.border_width() <= width + 1, box
                assert box.position_y + box.border_height() <= height + 1, box
        flow = [box for box in boxes if box.element_tag in ("h2", "h3", "p", "li", "img", "td", "pre", "summary")]
        assert flow and flow[-1].element_tag not in ("h2", "h3", "summary"), "a heading ends the page"


def test_tables_hold_what_was_handed_over(written: ReportFiles, report_data: ReportData) -> None:
    tables = {path.stem: pd.read_csv(path) for path in written.tables if path.suffix == ".csv"}
    assert set(tables) >= {"similarity", "paired", "transfer", "cells", "sessions", "architectures"}
    similarity = report_data.table("similarity")
    assert len(tables["similarity"]) == len(similarity)
    assert tables["similarity"]["value"].to_numpy() == pytest.approx(similarity["value"].to_numpy(), rel=1e-7)
    assert tables["similarity"]["simulated"].all() and "simulated" not in tables["transfer"]
    assert len(tables["architectures"]) == 9
    diagonal = tables["architectures"].query("model_a == model_b")["correlation"]
    assert diagonal.to_numpy() == pytest.approx(1.0)


@pytest.mark.slow
def test_the_same_data_give_the_same_page(report_data: ReportData, written: ReportFiles) -> None:
    assert render_html(report_data) == written.html.read_text(encoding="utf-8")


def test_names_are_escaped_everywhere(build_report: Callable[..., ReportData], tmp_path: Path) -> None:
    base = build_report()

    def evil(frame: pd.DataFrame, **columns: str) -> pd.DataFrame:
        return frame.assign(**{name: frame[name].replace(old, EVIL) for name, old in columns.items()})

    assert base.examples is not None
    maps = [MapExample(item.image, EVIL, item.kind, EVIL) for item in base.examples.maps]
    pairs = [
        DensityPair(item.x, item.neuron, item.unit, item.iou, item.best, EVIL, EVIL, EVIL)
        for item in base.examples.densities
    ]
    domains = [type(item)(EVIL, item.images, item.neurn, [EVIL] * 6) for item in base.examples.domains]
    data = build_report(
        name=EVIL,
        title=EVIL,
        sentence=EVIL,
        origin=EVIL,
        study_yaml=EVIL,
        command=EVIL,
        notes=[EVIL],
        similarity=evil(base.table("similarity"), model="vgg11", layer="stage2", group="Sst"),
        paired=evil(base.table("paired"), model="vgg11", layer="stage2", group="Sst"),
        transfer=evil(base.table("transfer"), model="vgg11", layer_variant="lcn", target="digits_m"),
        cells=evil(base.table("cells"), genotype="Sst", area="VISam"),
        embedding=evil(base.table("embedding"), genotype="Sst", area="VISam"),
        sessions=evil(base.table("sessions"), cre_line="Sst-IRES-Cre").rename(columns={"trials": EVIL}),
        marginals=evil(base.table("marginals"), quantity="split-half reliability"),
        examples=Examples(maps, pairs, domains),
        provenance=[{"stage": EVIL, "key": EVIL, "version": EVIL, "device": EVIL, "packages": {EVIL: EVIL}}],
    )
    files = write_report(data, tmp_path, pdf=False)
    html = files.html.read_text(encoding="utf-8")
    page = Page(html)
    assert len(page.all("script")) == 1 and "alert('x')</script>" not in html
    assert sum(EVIL in words for words in page.words) >= 12
    for path in files.figures:
        assert not [node for node in ET.parse(path).iter() if node.tag.endswith("script")]


def test_a_study_without_parts_still_makes_a_page(tmp_path: Path) -> None:
    files = write_report(small(), tmp_path / "run")
    assert files.pdf is not None and files.pdf.read_bytes().startswith(b"%PDF")
    assert files.figures == () and "SIMULATED" in files.html.read_text(encoding="utf-8")


def test_a_second_report_replaces_the_first_and_leaves_other_files(
    tmp_path: Path, build_report: Callable[..., ReportData]
) -> None:
    first = write_report(small(transfer=build_report().transfer), tmp_path)
    own = [tmp_path / "study.yaml", tmp_path / "figures" / "mine.svg", tmp_path / "tables" / "mine.csv"]
    for path in own:
        path.write_text("mine")
    second = write_report(small(), tmp_path, pdf=False)
    assert second.pdf is None and not (tmp_path / "report.pdf").exists(), "a PDF of an earlier report is left"
    assert not any(path.exists() for path in (*first.figures, *first.tables))
    assert all(path.read_text() == "mine" for path in own)


@pytest.mark.parametrize(
    "index",
    ["{", "[1, 2]", '{"a": 1}', json.dumps(["../outside.svg", "/etc/x", "study.yaml", "figures/../x.svg"])],
)
def test_a_damaged_index_removes_nothing(index: str, tmp_path: Path) -> None:
    outside, study = tmp_path / "outside.svg", tmp_path / "run" / "study.yaml"
    study.parent.mkdir()
    for path in (outside, study):
        path.write_text("mine")
    (tmp_path / "run" / ".report-files.json").write_text(index)
    write_report(small(), tmp_path / "run", pdf=False)
    assert outside.exists() and study.exists()


def test_an_interruption_leaves_the_earlier_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = write_report(small(), tmp_path, pdf=False).html.read_text(encoding="utf-8")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "_publish", stop)
    with pytest.raises(KeyboardInterrupt):
        write_report(small(title="Later"), tmp_path, pdf=False)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == earlier
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name.startswith(".report-")]


def test_a_folder_that_cannot_be_written_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written to .*file.*Give a folder that you may write to"):
        write_report(small(), tmp_path / "file", pdf=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_one_clear_message(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be written"):
        write_report(small(), tmp_path / "run", pdf=False)
    tmp_path.chmod(0o700)


def test_without_pango_all_but_the_pdf_is_written_and_the_remedy_is_named(tmp_path: Path, without_pango: Any) -> None:
    with without_pango(), pytest.warns(UserWarning, match=r"No PDF was written.*libgobject.*nstall Pango") as told:
        files = write_report(small(sessions=pd.DataFrame({"experiment_id": [1]})), tmp_path)
    assert len(told) == 1 and files.pdf is None and not (tmp_path / "report.pdf").exists()
    assert files.html.is_file() and all(path.is_file() for path in files.tables)
    assert {path.name for path in files.tables} == {"sessions.csv", "sessions.parquet"}


def test_the_pdf_fetches_nothing_from_outside() -> None:
    from weasyprint.urls import FatalURLFetchingError

    with pytest.raises(FatalURLFetchingError):
        report.render_pdf('<img src="file:///etc/hostname">')


@pytest.mark.browser
def test_the_tables_can_be_sorted_in_a_browser(written: ReportFiles, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    html = written.html.read_text(encoding="utf-8")
    script = html.split("<script>")[1].split("</script>")[0]
    table = html[html.index("<table") : html.index("</table>") + 8]
    click = "document.querySelectorAll('th button')[2].click();"
    (tmp_path / "t.html").write_text(
        f"<!doctype html><meta charset='utf-8'><main>{table}</main><script>{script}{click}</script>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            f"file://{tmp_path / 't.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    body = done.stdout.split("<tbody>")[1]
    cells = [row.split('data-sort="')[3].split('"')[0] for row in body.split("<tr>")[1:]]
    assert 'aria-sort="ascending"' in done.stdout
    assert [float(cell) for cell in cells] == sorted(float(cell) for cell in cells)


def test_a_page_renders_in_a_process_of_its_own(tmp_path: Path) -> None:
    code = (
        "from reports import ReportData, write_report;"
        "write_report(ReportData(name='a', title='A', sentence='S', simulated=False, study_yaml='', "
        "command=''),"
        f" {str(tmp_path)!r}, pdf=False)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(report.__file__).parents[1])
    assert "No neurons." in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.browser
def test_the_page_never_scrolls_sideways(written: ReportFiles, measure_tables: Callable[..., dict[int, Any]]) -> None:
    found = measure_tables(written.html.read_text(encoding="utf-8"), (375, 400, 1280))
    assert all(measured["page"] <= width for width, measured in found.items())


@pytest.mark.parametrize(("rows", "kind", "note"), [(10, "brief", False), (40, "", False), (75, "long", True)])
def test_long_tables_are_cut_in_print_and_say_so(rows: int, kind: str, note: bool) -> None:
    sessions = pd.DataFrame({"experiment_id": range(rows), "trials": 50})
    html = render_html(small(sessions=sessions))
    assert f'<div class="table{" " * bool(kind)}{kind}">' in html
    assert (f"The first 60 of {rows} rows" in html) == note
    assert html.count('data-sort="50.0"') == rows, "the HTML page itself shows every row"


def test_a_cut_table_really_is_short_in_print() -> None:
    from weasyprint import HTML

    sessions = pd.DataFrame({"experiment_id": range(400), "trials": 50})
    pages = HTML(string=render_html(small(sessions=sessions))).render().pages
    rows = [box for page in pages for box in page._page_box.descendants() if box.element_tag == "tr"]
    assert 60 < len({id(box.element) for box in rows}) <= 64


def test_a_long_unbroken_name_stays_on_the_paper() -> None:
    from weasyprint import HTML

    endless = "x" * 300
    (first, *_) = HTML(string=render_html(small(title=endless, sentence=endless, notes=[endless]))).render().pages
    lines = [box for box in first._page_box.descendants() if "xxxx" in getattr(box, "text", "")]
    assert len(lines) >= 6
    assert all(box.position_x + box.width <= 210 / 25.4 * 96 for box in lines)


def test_writing_a_report_is_quiet(tmp_path: Path, build_report: Callable[..., ReportData]) -> None:
    code = (
        "from reports import ReportData, write_report;"
        "write_report(ReportData(name='a', title='A', sentence='S', simulated=True, study_yaml='', "
        "command=''),"
        f" {str(tmp_path)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=Path(report.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.stdout == done.stderr == ""
