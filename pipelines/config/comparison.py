"""How brain and network are compared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.config._base import Part

__all__ = ["SimilarityConfig"]


class SimilarityConfig(Part):
    """How representations are compared, and for which groups of cells."""

    metrics: list[Literal["rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit"]] = Field(
        ["rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit"], min_length=1
    )
    group_by: list[Literal["area", "cre_line", "genotype", "cortical_layer", "neuron_class"]] = Field(
        ["area", "genotype", "neuron_class"], min_length=1
    )
    bootstraps: int = Field(1000, ge=100, le=100_000)
    permutations: int = Field(1000, ge=99, le=1_000_000)
