"""A whole study, and where it runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from pipelines.config._base import Name, Part, Seed
from pipelines.config.brain import ObservatoryConfig, RepresentationsConfig, ResponsesConfig
from pipelines.config.comparison import ControlsConfig, SimilarityConfig
from pipelines.config.layers import LayerConfig
from pipelines.config.networks import ActivationsConfig, ArchitecturesConfig, ModelConfig
from pipelines.config.transfer import TransferConfig

__all__ = ["ComputeConfig", "Study"]


class ComputeConfig(Part):
    """Where the work runs; never part of a result's key."""

    cluster: Literal["local", "inline", "slurm", "pbs", "sge", "lsf", "htcondor"] = "local"
    scheduler: str | None = Field(None, description="address of a running Dask scheduler, e.g. tcp://host:8786")
    workers: int = Field(2, ge=1)
    threads: int = Field(1, ge=1, description="threads a worker")
    device: str = "auto"
    options: dict[str, Any] = Field({}, description="passed to the dask-jobqueue cluster")


class Study(Part):
    """A whole study."""

    name: Name
    title: str = Field(min_length=1, max_length=300)
    seed: Seed = 0
    observatory: ObservatoryConfig | None = None
    responses: ResponsesConfig = ResponsesConfig()
    representations: RepresentationsConfig = RepresentationsConfig()
    models: list[ModelConfig] = Field(min_length=1)
    layer_variants: list[LayerConfig] = Field(
        [LayerConfig(name="baseline"), LayerConfig(name="neurn")],
        min_length=1,
        description="names, or mappings with options: {name: neurn, k: 5, label: wide}",
    )
    activations: ActivationsConfig = ActivationsConfig()
    similarity: SimilarityConfig = SimilarityConfig()
    controls: ControlsConfig = ControlsConfig()
    architectures: ArchitecturesConfig | None = None
    transfer: TransferConfig | None = None
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="after")
    def _parts_agree(self) -> Study:
        keys = [model.key for model in self.models]
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        if doubled:
            raise ValueError(f"two models are called {doubled[0]!r}; give one of them another 'label'")
        if self.observatory is None and self.transfer is None:
            raise ValueError("a study needs 'observatory' (alignment), 'transfer' (domains) or both")
        if self.transfer is None and any(model.weights == "trained" for model in self.models):
            raise ValueError("weights: trained needs a 'transfer' section to train them in")
        if self.architectures is not None and self.architectures.models == "study" and len(keys) < 2:
            raise ValueError("'architectures' compares networks, and this study has one; name others in its 'models'")
        layers = [layer.key for layer in self.layer_variants]
        if len(set(layers)) < len(layers):
            raise ValueError(f"'layer_variants' lists a name twice: {layers}")
        if self.transfer is not None:
            self.transfer.pairs(layers)
        return self
