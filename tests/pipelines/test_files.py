"""Files of a run folder: whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from neural_alignment import DataError
from pipelines.files import copy_file, write_file, writing


@pytest.mark.parametrize("content", ["µm\n", b"\x00\xff"])
def test_a_file_is_replaced_whole(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    write_file(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file(
    tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with small_disk(100), pytest.raises(DataError, match="cannot be written"), writing(tmp_path):
        write_file(path, "x" * 10_000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_copies_make_their_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    copy_file(tmp_path / "a", tmp_path / "one" / "two" / "b")
    assert (tmp_path / "one" / "two" / "b").read_text() == "a"
