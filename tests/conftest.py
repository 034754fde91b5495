"""Fixtures that several parts' tests share."""

from __future__ import annotations

import contextlib
import importlib.abc
import sys
from collections.abc import Callable, Iterator
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
