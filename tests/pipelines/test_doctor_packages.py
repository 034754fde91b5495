"""Demands of packages met or not, imports that fail, and files of ours that others have taken."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipelines import doctor_packages
from pipelines.doctor_packages import broken_imports, foreign_files, requirements, unmet_requirements


def distribution(site: Path, name: str, version: str, *lines: str, files: tuple[str, ...] = ()) -> Path:
    """Write what an installer leaves of a package, with the digests of its files."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    demands = "".join(f"Requires-Dist: {line}\n" for line in lines)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{demands}")
    record = []
    for file in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256((site / file).read_bytes()).digest()).rstrip(b"=").decode()
        record.append(f"{file},sha256={digest},1\n")
    (folder / "RECORD").write_text("".join(record))
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_demands_are_followed_to_the_packages_behind_packages(site: Path) -> None:
    distribution(site, "zz-first", "2.0", "zz-second>=3", "zz-absent; python_version < '3'")
    distribution(site, "zz-second", "2.5", "zz-third", "zz-fourth; extra == 'more'")
    found = [str(fault) for fault in unmet_requirements([Requirement("zz-first<3")])]
    assert found == ["zz-first needs zz-second>=3, 2.5 is installed", "zz-second needs zz-third, it is missing"]


def test_only_allensdk_s_own_pins_are_left_aside(site: Path) -> None:
    distribution(site, "allensdk", "99", "numpy<1", "h5py<1", "zz-absent")
    distribution(site, "zz-other", "1", "numpy<1")
    faults = unmet_requirements([Requirement("allensdk"), Requirement("zz-other")])
    aside = {(fault.package, fault.requirement.name): fault.left_aside for fault in faults}
    assert aside == {
        ("allensdk", "numpy"): True,
        ("allensdk", "h5py"): False,
        ("allensdk", "zz-absent"): False,
        ("zz-other", "numpy"): False,
    }


def test_our_own_demands_come_from_the_checkout_or_from_what_is_installed(tmp_path: Path, monkeypatch) -> None:
    assert {"numpy", "torch"} <= {demand.name for demand in requirements()}
    monkeypatch.setattr(doctor_packages, "HOME", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'another'\ndependencies = ['zz-theirs']\n")
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy>=1", "ruff; extra == 'dev'"])
    assert [str(demand) for demand in requirements()] == ["numpy>=1"]


def test_what_does_not_import_is_named_with_its_error(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "zz_bad.py").write_text("raise RuntimeError('no luck')")
    (site / "zz_good.py").write_text("")
    distribution(site, "zz-both", "1", files=("zz_bad.py", "zz_good.py"))
    monkeypatch.setenv("PYTHONPATH", str(site))
    assert broken_imports(["zz_both"]) == {"zz_bad": "RuntimeError: no luck"}


def test_what_ends_python_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "zz_crash.py").write_text("import os; os._exit(7)")
    distribution(site, "zz-crash", "1", files=("zz_crash.py",))
    monkeypatch.setenv("PYTHONPATH", str(site))
    assert broken_imports(["zz-crash"]) == {"zz_crash": "Python ended with 7 while importing it"}


def test_files_that_another_distribution_overwrote_or_removed_are_named(site: Path, monkeypatch) -> None:
    assert foreign_files() == []
    for name in ("alignment", "cache", "pipelines", "reports"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(f"# {name}")
    (site / "neural_alignment.py").write_text("")
    (site / "cache" / "keys.py").write_text("")
    ours = ("cache/__init__.py", "cache/keys.py", "reports/__init__.py", "neural_alignment.py")
    monkeypatch.setattr(doctor_packages, "HOME", site)
    for name in doctor_packages.OURS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    distribution(site, "neural-alignment", "0.1.0", files=ours)
    assert foreign_files() == []
    (site / "reports" / "__init__.py").write_text("# another's")
    distribution(site, "reports", "1.0", files=("reports/__init__.py",))
    (site / "cache" / "keys.py").unlink()
    assert foreign_files() == [
        "cache/keys.py is missing",
        "reports/__init__.py is not ours (the distribution 'reports' has one of the same name)",
    ]
