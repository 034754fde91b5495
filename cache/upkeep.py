"""What a store holds, whether it is whole, and making room in it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from cache.entry import Entry, Problem, Verification, compare, describe, read_record, tree_size
from cache.places import _KEY, _STAGE, PROVENANCE, QUARANTINE, check_stage, discard, forget, leftovers

__all__ = ["entries", "prune", "verify"]


def entries(root: Path, stage: str | None = None) -> list[Entry]:
    """Return the results in a store by stage, the oldest first."""
    found = []
    for folder in _folders(root, stage):
        with contextlib.suppress(FileNotFoundError):  # removed by another process while we look
            found.append(describe(folder))
    return sorted(found, key=lambda entry: (entry.stage, entry.created, entry.key))


def verify(root: Path, stage: str | None = None) -> Verification:
    """Compare every file of every result with its digest."""
    problems, checked = [], 0
    for folder in _folders(root, stage):
        what = _damage(folder)
        if what and not folder.exists():  # removed by another process while we look
            continue
        checked += 1
        if what:
            problems.append(Problem(folder.parent.name, folder.name, what))
    return Verification(checked, problems)


def prune(
    root: Path,
    stage: str | None,
    older_than: timedelta | None,
    max_bytes: int | None,
    damaged: bool,
    dry_run: bool,
) -> list[Entry]:
    """Remove results as :meth:`cache.Store.prune` says."""
    removed = _remove_leftovers(root, stage, dry_run)
    there = entries(root, stage)
    going: dict[Path, Entry] = {}
    if stage is not None and older_than is None and max_bytes is None and not damaged:
        going = {entry.path: entry for entry in there}
    if damaged:
        going.update({entry.path: entry for entry in there if _damage(entry.path)})
    if older_than is not None:
        limit = older_than.total_seconds()
        going.update({entry.path: entry for entry in there if entry.unused >= limit})
    if max_bytes is not None:
        left = sum(entry.size for entry in there if entry.path not in going)
        for entry in sorted(there, key=lambda entry: entry.last_used):
            if left <= max_bytes:
                break
            if entry.path not in going:
                going[entry.path] = entry
                left -= entry.size
    removed += [entry for entry in going.values() if dry_run or _remove(root, entry)]
    return removed + (_remove_quarantined(root, stage, dry_run) if damaged else [])


def _folders(root: Path, stage: str | None) -> Iterator[Path]:
    """Give the folders of results: only names as the store makes them, so that no other is touched."""
    stages = [root / check_stage(stage)] if stage is not None else sorted(root.glob("*"))
    for parent in stages:
        if _STAGE.fullmatch(parent.name) and parent.is_dir():
            for folder in sorted(parent.iterdir()):
                if _KEY.fullmatch(folder.name) and (folder / PROVENANCE).is_file():
                    yield folder


def _damage(folder: Path) -> str:
    record = read_record(folder)
    if record is None:
        return f"{PROVENANCE} is missing or cannot be read"
    return compare(folder, record, digests=True)


def _remove(root: Path, entry: Entry) -> bool:
    """Remove a result unless a process holds its lock; tell whether it is gone."""
    file = root / ".locks" / entry.stage / f"{entry.key}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(file, timeout=0, thread_local=False):
            discard(entry.path)
    except Timeout:
        return False
    return True


def _remove_quarantined(root: Path, stage: str | None, dry_run: bool) -> list[Entry]:
    removed = []
    for folder in sorted((root / QUARANTINE).glob(f"{check_stage(stage) if stage else '*'}/*")):
        made = folder.stat().st_mtime
        label = "damaged, set aside before"
        removed.append(Entry(folder.parent.name, folder.name, tree_size(folder), made, made, label, folder))
        if not dry_run:
            shutil.rmtree(folder)
    return removed


def _remove_leftovers(root: Path, stage: str | None, dry_run: bool) -> list[Entry]:
    removed = []
    stages = [root / check_stage(stage)] if stage is not None else sorted(root.glob("*"))
    for parent in stages:
        if not _STAGE.fullmatch(parent.name) or not parent.is_dir():
            continue
        for folder in leftovers(parent):
            made = folder.stat().st_mtime
            label = "left behind by an interrupted run"
            removed.append(Entry(parent.name, folder.name, tree_size(folder), made, made, label, folder))
            if not dry_run:
                forget(folder)
    return removed
