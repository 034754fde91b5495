"""Guards of what a score's reader relies on: families of q, seeds, layers chosen apart, the unit that is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from alignment.similarity import (
    compare_groups,
    kde_iou,
    rdm,
    rdm_permutation_test,
    score_groups,
    score_rdms,
)

METRICS = ("rmse_mean", "kde_iou_unit")
LAYERS = tuple(f"conv{number}" for number in range(6))


def _graded() -> pd.DataFrame:
    """Scores of two groups of eight donors, five cells each, which differ from clearly to not at all, by layer."""
    rng = np.random.default_rng(2)
    parts = []
    for place, layer in enumerate(LAYERS):
        gap = 0.02 * (len(LAYERS) - 1 - place)
        donors = np.repeat(rng.normal(0, 0.04, 16), 5)
        value = 0.3 + donors + gap * (np.arange(80) >= 40) + rng.normal(0, 0.01, 80)
        overlap = 0.5 + np.repeat(rng.normal(0, 0.04, 16), 5) + rng.normal(0, 0.01, 80)
        parts.append(pd.DataFrame({"layer": layer, "cell": range(80), METRICS[0]: value, METRICS[1]: overlap}))
    return pd.concat(parts, ignore_index=True)


def test_q_is_that_of_the_tests_of_one_metric_and_not_p_nor_all_tests() -> None:
    groups = {"a": np.arange(40), "b": np.arange(40, 80)}
    donors = np.repeat(np.arange(16), 5)
    found = compare_groups(_graded(), groups, "a", "b", donors, layer="all", permutations=999).table
    assert (found["a_donors"] == 8).all() and (found["b_donors"] == 8).all()

    def rates(p: pd.Series) -> np.ndarray:
        return multipletests(p, method="fdr_bh")[1]

    for _, family in found.groupby("metric"):
        assert len(family) == len(LAYERS) and family["p"].nunique() >= 4
        np.testing.assert_allclose(family["q"], rates(family["p"]), atol=1e-12)
    own = found["q"].to_numpy()
    assert np.abs(own - found["p"].to_numpy()).max() > 0.05  # what a q without correction would be
    assert np.abs(own - rates(found["p"])).max() > 0.05  # and one over both metrics


def test_a_layer_that_is_chosen_by_chance_scores_nothing_on_the_other_half() -> None:
    """Of forty layers of noise the best of one half is high there, whatever it is on the other."""
    rng = np.random.default_rng(3)
    chosen, both = [], []
    for seed in range(8):
        layers = {str(number): rdm(rng.normal(size=(16, 12))) for number in range(40)}
        groups = {"noise": rdm(rng.normal(size=(16, 12)))}
        scored = score_rdms(layers, groups, bootstraps=100, permutations=99, splits=10, seed=seed).best
        chosen.append(scored["half_value"].iloc[0])
        both.append(scored["value"].iloc[0])
    assert np.mean(both) > 0.15  # the choice itself, on all scenes
    # On eight scenes the best of forty reaches about 0.5 where it was chosen.
    assert abs(np.mean(chosen)) < 0.15


def test_the_permutation_tests_seed_draws_the_shuffles() -> None:
    rng = np.random.default_rng(4)
    first, second = (rdm(rng.normal(size=(14, 20))) for _ in range(2))
    drawn = {seed: rdm_permutation_test(first, second, permutations=99, seed=seed) for seed in range(6)}
    again = rdm_permutation_test(first, second, permutations=99, seed=5)
    assert (again.p, again.null_mean) == (drawn[5].p, drawn[5].null_mean)
    assert len({test.null_mean for test in drawn.values()}) == 6


@pytest.mark.parametrize("max_pairs", [10**9, 60], ids=["all units", "sampled units"])
def test_the_best_unit_is_one_that_has_the_best_overlap(max_pairs: int) -> None:
    rng = np.random.default_rng(5)
    cells, units = rng.random((4, 60)), rng.random((40, 60)) ** rng.uniform(0.3, 3, (40, 1))
    scored = score_groups(
        cells,
        units,
        {"all": np.arange(4)},
        metrics=("kde_iou_unit_best",),
        bootstraps=100,
        seed=1,
        max_pairs=max_pairs,
    ).cells
    for cell, row in scored.iterrows():
        unit = int(row["best_unit"])
        assert kde_iou(cells[cell], units[unit]) == pytest.approx(row["kde_iou_unit_best"], abs=2e-3)
