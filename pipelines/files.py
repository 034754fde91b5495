"""Files of a run folder: written whole or not at all, and a full or closed disk told in one message."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from neural_alignment import DataError

__all__ = ["copy_file", "write_file", "writing"]


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into one message: where, why, and what to do."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"The run folder {folder} cannot be written ({error.strerror or error}). "
            "Choose another with --out, or mend its permissions or the disk's space."
        ) from None


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; its folder is made, and whoever reads the target sees the old file or the whole new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file; its folder must be there, and whoever reads it sees the old file or the whole new one."""
    with _replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` that takes its place at the end, and goes where the block fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
