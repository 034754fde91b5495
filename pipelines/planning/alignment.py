"""Tasks that compare brain and networks: representations, activations, similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.config import LayerConfig, ModelConfig, Study
from pipelines.graph import Task
from pipelines.planning.brain import KnownObservatory
from pipelines.planning.networks import Networks, layer_params, network, weights_of

__all__ = ["Alignment"]


class Alignment:
    """Responses, representations, activations and their comparison."""

    def __init__(self, study: Study, observatory: KnownObservatory, networks: Networks) -> None:
        self.study, self.observatory, self.networks = study, observatory, networks
        self.store = networks.store

    def tasks(self) -> dict[str, Task]:
        """Return what the report reads, by name."""
        study = self.study
        population = self.observatory.population(study)
        sizes = sorted({model.image_size for model in study.models})
        scenes = self.observatory.scenes([list(study.representations.grid), *([size, size] for size in sizes)])
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
            for layer in study.layer_variants:
                variant = layer.key
                activations = self._activations(model, layer, scenes)
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
                if layer.name == "neurn" != variant:  # what the label does not say
                    params["neurn"] = True
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

    def _activations(self, model: ModelConfig, layer: LayerConfig, scenes: Task) -> Task:
        study = self.study
        params: dict[str, Any] = {
            "network": network(model, self.store) | {"seed": study.seed},
            **layer_params(layer, layer.key),
            "model": model.key,
            "layers": study.activations.layers,
            "batch_size": study.activations.batch_size,
            "grid": list(study.representations.grid),
            "halves": study.seed,
        }
        inputs, where = {"scenes": scenes}, {}
        if model.weights == "trained":
            transfer = study.transfer
            assert transfer is not None
            inputs["trained"] = self.networks.train(model, layer, transfer.sources[0], transfer.seeds[0])
            params["network"] = network(model, self.store) | {"seed": transfer.seeds[0]}
        elif model.weights != "random":
            params["weights"], where = weights_of(model, self.store)
        return Task("activations", params, inputs, f"{model.key} {layer.key}", where)
