"""What a session reads of an Allen NWB file, whoever reads it: one Protocol, and the choice between its readers.

AllenSDK's reader (`alignment.brain.allen.sdk_reader`) and our own (`alignment.brain.allen.own_reader`) return the
same values bit for bit, so that which of them read a file is in no result's key.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from alignment._validation import check_choice
from neural_alignment import InputError

__all__ = [
    "READERS",
    "MissingScenes",
    "Reader",
    "ReaderName",
    "TimedTraces",
    "open_reader",
    "reader_name",
    "whole_pixels",
]

ReaderName = Literal["auto", "allensdk", "own"]
READERS: tuple[str, ...] = get_args(ReaderName)

TimedTraces = tuple[npt.NDArray[np.float64], npt.NDArray[Any]]
"""Time stamps (frame,) in s and traces (cell, frame)."""

_log = logging.getLogger(__name__)


class MissingScenes(Exception):
    """The file shows no natural scenes."""


class Reader(Protocol):
    """The nine reads that a session needs of one NWB file.

    Each opens the file for itself, so that a reader may be sent to another process. What a file lacks or holds in
    another form raises whatever h5py or AllenSDK raise; the caller says which file it was and what to do.
    """

    name: str
    path: Path

    def metadata(self) -> dict[str, Any]:
        """Return what the file says of itself, under AllenSDK's names (``targeted_structure``, ``age_days`` ...)."""

    def session_type(self) -> str:
        """Return the session's type, such as ``three_session_B``."""

    def cell_specimen_ids(self) -> npt.NDArray[np.int64]:
        """Return the cells' ids (cell,) in the file's order."""

    def timestamps(self) -> npt.NDArray[np.float64]:
        """Return the time stamps (frame,) of the fluorescence in s."""

    def dff(self, cells: slice | None = None) -> TimedTraces:
        """Return dF/F of all cells, or of some rows of the file."""

    def corrected_fluorescence(self, cells: slice | None = None) -> TimedTraces:
        """Return demixed fluorescence less r times the neuropil; before pipeline 2.0 nothing was demixed."""

    def running_speed(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return time stamps (frame,) in s and speed in cm/s, NaN where frames were imaged but no speed recorded."""

    def stimulus_table(self) -> pd.DataFrame:
        """Return the natural scenes' sweeps in order: frame (-1 the blank), start and end in frames.

        Raises
        ------
        MissingScenes
            If the session showed none.
        """

    def scenes(self) -> npt.NDArray[np.uint8]:
        """Return the natural scenes (scene, y, x)."""


def open_reader(path: Path, reader: str = "auto") -> Reader:
    """Open an NWB file with the reader of this name.

    Parameters
    ----------
    path : Path
    reader : {"auto", "allensdk", "own"}

    Returns
    -------
    Reader

    Raises
    ------
    InputError
        For another name, or for AllenSDK where it is not installed.
    """
    if reader_name(reader) == "own":
        from alignment.brain.allen.own_reader import OwnReader

        return OwnReader(path)
    from alignment.brain.allen.sdk_reader import SdkReader

    return SdkReader(path)


def reader_name(reader: str = "auto") -> str:
    """Return ``"allensdk"`` or ``"own"``: what ``auto`` means here, AllenSDK where it is installed.

    Raises
    ------
    InputError
        For another name, or for AllenSDK where it cannot be imported.
    """
    check_choice(reader, "reader", "Observatory", READERS)
    if reader == "own":
        return reader
    from alignment.brain.allen.sdk_reader import why_not

    reason = why_not()
    if not reason:
        return "allensdk"
    if reader == "allensdk":
        raise InputError(
            f"The reader 'allensdk' cannot be used: {reason}. Install AllenSDK (pip install allensdk), or choose the "
            "reader 'own' or 'auto', which give the same values without it."
        )
    _tell_once(reason)
    return "own"


@lru_cache(maxsize=1)
def _tell_once(reason: str) -> None:
    # Nothing is amiss where AllenSDK was left out; an installation that is broken should be known of.
    level = logging.DEBUG if reason == "AllenSDK is not installed" else logging.WARNING
    _log.log(level, "%s: files are read by this package's own reader, which gives the same values.", reason)


def whole_pixels(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return pixels as uint8; the Institute's files hold them as float32, though they are whole numbers.

    Raises
    ------
    ValueError
        If they are not whole numbers from 0 to 255.

    Examples
    --------
    >>> whole_pixels(np.array([0.0, 255.0], dtype=np.float32))
    array([  0, 255], dtype=uint8)
    """
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):
        pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        raise ValueError("the scenes' pixels are not whole numbers from 0 to 255")
    return pixels
