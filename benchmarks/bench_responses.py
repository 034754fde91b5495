"""Trial responses beside AllenSDK's own analysis, growth with cells, reliability and representations."""

from __future__ import annotations

import shutil
import tempfile
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alignment.brain import represent, resize_scenes, split_half_reliability, trial_responses
from alignment.brain.allen.sdk_reader import load, why_not
from alignment.brain.observatory import Observatory, Session
from alignment.brain.simulated import simulate_observatory
from benchmarks.harness import Bench


def bench_trial_responses(bench: Bench) -> None:
    """One session to responses, blanks and peaks, beside AllenSDK's NaturalScenes on the same file."""
    cells, trials = (2, 3) if bench.quick else (20, 50)
    session = _simulated(bench, cells, trials)
    bench.note(cells=cells, sweeps=119 * trials)
    theirs: list[Any] = []

    def allensdk() -> None:
        analysis = load("allensdk.brain_observatory.natural_scenes").NaturalScenes(session.dataset)
        with warnings.catch_warnings():
            # AllenSDK fills its table in a way that pandas warns about, once a sweep.
            warnings.simplefilter("ignore")
            _ = analysis.mean_sweep_response
        theirs[:] = [analysis]

    bench.ours("mean_sweep_response", lambda: trial_responses(session, method="mean_sweep_response"))
    bench.ours("dff", lambda: trial_responses(session))
    bench.limit("reading the traces", session.corrected_fluorescence)
    bench.within("mean_sweep_response", of="reading the traces")
    if why_not():
        bench.skip("AllenSDK NaturalScenes", why_not())
        return
    # One warming call is enough for what takes a quarter of a minute.
    bench.peer("AllenSDK NaturalScenes", allensdk, repeats=2, before=lambda: None)
    # On the quick run's two cells opening the file is all that counts.
    goal = None if bench.quick else 300
    bench.faster("mean_sweep_response", than="AllenSDK NaturalScenes", at_least=goal)
    bench.faster("dff", than="AllenSDK NaturalScenes", at_least=goal)
    allensdk()
    bench.value("largest relative difference", _difference(session, theirs[0]), at_most=1e-6)


def bench_cells(bench: Bench) -> None:
    """Large sessions: time and memory by the number of cells."""
    few, many = (20, 40) if bench.quick else (100, 400)
    trials = 3 if bench.quick else 50
    sessions = {count: _simulated(bench, count, trials) for count in (few, many)}
    bench.note(sweeps=119 * trials)
    for count, session in sessions.items():
        bench.ours(f"{count} cells", lambda session=session: trial_responses(session))
    bench.within(f"{many} cells", of=f"{few} cells", at_most=1.2 * many / few)
    for count, session in sessions.items():
        tracemalloc.start()
        found = trial_responses(session)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        traces = session.dff()[1].nbytes
        bench.value(f"memory of {count} cells beside the result", (peak - found.nbytes) / 1e6, unit=" MB")
        bench.value(f"traces of {count} cells", traces / 1e6, unit=" MB")


def bench_reliability(bench: Bench) -> None:
    """Split-half reliability over 100 splits, beside a loop over cells."""
    cells = 50 if bench.quick else 1000
    response = bench.rng.standard_normal((cells, 118, 50), dtype=np.float32)
    bench.note(cells=cells, scenes=118, trials=50, splits=100)
    sample = response[: cells // 10]

    def loop() -> None:
        rng = np.random.default_rng(0)
        for cell in sample:
            for _ in range(100):
                order = rng.permutation(50)
                a, b = cell[:, order[:25]].mean(axis=1), cell[:, order[25:]].mean(axis=1)
                np.corrcoef(a, b)

    bench.ours("split_half_reliability", lambda: split_half_reliability(response))
    bench.ours("a tenth of the cells", lambda: split_half_reliability(sample))
    bench.peer("numpy, cell by cell, a tenth of the cells", loop, repeats=3)
    bench.faster("a tenth of the cells", than="numpy, cell by cell, a tenth of the cells")
    bench.within("split_half_reliability", of="a tenth of the cells", at_most=12)


def bench_representations(bench: Bench) -> None:
    """Responses to images on the grid, beside the bare matrix product; scenes to the grid."""
    cells = 50 if bench.quick else 2000
    response = bench.rng.standard_normal((cells, 118, 20), dtype=np.float32)
    responses = xr.Dataset({"response": (("cell", "scene", "trial"), response)})
    scenes = bench.rng.integers(0, 256, (4 if bench.quick else 118, 918, 1174), dtype=np.uint8)
    grid = bench.rng.random((118, 32, 32), dtype=np.float32)
    tuning, flat = response.mean(axis=2).astype(np.float64), grid.reshape(118, -1).astype(np.float64)
    bench.note(cells=cells, grid="32 x 32")
    bench.ours("represent", lambda: represent(responses, grid))
    bench.ours("resize_scenes", lambda: resize_scenes(scenes))
    bench.limit("product in float64", lambda: tuning @ flat)
    bench.limit("mean over trials", lambda: response.mean(axis=2, dtype=np.float64))
    bench.limit("scenes to float32", lambda: [image.astype(np.float32) for image in scenes])
    bench.within("represent", of="product in float64")
    bench.within("resize_scenes", of="scenes to float32")
    exact = _exact_means(scenes[0])
    bench.value("error of a resized scene", np.abs(resize_scenes(scenes[:1])[0] - exact).max(), at_most=1e-6)


def _simulated(bench: Bench, cells: int, trials: int) -> Session:
    folder = Path(tempfile.mkdtemp(prefix="nalign-bench-"))
    bench.after(lambda: shutil.rmtree(folder, ignore_errors=True))
    simulate_observatory(folder, cells=cells, trials=trials, sessions=1, seed=bench.seed)
    observatory = Observatory(folder)
    return observatory.session(int(observatory.list()["experiment_id"][0]))


def _difference(session: Session, theirs: object) -> float:
    """Largest difference of a sweep's response, relative to this very response."""
    sweeps, table = theirs.mean_sweep_response, theirs.stim_table  # type: ignore[attr-defined]
    ours = trial_responses(session, method="mean_sweep_response")["response"].values
    worst = 0.0
    for cell in range(len(ours)):
        values = sweeps[str(cell)].to_numpy(dtype=np.float64)
        for scene in range(ours.shape[1]):
            expected = values[(table["frame"] == scene).to_numpy()]
            worst = max(worst, float(np.max(np.abs(ours[cell, scene] - expected) / np.abs(expected))))
    return worst


def _exact_means(scene: np.ndarray) -> np.ndarray:
    """Average over the 32 x 32 grid in float64, each pixel split so that patches divide it evenly."""
    rows = np.add.reduceat(np.repeat(scene.astype(np.float64), 16, axis=0), np.arange(32) * 459, axis=0) / 459
    both = np.add.reduceat(np.repeat(rows, 16, axis=1), np.arange(32) * 587, axis=1) / 587
    return both / 255
