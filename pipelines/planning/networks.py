"""Tasks on the network side that need no brain: domains, training and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cache import Store
from neural_alignment import InputError
from pipelines.config import ModelConfig, Study
from pipelines.graph import Task

__all__ = ["FEATURE_IMAGES", "Networks", "network", "weights_of"]

FEATURE_IMAGES = 256
"""Images of each domain that are looked at inside the networks: means over channels need no more."""


class Networks:
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
            params = {**names, "network": network(model) | {"seed": seed}}
            tasks[f"evaluate:{label}"] = Task("evaluate", params, inputs, label)
            if seed == self.config.seeds[0] and source != target:
                params |= {"images": FEATURE_IMAGES}
                inputs = {"trained": trained, "target": domain, "source": self.domain(source, "test", model.image_size)}
                tasks[f"features:{label}"] = Task("features", params, inputs, label)
        return tasks

    def domain(self, name: str, split: str, image_size: int) -> Task:
        """Return the task that loads one split of one domain."""
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
        """Return the task that trains one network, with a layer in front or not, on one source."""
        assert self.config is not None
        names = ("epochs", "batch_size", "learning_rate", "patience", "validation")
        params = {name: getattr(self.config, name) for name in names}
        params |= {"network": network(model) | {"seed": seed}, "layer_variant": variant, "seed": seed}
        where = {}
        if model.weights not in ("trained", "random"):
            params["weights"], where = weights_of(model, self.store)
        inputs = {"domain": self.domain(source, "train", model.image_size)}
        return Task("train", params, inputs, f"{model.key} {variant} on {source} seed {seed}", where)


def network(model: ModelConfig) -> dict[str, Any]:
    """Return what a network is made from, as the stages take it; its seed comes from who makes it."""
    return {"name": model.name, "image_size": model.image_size, "width": model.width}


def weights_of(model: ModelConfig, store: Store) -> tuple[str, dict[str, str]]:
    """Return what stands in the key for the weights, and where a file of them is."""
    path = Path(model.weights)
    if not path.is_absolute():
        return model.weights, {}
    if not path.is_file():
        raise InputError(f"The weights of model '{model.key}' are not there: {path}. Mend the path in the study.")
    return store.digest_file(path), {"weights": str(path)}
