"""Running tasks: what is looked at, in which order, in this process and on a cluster, and being stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cache import Store
from neural_alignment import DataError
from pipelines.config import ComputeConfig
from pipelines.execution import _needed, execute
from pipelines.graph import Task
from pipelines.perform import Outcome

INLINE = ComputeConfig(cluster="inline")


class Events:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def __call__(self, event: str, spec: Any, **details: Any) -> None:
        self.heard.append((event, spec.label if spec else ""))

    def of(self, *events: str) -> list[str]:
        return [label for event, label in self.heard if event in events]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def events() -> Events:
    return Events()


def run(tasks: list[Task], store: Store, events: Events) -> dict[str, str]:
    outcomes = execute(lambda: (tasks, True), store, INLINE, events)
    assert len({outcome.key for outcome in outcomes}) == len(outcomes)
    return {outcome.label: outcome.status for outcome in outcomes}


def chain(toy: Callable[..., Task], *names: str, **functions: Any) -> list[Task]:
    """Tasks that each read the one before."""
    made: list[Task] = []
    for name in names:
        options = {"function": functions[name]} if name in functions else {}
        made.append(toy(name, inputs={"before": made[-1]} if made else {}, **options))
    return made


def explode(inputs: Any, params: Any, context: Any) -> Any:
    raise DataError("It is broken.")


# -- in this process ------------------------------------------------------------------------------------------------


def test_inputs_first_then_what_reads_them(toy, store: Store, events: Events) -> None:
    tasks = chain(toy, "a", "b", "c")
    assert run(tasks[-1:], store, events) == {"a": "done", "b": "done", "c": "done"}
    assert events.of("start") == ["a", "b", "c"] == events.of("done")
    value = store.read("toy_c", tasks[2].key)
    assert value["read"][0]["read"][0]["name"] == "a"


def test_again_all_is_kept(toy, store: Store, events: Events) -> None:
    tasks = chain(toy, "a", "b")
    run(tasks, store, Events())
    assert run(tasks, store, events) == {"a": "hit", "b": "hit"}
    assert events.of("hit") == ["a", "b"] and events.of("start") == []


def test_an_input_of_what_is_kept_is_not_looked_for(toy, store: Store, events: Events) -> None:
    tasks = chain(toy, "a", "b", "c")
    run(tasks, store, Events())
    store.remove("toy_a", tasks[0].key)
    assert [task.label for task in _needed(tasks[-1:], store)] == ["c"]
    assert run(tasks[-1:], store, events) == {"c": "hit"}
    store.remove("toy_c", tasks[2].key)
    assert [task.label for task in _needed(tasks[-1:], store)] == ["b", "c"]
    assert run(tasks[-1:], store, events) == {"b": "hit", "c": "done"}
    store.remove("toy_c", tasks[2].key)
    store.remove("toy_b", tasks[1].key)
    assert run(tasks[-1:], store, events) == {"a": "done", "b": "done", "c": "done"}


def test_a_shared_input_is_computed_once(toy, store: Store, events: Events) -> None:
    shared = toy("shared")
    left, right = toy("left", inputs={"from": shared}), toy("right", inputs={"from": shared})
    run([toy("top", inputs={"left": left, "right": right})], store, events)
    assert events.of("start") == ["shared", "left", "right", "top"]


def test_a_failure_skips_all_that_comes_of_it_and_nothing_else(toy, store: Store, events: Events) -> None:
    broken = chain(toy, "a", "b", "c", "d", b=explode)
    other = toy("other")
    top = toy("top", inputs={"broken": broken[-1], "other": other})
    assert run([top], store, events) == {
        "a": "done", "b": "failed", "c": "skipped", "d": "skipped", "other": "done", "top": "skipped",
    }  # fmt: skip
    assert store.has("toy_a", broken[0].key) and store.has("toy_other", other.key)
    assert events.of("failed", "skipped") == ["b", "c", "d", "top"]


def test_what_failed_is_tried_again_the_next_time(toy, store: Store, events: Events) -> None:
    run(chain(toy, "a", "b", a=explode), store, Events())
    assert run(chain(toy, "a", "b"), store, events) == {"a": "done", "b": "done"}


def test_a_plan_that_is_not_complete_is_made_again(toy, store: Store, events: Events) -> None:
    first, independent = toy("first"), toy("independent")
    sessions = [toy(f"session{n}", inputs={"first": first}) for n in range(3)]

    def plan() -> tuple[list[Task], bool]:
        known = store.has("toy_first", first.key)
        return ([*sessions, independent], True) if known else ([first, independent], False)

    outcomes = execute(plan, store, INLINE, events)
    assert {outcome.label for outcome in outcomes} == {
        "first", "independent", "session0", "session1", "session2",
    }  # fmt: skip
    assert {outcome.status for outcome in outcomes} <= {"done", "hit"}
    assert events.of("start") == ["first", "session0", "session1", "session2", "independent"]


def test_a_plan_that_stays_incomplete_after_a_failure_ends(toy, store: Store, events: Events) -> None:
    first, other = toy("first", explode), toy("other")
    outcomes = execute(lambda: ([first, other], False), store, INLINE, events)
    assert {outcome.label: outcome.status for outcome in outcomes} == {"first": "failed", "other": "done"}


# -- stopped from outside -------------------------------------------------------------------------------------------


def start(study: Path, folder: Path) -> subprocess.Popen[str]:
    """``nalign run`` in a process group of its own, as a shell starts it."""
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "run",
        study,
        "--cache",
        folder / "store",
        "--out",
        folder / "runs",
    ]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(
            [str(part) for part in command], stdout=out, stderr=err, env=environment, cwd=folder, start_new_session=True
        )


def wait_until(seen: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not seen():
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < until
        time.sleep(0.02)


def unfinished(root: Path) -> list[Path]:
    return [path for path in root.rglob(".tmp-*") if path.is_dir()]


def test_ctrl_c_on_a_local_cluster_then_the_run_goes_on_and_gives_the_same(tiny, tmp_path: Path, write_study) -> None:
    study = write_study(tmp_path, compute={"cluster": "local", "workers": 2})
    process = start(study, tmp_path)
    try:
        wait_until(lambda: any((tmp_path / "store").glob(".scratch/train/*")), process)
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    error = (tmp_path / "err").read_text()
    assert code == 130, error
    assert error.count("error:") == 1 and "Interrupted. What was finished is kept" in error
    assert "Traceback" not in error and 'File "' not in error and "Traceback" not in (tmp_path / "out").read_text()
    store = Store(tmp_path / "store")
    assert unfinished(store.root) == [] and store.verify().problems == []
    kept = len(store.list())

    process = start(study, tmp_path)
    assert process.wait(timeout=300) == 0, (tmp_path / "err").read_text()
    assert f"tiny: {tiny.tasks - kept} computed, {kept} kept from before" in (tmp_path / "out").read_text()
    assert (tmp_path / "runs" / "tiny" / "report.pdf").read_bytes().startswith(b"%PDF")
    tables = sorted(path.name for path in (tiny.run / "tables").glob("*.csv"))
    assert "similarity.csv" in tables and "transfer.csv" in tables
    for name in tables:  # two workers or this process: the same tables
        ours, theirs = (pd.read_csv(folder / "tables" / name) for folder in (tmp_path / "runs" / "tiny", tiny.run))
        timed = [column for column in ours.columns if column in ("seconds", "device")]
        pd.testing.assert_frame_equal(ours.drop(columns=timed), theirs.drop(columns=timed), check_exact=True)


def test_a_killed_run_goes_on(tmp_path: Path, write_study, nalign, only_transfer, light_report) -> None:
    study = write_study(tmp_path, **{**only_transfer, "transfer": {"epochs": 400, "patience": 400}})
    process = start(study, tmp_path)
    try:
        wait_until(lambda: any((tmp_path / "store").glob(".scratch/train/*/*")), process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
    store = Store(tmp_path / "store")
    kept = len(store.list())
    assert kept > 0 and store.list("train") == [] and store.verify().problems == []
    short = write_study(tmp_path, **only_transfer)  # the domains are the same
    again = nalign("run", short, "--cache", store.root, "--out", tmp_path / "runs")
    assert again.code == 0 and f", {kept} kept from before" in again.out
    store.prune(older_than=timedelta(days=1))
    assert unfinished(store.root) == [] and store.verify().problems == []


def test_outcomes_say_how_long(toy, store: Store) -> None:
    outcomes: list[Outcome] = execute(lambda: ([toy("a")], True), store, INLINE, Events())
    assert outcomes[0].seconds > 0
