"""Groups of cells by name, units represented as cells are, and tables that say what their rows belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipelines.stages.comparison import group_labels, name_layers, split_groups, unit_vectors


@pytest.fixture
def neurons() -> xr.Dataset:
    coords = {
        "area": ("cell", ["VISl", "VISp", "VISp", "VISl"]),
        "neuron_class": ("cell", ["excitatory", "excitatory", "inhibitory", "excitatory"]),
    }
    return xr.Dataset(coords=coords)


def layer(rng: np.random.Generator) -> xr.Dataset:
    maps, responses = rng.random((5, 4, 4)), rng.random((7, 5))
    responses[:, 3] = 0.25
    return xr.Dataset(
        {"unit_map": (("unit", "y", "x"), maps), "unit_response": (("scene", "unit"), responses)},
        attrs={"layer": "conv1"},
    )


def test_groups_by_one_and_two_coordinates(neurons: xr.Dataset) -> None:
    found = {name: index.tolist() for name, index in group_labels(neurons, ["area", "area+neuron_class"]).items()}
    assert found == {
        "all\tall": [0, 1, 2, 3],
        "area\tVISp": [1, 2],
        "area\tVISl": [0, 3],
        "area+neuron_class\tVISp × excitatory": [1],
        "area+neuron_class\tVISp × inhibitory": [2],
        "area+neuron_class\tVISl × excitatory": [0, 3],
    }


def test_a_group_that_lost_its_cells_is_there_and_empty(neurons: xr.Dataset) -> None:
    found = group_labels(neurons, ["area"], {"area": ["VISam", "VISp"], "genotype": ["Sst-1"]})
    assert list(found) == ["all\tall", "area\tVISp", "area\tVISl", "area\tVISam"]
    assert found["area\tVISam"].tolist() == [] and found["area\tVISam"].dtype == np.int64
    assert found["area\tVISp"].tolist() == [1, 2]


def test_keys_part_into_grouping_and_group() -> None:
    table = pd.DataFrame({"layer": ["a", "b"], "group": ["all\tall", "area+neuron_class\tVISp × excitatory"]})
    parted = split_groups(table)
    assert list(parted.columns) == ["layer", "group_by", "group"]
    assert parted["group_by"].tolist() == ["all", "area+neuron_class"]
    assert parted["group"].tolist() == ["all", "VISp × excitatory"]


@pytest.mark.parametrize("kind", ["weighted", "matched", "tuning"])
def test_units_are_represented_as_cells_are(kind: str) -> None:
    rng = np.random.default_rng(0)
    data, scenes = layer(rng), rng.random((7, 4, 4))
    made = unit_vectors(data, kind, xr.Dataset({"scenes_4x4": (("scene", "y", "x"), scenes)}))
    responses = data["unit_response"].values
    expected: Any = {
        "weighted": data["unit_map"].values.reshape(5, -1),
        "matched": responses.T @ scenes.reshape(7, -1),
        "tuning": responses.T,
    }[kind]
    low, high = expected.min(axis=1, keepdims=True), expected.max(axis=1, keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    np.testing.assert_allclose(made, (expected - low) / span, atol=1e-9)
    assert made.min() >= 0 and made.max() <= 1
    if kind == "tuning":
        assert (made[3] == 0).all()  # a unit that answers all scenes alike


@pytest.mark.parametrize(
    ("params", "neurn", "twin"),
    [
        ({"layer_variant": "baseline"}, False, False),
        ({"layer_variant": "neurn"}, True, False),
        ({"layer_variant": "neurn-k5", "neurn": True}, True, False),
        ({"layer_variant": "neurn", "twin": True}, True, True),
    ],
)
def test_rows_say_what_they_belong_to(params: dict[str, Any], neurn: bool, twin: bool) -> None:
    layers = {"000": xr.Dataset(attrs={"layer": "conv1"}), "001": xr.Dataset(attrs={"layer": "fc"})}
    table = pd.DataFrame({"layer": ["001", "000"], "value": [0.5, 0.25]})
    named = name_layers(table, layers, {"model": "net", "kind": "weighted", **params})
    assert list(named.columns) == [
        "model", "layer_variant", "neurn", "twin", "layer", "layer_index", "representation", "value",
    ]  # fmt: skip
    assert named["layer"].tolist() == ["fc", "conv1"] and named["layer_index"].tolist() == [1, 0]
    assert (named["neurn"] == neurn).all() and (named["twin"] == twin).all()
    assert set(named["model"]) == {"net"} and set(named["representation"]) == {"weighted"}
