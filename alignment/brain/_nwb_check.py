"""Is this NWB file whole? Open it and read what the analysis needs, before it counts as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from alignment.brain._allen_layout import PIPELINE
from neural_alignment import DataError

__all__ = ["check_nwb"]

_PLANE = "imaging_plane_1"
_CELLS = f"{PIPELINE}/ImageSegmentation/cell_specimen_ids"
_DFF = f"{PIPELINE}/DfOverF/{_PLANE}"
_TRACES = (
    f"{_DFF}/data",
    f"{PIPELINE}/Fluorescence/{_PLANE}_demixed_signal/data",
    f"{PIPELINE}/Fluorescence/{_PLANE}_neuropil_response/data",
)
_SMALL = (
    f"{_DFF}/timestamps",
    f"{PIPELINE}/Fluorescence/{_PLANE}/timestamps",
    f"{PIPELINE}/Fluorescence/{_PLANE}_neuropil_response/r",
    f"{PIPELINE}/BehavioralTimeSeries/running_speed/data",
)
_SCENES = (
    "stimulus/presentation/natural_scenes_stimulus/data",
    "stimulus/presentation/natural_scenes_stimulus/frame_duration",
)
_STACK = "stimulus/templates/natural_scenes_image_stack/data"


def check_nwb(path: Path, experiment_id: int, *, read: bool = True) -> None:
    """Check that a file is a whole NWB file of one experiment.

    Parameters
    ----------
    path : Path
    experiment_id : int
    read : bool
        Read every value that the analysis needs, some rows at a time. Without it only the structure is
        checked, which finds a file that was cut short, but not damaged data.

    Raises
    ------
    DataError
        Saying what is wrong. Bytes changed within uncompressed traces cannot be noticed: the files carry no
        checksum of their own, and the API announces none.
    """
    try:
        with h5py.File(path, "r") as file:
            _check(file, experiment_id, read)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        size = f"{path.stat().st_size:,} bytes" if path.is_file() else "missing"
        raise DataError(f"{path.name} ({size}) is no whole NWB file: {error}") from error


def _check(file: h5py.File, experiment_id: int, read: bool) -> None:
    written = _text(_get(file, "general/session_id")[()])
    if written != str(experiment_id):
        raise ValueError(f"it holds experiment {written}, not {experiment_id}")
    cells = _get(file, _CELLS).shape[0]
    frames = _get(file, f"{_DFF}/timestamps").shape[0]
    for name in _TRACES:
        shape = _get(file, name).shape
        if shape != (cells, frames):
            raise ValueError(f"{name} has shape {shape}, not {(cells, frames)}")
    natural = _text(_get(file, "general/session_type")[()]) == "three_session_B"
    names = [*_TRACES, *_SMALL, *(_SCENES if natural else ()), *((_STACK,) if natural else ())]
    for name in names:
        _read(_get(file, name), read)
    if natural:
        shown, sweeps = (file[name] for name in _SCENES)
        if len(shown) != len(sweeps) or len(shown) == 0:
            raise ValueError(f"{len(shown)} natural scenes were shown in {len(sweeps)} sweeps")


def _get(file: h5py.File, name: str) -> Any:
    # h5py's own message does not say which link of a path is missing.
    if name not in file:
        raise ValueError(f"{name} is missing")
    return file[name]


def _read(dataset: Any, read: bool) -> None:
    """Read a dataset some rows at a time, or only look that it is there."""
    if not read or dataset.shape == ():
        return
    row = max(1, dataset.dtype.itemsize * int(dataset.size) // max(1, dataset.shape[0]))
    step = max(1, (8 << 20) // row)
    for first in range(0, dataset.shape[0], step):
        dataset[first : first + step]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
