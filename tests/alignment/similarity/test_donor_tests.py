"""Tests over whole donors: exact for a few, none where no p can reach the level, and right about noise."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from alignment.similarity import benjamini_hochberg, compare_groups, paired_differences, paired_permutation

ICC = 0.3  # share of the variance that lies between donors


def noise(rng: np.random.Generator, donors: int, cells: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Differences of mean 0 of cells that share the noise of their donor, and their donors."""
    effect = np.sqrt(ICC) * rng.normal(size=donors)
    values = np.repeat(effect, cells) + np.sqrt(1 - ICC) * rng.normal(size=donors * cells)
    return values, np.repeat(np.arange(donors), cells)


def false_positives(donors: int, runs: int) -> tuple[float, float]:
    """Share of runs with p ≤ 0.05 though nothing differs, and share with a p at all."""
    rng = np.random.default_rng([5, donors])
    p = []
    for seed in range(runs):
        values, codes = noise(rng, donors)
        p.append(paired_permutation(values, donors=codes, permutations=499, seed=seed).p)
    return float(np.mean(np.array(p) <= 0.05)), float(np.isfinite(p).mean())


@pytest.mark.parametrize("donors", [1, 2, 3, 5])
def test_noise_of_too_few_donors_is_not_testable(donors: int) -> None:
    assert false_positives(donors, 60) == (0.0, 0.0)


@pytest.mark.parametrize("donors", [6, pytest.param(10, marks=pytest.mark.slow)])
def test_noise_of_enough_donors_is_rarely_significant(donors: int) -> None:
    # Three standard errors of a share of 0.05 of 4,000 runs are 0.010.
    share, tested = false_positives(donors, 4000)
    assert tested == 1.0
    assert share <= 0.06


def split_false_positives(donors: tuple[int, int], runs: int, straddling: bool = False) -> tuple[float, float]:
    rng = np.random.default_rng([7, *donors])
    p = []
    for seed in range(runs):
        values, codes = noise(rng, sum(donors), 12)
        # Straddling: every donor has cells in both groups.
        in_a = np.tile(np.arange(12) < 6, sum(donors)) if straddling else codes < donors[0]
        table = pd.DataFrame({"layer": "fc", "cell": range(len(codes)), "rmse_mean": values + 10})
        groups = {"a": in_a, "b": ~in_a}
        found = compare_groups(table, groups, "a", "b", codes, layer="fc", bootstraps=100, permutations=199, seed=seed)
        p.append(found.table["p"].item())
    return float(np.mean(np.array(p) <= 0.05)), float(np.isfinite(p).mean())


@pytest.mark.parametrize("donors", [(1, 1), (1, 10), (2, 2), (3, 2)])
def test_noise_of_two_groups_of_too_few_donors_is_not_testable(donors: tuple[int, int]) -> None:
    assert split_false_positives(donors, 20) == (0.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("donors", [(3, 4), (4, 4), (2, 8), (10, 6), (1, 19)])
def test_noise_of_two_groups_of_enough_donors_is_rarely_significant(donors: tuple[int, int]) -> None:
    share, tested = split_false_positives(donors, 500)
    assert tested == 1.0
    assert share <= 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5


@pytest.mark.slow
def test_donors_of_both_groups_are_no_false_positive() -> None:
    share, tested = split_false_positives((4, 4), 500, straddling=True)
    assert tested == 1.0
    assert share <= 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5


@pytest.mark.parametrize(("donors", "least"), [(1, 1.0), (2, 0.5), (5, 0.0625), (6, 0.03125), (10, 2 / 1024)])
def test_the_least_p_is_that_of_all_flips(donors: int, least: float) -> None:
    found = paired_permutation(np.ones(donors * 4), donors=np.repeat(np.arange(donors), 4), permutations=99)
    assert found.p_least == least
    assert found.flipped == "donors"
    if least > 0.05:
        assert np.isnan(found.p)
        assert found.reason.startswith(f"not testable: with {donors} donor")
        assert f"p is at least {least:.3g}, above 0.05" in found.reason
    else:
        assert (found.p, found.reason) == (least, "")


def test_flips_of_a_few_donors_are_all_tried() -> None:
    rng = np.random.default_rng(2)
    sizes = [1, 4, 2, 7, 3, 3, 5]
    codes, values = np.repeat(np.arange(7), sizes), rng.normal(0.4, 1, sum(sizes))
    sums = np.bincount(codes, values)
    every = np.array([np.dot(signs, sums) for signs in itertools.product([-1, 1], repeat=7)])
    for alternative, extreme in (
        ("two-sided", np.abs(every) >= abs(sums.sum()) - 1e-12),
        ("less", every <= sums.sum() + 1e-12),
        ("greater", every >= sums.sum() - 1e-12),
    ):
        found = paired_permutation(values, donors=codes, permutations=19, alternative=alternative)
        assert found.p == extreme.mean()
    assert paired_permutation(np.ones(5), donors=range(5), alternative="greater").p == 1 / 32  # one-sided: enough


def test_splits_of_a_few_donors_are_all_tried() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([2, 5, 3, 4, 1, 6, 3])
    codes = np.repeat(np.arange(7), sizes)
    values = 0.3 + 0.1 * rng.random(len(codes)) + 0.1 * (codes < 3)
    table = pd.DataFrame({"layer": "fc", "cell": range(len(codes)), "rmse_mean": values})
    row = compare_groups(
        table, {"a": codes < 3, "b": codes >= 3}, "a", "b", codes, layer="fc", permutations=19
    ).table.iloc[0]
    sums, total = np.bincount(codes, values), values.sum()
    null = [
        sums[list(a)].sum() / sizes[list(a)].sum()
        - (total - sums[list(a)].sum()) / (sizes.sum() - sizes[list(a)].sum())
        for a in itertools.combinations(range(7), 3)
    ]
    assert row["p"] == np.mean(np.abs(null) >= abs(row["difference"]) - 1e-12)
    assert (row["p_least"], row["permuted"], row["reason"]) == (1 / 35, "donors", "")


def test_a_donor_of_both_groups_changes_its_own_parts_about() -> None:
    """Six donors with cells in both groups: the test is that of the flips of their differences."""
    rng = np.random.default_rng(4)
    codes, in_a = np.repeat(np.arange(6), 8), np.tile(np.arange(8) < 4, 6)
    values = 5 + np.repeat(rng.normal(size=6), 8) + 0.2 * rng.normal(size=48) - 0.3 * in_a
    table = pd.DataFrame({"layer": "fc", "cell": range(48), "rmse_mean": values})
    row = compare_groups(table, {"a": in_a, "b": ~in_a}, "a", "b", codes, layer="fc").table.iloc[0]
    means = values.reshape(6, 2, 4).mean(axis=2)
    expected = paired_permutation(means[:, 0], means[:, 1], donors=range(6))
    assert (row["p"], row["p_least"]) == (expected.p, expected.p_least) == (1 / 32, 1 / 32)


def test_untestable_rows_are_in_no_family() -> None:
    rng = np.random.default_rng(6)
    before = pd.DataFrame({"cell": range(60), "rmse_mean": rng.random(60)})
    after = before.assign(rmse_mean=before["rmse_mean"] - 0.1 * rng.random(60))
    donors = np.repeat(np.arange(12), 5)
    few = {"few": np.arange(25), "one donor": np.arange(5), "none": np.array([], dtype=int)}
    enough = {"some": np.arange(30), "all": np.arange(60)}
    both = paired_differences(before, after, enough | few, donors).set_index("group")
    alone = paired_differences(before, after, enough, donors).set_index("group")
    pd.testing.assert_frame_equal(both.loc[["some", "all"]], alone)
    np.testing.assert_allclose(alone["q"], benjamini_hochberg(alone["p"].to_numpy()))
    rest = both.loc[list(few)]
    assert rest[["p", "q"]].isna().all(axis=None)
    assert rest["p_least"].tolist() == [0.0625, 1.0, 1.0]
    assert rest["reason"].tolist() == [
        "not testable: with 5 donors p is at least 0.0625, above 0.05",
        "not testable: with 1 donor p is at least 1, above 0.05",
        "no cells in this group",
    ]
    assert rest["difference"].notna().tolist() == [True, True, False]
    assert rest["ci_low"].notna().tolist() == [True, True, False]


def test_without_donors_cells_are_the_units_and_the_table_says_so() -> None:
    before = pd.DataFrame({"cell": range(8), "rmse_mean": np.linspace(0.2, 0.3, 8)})
    after = before.assign(rmse_mean=before["rmse_mean"] - 0.05)
    row = paired_differences(before, after, {"VISp": range(8)}).iloc[0]
    assert (row["flipped"], row["p"]) == ("cells", 2 / 2**8)
    assert "no donors named: cells count as independent" in row["note"]
    compared = compare_groups(
        before.assign(layer="fc"), {"a": range(4), "b": range(4, 8)}, "a", "b", layer="fc"
    ).table.iloc[0]
    assert (compared["permuted"], compared["p"]) == ("cells", 2 / 70)
    assert "no donors named: cells count as independent" in compared["note"]


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_p_is_never_zero_where_means_nearly_cancel(offset: float) -> None:
    values = np.array([1.0, -1.0, 0.1, -0.1, 1e-17, 3.0, -3.0]) + offset
    assert 1 / 64 <= paired_permutation(values, donors=range(7)).p <= 1
