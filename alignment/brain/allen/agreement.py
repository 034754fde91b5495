"""Whether an NWB file is whole and read alike by AllenSDK and by our own reader, read by read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alignment.brain._nwb_check import check_nwb
from alignment.brain.allen.own_reader import OwnReader
from alignment.brain.allen.reader import Reader
from alignment.brain.allen.sdk_reader import LICENCE, SdkReader, why_not
from neural_alignment import DataError

__all__ = ["READS", "CheckedFile", "Read", "check_file", "compare_readers", "same"]

_SOME = slice(1, 4)  # rows that stand for reading some cells, not the first; a file may have fewer

READS: dict[str, Callable[[Reader], Any]] = {
    "metadata": lambda reader: reader.metadata(),
    "session type": lambda reader: reader.session_type(),
    "ids of cells": lambda reader: reader.cell_specimen_ids(),
    "time stamps": lambda reader: reader.timestamps(),
    "dF/F": lambda reader: reader.dff(),
    "dF/F of some cells": lambda reader: reader.dff(_SOME),
    "corrected fluorescence": lambda reader: reader.corrected_fluorescence(),
    "corrected fluorescence of some cells": lambda reader: reader.corrected_fluorescence(_SOME),
    "running speed": lambda reader: reader.running_speed(),
    "natural scenes shown": lambda reader: reader.stimulus_table(),
    "natural scenes": lambda reader: reader.scenes(),
}
"""Every read of `alignment.brain.allen.reader.Reader`, traces of all cells and of some."""


@dataclass(frozen=True)
class Read:
    """One read by each reader.

    Attributes
    ----------
    name : str
        As in `READS`.
    own, allensdk : str
        What each returned, in few words; empty where AllenSDK is not installed.
    same : bool or None
        Whether the values, their types and shapes are the same, or both refused; None with one reader alone.
    """

    name: str
    own: str
    allensdk: str = ""
    same: bool | None = None


@dataclass(frozen=True)
class CheckedFile:
    """What `check_file` found.

    Attributes
    ----------
    reads : list of Read
    text : str
        A sentence on what was compared.
    fault : str
        Why the file cannot be used, or in what the readers differ; empty where all is well.
    """

    reads: list[Read]
    text: str
    fault: str = ""


def check_file(path: Path) -> CheckedFile:
    """Check that a file is whole, and read everything in it that a session needs with each reader there is.

    Parameters
    ----------
    path : Path
        An NWB file of the Allen Brain Observatory.

    Raises
    ------
    DataError
        If it is missing or cannot be read at all.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing. Give the path of an NWB file of the Allen Brain Observatory.")
    try:
        number = OwnReader(path).metadata()["ophys_experiment_id"]
    except Exception as error:  # whatever h5py raises on a file of another kind
        raise DataError(f"{path} is no NWB file of the Allen Brain Observatory: {error}") from error
    reason = why_not()
    reads = compare_readers(path, with_allensdk=not reason)
    differing = [read.name for read in reads if read.same is False]
    if reason:
        text = f"Experiment {number}, read by our own reader alone: {reason} ({LICENCE}); it is not needed."
    else:
        text = f"Experiment {number}: {len(reads) - len(differing)} of {len(reads)} reads are the same, bit for bit."
    fault = ""
    try:
        check_nwb(path, int(number or 0))
    except DataError as error:
        fault = f"{error}. Delete the file and fetch it again with 'nalign observatory fetch'."
    if differing:
        fault = (
            f"{path}: the readers differ in {', '.join(differing)}. Please report it with the experiment's number, "
            "and rely on nothing that is made of this file until it is known why."
        )
    return CheckedFile(reads, text, fault)


def compare_readers(path: Path, *, with_allensdk: bool = True) -> list[Read]:
    """Read a file with our own reader and, unless told otherwise, with AllenSDK; one read at a time is in memory."""
    own, sdk = OwnReader(path), _attempt(lambda: SdkReader(path)) if with_allensdk else None
    reads = []
    for name, read in READS.items():
        ours = _attempt(lambda read=read: read(own))  # type: ignore[misc]
        if sdk is None:
            reads.append(Read(name, _words(ours)))
            continue
        theirs = sdk if isinstance(sdk, Exception) else _attempt(lambda read=read: read(sdk))  # type: ignore[misc]
        reads.append(Read(name, _words(ours), _words(theirs), same(ours, theirs)))
    return reads


def same(ours: Any, theirs: Any) -> bool:
    """Whether two reads returned the same: type, shape and every bit, NaN included; refusals are alike.

    Examples
    --------
    >>> same(np.array([0.0, np.nan]), np.array([0.0, np.nan])), same(np.array([0.0]), np.array([-0.0]))
    (True, False)
    """
    if isinstance(ours, Exception) or isinstance(theirs, Exception):
        return isinstance(ours, Exception) and isinstance(theirs, Exception)
    if isinstance(ours, pd.DataFrame):
        return list(ours) == list(theirs) and all(same(ours[name].to_numpy(), theirs[name].to_numpy()) for name in ours)
    if isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, np.ndarray):
        if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
            return False
        first, second = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (ours, theirs))
        return bool(np.array_equal(first, second))
    return type(ours) is type(theirs) and bool(ours == theirs)


def _attempt(call: Callable[[], Any]) -> Any:
    """Return what a read returns, or the error it raises: h5py and AllenSDK raise many kinds."""
    try:
        return call()
    except Exception as error:
        return error


def _words(value: Any) -> str:
    if isinstance(value, Exception):
        return f"not there ({type(value).__name__})"
    if isinstance(value, tuple):  # time stamps and values
        return _words(value[-1])
    if isinstance(value, np.ndarray):
        return f"{' x '.join(map(str, value.shape))} {value.dtype}"
    if isinstance(value, pd.DataFrame):
        return f"{len(value)} sweeps"
    return f"{len(value)} entries" if isinstance(value, dict) else str(value)
