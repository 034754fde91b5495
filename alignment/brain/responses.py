"""Trial responses to natural scenes from fluorescence traces, by one cumulative sum per trace."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from alignment._validation import check_choice, check_number, fail
from alignment.brain.catalogue import EXPERIMENT_COORDINATES
from alignment.brain.joining import join_sessions
from alignment.brain.quality import split_half_reliability
from alignment.brain.sweeps import Sweeps, WindowSums, sweep_table, window_means
from neural_alignment import DataError

if TYPE_CHECKING:
    from alignment.brain.observatory import Session

__all__ = ["CELL_COORDINATES", "join_sessions", "split_half_reliability", "trial_responses"]

FloatArray = npt.NDArray[np.float64]
Method = Literal["dff", "mean_sweep_response"]
METHODS = ("dff", "mean_sweep_response")

CELL_COORDINATES = ("cell_specimen_id", "experiment_id", *EXPERIMENT_COORDINATES)
"""What every cell carries from here to the tables."""

_log = logging.getLogger(__name__)


def trial_responses(
    session: Session,
    window: tuple[float, float] = (0.0, 0.5),
    method: Method = "dff",
    *,
    peak_window: tuple[float, float] = (0.0, 1.0),
    stationary_below: float | None = None,
    unusable: Literal["drop", "raise"] = "drop",
    block: int = 32,
) -> xr.Dataset:
    """Compute the response of every cell of a session to every presentation of every natural scene.

    Sweeps follow one another every 0.25 s in random order, so a window of 0.5 s reaches into the next sweep:
    it is the calcium signal's delay that it waits for, and what the next scene adds averages out over trials.

    Parameters
    ----------
    session : Session
        From ``Observatory.session``.
    window : (float, float)
        Response window in s from the onset of the scene, for ``method="dff"``.
    method : {"dff", "mean_sweep_response"}
        Mean dF/F in the window; or AllenSDK's own measure, 100·(mean corrected fluorescence of two sweep
        lengths from onset / mean of the four before - 1) in %, for which AllenSDK fixes the window.
    peak_window : (float, float)
        Where `peak` and `time_to_peak` are looked for, s from onset, in the trace averaged over a scene's
        trials.
    stationary_below : float, optional
        Keep only trials in which the mouse ran slower than this on average, cm/s (AllenSDK's limit is 1).
        Trials without a recorded speed are left out too.
    unusable : {"drop", "raise"}
        What to do with cells whose trace is constant or holds no finite value: leave them out and count them,
        or refuse the session.
    block : int
        Cells read at a time; memory is some 3 MB per cell of the block for an hour at 30 Hz.

    Returns
    -------
    xarray.Dataset
        ``response`` (cell, scene, trial) and ``blank`` (cell, trial) float32, NaN where missing; ``peak`` and
        ``time_to_peak`` in s (cell, scene). Coordinates: `CELL_COORDINATES` and the API's metrics, where at
        hand, by cell, ``running_speed``
        (scene, trial) and ``blank_running_speed`` (trial) in cm/s. Attributes: simulated (0 or 1), method,
        window, peak_window, units, frame_rate_hz, missing_trials (presented but without a value, over all
        cells), moving_trials (left out by `stationary_below`), dropped_nan and dropped_constant (cells).

    Raises
    ------
    InputError
        For a parameter out of its limits.
    DataError
        If the file is damaged, showed no natural scenes, or holds no usable cell.

    Examples
    --------
    >>> from alignment.brain.observatory import Observatory
    >>> responses = trial_responses(Observatory("observatory").session(501498760))  # doctest: +SKIP
    """
    check_choice(method, "method", "trial_responses", METHODS)
    check_choice(unusable, "unusable", "trial_responses", ("drop", "raise"))
    timestamps = session.timestamps()
    rate = _frame_rate(timestamps, session)
    sweeps = sweep_table(session.natural_scenes(), session.scene_count)
    frames = _window_frames(window, rate, "window")
    if method == "mean_sweep_response":
        frames = (0, 2 * sweeps.length)
    peak_frames = _window_frames(peak_window, rate, "peak_window")

    speed = _running_by_sweep(session, sweeps, frames)
    still = _stationary(speed, stationary_below)
    dropped = {"nan": 0, "constant": 0}
    values, kept = _stream(session, sweeps, still, frames, peak_frames, rate, method, block, dropped)
    _report_dropped(session, dropped, unusable, any_left=bool(kept.any()))
    return _dataset(
        session,
        sweeps,
        values,
        kept,
        speed,
        {
            "method": method,
            "units": "dF/F" if method == "dff" else "% of the fluorescence before onset",
            "window": [frames[0] / rate, frames[1] / rate] if method != "dff" else [float(edge) for edge in window],
            "peak_window": [float(edge) for edge in peak_window],
            "frame_rate_hz": rate,
            "stationary_below": "" if stationary_below is None else float(stationary_below),
            "moving_trials": int((~still & (sweeps.frame >= 0)).sum()),
            "dropped_nan": dropped["nan"],
            "dropped_constant": dropped["constant"],
        },
        still,
    )


def _stream(
    session: Session,
    sweeps: Sweeps,
    still: npt.NDArray[np.bool_],
    frames: tuple[int, int],
    peak_frames: tuple[int, int],
    rate: float,
    method: Method,
    block: int,
    dropped: dict[str, int],
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.bool_]]:
    """Read the traces block by block; return the usable cells' values, and which cells are usable."""
    kind: Literal["dff", "corrected_fluorescence"] = "dff" if method == "dff" else "corrected_fluorescence"
    count = len(session.timestamps())
    parts: list[dict[str, npt.NDArray[Any]]] = []
    kept: list[npt.NDArray[np.bool_]] = [np.zeros(0, dtype=bool)]
    for cells, traces in session.trace_blocks(kind, block):
        if traces.shape[1] != count:
            raise DataError(
                f"{session.path} holds {traces.shape[1]} frames of traces for {count} time stamps in cells "
                f"{cells.start}..{cells.stop - 1}. The file is damaged: delete it and fetch it again."
            )
        usable = _usable(traces, dropped)
        kept.append(usable)
        if usable.any():
            whole = traces if usable.all() else traces[usable]
            parts.append(_respond(whole, sweeps, still, frames, peak_frames, rate, method))
    names = parts[0] if parts else {}
    return {name: np.concatenate([part[name] for part in parts]) for name in names}, np.concatenate(kept)


def _respond(
    traces: npt.NDArray[Any],
    sweeps: Sweeps,
    still: npt.NDArray[np.bool_],
    frames: tuple[int, int],
    peak_frames: tuple[int, int],
    rate: float,
    method: str,
) -> dict[str, npt.NDArray[Any]]:
    """Responses, blanks and peaks of one block of cells."""
    sums = WindowSums(traces)
    means = sums.means(sweeps.start, *frames)
    baseline = None
    if method == "mean_sweep_response":
        baseline = sums.means(sweeps.start, -4 * sweeps.length, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = 100.0 * (means / baseline - 1.0)
        means[~np.isfinite(means)] = np.nan
    means[:, ~still] = np.nan

    shown = sweeps.frame >= 0
    response = np.full((len(traces), sweeps.scenes, sweeps.trials), np.nan, dtype=np.float32)
    response[:, sweeps.frame[shown], sweeps.trial[shown]] = means[:, shown]
    blank = np.full((len(traces), sweeps.trials), np.nan, dtype=np.float32)
    blank[:, sweeps.trial[~shown]] = means[:, ~shown]
    peak, frame_of_peak = _peaks(traces, sweeps, still, peak_frames, baseline)
    return {
        "response": response,
        "blank": blank,
        "peak": peak.astype(np.float32),
        "time_to_peak": np.where(np.isnan(peak), np.nan, frame_of_peak / rate).astype(np.float32),
    }


def _peaks(
    traces: npt.NDArray[Any],
    sweeps: Sweeps,
    still: npt.NDArray[np.bool_],
    frames: tuple[int, int],
    baseline: FloatArray | None,
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Highest point of the trace averaged over a scene's trials: (cell, scene), and its frame from onset."""
    first, last = frames
    usable = still & (sweeps.frame >= 0) & (sweeps.start + first >= 0) & (sweeps.start + last <= traces.shape[1])
    chosen = np.flatnonzero(usable)
    chosen = chosen[np.argsort(sweeps.frame[chosen], kind="stable")]
    scenes, offsets = np.unique(sweeps.frame[chosen], return_index=True)
    peak = np.full((len(traces), sweeps.scenes), np.nan)
    where = np.zeros((len(traces), sweeps.scenes), dtype=np.int64)
    if not len(chosen):
        return peak, where
    starts = sweeps.start[chosen] + first
    shown = np.diff(np.append(offsets, len(chosen)))[:, None]
    for cell, trace in enumerate(traces):
        # Rows of a sliding view are copied whole, which is several times faster than single frames by index.
        windows = np.lib.stride_tricks.sliding_window_view(trace, last - first)[starts]
        if baseline is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                windows = 100.0 * (windows / baseline[cell, chosen][:, None] - 1.0)
        total = np.add.reduceat(windows, offsets, axis=0, dtype=np.float64)
        count: Any = shown
        if not np.isfinite(total).all():
            good = np.isfinite(windows)
            total = np.add.reduceat(np.where(good, windows, 0.0), offsets, axis=0, dtype=np.float64)
            count = np.add.reduceat(good, offsets, axis=0, dtype=np.int64)
        with np.errstate(invalid="ignore"):
            average = np.where(count > 0, total / count, -np.inf)
        highest = average.argmax(axis=1)
        value = average[np.arange(len(scenes)), highest]
        peak[cell, scenes] = np.where(np.isfinite(value), value, np.nan)
        where[cell, scenes] = first + highest
    return peak, where


def _usable(traces: npt.NDArray[Any], dropped: dict[str, int]) -> npt.NDArray[np.bool_]:
    """Which traces vary; the others are counted by reason."""
    finite = np.isfinite(traces)
    some = finite.any(axis=1)
    low = np.min(traces, axis=1, where=finite, initial=np.inf)
    high = np.max(traces, axis=1, where=finite, initial=-np.inf)
    varies = some & (high > low)
    dropped["nan"] += int((~some).sum())
    dropped["constant"] += int((some & ~varies).sum())
    return np.asarray(varies)


def _report_dropped(session: Session, dropped: Mapping[str, int], unusable: str, *, any_left: bool) -> None:
    total = sum(dropped.values())
    if total == 0 and any_left:
        return
    what = (
        f"Experiment {session.experiment_id} ({session.path}) has {_cells(dropped['nan'])} without a finite value "
        f"and {_cells(dropped['constant'])} with a constant trace"
    )
    if not any_left:
        raise DataError(f"{what}, and no other cell. Leave this session out, or fetch its file again.")
    if unusable == "raise":
        raise DataError(f"{what}. Fetch the file again, or leave these cells out with unusable='drop'.")
    _log.warning("%s: %s left out.", what, "it is" if total == 1 else "they are")


def _cells(count: int) -> str:
    return {0: "no cell", 1: "1 cell"}.get(count, f"{count} cells")


def _frame_rate(timestamps: FloatArray, session: Session) -> float:
    steps = np.diff(timestamps)
    if len(timestamps) < 2 or not np.isfinite(steps).all() or (steps <= 0).any():
        raise DataError(f"The time stamps of {session.path} do not rise. The file is damaged: fetch it again.")
    return float(1.0 / np.median(steps))


def _window_frames(window: tuple[float, float], rate: float, name: str) -> tuple[int, int]:
    try:
        low, high = window
    except (TypeError, ValueError):
        raise fail(name, "trial_responses", "a pair of seconds (from, to)", window) from None
    low = check_number(low, name, "trial_responses", low=-10, high=10)
    high = check_number(high, name, "trial_responses", low=-10, high=10)
    first, last = round(low * rate), round(high * rate)
    if last <= first:
        raise fail(name, "trial_responses", f"at least one frame ({1 / rate:.3f} s) long", window)
    return first, last


def _running_by_sweep(session: Session, sweeps: Sweeps, frames: tuple[int, int]) -> FloatArray:
    """Mean speed over the response window of every sweep, cm/s; frames without a speed are left out."""
    try:
        _, speed = session.running_speed()
    except DataError as error:
        _log.warning("Running speed is taken as unknown: %s", error)
        return np.full(len(sweeps.start), np.nan)
    known = np.isfinite(speed)
    both = np.stack([np.where(known, speed, 0.0), known.astype(np.float64)])
    total, share = window_means(both, sweeps.start, *frames)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share > 0, total / share, np.nan)


def _stationary(speed: FloatArray, below: float | None) -> npt.NDArray[np.bool_]:
    if below is None:
        return np.ones(len(speed), dtype=bool)
    limit = check_number(below, "stationary_below", "trial_responses", low=0, open_low=True)
    with np.errstate(invalid="ignore"):
        still = np.abs(speed) < limit
    if not still.any():
        raise DataError(
            f"No trial has a running speed below {limit} cm/s. Raise 'stationary_below' or leave this session out."
        )
    return np.asarray(still)


def _dataset(
    session: Session,
    sweeps: Sweeps,
    values: Mapping[str, npt.NDArray[Any]],
    kept: npt.NDArray[np.bool_],
    speed: FloatArray,
    attrs: Mapping[str, Any],
    still: npt.NDArray[np.bool_],
) -> xr.Dataset:
    shown = sweeps.frame >= 0
    by_trial = np.full((sweeps.scenes, sweeps.trials), np.nan, dtype=np.float32)
    by_trial[sweeps.frame[shown], sweeps.trial[shown]] = speed[shown]
    on_blank = np.full(sweeps.trials, np.nan, dtype=np.float32)
    on_blank[sweeps.trial[~shown]] = speed[~shown]
    cells = session.cells[kept]
    ids = cells["cell_specimen_id"].to_numpy(dtype=np.int64)
    coordinates: dict[str, Any] = {
        name: ("cell", np.full(len(ids), session.metadata[name])) for name in CELL_COORDINATES[1:]
    }
    for name in cells.columns[1:]:
        coordinates[name] = ("cell", cells[name].to_numpy(dtype=np.float32, na_value=np.nan))
    valid = np.isfinite(values["response"]).sum()
    missing = int(len(ids) * (still & shown).sum() - valid)
    return xr.Dataset(
        {
            "response": (("cell", "scene", "trial"), values["response"]),
            "blank": (("cell", "trial"), values["blank"]),
            "peak": (("cell", "scene"), values["peak"]),
            "time_to_peak": (("cell", "scene"), values["time_to_peak"], {"units": "s"}),
        },
        coords={
            "cell_specimen_id": ("cell", ids),
            **coordinates,
            "scene": np.arange(sweeps.scenes),
            "trial": np.arange(sweeps.trials),
            "running_speed": (("scene", "trial"), by_trial, {"units": "cm/s"}),
            "blank_running_speed": ("trial", on_blank, {"units": "cm/s"}),
        },
        attrs={**attrs, "simulated": int(session.simulated), "missing_trials": missing},
    )
