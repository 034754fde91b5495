"""Neurons and units that do not belong beside each other: other grids, other scenes, other orders of scenes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from alignment.similarity import linear_cka, nearest_units, rmse, score_groups, score_layers
from neural_alignment import InputError

RNG = np.random.default_rng(0)
GROUPS = {"VISp": [0, 1, 2]}
COMPARISONS: list[Callable[[Any, Any], Any]] = [
    rmse,
    nearest_units,
    lambda neurons, units: score_groups(neurons, units, GROUPS),
    lambda neurons, units: score_layers(neurons, {"conv1": units}, GROUPS),
]


def tuning(rows: int, scenes: Any) -> xr.DataArray:
    return xr.DataArray(RNG.random((rows, len(scenes))), dims=("cell", "scene"), coords={"scene": scenes})


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor, lambda x: xr.DataArray(x, dims=("unit", "y", "x"))])
def test_grids_of_as_many_values_are_told_apart(compare: Callable[..., Any], make: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"'units' .* on the grid of 'neurons', 4×9\. Got '6×6' instead\. Represent"):
        compare(RNG.random((3, 4, 9)), make(RNG.random((5, 6, 6))))
    compare(RNG.random((3, 6, 6)), make(RNG.random((5, 6, 6))))


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ([0, 1, 2, 9], "only 'neurons' has 3; only 'units' has 9"),
        ([0, 1, 2], "only 'neurons' has 3"),
        ([1, 0, 2, 3], "the same scenes in another order"),
        (range(20), "only 'units' has 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"),
    ],
)
def test_scenes_that_do_not_match_are_named(compare: Callable[..., Any], theirs: Any, said: str) -> None:
    with pytest.raises(InputError, match="must be over the scenes of 'neurons', 4 of them") as caught:
        compare(tuning(3, range(4)), tuning(5, list(theirs)))
    assert said in str(caught.value)


@pytest.mark.parametrize("compare", COMPARISONS)
def test_same_scenes_and_unlabelled_data_pass(compare: Callable[..., Any]) -> None:
    labelled = tuning(3, range(4))
    compare(labelled, tuning(5, range(4)))
    compare(labelled, RNG.random((5, 4)))
    compare(labelled.values, tuning(5, [3, 2, 1, 0]))


def test_a_layer_that_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match=r"score_groups \(layer 'conv1'\)"):
        score_layers(tuning(3, range(4)), {"conv1": tuning(5, range(1, 5))}, GROUPS)


def test_cka_over_other_scenes_is_refused() -> None:
    first, second = tuning(6, range(8)).T, tuning(5, range(1, 9)).T
    with pytest.raises(InputError, match="only 'x' has 0; only 'y' has 8"):
        linear_cka(first, second)
    both = np.intersect1d(first["scene"], second["scene"])
    assert np.isfinite(linear_cka(first.sel(scene=both), second.sel(scene=both)))
