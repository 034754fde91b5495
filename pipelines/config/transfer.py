"""Domain generalisation: sources, targets and how networks are trained."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pipelines.config._base import Name, Part, Seed

__all__ = ["TransferConfig"]


class TransferConfig(Part):
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
