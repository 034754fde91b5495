"""The locks are exact, within what the package asks for, and described."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def lock(name: str) -> dict[str, str]:
    """Return versions by package."""
    lines = (ROOT / f"requirements{name}.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]
    versions = {canonicalize_name(pin.name): re.fullmatch(r"==([^+*,]+)", str(pin.specifier)) for pin in pins}
    assert all(versions.values()), "each line must name one version, whatever the build"
    assert len(versions) == len(pins), "a package is named twice"
    return {name: match[1] for name, match in versions.items() if match}


def unmet(listed: list[str], versions: dict[str, str]) -> list[str]:
    demands = [Requirement(text) for text in listed]
    return [
        str(demand) for demand in demands if not demand.specifier.contains(versions[canonicalize_name(demand.name)])
    ]


@pytest.mark.parametrize(
    ("name", "extras"), [("", ["report", "cluster"]), ("-allensdk", ["report", "cluster", "allensdk"])]
)
def test_both_locks_are_within_the_bounds(name: str, extras: list[str]) -> None:
    extra = [text for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    assert unmet([*PROJECT["dependencies"], *extra], lock(name)) == []


def test_the_developers_lock_has_what_developing_needs() -> None:
    default, more = lock(""), lock("-dev")
    assert not default.keys() & more.keys()
    assert unmet(PROJECT["optional-dependencies"]["dev"], {**default, **more}) == []


def test_each_package_of_the_default_lock_is_described_with_version_licence_and_reason() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| (\d[^|]*) \| ([^|]+) \| ([^|]+) \|$",
        (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert {canonicalize_name(name): version for name, version, _, _ in rows} == lock("")
    assert [name for name, _, licence, reason in rows if "?" in licence + reason] == []


def test_nothing_holds_a_resolution_back() -> None:
    bounds = [text for text in PROJECT["dependencies"] if re.search(r"<|==|~=|!=", text)]
    assert bounds == []
