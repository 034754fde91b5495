"""Where things lie in a store, temporary folders that die with their process, and errors of the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from neural_alignment import DataError, InputError

__all__ = [
    "QUARANTINE",
    "check_key",
    "check_stage",
    "default_root",
    "discard",
    "leftovers",
    "set_aside",
    "sync",
    "temporary",
    "writing",
]

PROVENANCE = "provenance.json"
QUARANTINE = ".quarantine"  # damaged results, by stage; nothing in it is ever read as a result
TEMPORARY = ".tmp-"
_LOOKS, _QUIET_LOOKS, _PAUSE = 60, 4, 0.05  # how often a failed write is looked after, and seconds between
_STAGE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_KEY = re.compile(r"[0-9a-f]{8,64}")
# What a disk, not a program, is to blame for: full, read-only, over quota or file size, not ours, no folder.
_DISK = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EIO,
    errno.EFBIG,
}


def default_root() -> Path:
    """Return where the store is when nobody says: ``$NALIGN_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("NALIGN_CACHE")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("neural-alignment", appauthor=False))


def check_stage(stage: str) -> str:
    """Return a stage's name if it may become a folder's name; otherwise raise InputError."""
    if not isinstance(stage, str) or not _STAGE.fullmatch(stage):
        raise InputError(
            "A stage's name must be small letters, digits and underscores, a letter first, at most 64. "
            f"Got {str(stage)[:80]!r} instead."
        )
    return stage


def check_key(key: str) -> str:
    """Return a key if it may become a folder's name; otherwise raise InputError."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InputError(
            f"A key must be 8 to 64 hexadecimal digits, as make_key returns it. Got {str(key)[:80]!r} instead."
        )
    return key


@contextlib.contextmanager
def writing(what: str, root: Path) -> Iterator[None]:
    """Turn errors of the disk into one DataError: what could not be written, where, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise DataError(
            f"{what} cannot be written to the store {root}: {os.strerror(error.errno)}. Free space there "
            "('nalign cache prune' helps), mend its permissions, or choose another: --cache or $NALIGN_CACHE."
        ) from error


@contextlib.contextmanager
def temporary(parent: Path, purpose: str) -> Iterator[Path]:
    """Give a new folder beside the entries, on their disk; removed at the end unless it was renamed away.

    A lock on a file beside it is held as long as the process lives: the system lets go of it at whatever
    death, so :func:`leftovers` knows the dead from the living, also from another machine or container on
    the same disk.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{TEMPORARY}{purpose[:16]}-{secrets.token_hex(8)}"
    lock_file = _lock_of(folder)
    with FileLock(lock_file, thread_local=False):
        try:
            folder.mkdir()
            yield folder
        except BaseException:
            _clear(folder)
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # Windows refuses while it is open; prune takes it later
                lock_file.unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    """Remove the folder of a failed write, again while threads of the library that wrote still put files into it."""
    absent = 0
    for _ in range(_LOOKS):
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
            absent = 0
        else:
            absent += 1
        if absent == _QUIET_LOOKS:
            return
        time.sleep(_PAUSE)


def leftovers(parent: Path) -> Iterator[Path]:
    """Give the temporary folders in ``parent`` whose process is dead, each locked while it is looked at."""
    for lock_file in sorted(parent.glob(f"{TEMPORARY}*.lock")):
        folder = lock_file.with_name(lock_file.name.removesuffix(".lock"))
        try:
            with FileLock(lock_file, timeout=0, thread_local=False):
                if folder.exists():
                    yield folder
        except (Timeout, OSError):  # alive, or not ours to touch
            continue


def discard(folder: Path) -> None:
    """Remove a folder so that it is either whole or gone: renamed to a temporary name first."""
    with temporary(folder.parent, folder.name) as grave, contextlib.suppress(FileNotFoundError):
        folder.replace(grave / "removed")


def set_aside(root: Path, folder: Path, inode: int) -> Path:
    """Move a damaged result into the store's quarantine and return where it is then.

    Raises
    ------
    FileNotFoundError
        It is not there any more, or another folder stands in its place: another process was first.
    OSError
        The store may not be written to.
    """
    if folder.stat().st_ino != inode:
        raise FileNotFoundError(folder)
    place = root / QUARANTINE / folder.parent.name / f"{folder.name}-{secrets.token_hex(4)}"
    place.parent.mkdir(parents=True, exist_ok=True)
    return folder.rename(place)


def forget(folder: Path) -> None:
    """Remove a dead process's temporary folder and the lock file beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        _lock_of(folder).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk; where a system cannot, go on."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in _DISK:
            raise
    finally:
        os.close(handle)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
