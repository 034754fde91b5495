"""Domain generalisation: sources, targets, methods and how networks are trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_serializer, model_validator

from pipelines.config._base import Name, Named, Part, Seed

__all__ = ["MethodConfig", "PretrainConfig", "TransferConfig"]


class MethodConfig(Named):
    """One way of training: a name alone, or a mapping with options."""

    name: str = Field(min_length=1, description="a known method, or package.module:Class of your own")
    label: Name | None = Field(None, description="what tables call it; the name by default, of your own the class")
    options: dict[str, Any] = Field({}, description="what the method's class takes")

    @property
    def key(self) -> str:
        """What tables call the method."""
        return self.label or self.name.rpartition(":")[2]

    @model_serializer
    def _short(self) -> str | dict[str, Any]:
        """Return the name alone where nothing else is set, as a person would write it."""
        told = {"name": self.name, "label": self.label, "options": self.options}
        kept = {name: value for name, value in told.items() if value}
        return self.name if len(kept) == 1 else kept


class PretrainConfig(Part):
    """What networks are trained on before the sources, with the same layer in front and no method."""

    domain: Name = Field("cifar27", description="the domain whose training split is used")
    epochs: int = Field(30, ge=1)
    learning_rate: float | None = Field(None, gt=0, description="the transfer's own by default")
    train_limit: int | None = Field(None, ge=10, description="a seeded, stratified subset of the domain")


class TransferConfig(Part):
    """Single-source domain generalisation: one source's training split, every target's test split once."""

    data: Path | None = Field(None, description="folder of the data sets that are not embedded")
    sources: list[Name] = Field(min_length=1)
    targets: list[Name] = Field(min_length=1)
    seeds: list[Seed] = Field([0, 1, 2], min_length=1)
    methods: list[MethodConfig] = Field(
        [MethodConfig(name="plain")],
        min_length=1,
        description="plain, randconv, augmix, randaugment, mixstyle, adversarial (which sees the target), or yours",
    )
    combinations: Literal["each", "all"] | list[tuple[str, str]] = Field(
        "each",
        description="which layers train by which methods. each: every layer variant plainly, and every other method "
        "on the baseline; all: every layer variant by every method; or pairs of labels [layer variant, method]",
    )
    sobel: bool = Field(
        False, description="a Sobel filter in front as one layer variant more, trained and tested as NeuRN is"
    )
    pretrain: PretrainConfig | None = Field(None, description="train on another domain first, then fine-tune")
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    patience: int = Field(5, ge=1)
    validation: float = Field(0.1, gt=0, lt=0.9)
    train_limit: int | None = Field(None, ge=10, description="a seeded, stratified subset of the source")
    test_limit: int | None = Field(None, ge=10)

    @model_validator(mode="after")
    def _methods_differ(self) -> TransferConfig:
        keys = [method.key for method in self.methods]
        doubled = next((key for key in keys if keys.count(key) > 1), None)
        if doubled is not None:
            raise ValueError(f"two 'methods' are called {doubled!r}; give one of them another 'label'")
        return self

    def pairs(self, layers: Sequence[str]) -> list[tuple[str, str]]:
        """Return what is trained: labels of a layer variant and a method.

        Parameters
        ----------
        layers : sequence of str
            The labels of the study's layer variants.

        Raises
        ------
        ValueError
            A pair names a label that the study does not have, or methods have no baseline to train.
        """
        methods = [method.key for method in self.methods]
        others = [key for key in methods if key != "plain"]
        if self.combinations == "all":
            return [(layer, method) for layer in layers for method in methods]
        if self.combinations == "each":
            if others and "baseline" not in layers:
                raise ValueError(
                    "methods train the baseline: add it to 'layer_variants', or write the pairs to train in "
                    "'transfer.combinations'"
                )
            return [*((layer, "plain") for layer in layers), *(("baseline", method) for method in others)]
        known = {"layer variant": list(layers), "method": [*dict.fromkeys(["plain", *methods])]}
        for pair in self.combinations:
            for (what, labels), label in zip(known.items(), pair, strict=True):
                if label not in labels:
                    raise ValueError(f"'combinations' names the {what} {label!r}; this study has {', '.join(labels)}")
        if len(set(self.combinations)) < len(self.combinations):
            raise ValueError("'combinations' lists a pair twice")
        return list(self.combinations)

    def method(self, key: str) -> MethodConfig:
        """Return the method of a label; plain training is always known."""
        return next((method for method in self.methods if method.key == key), MethodConfig(name="plain"))
