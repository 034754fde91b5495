"""Whether packages import, meet what they ask of one another, and our files are ours.

``python -m pipelines.doctor_packages requirements.txt`` looks at every package that a lock names.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["HOME", "Unmet", "broken_imports", "foreign_files", "requirements", "unmet_requirements"]

OURS = ("alignment", "cache", "neural_alignment", "pipelines", "reports")
HOME = Path(__file__).resolve().parents[1]
# AllenSDK 2.16 (2023) pins the versions of its year. It runs beside newer ones, so these pins are left aside.
PINS_LEFT_ASIDE = {"allensdk": {"numpy", "pandas", "scipy", "xarray"}}
NO_MODULES = ("benchmarks", "build", "docs", "examples", "test", "tests")  # what others drop beside their package


@dataclass(frozen=True)
class Unmet:
    """A package's demand that what is installed does not meet.

    Attributes
    ----------
    package : str
        Which package demands.
    requirement : Requirement
        What it demands.
    installed : str
        The version that is there; empty where there is none.
    left_aside : bool
        Whether it is known to work all the same.
    """

    package: str
    requirement: Requirement
    installed: str

    @property
    def left_aside(self) -> bool:  # noqa: D102 (see Attributes)
        return bool(self.installed) and self.requirement.name in PINS_LEFT_ASIDE.get(self.package, ())

    def __str__(self) -> str:
        state = f"{self.installed} is installed" if self.installed else "it is missing"
        return f"{self.package} needs {self.requirement.name}{self.requirement.specifier}, {state}"


def requirements() -> list[Requirement]:
    """Return what neural-alignment needs, without extras: from its checkout, or as it was installed."""
    file = HOME / "pyproject.toml"
    if file.is_file() and (HOME / "neural_alignment.py").is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        if project["name"] == "neural-alignment":
            return [Requirement(text) for text in project["dependencies"]]
    return _demands("neural-alignment")


def unmet_requirements(demands: Iterable[Requirement], package: str = "neural-alignment") -> list[Unmet]:
    """Return every demand that is not met: these, those of the packages that they name, and so on.

    Parameters
    ----------
    demands : iterable of Requirement
        Where to begin.
    package : str
        Whose demands these are.
    """
    found: list[Unmet] = []
    seen: set[str] = set()
    queue = [(package, demand) for demand in demands]
    while queue:
        package, demand = queue.pop(0)
        name = canonicalize_name(demand.name)
        installed = _version(name)
        if not installed or not demand.specifier.contains(installed, prereleases=True):
            found.append(Unmet(package, demand, installed))
        if installed and name not in seen:
            seen.add(name)
            queue += [(name, needed) for needed in _demands(name)]
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _demands(name: str) -> list[Requirement]:
    listed = [Requirement(text) for text in importlib.metadata.requires(name) or []]
    return [demand for demand in listed if demand.marker is None or demand.marker.evaluate({"extra": ""})]


def broken_imports(names: Iterable[str]) -> dict[str, str]:
    """Import the modules of packages, in a process of its own, and return why those that fail do.

    Parameters
    ----------
    names : iterable of str
        Names of distributions that are installed.

    Returns
    -------
    dict of str to str
        The error, by module.
    """
    wanted = {canonicalize_name(name) for name in names}
    modules = [
        module
        for module, owners in sorted(importlib.metadata.packages_distributions().items())
        if module.isidentifier() and not module.startswith("_") and module not in NO_MODULES
        and wanted & {canonicalize_name(owner) for owner in owners}
    ]  # fmt: skip
    code = (
        "import importlib, json, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "found = {}\n"
        "for name in sys.argv[1:]:\n"
        "    print(name, file=sys.stderr)\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except BaseException as error:\n"
        "        found[name] = f'{type(error).__name__}: {error}'\n"
        "print('\\n' + json.dumps(found))\n"
    )
    preload = (
        "from alignment.models import _libraries\n_libraries.torchvision_state()\n"  # torchvision beside a CPU torch
    )
    tried = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.append({str(HOME)!r})\n{preload}{code}", *modules],
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        last = (tried.stderr.strip().splitlines() or ["nothing"])[-1]
        return {last: f"Python ended with {tried.returncode} while importing it"}
    broken: dict[str, str] = json.loads(tried.stdout.splitlines()[-1])
    return broken


def foreign_files() -> list[str]:
    """Return, one sentence each, what stands in place of our packages or has changed files of theirs."""
    found = []
    for name in OURS:
        spec = importlib.util.find_spec(name)
        place = None if spec is None else spec.origin or next(iter(spec.submodule_search_locations or []), None)
        if place is None or not Path(place).resolve().is_relative_to(HOME):
            found.append(f"{name} is {place or 'missing'}, not in {HOME}")
    return found or _changed_files()


def _changed_files() -> list[str]:
    """Compare the files of an installed wheel with the digests that were written when it was installed."""
    try:
        distribution = importlib.metadata.distribution("neural-alignment")
    except importlib.metadata.PackageNotFoundError:
        return []  # a checkout that was not installed
    if Path(str(distribution.locate_file(""))).resolve() != HOME or "editable" in (
        distribution.read_text("direct_url.json") or ""
    ):
        return []
    found = []
    # The record itself: from Python 3.12 on, distribution.files leaves out what is missing.
    for file, told, _ in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        if not told.startswith("sha256=") or PurePosixPath(file).parts[0].removesuffix(".py") not in OURS:
            continue
        path = HOME / file
        if not path.is_file():
            found.append(f"{file} is missing{_owner(file)}")
        elif _digest(path) != told.removeprefix("sha256="):
            found.append(f"{file} is not ours{_owner(file)}")
    return found


def _digest(path: Path) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()


def _owner(file: str) -> str:
    """Name another distribution that installs a file of this name."""
    for other in importlib.metadata.distributions():
        name = canonicalize_name(other.metadata["Name"])
        if name != "neural-alignment" and any(str(theirs) == file for theirs in other.files or []):
            return f" (the distribution {name!r} has one of the same name)"
    return ""


def main(locks: list[str]) -> int:
    """Look at every package that locks name; print what is wrong and what is left aside, and return the exit code."""
    lines = [line.partition("#")[0].strip() for lock in locks for line in Path(lock).read_text("utf-8").splitlines()]
    demands = [Requirement(line) for line in lines if line and not line.startswith("-")]
    demands = [demand for demand in demands if demand.marker is None or demand.marker.evaluate()]
    unmet = unmet_requirements(demands, "the lock")
    broken = broken_imports(demand.name for demand in demands)
    for fault in unmet:
        print(f"{'left aside' if fault.left_aside else 'UNMET'}: {fault}")  # noqa: T201
    for module, reason in broken.items():
        print(f"BROKEN: import {module}: {reason}")  # noqa: T201
    print(f"{len(demands)} packages of {' and '.join(locks) or 'no lock'}")  # noqa: T201
    return int(bool(broken) or not demands or any(not fault.left_aside for fault in unmet))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
