"""Tasks that say what scores are worth: noise ceilings, the shuffled-scene null, untrained twins, the claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.config import LayerConfig, Study
from pipelines.graph import Task

__all__ = ["compared_layers", "control_tasks", "known_groups", "neurn_layer"]

_SEPARATOR = " × "  # as alignment.brain.group_cells names groups of two coordinates


def compared_layers(study: Study) -> list[LayerConfig]:
    """Return the layer variants that are compared with cells: the study's, and Sobel where it is asked for."""
    layers = list(study.layer_variants)
    if study.controls.sobel and all(layer.name != "sobel" for layer in layers):
        layers.append(LayerConfig(name="sobel"))
    return layers


def neurn_layer(study: Study) -> str | None:
    """Return the label of the layer variant that the published claims are about: NeuRN, as published if it is there."""
    keys = [layer.key for layer in study.layer_variants if layer.name == "neurn"]
    return "neurn" if "neurn" in keys else next(iter(keys), None)


def known_groups(experiments: Sequence[Mapping[str, Any]], group_by: Sequence[str]) -> dict[str, list[str]]:
    """Return the groups that some session belongs to, by grouping, whether or not any of its cells is kept."""
    found: dict[str, list[str]] = {}
    for by in group_by:
        names = by.split("+")
        told = [row for row in experiments if all(row.get(name) is not None for name in names)]
        found[by] = sorted({_SEPARATOR.join(str(row[name]) for name in names) for row in told})
    return found


def control_tasks(study: Study, tasks: Mapping[str, Task], groups: Mapping[str, Sequence[str]]) -> dict[str, Task]:
    """Return the ceilings of every representation, the null of every score, and the claims, by the report's names.

    Parameters
    ----------
    study : Study
        What is asked for.
    tasks : mapping of str to Task
        The study's comparison: ``population``, ``scenes``, ``representations:KIND``, ``activations:MODEL:LAYER`` and
        ``similarity:MODEL:LAYER:KIND``.
    groups : mapping of str to sequence of str
        From :func:`known_groups`.
    """
    similarity, controls = study.similarity, study.controls
    read = {name: tasks[name] for name in ("population", "scenes")}
    shared: dict[str, Any] = {
        "grid": list(study.representations.grid),
        "metrics": list(similarity.metrics),
        "group_by": list(similarity.group_by),
        "groups": dict(groups),
        "seed": study.seed,
    }
    made: dict[str, Task] = {}
    for kind in study.representations.kinds:
        params = shared | {"kind": kind, "splits": controls.ceiling_splits, "bootstraps": similarity.bootstraps}
        whole = {"representations": tasks[f"representations:{kind}"]}
        made[f"ceiling:{kind}"] = Task("ceiling", params, {**read, **whole}, kind)
        for model in study.models:
            for layer in compared_layers(study):
                name = f"{model.key}:{layer.key}"
                if not controls.shuffled_scenes:
                    continue
                params = shared | {"kind": kind, "shuffles": controls.shuffled_scenes}
                params |= {"model": model.key, "layer_variant": layer.key}
                if layer.name == "neurn" != layer.key:
                    params["neurn"] = True
                inputs = {
                    **read,
                    "activations": tasks[f"activations:{name}"],
                    "scores": tasks[f"similarity:{name}:{kind}"],
                }
                made[f"null:{name}:{kind}"] = Task("null", params, inputs, f"{model.key} {layer.key} {kind}")
        made |= _claims(study, {**tasks, **made}, kind, shared)
    return made


def _claims(study: Study, tasks: Mapping[str, Task], kind: str, shared: Mapping[str, Any]) -> dict[str, Task]:
    """Return the task that judges the published statements, where NeuRN and the baseline are compared."""
    variant, similarity = neurn_layer(study), study.similarity
    told = any(metric.startswith("rmse") for metric in similarity.metrics)
    if variant is None or not told or all(layer.key != "baseline" for layer in study.layer_variants):
        return {}
    names = [model.key for model in study.models]
    params = {**shared, "kind": kind, "models": names, "variant": variant}
    params |= {"bootstraps": similarity.bootstraps, "permutations": similarity.permutations}
    params["metrics"] = [metric for metric in similarity.metrics if metric.startswith("rmse")]
    inputs = {"representations": tasks[f"representations:{kind}"]}
    for name in names:
        inputs[f"baseline:{name}"] = tasks[f"similarity:{name}:baseline:{kind}"]
        inputs[f"variant:{name}"] = tasks[f"similarity:{name}:{variant}:{kind}"]
        for layer in ("baseline", variant) if study.controls.shuffled_scenes else ():
            inputs[f"null:{name}:{layer}"] = tasks[f"null:{name}:{layer}:{kind}"]
    return {f"claims:{kind}": Task("claims", params, inputs, kind)}
