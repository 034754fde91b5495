"""Run tasks: in this process, on a Dask LocalCluster, on a scheduler that already runs, or through a batch system."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cache import Store
from neural_alignment import DataError, InputError
from pipelines.config import ComputeConfig
from pipelines.graph import STAGES, Task, TaskSpec, in_order
from pipelines.perform import Outcome, Site, perform

__all__ = ["execute"]

TOPIC = "nalign"
Listener = Callable[..., None]
Planner = Callable[[], tuple[list[Task], bool]]


def execute(plan: Planner, store: Store, compute: ComputeConfig, listen: Listener) -> list[Outcome]:
    """Bring every task of a plan into the store.

    Parameters
    ----------
    plan : callable
        Returns the tasks known now and whether that is all. When it is not, it is asked again each time a task has
        ended: what a simulated observatory holds is known once it is written.
    store : Store
        Where results are.
    compute : ComputeConfig
        Where work runs.
    listen : callable
        ``listen(event, spec, **details)``: "plan", "hit", "wait", "damaged", "start", "part", "done",
        "failed", "skipped".

    Returns
    -------
    list of Outcome
        One for each task, hits included, in the order they ended.
    """
    tasks, complete = plan()
    listen("plan", None, tasks=tasks)
    missing = [task for task in in_order(tasks) if not store.has(task.stage, task.key)]
    if not missing and complete:
        return [_hit(task, listen) for task in tasks]
    site = Site(store.root, compute.device, compute.threads)
    if compute.cluster == "inline" and compute.scheduler is None:
        return _execute_inline(plan, store, site, listen)
    with _client(compute) as client:
        return _Run(plan, store, site, listen, client).outcomes()


def _hit(task: Task, listen: Listener) -> Outcome:
    listen("hit", task.spec())
    return Outcome(task.stage, task.key, task.label, "hit")


def _needed(tasks: list[Task], store: Store) -> list[Task]:
    """Return, in order, the tasks to look at: those wanted, and inputs of the ones that are missing."""
    wanted: dict[str, Task] = {}

    def visit(task: Task) -> None:
        if task.key in wanted:
            return
        if not store.has(task.stage, task.key):
            for needed in task.inputs.values():
                visit(needed)
        wanted[task.key] = task

    for task in tasks:
        visit(task)
    return list(wanted.values())


def _execute_inline(plan: Planner, store: Store, site: Site, listen: Listener) -> list[Outcome]:
    ended: dict[str, Outcome] = {}
    while True:
        tasks, complete = plan()
        listen("plan", None, tasks=tasks)
        left = [task for task in _needed(tasks, store) if task.key not in ended]
        if not left:
            return list(ended.values())
        for task in left:
            needed = [ended[needs.key] for needs in task.inputs.values() if needs.key in ended]
            outcome = perform(task.spec(), site, *needed, tell=listen)
            ended[task.key] = outcome
            listen(outcome.status, task.spec(), outcome=outcome)
            if not complete:
                break


class _Run:
    """One run on a Dask client: submit what is known, listen, plan again when more is known."""

    def __init__(self, plan: Planner, store: Store, site: Site, listen: Listener, client: Any) -> None:
        self.plan, self.store, self.site, self.listen, self.client = plan, store, site, listen, client
        self.specs: dict[str, TaskSpec] = {}
        self.futures: dict[str, Any] = {}
        self.ended: dict[str, Outcome] = {}

    def outcomes(self) -> list[Outcome]:
        from distributed import as_completed

        self.client.subscribe_topic(TOPIC, self._heard)
        queue = as_completed()
        complete = self._submit(queue)
        for future in queue:
            outcome = self._ended(future)
            if not complete and outcome.status in ("done", "hit"):
                complete = self._submit(queue)
        return list(self.ended.values())

    def _submit(self, queue: Any) -> bool:
        tasks, complete = self.plan()
        self.listen("plan", None, tasks=tasks)
        for task in _needed(tasks, self.store):
            if task.key in self.futures or task.key in self.ended:
                continue
            spec = task.spec()
            self.specs[task.key] = spec
            if self.store.has(task.stage, task.key):
                self.ended[task.key] = Outcome(task.stage, task.key, task.label, "hit")
                self.listen("hit", spec)
                continue
            needed = [self.futures[needs.key] for needs in task.inputs.values() if needs.key in self.futures]
            future = self.client.submit(
                _perform_on_worker,
                spec,
                self.site,
                *needed,
                key=f"{task.stage}-{task.key}",
                priority=STAGES[task.stage].weight,
                pure=False,
            )
            self.futures[task.key] = future
            queue.add(future)
        return complete

    def _ended(self, future: Any) -> Outcome:
        key = str(future.key).rpartition("-")[2]
        spec = self.specs[key]
        if future.status == "finished":
            outcome = future.result()
        else:  # the worker died: out of memory, most often
            reason = f"its worker stopped ({future.exception()!r}); give it more memory or fewer workers"
            outcome = Outcome(spec.stage, key, spec.label, "failed", message=reason)
        self.ended[key] = outcome
        self.listen(outcome.status, spec, outcome=outcome)
        return outcome

    def _heard(self, event: Any) -> None:
        message = event[1]
        spec = self.specs.get(message.pop("key"))
        if spec is not None:
            self.listen(message.pop("event"), spec, **message)


def _perform_on_worker(spec: TaskSpec, site: Site, *needed: Outcome) -> Outcome:
    import torch
    from distributed import get_worker

    torch.set_num_threads(site.threads)
    worker = get_worker()

    def tell(event: str, told: TaskSpec, **details: Any) -> None:
        worker.log_event(TOPIC, {"event": event, "key": told.key, **details})

    return perform(spec, site, *needed, tell=tell)


@contextmanager
def _client(compute: ComputeConfig) -> Iterator[Any]:
    """Connect to where the work runs; what was started here is stopped here."""
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
            yield client
        return
    with _cluster(compute) as cluster, Client(cluster) as client:
        yield client


def _cluster(compute: ComputeConfig) -> Any:
    if compute.cluster == "local":
        import dask
        from distributed import LocalCluster

        # A task holds a whole network or session: never let Dask pause or spill on its own estimate of memory.
        limits = {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause", "terminate")}
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
    import dask_jobqueue

    kinds = {
        "slurm": "SLURMCluster",
        "pbs": "PBSCluster",
        "sge": "SGECluster",
        "lsf": "LSFCluster",
        "htcondor": "HTCondorCluster",
    }
    options = {"cores": compute.threads, "processes": 1, "memory": "8GB", **compute.options}
    try:
        cluster = getattr(dask_jobqueue, kinds[compute.cluster])(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"compute.options do not fit a {compute.cluster} cluster: {error}") from None
    except OSError as error:
        raise DataError(f"The {compute.cluster} cluster cannot be started from here: {error}") from None
    cluster.scale(jobs=compute.workers)
    return cluster


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
    """
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    memory = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
    return {**limits, **memory, "NUMBA_NUM_THREADS": str(threads)}
