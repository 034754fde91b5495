"""Run tasks: in this process, on a Dask LocalCluster, on a scheduler that already runs, or through a batch system."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, cast
from uuid import uuid4

from cache import Store
from neural_alignment import DataError
from pipelines.cluster import Workers, connect
from pipelines.config import ComputeConfig
from pipelines.graph import STAGES, Task, TaskSpec, in_order
from pipelines.perform import ONE_TASK, Outcome, Site, perform, skipped

__all__ = ["execute"]

TOPIC = "nalign"
_LOOK = 1.0  # seconds between two looks at the workers
_SAY = 30.0  # seconds after which what is waited for is said again
_SAY_NEWS = 5.0  # and after which it is said when it is another thing
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
        ``listen(event, spec, **details)``: "plan", "hit", "wait", "damaged", "start", "part", "done", "failed",
        "skipped", and "waiting" (for workers, in ``text``).

    Returns
    -------
    list of Outcome
        One for each task, hits included, in the order they ended.

    Raises
    ------
    InputError, DataError
        There is nowhere to run: no scheduler, no job, no worker within ``compute.patience``, or none that can.
    """
    tasks, complete = plan()
    listen("plan", None, tasks=tasks)
    missing = [task for task in in_order(tasks) if not store.has(task.stage, task.key)]
    if not missing and complete:
        return [_hit(task, listen) for task in tasks]
    site = Site(store.root, compute.device, compute.threads, compute.modules)
    if compute.cluster == "inline" and compute.scheduler is None:
        return _execute_inline(plan, store, site, listen)
    with connect(compute, store) as workers:
        return _Run(plan, store, compute, listen, workers).outcomes()


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


@dataclass
class _Try:
    """A task given to a worker."""

    task: Task
    worker: str
    future: Any


class _Run:
    """One run on a Dask scheduler: give each worker one task whose inputs are there, and look after both.

    A task is bound to its worker, so who was lost with a worker is known, and how it ended is read from the store.
    """

    def __init__(self, plan: Planner, store: Store, compute: ComputeConfig, listen: Listener, workers: Workers) -> None:
        self.plan, self.store, self.compute, self.listen, self.workers = plan, store, compute, listen, workers
        self.site = Site(store.root, compute.device, compute.threads, compute.modules)
        self.specs: dict[str, TaskSpec] = {}
        self.left: dict[str, Task] = {}  # neither begun nor ended, what should start first at the front
        self.running: dict[str, _Try] = {}  # by the Dask key
        self.ended: dict[str, Outcome] = {}
        self.begun: set[str] = set()  # by a worker, as it said itself
        self.lost: dict[str, int] = {}  # workers that were lost while they did a task
        self.unfit: dict[str, str] = {}  # workers that cannot run tasks, and why
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.watch = _Watch(workers, compute.patience, listen)

    def outcomes(self) -> list[Outcome]:
        self.workers.client.subscribe_topic(TOPIC, self._heard)
        complete = self._plan()
        looked, here = -_LOOK, set[str]()
        while self.left or self.running:
            if time.monotonic() - looked >= _LOOK:
                looked, here = time.monotonic(), set(self.workers.connected())
                self._look_after(here)
            self._give(here)
            try:
                future = self.queue.get(timeout=_LOOK)
            except Empty:
                continue
            given = self.running.pop(future.key, None)
            if given is None:  # lost before, and given to another worker since
                continue
            outcome = self._outcome(given)
            self._took(given.task, outcome)
            if outcome is None:
                looked = -_LOOK
            elif not complete and outcome.status in ("done", "hit"):
                complete = self._plan()
        return list(self.ended.values())

    def _plan(self) -> bool:
        tasks, complete = self.plan()
        self.listen("plan", None, tasks=tasks)
        given = {trial.task.key for trial in self.running.values()}
        found: list[Task] = []
        for task in _needed(tasks, self.store):
            if task.key in given or task.key in self.ended:
                continue
            self.specs[task.key] = task.spec()
            if self.store.has(task.stage, task.key):
                self._end(Outcome(task.stage, task.key, task.label, "hit"))
            else:
                found.append(task)
        self.left = {task.key: task for task in sorted(found, key=lambda task: -STAGES[task.stage].weight)}
        self._skip()
        return complete

    def _took(self, task: Task, outcome: Outcome | None) -> None:
        if outcome is None:
            self.left = {task.key: task, **self.left}
        else:
            self._end(outcome)

    def _look_after(self, here: set[str]) -> None:
        """Take back what lost workers did, replace them, and say so while any are waited for."""
        for key, trial in list(self.running.items()):
            if trial.worker not in here:
                del self.running[key]
                trial.future.cancel()
                self._took(trial.task, self._lost(trial.task))
        fit = here - set(self.unfit)
        if here and not fit and not self.running and self.left:
            first = {self.unfit[worker]: worker for worker in sorted(here, reverse=True)}
            reasons = "; ".join(f"{reason} ({worker})" for reason, worker in list(first.items())[:3])
            raise DataError(
                f"No worker can run neural-alignment: {reasons}. Start workers in this environment, with "
                "PYTHONSAFEPATH=1: a folder called 'cache' or 'reports' where they start hides the package."
            )
        self.workers.renew()
        self.watch.look(len(fit), bool(self.left))

    def _lost(self, task: Task) -> Outcome | None:
        """Return how a task ended whose worker was lost; None if it is to be given to another."""
        if self.store.has(task.stage, task.key):
            return self._kept(task)
        self.lost[task.key] = self.lost.get(task.key, 0) + 1
        if self.lost[task.key] < self.compute.tries:
            return None
        reason = (
            f"{_count(self.compute.tries, 'worker')} stopped while doing it, without an error of its own: memory ran "
            "out (most often), a job reached its time limit, or a library crashed. Give workers more memory or time, "
            "or run fewer of them on one machine"
        )
        return Outcome(task.stage, task.key, task.label, "failed", message=reason)

    def _give(self, here: set[str]) -> None:
        """Give each free worker the first task whose inputs are there."""
        busy = {trial.worker for trial in self.running.values()}
        given = {trial.task.key for trial in self.running.values()}
        free = sorted(here - busy - set(self.unfit))
        for task in list(self.left.values()):
            if not free:
                return
            if any(needs.key in self.left or needs.key in given for needs in task.inputs.values()):
                continue
            del self.left[task.key]
            given.add(task.key)
            worker = free.pop(0)
            future = self.workers.client.submit(
                _carried(),
                vars(self.specs[task.key]),
                vars(self.site),
                key=f"{task.stage}-{task.key}-{uuid4().hex}",
                workers=[worker],
                pure=False,
            )
            self.running[future.key] = _Try(task, worker, future)
            future.add_done_callback(self.queue.put)

    def _outcome(self, trial: _Try) -> Outcome | None:
        """Return how a task ended; None if it is to be given to a worker again."""
        from distributed import KilledWorker

        task, future = trial.task, trial.future
        if self.store.has(task.stage, task.key):
            return self._kept(task)
        if future.status == "finished":
            with suppress(Exception):  # the worker that holds the answer has stopped since
                return cast(Outcome, future.result(timeout=10))
        elif future.status == "error":  # not the task's own, which it returns
            error = future.exception(timeout=10)
            if isinstance(error, KilledWorker):
                return self._lost(task)
            self.unfit[trial.worker] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return None

    def _kept(self, task: Task) -> Outcome:
        if task.key not in self.begun:
            return Outcome(task.stage, task.key, task.label, "hit")
        seconds = float(self.store.provenance(task.stage, task.key).get("seconds", 0))
        return Outcome(task.stage, task.key, task.label, "done", seconds)

    def _end(self, outcome: Outcome) -> None:
        self.ended[outcome.key] = outcome
        self.listen(outcome.status, self.specs[outcome.key], outcome=outcome)
        if outcome.status in ("failed", "skipped"):
            self._skip()

    def _skip(self) -> None:
        """End the tasks that read one that failed, and those that read them."""
        for key, task in list(self.left.items()):
            needed = [self.ended[needs.key] for needs in task.inputs.values() if needs.key in self.ended]
            passed_over = skipped(self.specs[key], needed)
            if passed_over is not None and self.left.pop(key, None) is not None:
                self._end(passed_over)

    def _heard(self, event: Any) -> None:
        message = event[1]
        spec = self.specs.get(message.pop("key"))
        if spec is None:
            return
        if message["event"] == "start":
            self.begun.add(spec.key)
        self.listen(message.pop("event"), spec, **message)


class _Watch:
    """Says which workers are waited for, and loses patience.

    Parameters
    ----------
    workers : Workers
        Whose number is watched.
    patience : float
        Minutes without any worker after which the run ends.
    listen : callable
        Hears what is waited for.
    """

    def __init__(self, workers: Workers, patience: float, listen: Listener) -> None:
        self.workers, self.patience, self.listen = workers, patience, listen
        self.without = self.spoken = time.monotonic()
        self.text = ""

    def look(self, fit: int, work: bool) -> None:
        """Take the number of workers that can run tasks, and whether any task waits for one."""
        now, wanted = time.monotonic(), self.workers.wanted
        if fit:
            self.without = now
        if not work or fit >= (wanted or 1):
            self.spoken, self.text = now, ""
            return
        text = f"waiting for workers: {fit}{f' of {wanted}' if wanted else ''} ({self.workers.missing()})"
        if now - self.without > self.patience * 60:
            raise DataError(
                f"No worker for {self.patience:g} minutes (compute.patience); {text}. "
                "What was finished is kept, and the same command goes on from there."
            )
        due = _SAY_NEWS if text != self.text else _SAY
        if now - self.spoken >= due and not (fit and text == self.text):
            self.spoken, self.text = now, text
            self.listen("waiting", None, text=text)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _carried() -> Callable[..., Outcome]:
    """Return a function that is sent whole: what a worker cannot import is an error there, and not the worker's end."""

    def begin(spec: dict[str, Any], site: dict[str, Any]) -> Outcome:
        from pipelines.execution import perform_on_worker

        return perform_on_worker(spec, site)

    return begin


def perform_on_worker(task: dict[str, Any], place: dict[str, Any]) -> Outcome:
    """Do a task in a process of Dask's, as :func:`~pipelines.perform.perform` does; what it says goes to the client.

    Parameters
    ----------
    task, place : dict
        The fields of a :class:`TaskSpec` and of a :class:`Site`.
    """
    import torch
    from distributed import get_worker

    spec, site, worker = TaskSpec(**task), Site(**place), get_worker()

    def tell(event: str, told: TaskSpec, **details: Any) -> None:
        worker.log_event(TOPIC, {"event": event, "key": told.key, **details})

    with ONE_TASK:  # another run's task in this process may have asked for other threads
        torch.set_num_threads(site.threads)
        return perform(spec, site, tell=tell)
