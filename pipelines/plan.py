"""From a study to its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cache import Store
from pipelines.config import Study
from pipelines.graph import Task, in_order
from pipelines.planning.alignment import Alignment
from pipelines.planning.architectures import study_architectures
from pipelines.planning.brain import KnownObservatory, find_observatory
from pipelines.planning.fusion import fusion_tasks, token_tasks
from pipelines.planning.networks import Networks
from pipelines.planning.rsa import rsa_tasks

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """A study's tasks.

    Attributes
    ----------
    wanted : list of Task
        What a run must bring into the store; their inputs only as far as they are needed for that.
    complete : bool
        False while a simulated observatory is not written yet, so that its sessions are not known.
    report : Task or None
        The last task, once the plan is complete.
    """

    wanted: list[Task]
    complete: bool
    report: Task | None = None

    @property
    def tasks(self) -> list[Task]:
        """Every task, inputs before what reads them."""
        return in_order(self.wanted)


def make_plan(study: Study, store: Store) -> Plan:
    """Lay out a study's tasks.

    Raises
    ------
    InputError, DataError
        The study asks for data that are not where it says, or its filters leave no experiment.
    """
    networks = Networks(study, store)
    transfer = {**networks.transfer(), **study_architectures(study, store)}
    if study.observatory is None:
        report = _report(study, transfer, rsa_tasks(study, networks) | fusion_tasks(study, networks))
        return Plan([report], True, report)
    observatory = find_observatory(study, store)
    if not isinstance(observatory, KnownObservatory):
        return Plan([observatory, *transfer.values(), *token_tasks(study, networks).values()], False)
    alignment = Alignment(study, observatory, networks).tasks()
    alignment |= rsa_tasks(study, networks, alignment)
    alignment |= fusion_tasks(study, networks, alignment)
    report = _report(study, transfer, alignment)
    return Plan([report], True, report)


def _report(study: Study, transfer: Mapping[str, Task], alignment: Mapping[str, Task] | None) -> Task:
    shown = study.model_dump(mode="json", exclude={"compute"})
    if shown.get("transfer"):
        shown["transfer"].pop("data")
    if shown.get("observatory"):
        shown["observatory"].pop("folder")
        shown["observatory"].pop("reader")
    for name in ("matrices", "scenes"):
        if shown.get("rsa") and shown["rsa"][name] is not None:
            shown["rsa"][name] = Path(shown["rsa"][name]).name
    if shown.get("fusion"):
        shown["fusion"].pop("data")
        shown["fusion"]["brain"].pop("folder")
    for model in shown["models"]:
        model["weights"] = Path(model["weights"]).name
        if model["init"] is not None:
            model["init"] = Path(model["init"]).name
    inputs = {**transfer, **(alignment or {})}
    return Task("report", {"study": shown}, inputs, study.name)
