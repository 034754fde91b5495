"""What every part of a study shares: no unknown keys, nothing changed after reading, the kinds of names and seeds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Name", "Named", "Part", "Seed"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Part(BaseModel):
    """A part of a study."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Named(Part):
    """A part that may be written as its name alone."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value
