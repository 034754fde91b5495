"""Every cell's scores against a layer's units, and what groups need to pool their cells' values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from alignment._validation import fail

from . import _kernels
from ._arrays import Array, as_vectors, check_finite, check_same_length
from ._lattice import Lattice, pooled_moments
from .kde_iou import scott_bandwidth
from .rmse import nearest_units

__all__ = ["CELL_METRICS", "METRICS", "CellScorer", "LayerScores", "Population"]

METRICS: Final = ("rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit", "kde_iou_unit_best")
"""What :func:`~alignment.similarity.score_groups` can compute."""
CELL_METRICS: Final = ("rmse_mean", "rmse_nearest", "kde_iou_unit", "kde_iou_unit_best")
"""Those that every cell has a value of; the paired test can be made for them."""

_UNIT_NODES = 1024
_POPULATION_NODES = 1024


@dataclass(frozen=True)
class LayerScores:
    """One layer's scores of every cell.

    Attributes
    ----------
    name : str
        The layer.
    metrics : tuple of str
        Names of the columns of ``values``.
    values : (cell, metric) float64 array
        NaN for cells that are not finite.
    nearest_unit, best_unit : (cell,) int64 array or None
        The unit of smallest RMSE and of largest KDE-IoU; −1 for cells that are not finite.
    n_units, n_compared : int
        Units of the layer, and how many of them the single-unit KDE-IoU was made with.
    lattice, density, point : the layer's pooled values
        As a density on that lattice, or as the value that all of them have.
    note : str
        Said beside single-unit KDE-IoU when units were sampled.
    """

    name: str
    metrics: tuple[str, ...]
    values: Array
    nearest_unit: Array | None
    best_unit: Array | None
    n_units: int
    n_compared: int
    lattice: Lattice | None
    density: Array | None
    point: float | None
    note: str

    def frame(self) -> pd.DataFrame:
        """Return one row a cell."""
        table = pd.DataFrame(self.values, columns=list(self.metrics))
        table.insert(0, "layer", self.name)
        table.insert(1, "cell", np.arange(len(self.values)))
        for name, column in (("nearest_unit", self.nearest_unit), ("best_unit", self.best_unit)):
            if column is not None:
                table[name] = column
        return table


class CellScorer:
    """Scores all cells against one layer after another, keeping what does not depend on the layer.

    Parameters
    ----------
    vectors : (cell, d) array
        Representations; rows that are not finite are left out.
    metrics : tuple of str
        Among :data:`METRICS`.
    seed, max_pairs : int
        Sample the units of a layer once cells times units exceed ``max_pairs``.
    """

    def __init__(self, vectors: Array, metrics: tuple[str, ...], *, seed: int, max_pairs: int):
        self.metrics = metrics
        self.cell_metrics = tuple(metric for metric in metrics if metric in CELL_METRICS)
        self.finite: Array = np.all(np.isfinite(vectors), axis=1)
        if not self.finite.any():
            raise fail("neurons", "score_groups", "finite in at least one row", f"no finite row of {len(vectors)}")
        self._vectors = vectors[self.finite]
        self._row = np.cumsum(self.finite) - 1
        self._moments = _kernels.row_moments(self._vectors)
        self._seed, self._max_pairs = seed, max_pairs
        self._unit_densities: dict[Lattice, Array] = {}
        self._counts: dict[Lattice, Array] = {}

    def score(self, name: str, units: Any) -> LayerScores:
        """Score all cells against a layer's units."""
        owner = f"score_groups (layer {name!r})" if name else "score_groups"
        rows = as_vectors(units, "units", owner)
        check_same_length(self._vectors, rows, ("neurons", "units"), owner)
        check_finite(rows, "units", owner)
        columns: dict[str, Array] = {}
        nearest = best = None
        if "rmse_mean" in self.metrics or "rmse_nearest" in self.metrics:
            found = nearest_units(self._vectors, rows)
            columns |= {"rmse_mean": found.mean, "rmse_nearest": found.nearest}
            nearest = self._spread(found.unit, -1)
        moments = _kernels.row_moments(rows)
        compared, note = self._sampled(len(rows))
        if "kde_iou_unit" in self.metrics or "kde_iou_unit_best" in self.metrics:
            pairs = self._pairs(rows[compared], moments[compared])
            columns |= {
                "kde_iou_unit": pairs.mean(axis=1, dtype=np.float64),
                "kde_iou_unit_best": pairs.max(axis=1),
            }
            best = self._spread(compared[pairs.argmax(axis=1)], -1)
        lattice, density, point = None, None, None
        if "kde_iou_population" in self.metrics:
            lattice, density, point = self._layer_density(rows, moments)
        values = np.stack([columns[metric] for metric in self.cell_metrics], axis=1) if self.cell_metrics else None
        table = self._spread(np.empty((len(self._vectors), 0)) if values is None else values, np.nan)
        return LayerScores(
            name,
            self.cell_metrics,
            table,
            nearest,
            best,
            len(rows),
            len(compared),
            lattice,
            density,
            point,
            note,
        )

    def population(self, cells: Array) -> Population:
        """Return the pooled values of some (finite) cells."""
        return Population(self, self._row[cells], pooled_moments(self._moments[self._row[cells]], self._length))

    @property
    def _length(self) -> int:
        return int(self._vectors.shape[1])

    def cell_counts(self, lattice: Lattice) -> Array:
        """Return all finite cells' binned values on a lattice, made once."""
        if lattice not in self._counts:
            self._counts[lattice] = lattice.counts(self._vectors)
        return self._counts[lattice]

    def _lattice(self, moments: Array, narrowest: float, nodes: int) -> Lattice:
        low, high = float(self._moments[:, 0].min()), float(self._moments[:, 1].max())
        slack = 0.01 * (high - low)
        # Layers within the neurons' range, as scaled representations are, all share one lattice.
        if moments[:, 0].min() < low - slack or moments[:, 1].max() > high + slack:
            low, high = min(low, float(moments[:, 0].min())), max(high, float(moments[:, 1].max()))
        return Lattice.over(low, high, self._length, narrowest, nodes)

    def _pairs(self, rows: Array, moments: Array) -> Array:
        """Return the KDE-IoU of every cell and unit, (cell, unit)."""
        widths = [scott_bandwidth(part, self._length) for part in (self._moments, moments)]
        positive = np.concatenate(widths)
        narrowest = float(positive[positive > 0].min()) if (positive > 0).any() else 0.0
        lattice = self._lattice(moments, narrowest, _UNIT_NODES)
        if lattice not in self._unit_densities:
            self._unit_densities[lattice] = lattice.densities(self._vectors, self._moments)
        overlap: Array = _kernels.overlap_pairs(self._unit_densities[lattice], lattice.densities(rows, moments))
        overlap /= 2.0 - overlap
        np.clip(overlap, 0.0, 1.0, out=overlap)
        cells, points = np.flatnonzero(widths[0] == 0), np.flatnonzero(widths[1] == 0)
        if len(cells) and len(points):
            same = self._moments[cells, 0][:, None] == moments[points, 0][None, :]
            overlap[np.ix_(cells, points)] = same
        return overlap

    def _layer_density(self, rows: Array, moments: Array) -> tuple[Lattice, Array | None, float | None]:
        pooled = pooled_moments(moments, self._length)
        width = scott_bandwidth(pooled, rows.size)
        everyone = scott_bandwidth(pooled_moments(self._moments, self._length), self._vectors.size)
        positive = [float(value) for value in (*width, *everyone) if value > 0]
        lattice = self._lattice(moments, min(positive, default=0.0), _POPULATION_NODES)
        if width[0] == 0:
            return lattice, None, float(pooled[0, 0])
        return lattice, lattice.smooth(lattice.counts(rows).mean(axis=0, keepdims=True), width)[0], None

    def _sampled(self, n_units: int) -> tuple[Array, str]:
        most = max(1, self._max_pairs // len(self._vectors))
        if n_units <= most:
            return np.arange(n_units), ""
        chosen = np.random.default_rng([self._seed, n_units]).choice(n_units, most, replace=False)
        return np.sort(chosen), f"KDE-IoU with {most} of {n_units} units, sampled"

    def _spread(self, values: Array, missing: float) -> Array:
        """Put the finite cells' values back among all cells."""
        out = np.full((len(self.finite), *values.shape[1:]), missing, dtype=values.dtype)
        out[self.finite] = values
        return out


@dataclass(frozen=True)
class Population:
    """The pooled values of a group's cells, to be compared with layers' pooled values."""

    scorer: CellScorer
    rows: Array
    moments: Array

    @property
    def width(self) -> Array:
        """Scott's bandwidth of the pooled values, (1,)."""
        width: Array = scott_bandwidth(self.moments, len(self.rows) * self.scorer._length)
        return width

    def observed(self, layers: list[LayerScores]) -> Array:
        """Return ∫min of the group's and each layer's density, (layer,)."""
        shares = np.full((1, len(self.rows)), 1.0 / len(self.rows), dtype=np.float32)
        overlap: Array = self.resampled(shares, layers)[0]
        return overlap

    def resampled(self, shares: Array, layers: list[LayerScores]) -> Array:
        """Return the same for resamples of the group's cells: (resample, cell) to (resample, layer)."""
        out = np.zeros((len(shares), len(layers)))
        if self.width[0] == 0:
            # All of the group's values are equal; so they are in every resample.
            out[:] = [float(layer.point == self.moments[0, 0]) for layer in layers]
            return out
        by_lattice: dict[Lattice, dict[int, Array]] = {}
        for at, layer in enumerate(layers):
            if layer.lattice is not None and layer.density is not None:
                by_lattice.setdefault(layer.lattice, {})[at] = layer.density
        for lattice, densities in by_lattice.items():
            theirs = np.stack(list(densities.values()))
            out[:, list(densities)] = _kernels.overlap_pairs(self._mixed(shares, lattice), theirs)
        return out

    def _mixed(self, shares: Array, lattice: Lattice) -> Array:
        counts = self.scorer.cell_counts(lattice)
        counts = counts if len(self.rows) == len(counts) else counts[self.rows]
        # Smoothing and mixing are both linear: do first what leaves fewer rows for the other.
        if len(self.rows) < len(shares):
            mixed: Array = shares @ lattice.smooth(counts, np.repeat(self.width, len(counts)))
            return mixed
        return lattice.smooth(shares @ counts, np.repeat(self.width, len(shares)))
