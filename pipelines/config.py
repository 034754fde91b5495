"""The study file: what may stand in it, and one clear message for each thing that may not.

A study is YAML, checked by the pydantic models below. Paths in it are relative to the file. Everything except
``compute`` and ``report`` decides results and is part of their keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "ActivationsConfig",
    "ArchitecturesConfig",
    "ComputeConfig",
    "ModelConfig",
    "ObservatoryConfig",
    "RepresentationsConfig",
    "ResponsesConfig",
    "SimilarityConfig",
    "Study",
    "TransferConfig",
]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ObservatoryConfig(_Part):
    """Where cortical responses come from."""

    source: Literal["simulated", "folder"] = "simulated"
    folder: Path | None = Field(None, description="an Allen cache folder or a folder of NWB files")
    cells: int = Field(12, ge=1, description="simulated: cells a session")
    trials: int = Field(20, ge=2, description="simulated: presentations of each scene")
    sessions: int = Field(24, ge=1, description="simulated: sessions")
    area: list[str] | None = None
    cre_line: list[str] | None = None
    genotype: list[str] | None = None
    depth_um: tuple[float, float] | None = Field(None, description="from, to (inclusive), in micrometres")
    neuron_class: list[Literal["excitatory", "inhibitory"]] | None = None

    @model_validator(mode="after")
    def _folder_goes_with_source(self) -> ObservatoryConfig:
        if self.source == "folder" and self.folder is None:
            raise ValueError("source: folder needs 'folder', the path of an Allen cache or of NWB files")
        if self.source == "simulated" and self.folder is not None:
            raise ValueError("'folder' is given but source is simulated; write source: folder to read it")
        return self

    def filters(self) -> dict[str, Any]:
        """Return the choice of experiments as keyword arguments of ``Observatory.list``."""
        names = ("area", "cre_line", "genotype", "depth_um", "neuron_class")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class ResponsesConfig(_Part):
    """How a trial's response is read from the trace, and which cells are kept."""

    method: Literal["dff", "mean_sweep_response"] = "dff"
    window: tuple[float, float] = Field((0.0, 0.5), description="seconds from scene onset")
    min_reliability: float | None = Field(None, ge=-1, le=1, description="split-half, Spearman-Brown")
    select: bool = Field(False, description="UMAP and k-means: the most central cells of each class")
    per_class: int = Field(500, ge=1)
    clusters: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _window_is_forward(self) -> ResponsesConfig:
        if not self.window[0] < self.window[1]:
            raise ValueError("'window' must be [start, end] in seconds with start < end")
        return self


class RepresentationsConfig(_Part):
    """Which neural representations are compared, on which grid."""

    kinds: list[Literal["weighted", "matched", "tuning"]] = Field(["weighted"], min_length=1)
    grid: tuple[Annotated[int, Field(ge=2, le=256)], Annotated[int, Field(ge=2, le=256)]] = (32, 32)


class ModelConfig(_Part):
    """One network of the study."""

    name: str = Field(min_length=1, description="a zoo name, timm:NAME, torchvision:NAME or module.path:function")
    label: Name | None = Field(None, description="what tables and figures call it; the name by default")
    weights: str = Field("random", description="random, trained (by this study's transfer), a hub tag or a file")
    image_size: int = Field(224, ge=8, le=1024)
    width: float = Field(1.0, gt=0, le=4, description="channel multiplier, where the family has one")

    @property
    def key(self) -> str:
        """What tables call the network."""
        return self.label or self.name


class ActivationsConfig(_Part):
    """Which network layers are read."""

    layers: str | list[str] = "auto"
    batch_size: int = Field(32, ge=1)


class ArchitecturesConfig(_Part):
    """Which networks are compared by their sequences of layers, and how."""

    models: Literal["study", "papers"] | Annotated[list[str], Field(min_length=2)] = Field(
        "study", description="this study's, the papers' 44, or names"
    )
    level: Literal["papers", "types", "detailed"] = Field("papers", description="the alphabet of layers")
    match: int = 1
    mismatch: int = -2
    gap: int = Field(-2, le=0)

    @model_validator(mode="after")
    def _names_differ(self) -> ArchitecturesConfig:
        if isinstance(self.models, list) and len(set(self.models)) < len(self.models):
            raise ValueError(f"'models' lists a name twice: {self.models}")
        return self


class SimilarityConfig(_Part):
    """How representations are compared, and for which groups of cells."""

    metrics: list[Literal["rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit"]] = Field(
        ["rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit"], min_length=1
    )
    group_by: list[Literal["area", "cre_line", "genotype", "cortical_layer", "neuron_class"]] = Field(
        ["area", "genotype", "neuron_class"], min_length=1
    )
    bootstraps: int = Field(1000, ge=100, le=100_000)
    permutations: int = Field(1000, ge=99, le=1_000_000)


class TransferConfig(_Part):
    """Single-source domain generalisation: one source's training split, every target's test split once."""

    data: Path | None = Field(None, description="folder of the data sets that are not embedded")
    sources: list[Name] = Field(min_length=1)
    targets: list[Name] = Field(min_length=1)
    seeds: list[Seed] = Field([0, 1, 2], min_length=1)
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    patience: int = Field(5, ge=1)
    validation: float = Field(0.1, gt=0, lt=0.9)
    train_limit: int | None = Field(None, ge=10, description="a seeded, stratified subset of the source")
    test_limit: int | None = Field(None, ge=10)


class ComputeConfig(_Part):
    """Where the work runs; never part of a result's key."""

    cluster: Literal["local", "inline", "slurm", "pbs", "sge", "lsf", "htcondor"] = "local"
    scheduler: str | None = Field(None, description="address of a running Dask scheduler, e.g. tcp://host:8786")
    workers: int = Field(2, ge=1)
    threads: int = Field(1, ge=1, description="threads a worker")
    device: str = "auto"
    options: dict[str, Any] = Field({}, description="passed to the dask-jobqueue cluster")


class Study(_Part):
    """A whole study."""

    name: Name
    title: str = Field(min_length=1, max_length=300)
    seed: Seed = 0
    observatory: ObservatoryConfig | None = None
    responses: ResponsesConfig = ResponsesConfig()
    representations: RepresentationsConfig = RepresentationsConfig()
    models: list[ModelConfig] = Field(min_length=1)
    layer_variants: list[str] = Field(["baseline", "neurn"], min_length=1)
    activations: ActivationsConfig = ActivationsConfig()
    similarity: SimilarityConfig = SimilarityConfig()
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
        for what, listed in (("layer_variants", self.layer_variants), ("models", keys)):
            if len(set(listed)) < len(listed):
                raise ValueError(f"'{what}' lists a name twice: {listed}")
        return self
