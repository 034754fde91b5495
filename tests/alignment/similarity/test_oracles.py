"""Every measure against the definition written out, or a public library, for any shape, type and container."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.stats import gaussian_kde, kendalltau, pearsonr, rankdata, spearmanr
from statsmodels.stats.multitest import multipletests

from alignment.similarity import (
    benjamini_hochberg,
    compare_rdms,
    kde_densities,
    kde_iou,
    linear_cka,
    nearest_units,
    noise_ceiling,
    null_test,
    paired_permutation,
    rdm,
    rmse,
    spearman_brown,
)

CONTAINERS = {
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "big-endian": lambda x: x.astype(">f8"),
    "transposed": lambda x: np.asfortranarray(x),
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes()).reshape(x.shape),
    "list": lambda x: x.tolist(),
    "torch": torch.from_numpy,
    "torch with a gradient": lambda x: torch.from_numpy(x).requires_grad_(),
    "torch bfloat16": lambda x: torch.from_numpy(x).to(torch.bfloat16),
    "xarray": lambda x: xr.DataArray(x, dims=("cell", "scene"), coords={"cell": np.arange(len(x)) + 7}),
}
INTEGERS = [np.int8, np.uint8, np.int32, np.int64, np.uint16, bool]


def values(seed: int, *shape: int) -> np.ndarray:
    # Multiples of 1/16 below 4 are exact in every container, half precision too.
    return np.random.default_rng(seed).integers(0, 64, shape) / 16.0


@pytest.mark.parametrize("container", list(CONTAINERS))
@pytest.mark.parametrize(
    "measure",
    [
        lambda a, b: rmse(a, b),
        lambda a, b: rmse(a, b, "nearest"),
        lambda a, b: nearest_units(a, b).mean,
        lambda a, b: rdm(a),
        lambda a, b: linear_cka(a, b),
        lambda a, b: kde_iou(a, b),
        lambda a, b: compare_rdms(rdm(a), rdm(b)),
    ],
    ids=["rmse", "rmse nearest", "nearest_units", "rdm", "linear_cka", "kde_iou", "compare_rdms"],
)
def test_what_the_numbers_come_in_does_not_matter(measure, container: str) -> None:
    if container == "torch bfloat16":  # 8 bits hold whole sixteenths up to 16 only
        a, b = values(0, 9, 14) % 1, values(1, 9, 14) % 1
    else:
        a, b = values(0, 9, 14), values(1, 9, 14)
    wrap = CONTAINERS[container]
    np.testing.assert_allclose(measure(wrap(a), wrap(b)), measure(a, b), rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_whole_numbers_are_not_wrapped_around(dtype: type) -> None:
    """Differences of unsigned bytes below zero would come out near 256."""
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 2 if dtype is bool else 120, (2, 6, 20)).astype(dtype)
    wide_a, wide_b = a.astype(float), b.astype(float)
    assert rmse(a, b) == pytest.approx((cdist(wide_a, wide_b) / 20**0.5).mean(), rel=1e-6)
    np.testing.assert_allclose(rdm(a), squareform(pdist(wide_a, "correlation")), atol=1e-12)
    assert linear_cka(a, b) == pytest.approx(linear_cka(wide_a, wide_b), abs=1e-12)


def test_inputs_are_not_changed() -> None:
    a, b = values(4, 8, 30), values(5, 8, 30)
    copies = a.copy(), b.copy()
    for call in (rmse, kde_iou, linear_cka, nearest_units):
        call(a, b)
    square = rdm(a)
    before = square.copy()
    compare_rdms(square, rdm(b))
    p = np.array([0.3, np.nan, 0.01])
    benjamini_hochberg(p)
    assert np.array_equal(a, copies[0]) and np.array_equal(b, copies[1])
    assert np.array_equal(square, before)
    assert np.array_equal(p, [0.3, np.nan, 0.01], equal_nan=True)


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (1, 7, 3), (7, 1, 118), (5, 6, 1), (40, 33, 117), (3, 3, 4096)])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_rmse_is_the_root_of_the_mean_square(n: int, m: int, d: int, precision: str) -> None:
    rng = np.random.default_rng(n + m + d)
    a, b = rng.normal(3.0, 2.0, (n, d)), rng.normal(-1.0, 0.5, (m, d))
    matrix = np.sqrt(((a[:, None] - b[None]) ** 2).mean(axis=2))
    np.testing.assert_allclose(rmse(a, b, None, precision=precision), matrix, rtol=2e-6)
    assert rmse(a, b, precision=precision) == pytest.approx(matrix.mean(), rel=1e-6)
    assert rmse(a, b, "nearest", precision=precision) == pytest.approx(matrix.min(axis=1).mean(), rel=1e-6)
    found = nearest_units(a, b, precision=precision)
    np.testing.assert_allclose(found.mean, matrix.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(matrix[np.arange(n), found.unit], matrix.min(axis=1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 2), (2, 50), (6, 3), (25, 40), (118, 5)])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-150, 0.0), (1e150, 0.0), (1.0, 1e4)])
def test_rdm_at_any_scale(shape: tuple[int, int], scale: float, offset: float) -> None:
    patterns = np.random.default_rng(6).normal(size=shape)
    expected = 1 - np.corrcoef(patterns)
    np.testing.assert_allclose(rdm(scale * patterns + offset), expected, atol=1e-9)


@pytest.mark.parametrize("scenes", [3, 4, 9, 30])
@pytest.mark.parametrize("ties", [False, True])
def test_rdm_agreement_is_a_correlation_of_the_triangles(scenes: int, ties: bool) -> None:
    rng = np.random.default_rng(scenes)
    stack = rng.random((5, scenes, scenes))
    stack = np.round(stack * 4) if ties else stack
    stack[:, 0, 1] += 5.0  # no triangle is constant
    triangles = [matrix[np.triu_indices(scenes, 1)] for matrix in stack]
    for method, oracle in (("spearman", spearmanr), ("pearson", pearsonr)):
        found = compare_rdms(stack[:3], stack[3:], method)
        expected = [[oracle(one, other)[0] for other in triangles[3:]] for one in triangles[:3]]
        np.testing.assert_allclose(found, expected, atol=1e-12)
    # Spearman's is Pearson's of the ranks, and shares its sign with Kendall's where the agreement is strong.
    ranked = compare_rdms(stack[0], stack[0] ** 3)
    assert ranked == pytest.approx(np.corrcoef(rankdata(triangles[0]), rankdata(triangles[0] ** 3))[0, 1])
    assert kendalltau(triangles[0], triangles[0] ** 3)[0] == pytest.approx(ranked)


def song_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Return the unbiased HSIC as the mean over all tuples of four different scenes (Song et al. 2012, theorem 1)."""
    n = len(k)
    total = 0.0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
    return total / (n * (n - 1) * (n - 2) * (n - 3))


@pytest.mark.parametrize(("n", "p", "q"), [(4, 1, 1), (5, 3, 8), (7, 20, 2), (8, 50, 50)])
def test_unbiased_cka_is_the_mean_over_quadruples(n: int, p: int, q: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, q)) + 0.4 * rng.normal(size=(n, 1))
    k, m = x @ x.T, y @ y.T
    expected_own = song_hsic(k, k) * song_hsic(m, m)
    found = linear_cka(x, y)
    if min(song_hsic(k, k), song_hsic(m, m)) <= 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(song_hsic(k, m) / expected_own**0.5, rel=1e-8)


@pytest.mark.parametrize(("n", "p", "q"), [(2, 1, 3), (6, 4, 4), (30, 100, 7)])
def test_biased_cka_is_kornblith_equation_3(n: int, p: int, q: int) -> None:
    rng = np.random.default_rng(q)
    x, y = rng.normal(5, 1, (n, p)), rng.normal(-2, 3, (n, q))
    x_c, y_c = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.norm(y_c.T @ x_c) ** 2 / (np.linalg.norm(x_c.T @ x_c) * np.linalg.norm(y_c.T @ y_c))
    assert linear_cka(x, y, unbiased=False) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 40), (118, 118), (300, 20)])
@pytest.mark.parametrize("form", ["normal", "skewed", "two humps", "whole numbers"])
def test_kde_iou_by_quadrature(n: int, m: int, form: str) -> None:
    rng = np.random.default_rng(n)
    draw = {
        "normal": lambda size: rng.normal(size=size),
        "skewed": lambda size: rng.gamma(1.5, size=size),
        "two humps": lambda size: rng.normal(size=size) + 6 * rng.integers(0, 2, size),
        "whole numbers": lambda size: np.arange(size) % 5.0,
    }[form]
    a, b = draw(n), draw(m) + 0.3
    p, q = gaussian_kde(a), gaussian_kde(b)
    ends = [(f(x)) for x in (a, b) for f in (np.min, np.max)]
    reach = 8 * max(k.factor * np.std(x, ddof=1) for k, x in ((p, a), (q, b)))
    x = np.linspace(min(ends) - reach, max(ends) + reach, 6001)
    expected = np.minimum(p(x), q(x)).sum() / np.maximum(p(x), q(x)).sum()
    assert kde_iou(a, b) == pytest.approx(expected, abs=3e-3)
    drawn = kde_densities(a, b)
    assert drawn.iou == pytest.approx(kde_iou(a, b), abs=1e-9)
    step = drawn.x[1] - drawn.x[0]
    # Three bandwidths beyond the values hold all of the density but for their tails.
    assert drawn.a.sum() * step == pytest.approx(1.0, abs=0.01)
    assert drawn.b.sum() * step == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 5, 100])
@pytest.mark.parametrize("form", ["uniform", "small", "tied", "ends"])
def test_q_values_by_a_library_and_by_definition(count: int, form: str) -> None:
    rng = np.random.default_rng(count)
    p = {
        "uniform": rng.random(count),
        "small": rng.random(count) ** 8,
        "tied": rng.integers(1, 4, count) / 10,
        "ends": rng.integers(0, 2, count).astype(float),
    }[form]
    found = benjamini_hochberg(p)
    np.testing.assert_allclose(found, multipletests(p, method="fdr_bh")[1], atol=1e-15)
    # The smallest rate, over all thresholds that call the test, of expected false calls among the calls.
    expected = [min(count * t / (p <= t).sum() for t in p if t >= one) for one in p]
    np.testing.assert_allclose(found, np.minimum(expected, 1.0), atol=1e-15)


@pytest.mark.parametrize("trials", [2, 3, 4])
def test_ceiling_over_all_splits_of_exchangeable_trials(trials: int) -> None:
    """Many random splits come near the mean over every way to halve the trials, alike for all scenes."""
    rng = np.random.default_rng(trials)
    tuning = rng.normal(size=(3, 200, 1))
    responses = tuning + rng.normal(size=(3, 200, trials))
    half = trials // 2
    expected = []
    for first in combinations(range(trials), half):
        rest = [t for t in range(trials) if t not in first]
        for second in combinations(rest, half):
            a, b = responses[:, :, list(first)].mean(axis=2), responses[:, :, list(second)].mean(axis=2)
            r = np.array([pearsonr(one, other)[0] for one, other in zip(a, b, strict=True)])
            expected.append(2 * r / (1 + r))
    found = noise_ceiling(responses, splits=60)
    np.testing.assert_allclose(found.value, np.mean(expected, axis=0), atol=0.04)
    assert (found.low <= found.value).all() and (found.value <= found.high).all()


@pytest.mark.parametrize(("reliability", "factor"), [(0.2, 2), (0.5, 2), (0.8, 2)])
def test_spearman_brown_is_the_reliability_of_twice_the_trials(reliability: float, factor: int) -> None:
    expected = factor * reliability / (1 + (factor - 1) * reliability)
    assert spearman_brown(np.array([reliability]))[0] == pytest.approx(expected)
    # The variances say the same: signal s and noise e of a half, noise e / 2 of the whole.
    noise = (1 - reliability) / reliability
    assert expected == pytest.approx(1 / (1 + noise / factor))


@pytest.mark.parametrize("cells", [6, 8, 13])
@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_sign_flips_come_near_the_exact_p(cells: int, alternative: str) -> None:
    differences = np.random.default_rng(cells).normal(0.5, 1.0, cells)
    signs = np.array([[1 - 2 * (number >> bit & 1) for bit in range(cells)] for number in range(2**cells)])
    means, observed = signs @ differences / cells, differences.mean()
    exact = {
        "two-sided": np.abs(means) >= abs(observed) - 1e-12,
        "less": means <= observed + 1e-12,
        "greater": means >= observed - 1e-12,
    }[alternative].mean()
    found = paired_permutation(differences, permutations=20_000, alternative=alternative)
    # Five standard errors of 20,000 draws; of up to 12 cells every flip is tried.
    assert found.exact == (cells <= 12)
    if found.exact:
        assert found.p == exact
    assert found.p == pytest.approx(exact, abs=5 * (exact * (1 - exact) / 20_000) ** 0.5 + 1e-4)


@pytest.mark.parametrize("shape", [(), (4,), (3, 2)])
def test_null_of_any_shape_by_counting(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(9)
    observed, null = rng.normal(1.0, 1.0, shape), rng.normal(size=(199, *shape))
    for alternative, count in (
        ("greater", (null >= observed).sum(axis=0)),
        ("less", (null <= observed).sum(axis=0)),
        ("two-sided", (np.abs(null - null.mean(axis=0)) >= np.abs(observed - null.mean(axis=0))).sum(axis=0)),
    ):
        found = null_test(observed, null, alternative)
        np.testing.assert_allclose(found.p, (count + 1) / 200)
    np.testing.assert_allclose(found.low, np.percentile(null, 2.5, axis=0))
    np.testing.assert_allclose(found.high, np.percentile(null, 97.5, axis=0))
