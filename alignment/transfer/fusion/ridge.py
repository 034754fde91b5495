"""Ridge regression of many targets at once, its penalty chosen by exact leave-one-out errors.

One eigendecomposition of the Gram matrix (images × images, or features × features where there are fewer of these)
serves every penalty and every target: for each penalty the leave-one-out residual is (y − ŷ) / (1 − h), h the diagonal
of the hat matrix (Golub, Heath & Wahba 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignment._validation import check_number, fail
from neural_alignment import DataError

__all__ = ["LAMBDAS", "Ridge", "fit_ridge"]

Array = npt.NDArray[np.float64]
LAMBDAS: tuple[float, ...] = tuple(float(value) for value in np.logspace(-2, 8, 21))
"""Penalties that are tried: half decades from 0.01 to 10⁸ (features are scaled to unit variance)."""


@dataclass(frozen=True)
class Ridge:
    """A fitted readout: ``predict(x) = (x − mean) @ weights + intercept``.

    Attributes
    ----------
    weights : (feature, target) float32 array
    mean : (feature,) float32 array
        Of the training images.
    intercept : (target,) float32 array
        The targets' means.
    penalty : (group,) float64 array
        The λ chosen for each group of targets.
    """

    weights: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    intercept: npt.NDArray[np.float32]
    penalty: Array

    def predict(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return predictions (image, target) for features (image, feature)."""
        centred = np.asarray(features, np.float32) - self.mean
        return np.asarray(centred @ self.weights + self.intercept, np.float32)


def fit_ridge(
    features: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    groups: npt.NDArray[np.int64] | None = None,
    *,
    lambdas: Sequence[float] = LAMBDAS,
) -> Ridge:
    """Fit ‖y − Xw‖² + λ‖w‖² with an intercept for every target, one λ a group of targets.

    Parameters
    ----------
    features : (image, feature) array
        As they are: scale them first where they differ in units.
    targets : (image, target) array
        Responses.
    groups : (target,) int array, optional
        The group (ROI) of each target, from 0; each group has the λ with the smallest mean squared leave-one-out error
        over its targets. None: one group.
    lambdas : sequence of float, optional
        Penalties to choose from, all > 0.

    Returns
    -------
    Ridge

    Raises
    ------
    InputError
        A λ at or below 0, or arrays that do not fit each other.
    DataError
        Fewer than three images.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, w = rng.normal(size=(200, 5)), rng.normal(size=(5, 3))
    >>> found = fit_ridge(x, x @ w + 1)
    >>> bool(np.allclose(found.predict(x), x @ w + 1, atol=1e-2)), float(found.penalty[0])
    (True, 0.01)
    """
    penalties = [check_number(value, "lambdas", "fit_ridge", low=0, open_low=True) for value in lambdas]
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not penalties:
        shapes = f"{x.shape} and {y.shape}"
        raise fail("targets", "fit_ridge", "(image, target) with as many images as (image, feature) features", shapes)
    if len(x) < 3:
        raise DataError(f"A ridge regression needs at least three images. Got {len(x)}.")
    members = np.zeros(y.shape[1], np.int64) if groups is None else np.asarray(groups, np.int64)
    if members.shape != (y.shape[1],):
        raise fail("groups", "fit_ridge", f"a group a target ({y.shape[1]})", members.shape)
    mean, intercept = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean, y - intercept
    left, square, right = _decompose(x)
    projected = left.T @ y
    errors = np.stack([_error(left, square, projected, y, value) for value in penalties])
    counts = np.bincount(members)
    by_group = np.stack([np.bincount(members, error) / np.maximum(counts, 1) for error in errors])
    chosen = np.asarray(penalties)[by_group.argmin(axis=0)]
    shrunk = projected / (square[:, None] + chosen[members][None])
    weights = right(shrunk)
    return Ridge(weights.astype(np.float32), mean.astype(np.float32), intercept.astype(np.float32), chosen)


def _decompose(x: Array) -> tuple[Array, Array, Any]:
    """Return U, s² of centred X = U s Vᵀ, and the function that gives V s z = Xᵀ U z."""
    n, d = x.shape
    if n <= d:
        square, left = np.linalg.eigh(x @ x.T)
        keep = square > square[-1] * 1e-12 * n if square[-1] > 0 else square > 0
        left, square = left[:, keep], square[keep]
        return left, square, lambda shrunk: x.T @ (left @ shrunk)
    square, basis = np.linalg.eigh(x.T @ x)
    keep = square > square[-1] * 1e-12 * n if square[-1] > 0 else square > 0
    basis, square = basis[:, keep], square[keep]
    root = np.sqrt(square)
    return (x @ basis) / root, square, lambda shrunk: basis @ (root[:, None] * shrunk)


def _error(left: Array, square: Array, projected: Array, y: Array, penalty: float) -> Array:
    """Return each target's mean squared leave-one-out error at one penalty."""
    shrink = square / (square + penalty)
    # The intercept takes 1/n of every image's own value, beside what the features take.
    hat = (left**2) @ shrink + 1 / len(y)
    fitted = left @ (shrink[:, None] * projected)
    room = np.maximum(1 - hat, 1e-10)[:, None]
    return np.asarray((((y - fitted) / room) ** 2).mean(axis=0))
