"""The layers that stand in front of networks, or inside of them, in every comparison."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_serializer

from pipelines.config._base import Name, Named

__all__ = ["LayerConfig"]

_OPTIONS = ("k", "border", "scope", "form", "size", "alpha", "beta", "bias")


class LayerConfig(Named):
    """One layer variant: a name alone, or a mapping with the layer's options and its place."""

    name: str = Field(min_length=1, description="baseline, neurn, lrn, lcn, lcn_divisive, standardise, sobel, ...")
    label: Name | None = Field(None, description="what tables call it; made of name and options by default")
    k: int | None = Field(None, description="side of the patch or window")
    border: str | None = Field(None, description="reflect, replicate or zeros")
    scope: str | None = Field(None, description="NeuRN: image, channel or none")
    form: str | None = Field(None, description="NeuRN: contrast or inverse")
    size: int | None = Field(None, description="lrn: neighbouring channels")
    alpha: float | None = None
    beta: float | None = None
    bias: float | None = None
    position: Annotated[int, Field(ge=1)] | Name = Field(
        "input", description="input, n (after the n-th stage of convolutional maps), or after the module of a name"
    )

    @property
    def options(self) -> dict[str, Any]:
        """What the layer is made with, beside its name."""
        return {name: getattr(self, name) for name in _OPTIONS if getattr(self, name) is not None}

    @property
    def key(self) -> str:
        """What tables call the variant: its label, or such as ``neurn-k5-zeros-after1``."""
        if self.label is not None:
            return self.label
        told = [str(value) if isinstance(value, str) else f"{name}{value:g}" for name, value in self.options.items()]
        place = [] if self.position == "input" else [f"after{self.position}"]
        return "-".join([self.name, *told, *place])

    def made(self) -> dict[str, Any]:
        """Return what decides the layer, without its label: the part of a task's key."""
        place = {} if self.position == "input" else {"position": self.position}
        return {"name": self.name, **self.options, **place}

    @model_serializer
    def _short(self) -> str | dict[str, Any]:
        """Return the name alone where nothing else is set, as a person would write it."""
        made = self.made()
        label = {} if self.label is None else {"label": self.label}
        return self.name if not label and len(made) == 1 else {**label, **made}
