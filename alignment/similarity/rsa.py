"""Representational similarity: dissimilarities over scenes, their agreement, and unbiased linear CKA."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from alignment._validation import check_choice, check_integer, fail

from ._arrays import Array, as_array, as_vectors, check_finite, check_same_scenes

__all__ = [
    "CkaTest",
    "RdmTest",
    "cka_permutation_test",
    "compare_rdms",
    "linear_cka",
    "rdm",
    "rdm_permutation_test",
    "shuffled_correlations",
]

_BLOCK = 2**22  # values of the patterns that are held as float64 at a time


def rdm(responses: Any) -> Array:
    """Representational dissimilarity: 1 − Pearson correlation of every two scenes' response patterns.

    Parameters
    ----------
    responses : (scene, unit) array
        One response a scene and unit (or cell). At least two scenes and two units.

    Returns
    -------
    (scene, scene) float64 array
        Symmetric, zero diagonal, in [0, 2]. A scene to which all units respond alike has no pattern to
        correlate: its row and column are NaN.

    Raises
    ------
    InputError
        Fewer than two scenes or units, or NaN or infinity among the responses.

    Examples
    --------
    >>> import numpy as np
    >>> rdm(np.array([[0.0, 1, 2], [2, 4, 6], [2, 1, 0]])).round(6)
    array([[0., 0., 2.],
           [0., 0., 2.],
           [2., 2., 0.]])
    """
    patterns = as_vectors(responses, "responses", "rdm")
    if patterns.shape[0] < 2 or patterns.shape[1] < 2:
        raise fail("responses", "rdm", "an array (scene, unit) with at least 2 of each", patterns.shape)
    check_finite(patterns, "responses", "rdm")
    scenes, units = patterns.shape
    mean = patterns.mean(axis=1, dtype=np.float64, keepdims=True)
    products = np.zeros((scenes, scenes))
    # In blocks: whole activation maps would not fit twice into the memory as float64.
    step = max(1, _BLOCK // scenes)
    for start in range(0, units, step):
        centred = patterns[:, start : start + step] - mean
        products += centred @ centred.T
    length = np.sqrt(np.diag(products))
    flat = length <= 1e-12 * np.maximum(np.abs(patterns).max(axis=1), np.finfo(float).tiny) * units**0.5
    with np.errstate(invalid="ignore", divide="ignore"):
        length = np.where(flat, np.nan, length)
        matrix: Array = 1.0 - np.clip(products / length[:, None] / length, -1.0, 1.0)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, np.where(flat, np.nan, 0.0))
    return matrix


def compare_rdms(a: Any, b: Any, method: Literal["spearman", "pearson"] = "spearman") -> float | Array:
    """Correlation of two dissimilarity matrices' upper triangles.

    Parameters
    ----------
    a, b : (scene, scene) arrays, or (k, scene, scene) and (m, scene, scene)
        Dissimilarities over the same scenes in the same order; only the part above the diagonal is read.
    method : {"spearman", "pearson"}
        Rank correlation (ties share their mean rank), or that of the values.

    Returns
    -------
    float or (k, m) array
        In [−1, 1]; a float for one matrix against one. NaN where a matrix holds NaN above its diagonal (a
        scene without a pattern) or is constant there: ranks over different scenes cannot be compared.

    Raises
    ------
    InputError
        The matrices are not square, or not over the same number of scenes.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> round(compare_rdms(a, 10 * a), 6)
    1.0
    """
    check_choice(method, "method", "compare_rdms", ("spearman", "pearson"))
    first, second = _stack(a, "a", "compare_rdms"), _stack(b, "b", "compare_rdms")
    _same_scenes(first, second, "compare_rdms")
    result = _unit_triangles(first, method) @ _unit_triangles(second, method).T
    result = np.clip(result, -1.0, 1.0)
    return float(result[0, 0]) if np.ndim(a) == np.ndim(b) == 2 else result


@dataclass(frozen=True)
class RdmTest:
    """How two dissimilarity matrices agree, beside what their agreement would be with the scenes shuffled.

    Attributes
    ----------
    correlation : float or (k, m) array
        As :func:`compare_rdms` gives it.
    p : float or (k, m) array
        Share of shuffles (and the data) that agree at least as well, one-sided: (b + 1) / (n + 1).
    null_mean, null_high : float or (k, m) array
        Mean and 95th percentile of the shuffled correlations.
    permutations, seed, scenes : int
        How it was made.
    """

    correlation: float | Array
    p: float | Array
    null_mean: float | Array
    null_high: float | Array
    permutations: int = field(kw_only=True)
    seed: int = field(kw_only=True)
    scenes: int = field(kw_only=True)


def rdm_permutation_test(
    a: Any,
    b: Any,
    method: Literal["spearman", "pearson"] = "spearman",
    *,
    permutations: int = 1000,
    seed: int = 0,
) -> RdmTest:
    """Test the agreement of dissimilarity matrices against shuffled scenes.

    Rows and columns of ``a`` are shuffled together, so that the null keeps each matrix's own values and
    breaks only which scene is which.

    Parameters
    ----------
    a, b, method
        As in :func:`compare_rdms`.
    permutations : int
        Number of shuffles, at least 19.
    seed : int
        Of the shuffles.

    Returns
    -------
    RdmTest
        Correlation, p (never 0 and never above 1), and the null's mean and 95th percentile.

    Raises
    ------
    InputError
        As :func:`compare_rdms`, or fewer than 4 scenes.

    Examples
    --------
    >>> import numpy as np
    >>> a = rdm(np.random.default_rng(0).normal(size=(12, 30)))
    >>> rdm_permutation_test(a, a, permutations=99).p
    0.01
    """
    check_choice(method, "method", "rdm_permutation_test", ("spearman", "pearson"))
    check_integer(permutations, "permutations", "rdm_permutation_test", low=19)
    check_integer(seed, "seed", "rdm_permutation_test", low=0)
    first, second = (_stack(x, name, "rdm_permutation_test") for x, name in ((a, "a"), (b, "b")))
    _same_scenes(first, second, "rdm_permutation_test")
    scenes = first.shape[1]
    if scenes < 4:
        raise fail("a", "rdm_permutation_test", "a matrix over at least 4 scenes", first.shape)
    ours, theirs = _unit_triangles(first, method), _unit_triangles(second, method)
    observed = np.clip(ours @ theirs.T, -1.0, 1.0)
    null = _shuffled(ours, theirs, scenes, permutations, np.random.default_rng(seed))
    at_least = (null >= observed - 1e-12).sum(axis=0)
    p = np.where(np.isnan(observed), np.nan, (at_least + 1) / (permutations + 1))
    parts = (observed, p, null.mean(axis=0), np.quantile(null, 0.95, axis=0))
    if np.ndim(a) == np.ndim(b) == 2:
        first_only = [float(part[0, 0]) for part in parts]
        return RdmTest(*first_only, permutations=permutations, seed=seed, scenes=scenes)
    return RdmTest(*parts, permutations=permutations, seed=seed, scenes=scenes)


def shuffled_correlations(
    a: Any, b: Any, permutations: int, rng: np.random.Generator, method: Literal["spearman", "pearson"] = "spearman"
) -> Array:
    """Return what :func:`compare_rdms` gives with the scenes of ``a`` shuffled, (permutation, k, m)."""
    first, second = _stack(a, "a", "shuffled_correlations"), _stack(b, "b", "shuffled_correlations")
    _same_scenes(first, second, "shuffled_correlations")
    ours, theirs = _unit_triangles(first, method), _unit_triangles(second, method)
    return _shuffled(ours, theirs, first.shape[1], permutations, rng)


def linear_cka(x: Any, y: Any, unbiased: bool = True) -> float:
    """Linear centred kernel alignment of two sets of responses to the same scenes (Kornblith et al. 2019).

    Parameters
    ----------
    x, y : (scene, p) and (scene, q) arrays
        Responses of two populations, scenes in the same order.
    unbiased : bool
        Estimate each HSIC without bias (Song et al. 2012), so that many units over few scenes do not look
        alike by chance; may then be slightly negative. Needs at least 4 scenes.

    Returns
    -------
    float
        At most 1; NaN where a population does not vary over the scenes.

    Raises
    ------
    InputError
        Different or too few scenes, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 5))
    >>> round(linear_cka(x, 3 * x[:, ::-1]), 6)
    1.0
    """
    check_same_scenes(x, y, ("x", "y"), "linear_cka")
    first, second = as_vectors(x, "x", "linear_cka"), as_vectors(y, "y", "linear_cka")
    if len(first) != len(second):
        raise fail("y", "linear_cka", f"responses to the {len(first)} scenes of 'x'", second.shape)
    least = 4 if unbiased else 2
    if len(first) < least:
        raise fail("x", "linear_cka", f"responses to at least {least} scenes", first.shape)
    check_finite(first, "x", "linear_cka")
    check_finite(second, "y", "linear_cka")
    grams = [_centred_gram(z.astype(np.float64), unbiased) for z in (first, second)]
    cross, own_x, own_y = (_hsic(*pair, unbiased) for pair in ((grams[0], grams[1]), (grams[0],) * 2, (grams[1],) * 2))
    if not (own_x > 0 and own_y > 0):
        return float("nan")
    return float(cross / np.sqrt(own_x * own_y))


@dataclass(frozen=True)
class CkaTest:
    """Unbiased linear CKA beside what it would be with the scenes shuffled.

    Attributes
    ----------
    value : (k, m) array
        As :func:`linear_cka` gives it; NaN where a side does not vary over the scenes.
    low, high : (k, m) arrays
        95 % interval over scenes by the jackknife: value ± 1.96 standard errors.
    p : (k, m) array
        One-sided share of shuffles (and the data) at least as high, (b + 1) / (n + 1).
    null_mean, null_high : (k, m) arrays
        Mean and 95th percentile with the scenes shuffled.
    """

    value: Array
    low: Array
    high: Array
    p: Array
    null_mean: Array
    null_high: Array


def cka_permutation_test(a: Any, b: Any, *, permutations: int = 1000, seed: int = 0) -> CkaTest:
    """Test unbiased linear CKA of many pairs at once, from the products of responses.

    Parameters
    ----------
    a, b : (k, scene, scene) and (m, scene, scene) arrays
        X·Xᵀ of responses X (scene, unit), centred or not: whole activation maps need not be kept.
    permutations, seed : int
        Shuffles of the scenes of ``a``, at least 19, and their seed.

    Returns
    -------
    CkaTest
        Values, intervals over scenes, and p.

    Raises
    ------
    InputError
        Other shapes, different scenes, fewer than 6 scenes, or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 5))
    >>> found = cka_permutation_test((x @ x.T)[None], (x @ x.T)[None], permutations=99)
    >>> found.value.round(6), found.p
    (array([[1.]]), array([[0.01]]))
    """
    owner = "cka_permutation_test"
    check_integer(permutations, "permutations", owner, low=19)
    check_integer(seed, "seed", owner, low=0)
    first, second = _stack(a, "a", owner), _stack(b, "b", owner)
    _same_scenes(first, second, owner)
    scenes = first.shape[1]
    if scenes < 6:
        raise fail("a", owner, "products over at least 6 scenes", first.shape)
    for name, stack in (("a", first), ("b", second)):
        check_finite(stack.reshape(len(stack), -1), name, owner)
    first, second = _u_centred(first), _u_centred(second)
    value = _unit_flat(first) @ _unit_flat(second).T
    rng = np.random.default_rng(seed)
    ours, theirs = _unit_flat(first).reshape(first.shape), _unit_flat(second)
    null = np.empty((permutations, *value.shape))
    for repeat in range(permutations):
        order = rng.permutation(scenes)
        null[repeat] = ours[:, order[:, None], order].reshape(len(ours), -1) @ theirs.T
    left = np.empty((scenes, *value.shape))
    for scene in range(scenes):
        rest = np.delete(np.arange(scenes), scene)
        parts = [_unit_flat(_u_centred(stack[:, rest[:, None], rest])) for stack in (first, second)]
        left[scene] = parts[0] @ parts[1].T
    error = np.sqrt((scenes - 1) / scenes * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    p = np.where(np.isnan(value), np.nan, ((null >= value - 1e-12).sum(axis=0) + 1) / (permutations + 1))
    high = np.quantile(null, 0.95, axis=0)
    return CkaTest(value, value - 1.96 * error, value + 1.96 * error, p, null.mean(axis=0), high)


def _u_centred(products: Array) -> Array:
    """Centre products without bias (Székely and Rizzo 2014): rows sum to zero, the diagonal is zero.

    The inner product of two such matrices is, up to a factor, the unbiased HSIC of Song et al. (2012).
    """
    n = products.shape[1]
    scale = np.abs(products).max(axis=(1, 2), keepdims=True)
    values = products / np.where(scale > 0, scale, 1.0)
    values = values - values.mean(axis=1, keepdims=True)
    values = values - values.mean(axis=2, keepdims=True)
    values[:, np.arange(n), np.arange(n)] = 0.0
    rows = values.sum(axis=2) / (n - 2)
    total = values.sum(axis=(1, 2)) / ((n - 1) * (n - 2))
    values = values - rows[:, :, None] - rows[:, None, :] + total[:, None, None]
    values[:, np.arange(n), np.arange(n)] = 0.0
    centred: Array = values
    return centred


def _unit_flat(centred: Array) -> Array:
    """Return matrices as rows of length 1; NaN where one is zero to rounding: responses that do not vary."""
    flat = centred.reshape(len(centred), -1)
    length = np.sqrt(np.einsum("kt,kt->k", flat, flat))
    unit: Array = flat / np.where(length > 1e-12, length, np.nan)[:, None]
    return unit


def _stack(matrices: Any, parameter: str, owner: str) -> Array:
    array = as_array(matrices, parameter, owner)
    stacked = array[None] if array.ndim == 2 else array
    if stacked.ndim != 3 or stacked.shape[1] != stacked.shape[2] or stacked.shape[1] < 3:
        allowed = "a square matrix (scene, scene) over at least 3 scenes, or a stack of them"
        raise fail(parameter, owner, allowed, array.shape)
    return stacked.astype(np.float64, copy=False)


def _same_scenes(first: Array, second: Array, owner: str) -> None:
    if first.shape[1] != second.shape[1]:
        allowed = f"over the {first.shape[1]} scenes of 'a', in the same order"
        raise fail("b", owner, allowed, second.shape, "Does one of them hold the blank as a further row?")


def _unit_triangles(stack: Array, method: str) -> Array:
    """Return upper triangles (or their ranks) without their mean and of length 1; NaN where there is none."""
    from scipy.stats import rankdata

    upper = np.triu_indices(stack.shape[1], 1)
    values = stack[:, upper[0], upper[1]].copy()
    valid = np.isfinite(values).all(axis=1)
    if method == "spearman" and valid.any():
        values[valid] = [rankdata(row) for row in values[valid]]
    values -= values.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("kt,kt->k", values, values))
    size = np.abs(values).max(axis=1) if values.size else length
    length[~valid | ~(length > 1e-12 * np.maximum(size, np.finfo(float).tiny))] = np.nan
    unit: Array = values / length[:, None]
    return unit


def _shuffled(ours: Array, theirs: Array, scenes: int, permutations: int, rng: np.random.Generator) -> Array:
    upper = np.triu_indices(scenes, 1)
    square = np.zeros((len(ours), scenes, scenes))
    square[:, upper[0], upper[1]] = ours
    square += square.transpose(0, 2, 1)
    null = np.empty((permutations, len(ours), len(theirs)))
    for repeat in range(permutations):
        order = rng.permutation(scenes)
        null[repeat] = square[:, order[upper[0]], order[upper[1]]] @ theirs.T
    return null


def _centred_gram(values: Array, unbiased: bool) -> Array:
    values = values - values.mean(axis=0)
    largest = np.abs(values).max()
    gram: Array = (values / largest) @ (values / largest).T if largest > 0 else np.zeros((len(values),) * 2)
    if unbiased:
        np.fill_diagonal(gram, 0.0)
    return gram


def _hsic(first: Array, second: Array, unbiased: bool) -> float:
    product = float(np.sum(first * second))
    if not unbiased:
        return product
    n = len(first)
    total = first.sum() * second.sum() / ((n - 1) * (n - 2))
    rows = 2.0 * float(first.sum(axis=0) @ second.sum(axis=0)) / (n - 2)
    return float((product + total - rows) / (n * (n - 3)))
