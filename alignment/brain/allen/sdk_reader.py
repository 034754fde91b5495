"""AllenSDK's reader of its NWB files, behind the Protocol: the one module that imports AllenSDK, when asked to.

AllenSDK is published under a licence of its own: the 2-clause BSD licence plus a clause that prohibits
redistribution for commercial purposes. This package works without it.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alignment.brain.allen.reader import MissingScenes, TimedTraces, whole_pixels

__all__ = ["LICENCE", "SdkReader", "load", "why_not"]

LICENCE = "2-clause BSD plus a clause that prohibits redistribution for commercial purposes"

_DATA_SET = "allensdk.core.brain_observatory_nwb_data_set"


def why_not() -> str:
    """Return why AllenSDK cannot be used here, an empty text where it can."""
    return _why_not()


@lru_cache(maxsize=1)
def _why_not() -> str:
    if importlib.util.find_spec("allensdk") is None:
        return "AllenSDK is not installed"
    try:
        load(_DATA_SET)
    except Exception as error:  # whatever its many dependencies raise means the same
        return f"AllenSDK is installed but does not import ({type(error).__name__}: {error})"
    return ""


def load(module: str = _DATA_SET) -> Any:
    """Import a module of AllenSDK, beside numpy 2 as well.

    AllenSDK 2.16 uses names that numpy 2.0 dropped. Where they are missing they are given back to numpy, with what
    numpy itself names as their successors, before AllenSDK looks for them.

    Parameters
    ----------
    module : str
        Its dotted name.

    Returns
    -------
    module
    """
    if not hasattr(np, "VisibleDeprecationWarning"):
        setattr(np, "VisibleDeprecationWarning", import_module("numpy.exceptions").VisibleDeprecationWarning)  # noqa: B010
    for name, successor in (("string_", np.bytes_), ("NaN", np.nan)):
        if not hasattr(np, name):
            setattr(np, name, successor)
    return import_module(module)


class SdkReader:
    """Reads an NWB file through AllenSDK; see `alignment.brain.allen.reader.Reader`.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    dataset : allensdk.core.brain_observatory_nwb_data_set.BrainObservatoryNwbDataSet
        AllenSDK's own object.
    """

    name = "allensdk"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dataset: Any = load().BrainObservatoryNwbDataSet(str(path))

    def __repr__(self) -> str:
        return f"SdkReader({str(self.path)!r})"

    def metadata(self) -> dict[str, Any]:
        """Return what the file says of itself."""
        return dict(self.dataset.get_metadata())

    def session_type(self) -> str:
        """Return the session's type, such as ``three_session_B``."""
        return str(self.dataset.get_session_type())

    def cell_specimen_ids(self) -> npt.NDArray[np.int64]:
        """Return the cells' ids (cell,) in the file's order."""
        return np.asarray(self.dataset.get_cell_specimen_ids(), dtype=np.int64)

    def timestamps(self) -> npt.NDArray[np.float64]:
        """Return the time stamps (frame,) of the fluorescence in s."""
        return np.asarray(self.dataset.get_fluorescence_timestamps(), dtype=np.float64)

    def dff(self, cells: slice | None = None) -> TimedTraces:
        """Return time stamps (frame,) in s and dF/F (cell, frame) of all cells, or of some rows of the file."""
        times, traces = self.dataset.get_dff_traces(self._ids(cells))
        return np.asarray(times), np.asarray(traces)

    def corrected_fluorescence(self, cells: slice | None = None) -> TimedTraces:
        """Return time stamps (frame,) in s and neuropil-corrected fluorescence (cell, frame)."""
        times, traces = self.dataset.get_corrected_fluorescence_traces(self._ids(cells))
        return np.asarray(times), np.asarray(traces)

    def running_speed(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return time stamps (frame,) in s and speed in cm/s, NaN where frames were imaged but no speed recorded."""
        speed, times = self.dataset.get_running_speed()
        return np.asarray(times, dtype=np.float64), np.asarray(speed, dtype=np.float64)

    def stimulus_table(self) -> pd.DataFrame:
        """Return the natural scenes' sweeps in order: frame (-1 the blank), start and end in frames."""
        missing = load("allensdk.brain_observatory.brain_observatory_exceptions").MissingStimulusException
        try:
            table: pd.DataFrame = self.dataset.get_stimulus_table("natural_scenes")
        except missing as error:
            raise MissingScenes(str(error)) from error
        return table.reset_index(drop=True)

    def scenes(self) -> npt.NDArray[np.uint8]:
        """Return the natural scenes (scene, y, x)."""
        # AllenSDK memoises this call for the life of the process (127 MB a session); the undecorated one does not.
        template = type(self.dataset).get_stimulus_template.__wrapped__(self.dataset, "natural_scenes")
        return whole_pixels(np.asarray(template))

    def _ids(self, cells: slice | None) -> Any:
        """Return ids as the file writes them, numbers or text, for AllenSDK to find the rows by."""
        return None if cells is None else self.dataset.get_cell_specimen_ids()[cells]
