"""One result in the store: what its provenance says, and whether its files agree."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cache.keys import digest_file
from cache.places import PROVENANCE, sync

__all__ = ["Entry", "Problem", "Verification", "compare", "describe", "read_record", "seal"]

Provenance = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Entry:
    """A result as ``nalign cache list`` shows it.

    Attributes
    ----------
    stage, key : str
        Where it is in the store.
    size : int
        Bytes of its files.
    created, last_used : float
        Seconds since 1970. A result is used when it is read, or when a run finds that it need not compute it.
    label : str
        What its provenance calls it.
    path : Path
        Its folder.
    """

    stage: str
    key: str
    size: int
    created: float
    last_used: float
    label: str
    path: Path

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return max(0.0, time.time() - self.created)

    @property
    def unused(self) -> float:
        """Seconds since it was last used."""
        return max(0.0, time.time() - self.last_used)


@dataclass(frozen=True)
class Problem:
    """What is wrong with one result."""

    stage: str
    key: str
    what: str


@dataclass(frozen=True)
class Verification:
    """What :meth:`cache.Store.verify` found."""

    checked: int
    problems: list[Problem]


def seal(folder: Path, stage: str, key: str, kind: str, provenance: Provenance) -> None:
    """Write ``provenance.json`` beside a result's files: the caller's words, each file's size and digest.

    Everything is on the disk when this returns, except the bytes of a ``folder``'s own files: they can be
    hundreds of megabytes, the system writes them in its time, and after a power cut the sizes tell which
    did not get there.
    """
    files = {}
    for file in _files(folder):
        if kind == "value":
            sync(file)
        files[file.relative_to(folder).as_posix()] = [file.stat().st_size, digest_file(file)]
    said = provenance() if callable(provenance) else provenance
    record = {
        **said,
        "store": {
            "format": 1,
            "stage": stage,
            "key": key,
            "kind": kind,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "size": sum(size for size, _ in files.values()),
            "files": files,
        },
    }
    text = json.dumps(record, indent=1, default=_as_text, ensure_ascii=False)
    target = folder / PROVENANCE
    target.write_text(text + "\n", encoding="utf-8")
    sync(target)
    sync(folder)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return a result's provenance with its list of files, or None where there is no whole one."""
    try:
        record = json.loads((folder / PROVENANCE).read_bytes())
        kept = record["store"]
        if kept["stage"] == folder.parent.name and kept["key"] == folder.name and isinstance(kept["files"], dict):
            return dict(record)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def compare(folder: Path, record: Mapping[str, Any], *, digests: bool) -> str:
    """Say how a result's files differ from its record; empty when they do not.

    Parameters
    ----------
    digests : bool
        Read every file and compare digests; otherwise sizes only, one ``stat`` a file.
    """
    for name, (size, digest) in record["store"]["files"].items():
        path = folder / name
        try:
            found = path.stat().st_size
            if found != size:
                return f"{name} has {found} bytes, not the {size} that were written"
            if digests and digest_file(path) != digest:
                return f"{name} does not have the bytes that were written"
        except FileNotFoundError:
            return f"{name} is missing"
        except Exception as error:
            return f"{name} cannot be read ({error})"
    return ""


def describe(folder: Path) -> Entry:
    """Return the entry of a result's folder; a damaged one has the size of what is there and says so."""
    record = read_record(folder)
    try:
        last_used = (folder / PROVENANCE).stat().st_mtime
    except OSError:
        last_used = folder.stat().st_mtime
    if record is None:
        return Entry(folder.parent.name, folder.name, tree_size(folder), last_used, last_used, "damaged", folder)
    kept = record["store"]
    created = datetime.fromisoformat(kept["created"]).timestamp()
    label = str(record.get("label", ""))
    return Entry(folder.parent.name, folder.name, int(kept["size"]), created, last_used, label, folder)


def tree_size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / PROVENANCE:
            yield path


def _as_text(value: Any) -> Any:
    """Return what JSON lacks as JSON: a NumPy scalar as its number, a path or anything else as its text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else str(value)
