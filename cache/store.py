"""The store of results: put in whole or not at all, found by key, checked when read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from cache import keys, upkeep
from cache.entry import Entry, LostResultError, Provenance, Verification, check_once, compare, read_record, seal
from cache.places import PROVENANCE, check_key, check_stage, default_root, discard, set_aside, sync, temporary, writing
from neural_alignment import DataError, InputError, NeuralAlignmentError

__all__ = ["Store"]

Entries = list[Entry]  # inside the class, "list" is the method
_FRESH = 60.0  # seconds: a use is noted at most this often
_RACY = 2.0  # seconds: a file changed so lately may change again without its time changing


class Store:
    """Results of stages, each a folder ``<root>/<stage>/<key>/`` with its ``provenance.json``.

    A result is written under a temporary name on the same disk and renamed when it is whole, so no reader
    ever sees half of one; what a killed process leaves is never taken for a result, and :meth:`prune`
    removes it. A result whose files do not have the sizes they were written with counts as absent, so the
    next run makes it again. The first time that a process reads a result, its bytes are compared with the
    digests taken when they were written. A damaged result is never used: it is moved to the folder
    ``.quarantine`` of the store, where it stays until :meth:`prune` is asked to remove what is damaged.

    Parameters
    ----------
    root : path, optional
        The store's folder, made when first written to; by default ``$NALIGN_CACHE`` or the user's cache
        folder.

    Raises
    ------
    InputError
        ``root`` is a file.

    Examples
    --------
    >>> import tempfile, pandas as pd
    >>> from cache import Store, make_key
    >>> store = Store(tempfile.mkdtemp())
    >>> key = make_key("count", "1", {"of": "cells"}, {})
    >>> store.write("count", key, {"table": pd.DataFrame({"n": [3]}), "note": "three"}, {"label": "cells"})
    >>> store.has("count", key), store.read("count", key)["note"], store.provenance("count", key)["label"]
    (True, 'three', 'cells')
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        chosen = default_root() if root is None else Path(root)
        self.root = chosen.expanduser().absolute()
        if self.root.is_file():
            raise InputError(
                f"The store must be a folder. {self.root} is a file: choose another with --cache or $NALIGN_CACHE."
            )

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def path(self, stage: str, key: str) -> Path:
        """Return the folder of a result, whether it is there or not; ``.tmp-*`` beside it are unfinished."""
        return self.root / check_stage(stage) / check_key(key)

    def has(self, stage: str, key: str) -> bool:
        """Tell whether a result is there with all its files in their sizes: one small read, a stat a file."""
        folder = self.path(stage, key)
        record = read_record(folder)
        if record is None or compare(folder, record, digests=False):
            return False
        _note_use(folder)
        return True

    def provenance(self, stage: str, key: str) -> dict[str, Any]:
        """Return how a result came to be; under ``store`` its time and size.

        Raises
        ------
        DataError
            It is not there, or its provenance is damaged.
        """
        record = self._record(stage, key)
        kept = {name: value for name, value in record["store"].items() if name != "files"}
        return {**record, "store": kept}

    def read(self, stage: str, key: str, only: Iterable[str] | None = None) -> Any:
        """Read a result into memory.

        Parameters
        ----------
        stage, key : str
            Which.
        only : iterable of str, optional
            Of a mapping, only these parts.

        Returns
        -------
        object
            What was written: arrays as arrays, tensors on the CPU, tuples as lists; the folder of one that
            is files.

        Raises
        ------
        LostResultError
            The result is not there, or its files are damaged; a damaged one has been set aside.
        DataError
            Its files are whole, and the packages here cannot read them.
        InputError
            A name in ``only`` is not among its parts.
        """
        inode = _inode(self.path(stage, key))
        folder, record = self._checked(stage, key)
        _note_use(folder)
        if record["store"]["kind"] == "folder":
            return folder
        from cache.values import read_value

        try:
            return read_value(folder, only)
        except (NeuralAlignmentError, MemoryError, ImportError):
            raise
        except Exception as error:
            damage = compare(folder, record, digests=True)  # it may have gone since it was checked
            if damage:
                raise self._lost(stage, key, damage, inode) from error
            raise DataError(
                f"The result {stage}/{key} in {self.root} is whole but cannot be read here: {error}. "
                "Other versions of the packages may have written it (its provenance.json names them): "
                "use those, or remove it."
            ) from error

    def parts(self, stage: str, key: str) -> list[str]:
        """Return the names of the parts of a result that is a mapping, without reading them."""
        from cache.values import part_names

        folder, record = self._checked(stage, key)
        return [] if record["store"]["kind"] == "folder" else part_names(folder)

    def write(self, stage: str, key: str, value: Any, provenance: Provenance) -> None:
        """Keep a result; if another process has just kept the same, theirs stays.

        Parameters
        ----------
        stage, key : str
            Under which it is found; see :func:`~cache.make_key`.
        value : xarray.Dataset, xarray.DataArray, pandas.DataFrame, array, tensor, JSON-able, or a mapping
        of these
            Datasets become Zarr, tables Parquet, arrays and tensors safetensors, everything else JSON.
            Not-a-number is kept in all of them; a tuple is read back as a list.
        provenance : mapping, or a function that returns one
            How the value came to be; JSON-able. A function is called when the value is written.

        Raises
        ------
        InputError
            A value of a kind that is not kept.
        DataError
            The disk is full or may not be written to.
        """
        from cache.values import write_value

        with self._new(stage, key, "value", provenance) as folder:
            write_value(value, folder)

    @contextlib.contextmanager
    def folder(self, stage: str, key: str, provenance: Provenance) -> Iterator[Path]:
        """Give an empty folder that becomes the result if the block ends without an error; nothing is copied.

        Parameters
        ----------
        stage, key, provenance
            As of :meth:`write`. A function for ``provenance`` is called at the end.

        Raises
        ------
        DataError
            The disk is full or may not be written to, also when the block itself finds out.
        """
        with self._new(stage, key, "folder", provenance) as folder:
            yield folder

    @contextlib.contextmanager
    def lock(self, stage: str, key: str) -> Iterator[None]:
        """Hold a result's lock, waiting for who has it: one of several computes, the others find the result.

        Ask :meth:`has` again once the lock is held. The system lets go of a dead process's lock.

        Raises
        ------
        DataError
            The store may not be written to.
        """
        with self._writing(stage, key):
            file = self.root / ".locks" / check_stage(stage) / f"{check_key(key)}.lock"
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(file, thread_local=False)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def scratch(self, stage: str, key: str) -> Path:
        """Return a folder for a task's half-done work (checkpoints), kept when the task is interrupted."""
        with self._writing(stage, key):
            folder = self.root / ".scratch" / check_stage(stage) / check_key(key)
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_scratch(self, stage: str, key: str) -> None:
        """Remove the folder of :meth:`scratch`."""
        shutil.rmtree(self.root / ".scratch" / check_stage(stage) / check_key(key), ignore_errors=True)

    def remove(self, stage: str, key: str) -> None:
        """Remove a result; nothing happens where there is none."""
        folder = self.path(stage, key)
        if folder.exists():
            with self._writing(stage, key):
                discard(folder)

    def clear(self, stage: str, key: str) -> str:
        """Set aside what stands in a result's place and is not whole; return what it was, or an empty text.

        Whoever computes a result calls this first, holding its lock, and tells the user.

        Raises
        ------
        DataError
            The store may not be written to.
        """
        folder = self.path(stage, key)
        if not folder.exists() or self.has(stage, key):
            return ""
        record = read_record(folder)
        damage = f"{PROVENANCE} is missing or damaged" if record is None else compare(folder, record, digests=False)
        error = self._lost(stage, key, damage, _inode(folder))
        if not isinstance(error, LostResultError):
            raise error
        return error.what

    def list(self, stage: str | None = None) -> Entries:
        """Return the results by stage and age, damaged ones included, of all stages or one."""
        return upkeep.entries(self.root, stage)

    def verify(self, stage: str | None = None) -> Verification:
        """Read every file of every result (of one stage) and compare it with the digest taken on writing."""
        return upkeep.verify(self.root, stage)

    def prune(
        self,
        *,
        stage: str | None = None,
        older_than: timedelta | None = None,
        max_bytes: int | None = None,
        damaged: bool = False,
        dry_run: bool = False,
    ) -> Entries:
        """Remove results, and in any case what killed processes left behind.

        Parameters
        ----------
        stage : str, optional
            Only this stage's results; alone, all of them.
        older_than : timedelta, optional
            Those not used for this long.
        max_bytes : int, optional
            Those longest unused, until the rest (of the stage) is no larger.
        damaged : bool
            Those that do not match their digests (every file is read), and those set aside before.
        dry_run : bool
            Remove nothing.

        Returns
        -------
        list of Entry
            What was removed, or would be. A result whose lock is held, or left without any of these
            reasons, stays.

        Raises
        ------
        DataError
            The store may not be written to.
        """
        with writing("The removal of results", self.root):
            return upkeep.prune(self.root, stage, older_than, max_bytes, damaged, dry_run)

    def digest_file(self, path: str | os.PathLike[str]) -> str:
        """Return :func:`cache.digest_file` of a file, remembered for its path, size and time of change."""
        file = Path(path).absolute()
        try:
            state = file.stat()
        except OSError:
            return keys.digest_file(file)  # raises, and says why
        stamp = [state.st_size, state.st_mtime_ns, state.st_ino]
        name = keys.make_key("digest", "1", {"path": str(file)}, {})
        memory = self.root / ".digests" / name[:2] / f"{name}.json"
        with contextlib.suppress(OSError, ValueError, TypeError):
            known = json.loads(memory.read_bytes())
            if known["stamp"] == stamp:
                return str(known["digest"])
        digest = keys.digest_file(file)
        if time.time() - state.st_mtime > _RACY:
            with contextlib.suppress(OSError):  # a store that cannot be written remembers nothing; the digest stands
                memory.parent.mkdir(parents=True, exist_ok=True)
                fresh = memory.with_name(f".{name}.{os.getpid()}.tmp")
                fresh.write_text(json.dumps({"path": str(file), "stamp": stamp, "digest": digest}), encoding="utf-8")
                fresh.replace(memory)
        return digest

    def digest_folder(self, path: str | os.PathLike[str]) -> str:
        """Return :func:`cache.digest_folder` of a folder, its files' digests remembered as well."""
        return keys.digest_folder(path, self.digest_file)

    def _record(self, stage: str, key: str) -> dict[str, Any]:
        folder = self.path(stage, key)
        inode = _inode(folder)
        record = read_record(folder)
        if record is None:
            raise self._lost(stage, key, f"{PROVENANCE} is missing or damaged", inode)
        return record

    def _checked(self, stage: str, key: str) -> tuple[Path, dict[str, Any]]:
        """Return a result's folder and record, its bytes compared with its digests once in this process."""
        folder = self.path(stage, key)
        inode = _inode(folder)
        record = self._record(stage, key)
        damage = check_once(folder, record)
        if damage:
            raise self._lost(stage, key, damage, inode)
        return folder, record

    def _lost(self, stage: str, key: str, damage: str, inode: int) -> DataError:
        """Set a damaged result aside, so that a run makes it again, and return the error that says so."""
        try:
            place = set_aside(self.root, self.path(stage, key), inode)
        except (FileNotFoundError, NotADirectoryError):
            what = f"The result {stage}/{key} is not in the store {self.root}."
            return LostResultError(stage, key, what, "Run the study that makes it.")
        except OSError as error:
            return DataError(
                f"The result {stage}/{key} in the store {self.root} is damaged: {damage}. It could not be set aside "
                f"({error.strerror}): remove its folder and run again."
            )
        what = f"The result {stage}/{key} was damaged ({damage}) and has been set aside as {place}."
        return LostResultError(stage, key, what, "Run the study again to make it anew.")

    def _writing(self, stage: str, key: str) -> contextlib.AbstractContextManager[None]:
        return writing(f"The result {stage}/{key[:12]}", self.root)

    @contextlib.contextmanager
    def _new(self, stage: str, key: str, kind: str, provenance: Provenance) -> Iterator[Path]:
        target = self.path(stage, key)
        with self._writing(stage, key):
            _mark(self.root)
            with temporary(target.parent, key) as folder:
                yield folder
                seal(folder, stage, key, kind, provenance)
                _publish(self.root, folder, target)


def _publish(root: Path, folder: Path, target: Path) -> None:
    """Rename a whole result to its name; one that is already there stays if whole and is set aside if not."""
    inode, record = _inode(target), read_record(target)
    if record is None or compare(target, record, digests=False):
        with contextlib.suppress(FileNotFoundError):  # nothing is there, or another process was first
            set_aside(root, target, inode)
    try:
        folder.rename(target)
    except OSError:
        if read_record(target) is None:  # not because another process was first
            raise
        return
    sync(target.parent)


def _inode(folder: Path) -> int:
    """Return a folder's inode, by which one that another process has replaced is told; 0 where there is none."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0


def _note_use(folder: Path) -> None:
    """Let the time of ``provenance.json`` say when the result was last used; a read-only store has none."""
    file = folder / PROVENANCE
    with contextlib.suppress(OSError):
        if time.time() - file.stat().st_mtime > _FRESH:
            os.utime(file)


def _mark(root: Path) -> None:
    """Tell backup programs that the folder holds what can be made again (Cache Directory Tagging)."""
    tag = root / "CACHEDIR.TAG"
    if not tag.exists():
        root.mkdir(parents=True, exist_ok=True)
        tag.write_text(
            "Signature: 8a477f597d28d172789f06886806bc55\n# Results of neural-alignment.\n", encoding="utf-8"
        )
