"""Tasks of brain-machine fusion: tokens, pairs, the brain encoder, heads and their evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache import Store
from pipelines.config import FusionConfig, LayerConfig, ModelConfig, Study, VariantConfig
from pipelines.graph import Task
from pipelines.planning.networks import Networks, domain_task, layer_params, network, weights_of

__all__ = ["EXAMPLES", "fusion_tasks", "token_tasks"]

EXAMPLES = 8
"""Images of the source whose attention maps a report shows."""


def token_tasks(study: Study, networks: Networks) -> dict[str, Task]:
    """Return the tokens of every domain, which need no brain; nothing for a study without fusion."""
    if study.fusion is None:
        return {}
    return _Fusion(study, study.fusion, networks).tokens()


def fusion_tasks(study: Study, networks: Networks, cells: Mapping[str, Task] | None = None) -> dict[str, Task]:
    """Return what a report reads of the fusion, by name; nothing for a study without it.

    Parameters
    ----------
    study : Study
        With or without a ``fusion`` section.
    networks : Networks
        Where a trained vision encoder comes from.
    cells : mapping, optional
        The study's ``population`` and ``scenes`` tasks, where the brain is the observatory's.

    Raises
    ------
    InputError, DataError
        A domain or the fMRI folder is not there.
    """
    if study.fusion is None:
        return {}
    return _Fusion(study, study.fusion, networks).tasks(cells or {})


class _Fusion:
    def __init__(self, study: Study, config: FusionConfig, networks: Networks) -> None:
        self.study, self.config, self.networks = study, config, networks
        self.store: Store = networks.store
        keyed = {model.key: model for model in study.models}
        self.model: ModelConfig = keyed[config.encoder] if config.encoder else study.models[0]
        layers = {layer.key: layer for layer in study.layer_variants}
        self.layer: LayerConfig = layers[config.layer_variant]
        self.folder = config.data or (study.transfer.data if study.transfer is not None else None)

    def tokens(self) -> dict[str, Task]:
        """Return the tokens of the source's training split and of everything that is tested on."""
        named = {"train": self._domain(self.config.source, "train")}
        named |= {name: self._domain(name, self._split(name)) for name in self.config.tested()}
        return {f"tokens:{name}": self._tokens({"domain": domain}, domain.label) for name, domain in named.items()}

    def tasks(self, cells: Mapping[str, Task]) -> dict[str, Task]:
        """Return the encoder, one evaluation a head, and examples of attention."""
        tokens = self.tokens()
        pairs = self._pairs(cells)
        encoder = self._encoder(pairs)
        predicted = {
            name.replace("tokens:", "predicted:", 1): Task(
                "predicted", {}, {"encoder": encoder, "tokens": task}, task.label
            )
            for name, task in tokens.items()
        }
        found = {"brain_encoder": encoder}
        test = {name: task for name, task in (tokens | predicted).items() if not name.endswith(":train")}
        for variant in self.config.variants:
            for seed in self.config.seeds:
                label = f"{variant.name} seed {seed}"
                head = self._head(variant, seed, tokens["tokens:train"], predicted["predicted:train"], encoder)
                params = {"variant": variant.name, "seed": seed, "source": self.config.source, "model": self.model.key}
                inputs = {"head": head, "like": predicted["predicted:train"], "encoder": encoder, **test}
                found[f"ood:{label}"] = Task("ood", params, inputs, label)
                if seed == self.config.seeds[0] and variant.fuse in ("cross_attention", "image"):
                    found[f"attention:{variant.name}"] = self._attention(variant, head, encoder, tokens, predicted)
        return found

    def _domain(self, name: str, split: str) -> Task:
        config = self.config
        limit = config.train_limit if split == "train" else config.test_limit
        return domain_task(name, split, self.model.image_size, limit, self.study.seed, self.folder, self.store)

    def _split(self, name: str) -> str:
        """Test images: of a folder that is all test, every one."""
        from alignment.transfer.domains import is_whole_folder

        own = self.config.source.split(".")
        same = name.split(".")[: len(own)] == own
        return "all" if not same and is_whole_folder(name, self.folder) else "test"

    def _tokens(self, inputs: dict[str, Task], label: str) -> Task:
        model, study = self.model, self.study
        wanted = self.config.tokens
        params: dict[str, Any] = {"network": network(model, self.store) | {"seed": study.seed}}
        params |= layer_params(self.layer, self.layer.name)
        params |= {"layer_read": wanted.layer, "grid": wanted.grid, "dtype": wanted.dtype}
        where: dict[str, str] = {}
        if model.weights == "trained":
            transfer = study.transfer
            assert transfer is not None
            seed = transfer.seeds[0]
            inputs = {"trained": self.networks.train(model, self.layer, transfer.sources[0], seed), **inputs}
            params["network"] = network(model, self.store) | {"seed": seed}
        elif model.weights != "random":
            params["weights"], where = weights_of(model, self.store)
        # How many images go through at once decides nothing but memory.
        return Task("tokens", params, inputs, label, {**where, "batch_size": str(wanted.batch_size)})

    def _pairs(self, cells: Mapping[str, Task]) -> Task:
        brain, size = self.config.brain, self.model.image_size
        if brain.source == "observatory":
            params: dict[str, Any] = {"source": "observatory", "by": brain.roi, "image_size": size}
            inputs = {"population": cells["population"], "scenes": cells["scenes"]}
            return Task("pairs", params, inputs, f"cells by {brain.roi}")
        from alignment.transfer.fusion import algonauts_files

        folder = Path(str(brain.folder))
        content = [self.store.digest_file(path) for path in algonauts_files(folder, brain.atlas)]
        params = {"source": "fmri", "atlas": brain.atlas, "limit": brain.limit, "image_size": size, "content": content}
        return Task("pairs", params, {}, f"{folder.name} {brain.atlas}", {"folder": str(folder)})

    def _encoder(self, pairs: Task) -> Task:
        brain = self.config.brain
        params: dict[str, Any] = {"kind": brain.kind, "folds": brain.folds, "seed": self.study.seed}
        if brain.kind == "decoder":
            params |= {name: getattr(brain, name) for name in ("width", "depth", "heads", "epochs")}
        tokens = self._tokens({"pairs": pairs}, pairs.label)
        return Task("brain_encoder", params, {"tokens": tokens, "pairs": pairs}, pairs.label)

    def _head(self, variant: VariantConfig, seed: int, tokens: Task, predicted: Task, encoder: Task) -> Task:
        config = self.config
        params: dict[str, Any] = {"variant": config.variant(variant), "seed": seed}
        params |= {"head": config.head.model_dump(), "training": config.training.model_dump()}
        inputs = {"tokens": tokens, "predicted": predicted, "encoder": encoder}
        return Task("fusion", params, inputs, f"{variant.name} seed {seed}")

    def _attention(
        self,
        variant: VariantConfig,
        head: Task,
        encoder: Task,
        tokens: Mapping[str, Task],
        predicted: Mapping[str, Task],
    ) -> Task:
        source = self.config.source
        inputs = {"head": head, "encoder": encoder, "domain": self._domain(source, "test")}
        inputs |= {"tokens": tokens[f"tokens:{source}"], "predicted": predicted[f"predicted:{source}"]}
        inputs["like"] = predicted["predicted:train"]
        return Task("attention", {"images": EXAMPLES, "variant": variant.name}, inputs, f"{variant.name}")
