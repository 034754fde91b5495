"""The check that a file is whole before it counts as data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from fetch_cases import FIRST

from alignment.brain import _allen_layout as layout
from alignment.brain._nwb_check import check_nwb
from neural_alignment import DataError


def test_the_check_knows_a_whole_file(sources: dict[int, Path]) -> None:
    for number, path in sources.items():
        check_nwb(path, number)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.__delitem__("general/session_id"), "session_id"),
        (lambda file: file.__delitem__("stimulus"), "stimulus"),
        (lambda file: file.__delitem__(f"{layout.PIPELINE}/Fluorescence"), "Fluorescence"),
        (
            lambda file: file[f"{layout.PIPELINE}/ImageSegmentation"].pop("cell_specimen_ids"),
            "cell_specimen_ids",
        ),
    ],
)
def test_the_check_names_what_is_missing(
    spoil: Callable[[Any], Any], said: str, sources: dict[int, Path], tmp_path: Path
) -> None:
    path = tmp_path / "spoilt.nwb"
    shutil.copyfile(sources[FIRST], path)
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(DataError, match=said):
        check_nwb(path, FIRST)


def test_the_check_refuses_another_experiments_file(sources: dict[int, Path]) -> None:
    with pytest.raises(DataError, match=f"holds experiment {FIRST}, not 42"):
        check_nwb(sources[FIRST], 42)
    with pytest.raises(DataError, match="missing"):
        check_nwb(sources[FIRST].with_name("none.nwb"), FIRST)
