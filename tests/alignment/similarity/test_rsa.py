"""RDMs, their comparison and CKA against numpy, scipy and definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

from alignment.similarity import compare_rdms, linear_cka, rdm, rdm_permutation_test
from neural_alignment import InputError


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rdm_is_scipys_correlation_distance(dtype: type) -> None:
    responses = np.random.default_rng(0).normal(3, 1, size=(25, 40)).astype(dtype)
    expected = squareform(pdist(responses.astype(float), "correlation"))
    found = rdm(responses)
    np.testing.assert_allclose(found, expected, atol=1e-6 if dtype is np.float32 else 1e-12)
    np.testing.assert_array_equal(found, found.T)
    assert (np.diag(found) == 0).all()


def test_a_scene_without_a_pattern_is_nan_and_said_so_by_the_comparison() -> None:
    responses = np.random.default_rng(1).normal(size=(6, 9))
    responses[2] = 0.1
    found = rdm(responses)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
    assert np.isfinite(np.delete(np.delete(found, 2, 0), 2, 1)).all()
    assert np.isnan(compare_rdms(found, rdm(np.random.default_rng(2).normal(size=(6, 9)))))


@pytest.mark.parametrize(("method", "oracle"), [("spearman", spearmanr), ("pearson", pearsonr)])
def test_comparison_is_scipys(method: str, oracle) -> None:
    rng = np.random.default_rng(3)
    first = [rdm(rng.normal(size=(15, 20))) for _ in range(3)]
    second = [rdm(rng.integers(0, 3, size=(15, 8)) + rng.normal(size=(15, 1))).round(1) for _ in range(2)]
    expected = [[oracle(upper(a), upper(b))[0] for b in second] for a in first]
    np.testing.assert_allclose(compare_rdms(np.stack(first), np.stack(second), method), expected, atol=1e-12)
    assert compare_rdms(first[0], second[1], method) == pytest.approx(expected[0][1], abs=1e-12)


@given(seed=st.integers(0, 2**31), scenes=st.integers(4, 12))
@settings(max_examples=30, deadline=None)
def test_comparison_ignores_order_of_scenes_and_monotone_maps(seed: int, scenes: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rdm(rng.normal(size=(scenes, 9))), rdm(rng.normal(size=(scenes, 9)))
    order = rng.permutation(scenes)
    value = compare_rdms(a, b)
    assert -1 <= value <= 1
    assert compare_rdms(a[np.ix_(order, order)], b[np.ix_(order, order)]) == pytest.approx(value, abs=1e-12)
    assert compare_rdms(np.exp(a), b) == pytest.approx(value, abs=1e-12)
    assert compare_rdms(b, a) == pytest.approx(value, abs=1e-12)


def test_permutation_test_tells_shared_from_unrelated_geometry() -> None:
    rng = np.random.default_rng(4)
    latent = rng.normal(size=(30, 4))
    a, b = (rdm(latent @ rng.normal(size=(4, 50)) + 0.3 * rng.normal(size=(30, 50))) for _ in range(2))
    other = rdm(rng.normal(size=(30, 50)))
    found = rdm_permutation_test(a, np.stack([b, other]), permutations=499, seed=1)
    assert found.p.shape == (1, 2)
    assert found.p[0, 0] == 1 / 500
    assert found.p[0, 1] > 0.05
    np.testing.assert_allclose(found.null_mean, 0, atol=0.05)
    assert found.null_high[0, 0] < found.correlation[0, 0]
    assert rdm_permutation_test(a, b, permutations=499, seed=1).p == 1 / 500


def test_permutation_p_is_uniform_when_nothing_is_shared() -> None:
    rng = np.random.default_rng(5)
    p = [
        rdm_permutation_test(*(rdm(rng.normal(size=(8, 6))) for _ in range(2)), permutations=39, seed=i).p
        for i in range(200)
    ]
    assert all(1 / 40 <= value <= 1 for value in p)
    assert abs(np.mean(np.array(p) <= 0.25) - 0.25) < 0.09  # 3 standard errors


def test_real_matrices_agree_with_themselves_above_chance(shared_data) -> None:
    with np.load(shared_data / "allen_rsms" / "natural_scene_rsms.npz") as stored:
        areas = [1.0 - stored[name][:118, :118] for name in sorted(stored) if name.startswith("VISp__")][:3]
    found = rdm_permutation_test(areas[0], np.stack(areas[1:]), permutations=99)
    assert (found.p == 0.01).all()
    assert (found.correlation > 0.1).all()


def debiased_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. 2012, equation 5, written out with matrices of ones."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones((n, 1))
    total = float((one.T @ k @ one).item() * (one.T @ m @ one).item()) / (n - 1) / (n - 2)
    return (np.trace(k @ m) + total - 2 / (n - 2) * (one.T @ k @ m @ one).item()) / (n * (n - 3))


def test_cka_follows_its_definitions() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(2, 1, size=(20, 7))
    y = np.concatenate([x[:, :3] ** 2, rng.normal(size=(20, 30))], axis=1)
    expected = debiased_hsic(x, y) / np.sqrt(debiased_hsic(x, x) * debiased_hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-9)
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    cross = np.linalg.norm(yc.T @ xc) ** 2 / np.linalg.norm(xc.T @ xc) / np.linalg.norm(yc.T @ yc)
    assert linear_cka(x, y, unbiased=False) == pytest.approx(cross, rel=1e-9)


def test_unbiased_cka_of_unrelated_wide_populations_is_near_zero() -> None:
    rng = np.random.default_rng(7)
    pairs = [(rng.normal(size=(30, 500)), rng.normal(size=(30, 500))) for _ in range(20)]
    assert abs(np.mean([linear_cka(*pair) for pair in pairs])) < 0.02
    assert np.mean([linear_cka(*pair, unbiased=False) for pair in pairs]) > 0.5


@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_cka_ignores_rotation_and_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(12, 5)), rng.normal(size=(12, 6))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    value = linear_cka(x, y)
    assert linear_cka(scale * x @ turn + 1, y) == pytest.approx(value, abs=1e-8)
    assert linear_cka(y, x) == pytest.approx(value, abs=1e-12)
    assert value <= 1 + 1e-12


def test_cka_of_a_population_that_does_not_vary_is_nan() -> None:
    assert np.isnan(linear_cka(np.ones((6, 3)), np.random.default_rng(8).normal(size=(6, 3))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rdm(np.ones((1, 5))), "at least 2 of each"),
        (lambda: rdm(np.array([[1.0, np.nan], [0, 1]])), "finite"),
        (lambda: compare_rdms(np.ones((5, 4)), np.ones((5, 4))), "square"),
        (lambda: compare_rdms(np.ones((118, 118)), np.ones((119, 119))), "hold the blank as a further row"),
        (lambda: compare_rdms(np.ones((5, 5)), np.ones((5, 5)), "kendall"), "'spearman', 'pearson'"),
        (lambda: rdm_permutation_test(np.ones((3, 3)), np.ones((3, 3))), "at least 4 scenes"),
        (lambda: rdm_permutation_test(np.eye(5), np.eye(5), permutations=3), "permutations"),
        (lambda: linear_cka(np.ones((5, 2)), np.ones((6, 2))), "the 5 scenes of 'x'"),
        (lambda: linear_cka(np.ones((3, 2)), np.ones((3, 2))), "at least 4 scenes"),
    ],
)
def test_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
