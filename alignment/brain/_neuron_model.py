"""The model neurons of the simulated observatory: from a scene to an expected rate of calcium events.

Each cell has a Gabor filter in visual space (position, orientation, spatial frequency, phase, size). On a
scene, its

1. **drive** is ``D = (1 - c) 2 max(a, 0)² + c (a² + b²)``, where ``a`` and ``b`` are the responses of the
   filter and its quadrature twin and ``c`` in [0, 1] is the cell's complexity: 0 a simple cell, 1 a
   phase-invariant energy unit (Adelson and Bergen 1985, J Opt Soc Am A);
2. **normalised response** is ``R = D / (s² + P)``, with ``P`` the contrast energy in a Gaussian window about
   the filter (divisive normalisation: Heeger 1992, Vis Neurosci);
3. **output** depends on the class. Excitatory: ``max(0, (R - t) / (max R - t))^1.5``, with the threshold
   ``t`` at a high quantile of R over the scenes, so that a cell answers few of them. Inhibitory: mostly the
   saturating contrast ``P / (s² + P)`` of a larger window, and a quarter of it its own R, above a low
   threshold: broad tuning.

Areas differ in preferred spatial frequency, and with it in receptive field size: VISp and VISpm fine, VISal,
VISrl and VISam coarse, in the order that Marshel et al. 2011 and Andermann et al. 2011 (both Neuron) found;
the values are this model's own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from alignment.brain._donors import Place
from alignment.brain._scenes import VIEW_SHAPE

__all__ = ["DEGREES_PER_PIXEL", "Cells", "draw_cells", "gabor_filters", "scene_outputs"]

Array = npt.NDArray[np.float64]

# The screen spans about 120 degrees of visual angle, and a view is 130 pixels wide.
DEGREES_PER_PIXEL = 120.0 / VIEW_SHAPE[1]

# Median preferred spatial frequency in cycles per degree, and by how many frames an area answers after VISp.
_AREAS: dict[str, tuple[float, int]] = {
    "VISp": (0.075, 0),
    "VISl": (0.058, 1),
    "VISal": (0.042, 1),
    "VISrl": (0.038, 1),
    "VISam": (0.048, 1),
    "VISpm": (0.085, 1),
}

# Contrast (standard deviation of a view's values in a window) at which normalisation is half of its effect.
_HALF_CONTRAST = 0.10
_INHIBITORY_WINDOW = {"Pvalb-IRES-Cre": 2.5, "Sst-IRES-Cre": 3.5, "Vip-IRES-Cre": 2.0}


@dataclass(frozen=True)
class Cells:
    """Parameters of the cells of one session; every field is an array over cells.

    Attributes
    ----------
    x, y : centre of the filter as a fraction of the scene's width and height
    orientation : radians; 0 is a filter whose bars are vertical
    frequency : preferred spatial frequency, cycles per degree
    phase : radians
    size : standard deviation of the filter's envelope, degrees
    complexity : 0 simple, 1 complex
    window : standard deviation of the normalising window in units of ``size``
    sparseness : fraction of scenes below threshold
    gain : expected rate of events at the best scene, per s
    spontaneous : rate of events without a stimulus, per s
    event : mean dF/F of one event at its peak
    latency : frames from the onset of a scene to the change of rate
    noise : standard deviation of the dF/F noise of one frame
    baseline : fluorescence at rest, arbitrary units
    neuropil_r : share of the neuropil's fluorescence in the cell's
    """

    x: Array
    y: Array
    orientation: Array
    frequency: Array
    phase: Array
    size: Array
    complexity: Array
    window: Array
    sparseness: Array
    gain: Array
    spontaneous: Array
    event: Array
    latency: npt.NDArray[np.int64]
    noise: Array
    baseline: Array
    neuropil_r: Array

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, block: slice) -> Cells:
        return Cells(**{field.name: getattr(self, field.name)[block] for field in fields(self)})


def draw_cells(count: int, place: Place, rng: np.random.Generator) -> Cells:
    """Draw the cells of a session from the distributions of its area and class."""
    frequency, delay = _AREAS[place.area]
    inhibitory = place.inhibitory

    def spread(median: float, sigma: float) -> Array:
        return np.asarray(median * np.exp(rng.normal(0.0, sigma, count)))

    preferred = np.clip(spread(frequency * (0.6 if inhibitory else 1.0), 0.35), 0.015, 0.25)
    # An envelope of 0.4 cycles: a bandwidth of about 1.4 octaves; inhibitory filters are rounder and larger.
    size = np.clip(0.4 / preferred * (1.3 if inhibitory else 1.0), 2.0, 16.0)
    return Cells(
        x=rng.uniform(0.15, 0.85, count),
        y=rng.uniform(0.15, 0.85, count),
        orientation=rng.uniform(0.0, np.pi, count),
        frequency=preferred,
        phase=rng.uniform(0.0, 2 * np.pi, count),
        size=size,
        complexity=rng.beta(2.0, 1.0, count) if inhibitory else rng.beta(0.8, 0.8, count),
        window=np.full(count, _INHIBITORY_WINDOW.get(place.genotype.cre_line, 1.5)),
        sparseness=rng.uniform(0.0, 0.2, count) if inhibitory else rng.beta(8.0, 1.6, count),
        gain=spread(5.0, 0.7) if inhibitory else spread(1.7, 1.2),
        spontaneous=spread(0.35, 0.5) if inhibitory else spread(0.05, 0.8),
        event=spread(0.09, 0.35) if inhibitory else spread(0.25, 0.45),
        latency=rng.integers(2, 4, count) + delay,
        noise=spread(0.060, 0.30),
        baseline=spread(900.0, 0.35),
        neuropil_r=rng.uniform(0.3, 0.9, count),
    )


def gabor_filters(cells: Cells, shape: tuple[int, int] = VIEW_SHAPE, phase: float = 0.0) -> npt.NDArray[np.float32]:
    """Draw the cells' filters on a grid that spans the scene.

    Parameters
    ----------
    cells : Cells
    shape : (int, int)
        Rows and columns of the grid.
    phase : float
        Added to each cell's own; pi / 2 gives the quadrature twin.

    Returns
    -------
    (cell, y, x) float32 array
        Each of mean 0 (a uniform screen drives no cell) and length 1.
    """
    across, down = _offsets(cells, shape)
    along = across * np.cos(cells.orientation)[:, None, None] + down * np.sin(cells.orientation)[:, None, None]
    envelope = _window(across, down, cells.size)
    carrier = np.cos(2 * np.pi * cells.frequency[:, None, None] * along + (cells.phase + phase)[:, None, None])
    filters = envelope * carrier
    # Take out the mean within the envelope, so that the filter stays local.
    filters -= envelope * (filters.sum((1, 2)) / envelope.sum((1, 2)))[:, None, None]
    filters /= np.sqrt((filters**2).sum((1, 2)))[:, None, None]
    return np.asarray(filters, dtype=np.float32)


def scene_outputs(cells: Cells, views: npt.NDArray[np.float32], inhibitory: bool) -> Array:
    """Return each cell's output to each scene, (cell, scene) in [0, 1]; a uniform grey screen gives 0.

    The cells are worked through some at a time: memory does not grow with their number.
    """
    step = 64
    blocks = [_outputs(cells[slice(first, first + step)], views, inhibitory) for first in range(0, len(cells), step)]
    return np.concatenate(blocks) if blocks else np.empty((0, len(views)))


def _outputs(cells: Cells, views: npt.NDArray[np.float32], inhibitory: bool) -> Array:
    flat = (views - 0.5).reshape(len(views), -1)
    linear = gabor_filters(cells).reshape(len(cells), -1) @ flat.T
    twin = gabor_filters(cells, phase=np.pi / 2).reshape(len(cells), -1) @ flat.T
    share = cells.complexity[:, None]
    drive = (1 - share) * 2 * np.maximum(linear, 0.0) ** 2 + share * (linear**2 + twin**2)
    window = _window(*_offsets(cells, VIEW_SHAPE), cells.size * cells.window).reshape(len(cells), -1)
    area = window.sum(1)[:, None]
    window = window.astype(np.float32)
    mean = (window @ flat.T) / area
    energy = np.maximum(window @ (flat**2).T - area * mean**2, 0.0)
    half = area * _HALF_CONTRAST**2
    response = drive / (half + energy)
    if inhibitory:
        response = response / np.maximum(response.max(1, keepdims=True), 1e-12)
        response = 0.75 * energy / (half + energy) + 0.25 * response
    threshold = np.stack([np.quantile(row, q) for row, q in zip(response, cells.sparseness, strict=True)])
    above = np.maximum(response - threshold[:, None], 0.0)
    above /= np.maximum(above.max(1, keepdims=True), 1e-12)
    return np.asarray(above if inhibitory else above**1.5, dtype=np.float64)


def _offsets(cells: Cells, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return the distances in degrees of a grid's points from each cell's centre, across and down."""
    height, width = (size * DEGREES_PER_PIXEL for size in VIEW_SHAPE)
    down = (np.arange(shape[0]) + 0.5) / shape[0]
    across = (np.arange(shape[1]) + 0.5) / shape[1]
    return (
        (across[None, None, :] - cells.x[:, None, None]) * width,
        (down[None, :, None] - cells.y[:, None, None]) * height,
    )


def _window(across: Array, down: Array, size: Array) -> Array:
    scale = 2.0 * size[:, None, None] ** 2
    return np.asarray(np.exp(-(across**2) / scale) * np.exp(-(down**2) / scale))
