"""The shuffled-scene null: scores when it is broken which response belongs to which scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from alignment._validation import check_choice, check_integer, fail

from ._arrays import Array, as_array
from ._donor_tests import as_extreme

__all__ = ["NullTest", "null_test", "shuffled_scenes"]


@dataclass(frozen=True)
class NullTest:
    """Scores beside their null.

    Attributes
    ----------
    p : array, of the scores' shape
        (b + 1) / (n + 1), never 0 and never above 1; NaN where a score or its null is.
    mean, low, high : arrays of the same shape
        Mean, 2.5th and 97.5th percentile of the null.
    n : int
        Shuffles behind it.
    """

    p: Array
    mean: Array
    low: Array
    high: Array
    n: int


def shuffled_scenes(n_scenes: int, shuffles: int, seed: int = 0) -> Iterator[Array]:
    """Yield orders of the scenes in which no scene keeps its place.

    Score ``responses[:, order]`` beside unshuffled units and hand the scores to :func:`null_test`. All cells
    share an order, so that the null keeps how cells vary together.

    Parameters
    ----------
    n_scenes : int
        At least 2.
    shuffles : int
        How many orders.
    seed : int
        Of the orders.

    Yields
    ------
    (scene,) int64 array
        An order.

    Examples
    --------
    >>> [order.tolist() for order in shuffled_scenes(2, 2)]
    [[1, 0], [1, 0]]
    """
    check_integer(n_scenes, "n_scenes", "shuffled_scenes", low=2)
    check_integer(shuffles, "shuffles", "shuffled_scenes", low=1)
    check_integer(seed, "seed", "shuffled_scenes", low=0)
    return _orders(n_scenes, shuffles, np.random.default_rng(seed))


def null_test(observed: Any, null: Any, alternative: Literal["two-sided", "less", "greater"] = "two-sided") -> NullTest:
    """Compare scores with the scores of shuffled data.

    Parameters
    ----------
    observed : array of any shape
        Scores.
    null : (shuffle, ...) array
        The same scores for each shuffle.
    alternative : {"two-sided", "less", "greater"}
        ``"less"`` for RMSE, of which chance gives larger values; ``"greater"`` for KDE-IoU and RSA;
        ``"two-sided"``: farther from the null's mean.

    Returns
    -------
    NullTest
        p values and the null's mean and spread.

    Raises
    ------
    InputError
        The null has no shuffle, or another shape than the scores.

    Examples
    --------
    >>> import numpy as np
    >>> null_test(0.1, np.linspace(0.2, 0.3, 99), "less").p.item()
    0.01
    """
    check_choice(alternative, "alternative", "null_test", ("two-sided", "less", "greater"))
    scores, shuffled = as_array(observed, "observed", "null_test"), as_array(null, "null", "null_test")
    if shuffled.ndim != scores.ndim + 1 or shuffled.shape[1:] != scores.shape or len(shuffled) == 0:
        raise fail("null", "null_test", f"an array (shuffle, ...) of scores {scores.shape}", shuffled.shape)
    mean = shuffled.mean(axis=0)
    middle = mean if alternative == "two-sided" else np.zeros_like(mean)
    counts = as_extreme(shuffled - middle, scores - middle, alternative)
    known = np.isfinite(scores) & np.isfinite(shuffled).all(axis=0)
    p = np.where(known, (counts + 1) / (len(shuffled) + 1), np.nan)
    low, high = np.quantile(shuffled, [0.025, 0.975], axis=0)
    return NullTest(p, mean, low, high, len(shuffled))


def _orders(n_scenes: int, shuffles: int, rng: np.random.Generator) -> Iterator[Array]:
    places = np.arange(n_scenes)
    for _ in range(shuffles):
        order = rng.permutation(n_scenes)
        while (order == places).any():  # about 1 in e permutations moves every scene
            order = rng.permutation(n_scenes)
        yield order
