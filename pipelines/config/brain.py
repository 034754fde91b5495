"""The cortical side of a study: where responses come from, how they are read and represented."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipelines.config._base import Part

__all__ = ["ObservatoryConfig", "RepresentationsConfig", "ResponsesConfig"]

# One name may stand without brackets.
Names = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class ObservatoryConfig(Part):
    """Where cortical responses come from."""

    source: Literal["simulated", "folder"] = "simulated"
    folder: Path | None = Field(None, description="an Allen cache folder or a folder of NWB files")
    cells: int = Field(12, ge=1, description="simulated: cells a session")
    trials: int = Field(20, ge=2, description="simulated: presentations of each scene")
    sessions: int = Field(24, ge=1, description="simulated: sessions")
    reader: Literal["auto", "allensdk", "own"] = Field(
        "auto",
        description="who reads the files: AllenSDK (auto: where it is installed) or our own reader",
    )
    area: Names | None = None
    cre_line: Names | None = None
    genotype: Names | None = None
    depth_um: tuple[float, float] | None = Field(None, description="from, to (inclusive), in micrometres")
    neuron_class: list[Literal["excitatory", "inhibitory"]] | None = None
    exclude: list[int] = Field([], description="experiments to leave out, by their id")

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


class ResponsesConfig(Part):
    """How a trial's response is read from the trace, and which cells are kept."""

    method: Literal["dff", "mean_sweep_response"] = "dff"
    window: tuple[float, float] = Field((0.0, 0.5), description="seconds from scene onset")
    stationary_below: float | None = Field(
        None, gt=0, description="cm/s: only trials in which the mouse ran slower on average, and speed is known"
    )
    unusable: Literal["drop", "raise"] = Field(
        "drop", description="cells whose trace is flat or holds no number: leave them out, or refuse the session"
    )
    min_reliability: float | None = Field(None, ge=-1, le=1, description="split-half, Spearman-Brown")
    select: bool = Field(False, description="UMAP and k-means: the most central cells of each class")
    per_class: int = Field(500, ge=1)
    clusters: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _window_is_forward(self) -> ResponsesConfig:
        if not self.window[0] < self.window[1]:
            raise ValueError("'window' must be [start, end] in seconds with start < end")
        return self


class RepresentationsConfig(Part):
    """Which neural representations are compared, on which grid."""

    kinds: list[Literal["weighted", "matched", "tuning"]] = Field(["weighted"], min_length=1)
    grid: tuple[Annotated[int, Field(ge=2, le=256)], Annotated[int, Field(ge=2, le=256)]] = (32, 32)
