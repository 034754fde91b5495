"""Sweeps of a session, and means over windows after them by one cumulative sum per trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alignment._validation import fail
from neural_alignment import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BLANK", "Sweeps", "WindowSums", "sweep_table", "window_means"]

FloatArray = npt.NDArray[np.float64]

BLANK = -1
"""The frame number of the blank."""


@dataclass(frozen=True)
class Sweeps:
    """The sweeps of a session in order of presentation, each numbered within its scene.

    Attributes
    ----------
    frame : (sweep,) int array
        Scene shown, -1 the blank.
    start : (sweep,) int array
        First frame of the sweep in the traces.
    trial : (sweep,) int array
        How many times this scene had been shown before.
    scenes, trials : int
        Number of scenes, and the most times that one of them (or the blank) was shown.
    length : int
        Frames of one sweep, as AllenSDK counts it.
    """

    frame: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    trial: npt.NDArray[np.int64]
    scenes: int
    trials: int
    length: int


def sweep_table(table: pd.DataFrame, scenes: int | None = None) -> Sweeps:
    """Read and number the sweeps of AllenSDK's natural-scenes table.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns frame, start, end, as from ``Session.natural_scenes``.
    scenes : int, optional
        Number of scenes; by default one more than the highest frame.

    Returns
    -------
    Sweeps

    Raises
    ------
    DataError
        If the table shows no scene.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"frame": [1, -1, 0, 1], "start": [10, 17, 25, 32], "end": [17, 25, 32, 39]})
    >>> sweeps = sweep_table(table)
    >>> sweeps.scenes, sweeps.trials, sweeps.trial.tolist()
    (2, 2, [0, 0, 0, 1])
    """
    order = np.argsort(table["start"].to_numpy(), kind="stable")
    frame = table["frame"].to_numpy(dtype=np.int64)[order]
    start = table["start"].to_numpy(dtype=np.int64)[order]
    end = table["end"].to_numpy(dtype=np.int64)[order]
    if not (frame >= 0).any():
        raise DataError("The natural-scenes table shows no scene. Choose another session.")
    if frame.min() < BLANK or (scenes is not None and frame.max() >= scenes):
        raise DataError(
            f"The natural-scenes table shows frames {frame.min()}..{frame.max()}, but the template holds "
            f"{scenes} scenes. The file is damaged: fetch it again."
        )
    by_frame = np.argsort(frame, kind="stable")
    _, first, counts = np.unique(frame[by_frame], return_index=True, return_counts=True)
    trial = np.empty(len(frame), dtype=np.int64)
    trial[by_frame] = np.arange(len(frame)) - np.repeat(first, counts)
    return Sweeps(
        frame=frame,
        start=start,
        trial=trial,
        scenes=int(frame.max()) + 1 if scenes is None else scenes,
        trials=int(counts.max()),
        # AllenSDK takes the length of the second sweep for all of them.
        length=int(end[min(1, len(end) - 1)] - start[min(1, len(start) - 1)]),
    )


class WindowSums:
    """Cumulative sums of a block of traces, from which the mean over any window is two look-ups.

    Sums are kept in float64: over 115,000 frames float32 would lose the fourth digit of a window's mean.

    Parameters
    ----------
    traces : (cell, frame) array
        Values that are not finite count as gaps.
    """

    def __init__(self, traces: npt.NDArray[Any]) -> None:
        self.frames = traces.shape[1]
        finite = np.isfinite(traces)
        self.whole = bool(finite.all())
        filled = traces if self.whole else np.where(finite, traces, 0.0)
        # Less its mean the sum stays near zero instead of climbing, and keeps some three digits more.
        self.centre: FloatArray = filled.mean(axis=1, dtype=np.float64, keepdims=True)
        self.sums: FloatArray = np.zeros((len(traces), self.frames + 1))
        np.subtract(filled, self.centre, out=self.sums[:, 1:])
        np.cumsum(self.sums[:, 1:], axis=1, out=self.sums[:, 1:])
        self.gaps = None if self.whole else _count(~finite)

    def means(self, starts: npt.NDArray[np.int64], first: int, last: int) -> FloatArray:
        """Mean of frames start+first .. start+last-1, (cell, sweep); NaN off the recording or over a gap."""
        begin, end = starts + first, starts + last
        inside = (begin >= 0) & (end <= self.frames)
        begin, end = np.where(inside, begin, 0), np.where(inside, end, 0)
        means: FloatArray = (np.take(self.sums, end, axis=1) - np.take(self.sums, begin, axis=1)) / (last - first)
        means += self.centre
        means[:, ~inside] = np.nan
        if self.gaps is not None:
            means[np.take(self.gaps, end, axis=1) != np.take(self.gaps, begin, axis=1)] = np.nan
        return means


def _count(gaps: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.zeros((gaps.shape[0], gaps.shape[1] + 1), dtype=np.int64)
    np.cumsum(gaps, axis=1, out=counts[:, 1:])
    return counts


def window_means(traces: npt.ArrayLike, starts: npt.ArrayLike, first: int, last: int) -> FloatArray:
    """Average every trace over a window after every start.

    Parameters
    ----------
    traces : (cell, frame) array
    starts : (sweep,) int array
        Frame that the window is counted from.
    first, last : int
        The window: frames ``start + first`` to ``start + last - 1``.

    Returns
    -------
    (cell, sweep) float64 array
        NaN where the window leaves the recording or holds a value that is not finite.

    Examples
    --------
    >>> window_means([[0.0, 1.0, 2.0, 3.0]], [0, 2], 0, 2)
    array([[0.5, 2.5]])
    """
    if last <= first:
        raise fail("last", "window_means", "greater than 'first'", (first, last))
    return WindowSums(np.asarray(traces)).means(np.asarray(starts, dtype=np.int64), first, last)
