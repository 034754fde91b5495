"""The task that compares architectures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cache import Store
from pipelines.config import Study
from pipelines.graph import Task
from pipelines.planning.networks import network
from pipelines.planning.sources import own_source

__all__ = ["architectures_task", "study_architectures"]


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
    listed = [{**model, **own_source(str(model["name"]), store)} for model in models]
    params = {"models": listed, "level": level, "scoring": dict(scoring or {}), "symbols": dict(symbols or {})}
    return Task("architectures", params, {}, f"{len(listed)} networks, {level}")


def study_architectures(study: Study, store: Store) -> dict[str, Task]:
    """Return the task of a study that asks for architectures, by the name the report knows it by."""
    config = study.architectures
    if config is None:
        return {}
    models: list[dict[str, Any]]
    if config.models == "study":
        models = [{"label": model.key, **network(model, store)} for model in study.models]
    elif config.models == "papers":
        from alignment.models import list_models

        models = [{"label": name, "name": name} for name in list_models(papers_only=True)]
    else:
        models = [{"label": name, "name": name} for name in config.models]
    scoring = {"match": config.match, "mismatch": config.mismatch, "gap": config.gap}
    return {"architectures": architectures_task(models, store, level=config.level, scoring=scoring)}
