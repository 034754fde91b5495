"""Fixtures that several parts' tests share."""

from __future__ import annotations

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
