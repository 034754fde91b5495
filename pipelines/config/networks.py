"""The network side of a study: which networks, which of their layers, and their architectures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.config._base import Name, Part

__all__ = ["ActivationsConfig", "ArchitecturesConfig", "ModelConfig"]


class ModelConfig(Part):
    """One network of the study."""

    name: str = Field(min_length=1, description="a zoo name, timm:NAME, torchvision:NAME or module.path:function")
    label: Name | None = Field(None, description="what tables and figures call it; the name by default")
    weights: str = Field("random", description="random, trained (by this study's transfer), a hub tag or a file")
    origin: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="where a file of weights comes from and its licence; told where the file is missing",
    )
    init: str | None = Field(
        None,
        description="what training starts from: a hub tag or a file, whose classifier is replaced where its classes "
        "are other ones; random weights by default",
    )
    transfer: bool = Field(True, description="whether the study's transfer trains it too")
    image_size: int = Field(224, ge=8, le=1024)
    width: float = Field(1.0, gt=0, le=4, description="channel multiplier, where the family has one")

    @property
    def key(self) -> str:
        """What tables call the network."""
        return self.label or self.name


class ActivationsConfig(Part):
    """Which network layers are read."""

    layers: str | list[str] = "auto"
    batch_size: int = Field(32, ge=1)


class ArchitecturesConfig(Part):
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
