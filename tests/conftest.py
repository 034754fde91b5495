"""Fixtures that several parts' tests share."""

from __future__ import annotations

import contextlib
import importlib.abc
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the folder {folder} with {name} is not here")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the project (MNIST, USPS, Allen manifests, ...); the test skips where it is missing."""
    return _folder("data")


@pytest.fixture(scope="session")
def shared_oracles() -> Path:
    """Values read off published figures; the test skips where they are missing."""
    return _folder("oracles")


@pytest.fixture
def without_pango() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """``with without_pango()``: WeasyPrint fails on import as it does where Pango is not installed."""

    class Missing(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            del path, target
            if name == "weasyprint":
                raise OSError("cannot load library 'libgobject-2.0-0': no such file\nand many more lines")

    @contextlib.contextmanager
    def hidden() -> Iterator[None]:
        kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "weasyprint"}
        sys.meta_path.insert(0, finder := Missing())
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            sys.modules.update(kept)

    return hidden


_MEASURE = """
const found = {}, frames = [...document.querySelectorAll("iframe")];
frames.forEach((frame) => { frame.onload = () => {
  const page = frame.contentDocument, tables = [];
  for (const table of page.querySelectorAll(".table")) {
    const box = table.querySelector(".scroll"), right = box.getBoundingClientRect().right;
    const cells = [...table.querySelectorAll("th, td")];
    const cut = cells.filter((cell) =>
      cell.getBoundingClientRect().right > right + 1 || cell.scrollWidth > cell.clientWidth + 1);
    const caption = table.querySelector(".caption").textContent.slice(0, 60);
    tables.push([caption, box.scrollWidth - box.clientWidth, cut.length]);
  }
  found[frame.width] = {page: page.documentElement.scrollWidth, tables};
  if (Object.keys(found).length === frames.length) document.title = JSON.stringify(found);
}; });
"""


@pytest.fixture(scope="session")
def measure_tables(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[int, Any]]:
    """``measure_tables(html, widths)``: by width, the page's own width and a row a table: caption, pixels by which it
    is wider than its box, and cells that reach over the box or whose text reaches over the cell."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for found in map(shutil.which, names) if found), None)
    if browser is None:
        pytest.skip("no Chromium is installed")

    def measure(html: str, widths: Sequence[int]) -> dict[int, Any]:
        folder = tmp_path_factory.mktemp("browser")
        head, policy = html.split('<meta http-equiv="Content-Security-Policy"')
        (folder / "page.html").write_text(head + policy[policy.index(">") + 1 :], encoding="utf-8")
        # Headless Chromium opens no window narrower than 500 px, so every width is a frame.
        frames = "".join(
            f"<iframe src=page.html width={width} height=900 style='border:0'></iframe>" for width in widths
        )
        (folder / "frames.html").write_text(f"<!doctype html>{frames}<script>{_MEASURE}</script>", encoding="utf-8")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom")
        done = subprocess.run(
            [browser, *options, "--virtual-time-budget=20000", f"file://{folder / 'frames.html'}"],
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        title = done.stdout.split("<title>")[1].split("</title>")[0]
        return {int(width): found for width, found in json.loads(unescape(title)).items()}

    return measure


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what compares with AllenSDK where it is not installed; else make it importable beside numpy 2."""
    if item.get_closest_marker("oracle") is not None:
        from alignment.brain.allen.sdk_reader import why_not

        reason = why_not()
        if reason:
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write what the tests of fetching measured as a table: each fault, ours beside AllenSDK's own result."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = sorted(
        value
        for report in reports
        for name, value in getattr(report, "user_properties", [])
        if name == "fault table" and report.when == "call"
    )
    if not rows:
        return
    path = config.rootpath / "build" / "fault_table.md"
    lines = ["| fault | `nalign observatory fetch`, one attempt | AllenSDK alone |", "|---|---|---|"]
    lines += [f"| {' | '.join(row[2:])} |" for row in rows]
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    except OSError as error:
        terminalreporter.write_line("\n".join([f"{path} cannot be written: {error}", *lines]))
        return
    terminalreporter.write_line(f"{len(rows)} of {rows[0][1]} faults beside AllenSDK: {path}")
