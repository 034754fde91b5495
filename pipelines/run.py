"""Run a study: plan, compute what is missing, and lay out the run folder."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cache import LostResultError, Store
from neural_alignment import DataError, InputError, __version__
from pipelines.config import Study
from pipelines.execution import execute
from pipelines.files import copy_file, write_file, writing
from pipelines.graph import Task
from pipelines.perform import Outcome, Site, perform
from pipelines.plan import Plan, make_plan
from pipelines.progress import Progress
from pipelines.study import load_study, study_yaml

__all__ = ["RunSummary", "open_run", "publish", "rewrite_report", "run_study", "stage_counts"]

_NO_PDF = (
    "report.pdf was not written; report.html, the figures and the tables are complete. {} "
    "Then run the same command again: it adds the PDF."
)


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes
    ----------
    folder : Path
        The run folder: ``report.html``, ``report.pdf``, ``tables/``, ``figures/``, ``study.yaml``, ``provenance.json``.
    computed, kept : int
        Tasks computed now, and tasks whose results were in the store.
    seconds : float
        From planning to the run folder.
    warning : str
        Why there is no ``report.pdf``, and what to do; empty where there is one.
    """

    folder: Path
    computed: int
    kept: int
    seconds: float
    warning: str = ""


def run_study(study: Study, store: Store, out: Path, console: Console) -> RunSummary:
    """Compute what the store lacks of a study and write its run folder.

    Parameters
    ----------
    study : Study
        As :func:`~pipelines.study.load_study` returns it.
    store : Store
        Where results are kept.
    out : Path
        The run folder is ``out / study.name``.
    console : rich.console.Console
        Shows progress.

    Raises
    ------
    DataError
        A task failed; the message lists each, and what finished is kept. A damaged result is no failure: it is
        set aside and made again, once.
    """
    clock = time.monotonic()
    folder = out / study.name
    _prepare(folder, study)
    computed: set[str] = set()
    made_again: set[str] = set()
    while True:
        try:
            outcomes = _execute(study, store, console)
            computed |= {outcome.key for outcome in outcomes if outcome.status == "done"}
            lost = _lost(outcomes)
            if lost.keys() <= made_again:
                _raise_failures(outcomes, folder)
                final = make_plan(study, store)
                warning = publish(final, study, store, folder)
                kept = len(final.tasks) - len(computed)
                return RunSummary(folder, len(computed), kept, time.monotonic() - clock, warning)
        except LostResultError as error:  # the plan, or the run folder, needed it
            lost = {error.key: error.what}
            if error.key in made_again:
                raise
        for what in lost.values():
            console.print(f"{what} It is made again.", markup=False, soft_wrap=True)
        made_again |= lost.keys()


def _execute(study: Study, store: Store, console: Console) -> list[Outcome]:
    looked = False

    def plan() -> tuple[list[Any], bool]:
        nonlocal looked
        made = make_plan(study, store)
        if made.report is not None and not looked:
            looked = True
            _forget_unprinted(made.report, store)
        return made.wanted, made.complete

    with Progress(console) as progress:
        return execute(plan, store, study.compute, progress)


def _lost(outcomes: list[Outcome]) -> dict[str, str]:
    """Return what happened to each damaged or missing result that tasks met, by its key."""
    lost: dict[str, str] = {}
    for key, what in (outcome.lost for outcome in outcomes if outcome.lost is not None):
        lost[key] = max(lost.get(key, ""), what, key=len)  # who set it aside says more than who missed it then
    return lost


def open_run(run: str | Path) -> tuple[Study, Path]:
    """Return the study that a run folder was made from, and the folder.

    Raises
    ------
    InputError
        There is no such run folder, or it holds no study.
    """
    folder = Path(run)
    if not folder.is_dir() and (Path("runs") / folder).is_dir():
        folder = Path("runs") / folder
    if not (folder / "study.yaml").is_file():
        there = sorted(path.parent.name for path in Path("runs").glob("*/study.yaml"))
        known = f" Runs here: {', '.join(there)}." if there else " Make one with 'nalign run demo'."
        raise InputError(f"{run} is not a run folder: it has no study.yaml.{known}")
    return load_study(folder / "study.yaml"), folder


def rewrite_report(run: str | Path, store: Store) -> tuple[Path, str]:
    """Render a run's report again from stored results, and lay it out in the run folder.

    Returns
    -------
    tuple of (Path, str)
        The run folder, and why it holds no ``report.pdf`` (empty where it does).

    Raises
    ------
    DataError
        Results that the report needs are not in the store.
    """
    study, folder = open_run(run)
    plan = make_plan(study, store)
    missing = (
        []
        if plan.report is None
        else [task for task in plan.report.inputs.values() if not store.has(task.stage, task.key)]
    )
    if plan.report is None or missing:
        raise DataError(
            f"The report of {folder} needs results that are not in the store {store.root}. "
            f"Compute them: nalign run {folder / 'study.yaml'} --out {folder.parent}"
        )
    store.remove(plan.report.stage, plan.report.key)
    outcome = perform(plan.report.spec(), Site(store.root))
    _raise_failures([outcome], folder)
    return folder, publish(plan, study, store, folder)


def stage_counts(plan: Plan, store: Store) -> dict[str, tuple[int, int]]:
    """Return, by stage, how many results are in the store and how many tasks the plan knows."""
    counts: dict[str, tuple[int, int]] = {}
    for task in plan.tasks:
        kept, known = counts.get(task.stage, (0, 0))
        counts[task.stage] = (kept + store.has(task.stage, task.key), known + 1)
    return counts


def publish(plan: Plan, study: Study, store: Store, folder: Path) -> str:
    """Copy the report out of the store into the run folder, each file by rename, and write the provenance.

    Returns
    -------
    str
        Why there is no ``report.pdf``, and what to do; empty where there is one.
    """
    assert plan.report is not None
    entry = store.read(plan.report.stage, plan.report.key)
    obstacle = store.provenance(plan.report.stage, plan.report.key).get("pdf_obstacle")
    with writing(folder):
        if obstacle:  # the PDF of an earlier run must not stand beside a page it was not made from
            (folder / "report.pdf").unlink(missing_ok=True)
        for source in sorted(entry.rglob("*")):
            if source.is_file() and source.name != "provenance.json":
                copy_file(source, folder / source.relative_to(entry))
    tasks = [
        {"stage": task.stage, "key": task.key, "label": task.label, **store.provenance(task.stage, task.key)}
        for task in plan.tasks
        if store.has(task.stage, task.key)
    ]
    record = {"study": study.name, "neural_alignment": __version__, "store": str(store.root), "tasks": tasks}
    with writing(folder):
        write_file(folder / "provenance.json", json.dumps(record, indent=1, default=str) + "\n")
    return _NO_PDF.format(obstacle) if obstacle else ""


def _forget_unprinted(report: Task, store: Store) -> None:
    """Remove a report that was kept without its PDF, so that it is made again where one can be made now."""
    if not store.has(report.stage, report.key) or "pdf_obstacle" not in store.provenance(report.stage, report.key):
        return
    from reports import pdf_obstacle

    if not pdf_obstacle():
        store.remove(report.stage, report.key)


def _prepare(folder: Path, study: Study) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / "study.yaml", study_yaml(study))


def _raise_failures(outcomes: list[Outcome], folder: Path) -> None:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    log = folder / "errors.log"
    if not failed:
        log.unlink(missing_ok=True)
        return
    skipped = sum(outcome.status == "skipped" for outcome in outcomes)
    traces = [f"{outcome.stage} {outcome.label} {outcome.key}\n{outcome.trace}" for outcome in failed if outcome.trace]
    if traces:
        try:
            write_file(log, "\n".join(traces))
        except OSError:  # a full disk may be what failed: say that, with or without the log
            traces = []
    lines = _by_reason(failed)
    more = f"\n  ... and {len(lines) - 10} more" if len(lines) > 10 else ""
    raise DataError(
        f"{len(failed)} of {len(outcomes)} tasks failed, {skipped} that need them were skipped; "
        "the others are kept, and the next run goes on from there.\n"
        + "\n".join(lines[:10])
        + more
        + (f"\nTracebacks are in {log}." if traces else "")
    )


def _by_reason(failed: list[Outcome]) -> list[str]:
    """Return a line a reason, with what failed for it: a full disk fails many tasks alike."""
    reasons: dict[str, list[str]] = {}
    for outcome in failed:
        reasons.setdefault(outcome.message, []).append(f"{outcome.stage} {outcome.label}".strip())
    return [
        f"  - {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {message}"
        for message, names in reasons.items()
    ]
