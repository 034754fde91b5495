"""Brain-machine fusion: which encoder, which brain, which heads, tested on what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipelines.config._base import Name, Part, Seed

__all__ = ["BrainEncoderConfig", "FusionConfig", "HeadConfig", "HeadTrainingConfig", "TokensConfig", "VariantConfig"]

Side = Annotated[int, Field(ge=1, le=256)]
FUSE = Literal["cross_attention", "concatenate", "add", "image", "linear"]
RESPONSES = Literal["predicted", "shuffled", "random", "projection"]


class TokensConfig(Part):
    """What is kept of the frozen vision encoder."""

    layer: str = Field("auto", description="a module's name; auto: the last with more than one place")
    grid: tuple[Side, Side] | None = Field(None, description="average the tokens to a coarser grid")
    dtype: Literal["float16", "float32"] = "float16"
    batch_size: int = Field(256, ge=1)


class BrainEncoderConfig(Part):
    """Whose responses are predicted from the tokens, and how."""

    source: Literal["observatory", "fmri"] = "observatory"
    folder: Path | None = Field(None, description="fmri: a subject's folder in the layout of Algonauts 2023")
    atlas: str = Field("streams", description="fmri: the class of ROI masks")
    limit: int | None = Field(None, ge=30, description="fmri: only the first so many images")
    roi: Literal["area_cre_line", "area", "cre_line", "neuron_class"] = Field(
        "area_cre_line", description="observatory: how cells are put in regions"
    )
    kind: Literal["ridge", "decoder"] = Field("ridge", description="closed-form ridge, or a transformer decoder")
    folds: int = Field(5, ge=2, le=100, description="of the cross-validation that tells the held-out correlation")
    width: int = Field(64, ge=1, description="decoder")
    depth: int = Field(1, ge=1, description="decoder")
    heads: int = Field(4, ge=1, description="decoder")
    epochs: int = Field(100, ge=1, description="decoder")

    @model_validator(mode="after")
    def _folder_goes_with_fmri(self) -> BrainEncoderConfig:
        if (self.source == "fmri") != (self.folder is not None):
            raise ValueError("source: fmri needs 'folder', a subject's folder, and only it takes one")
        return self


class HeadConfig(Part):
    """Sizes of the brain transformer and of the fusion."""

    width: int = Field(64, ge=1)
    depth: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    patch: int = Field(16, ge=1, description="units in a patch of responses")
    dropout: float = Field(0.1, ge=0, le=0.9)
    positions: bool = Field(False, description="learned positions of the image tokens")

    @model_validator(mode="after")
    def _width_is_shared(self) -> HeadConfig:
        if self.width % self.heads:
            raise ValueError(f"'width' must be a multiple of 'heads' ({self.heads}); got {self.width}")
        return self


class HeadTrainingConfig(Part):
    """How every head is trained."""

    epochs: int = Field(100, ge=1)
    patience: int = Field(10, ge=1)
    batch_size: int = Field(256, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    validation: float = Field(0.1, gt=0, lt=0.9)


class VariantConfig(Part):
    """One head; what is not given is as in the fusion itself."""

    name: Name
    fuse: FUSE = "cross_attention"
    responses: RESPONSES = Field("predicted", description="the encoder's, or a control")
    pearson: float | None = Field(None, ge=0, description="λ of the correlation; the fusion's own by default")
    rois: list[str] | None = Field(None, min_length=1, description="names or globs of the ROIs that are used")
    neuron_class: Literal["excitatory", "inhibitory"] | None = None


_VARIANTS = [
    VariantConfig(name="cross_attention"),
    VariantConfig(name="concatenate", fuse="concatenate"),
    VariantConfig(name="add", fuse="add"),
    VariantConfig(name="no_correlation", pearson=0.0),
    VariantConfig(name="shuffled", responses="shuffled"),
    VariantConfig(name="random", responses="random"),
    VariantConfig(name="projection", responses="projection"),
    VariantConfig(name="image_only", fuse="image"),
    VariantConfig(name="linear", fuse="linear"),
]


class FusionConfig(Part):
    """A classifier that fuses a frozen vision model with predicted brain responses, tested out of distribution."""

    encoder: str | None = Field(None, description="which of the models is the frozen vision encoder; the first")
    layer_variant: str = Field("baseline", description="the layer variant that stands in front of it")
    tokens: TokensConfig = TokensConfig()
    brain: BrainEncoderConfig = BrainEncoderConfig()
    data: Path | None = Field(None, description="folder of the data sets; the transfer's by default")
    source: Name = Field(description="the domain that heads are trained on")
    targets: list[Name] = Field([], description="domains that heads are tested on, beside the source's own test split")
    corruptions: list[Name] = Field([], description="shifts of the source to test on, at each of 'severities'")
    severities: list[Annotated[int, Field(ge=1, le=5)]] = Field([1, 2, 3, 4, 5], min_length=1)
    train_limit: int | None = Field(None, ge=10)
    test_limit: int | None = Field(None, ge=10)
    seeds: list[Seed] = Field([0, 1, 2], min_length=1)
    pearson: float = Field(0.1, ge=0, description="λ: the loss is cross-entropy − λ · correlation of the modalities")
    head: HeadConfig = HeadConfig()
    training: HeadTrainingConfig = HeadTrainingConfig()
    variants: list[VariantConfig] = Field(_VARIANTS, min_length=1)
    reference: Name = Field("image_only", description="the variant that the others are compared with, paired by seed")

    @model_validator(mode="after")
    def _variants_agree(self) -> FusionConfig:
        names = [variant.name for variant in self.variants]
        for what, listed in (("variants", names), ("seeds", self.seeds), ("targets", self.targets)):
            if len(set(listed)) < len(listed):
                raise ValueError(f"'{what}' lists one twice: {listed}")
        if self.reference not in names:
            raise ValueError(f"'reference' is {self.reference!r}, and the variants are {', '.join(names)}")
        return self

    def tested(self) -> list[str]:
        """Return every domain that heads are tested on, the source first."""
        shifted = [f"{self.source}.{name}-{level}" for name in self.corruptions for level in self.severities]
        return list(dict.fromkeys([self.source, *self.targets, *shifted]))

    def variant(self, config: VariantConfig) -> dict[str, Any]:
        """Return what decides a variant's head, without its name: the part of a task's key."""
        made = config.model_dump(mode="json", exclude={"name"})
        made["pearson"] = self.pearson if config.pearson is None else config.pearson
        if config.fuse in ("image", "linear"):  # they look at no response but their number
            made |= {"pearson": 0.0, "responses": "predicted"}
        return made
