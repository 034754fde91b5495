"""Invariances that hold for any data: order of cells, units and scenes, scale, symmetry, seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.similarity import (
    benjamini_hochberg,
    bootstrap,
    compare_rdms,
    linear_cka,
    noise_ceiling,
    paired_permutation,
    rdm,
    rdm_permutation_test,
    rmse,
    score_groups,
)

seeds = st.integers(0, 2**31)
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=30)
QUICK = settings(max_examples=25, deadline=None)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@QUICK
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_rmse_follows_scale_and_ignores_order(seed: int, scale: float) -> None:
    a, b = drawn(seed, 6, 15), drawn(seed + 1, 8, 15)
    order = np.random.default_rng(seed).permutation
    shuffled = rmse(a[order(6)], b[order(8)])
    assert shuffled == pytest.approx(rmse(a, b), rel=1e-5)
    assert rmse(b, a) == pytest.approx(rmse(a, b), rel=1e-5)
    assert rmse(scale * a, scale * b, "nearest") == pytest.approx(scale * rmse(a, b, "nearest"), rel=1e-5)
    # A further unit can only bring a cell's nearest closer.
    assert rmse(a, b, "nearest") <= rmse(a, b[:5], "nearest") + 1e-6


@QUICK
@given(seed=seeds, gain=st.floats(0.01, 100), offset=st.floats(-50, 50))
def test_dissimilarities_ignore_units_order_gain_and_offset(seed: int, gain: float, offset: float) -> None:
    x = drawn(seed, 7, 12)
    matrix, order = rdm(x), np.random.default_rng(seed).permutation(7)
    np.testing.assert_allclose(rdm(gain * x[:, ::-1] + offset), matrix, atol=1e-8)
    np.testing.assert_allclose(rdm(x[order]), matrix[np.ix_(order, order)], atol=1e-12)
    assert (matrix >= 0).all() and (matrix <= 2).all() and np.array_equal(matrix, matrix.T)
    other = rdm(drawn(seed + 1, 7, 9))
    assert compare_rdms(matrix, other) == pytest.approx(compare_rdms(other, matrix), abs=1e-12)


@QUICK
@given(seed=seeds)
def test_cka_is_symmetric_and_ignores_scene_order_and_means(seed: int) -> None:
    x, y, order = drawn(seed, 9, 4), drawn(seed + 1, 9, 6), np.random.default_rng(seed).permutation(9)
    y[:, :4] += x
    for unbiased in (True, False):
        plain = linear_cka(x, y, unbiased)
        assert linear_cka(y, x, unbiased) == pytest.approx(plain, nan_ok=True)
        assert linear_cka(x[order] + 3, y[order] - 1, unbiased) == pytest.approx(plain, abs=1e-7, nan_ok=True)


@given(p=probabilities, seed=seeds)
def test_q_is_monotone_above_p_and_ignores_order_and_missing_tests(p: list[float], seed: int) -> None:
    values = np.array(p)
    q = benjamini_hochberg(values)
    assert (q >= values - 1e-15).all() and (q <= 1).all()
    assert (np.diff(q[np.argsort(values)]) >= 0).all()
    order = np.random.default_rng(seed).permutation(len(values))
    np.testing.assert_array_equal(benjamini_hochberg(values[order]), q[order])
    padded = benjamini_hochberg(np.concatenate([[np.nan], values, [np.nan]]))
    np.testing.assert_array_equal(padded, np.concatenate([[np.nan], q, [np.nan]]))


@QUICK
@given(seed=seeds, cells=st.integers(2, 30), donors=st.integers(1, 8), shift=st.floats(-10, 10))
def test_intervals_hold_the_estimate_and_move_with_the_scores(seed: int, cells: int, donors: int, shift: float) -> None:
    scores, names = drawn(seed, cells), np.arange(cells) % donors
    plain, moved = (bootstrap(x, names, bootstraps=400) for x in (scores, scores + shift))
    # Shares of cells are float32.
    assert plain.low <= plain.value <= plain.high
    assert moved.low == pytest.approx(plain.low + shift, abs=1e-5)
    assert moved.high == pytest.approx(plain.high + shift, abs=1e-5)
    assert plain == bootstrap(scores, names, bootstraps=400)
    renamed = bootstrap(scores, [f"mouse {name}" for name in names], bootstraps=400)
    assert (renamed.low, renamed.high) == (plain.low, plain.high)


@QUICK
@given(seed=seeds, cells=st.integers(1, 20), permutations=st.integers(19, 200))
def test_p_is_above_zero_and_the_order_of_a_pair_turns_the_sides(seed: int, cells: int, permutations: int) -> None:
    a, b = drawn(seed, cells), drawn(seed + 1, cells)
    forward = paired_permutation(a, b, permutations=permutations)
    backward = paired_permutation(b, a, permutations=permutations)
    assert forward.difference == -backward.difference
    assert np.isnan(forward.p) == np.isnan(backward.p) == (cells < 6)
    assert cells < 6 or 0 < forward.p_least <= forward.p == backward.p <= 1
    test = rdm_permutation_test(rdm(drawn(seed, 6, 5)), rdm(drawn(seed + 1, 6, 5)), permutations=permutations)
    assert 1 / (permutations + 1) <= test.p <= 1


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_groups_ignore_their_order_masks_repeats_and_the_units_order(seed: int) -> None:
    cells, units = drawn(seed, 12, 20), drawn(seed + 1, 7, 20)
    mask = np.arange(12) < 5
    plain = score_groups(cells, units, {"a": range(5), "b": [7, 8, 9]}, bootstraps=100).table
    other = score_groups(cells, units[::-1], {"b": [9, 7, 8, 8], "a": mask}, bootstraps=100).table
    for column in ("value", "ci_low", "ci_high", "n_cells"):
        found, expected = (t.set_index(["group", "metric"])[column].sort_index() for t in (other, plain))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@QUICK
@given(seed=seeds, gain=st.floats(0.01, 100))
def test_ceilings_ignore_gain_and_belong_to_their_cells(seed: int, gain: float) -> None:
    trials = drawn(seed, 5, 10, 1) + drawn(seed + 1, 5, 10, 6)
    plain = noise_ceiling(trials, splits=4)
    np.testing.assert_allclose(noise_ceiling(gain * trials + 2, splits=4).value, plain.value, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(noise_ceiling(trials[::-1], splits=4).value, plain.value[::-1], rtol=1e-9)
