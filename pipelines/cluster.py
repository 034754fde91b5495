"""Where a run's workers come from: this machine, a scheduler that already runs, or the jobs of a batch system."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cache import Store
from neural_alignment import DataError, InputError
from pipelines.config import ComputeConfig

__all__ = ["Workers", "connect"]

BATCH = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
}
_LOOK = 10.0  # seconds between two looks for workers to replace
_VAIN = 3  # so many jobs for each one wanted may end before their worker connects; then the run ends
_UNANSWERED = 60.0  # seconds without an answer after which a scheduler counts as lost
# A task holds a whole network or session: never let Dask pause or spill on its own estimate of memory.
_NO_LIMITS = ("target", "spill", "pause", "terminate")


class Workers:
    """The workers of a scheduler that others started.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    wanted : int, optional
        How many workers there should be; None where others decide.
    """

    def __init__(self, client: Any, wanted: int | None = None) -> None:
        self.client, self.wanted = client, wanted
        self._known: list[str] = []
        self._answered = time.monotonic()

    def connected(self) -> list[str]:
        """Return the addresses of the workers connected now; those last known while the scheduler is too busy.

        Raises
        ------
        DataError
            The scheduler is gone.
        """
        scheduler = self.client.scheduler
        if self.client.status == "running":
            try:
                self._known = list(self.client.sync(scheduler.ncores, workers=None, callback_timeout=10))
            except (OSError, TimeoutError):
                pass
            else:
                self._answered = time.monotonic()
            if time.monotonic() - self._answered < _UNANSWERED:
                return self._known
        raise DataError(
            f"The connection to the Dask scheduler at {scheduler.address} is lost: it was stopped, or cannot be "
            "reached any more. What was finished is kept. Start it and its workers again, then run the same command."
        )

    def renew(self) -> None:
        """Replace workers that were lost; nothing where others started them."""

    def missing(self) -> str:
        """Return why workers are missing and what can be done, in words."""
        address = self.client.scheduler.address
        return f"start some, in the same environment: dask worker {address} --nthreads 1"


class _Local(Workers):
    """Processes of this machine."""

    def __init__(self, client: Any, wanted: int) -> None:
        super().__init__(client, wanted)
        self._looked = time.monotonic()

    def renew(self) -> None:
        # Dask starts a process again that stopped, but gives up one that takes long to come back.
        if time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            self.client.cluster.scale(self.wanted)

    def missing(self) -> str:
        return "each process that stops is started again; this machine may lack memory for them"


class _Jobs(Workers):
    """Jobs of a batch system, one worker each."""

    def __init__(self, client: Any, wanted: int, system: str, logs: Path | None) -> None:
        super().__init__(client, wanted)
        self._system, self._logs = system, logs
        self._looked = -_LOOK
        self._seen: set[str] = set()  # jobs whose worker connected
        self._vain: list[str] = []  # jobs that ended before theirs did, since one last connected
        self._queue: dict[str, str] | None = None
        self._waiting: list[str] = []
        self._trouble = ""
        try:
            self._submit([])
        except (OSError, RuntimeError, TimeoutError, ValueError) as error:
            raise DataError(f"The {system} cluster takes no jobs from here: {_reason(error)}") from None

    def renew(self) -> None:
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        cluster = self.client.cluster
        names = [str(worker["name"]) for worker in cluster.scheduler_info["workers"].values()]
        jobs = {name: str(job.job_id or "") for name, job in list(cluster.workers.items())}
        here = {job for name, job in jobs.items() if any(f"{other}-".startswith(f"{name}-") for other in names)}
        if here - self._seen:
            self._vain, self._trouble = [], ""
        self._seen |= here
        self._waiting = [job for job in jobs.values() if job and job not in here]
        self._queue = self._ask() if len(here) < len(jobs) else None
        gone = {name: job for name, job in jobs.items() if not job or (self._left(job) and job not in here)}
        stopped = [job for job in gone.values() if job in self._seen]
        if stopped:
            self._trouble = f"job {stopped[-1]} ended{self._last_words(stopped[-1])}; it is replaced"
        self._count_vain([job for job in gone.values() if job and job not in self._seen])
        try:
            self._submit(list(gone))
        except (OSError, RuntimeError, TimeoutError, ValueError) as error:
            self._trouble = f"a new job was not taken: {_reason(error)}"

    def missing(self) -> str:
        queued = self._queue or {}
        states = [f"job {job} {queued.get(job, '')}".strip() for job in self._waiting if not self._left(job)]
        more = f" and {len(states) - 3} more" if len(states) > 3 else ""
        waiting = f"{self._system}: {', '.join(states[:3])}{more}" if states else ""
        logs = f"output of jobs: {self._logs}" if self._logs is not None else ""
        return "; ".join(part for part in (waiting, self._trouble, logs) if part)

    def _left(self, job: str) -> bool:
        """Tell whether a job is known to have left the queue."""
        return self._queue is not None and job not in self._queue

    def _count_vain(self, ended: list[str]) -> None:
        if not ended:
            return
        self._vain += ended
        self._trouble = f"job {ended[-1]} ended before its worker connected{self._last_words(ended[-1])}"
        if len(self._vain) >= _VAIN * (self.wanted or 1):
            raise DataError(
                f"{len(self._vain)} jobs of the {self._system} cluster ended before a worker connected: "
                f"{self._trouble}. Output of jobs: {self._logs or 'the working folder'}."
            )

    def _last_words(self, job: str) -> str:
        """Return the line of a job's output that says most, or nothing."""
        lines: list[str] = []
        for file in sorted(self._logs.glob(f"*{job}*")) if self._logs is not None else []:
            with suppress(OSError):
                lines += [line.strip() for line in file.read_text(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"\b\w*(error|exception|cancelled|killed)\b", line, re.I)]
        return f": {(telling or lines)[-1][:300]}" if lines else ""

    def _ask(self) -> dict[str, str] | None:
        """Return the state of this user's jobs by number, or None where that cannot be known."""
        if self._system != "slurm":
            return None
        command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i %T %r"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        rows = [line.split(maxsplit=2) for line in answer.stdout.splitlines()]
        return {row[0]: " ".join([row[1], *(f"({why})" for why in row[2:] if why != "None")]) for row in rows if row}

    def _submit(self, gone: list[str]) -> None:
        """Submit jobs until there are as many as wanted, after taking back those that are gone."""
        from distributed.core import Status

        cluster = self.client.cluster

        async def submit() -> None:
            try:
                if gone:
                    await cluster.scale_down(gone)
                while len(cluster.worker_spec) < (self.wanted or 1):
                    cluster.worker_spec.update(cluster.new_worker_spec())
                await cluster
            finally:
                for job in cluster.workers.values():
                    if not job.job_id:  # it was refused, and there is nothing to start or to stop
                        job.status = Status.closed

        cluster.sync(submit, callback_timeout=120)


def _reason(error: BaseException) -> str:
    """Return an error in one line: of a command that failed, what it said itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "stderr:" in lines[:-1]:
        lines = lines[lines.index("stderr:") + 1 :]
    return " ".join(lines)[:500] or type(error).__name__


@contextmanager
def connect(compute: ComputeConfig, store: Store) -> Iterator[Workers]:
    """Connect to where the work runs; what was started here is stopped here.

    Raises
    ------
    InputError
        No scheduler answers, or the options do not fit the batch system.
    DataError
        The batch system takes no jobs.
    """
    from distributed import Client

    if compute.scheduler is not None:
        try:
            client = Client(compute.scheduler, timeout=20)
        except (OSError, ValueError) as error:
            raise InputError(
                f"No Dask scheduler answers at {compute.scheduler} ({error}). Start one with 'dask scheduler' "
                "or leave compute.scheduler out to run on this machine."
            ) from None
        with client:
            yield Workers(client)
    elif compute.cluster == "local":
        with _local_cluster(compute) as cluster, Client(cluster) as client:
            yield _Local(client, compute.workers)
    else:
        logs = _log_folder(store)
        with _batch_cluster(compute, logs) as cluster, Client(cluster) as client:
            yield _Jobs(client, compute.workers, compute.cluster, logs)
        if logs is not None:  # a run that failed leaves them to be read
            shutil.rmtree(logs, ignore_errors=True)


def _local_cluster(compute: ComputeConfig) -> Any:
    import dask
    from distributed import LocalCluster

    limits = {f"distributed.worker.memory.{what}": False for what in _NO_LIMITS}
    spawn = {"distributed.nanny.pre-spawn-environ": _environment(compute.threads)}
    settings = {**limits, **spawn, "distributed.logging.distributed": "critical"}
    with dask.config.set(settings), _deaf_to_interrupts():
        return LocalCluster(
            n_workers=compute.workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs="CRITICAL",
        )


def _batch_cluster(compute: ComputeConfig, logs: Path | None) -> Any:
    """Return a cluster whose jobs hold one worker that does one task at a time, with ``threads`` processors for it."""
    import dask

    try:
        import dask_jobqueue
    except ImportError as error:
        raise InputError(
            f"A {compute.cluster} cluster needs dask-jobqueue, which does not import ({error}). "
            "Install it: pip install dask-jobqueue, or 'neural-alignment[cluster]'."
        ) from None

    def given(name: str) -> list[Any]:
        known = compute.options.get(name) or dask.config.get(f"jobqueue.{compute.cluster}.{name.replace('_', '-')}", [])
        return list(known or [])

    options = {"cores": compute.threads, "processes": 1, "memory": "8GB", **compute.options}
    options["worker_extra_args"] = [*given("worker_extra_args"), "--nthreads", "1"]  # the last one counts
    limits = {f"DASK_DISTRIBUTED__WORKER__MEMORY__{what.upper()}": "False" for what in _NO_LIMITS}
    environment = {**_environment(compute.threads), **limits}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    options["job_script_prologue"] = [*exports, *given("job_script_prologue")]
    if logs is not None and not given("log_directory"):
        options["log_directory"] = str(logs)
    try:
        return getattr(dask_jobqueue, BATCH[compute.cluster])(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"compute.options do not fit a {compute.cluster} cluster: {error}") from None
    except OSError as error:
        raise DataError(f"The {compute.cluster} cluster cannot be started from here: {error}") from None


def _log_folder(store: Store) -> Path | None:
    """Return a new folder in the store for what jobs print; None, the system's own, where a job could not name it."""
    if re.search(r"\s", str(store.root)):
        return None
    parent = store.root / ".jobs"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=parent))


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from the threads and processes that are started here, now and by them later.

    A terminal sends it to the whole process group. This process alone takes it, and stops the workers in order; a
    worker that took it as well would end in a traceback of its own. One that comes meanwhile waits for the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has no process groups of this kind
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it unblocks the signal in the thread that first needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment(threads: int) -> dict[str, str]:
    """Return what a worker's process starts with.

    Freed memory stays with the process: training frees and takes the same large buffers at every step, and giving them
    back to the system each time (Dask's default, and glibc's for large blocks) costs as much time as the arithmetic.
    The safe path keeps a folder called ``cache`` or ``reports`` where a worker starts from hiding the packages.
    """
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    memory = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
    return {**limits, **memory, "NUMBA_NUM_THREADS": str(threads), "PYTHONSAFEPATH": "1"}
