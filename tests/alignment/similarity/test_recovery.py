"""A network that holds the simulated cells' own filters is found out by every representation, and a random one is not.

The ground truth is drawn here: cells respond linearly to scenes through known filters, with trial noise. A layer
whose units are those filters must score better than layers that know nothing of them, and nearly as well as the
cells' own second half of trials does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import ndimage
from torch import nn

from alignment.brain.representations import represent, scale_unit, weighted_images
from alignment.models import extract_activations
from alignment.similarity import (
    compare_rdms,
    linear_cka,
    nearest_units,
    noise_ceiling,
    normalise,
    null_test,
    paired_differences,
    paired_permutation,
    rdm,
    rdm_permutation_test,
    rmse,
    score_groups,
    score_layers,
    shuffled_scenes,
)

CELLS, SCENES, TRIALS, SIDE = 24, 118, 20, 16
KINDS = ("weighted", "matched", "tuning")


@dataclass(frozen=True)
class World:
    """Scenes, cells and two networks."""

    scenes: np.ndarray  # (scene, y, x) in [0, 1]
    filters: np.ndarray  # (cell, y, x)
    trials: np.ndarray  # (cell, scene, trial)
    units: dict[str, np.ndarray]  # (unit, scene) of each network
    maps: dict[str, np.ndarray]  # (unit, y, x): the mean map over scenes

    @property
    def responses(self) -> xr.Dataset:
        return xr.Dataset({"response": (("cell", "scene", "trial"), self.trials)})

    def neurons(self, kind: str, trials: slice = slice(None)) -> np.ndarray:
        chosen = self.responses.isel(trial=trials)
        found = represent(chosen, self.scenes, kind, (SIDE, SIDE))["representation"].values
        return found.reshape(CELLS, -1)

    def layer(self, network: str, kind: str) -> np.ndarray:
        units = self.units[network]
        if kind == "tuning":
            return scale_unit(units)[0]
        images = weighted_images(units, self.scenes) if kind == "weighted" else self.maps[network]
        return scale_unit(images.reshape(len(images), -1))[0]


def gabors(rng: np.random.Generator, count: int) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1) * 2 - 1
    made = []
    for _ in range(count):
        angle, phase, frequency = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(3, 7)
        cx, cy = rng.uniform(-0.6, 0.6, 2)
        across = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        made.append(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.15) * np.cos(frequency * across + phase))
    return np.stack(made)


class Gated(nn.Module):
    """Units whose maps are the scene, gated by the unit's response to it; scenes are told by their order."""

    def __init__(self, responses: np.ndarray) -> None:
        super().__init__()
        self.responses = torch.from_numpy(responses.T.astype(np.float32))
        self.maps = nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        # The third channel carries the scene's number.
        number = (image[:, 2, 0, 0] * len(self.responses)).round().long()
        return self.maps(self.responses[number][:, :, None, None] * image[:, :1])


def mean_maps(responses: np.ndarray, scenes: np.ndarray) -> np.ndarray:
    """Return the units' mean maps as they are read from a network, (unit, y, x)."""
    images = np.repeat(scenes[:, None], 3, axis=1)
    images[:, 2] = (np.arange(len(scenes)) / len(scenes))[:, None, None]
    read = extract_activations(Gated(responses), images, ["maps"], grid=(SIDE, SIDE), device="cpu")
    return read["maps"]["unit_map"].values


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(11)
    scenes = ndimage.gaussian_filter(rng.normal(size=(SCENES, SIDE, SIDE)), (0, 1.2, 1.2))
    scenes = scale_unit(scenes, axis=(1, 2))[0].astype(np.float32)
    filters = gabors(rng, CELLS)

    def drive(kernels: np.ndarray) -> np.ndarray:
        raw = np.einsum("kyx,syx->ks", kernels, scenes)
        return (raw - raw.mean(axis=1, keepdims=True)) / raw.std(axis=1, keepdims=True)

    # The random network is as smooth as the true one: another draw of the same filters.
    other = gabors(np.random.default_rng(99), CELLS)
    trials = drive(filters)[:, :, None] + 1.0 * rng.normal(size=(CELLS, SCENES, TRIALS))
    units = {"truth": drive(filters), "random": drive(other), "noise": rng.normal(size=(CELLS, SCENES))}
    maps = {name: mean_maps(unit, scenes) for name, unit in units.items()}
    return World(scenes, filters, trials, units, maps)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cells_own_filters_come_far_closer_than_others(world: World, kind: str) -> None:
    neurons = world.neurons(kind)
    score = {name: nearest_units(neurons, world.layer(name, kind)) for name in world.units}
    for other in ("random", "noise"):
        assert (score["truth"].nearest < score[other].nearest).mean() > 0.95
        assert score["truth"].nearest.mean() < 0.6 * score[other].nearest.mean()


@pytest.mark.parametrize("kind", KINDS)
def test_each_cell_finds_its_own_unit(world: World, kind: str) -> None:
    found = nearest_units(world.neurons(kind), world.layer("truth", kind)).unit
    assert (found == np.arange(CELLS)).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_scores_as_well_as_the_cells_other_trials(world: World, kind: str) -> None:
    """No model of half of the trials can be expected to do better than the other half's truth."""
    first, second = world.neurons(kind, slice(0, 10)), world.neurons(kind, slice(10, 20))
    floor = np.sqrt(((first - second) ** 2).mean(axis=1)).mean()
    truth = np.sqrt(((first - world.layer("truth", kind)) ** 2).mean(axis=1)).mean()
    random = np.sqrt(((first - world.layer("random", kind)) ** 2).mean(axis=1)).mean()
    assert truth < 1.1 * floor
    assert random > 1.5 * floor


@pytest.mark.parametrize("kind", KINDS)
def test_group_scores_prefer_the_truth_in_every_group(world: World, kind: str) -> None:
    groups = {"VISp": np.arange(12), "VISl": np.arange(12, 24), "all": np.arange(24)}
    donors = np.repeat([f"mouse {number}" for number in range(8)], 3)
    layers = {name: world.layer(name, kind) for name in ("truth", "random")}
    metrics = ("rmse_nearest", "kde_iou_unit_best")
    table = score_layers(world.neurons(kind), layers, groups, metrics, donors, bootstraps=200).table
    for group in groups:
        rows = table[table["group"] == group].set_index(["layer", "metric"])
        truth, random = rows.loc[("truth", "rmse_nearest")], rows.loc[("random", "rmse_nearest")]
        assert truth["ci_high"] < random["ci_low"], (group, kind)
        # Value distributions tell less than places do, but never against the truth.
        better = rows.loc[("truth", "kde_iou_unit_best"), "value"]
        assert better > rows.loc[("random", "kde_iou_unit_best"), "value"] - 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_paired_test_tells_the_networks_apart(world: World, kind: str) -> None:
    neurons = world.neurons(kind)
    groups = {"all": np.arange(CELLS)}
    donors = np.repeat(np.arange(8), 3)
    cells = {
        name: score_groups(neurons, world.layer(name, kind), groups, ("rmse_nearest",), bootstraps=100).cells
        for name in ("truth", "random")
    }
    row = paired_differences(cells["random"], cells["truth"], groups, donors, metrics=("rmse_nearest",)).iloc[0]
    assert row["difference"] < 0
    assert row["p"] < 0.02
    direct = paired_permutation(cells["truth"]["rmse_nearest"], cells["random"]["rmse_nearest"], donors)
    assert row["difference"] == pytest.approx(direct.difference)


def test_tuning_reaches_its_ceiling_and_no_more(world: World) -> None:
    mean = world.trials.mean(axis=2)
    ceiling = noise_ceiling(world.trials, splits=30)
    theory = TRIALS / (TRIALS + 1)  # signal variance 1, noise variance 1 a trial
    np.testing.assert_allclose(ceiling.value, theory, atol=0.05)
    raw = {
        name: np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(mean, unit, strict=True)])
        for name, unit in world.units.items()
    }
    normalised = {name: normalise(score, ceiling.value) for name, score in raw.items()}
    np.testing.assert_allclose(normalised["truth"], 1.0, atol=0.05)
    assert np.abs(normalised["noise"]).max() < 0.4


def test_geometry_is_recovered_up_to_its_ceiling(world: World) -> None:
    ours = rdm(world.trials.mean(axis=2).T)
    agreement = {name: compare_rdms(ours, rdm(unit.T)) for name, unit in world.units.items()}
    ceiling = noise_ceiling(world.trials, "rdm", splits=10).value[0]
    assert agreement["truth"] > 0.9 * ceiling
    assert 1 - agreement["truth"] < 0.25 * (1 - agreement["random"])
    assert abs(agreement["noise"]) < 0.1
    test = rdm_permutation_test(ours, rdm(world.units["truth"].T), permutations=199)
    assert test.p == 1 / 200
    assert test.correlation > 3 * test.null_high


def test_cka_is_recovered(world: World) -> None:
    mean = world.trials.mean(axis=2).T
    found = {name: linear_cka(mean, unit.T) for name, unit in world.units.items()}
    assert found["truth"] > 0.9
    assert 1 - found["truth"] < 0.25 * (1 - found["random"])
    assert abs(found["noise"]) < 0.1


@pytest.mark.parametrize("kind", ["weighted", "tuning"])
def test_shuffled_scenes_take_the_recovery_away(world: World, kind: str) -> None:
    units = world.layer("truth", kind)
    observed = rmse(world.neurons(kind), units, "nearest")
    null = []
    for order in shuffled_scenes(SCENES, 39, seed=2):
        shuffled = xr.Dataset({"response": (("cell", "scene", "trial"), world.trials[:, order])})
        neurons = represent(shuffled, world.scenes, kind, (SIDE, SIDE))["representation"].values
        null.append(rmse(neurons.reshape(CELLS, -1), units, "nearest"))
    found = null_test(observed, np.array(null), "less")
    assert found.p.item() == 1 / 40
    assert observed < 0.7 * found.mean.item()


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_more_noise_moves_the_cells_away_from_their_own_filters(world: World, noise: float) -> None:
    rng = np.random.default_rng(5)
    truth = world.units["truth"]

    def distance(level: float) -> float:
        trials = truth[:, :, None] + level * rng.normal(size=(CELLS, SCENES, 4))
        return rmse(scale_unit(trials.mean(axis=2))[0], world.layer("truth", "tuning"), "nearest")

    assert distance(noise) < distance(2 * noise)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mixture_of_networks_scores_in_between(world: World, kind: str) -> None:
    """Replacing true units by others, a few at a time, never brings the layer closer."""
    neurons = world.neurons(kind)
    truth, random = world.layer("truth", kind), world.layer("random", kind)
    scores = [
        rmse(neurons, np.concatenate([random[:kept], truth[kept:]]), "nearest") for kept in range(0, CELLS + 1, 6)
    ]
    assert scores[0] < scores[2] < scores[-1]
    assert (np.diff(scores) > -0.01).all()
