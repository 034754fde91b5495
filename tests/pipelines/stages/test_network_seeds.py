"""A network's seed reaches its weights, wherever the stages make it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from alignment.models import create_model
from pipelines.perform import Context
from pipelines.stages.networks import _model
from pipelines.stages.rsa import network_rdms

SEEDS = (0, 1, 7)


def _network(seed: int) -> dict[str, Any]:
    return {"name": "small_cnn", "image_size": 16, "width": 0.25, "seed": seed}


def _weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


@pytest.mark.parametrize("layer", ["baseline", "neurn"])
def test_networks_of_different_seeds_start_apart_and_each_as_the_zoo_makes_it(layer: str) -> None:
    made = {seed: _model({"network": _network(seed), "layer_variant": layer}, 10, weights=None) for seed in SEEDS}
    for seed, model in made.items():
        own = create_model("small_cnn", seed=seed, num_classes=10, image_size=16, width=0.25)
        torch.testing.assert_close(_weights(model), _weights(own), rtol=0, atol=0)
    drawn = [_weights(model) for model in made.values()]
    assert all((one != other).float().mean() > 0.5 for one, other in itertools.pairwise(drawn))


def test_random_twins_are_different_networks() -> None:
    rng = np.random.default_rng(0)
    scenes = xr.Dataset(
        {"scenes_16x16": (("scene", "y", "x"), rng.random((8, 16, 16), dtype=np.float32))}, {"scene": np.arange(8)}
    )
    found = []
    for seed in SEEDS:
        params = {"network": _network(seed), "layer_variant": "baseline", "layers": "auto", "batch_size": 8}
        context = Context(device="cpu", where={}, tell=lambda *told: None, scratch=Path())
        found.append(network_rdms({"scenes": scenes}, params, context)["rdm"].values)  # type: ignore[arg-type]
    assert all(np.abs(one - other).max() > 1e-3 for one, other in itertools.pairwise(found))
