from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alignment.transfer import correlate_gains
from alignment.transfer.link import FEWEST_MODELS
from neural_alignment import InputError


@settings(max_examples=30, deadline=None)
@given(st.integers(FEWEST_MODELS, 15), st.integers(0, 10**6))
def test_the_correlation_is_scipys_and_lies_in_its_bounds(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 6, n) + np.arange(n) * 1e-3, generator.normal(size=n)
    link = correlate_gains(x, y, bootstraps=100)
    assert link.rho == pytest.approx(stats.spearmanr(x, y)[0])
    assert -1 <= link.ci_low <= link.ci_high <= 1 and link.n == n and link.note == ""


def test_the_interval_is_the_percentiles_of_resampled_networks() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=30)
    y = x + generator.normal(size=30)
    link = correlate_gains(x, y, bootstraps=3000)
    drawn = []
    for _ in range(3000):
        chosen = generator.integers(0, 30, 30)
        drawn.append(stats.spearmanr(x[chosen], y[chosen])[0])
    assert (link.ci_low, link.ci_high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.04)
    assert correlate_gains(x, y, seed=1) == correlate_gains(x, y, seed=1) != correlate_gains(x, y, seed=2)
    narrow = correlate_gains(x, y, level=0.5)
    assert link.ci_low < narrow.ci_low < narrow.ci_high < link.ci_high


@pytest.mark.parametrize("n", [2, 3])
def test_with_few_networks_there_is_no_interval(n: int) -> None:
    link = correlate_gains(np.arange(n), np.arange(n)[::-1])
    assert link.rho == pytest.approx(-1) and np.isnan([link.ci_low, link.ci_high]).all()
    assert f"fewer than {FEWEST_MODELS} networks" in link.note


@pytest.mark.parametrize(
    ("alignment", "transfer", "note"),
    [([], [], "at least 2"), ([1.0], [2.0], "at least 2"), ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5], "all gains are equal")],
)
def test_where_nothing_is_known_nothing_is_said(alignment: list[float], transfer: list[float], note: str) -> None:
    link = correlate_gains(alignment, transfer)
    assert np.isnan([link.rho, link.ci_low, link.ci_high]).all() and note in link.note and link.n == len(alignment)


def test_resamples_without_a_correlation_are_left_out() -> None:
    link = correlate_gains([1, 1, 1, 2], [1, 2, 3, 4], bootstraps=500)
    assert np.isfinite([link.ci_low, link.ci_high]).all()


@pytest.mark.parametrize(
    "gains", [([1.0, 2.0], [1.0]), ([1.0, np.nan], [1.0, 2.0]), ([[1.0]], [[1.0]]), ([1.0, 2.0], [np.inf, 1.0])]
)
def test_gains_that_do_not_fit_are_refused(gains: tuple[list[float], list[float]]) -> None:
    with pytest.raises(InputError, match="needs two finite gains of each network"):
        correlate_gains(*gains)
