"""One simulated two-photon recording: what was shown when, how the mouse ran, and the cells' fluorescence.

Time runs in frames of 1/30 s. Scenes and blanks (118 + 1, each ``trials`` times) follow one another at once
in random order, 0.25 s each, in three stretches with grey screen before, between and after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.stats import f as f_distribution

from alignment.brain._neuron_model import Cells
from alignment.brain._scenes import SCENE_COUNT

__all__ = [
    "FRAME_RATE",
    "Kernel",
    "Session",
    "Traces",
    "draw_session",
    "draw_traces",
    "expected_dff",
    "kernel_of",
    "mean_sweep_response",
    "natural_scene_metrics",
]

Array = npt.NDArray[np.float64]

FRAME_RATE = 30.0
SWEEP_FRAMES = 7
_SWEEP_STEP = 7.5
_LEAD, _PAUSE, _TAIL = 300, 240, 300

# Trial-to-trial gain: shape of two gamma distributions, one shared by all cells of a sweep, one a cell's own.
_SHARED_SHAPE, _OWN_SHAPE = 8.0, 2.0
# A running mouse's responses are larger by this share at 10 cm/s and above.
_RUNNING_GAIN = 0.4


class Kernel(NamedTuple):
    """The rise and decay in s of the fluorescence after one event (peak 1)."""

    rise: float
    decay: float


# Time constants near those that Chen et al. 2013 (Nature) measured in mouse visual cortex.
_KERNELS = {"GCaMP6f": Kernel(0.05, 0.40), "GCaMP6s": Kernel(0.15, 1.00)}


def kernel_of(indicator: str) -> Kernel:
    """Return the kernel of an indicator, GCaMP6f or GCaMP6s."""
    return _KERNELS[indicator]


@dataclass(frozen=True)
class Session:
    """What all cells of a recording share.

    Attributes
    ----------
    frame : (sweep,) scene shown, -1 the blank
    sweeps : (sweep, 2) first frame of each sweep and the frame after its last
    grey : (interval, 2) frames of the grey screen before and between the stretches
    timestamps : (frame,) s
    running : (frame,) cm/s
    gain : (sweep,) gain that all cells share
    neuropil : (frame,) the neuropil's relative fluctuation
    """

    frame: npt.NDArray[np.int64]
    sweeps: npt.NDArray[np.int64]
    grey: npt.NDArray[np.int64]
    timestamps: Array
    running: Array
    gain: Array
    neuropil: Array


@dataclass(frozen=True)
class Traces:
    """Traces (cell, frame) float32 of some cells."""

    dff: npt.NDArray[np.float32]
    demixed: npt.NDArray[np.float32]
    neuropil: npt.NDArray[np.float32]


def draw_session(trials: int, rng: np.random.Generator) -> Session:
    """Draw the order of the scenes, the running and what the cells share."""
    order = rng.permutation(np.repeat(np.arange(-1, SCENE_COUNT), trials)).astype(np.int64)
    sweeps, grey, frames = _timeline(len(order))
    running = _running(frames, rng)
    speed = np.clip(running[sweeps[:, 0]] / 10.0, 0.0, 1.0)
    gain = rng.gamma(_SHARED_SHAPE, 1.0 / _SHARED_SHAPE, len(order)) * (1.0 + _RUNNING_GAIN * speed)
    slow = _smooth_noise(frames, 0.04, 2.0, rng)
    return Session(
        frame=order,
        sweeps=sweeps,
        grey=grey,
        timestamps=9.0 + rng.uniform(0, 1) + np.arange(frames) / FRAME_RATE,
        running=running,
        gain=gain,
        neuropil=slow + 0.05 * np.clip(running / 20.0, 0.0, 1.0),
    )


def draw_traces(cells: Cells, outputs: Array, session: Session, kernel: Kernel, rng: np.random.Generator) -> Traces:
    """Draw the traces of some cells.

    Parameters
    ----------
    cells : Cells
    outputs : (cell, scene) array
        As `alignment.brain._neuron_model.scene_outputs` returns.
    session : Session
    kernel : Kernel
    rng : numpy.random.Generator

    Returns
    -------
    Traces
        ``demixed - r * neuropil`` is the corrected fluorescence: ``baseline * (1 + dff)``, slowly bleaching.
    """
    count, frames = len(cells), len(session.timestamps)
    rate = _rates(cells, outputs, session, rng)
    number = rng.poisson(rate / FRAME_RATE)
    size = np.zeros((count, frames))
    hit = np.nonzero(number)
    size[hit] = rng.gamma(number[hit]) * cells.event[hit[0]]
    dff = _convolve(size, kernel)
    dff -= np.median(dff, axis=1, keepdims=True)
    dff += cells.noise[:, None] * rng.standard_normal((count, frames), dtype=np.float32)
    dff = np.maximum(dff, -0.9)
    bleaching = 1.0 - 0.08 * np.arange(frames) / frames
    own = 1.0 + 0.01 * rng.standard_normal((count, frames), dtype=np.float32)
    level = rng.uniform(0.35, 0.65, count) * cells.baseline
    neuropil = (level[:, None] * (1.0 + session.neuropil) * own).astype(np.float32)
    signal = cells.baseline[:, None] * bleaching * (1.0 + dff)
    demixed = signal + cells.neuropil_r[:, None] * neuropil
    return Traces(dff.astype(np.float32), demixed.astype(np.float32), neuropil)


def natural_scene_metrics(
    frame: npt.NDArray[np.int64], onsets: npt.NDArray[np.int64], corrected: Array
) -> list[dict[str, float | int]]:
    """Work out the metrics that the API serves of a cell's responses to natural scenes.

    Parameters
    ----------
    frame : (sweep,) array
        The scene shown, -1 the blank; each equally often.
    onsets : (sweep,) array
        First frame of each sweep.
    corrected : (cell, frame) array
        Neuropil-corrected fluorescence.

    Returns
    -------
    list of dict
        For each cell ``pref_image_ns``, ``peak_dff_ns`` (%) and ``p_ns`` (one-way analysis of variance over
        scenes and blank), as AllenSDK's NaturalScenes defines them.
    """
    response = mean_sweep_response(corrected, onsets)
    groups = [response[:, frame == scene] for scene in range(-1, SCENE_COUNT)]
    means = np.stack([group.mean(1) for group in groups], axis=1)
    size, count = groups[0].shape[1], len(groups)
    between = size * means.var(1, ddof=1)
    p = np.full(len(means), np.nan)
    if size > 1:
        within = np.mean([group.var(1, ddof=1) for group in groups], axis=0)
        p = f_distribution.sf(between / within, count - 1, count * (size - 1))
    best = means[:, 1:].argmax(1)
    return [
        {
            "pref_image_ns": int(best[cell]),
            "peak_dff_ns": float(means[cell, 1 + best[cell]]),
            **({"p_ns": float(p[cell])} if np.isfinite(p[cell]) else {}),
        }
        for cell in range(len(means))
    ]


def mean_sweep_response(traces: Array, onsets: npt.NDArray[np.int64]) -> Array:
    """Return AllenSDK's response of each cell to each sweep in %, (cell, sweep).

    The mean of the 14 frames from onset over the mean of the 28 before it, less one.
    """
    total = np.concatenate([np.zeros((len(traces), 1)), np.cumsum(traces, axis=1, dtype=np.float64)], axis=1)
    during = (total[:, onsets + 2 * SWEEP_FRAMES] - total[:, onsets]) / (2 * SWEEP_FRAMES)
    before = (total[:, onsets] - total[:, onsets - 4 * SWEEP_FRAMES]) / (4 * SWEEP_FRAMES)
    return np.asarray(100.0 * (during / before - 1.0))


def expected_dff(cells: Cells, outputs: Array, kernel: Kernel, window: float = 0.5) -> tuple[Array, Array]:
    """Return the noise-free response to each scene and to the blank: mean dF/F from onset to ``window`` s.

    One presentation on its own, at rest and at a gain of one, above the level without a stimulus.

    Returns
    -------
    (cell, scene) array
        Response to each scene.
    (cell,) array
        Response to the blank: zero, by the definition of the level.
    """
    frames = round(window * FRAME_RATE)
    shown = np.arange(frames)[None, :] - cells.latency[:, None]
    on = ((shown >= 0) & (shown < _SWEEP_STEP)).astype(np.float64)
    per_event = _convolve(on / FRAME_RATE, kernel).mean(1)
    return (cells.gain * cells.event * per_event)[:, None] * outputs, np.zeros(len(cells))


def _timeline(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    sweeps, grey, start = [], [], 0
    for part in np.array_split(np.arange(count), 3):
        before = _LEAD if start == 0 else _PAUSE
        grey.append((start, start + before))
        first = start + before + np.floor(np.arange(len(part)) * _SWEEP_STEP).astype(np.int64)
        sweeps.append(np.stack([first, first + SWEEP_FRAMES], axis=1))
        start = int(first[-1]) + 8
    return np.concatenate(sweeps), np.asarray(grey, dtype=np.int64), start + _TAIL


def _rates(cells: Cells, outputs: Array, session: Session, rng: np.random.Generator) -> Array:
    """Return each cell's rate of events (cell, frame) per s."""
    frames = len(session.timestamps)
    sweep_of = np.full(frames, -1, dtype=np.int64)
    following = np.append(session.sweeps[1:, 0], session.sweeps[-1, 1])
    ends = np.minimum(following, session.sweeps[:, 0] + 8)
    for offset in range(8):
        shown = session.sweeps[:, 0] + offset
        inside = shown < ends
        sweep_of[shown[inside]] = np.nonzero(inside)[0]
    by_frame = np.concatenate([outputs, np.zeros((len(cells), 1))], axis=1)  # column -1: the blank
    own = rng.gamma(_OWN_SHAPE, 1.0 / _OWN_SHAPE, (len(cells), len(session.frame)))
    evoked = by_frame[:, session.frame] * own * session.gain * cells.gain[:, None]
    evoked = np.concatenate([evoked, np.zeros((len(cells), 1))], axis=1)  # column -1: the grey screen
    rate = np.empty((len(cells), frames))
    for cell, latency in enumerate(cells.latency):
        rate[cell, latency:] = evoked[cell, sweep_of[: frames - latency]]
        rate[cell, :latency] = 0.0
    return np.asarray(rate + cells.spontaneous[:, None])


def _convolve(events: Array, kernel: Kernel) -> Array:
    """Filter events with the difference of two exponentials whose peak is 1."""
    fast, slow = (np.exp(-1.0 / (FRAME_RATE * tau)) for tau in (kernel.rise, kernel.decay))
    times = np.arange(round(FRAME_RATE * 2))
    peak = float((slow**times - fast**times).max())
    return np.asarray(lfilter([0.0, (slow - fast) / peak], [1.0, -(slow + fast), slow * fast], events, axis=-1))


def _running(frames: int, rng: np.random.Generator) -> Array:
    """Return a running speed: bouts of some seconds at 5 to 40 cm/s, rest between them, jitter throughout."""
    speed = np.zeros(frames)
    at = 0
    while at < frames:
        at += int(rng.exponential(20.0) * FRAME_RATE) + 1
        length = int(rng.exponential(8.0) * FRAME_RATE) + 15
        speed[at : at + length] = rng.uniform(5.0, 40.0)
        at += length
    smooth = lfilter([0.08], [1.0, -0.92], speed)
    return np.asarray(smooth + rng.normal(0.0, 0.4, frames))


def _smooth_noise(frames: int, deviation: float, seconds: float, rng: np.random.Generator) -> Array:
    keep = np.exp(-1.0 / (FRAME_RATE * seconds))
    white = rng.standard_normal(frames) * deviation * np.sqrt(1.0 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], white))
