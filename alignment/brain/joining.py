"""Sessions joined into one population."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from neural_alignment import InputError

__all__ = ["join_sessions"]

_COUNTS = ("missing_trials", "moving_trials", "dropped_nan", "dropped_constant")


def join_sessions(parts: Iterable[xr.Dataset]) -> xr.Dataset:
    """Join the responses of several sessions along cells.

    Parameters
    ----------
    parts : iterable of xarray.Dataset
        From `trial_responses`, all of one method, window and number of scenes.

    Returns
    -------
    xarray.Dataset
        As from `trial_responses`; trials padded with NaN to the longest session. Running speeds and the
        counts of missing and dropped trials and cells move to a ``session`` dimension (coordinate: experiment
        id); the attributes hold the counts' sums.

    Raises
    ------
    InputError
        If there is nothing to join or the parts do not belong together.
    """
    datasets = list(parts)
    if not datasets:
        raise InputError("join_sessions needs the responses of at least one session. Got none.")
    for name in ("method", "window", "units", "simulated"):
        found = {repr(part.attrs.get(name)) for part in datasets}
        if len(found) > 1:
            raise InputError(
                f"The responses differ in {name} ({' and '.join(sorted(found))}) and cannot be combined. "
                "Compute them with the same parameters."
            )
    if len({part.sizes["scene"] for part in datasets}) > 1:
        raise InputError("The responses differ in their number of scenes and cannot be combined.")
    _check_coordinates(datasets)
    trials = max(part.sizes["trial"] for part in datasets)
    counts = {name: [_session_counts(part, name) for part in datasets] for name in _COUNTS}
    cells = {
        str(name): np.concatenate([part[name].values for part in datasets])
        for name in datasets[0].coords
        if datasets[0][name].dims == ("cell",)
    }
    padded = {name: _padded([part[name].values for part in datasets], trials) for name in ("response", "blank")}
    speeds = _padded([_with_session(part["running_speed"].values, 3) for part in datasets], trials)
    on_blank = _padded([_with_session(part["blank_running_speed"].values, 2) for part in datasets], trials)
    sessions = np.concatenate([_session_ids(part) for part in datasets])
    flat = {name: np.concatenate(values) for name, values in counts.items()}
    return xr.Dataset(
        {
            "response": (("cell", "scene", "trial"), padded["response"]),
            "blank": (("cell", "trial"), padded["blank"]),
            "peak": (("cell", "scene"), np.concatenate([part["peak"].values for part in datasets])),
            "time_to_peak": (
                ("cell", "scene"),
                np.concatenate([part["time_to_peak"].values for part in datasets]),
                {"units": "s"},
            ),
        },
        coords={
            **{name: ("cell", values) for name, values in cells.items()},
            "scene": datasets[0]["scene"].values,
            "trial": np.arange(trials),
            "session": sessions,
            "running_speed": (("session", "scene", "trial"), speeds, {"units": "cm/s"}),
            "blank_running_speed": (("session", "trial"), on_blank, {"units": "cm/s"}),
            **{name: ("session", values) for name, values in flat.items()},
        },
        attrs={**datasets[0].attrs, **{name: int(values.sum()) for name, values in flat.items()}},
    )


def _check_coordinates(datasets: list[xr.Dataset]) -> None:
    by_cell = [{str(name) for name in part.coords if part[name].dims == ("cell",)} for part in datasets]
    lacking = {name for names in by_cell for name in names if any(name not in other for other in by_cell)}
    if lacking:
        raise InputError(
            f"Some of the responses lack the coordinate {', '.join(sorted(lacking))}, which others have: "
            "they cannot "
            "be joined. Add it to all or drop it from all."
        )


def _session_ids(part: xr.Dataset) -> npt.NDArray[np.int64]:
    ids = part["session"].values if "session" in part.coords else part["experiment_id"].values[:1]
    return np.asarray(ids, dtype=np.int64)


def _session_counts(part: xr.Dataset, name: str) -> npt.NDArray[np.int64]:
    values = part[name].values if name in part.coords else [part.attrs.get(name, 0)]
    return np.asarray(values, dtype=np.int64)


def _with_session(values: npt.NDArray[Any], dimensions: int) -> npt.NDArray[Any]:
    return values if values.ndim == dimensions else values[None]


def _padded(arrays: list[npt.NDArray[Any]], trials: int) -> npt.NDArray[np.float32]:
    """Join along the first axis into one array, the last axis (trials) padded with NaN."""
    shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:-1], trials)
    joined = np.full(shape, np.nan, dtype=np.float32)
    first = 0
    for array in arrays:
        joined[first : first + len(array), ..., : array.shape[-1]] = array
        first += len(array)
    return joined
