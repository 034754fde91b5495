"""From a study to its tasks."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache import Store
from neural_alignment import DataError, InputError
from pipelines.config import ModelConfig, Study
from pipelines.graph import Task, in_order

if TYPE_CHECKING:
    from alignment.brain.observatory import Observatory

__all__ = ["Plan", "architectures_task", "make_plan"]


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
    networks = _Networks(study, store)
    transfer = {**networks.transfer(), **_architectures(study, store)}
    if study.observatory is None:
        report = _report(study, transfer, None)
        return Plan([report], True, report)
    observatory = _observatory(study, store)
    if not isinstance(observatory, _Known):
        return Plan([observatory, *transfer.values()], False)
    alignment = _Alignment(study, observatory, networks).tasks()
    report = _report(study, transfer, alignment)
    return Plan([report], True, report)


def architectures_task(
    models: Sequence[Mapping[str, Any]],
    store: Store,
    *,
    level: str = "papers",
    scoring: Mapping[str, int] | None = None,
    symbols: Mapping[str, Any] | None = None,
) -> Task:
    """Return the task that aligns networks' layer sequences.

    Parameters
    ----------
    models : sequence of mapping
        ``label`` and ``name``; where they are not the network's own, ``image_size`` and ``width``.
    store : Store
        Digests the source of the user's own networks, so that an edited one is traced again.
    level : str
        The alphabet.
    scoring, symbols : mapping, optional
        Arguments of ``similarity_matrix`` and of ``write_symbols`` other than the defaults.
    """
    listed = [{**model, **_own_source(str(model["name"]), store)} for model in models]
    params = {"models": listed, "level": level, "scoring": dict(scoring or {}), "symbols": dict(symbols or {})}
    return Task("architectures", params, {}, f"{len(listed)} networks, {level}")


def _own_source(name: str, store: Store) -> dict[str, str]:
    module, colon, _ = name.partition(":")
    if not colon or module in ("timm", "torchvision"):
        return {}
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # told, with what to do, when it is traced
        return {}
    if found is None or not found.origin or not Path(found.origin).is_file():
        return {}
    return {"content": store.digest_file(found.origin)}


def _architectures(study: Study, store: Store) -> dict[str, Task]:
    config = study.architectures
    if config is None:
        return {}
    models: list[dict[str, Any]]
    if config.models == "study":
        models = [{"label": model.key, **_network(model)} for model in study.models]
    elif config.models == "papers":
        from alignment.models import list_models

        models = [{"label": name, "name": name} for name in list_models(papers_only=True)]
    else:
        models = [{"label": name, "name": name} for name in config.models]
    scoring = {"match": config.match, "mismatch": config.mismatch, "gap": config.gap}
    return {"architectures": architectures_task(models, store, level=config.level, scoring=scoring)}


@dataclass(frozen=True)
class _Known:
    """An observatory whose experiments are known."""

    folder: Path
    source: Observatory
    experiments: list[dict[str, Any]]
    task: Task | None


def _observatory(study: Study, store: Store) -> _Known | Task:
    config = study.observatory
    assert config is not None
    from alignment.brain.observatory import Observatory

    task = None
    if config.source == "simulated":
        size = {
            "cells": config.cells,
            "trials": config.trials,
            "sessions": config.sessions,
            "seed": study.seed,
        }
        task = Task("observatory", size, label=f"{config.sessions} sessions")
        if not store.has(task.stage, task.key):
            return task
        folder = store.path(task.stage, task.key)
    else:
        folder = Path(str(config.folder))
    source = Observatory(folder)
    return _Known(folder, source, source.list(**config.filters()).to_dict("records"), task)


class _Networks:
    """Domains, training and evaluation: the tasks that need no brain."""

    def __init__(self, study: Study, store: Store) -> None:
        self.study, self.store = study, store
        self.config = study.transfer

    def transfer(self) -> dict[str, Task]:
        """Return the targets and the evaluations by name."""
        if self.config is None:
            return {}
        tasks = {}
        for model in self.study.models:
            for variant in self.study.layer_variants:
                for source in self.config.sources:
                    for seed in self.config.seeds:
                        tasks.update(self._evaluations(model, variant, source, seed))
        return tasks

    def _evaluations(self, model: ModelConfig, variant: str, source: str, seed: int) -> dict[str, Task]:
        assert self.config is not None
        trained = self.train(model, variant, source, seed)
        tasks = {}
        for target in self.config.targets:
            label = f"{model.key} {variant} {source} to {target} seed {seed}"
            names = {
                "model": model.key,
                "layer_variant": variant,
                "source": source,
                "target": target,
                "seed": seed,
            }
            domain = self.domain(target, "test", model.image_size)
            tasks[f"domain:{target}"] = domain
            inputs = {"trained": trained, "domain": domain}
            network = _network(model) | {"seed": seed}
            tasks[f"evaluate:{label}"] = Task("evaluate", {**names, "network": network}, inputs, label)
        return tasks

    def domain(self, name: str, split: str, image_size: int) -> Task:
        assert self.config is not None
        limit = self.config.train_limit if split == "train" else self.config.test_limit
        params: dict[str, Any] = {"name": name, "split": split, "image_size": image_size, "limit": limit}
        params["seed"] = self.study.seed
        where = {}
        from alignment.transfer.domains import domain_files

        folder = self.config.data
        files = domain_files(name, split, folder)
        if files:
            params["content"] = [self.store.digest_file(path) for path in files]
            where["data"] = str(folder)
        return Task("domain", params, {}, f"{name} {split}", where)

    def train(self, model: ModelConfig, variant: str, source: str, seed: int) -> Task:
        assert self.config is not None
        names = ("epochs", "batch_size", "learning_rate", "patience", "validation")
        params = {name: getattr(self.config, name) for name in names}
        params |= {"network": _network(model) | {"seed": seed}, "layer_variant": variant, "seed": seed}
        where = {}
        if model.weights not in ("trained", "random"):
            params["weights"], where = _weights(model, self.store)
        inputs = {"domain": self.domain(source, "train", model.image_size)}
        return Task("train", params, inputs, f"{model.key} {variant} on {source} seed {seed}", where)


class _Alignment:
    """Responses, representations, activations and their comparison."""

    def __init__(self, study: Study, observatory: _Known, networks: _Networks) -> None:
        self.study, self.observatory, self.networks = study, observatory, networks
        self.store = networks.store

    def tasks(self) -> dict[str, Task]:
        """Return what the report reads, by name."""
        study = self.study
        population = self._population()
        sizes = sorted({model.image_size for model in study.models})
        scenes = self._scenes([list(study.representations.grid), *([size, size] for size in sizes)])
        tasks: dict[str, Task] = {"population": population, "scenes": scenes}
        if self.observatory.task is not None:
            tasks["resemblance"] = Task("resemblance", {}, {"observatory": self.observatory.task}, "quantiles")
        for kind in study.representations.kinds:
            params = {"kind": kind, "grid": list(study.representations.grid)}
            inputs = {"population": population, "scenes": scenes}
            tasks[f"representations:{kind}"] = Task("representations", params, inputs, kind)
        for model in study.models:
            self._model(model, tasks, population, scenes)
        return tasks

    def _model(self, model: ModelConfig, tasks: dict[str, Task], population: Task, scenes: Task) -> None:
        study = self.study
        for kind in study.representations.kinds:
            compared: dict[str, Task] = {}
            for variant in study.layer_variants:
                activations = self._activations(model, variant, scenes)
                tasks[f"activations:{model.key}:{variant}"] = activations
                params = {
                    "kind": kind,
                    "metrics": list(study.similarity.metrics),
                    "group_by": list(study.similarity.group_by),
                    "bootstraps": study.similarity.bootstraps,
                    "seed": study.seed,
                    "model": model.key,
                    "layer_variant": variant,
                }
                inputs = {"activations": activations, "scenes": scenes}
                inputs["representations"] = tasks[f"representations:{kind}"]
                label = f"{model.key} {variant} {kind}"
                compared[variant] = Task("similarity", params, inputs, label)
                tasks[f"similarity:{model.key}:{variant}:{kind}"] = compared[variant]
            self._paired(model, kind, compared, tasks)

    def _paired(self, model: ModelConfig, kind: str, compared: Mapping[str, Task], tasks: dict[str, Task]) -> None:
        similarity = self.study.similarity
        if "baseline" not in compared:
            return
        for variant, task in compared.items():
            if variant == "baseline":
                continue
            params = {
                "group_by": list(similarity.group_by),
                "bootstraps": similarity.bootstraps,
                "permutations": similarity.permutations,
                "seed": self.study.seed,
                "model": model.key,
                "layer_variant": variant,
                "kind": kind,
            }
            inputs = {"baseline": compared["baseline"], "variant": task}
            inputs["representations"] = tasks[f"representations:{kind}"]
            name = f"{model.key}:{variant}:{kind}"
            tasks[f"paired:{name}"] = Task("paired", params, inputs, f"{model.key} {variant} {kind}")

    def _session(self, experiment: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Task], dict[str, str]]:
        """Return what makes one session's data what they are: key, inputs and place."""
        number = int(experiment["experiment_id"])
        if self.observatory.task is not None:
            return {"experiment_id": number}, {"observatory": self.observatory.task}, {}
        file = self.observatory.source.path(number)
        if file is None:
            raise DataError(
                f"Experiment {number} is in the catalogue of {self.observatory.folder} but its NWB file is not there. "
                f"Fetch it: nalign observatory fetch --folder {self.observatory.folder}"
            )
        content = self.store.digest_file(file)
        return {"experiment_id": number, "content": content}, {}, {"folder": str(self.observatory.folder)}

    def _population(self) -> Task:
        config = self.study.responses
        sessions: dict[str, Task] = {}
        for experiment in self.observatory.experiments:
            params, inputs, where = self._session(experiment)
            params |= {"method": config.method, "window": list(config.window)}
            params |= {"experiment": _plain(experiment), "seed": self.study.seed}
            label = f"{experiment['experiment_id']} {experiment['area']} {experiment['genotype']}"
            sessions[str(params["experiment_id"])] = Task("responses", params, inputs, label, where)
        params = {"min_reliability": config.min_reliability, "select": config.select, "seed": self.study.seed}
        if config.select:
            params |= {"per_class": config.per_class, "clusters": config.clusters}
        return Task("population", params, sessions, f"{len(sessions)} sessions")

    def _scenes(self, sizes: list[list[int]]) -> Task:
        params, inputs, where = self._session(self.observatory.experiments[0])
        distinct = sorted({tuple(size) for size in sizes})
        return Task("scenes", {**params, "sizes": [list(size) for size in distinct]}, inputs, "118 scenes", where)

    def _activations(self, model: ModelConfig, variant: str, scenes: Task) -> Task:
        study = self.study
        params: dict[str, Any] = {
            "network": _network(model) | {"seed": study.seed},
            "layer_variant": variant,
            "model": model.key,
            "layers": study.activations.layers,
            "batch_size": study.activations.batch_size,
            "grid": list(study.representations.grid),
        }
        inputs, where = {"scenes": scenes}, {}
        if model.weights == "trained":
            transfer = study.transfer
            assert transfer is not None
            inputs["trained"] = self.networks.train(model, variant, transfer.sources[0], transfer.seeds[0])
            params["network"] = _network(model) | {"seed": transfer.seeds[0]}
        elif model.weights != "random":
            params["weights"], where = _weights(model, self.store)
        return Task("activations", params, inputs, f"{model.key} {variant}", where)


def _network(model: ModelConfig) -> dict[str, Any]:
    return {"name": model.name, "image_size": model.image_size, "width": model.width}


def _weights(model: ModelConfig, store: Store) -> tuple[str, dict[str, str]]:
    """Return what stands in the key for the weights, and where a file of them is."""
    path = Path(model.weights)
    if not path.is_absolute():
        return model.weights, {}
    if not path.is_file():
        raise InputError(f"The weights of model '{model.key}' are not there: {path}. Mend the path in the study.")
    return store.digest_file(path), {"weights": str(path)}


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a catalogue row with plain Python values."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in record.items()}


def _report(study: Study, transfer: Mapping[str, Task], alignment: Mapping[str, Task] | None) -> Task:
    shown = study.model_dump(mode="json", exclude={"compute"})
    if shown.get("transfer"):
        shown["transfer"].pop("data")
    if shown.get("observatory"):
        shown["observatory"].pop("folder")
    for model in shown["models"]:
        model["weights"] = Path(model["weights"]).name
    inputs = {**transfer, **(alignment or {})}
    return Task("report", {"study": shown}, inputs, study.name)
