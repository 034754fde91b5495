"""How brain and network are compared, for which groups of cells, and beside which controls."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from alignment._validation import check_name
from pipelines.config._base import Part

__all__ = ["ControlsConfig", "SimilarityConfig"]

GROUPINGS: Final = ("area", "cre_line", "genotype", "cortical_layer", "neuron_class")
"""Coordinates that cells can be grouped by, alone or two together."""


OF_GROUPS: Final = frozenset({"kde_iou_population"})
"""Metrics that have one value for a group of cells and none for a cell."""


def _joined(value: Any) -> Any:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else value


def _grouping(value: str) -> str:
    parts = [check_name(part.strip(), "grouping of cells", GROUPINGS) for part in value.split("+")]
    if len(parts) > 2 or len(set(parts)) < len(parts):
        raise ValueError(f"one or two different coordinates of {', '.join(GROUPINGS)} make a grouping. Got {value!r}")
    return "+".join(parts)


Grouping = Annotated[str, BeforeValidator(_joined), AfterValidator(_grouping)]


class SimilarityConfig(Part):
    """How representations are compared, and for which groups of cells."""

    metrics: list[Literal["rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit"]] = Field(
        ["rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit"], min_length=1
    )
    group_by: list[Grouping] = Field(
        ["area", "genotype", "neuron_class"],
        min_length=1,
        description="area, cre_line, genotype, cortical_layer, neuron_class; or two of them: area+neuron_class",
    )
    bootstraps: int = Field(1000, ge=100, le=100_000)
    permutations: int = Field(1000, ge=99, le=1_000_000)

    @model_validator(mode="after")
    def _groupings_differ(self) -> SimilarityConfig:
        doubled = next((by for by in self.group_by if self.group_by.count(by) > 1), None)
        if doubled is not None:
            raise ValueError(f"'group_by' lists {doubled!r} twice")
        return self


class ControlsConfig(Part):
    """What a score is held against beside the baseline."""

    ceiling_splits: int = Field(10, ge=1, le=1000, description="random halves of the trials for the noise ceilings")
    shuffled_scenes: int = Field(
        39,
        ge=0,
        le=10_000,
        description="scorings of cells whose scenes are shuffled: a null for each score, p ≥ 1 / (n + 1); 0: none",
    )
    random_twin: bool = Field(True, description="each trained network as it was before training, scored alike")
    sobel: bool = Field(False, description="a Sobel filter in front of the networks, trained and scored as NeuRN is")
