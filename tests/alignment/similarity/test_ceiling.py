"""Noise ceilings recover the reliability built into the responses, and say why when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.similarity import noise_ceiling, normalise, rmse, spearman_brown
from neural_alignment import InputError


def simulated(noise: float, cells: int = 200, scenes: int = 118, trials: int = 20, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(cells, scenes, 1)) + noise * rng.normal(size=(cells, scenes, trials))


@pytest.mark.parametrize("noise", [0.5, 2.0, 5.0])
def test_tuning_ceiling_is_the_reliability_of_the_mean(noise: float) -> None:
    found = noise_ceiling(simulated(noise))
    expected = 1.0 / (1.0 + noise**2 / 20)
    assert found.value.mean() == pytest.approx(expected, abs=0.02)
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()
    assert (found.reason == "").all()


def test_agrees_with_a_loop() -> None:
    trials = simulated(1.0, cells=3, scenes=12, trials=7)
    found = noise_ceiling(trials, splits=1, seed=4)
    order = np.random.default_rng(4).random((12, 7)).argsort(axis=1)
    for cell in range(3):
        halves = [
            [trials[cell, scene, order[scene, part]].mean() for scene in range(12)]
            for part in (slice(0, 3), slice(3, 6))
        ]
        r = np.corrcoef(*halves)[0, 1]
        assert found.value[cell] == pytest.approx(2 * r / (1 + r), rel=1e-12)


def test_seeded() -> None:
    trials = simulated(2.0, cells=4)
    np.testing.assert_array_equal(noise_ceiling(trials, seed=1).value, noise_ceiling(trials, seed=1).value)
    assert (noise_ceiling(trials, seed=1).value != noise_ceiling(trials, seed=2).value).any()


def test_rdm_ceiling_rises_with_cells_and_falls_with_noise() -> None:
    few, many, noisy = (
        noise_ceiling(simulated(noise, cells=cells, scenes=30), "rdm", splits=5).value
        for noise, cells in ((3.0, 10), (3.0, 200), (30.0, 200))
    )
    assert few.shape == (1,)
    assert 0 < few[0] < many[0] < 1
    assert noisy[0] < few[0]


def test_a_callable_gives_a_floor_for_rmse() -> None:
    floor = noise_ceiling(simulated(1.0), lambda a, b: rmse(a, b, "nearest"), splits=3)
    # The difference of two means of 10 trials each.
    assert floor.value[0] == pytest.approx(np.sqrt(2 / 10), abs=0.02)


def test_missing_trials_are_left_out() -> None:
    trials = simulated(1.0, cells=50)
    holes = trials.copy()
    holes[np.random.default_rng(5).random(trials.shape) < 0.1] = np.nan
    assert noise_ceiling(holes).value.mean() == pytest.approx(noise_ceiling(trials).value.mean(), abs=0.02)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: np.full_like(x, np.nan), "no trial was measured"),
        (lambda x: np.where(np.arange(x.shape[1]) < 1, x, np.nan), "no scene has two measured trials"),
        (lambda x: np.full_like(x, 0.1), "the mean response is the same to every scene"),
        (
            lambda x: np.where(np.arange(len(x))[:, None] < 2, x, np.nan),
            "no split of the trials left two halves",
        ),
    ],
)
def test_undefined_is_nan_with_the_reason(change, reason: str) -> None:
    trials = simulated(1.0, cells=3)
    trials[1] = change(trials[1])
    found = noise_ceiling(trials, splits=4)
    np.testing.assert_array_equal(np.isnan(found.value), [False, True, False])
    assert reason in found.reason[1]
    assert found.reason[0] == ""


def test_normalised_scores() -> None:
    np.testing.assert_allclose(normalise([0.4, 0.4, 0.4, np.nan], [0.64, 0.0, -0.2, 1]), [0.5, *[np.nan] * 3])


def test_spearman_brown_at_and_below_minus_one_is_nan() -> None:
    np.testing.assert_allclose(spearman_brown([1.0, 0.2, -0.5, -1.0]), [1.0, 1 / 3, -2.0, np.nan])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise_ceiling(np.ones((3, 4))), r"\(cell, scene, trial\)"),
        (lambda: noise_ceiling(np.ones((3, 4, 1))), "2 trials"),
        (lambda: noise_ceiling(np.ones((3, 4, 5)), "rmse"), "'tuning', 'rdm'"),
        (lambda: noise_ceiling(np.ones((3, 4, 5)), splits=0), "splits"),
    ],
)
def test_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
