"""Reading an NWB file of the Allen Brain Observatory: our own reader beside AllenSDK's on the same file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from alignment.brain.allen.agreement import compare_readers
from alignment.brain.allen.own_reader import OwnReader
from alignment.brain.allen.reader import Reader
from alignment.brain.allen.sdk_reader import SdkReader, why_not
from alignment.brain.simulated import Traits, simulate_file
from benchmarks.harness import Bench

BLOCK = 32  # cells at a time, as responses are worked out


def bench_20_cells(bench: Bench) -> None:
    """Read a session of 20 cells."""
    _bench_session(bench, 3 if bench.quick else 20)


def bench_400_cells(bench: Bench) -> None:
    """Read a session of 400 cells."""
    _bench_session(bench, 40 if bench.quick else 400)


def _bench_session(bench: Bench, cells: int) -> None:
    trials = 3 if bench.quick else 50
    folder = Path(tempfile.mkdtemp(prefix="nalign-bench-"))
    bench.after(lambda: shutil.rmtree(folder, ignore_errors=True))
    path = simulate_file(folder, Traits(), cells=cells, trials=trials, seed=bench.seed)
    bench.note(cells=cells, sweeps=119 * trials, block=BLOCK)
    kinds: dict[str, Callable[[Reader], object]] = {
        "a session, dF/F": lambda reader: _read_session(reader, cells, corrected=False),
        "a session, corrected fluorescence": lambda reader: _read_session(reader, cells, corrected=True),
        "the scenes": lambda reader: reader.scenes(),
    }
    reason = why_not()
    for name, read in kinds.items():
        bench.ours(name, lambda read=read: read(OwnReader(path)))
        if reason:
            bench.skip(f"AllenSDK, {name}", reason)
            continue
        bench.peer(f"AllenSDK, {name}", lambda read=read: read(SdkReader(path)))
        goal = 3 if name == "a session, dF/F" and not bench.quick else None
        bench.faster(name, than=f"AllenSDK, {name}", at_least=goal)
    bench.limit("dF/F in one piece", lambda: OwnReader(path).dff())
    if not reason:
        differing = sum(not read.same for read in compare_readers(path))
        bench.value("reads that differ in a bit", differing, at_most=0)


def _read_session(reader: Reader, cells: int, *, corrected: bool) -> None:
    """Read what responses are worked out from, as they read it."""
    reader.metadata()
    reader.cell_specimen_ids()
    reader.timestamps()
    reader.stimulus_table()
    reader.running_speed()
    traces = reader.corrected_fluorescence if corrected else reader.dff
    for first in range(0, cells, BLOCK):
        traces(slice(first, min(first + BLOCK, cells)))
