"""Tasks that compare dissimilarities: a brain's, every network's with its random twins, and the pixels'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.config import LayerConfig, ModelConfig, RsaConfig, Study
from pipelines.graph import Task
from pipelines.planning.controls import compared_layers
from pipelines.planning.networks import Networks, layer_params, network, weights_of
from pipelines.planning.sources import existing

__all__ = ["PIXELS", "rsa_tasks"]

PIXELS = "pixels"
"""What tables call the scenes themselves, the baseline that any network should pass."""


def rsa_tasks(study: Study, networks: Networks, cells: Mapping[str, Task] | None = None) -> dict[str, Task]:
    """Return what a report reads of representational similarity, by name; nothing for a study without it.

    Parameters
    ----------
    study : Study
        With or without an ``rsa`` section.
    networks : Networks
        Where trained networks come from.
    cells : mapping, optional
        The study's ``population`` and ``scenes`` tasks, where its cells are compared.

    Raises
    ------
    DataError
        A file that the study names is not there.
    """
    if study.rsa is None:
        return {}
    return _Rsa(study, study.rsa, networks, cells or {}).tasks()


class _Rsa:
    def __init__(self, study: Study, config: RsaConfig, networks: Networks, cells: Mapping[str, Task]) -> None:
        self.study, self.config, self.networks, self.store = study, config, networks, networks.store
        self.layers = compared_layers(study)
        self.sizes = sorted({model.image_size for model in study.models})
        self.scenes = cells["scenes"] if config.scenes is None else self._scenes(config.scenes)
        self.brain = self._cells(cells["population"]) if config.matrices is None else self._matrices(config.matrices)

    def tasks(self) -> dict[str, Task]:
        """Return the brain's matrices and one comparison a network, pixels first."""
        # A layer inside of a network has no pixels to stand behind.
        pixels = {f"own:{layer.key}": self._pixels(layer) for layer in self.layers if layer.position == "input"}
        tasks = {"brain_rdms": self.brain, f"rsa:{PIXELS}": self._compare(PIXELS, pixels)}
        for model in self.study.models:
            read: dict[str, Task] = {}
            for layer in self.layers:
                read[f"own:{layer.key}"] = self._network(model, layer)
                for seed in range(self.config.twins):
                    read[f"twin{seed}:{layer.key}"] = self._twin(model, layer, seed)
            tasks[f"rsa:{model.key}"] = self._compare(model.key, read)
        return tasks

    def _compare(self, label: str, read: Mapping[str, Task]) -> Task:
        config = self.config
        params = {"model": label, "seed": self.study.seed, "bootstraps": config.bootstraps}
        params |= {"permutations": config.permutations, "splits": config.splits}
        params["neurn"] = [layer.key for layer in self.layers if layer.name == "neurn"]
        return Task("rsa", params, {"brain": self.brain, **read}, label)

    def _scenes(self, path: Path) -> Task:
        content = self._digest(path, "scenes")
        params = {"content": content, "sizes": self.sizes}
        return Task("rsa_scenes", params, {}, path.name, {"scenes": str(path)})

    def _matrices(self, path: Path) -> Task:
        content = self._digest(path, "matrices")
        where = {"matrices": str(path), "scenes": str(self.config.scenes)}
        return Task("brain_rdms", {"content": content}, {"scenes": self.scenes}, path.name, where)

    def _digest(self, path: Path, what: str) -> str:
        return self.store.digest_file(existing(path, f"The file of 'rsa.{what}'", self.config.origin))

    def _cells(self, population: Task) -> Task:
        params = {"group_by": list(self.study.similarity.group_by), "seed": self.study.seed}
        return Task("brain_rdms", params, {"population": population}, "groups of cells")

    def _pixels(self, layer: LayerConfig) -> Task:
        params = {**layer_params(layer, layer.key), "image_size": self.sizes[-1]}
        return Task("network_rdms", params, {"scenes": self.scenes}, f"{PIXELS} {layer.key}")

    def _network(self, model: ModelConfig, layer: LayerConfig) -> Task:
        params = self._reading(model, layer, self.study.seed)
        inputs, where = {"scenes": self.scenes}, {}
        if model.weights == "trained":
            transfer = self.study.transfer
            assert transfer is not None
            inputs["trained"] = self.networks.train(model, layer, transfer.sources[0], transfer.seeds[0])
            params = self._reading(model, layer, transfer.seeds[0])
        elif model.weights != "random":
            params["weights"], where = weights_of(model, self.store)
        return Task("network_rdms", params, inputs, f"{model.key} {layer.key}", where)

    def _twin(self, model: ModelConfig, layer: LayerConfig, seed: int) -> Task:
        label = f"{model.name} {layer.key} random {seed}"
        return Task("network_rdms", self._reading(model, layer, seed), {"scenes": self.scenes}, label)

    def _reading(self, model: ModelConfig, layer: LayerConfig, seed: int) -> dict[str, Any]:
        """Return how a network is made and read; its label is no part, so that networks share their twins."""
        reading = self.study.activations
        params = {"network": network(model, self.store) | {"seed": seed}, **layer_params(layer, layer.key)}
        return params | {"layers": reading.layers, "batch_size": reading.batch_size}
