from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeCV

from alignment.transfer.fusion import fit_ridge
from neural_alignment import DataError, InputError

SHAPES = [(60, 200), (200, 20), (30, 30), (12, 5)]
PENALTIES = np.logspace(-2, 5, 15)


def problem(n: int, d: int, targets: int = 6, noise: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, n, d])
    x = rng.normal(2, 1, (n, d))
    return x, x @ rng.normal(size=(d, targets)) + noise * rng.normal(size=(n, targets)) + 5


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_every_target_gets_the_penalty_and_weights_of_scikit_learn(n: int, d: int) -> None:
    x, y = problem(n, d)
    ours = fit_ridge(x, y, np.arange(6), lambdas=PENALTIES)
    theirs = RidgeCV(PENALTIES, alpha_per_target=True).fit(x, y)
    assert np.array_equal(ours.penalty, theirs.alpha_)
    assert ours.weights == pytest.approx(theirs.coef_.T, abs=1e-4)
    assert ours.predict(x) == pytest.approx(theirs.predict(x), abs=1e-3)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_a_group_shares_the_penalty_that_is_best_for_all_of_it(n: int, d: int) -> None:
    x, y = problem(n, d)
    y[:, 3:] += 20 * np.random.default_rng(1).normal(size=(n, 3))  # the second group is noisier
    ours = fit_ridge(x, y, np.array([0, 0, 0, 1, 1, 1]), lambdas=PENALTIES)
    for group, columns in enumerate((slice(0, 3), slice(3, 6))):
        theirs = RidgeCV(PENALTIES).fit(x, y[:, columns])
        assert ours.penalty[group] == pytest.approx(theirs.alpha_)
        assert ours.weights[:, columns] == pytest.approx(theirs.coef_.T, abs=1e-4)


def test_the_error_is_that_of_leaving_each_image_out() -> None:
    x, y = problem(25, 40, targets=2)
    errors = []
    for penalty in PENALTIES:
        left = [
            SklearnRidge(penalty).fit(np.delete(x, i, 0), np.delete(y, i, 0)).predict(x[i : i + 1]) for i in range(25)
        ]
        errors.append(((np.concatenate(left) - y) ** 2).mean())
    assert fit_ridge(x, y, lambdas=PENALTIES).penalty[0] == PENALTIES[int(np.argmin(errors))]


def test_features_without_variation_and_more_images_than_rank() -> None:
    x, y = problem(40, 6)
    x[:, 2] = 1.0
    x[:, 3] = x[:, 4]
    found = fit_ridge(x, y, lambdas=[1.0])
    assert np.isfinite(found.weights).all() and found.weights[2] == pytest.approx(0)
    assert found.weights[3] == pytest.approx(found.weights[4], abs=1e-5)
    assert found.predict(x) == pytest.approx(SklearnRidge(1.0).fit(x, y).predict(x), abs=1e-3)


def test_constant_features_predict_the_mean() -> None:
    _, y = problem(20, 4)
    found = fit_ridge(np.ones((20, 4)), y)
    assert found.predict(np.ones((3, 4))) == pytest.approx(np.tile(y.mean(axis=0), (3, 1)), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"lambdas": [1.0, -1.0]},
            InputError,
            "'lambdas' parameter of fit_ridge must be a finite number > 0. Got -1.0",
        ),
        ({"lambdas": []}, InputError, "must be"),
        ({"targets": np.zeros((9, 2))}, InputError, "as many images"),
        ({"groups": np.zeros(5, int)}, InputError, r"a group a target \(2\)"),
        ({"features": np.zeros((2, 3)), "targets": np.zeros((2, 2))}, DataError, "at least three images"),
    ],
)
def test_bad_input_is_refused(changes: dict, error: type[Exception], message: str) -> None:
    given = {"features": np.zeros((10, 3)), "targets": np.zeros((10, 2)), **changes}
    with pytest.raises(error, match=message):
        fit_ridge(**given)
