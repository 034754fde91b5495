"""The whole comparison at the size of the Allen Brain Observatory: memory, and time by number of cells."""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import xarray as xr

from alignment.brain import represent
from alignment.similarity import GroupScores, score_layers
from benchmarks.harness import Bench

SCENES, TRIALS, GRID, CHUNK = 118, 50, 32, 1000
LAYERS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512)


def bench_cells(bench: Bench) -> None:
    """Responses of 4,000 to 63,000 cells to representations, RMSE and KDE-IoU against 12 layers."""
    sizes = (100, 200) if bench.quick else (4000, 8000, 16_000, 32_000, 63_000)
    scenes = bench.rng.random((SCENES, GRID, GRID), dtype=np.float32)
    layers = {f"layer {at}": _unit_maps(bench, units) for at, units in enumerate(LAYERS)}
    bench.note(scenes=SCENES, trials=TRIALS, layers=len(layers), units=sum(LAYERS), groups=44, bootstraps=1000)
    _compare(_represented(100, scenes, bench.seed), layers, bench.seed)
    seconds = {}
    for cells in sizes:
        start = time.perf_counter()
        neurons = _represented(cells, scenes, bench.seed)
        middle = time.perf_counter()
        scored = _compare(neurons, layers, bench.seed)
        end = time.perf_counter()
        seconds[cells] = end - start
        bench.value(f"{cells} cells: responses and representations", middle - start, unit=" s")
        bench.value(f"{cells} cells: scores of {len(scored.table)} rows", end - middle, unit=" s")
        # The peak only ever rises, and so do the sizes: it is this size's own.
        bench.value(f"{cells} cells: most memory", _peak_bytes() / 1e9, unit=" GB")
        del neurons, scored
    first, last = sizes[0], sizes[-1]
    growth = seconds[last] / seconds[first] / (last / first)
    bench.value(f"time a cell, {last} beside {first}", growth, unit="×", at_most=None if bench.quick else 1.25)
    bench.value("most memory", _peak_bytes() / 1e9, unit=" GB", at_most=8)


def _represented(cells: int, scenes: np.ndarray, seed: int) -> np.ndarray:
    """Simulate trials a thousand cells at a time, as sessions come, and keep their representations."""
    rng = np.random.default_rng(seed)
    parts = []
    for begin in range(0, cells, CHUNK):
        count = min(CHUNK, cells - begin)
        tuning = rng.standard_gamma(0.5, (count, SCENES, 1)).astype(np.float32)
        trials = tuning + rng.standard_normal((count, SCENES, TRIALS), dtype=np.float32)
        responses = xr.Dataset({"response": (("cell", "scene", "trial"), trials)})
        parts.append(represent(responses, scenes)["representation"].values.reshape(count, -1))
    return np.concatenate(parts)


def _compare(neurons: np.ndarray, layers: dict[str, np.ndarray], seed: int) -> GroupScores:
    rng = np.random.default_rng(seed)
    groups = {}
    for kinds in (6, 13, 22, 2, 1):
        label = rng.integers(0, kinds, len(neurons))
        groups |= {f"{kinds} kinds, {at}": np.flatnonzero(label == at) for at in range(kinds)}
    donors = rng.integers(0, max(2, len(neurons) // 150), len(neurons))
    return score_layers(neurons, layers, groups, donors=donors, seed=seed)


def _unit_maps(bench: Bench, units: int) -> np.ndarray:
    maps = np.maximum(bench.rng.standard_normal((units, GRID * GRID), dtype=np.float32), 0)
    return maps / maps.max(axis=1, keepdims=True)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
