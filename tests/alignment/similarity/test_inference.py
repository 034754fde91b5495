"""Intervals cover, p values are never 0, q values are those of statsmodels, and all of it is seeded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests

from alignment.similarity import benjamini_hochberg, bootstrap, paired_permutation
from alignment.similarity.inference import interval_limits, resample
from neural_alignment import InputError


def hierarchical(rng: np.random.Generator, donors: int, cells: int, between: float) -> tuple:
    """Scores with mean 0 and variance 1, the part ``between`` of it between donors."""
    effect = np.sqrt(between) * rng.normal(size=donors)
    scores = np.repeat(effect, cells) + np.sqrt(1 - between) * rng.normal(size=donors * cells)
    return scores, np.repeat(np.arange(donors), cells)


def test_shares_draw_donors_and_then_their_cells() -> None:
    codes = np.array([0, 1, 0, 2, 2, 2])
    counts = np.concatenate(list(resample(codes, 4000, np.random.default_rng(0), counts=True)))
    of_donor = np.stack([counts[:, codes == donor].sum(axis=1) for donor in range(3)], axis=1)
    drawn = of_donor / np.array([2, 1, 3])
    np.testing.assert_array_equal(drawn, drawn.round())  # whole donors
    np.testing.assert_array_equal(drawn.sum(axis=1), 3)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
    twice = counts[drawn[:, 0] == 2][:, [0, 2]]
    assert {tuple(row) for row in twice} == {(4, 0), (3, 1), (2, 2), (1, 3), (0, 4)}
    shares = np.concatenate(list(resample(codes, 4000, np.random.default_rng(0))))
    np.testing.assert_allclose(shares, counts / counts.sum(axis=1, keepdims=True), rtol=1e-6)


def test_one_donor_or_none_resamples_cells_and_says_so() -> None:
    scores = np.random.default_rng(1).normal(size=40)
    for donors in (None, ["a"] * 40):
        found = bootstrap(scores, donors)
        assert (found.resampled, found.n_donors, found.n_cells) == ("cells", 1, 40)
        standard_error = scores.std(ddof=1) / np.sqrt(40)
        assert (found.high - found.low) / 2 == pytest.approx(2.02 * standard_error, rel=0.1)
    assert np.isnan(bootstrap([1.0]).low)
    assert bootstrap([1.0]).resampled == "none"


def test_donors_widen_the_interval() -> None:
    scores, donors = hierarchical(np.random.default_rng(2), 8, 30, 0.5)
    by_cell, by_donor = bootstrap(scores), bootstrap(scores, donors)
    assert by_donor.resampled == "donors, cells"
    assert by_donor.high - by_donor.low > 2 * (by_cell.high - by_cell.low)


def test_any_statistic() -> None:
    scores = np.random.default_rng(3).exponential(size=60)
    mean = bootstrap(scores, seed=5)
    looped = bootstrap(scores, statistic=lambda drawn: float(drawn.mean()), seed=5)
    assert (mean.low, mean.high) == pytest.approx((looped.low, looped.high), abs=1e-6)
    median = bootstrap(scores, statistic=lambda drawn: float(np.median(drawn)))
    assert median.low < median.value < median.high


def test_wide_percentiles_for_few_independent_units() -> None:
    draws = np.random.default_rng(4).normal(size=200_000)
    for units, student in ((3, 4.303), (5, 2.776), (6, 2.571), (30, 2.045)):
        low, high = interval_limits(draws, 0.0, units)
        assert high == pytest.approx(np.sqrt(units / (units - 1)) * student, rel=0.05)
        assert low == pytest.approx(-high, rel=0.05)
    assert interval_limits(draws, 0.0, 10_000)[1] == pytest.approx(1.96, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("donors", [3, 5, 8, 20])
@pytest.mark.parametrize("between", [0.0, 0.1, 0.5, 0.9])
def test_coverage(donors: int, between: float) -> None:
    """The 95 % interval covers the truth about as often as it says, or more often."""
    rng = np.random.default_rng([6, donors, int(100 * between)])
    covered = 0
    for repeat in range(1000):
        scores, codes = hierarchical(rng, donors, 15, between)
        found = bootstrap(scores, codes, bootstraps=500, seed=repeat)
        covered += found.low <= 0 <= found.high
    # Three standard errors of a share of 1000 are 0.021.
    assert covered / 1000 > 0.95 - 0.021


def test_paired_p_is_exact_for_few_donors() -> None:
    rng = np.random.default_rng(7)
    differences, donors = rng.normal(0.4, 1, 6 * 4), np.repeat(np.arange(6), 4)
    found = paired_permutation(differences, donors=donors)
    means = differences.reshape(6, 4).mean(axis=1)
    every = [abs(np.dot(signs, means)) for signs in itertools.product([-1, 1], repeat=6)]
    exact = np.mean(np.array(every) >= abs(means.sum()) - 1e-12)
    assert found.flipped == "donors"
    assert (found.p, found.exact) == (exact, True)
    assert found.difference == pytest.approx(differences.mean())


@pytest.mark.parametrize(("alternative", "low"), [("two-sided", True), ("less", True), ("greater", False)])
def test_alternatives(alternative: str, low: bool) -> None:
    rng = np.random.default_rng(8)
    a = rng.normal(size=50)
    p = paired_permutation(a - 1, a, permutations=199, alternative=alternative).p
    assert (p == 0.005) if low else (p > 0.99)


@given(
    differences=arrays(float, st.integers(1, 12), elements=st.floats(-10, 10, width=32)),
    permutations=st.integers(19, 60),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=80, deadline=None)
def test_p_is_never_0_and_never_above_1(differences: np.ndarray, permutations: int, seed: int) -> None:
    found = paired_permutation(differences, permutations=permutations, seed=seed)
    assert np.isnan(found.p) == (len(differences) < 6) == (found.reason != "")
    if len(differences) >= 6:
        assert 0 < found.p_least <= found.p <= 1
        if not differences.any():
            assert found.p == 1


@pytest.mark.slow
def test_paired_p_is_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(9)
    p = []
    for repeat in range(1000):
        scores, donors = hierarchical(rng, 12, 5, 0.5)
        p.append(paired_permutation(scores, donors=donors, permutations=199, seed=repeat).p)
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(np.array(p) <= level) - level) < 3 * np.sqrt(level * (1 - level) / 1000)


@given(p=arrays(float, st.integers(1, 25), elements=st.floats(0, 1)))
@settings(max_examples=80, deadline=None)
def test_q_is_that_of_statsmodels(p: np.ndarray) -> None:
    q = benjamini_hochberg(p)
    np.testing.assert_allclose(q, multipletests(p, method="fdr_bh")[1], atol=1e-12)
    assert (q >= p * (1 - 1e-12)).all()
    assert (q <= 1).all()


def test_q_passes_over_missing_tests() -> None:
    p = np.array([0.01, np.nan, 0.02, 0.9])
    q = benjamini_hochberg(p)
    assert np.isnan(q[1])
    np.testing.assert_allclose(q[[0, 2, 3]], benjamini_hochberg(p[[0, 2, 3]]))
    assert benjamini_hochberg([]).shape == (0,)


def test_everything_is_seeded() -> None:
    scores, donors = hierarchical(np.random.default_rng(10), 8, 5, 0.2)
    assert bootstrap(scores, donors, seed=3) == bootstrap(scores, donors, seed=3)
    assert bootstrap(scores, donors, seed=3) != bootstrap(scores, donors, seed=4)
    assert paired_permutation(scores, seed=3) == paired_permutation(scores, seed=3)
    assert paired_permutation(scores, seed=3).p != paired_permutation(scores, seed=4).p


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap([]), "at least one finite score"),
        (lambda: bootstrap([1.0, np.nan]), "at least one finite score"),
        (lambda: bootstrap([1.0, 2.0], ["a"]), "one donor for each of the 2 cells"),
        (lambda: bootstrap([1.0, 2.0], bootstraps=5), "bootstraps"),
        (lambda: bootstrap([1.0, 2.0], level=1.5), "level"),
        (lambda: bootstrap([1.0, 2.0], statistic="median"), "'mean' or a function"),
        (lambda: paired_permutation([1.0, 2.0], [1.0]), "each of the 2 cells"),
        (lambda: paired_permutation([1.0], permutations=2), "permutations"),
        (lambda: paired_permutation([1.0], alternative="both"), "'two-sided'"),
        (lambda: benjamini_hochberg([0.1, 1.2]), "between 0 and 1"),
        (lambda: benjamini_hochberg([[0.1]]), r"an array \(test,\)"),
    ],
)
def test_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
