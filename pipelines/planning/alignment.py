"""Tasks that compare brain and networks: representations, activations, similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.config import LayerConfig, ModelConfig, Study
from pipelines.config.comparison import OF_GROUPS
from pipelines.graph import Task
from pipelines.planning.brain import KnownObservatory
from pipelines.planning.controls import compared_layers, control_tasks, known_groups, neurn_layer
from pipelines.planning.networks import Networks, layer_params, network, weights_of

__all__ = ["Alignment"]


class Alignment:
    """Responses, representations, activations and their comparison."""

    def __init__(self, study: Study, observatory: KnownObservatory, networks: Networks) -> None:
        self.study, self.observatory, self.networks = study, observatory, networks
        self.store = networks.store
        self.groups = known_groups(observatory.experiments, study.similarity.group_by)

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
            self._model(model, tasks, scenes)
            if study.controls.random_twin and model.weights != "random":
                self._twin(model, tasks, scenes)
        return tasks | control_tasks(study, tasks, self.groups)

    def _model(self, model: ModelConfig, tasks: dict[str, Task], scenes: Task) -> None:
        study = self.study
        for kind in study.representations.kinds:
            compared: dict[str, Task] = {}
            for layer in compared_layers(study):
                activations = self._activations(model, layer, scenes)
                tasks[f"activations:{model.key}:{layer.key}"] = activations
                compared[layer.key] = self._similarity(model, layer, kind, activations, tasks)
                tasks[f"similarity:{model.key}:{layer.key}:{kind}"] = compared[layer.key]
            self._paired(model, kind, compared, tasks)

    def _twin(self, model: ModelConfig, tasks: dict[str, Task], scenes: Task) -> None:
        """Add the scores of the network as it was before training, with each layer in front."""
        for layer in compared_layers(self.study):
            activations = self._activations(model, layer, scenes, twin=True)
            for kind in self.study.representations.kinds:
                name = f"twin:{model.key}:{layer.key}:{kind}"
                tasks[name] = self._similarity(model, layer, kind, activations, tasks, twin=True)

    def _similarity(
        self,
        model: ModelConfig,
        layer: LayerConfig,
        kind: str,
        activations: Task,
        tasks: Mapping[str, Task],
        *,
        twin: bool = False,
    ) -> Task:
        study = self.study
        params: dict[str, Any] = {
            "kind": kind,
            "metrics": list(study.similarity.metrics),
            "group_by": list(study.similarity.group_by),
            "groups": self.groups,
            "bootstraps": study.similarity.bootstraps,
            "seed": study.seed,
            "model": model.key,
            "layer_variant": layer.key,
        }
        if layer.name == "neurn" != layer.key:  # what the label does not say
            params["neurn"] = True
        if twin:
            params["twin"] = True
        inputs = {"activations": activations, "scenes": tasks["scenes"]}
        inputs["representations"] = tasks[f"representations:{kind}"]
        return Task("similarity", params, inputs, f"{model.key} {layer.key} {kind}{' twin' if twin else ''}")

    def _paired(self, model: ModelConfig, kind: str, compared: Mapping[str, Task], tasks: dict[str, Task]) -> None:
        """Add the differences of cells' scores, where the study asks for a score that a single cell has."""
        similarity = self.study.similarity
        if set(similarity.metrics) <= OF_GROUPS:
            return
        pairs = [("baseline", variant) for variant in compared if variant != "baseline"]
        neurn = neurn_layer(self.study)
        if neurn is not None and "sobel" in compared:
            pairs.append(("sobel", neurn))  # what NeuRN does beyond finding edges
        for reference, variant in pairs:
            if reference not in compared:
                continue
            params = {
                "group_by": list(similarity.group_by),
                "groups": self.groups,
                "bootstraps": similarity.bootstraps,
                "permutations": similarity.permutations,
                "seed": self.study.seed,
                "model": model.key,
                "layer_variant": variant,
                "kind": kind,
            }
            if reference != "baseline":
                params["reference"] = reference
            inputs = {"baseline": compared[reference], "variant": compared[variant]}
            inputs["representations"] = tasks[f"representations:{kind}"]
            told = "" if reference == "baseline" else f" less {reference}"
            name = f"{model.key}:{variant}:{kind}{told}"
            tasks[f"paired:{name}"] = Task("paired", params, inputs, f"{model.key} {variant} {kind}{told}")

    def _activations(self, model: ModelConfig, layer: LayerConfig, scenes: Task, *, twin: bool = False) -> Task:
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
            if twin:  # the classes alone: a twin need not wait for the training
                inputs["classes"] = self.networks.domain(transfer.sources[0], "train", model.image_size)
            else:
                inputs["trained"] = self.networks.train(model, layer, transfer.sources[0], transfer.seeds[0])
            params["network"] = network(model, self.store) | {"seed": transfer.seeds[0]}
        elif model.weights != "random" and not twin:
            params["weights"], where = weights_of(model, self.store)
        label = f"{model.key} {layer.key}{' twin' if twin else ''}"
        return Task("activations", params, inputs, label, where)
