"""Stages and tasks: what can be computed, and the keys under which it is kept.

A stage is a function with a name and a version. A task is a stage applied to parameters and to other tasks' results.
Its key is a digest of all of these, so a task is known before it is computed, and equal work has equal keys.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from cache import make_key

__all__ = ["STAGES", "Stage", "Task", "TaskSpec", "in_order"]


@dataclass(frozen=True)
class Stage:
    """One kind of work.

    Attributes
    ----------
    name : str
        Folder of the stage's results in the store.
    version : int
        Raised whenever the same inputs would give another result.
    target : str
        ``module:function``; imported where the work is done, so that planning stays light.
    says : str
        What the progress display calls it.
    result : {"value", "folder"}
        Whether the function returns its result or fills a folder.
    weight : int
        Scheduling priority among tasks that are ready; longer work starts first.
    """

    name: str
    version: int
    target: str
    says: str
    result: Literal["value", "folder"] = "value"
    weight: int = 0

    def load(self) -> Callable[..., Any]:
        """Import and return the stage's function."""
        module, _, name = self.target.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function


_BRAIN, _NETWORKS = "pipelines.stages.brain", "pipelines.stages.networks"
_RSA = "pipelines.stages.rsa"
_COMPARISON, _REPORTING = "pipelines.stages.comparison", "pipelines.stages.reporting"
_CONTROLS = "pipelines.stages.controls"
_FUSION = "pipelines.stages.fusion"

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("observatory", 2, f"{_BRAIN}:observatory", "simulate an observatory", "folder", weight=100),
        Stage("resemblance", 1, f"{_BRAIN}:resemblance", "simulation beside real cells", weight=40),
        Stage("responses", 1, f"{_BRAIN}:responses", "trial responses", weight=60),
        Stage("scenes", 1, f"{_BRAIN}:scenes", "natural scenes", weight=70),
        Stage("population", 1, f"{_BRAIN}:population", "population of cells", weight=60),
        Stage("representations", 1, f"{_BRAIN}:representations", "neural representations", weight=60),
        Stage("domain", 1, f"{_NETWORKS}:domain", "image domains", weight=90),
        Stage("train", 4, f"{_NETWORKS}:train", "train networks", weight=80),
        Stage("evaluate", 2, f"{_NETWORKS}:evaluate", "evaluate on targets", weight=30),
        Stage("features", 1, f"{_NETWORKS}:features", "domains inside networks", weight=25),
        Stage("floors", 1, f"{_NETWORKS}:floors", "chance and nearest neighbours", weight=25),
        Stage("invariance", 1, f"{_NETWORKS}:invariance", "shifts that layers undo", weight=25),
        Stage("architectures", 2, "pipelines.stages.architectures:architectures", "compare architectures", weight=45),
        Stage("activations", 4, f"{_NETWORKS}:activations", "layer activations", weight=50),
        Stage("ceiling", 1, f"{_CONTROLS}:ceiling", "noise ceilings", weight=42),
        Stage("similarity", 2, f"{_COMPARISON}:similarity", "compare brain and network", weight=40),
        Stage("halves", 1, "pipelines.stages.halves:halves", "score each half of the scenes", weight=38),
        Stage("paired", 3, f"{_COMPARISON}:paired", "with against without NeuRN", weight=35),
        Stage("null", 1, f"{_CONTROLS}:null", "scores with scenes shuffled", weight=36),
        Stage("claims", 2, f"{_CONTROLS}:claims", "the published claims", weight=34),
        Stage("rsa_scenes", 1, f"{_RSA}:rsa_scenes", "scenes of the matrices", weight=70),
        Stage("brain_rdms", 1, f"{_RSA}:brain_rdms", "dissimilarities in cortex", weight=60),
        Stage("network_rdms", 1, f"{_RSA}:network_rdms", "dissimilarities in networks", weight=50),
        Stage("rsa", 1, f"{_RSA}:rsa", "compare dissimilarities", weight=40),
        Stage("tokens", 1, f"{_FUSION}:tokens", "tokens of the vision encoder", weight=55),
        Stage("pairs", 1, f"{_FUSION}:pairs", "images and responses", weight=55),
        Stage("brain_encoder", 1, f"{_FUSION}:brain_encoder", "brain encoder", weight=52),
        Stage("predicted", 1, f"{_FUSION}:predicted", "predicted responses", weight=51),
        Stage("fusion", 1, f"{_FUSION}:fusion", "train fusion heads", weight=33),
        Stage("ood", 1, f"{_FUSION}:ood", "heads out of distribution", weight=20),
        Stage("attention", 1, f"{_FUSION}:attention", "attention of heads", weight=20),
        Stage("report", 2, f"{_REPORTING}:report", "write the report", "folder"),
    )
}


@dataclass(frozen=True)
class TaskSpec:
    """A task as sent to a worker: names and keys, no nested tasks."""

    stage: str
    key: str
    label: str
    params: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, str]]
    where: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Task:
    """One piece of work of a study.

    Attributes
    ----------
    stage : str
        Name in :data:`STAGES`.
    params : mapping
        JSON-able; part of the key.
    inputs : mapping of str to Task
        Results this one reads, by the name its function knows them by; their keys are part of the key.
    label : str
        What messages call it.
    where : mapping of str to str
        Places on this machine (folders of data). Not part of the key: the digest of what is read belongs in ``params``.
    """

    stage: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Task] = field(default_factory=dict)
    label: str = ""
    where: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Digest of stage, version, parameters and the inputs' keys."""
        stage = STAGES[self.stage]
        return make_key(
            stage.name,
            str(stage.version),
            self.params,
            {name: task.key for name, task in self.inputs.items()},
        )

    def spec(self) -> TaskSpec:
        """Return what a worker needs to do the task."""
        inputs = {name: (task.stage, task.key) for name, task in self.inputs.items()}
        return TaskSpec(self.stage, self.key, self.label, dict(self.params), inputs, dict(self.where))


def in_order(tasks: list[Task]) -> list[Task]:
    """Return the tasks and all they depend on, each once, inputs before what reads them."""
    ordered: dict[str, Task] = {}

    def visit(task: Task) -> None:
        if task.key in ordered:
            return
        for needed in task.inputs.values():
            visit(needed)
        ordered[task.key] = task

    for task in tasks:
        visit(task)
    return list(ordered.values())
