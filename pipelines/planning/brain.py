"""Tasks on the cortical side: sessions, the population and the scenes it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache import Store
from neural_alignment import DataError, InputError
from pipelines.config import Study
from pipelines.graph import Task

if TYPE_CHECKING:
    from alignment.brain.observatory import Observatory

__all__ = ["KnownObservatory", "find_observatory"]


@dataclass(frozen=True)
class KnownObservatory:
    """An observatory whose experiments are known."""

    store: Store
    folder: Path
    source: Observatory
    experiments: list[dict[str, Any]]
    task: Task | None

    def session(self, experiment: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Task], dict[str, str]]:
        """Return what makes one session's data what they are: key, inputs and place.

        Who reads them is no part of it: the readers return the same values.
        """
        number = int(experiment["experiment_id"])
        where: dict[str, str] = {"reader": self.source.reader}
        if self.task is not None:
            return {"experiment_id": number}, {"observatory": self.task}, where
        file = self.source.path(number)
        if file is None:
            raise DataError(
                f"Experiment {number} is in the catalogue of {self.folder} but its NWB file is not there. "
                f"Fetch it: nalign observatory fetch --folder {self.folder}"
            )
        content = self.store.digest_file(file)
        return (
            {"experiment_id": number, "content": content},
            {},
            {"folder": str(self.folder), "reader": self.source.reader},
        )

    def population(self, study: Study) -> Task:
        """Return the task that reads every session and joins them."""
        config = study.responses
        sessions: dict[str, Task] = {}
        # As they are by default they are in no key: results from before they could be chosen stay.
        chosen = config.model_dump(include={"stationary_below", "unusable"}, exclude_defaults=True)
        metrics = self.source.metrics_path
        for experiment in self.experiments:
            params, inputs, where = self.session(experiment)
            params |= {"method": config.method, "window": list(config.window), **chosen}
            if metrics is not None and self.task is None:
                params["metrics"] = self.store.digest_file(metrics)
            params |= {"experiment": _plain(experiment), "seed": study.seed}
            label = f"{experiment['experiment_id']} {experiment['area']} {experiment['genotype']}"
            sessions[str(params["experiment_id"])] = Task("responses", params, inputs, label, where)
        params = {"min_reliability": config.min_reliability, "select": config.select, "seed": study.seed}
        if config.select:
            params |= {"per_class": config.per_class, "clusters": config.clusters}
        return Task("population", params, sessions, f"{len(sessions)} sessions")

    def scenes(self, sizes: list[list[int]]) -> Task:
        """Return the task that resizes the scenes to every one of ``sizes``."""
        params, inputs, where = self.session(self.experiments[0])
        distinct = sorted({tuple(size) for size in sizes})
        return Task("scenes", {**params, "sizes": [list(size) for size in distinct]}, inputs, "118 scenes", where)


def find_observatory(study: Study, store: Store) -> KnownObservatory | Task:
    """Return the observatory, or the task that must write a simulated one first."""
    config = study.observatory
    assert config is not None
    from alignment.brain.allen.reader import reader_name
    from alignment.brain.observatory import Observatory

    if config.reader == "allensdk":
        reader_name(config.reader)  # refused now where it is not installed, and not by every task
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
        folder = store.read(task.stage, task.key)
    else:
        folder = Path(str(config.folder))
    source = Observatory(folder, reader=config.reader)
    listed = source.list(**config.filters())
    kept = listed[~listed["experiment_id"].isin(source.check_ids(config.exclude))]
    if kept.empty:
        raise InputError(
            f"observatory.exclude leaves none of the {len(listed)} experiments that the filters find in {folder}. "
            "Exclude fewer."
        )
    return KnownObservatory(store, folder, source, kept.to_dict("records"), task)


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a catalogue row with plain Python values."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in record.items()}
