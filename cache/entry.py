"""One result in the store: what its provenance says, and whether its files agree."""

from __future__ import annotations

import hashlib
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
from neural_alignment import DataError

__all__ = [
    "Entry",
    "LostResultError",
    "Problem",
    "Verification",
    "check_once",
    "compare",
    "describe",
    "read_record",
    "seal",
]

Provenance = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

_FORMAT = 2  # since 2 a record has a digest of itself; results of format 1 are still read
_BLANK = "0" * 64  # stands in the record where its own digest will
_checked: dict[Path, list[tuple[int, int, int, int]]] = {}  # results compared by this process, as they were


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


class LostResultError(DataError):
    """A result is not in the store, or was damaged and has been set aside: the run that needs it can make it again.

    Attributes
    ----------
    stage, key : str
        Which.
    what : str
        What happened to it.
    advice : str
        What a person does then, where no run makes it again.
    """

    def __init__(self, stage: str, key: str, what: str, advice: str) -> None:
        super().__init__(stage, key, what, advice)
        self.stage, self.key, self.what, self.advice = stage, key, what, advice

    def __str__(self) -> str:
        return f"{self.what} {self.advice}"


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
            "format": _FORMAT,
            "record": _BLANK,
            "stage": stage,
            "key": key,
            "kind": kind,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "size": sum(size for size, _ in files.values()),
            "files": files,
        },
    }
    text = json.dumps(record, indent=1, default=_as_text, ensure_ascii=False) + "\n"
    head, field, rest = text.rpartition(f'"record": "{_BLANK}"')
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    target = folder / PROVENANCE
    target.write_text(head + field.replace(_BLANK, digest) + rest, encoding="utf-8")
    sync(target)
    sync(folder)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return a result's provenance with its list of files, or None where there is no whole one."""
    try:
        text = (folder / PROVENANCE).read_bytes()
        record = json.loads(text)
        kept = record["store"]
        placed = kept["stage"] == folder.parent.name and kept["key"] == folder.name and isinstance(kept["files"], dict)
        if placed and (kept["format"] == 1 or _agrees(text, str(kept["record"]))):
            return dict(record)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _agrees(text: bytes, digest: str) -> bool:
    """Tell whether a record has the digest that it states, which is taken with zeros in the digest's place."""
    head, _, rest = text.rpartition(digest.encode("ascii"))
    return hashlib.sha256(head + _BLANK.encode("ascii") + rest).hexdigest() == digest


def check_once(folder: Path, record: Mapping[str, Any]) -> str:
    """Say how a result's bytes differ from its record, reading them only the first time in this process.

    Later calls compare each file's inode, size and times of change with those of the first.
    """
    try:
        states = [(folder / name).stat() for name in record["store"]["files"]]
    except OSError:
        return compare(folder, record, digests=False)
    stamps = [(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in states]
    if _checked.get(folder) == stamps:
        return ""
    damage = compare(folder, record, digests=True)
    if not damage:
        _checked[folder] = stamps
    return damage


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
