"""Workers: of this machine, of others, of a batch system; those that stop, never come, or cannot run anything."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cache import Store
from neural_alignment import DataError, InputError
from pipelines.cluster import _batch_cluster, _environment, connect
from pipelines.config import ComputeConfig
from pipelines.execution import execute
from pipelines.graph import STAGES, Task
from pipelines.perform import Outcome

ROOT = Path(__file__).resolve().parents[2]
STAGES_FILE = Path(__file__).with_name("worker_stages.py")
SBATCH = """#!/bin/sh
# As sbatch: run the job script away from here, its output in the folder that it names, and print a number.
out=$(sed -n 's/^#SBATCH -e \\(.*\\)-%J.err$/\\1/p' "$1")
script={jobs}/script-$$
cp "$1" $script
setsid sh -c "echo \\$\\$ > {jobs}/new-$$; exec bash $script > $out-\\$\\$.err 2>&1" > /dev/null 2>&1 < /dev/null &
until [ -s {jobs}/new-$$ ]; do :; done
number=$(cat {jobs}/new-$$)
touch {jobs}/$number
rm {jobs}/new-$$
echo "Submitted batch job $number"
"""
SQUEUE = """#!/bin/sh
for job in $(ls {jobs} | grep '^[0-9]*$'); do
  case $(ps -o stat= -p $job) in "" | Z*) ;; *) echo "$job RUNNING None" ;; esac
done
"""
SCANCEL = """#!/bin/bash
test -e {jobs}/$1 && kill -9 -- -$1
"""


class Events:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def __call__(self, event: str, spec: Any, **details: Any) -> None:
        self.heard.append((event, spec.label if spec else details.get("text", "")))

    def of(self, *events: str) -> list[str]:
        return [label for event, label in self.heard if event in events]


@pytest.fixture(autouse=True)
def stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages of ``worker_stages.py``, here and in every worker that is started from here."""
    import dask
    import distributed  # noqa: F401  # its own settings first

    spec = importlib.util.spec_from_file_location("worker_stages", STAGES_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    known = dict(STAGES)
    spec.loader.exec_module(module)
    STAGES.clear()
    STAGES.update(known)
    for name, stage in module.MADE.items():
        monkeypatch.setitem(STAGES, name, stage)
    monkeypatch.setitem(sys.modules, "worker_stages", module)
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", f'["{STAGES_FILE}"]')
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # Dask leaves here what it sets for a worker's process
    monkeypatch.setattr("pipelines.cluster._LOOK", 0.5)
    with dask.config.set({"distributed.worker.preload": [str(STAGES_FILE)]}):
        yield


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``start("scheduler" or "worker", *options, cwd=, env=)``: a process of Dask, as a person starts it."""
    started: list[subprocess.Popen[str]] = []

    def begin(kind: str, *options: str, cwd: Path = tmp_path, env: dict[str, str] | None = None) -> Any:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        environment = {**os.environ, **(env or {})}
        with (tmp_path / f"{kind}.log").open("a") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, text=True, cwd=cwd, env=environment, start_new_session=True
            )
        started.append(process)
        return process

    yield begin
    for process in reversed(started):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


@pytest.fixture
def scheduler(start) -> tuple[str, subprocess.Popen[str]]:
    """A scheduler that others started, without workers: its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"tcp://127.0.0.1:{port}", process
        time.sleep(0.05)
    pytest.fail("the scheduler did not start")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Commands named as SLURM's that run jobs on this machine; the folder that lists them by number."""
    pytest.importorskip("dask_jobqueue")
    jobs, commands = tmp_path / "jobs", tmp_path / "commands"
    jobs.mkdir()
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL)):
        (commands / name).write_text(text.format(jobs=jobs))
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    yield jobs
    for job in numbers(jobs):
        subprocess.run([commands / "scancel", str(job)], check=False, capture_output=True)


def numbers(jobs: Path) -> list[int]:
    return [int(file.name) for file in jobs.iterdir() if file.name.isdigit()]


def squeue() -> bytes:
    return subprocess.run(["squeue"], capture_output=True, check=True).stdout


def batch(**changes: Any) -> ComputeConfig:
    options = {"memory": "1GB", "interface": "lo", **changes.pop("options", {})}
    return ComputeConfig(cluster="slurm", options=options, **{"workers": 2, **changes})


def task(name: str, label: str, **params: Any) -> Task:
    return Task(f"worker_{name}", {"label": label, **params}, label=label)


def draws(number: int) -> list[Task]:
    return [task("draw", f"draw {seed}", seed=seed) for seed in range(number)]


def waits(number: int, seconds: float) -> list[Task]:
    return [task("wait", f"wait {index}", seconds=seconds) for index in range(number)]


def run(tasks: list[Task], store: Store, compute: ComputeConfig, events: Events, limit: float = 90) -> list[Outcome]:
    """``execute`` with an end: a run that waits for ever fails its test."""
    ended: list[Any] = []

    def work() -> None:
        try:
            ended.append(execute(lambda: (tasks, True), store, compute, events))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout=limit)
    assert ended, f"the run waits for ever; it said {events.of('waiting')}"
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


def during(seen: Callable[[], bool], act: Callable[[], Any]) -> threading.Thread:
    """Act once something is seen."""

    def watch() -> None:
        until = time.monotonic() + 60
        while not seen() and time.monotonic() < until:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def statuses(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.label: outcome.status for outcome in outcomes}


# -- one task at a time -----------------------------------------------------------------------------------------------


def test_a_worker_with_many_threads_gives_what_this_process_gives(start, scheduler, store, events, tmp_path) -> None:
    address, _ = scheduler
    start("worker", address, "--nthreads", "8", "--nworkers", "1", "--no-dashboard")
    tasks = draws(12)
    alone = Store(tmp_path / "alone")
    run(tasks, alone, ComputeConfig(cluster="inline"), Events())
    outcomes = run(tasks, store, ComputeConfig(scheduler=address), events)
    assert set(statuses(outcomes).values()) == {"done"}
    drawn = [[kept.read(one.stage, one.key)["drawn"] for one in tasks] for kept in (store, alone)]
    assert drawn[0] == drawn[1]


def test_a_worker_that_others_started_finds_a_person_s_modules_last(start, scheduler, store, events, tmp_path) -> None:
    address, _ = scheduler
    start("worker", address, "--nthreads", "1", "--no-dashboard")
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "zz_net.py").write_text("VALUE = 'mine'")
    (folder / "cache.py").write_text("raise RuntimeError('a stranger was imported')")
    borrowed = [task("borrow", "borrow", module="zz_net")]
    outcomes = run(borrowed, store, ComputeConfig(scheduler=address, modules=folder), events)
    assert set(statuses(outcomes).values()) == {"done"}
    assert store.read(borrowed[0].stage, borrowed[0].key) == {"value": "mine", "last": str(folder)}


def test_a_batch_system_without_dask_jobqueue_says_what_brings_it(store: Store, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(InputError, match=r"needs dask-jobqueue.*neural-alignment\[cluster\]"), connect(batch(), store):
        pass


def test_a_job_is_one_slot_with_the_processors_that_its_arithmetic_needs(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    compute = batch(threads=4, options={"job_script_prologue": ["module load python"], "walltime": "00:10:00"})
    with _batch_cluster(compute, tmp_path / "logs") as cluster:
        script = cluster.job_script()
    assert "--cpus-per-task=4" in script and "-t 00:10:00" in script
    command = script.splitlines()[-1].split()
    threads = [command[index + 1] for index, word in enumerate(command) if word == "--nthreads"]
    assert threads[-1] == "1" and "--nworkers" not in command
    for line in ("OMP_NUM_THREADS=4", "PYTHONSAFEPATH=1", "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=False"):
        assert f"export {line}\n" in script
    assert script.index("export PYTHONSAFEPATH") < script.index("module load python") < script.index("dask_worker")


def test_a_worker_uses_no_more_threads_than_it_is_given() -> None:
    limits = _environment(3)
    assert {name: value for name, value in limits.items() if name.endswith("_THREADS")} == dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "3"
    )


# -- workers that stop ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_task_that_kills_its_workers_is_named_and_all_others_end_well(store: Store, events: Events) -> None:
    tasks = [task("die", "killer"), *waits(14, 0.05)]
    outcomes = run(tasks, store, ComputeConfig(workers=2, tries=2), events)
    ended = statuses(outcomes)
    assert ended.pop("killer") == "failed" and set(ended.values()) == {"done"} and len(ended) == 14
    (failed,) = (outcome for outcome in outcomes if outcome.status == "failed")
    assert "2 workers stopped while doing it" in failed.message and "memory" in failed.message
    assert events.of("start").count("killer") <= 2


@pytest.mark.slow
def test_a_task_whose_worker_stopped_is_done_by_another(store: Store, events: Events, tmp_path: Path) -> None:
    before = task("die", "once", once=str(tmp_path / "died"))
    after = Task("worker_wait", {"seconds": 0}, {"before": before}, label="after")
    outcomes = run([after], store, ComputeConfig(workers=1), events)
    assert statuses(outcomes) == {"once": "done", "after": "done"}


def test_a_failure_of_its_own_is_told_as_it_is(store: Store, events: Events) -> None:
    broken = task("fail", "broken")
    after = Task("worker_wait", {"seconds": 0}, {"before": broken}, label="after")
    last = Task("worker_wait", {"seconds": 0}, {"before": after}, label="last")
    outcomes = run([last, *waits(2, 0)], store, ComputeConfig(workers=1), events)
    assert statuses(outcomes) == {
        "broken": "failed", "after": "skipped", "last": "skipped", "wait 0": "done", "wait 1": "done",
    }  # fmt: skip
    (failed,) = (outcome for outcome in outcomes if outcome.status == "failed")
    assert "ValueError: a failure of its own" in failed.message and "worker_stages.py" in failed.trace


# -- a scheduler that others started ----------------------------------------------------------------------------------


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch, store: Store) -> None:
    import distributed

    def refuse(address: str, timeout: float) -> Any:
        raise OSError(f"Timed out trying to connect to {address}")

    monkeypatch.setattr(distributed, "Client", refuse)
    with (
        pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9") as caught,
        connect(ComputeConfig(scheduler="tcp://127.0.0.1:9"), store),
    ):
        pass
    assert "dask scheduler" in str(caught.value) and "leave compute.scheduler out" in str(caught.value)


def test_without_workers_it_says_so_and_ends(scheduler, store: Store, events: Events, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.execution._SAY_NEWS", 0.5)
    monkeypatch.setattr("pipelines.execution._SAY", 2.0)
    address, _ = scheduler
    with pytest.raises(DataError, match=r"No worker for 0\.1 minutes \(compute\.patience\)") as caught:
        run(draws(1), store, ComputeConfig(scheduler=address, patience=0.1), events, limit=60)
    assert f"dask worker {address} --nthreads 1" in str(caught.value)
    assert len(events.of("waiting")) >= 2 and events.of("waiting")[0].startswith("waiting for workers: 0 (start some")


@pytest.mark.slow
def test_a_worker_that_comes_late_is_used(start, scheduler, store: Store, events: Events, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.execution._SAY_NEWS", 0.5)
    address, _ = scheduler
    during(
        lambda: bool(events.of("waiting")),
        lambda: start("worker", address, "--nthreads", "1", "--no-dashboard"),
    )
    outcomes = run(draws(2), store, ComputeConfig(scheduler=address, patience=1), events)
    assert set(statuses(outcomes).values()) == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_scheduler_that_goes_is_the_cause_that_is_told(start, scheduler, store, events, monkeypatch, how) -> None:
    monkeypatch.setattr("pipelines.cluster._UNANSWERED", 5.0)
    address, process = scheduler
    start("worker", address, "--nthreads", "1", "--nworkers", "2", "--no-dashboard")
    stop = during(lambda: bool(events.of("start")), lambda: process.send_signal(how))
    with pytest.raises(DataError, match="The connection to the Dask scheduler") as caught:
        run(waits(6, 2.0), store, ComputeConfig(scheduler=address), events, limit=60)
    stop.join()
    assert address in str(caught.value) and "kept" in str(caught.value) and events.of("failed") == []


def test_a_worker_that_cannot_import_the_packages_is_the_cause_that_is_told(
    start, scheduler, store: Store, events: Events, tmp_path: Path
) -> None:
    address, _ = scheduler  # in the same folder: it needs none of the packages
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "__init__.py").touch()
    plain = {"DASK_DISTRIBUTED__WORKER__PRELOAD": "[]"}
    start("worker", address, "--nthreads", "1", "--no-dashboard", env=plain)
    with pytest.raises(DataError, match=r"No worker can run .*ImportError: 'cache' is .*, which hides") as caught:
        run(draws(3), store, ComputeConfig(scheduler=address), events)
    assert "PYTHONSAFEPATH=1" in str(caught.value)
    assert events.of("failed") == []


# -- a batch system ---------------------------------------------------------------------------------------------------


def test_options_that_a_batch_system_does_not_take_are_told(store: Store) -> None:
    pytest.importorskip("dask_jobqueue")
    with (
        pytest.raises(InputError, match=r"compute\.options do not fit a slurm cluster"),
        connect(ComputeConfig(cluster="slurm", options={"nonsense": 1}), store),
    ):
        pass


def test_a_batch_system_that_is_not_here_is_told(store: Store, events: Events, monkeypatch) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(store.root))
    with pytest.raises(DataError, match=r"The slurm cluster takes no jobs from here: .*sbatch"):
        run(draws(1), store, batch(), events, limit=60)


def test_a_job_that_is_refused_is_told_in_the_words_of_the_system(slurm, store, events, tmp_path) -> None:
    (tmp_path / "commands" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    with pytest.raises(DataError, match=r"takes no jobs from here: sbatch: error: invalid partition$"):
        run(draws(1), store, batch(), events, limit=60)


def test_jobs_work_from_a_folder_with_a_cache_and_reports_of_its_own(
    slurm: Path, store: Store, events: Events, tmp_path: Path, monkeypatch
) -> None:
    for name in ("cache", "reports", "pipelines"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / "__init__.py").touch()
    monkeypatch.chdir(tmp_path / "here")
    tasks = [*draws(3), *waits(3, 0.0)]
    assert set(statuses(run(tasks, store, batch(threads=2), events)).values()) == {"done"}
    assert store.read(tasks[0].stage, tasks[0].key)["threads"] == 2
    told = store.read(tasks[-1].stage, tasks[-1].key)
    assert told["safe"] == "1" and told["omp"] == "2"
    assert list((store.root / ".jobs").iterdir()) == []
    assert not list(tmp_path.glob("here/*.err"))
    until = time.monotonic() + 20
    while squeue() and time.monotonic() < until:
        time.sleep(0.1)
    assert not squeue()


@pytest.mark.slow
def test_jobs_that_are_all_cancelled_are_replaced(slurm: Path, store: Store, events: Events) -> None:
    def cancel() -> None:
        for job in numbers(slurm):
            subprocess.run(["scancel", str(job)], check=False)

    stop = during(lambda: bool(events.of("done")), cancel)
    outcomes = run(waits(8, 0.4), store, batch(), events)
    stop.join()
    assert set(statuses(outcomes).values()) == {"done"} and len(outcomes) == 8
    assert len(numbers(slurm)) >= 4


def test_jobs_that_end_before_their_worker_connects_are_the_cause_that_is_told(
    slurm: Path, store: Store, events: Events
) -> None:
    words = "echo \"ImportError: cannot import name 'make_key' from 'cache'\" >&2; echo bye >&2; exit 1"
    with pytest.raises(DataError, match="jobs of the slurm cluster ended before a worker connected") as caught:
        run(draws(1), store, batch(options={"job_script_prologue": [words]}), events, limit=60)
    assert "ImportError: cannot import name 'make_key' from 'cache'" in str(caught.value)
    assert len(numbers(slurm)) == 6 and events.of("failed") == []
    (logs,) = (store.root / ".jobs").iterdir()
    assert str(logs) in str(caught.value) and list(logs.iterdir())


def test_jobs_that_stay_in_the_queue_are_named_with_their_state(slurm, store, events, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.execution._SAY_NEWS", 0.5)
    (tmp_path / "commands" / "sbatch").write_text("#!/bin/sh\necho Submitted batch job 77\n")
    (tmp_path / "commands" / "squeue").write_text("#!/bin/sh\necho '77 PENDING Resources'\n")
    with pytest.raises(DataError, match=r"No worker for 0\.05 minutes .* 0 of 1 \(slurm: job 77 PENDING \(Resources\)"):
        run(draws(1), store, batch(workers=1, patience=0.05), events, limit=60)
    assert "slurm: job 77 PENDING (Resources)" in events.of("waiting")[-1]
