"""Representational similarity: whose dissimilarities, over which scenes, with which inference."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from pipelines.config._base import Part

__all__ = ["RsaConfig"]


class RsaConfig(Part):
    """Networks beside cortex by the dissimilarities of their responses to the scenes.

    Without ``matrices`` the cells of the study's observatory are compared, by the groups of ``similarity.group_by``.
    """

    matrices: Path | None = Field(
        None, description="an .npz file of populations' similarity matrices, keys AREA__LAYER, last row the blank"
    )
    scenes: Path | None = Field(
        None,
        description="with matrices: the scenes they were measured with, an .npy file (scene, y, x), in their order",
    )
    origin: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="with matrices: where they and the scenes come from, as the report prints it: species, method, "
        "who made them, licence, address",
    )
    twins: int = Field(3, ge=0, le=50, description="randomly initialised twins of every network, seeds 0, 1, ...")
    bootstraps: int = Field(1000, ge=100, le=100_000, description="resamples of scenes")
    permutations: int = Field(1000, ge=99, le=1_000_000, description="shuffles of scenes")
    splits: int = Field(
        50, ge=1, le=10_000, description="random halves of scenes: choose a layer on one, score the other"
    )

    @model_validator(mode="after")
    def _scenes_go_with_matrices(self) -> RsaConfig:
        if (self.matrices is None) != (self.scenes is None):
            given, lacking = ("matrices", "scenes") if self.scenes is None else ("scenes", "matrices")
            raise ValueError(f"'{given}' is given without '{lacking}'; matrices are compared on scenes of their own")
        if self.origin is not None and self.matrices is None:
            raise ValueError("'origin' says where 'matrices' come from, and there are none")
        return self
