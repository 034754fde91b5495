"""The shuffled-scene null."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.similarity import null_test, rmse, shuffled_scenes
from neural_alignment import InputError


def test_orders_move_every_scene_and_are_seeded() -> None:
    orders = list(shuffled_scenes(7, 50, seed=1))
    assert all(sorted(order) == list(range(7)) and (order != np.arange(7)).all() for order in orders)
    np.testing.assert_array_equal(orders, list(shuffled_scenes(7, 50, seed=1)))
    assert len({tuple(order) for order in orders}) > 40


def test_a_model_of_the_cells_beats_its_null_and_another_does_not() -> None:
    rng = np.random.default_rng(0)
    tuning, other = rng.random((20, 40)), rng.random((20, 40))
    models = (tuning + 0.05 * rng.normal(size=(20, 40)), other)
    observed = np.array([rmse(tuning, units, "nearest") for units in models])
    null = [[rmse(tuning[:, order], units, "nearest") for units in models] for order in shuffled_scenes(40, 99)]
    found = null_test(observed, np.array(null), "less")
    assert found.p[0] == 0.01
    assert found.p[1] > 0.05
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()


@pytest.mark.parametrize(("alternative", "expected"), [("two-sided", 0.1), ("less", 1.0), ("greater", 0.1)])
def test_p(alternative: str, expected: float) -> None:
    null = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 1.0])
    found = null_test(np.array([1.1]), null[:, None], alternative)
    assert found.p[0] == pytest.approx(expected)
    assert np.isnan(null_test(np.array([np.nan]), null[:, None]).p[0])


def test_refused() -> None:
    with pytest.raises(InputError, match=r"scores \(2,\)"):
        null_test(np.ones(2), np.ones((5, 3)))
    with pytest.raises(InputError, match="n_scenes"):
        shuffled_scenes(1, 5)
