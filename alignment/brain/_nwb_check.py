"""Is this NWB file whole? Open it and read what the analysis needs, before it counts as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from alignment.brain._allen_layout import PIPELINE
from alignment.brain.catalogue import NATURAL_SCENE_SESSION
from neural_alignment import DataError

__all__ = ["check_nwb"]

_PLANE = "imaging_plane_1"
_CELLS = f"{PIPELINE}/ImageSegmentation/cell_specimen_ids"
_RAW = f"{PIPELINE}/Fluorescence/{_PLANE}"
_DFF = f"{PIPELINE}/DfOverF/{_PLANE}"
# Where AllenSDK reads a data set. Before version 2.0 of the Institute's pipeline the neuropil lay beside the raw
# traces, and these were not demixed.
_TRACES = (
    (f"{_DFF}/data",),
    (f"{_RAW}_demixed_signal/data", f"{_RAW}/data"),
    (f"{_RAW}_neuropil_response/data", f"{_RAW}/neuropil_traces"),
)
_SMALL = (
    (f"{_DFF}/timestamps",),
    (f"{_RAW}/timestamps",),
    (f"{_RAW}_neuropil_response/r", f"{_RAW}/r"),
)
# Read if it is there: responses are the same without it, and their speeds unknown.
_RUNNING = f"{PIPELINE}/BehavioralTimeSeries/running_speed/data"
_PRESENTATIONS = "stimulus/presentation"
_SCENES = ("natural_scenes_stimulus", "natural_scenes")
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
    traces = [_get(file, *names) for names in _TRACES]
    for trace in traces:
        if trace.shape != (cells, frames):
            raise ValueError(f"{trace.name.strip('/')} has shape {trace.shape}, not {(cells, frames)}")
    wanted = [*traces, *(_get(file, *names) for names in _SMALL)]
    if _RUNNING in file:
        wanted.append(file[_RUNNING])
    if _text(_get(file, "general/session_type")[()]) == NATURAL_SCENE_SESSION:
        shown, sweeps = _scenes(file)
        wanted += [shown, sweeps, _get(file, _STACK)]
        if len(shown) != len(sweeps) or len(shown) == 0:
            raise ValueError(f"{len(shown)} natural scenes were shown in {len(sweeps)} sweeps")
    for dataset in wanted:
        _read(dataset, read)


def _get(file: Any, *names: str) -> Any:
    """Return the first data set there is; h5py's own message does not say which link of a path is missing."""
    for name in names:
        if name in file:
            return file[name]
    raise ValueError(f"{names[0]} is missing")


def _scenes(file: h5py.File) -> tuple[Any, Any]:
    """Return what was shown and when, found as AllenSDK finds it: by name, however deep in its group."""
    group = _get(file, *(f"{_PRESENTATIONS}/{name}" for name in _SCENES))
    found: dict[str, Any] = {}
    group.visititems(lambda name, item: found.setdefault(name.rsplit("/", 1)[-1], item) and None)
    for name in ("data", "frame_duration"):
        if not isinstance(found.get(name), h5py.Dataset):
            raise ValueError(f"{group.name.strip('/')}/{name} is missing")
    return found["data"], found["frame_duration"]


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
