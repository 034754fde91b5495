"""Tasks on the network side that need no brain: domains, training and evaluation."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from alignment.transfer.domains import shift_between
from cache import Store
from pipelines.config import LayerConfig, MethodConfig, ModelConfig, Study
from pipelines.graph import Task
from pipelines.planning.sources import existing, own_source

__all__ = ["FEATURE_IMAGES", "FLOOR_PIXELS", "Networks", "domain_task", "layer_params", "network", "weights_of"]

FEATURE_IMAGES = 256
"""Images of each domain that are looked at inside the networks: means over channels need no more."""

FLOOR_PIXELS = 16
"""Side of the grey images whose nearest neighbours are looked for."""

_PLAIN = MethodConfig(name="plain")


class Networks:
    """Domains, training and evaluation: the tasks that need no brain."""

    def __init__(self, study: Study, store: Store) -> None:
        self.study, self.store = study, store
        self.config = study.transfer
        self._domains: dict[tuple[str, str, int, int | None], Task] = {}
        self._sees_target: dict[str, bool] = {}

    def transfer(self) -> dict[str, Task]:
        """Return the targets, the evaluations and what these are held against by name."""
        if self.config is None:
            return {}
        layers = {layer.key: layer for layer in self.study.transfer_layers}
        tasks = {}
        for model in self.study.models:
            if not model.transfer:
                continue
            for layer, method in self.config.pairs(list(layers)):
                for source in self.config.sources:
                    for seed in self.config.seeds:
                        chosen = self.config.method(method)
                        tasks.update(self._evaluations(model, layers[layer], chosen, source, seed))
        return tasks | self._untrained()

    def _untrained(self) -> dict[str, Task]:
        """Return what needs no network: floors under every accuracy, and distances of images from shifted copies."""
        assert self.config is not None
        in_front = {layer.key: layer.made() for layer in self.study.transfer_layers if layer.position == "input"}
        layers = {"baseline": {"name": "baseline"}} | in_front
        sizes = sorted({model.image_size for model in self.study.models if model.transfer})
        tasks = {}
        for size, source, target in itertools.product(sizes, self.config.sources, self.config.targets):
            label = f"{source} to {target} at {size} px"
            params = {"source": source, "target": target, "image_size": size, "layers": layers}
            inputs = {"source": self.domain(source, "train", size), "target": self.domain(target, "test", size)}
            tasks[f"floors:{label}"] = Task("floors", {**params, "pixels": FLOOR_PIXELS}, inputs, label)
            shift = shift_between(source, target)
            if shift is not None:
                params |= {"shift": list(shift), "images": FEATURE_IMAGES, "seed": self.study.seed}
                own = {"source": self.domain(source, "test", size)}
                tasks[f"invariance:{label}"] = Task("invariance", params, own, label)
        return tasks

    def _evaluations(
        self, model: ModelConfig, layer: LayerConfig, method: MethodConfig, source: str, seed: int
    ) -> dict[str, Task]:
        assert self.config is not None
        seen = self._sees(method)
        tasks = {}
        for target in self.config.targets:
            if seen and target == source:
                continue
            trained = self.train(model, layer, source, seed, method, target if seen else None)
            label = f"{_condition(model, layer, method)} {source} to {target} seed {seed}"
            params = {"model": model.key, **layer_params(layer, layer.key), "method": method.key, "sees_target": seen}
            params |= {"source": source, "target": target, "seed": seed}
            params |= {"network": network(model, self.store) | {"seed": seed}}
            domain = self.domain(target, "test", model.image_size)
            tasks[f"domain:{target}"] = domain
            tasks[f"evaluate:{label}"] = Task("evaluate", params, {"trained": trained, "domain": domain}, label)
            if seed == self.config.seeds[0] and source != target:
                own = self.domain(source, "test", model.image_size)
                inputs = {"trained": trained, "target": domain, "source": own}
                tasks[f"features:{label}"] = Task("features", {**params, "images": FEATURE_IMAGES}, inputs, label)
        return tasks

    def _sees(self, method: MethodConfig) -> bool:
        if method.key not in self._sees_target:
            from alignment.transfer import create_method

            self._sees_target[method.key] = create_method(method.name, **method.options).sees_target
        return self._sees_target[method.key]

    def domain(self, name: str, split: str, image_size: int, limit: int | None = None) -> Task:
        """Return the task that loads one split of one domain; ``limit`` stands for the study's own."""
        assert self.config is not None
        if limit is None:
            limit = self.config.train_limit if split == "train" else self.config.test_limit
        place = (name, split, image_size, limit)
        if place not in self._domains:
            self._domains[place] = self._domain(*place)
        return self._domains[place]

    def _domain(self, name: str, split: str, image_size: int, limit: int | None) -> Task:
        assert self.config is not None
        return domain_task(name, split, image_size, limit, self.study.seed, self.config.data, self.store)

    def train(
        self,
        model: ModelConfig,
        layer: LayerConfig,
        source: str,
        seed: int,
        method: MethodConfig = _PLAIN,
        target: str | None = None,
    ) -> Task:
        """Return the task that trains one network, with a layer in front or not, on one source by one method.

        ``target`` names the domain whose unlabelled training images the method sees.
        """
        assert self.config is not None
        label = f"{_condition(model, layer, method)} on {source} seed {seed}"
        params = self._training(model, layer, seed)
        inputs = {"domain": self.domain(source, "train", model.image_size)}
        where: dict[str, str] = {}
        if self.config.pretrain is not None:
            inputs["start"] = self._pretraining(model, layer, seed)
        else:
            where = self._start(model, params)
        if method.name != "plain" or method.options:
            params["method"] = {"name": method.name, "options": method.options, **own_source(method.name, self.store)}
        if target is not None:
            inputs["target"] = self.domain(target, "train", model.image_size)
            label += f", seeing {target}"
        return Task("train", params, inputs, label, where)

    def _pretraining(self, model: ModelConfig, layer: LayerConfig, seed: int) -> Task:
        """Return the training on another domain that those on the sources start from."""
        assert self.config is not None and self.config.pretrain is not None
        before = self.config.pretrain
        params = self._training(model, layer, seed) | {"epochs": before.epochs}
        if before.learning_rate is not None:
            params["learning_rate"] = before.learning_rate
        where = self._start(model, params)
        inputs = {"domain": self.domain(before.domain, "train", model.image_size, before.train_limit)}
        label = f"{_condition(model, layer, _PLAIN)} first on {before.domain} seed {seed}"
        return Task("train", params, inputs, label, where)

    def _training(self, model: ModelConfig, layer: LayerConfig, seed: int) -> dict[str, Any]:
        names = ("epochs", "batch_size", "learning_rate", "patience", "validation")
        params: dict[str, Any] = {name: getattr(self.config, name) for name in names}
        params |= {"network": network(model, self.store) | {"seed": seed}, "seed": seed}
        return params | layer_params(layer, layer.name)

    def _start(self, model: ModelConfig, params: dict[str, Any]) -> dict[str, str]:
        """Put the weights to start from into ``params``; return where a file of them is."""
        given = model.init or (model.weights if model.weights not in ("trained", "random") else None)
        if given is None:
            return {}
        params["weights"], where = weights_of(model, self.store, given)
        return where


def domain_task(
    name: str, split: str, image_size: int, limit: int | None, seed: int, folder: Path | None, store: Store
) -> Task:
    """Return the task that loads one split of one domain from ``folder``, whose files are digested for the key."""
    from alignment.transfer.domains import domain_files

    params: dict[str, Any] = {"name": name, "split": split, "image_size": image_size, "limit": limit, "seed": seed}
    where = {}
    files = domain_files(name, split, folder)
    if files:
        params["content"] = [store.digest_file(path) for path in files]
        where["data"] = str(folder)
    return Task("domain", params, {}, f"{name} {split}", where)


def _condition(model: ModelConfig, layer: LayerConfig, method: MethodConfig) -> str:
    return " ".join([model.key, layer.key, *([] if method.key == "plain" else [method.key])])


def layer_params(layer: LayerConfig, called: str) -> dict[str, Any]:
    """Return how a task's parameters tell a layer: what it is called, and how it is made where that is not all."""
    made = layer.made()
    return {"layer_variant": called} | ({} if made == {"name": called} else {"layer": made})


def network(model: ModelConfig, store: Store) -> dict[str, Any]:
    """Return what a network is made from, as the stages take it; its seed comes from who makes it."""
    made = {"name": model.name, "image_size": model.image_size, "width": model.width}
    return made | own_source(model.name, store)


def weights_of(model: ModelConfig, store: Store, given: str | None = None) -> tuple[str, dict[str, str]]:
    """Return what stands in the key for the weights (the model's own, or others), and where a file of them is."""
    path = Path(model.weights if given is None else given)
    if not path.is_absolute():
        return str(path), {}
    existing(path, f"The file of weights of model '{model.key}'", model.origin)
    return store.digest_file(path), {"weights": str(path)}
