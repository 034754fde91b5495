"""A whole study, and where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from pipelines.config._base import Name, Part, Seed
from pipelines.config.brain import ObservatoryConfig, RepresentationsConfig, ResponsesConfig
from pipelines.config.comparison import ControlsConfig, SimilarityConfig
from pipelines.config.fusion import FusionConfig
from pipelines.config.layers import LayerConfig
from pipelines.config.networks import ActivationsConfig, ArchitecturesConfig, ModelConfig
from pipelines.config.rsa import RsaConfig
from pipelines.config.transfer import TransferConfig

__all__ = ["ComputeConfig", "Study"]


class ComputeConfig(Part):
    """Where the work runs; never part of a result's key."""

    cluster: Literal["local", "inline", "slurm", "pbs", "sge", "lsf", "htcondor"] = "local"
    scheduler: str | None = Field(None, description="address of a running Dask scheduler, e.g. tcp://host:8786")
    workers: int = Field(2, ge=1, description="processes or jobs; each does one task at a time")
    threads: int = Field(1, ge=1, description="threads of each worker's arithmetic")
    device: str = "auto"
    options: dict[str, Any] = Field({}, description="passed to the dask-jobqueue cluster")
    patience: float = Field(60, gt=0, description="minutes without any worker after which a run ends")
    tries: int = Field(3, ge=1, description="how often a task is begun whose worker stops")
    modules: Path | None = Field(
        None, description="folder of your own networks and methods; by default the study file's"
    )


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
    rsa: RsaConfig | None = Field(None, description="compare dissimilarities of scenes")
    fusion: FusionConfig | None = Field(None, description="fuse a frozen vision model with predicted responses")
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="after")
    def _parts_agree(self) -> Study:
        keys = [model.key for model in self.models]
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        if doubled:
            raise ValueError(f"two models are called {doubled[0]!r}; give one of them another 'label'")
        self._check_brain()
        if self.transfer is None and any(model.weights == "trained" for model in self.models):
            raise ValueError("weights: trained needs a 'transfer' section to train them in")
        if self.architectures is not None and self.architectures.models == "study" and len(keys) < 2:
            raise ValueError("'architectures' compares networks, and this study has one; name others in its 'models'")
        layers = [layer.key for layer in self.layer_variants]
        if len(set(layers)) < len(layers):
            raise ValueError(f"'layer_variants' lists a name twice: {layers}")
        if self.transfer is not None:
            self.transfer.pairs([layer.key for layer in self.transfer_layers])
        if self.fusion is not None:
            self._check_fusion(self.fusion, keys, layers)
        return self

    @property
    def transfer_layers(self) -> list[LayerConfig]:
        """Layer variants that are trained on domains: the study's, and Sobel where ``transfer.sobel`` asks for it."""
        asked = self.transfer is not None and self.transfer.sobel
        missing = all(layer.name != "sobel" for layer in self.layer_variants)
        return [*self.layer_variants, *([LayerConfig(name="sobel")] if asked and missing else [])]

    def _check_fusion(self, fusion: FusionConfig, models: list[str], layers: list[str]) -> None:
        named = [("encoder", fusion.encoder or models[0], models), ("layer_variant", fusion.layer_variant, layers)]
        for what, name, known in named:
            if name not in known:
                raise ValueError(f"'fusion.{what}' is {name!r}, and this study has {', '.join(known)}")
        if fusion.brain.source == "observatory" and self.observatory is None:
            raise ValueError("'fusion' predicts responses of the observatory's cells: add 'observatory', or take fmri")

    def _check_brain(self) -> None:
        """Raise unless the study compares something, and networks with one brain only."""
        matrices = self.rsa is not None and self.rsa.matrices is not None
        if self.observatory is None and self.transfer is None and self.fusion is None and not matrices:
            raise ValueError(
                "a study needs 'observatory' (alignment), 'transfer' (domains), 'fusion', or 'rsa' with 'matrices' "
                "(similarity matrices of populations)"
            )
        if self.rsa is not None and not matrices and self.observatory is None:
            raise ValueError("'rsa' needs 'matrices' and 'scenes', or an 'observatory' whose cells are compared")
        if matrices and self.observatory is not None:
            raise ValueError("'rsa.matrices' and 'observatory' are two brains; compare each in a study of its own")
