"""The study's models: frozen, strict, and what they derive from their fields."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.config import (
    LayerConfig,
    MethodConfig,
    ModelConfig,
    ObservatoryConfig,
    ResponsesConfig,
    Study,
    TransferConfig,
)

NETWORK = {"models": [{"name": "small_cnn"}]}


def test_what_is_left_out_has_the_documented_defaults() -> None:
    study = Study.model_validate({"name": "a", "title": "b", "observatory": {}, **NETWORK})
    assert [layer.key for layer in study.layer_variants] == ["baseline", "neurn"]
    assert study.responses.window == (0.0, 0.5) and study.responses.method == "dff"
    assert study.representations.grid == (32, 32) and study.representations.kinds == ["weighted"]
    assert study.similarity.group_by == ["area", "genotype", "neuron_class"]
    assert (study.seed, study.compute.cluster, study.transfer) == (0, "local", None)


def test_defaults_of_training_are_the_protocol() -> None:
    config = TransferConfig(sources=["digits"], targets=["digits"])
    assert (config.learning_rate, config.batch_size, config.patience, config.validation) == (1e-3, 256, 5, 0.1)
    assert len(config.seeds) == 3


def test_a_study_cannot_be_changed_after_it_was_checked() -> None:
    config = ModelConfig(name="small_cnn")
    with pytest.raises(ValidationError, match="frozen"):
        config.width = 2.0


@pytest.mark.parametrize(("label", "key"), [(None, "small_cnn"), ("mine", "mine")])
def test_a_network_is_called_by_its_label(label: str | None, key: str) -> None:
    assert ModelConfig(name="small_cnn", label=label).key == key


def test_only_filters_that_are_set_are_passed_on() -> None:
    config = ObservatoryConfig(area=["VISp"], depth_um=(100, 300))
    assert config.filters() == {"area": ["VISp"], "depth_um": (100.0, 300.0)}
    assert ObservatoryConfig().filters() == {}


@pytest.mark.parametrize("window", [(0.5, 0.5), (0.5, 0.1), (float("nan"), 1.0)])
def test_a_window_runs_forward(window: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="start < end"):
        ResponsesConfig(window=window)


def test_a_baseline_window_before_the_scene_is_allowed() -> None:
    assert ResponsesConfig(window=(-0.25, 0.0)).window == (-0.25, 0.0)


@pytest.mark.parametrize("name", ["a", "MNIST-v2.1", "x" * 64])
def test_names_that_become_folders(name: str) -> None:
    assert Study.model_validate({"name": name, "title": "b", "observatory": {}, **NETWORK}).name == name


@pytest.mark.parametrize("name", ["", ".", "..", "-x", "a b", "a/b", "a\\b", "x" * 65, "é", "a\n"])
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        Study.model_validate({"name": name, "title": "b", "observatory": {}, **NETWORK})


@pytest.mark.parametrize(
    ("written", "key", "made"),
    [
        ("neurn", "neurn", {"name": "neurn"}),
        ({"name": "neurn", "k": 5}, "neurn-k5", {"name": "neurn", "k": 5}),
        ({"name": "neurn", "k": 5, "label": "wide"}, "wide", {"name": "neurn", "k": 5}),
        ({"name": "neurn", "scope": "none", "position": 2}, "neurn-none-after2",
         {"name": "neurn", "scope": "none", "position": 2}),
        ({"name": "lrn", "alpha": 0.5, "position": "conv1"}, "lrn-alpha0.5-afterconv1",
         {"name": "lrn", "alpha": 0.5, "position": "conv1"}),
        ({"name": "sobel", "position": "input"}, "sobel", {"name": "sobel"}),
    ],
)  # fmt: skip
def test_a_layer_is_a_name_or_a_mapping(written: Any, key: str, made: dict[str, Any]) -> None:
    layer = LayerConfig.model_validate(written)
    assert (layer.key, layer.made()) == (key, made)
    assert LayerConfig.model_validate(layer.model_dump(mode="json")) == layer, "what a resolved study says reads back"


def test_names_alone_stay_names_in_a_resolved_study() -> None:
    study = Study.model_validate({"name": "a", "title": "b", "observatory": {}, **NETWORK})
    assert study.model_dump(mode="json")["layer_variants"] == ["baseline", "neurn"]
    assert MethodConfig.model_validate("mixstyle").model_dump() == "mixstyle"
    assert MethodConfig(name="a.b:Mine", options={"x": 1}).key == "Mine"


TWO = {"sources": ["digits"], "targets": ["digits"]}


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({}, ["baseline plain", "neurn plain"]),
        ({"methods": ["plain", "randconv"]}, ["baseline plain", "neurn plain", "baseline randconv"]),
        ({"methods": ["randconv"]}, ["baseline plain", "neurn plain", "baseline randconv"]),
        ({"methods": ["randconv"], "combinations": "all"}, ["baseline randconv", "neurn randconv"]),
        ({"methods": ["plain", "augmix"], "combinations": "all"},
         ["baseline plain", "baseline augmix", "neurn plain", "neurn augmix"]),
        ({"methods": ["mixstyle"], "combinations": [["neurn", "mixstyle"], ["baseline", "plain"]]},
         ["neurn mixstyle", "baseline plain"]),
    ],
)  # fmt: skip
def test_which_layers_train_by_which_methods(changes: dict[str, Any], pairs: list[str]) -> None:
    config = TransferConfig.model_validate({**TWO, **changes})
    assert [" ".join(pair) for pair in config.pairs(["baseline", "neurn"])] == pairs
