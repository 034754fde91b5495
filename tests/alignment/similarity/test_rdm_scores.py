"""Scores of layers by dissimilarities against scipy, resample by resample, and what the inference promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from alignment.similarity import (
    MEAN_GROUP,
    RdmScores,
    cka_permutation_test,
    compare_rdms,
    linear_cka,
    rdm,
    rdm_differences,
    score_rdms,
)
from alignment.similarity.rdm_scores import _draw_scenes
from neural_alignment import InputError

SCENES = 24
FEW = {"bootstraps": 100, "permutations": 99, "splits": 5}


def populations(seed: int = 0, noise: float = 1.0, scenes: int = SCENES) -> tuple[dict, dict]:
    """Two populations, and a network whose late layer is the first of them with noise."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(scenes, 40))
    layers = {
        "early": rdm(rng.normal(size=(scenes, 15))),
        "late": rdm(cells + noise * rng.normal(size=cells.shape)),
        "last": rdm(rng.normal(size=(scenes, 30))),
    }
    return layers, {"VISp L2/3": rdm(cells), "VISl L4": rdm(cells[:, :20] + rng.normal(size=(scenes, 20)))}


@pytest.fixture(scope="module")
def scored() -> RdmScores:
    return score_rdms(*populations(), {"VISp L2/3": 0.81}, **FEW)


def test_values_are_the_spearman_correlations(scored: RdmScores) -> None:
    layers, groups = populations()
    for row in scored.table[scored.table["group"] != MEAN_GROUP].itertuples():
        assert row.value == pytest.approx(compare_rdms(layers[row.layer], groups[row.group]), abs=1e-12)
    means = scored.table.groupby("layer_index")["value"]
    for index, name in enumerate(layers):
        found = means.get_group(index).to_numpy()
        assert found[-1] == pytest.approx(found[:-1].mean(), abs=1e-12), name


@pytest.mark.parametrize("rounded", [False, True], ids=["no ties", "ties"])
def test_every_resample_is_scipys_spearman_of_its_pairs(rounded: bool) -> None:
    layers, groups = populations(1)
    if rounded:
        layers = {name: matrix.round(1) for name, matrix in layers.items()}
    found = score_rdms(layers, groups, **FEW, seed=3)
    upper = np.triu_indices
    for number, counts in zip(range(4), _draw_scenes(SCENES, 4, np.random.default_rng([3, 1])), strict=True):
        drawn = np.repeat(np.arange(SCENES), counts.astype(int))
        rows, columns = upper(len(drawn), 1)
        kept = drawn[rows] != drawn[columns]
        for place, name in enumerate(layers):
            pairs = [matrix[np.ix_(drawn, drawn)][rows, columns][kept] for matrix in (layers[name], groups["VISl L4"])]
            assert found.draws[number, place, 1] == pytest.approx(spearmanr(*pairs)[0], abs=1e-12)


def test_the_best_layer_pays_for_having_been_chosen(scored: RdmScores) -> None:
    best = scored.best.set_index("group")
    assert best.loc["VISp L2/3", "layer"] == "late"
    same = scored.table.set_index(["layer", "group"]).loc[("late", "VISp L2/3")]
    assert best.loc["VISp L2/3", "value"] == same["value"]
    assert best.loc["VISp L2/3", "null_high"] >= same["null_high"]
    assert best.loc["VISp L2/3", "p"] == 0.01
    assert (scored.best["half_value"] <= scored.best["value"] + 0.2).all()


def test_p_of_the_best_of_random_layers_is_uniform_enough() -> None:
    rng = np.random.default_rng(5)
    found = []
    for seed in range(40):
        layers = {str(k): rdm(rng.normal(size=(12, 6))) for k in range(8)}
        groups = {"g": rdm(rng.normal(size=(12, 6)))}
        found.append(score_rdms(layers, groups, **FEW, seed=seed).best["p"].iloc[0])
    assert np.mean(np.array(found) <= 0.1) < 0.3  # uncorrected, eight layers would give about 0.57
    assert min(found) > 0 and max(found) <= 1


def test_ceilings_normalise_and_their_lack_is_carried_to_the_mean(scored: RdmScores) -> None:
    row = scored.table.set_index(["layer", "group"]).loc[("late", "VISp L2/3")]
    assert row["normalised"] == pytest.approx(row["value"] / 0.9)
    assert scored.table.loc[scored.table["group"] != "VISp L2/3", "normalised"].isna().all()


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_p_and_q_are_never_0_nor_above_1(seed: int) -> None:
    found = score_rdms(*populations(seed, noise=5, scenes=10), bootstraps=100, permutations=19, splits=2, seed=seed)
    for table in (found.table, found.best):
        assert table["p"].between(0.05, 1).all() and table["q"].between(0.05, 1).all()
        assert (table["q"] >= table["p"] - 1e-12).all()
        assert table["value"].between(-1, 1).all() and (table["ci_low"] <= table["ci_high"]).all()


def test_a_layer_without_a_pattern_is_nan_with_the_reason_and_never_the_best() -> None:
    layers, groups = populations()
    dead = layers["early"].copy()
    dead[3] = dead[:, 3] = np.nan
    found = score_rdms({**layers, "dead": dead}, groups, **FEW)
    rows = found.table[found.table["layer"] == "dead"]
    assert rows[["value", "ci_low", "p"]].isna().all(axis=None) and rows["note"].str.contains("no pattern").all()
    assert "dead" not in set(found.best["layer"]) and found.best["p"].notna().all()
    only = score_rdms({"dead": dead}, groups, **FEW)
    assert only.best[["value", "p", "null_high", "half_value"]].isna().all(axis=None)


def test_a_population_that_is_not_known_leaves_the_others_their_scores() -> None:
    layers, groups = populations()
    found = score_rdms(layers, {**groups, "none": np.full((SCENES, SCENES), np.nan)}, **FEW)
    assert found.best.set_index("group")["value"].notna().to_dict() == {
        "VISp L2/3": True,
        "VISl L4": True,
        "none": False,
        MEAN_GROUP: False,
    }


def test_the_same_seed_gives_the_same_and_pairs_of_it_the_difference() -> None:
    layers, groups = populations()
    noisy = {name: rdm(np.random.default_rng(9).normal(size=(SCENES, 10))) for name in layers}
    one, other = score_rdms(layers, groups, **FEW), score_rdms(noisy, groups, **FEW)
    told = rdm_differences(one, other)
    best = told[told["layer"] == "best"].set_index("group")
    values = other.best.set_index("group")["value"] - one.best.set_index("group")["value"]
    assert best["difference"].to_dict() == pytest.approx(values.to_dict())
    assert best.loc["VISp L2/3", "ci_high"] < 0 and best.loc["VISp L2/3", "p"] < 0.05
    assert len(told) == 3 * (1 + len(layers))
    nothing = rdm_differences(one, score_rdms(layers, groups, **FEW))
    assert (nothing["difference"] == 0).all() and (nothing["p"] == 1).all()
    assert (nothing[["ci_low", "ci_high"]] == 0).all(axis=None)


def test_networks_of_other_depth_are_compared_by_their_best_layers_alone() -> None:
    layers, groups = populations()
    one, other = score_rdms(layers, groups, **FEW), score_rdms({"late": layers["late"]}, groups, **FEW)
    assert set(rdm_differences(one, other)["layer"]) == {"best"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed"),
        ({"bootstraps": 120}, "resamples"),
    ],
)
def test_scores_of_other_resamples_are_not_paired(change: dict, words: str) -> None:
    layers, groups = populations()
    with pytest.raises(InputError, match=words):
        rdm_differences(score_rdms(layers, groups, **FEW), score_rdms(layers, groups, **{**FEW, **change}))


@pytest.mark.parametrize(
    ("layers", "groups", "words"),
    [
        ({}, {"g": np.zeros((9, 9))}, "mapping of names"),
        ({"l": np.zeros((9, 9))}, {"mean": np.zeros((9, 9))}, "names other than 'mean'"),
        ({"l": np.zeros((9, 9))}, {"g": np.zeros((10, 10))}, "over the 9 scenes.*blank"),
        ({"l": np.zeros((9, 9)), "m": np.zeros((8, 8))}, {"g": np.zeros((9, 9))}, r"layers\['m'\]"),
        ({"l": np.zeros((5, 5))}, {"g": np.zeros((5, 5))}, "at least 6 scenes"),
    ],
)
def test_what_cannot_be_compared_is_said(layers: dict, groups: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        score_rdms(layers, groups, **FEW)


def test_cka_from_products_is_linear_cka() -> None:
    rng = np.random.default_rng(11)
    ours = [rng.normal(size=(20, n)) * 10.0**n for n in (3, 7, 12)]
    theirs = [ours[0] + rng.normal(size=(20, 3)), rng.normal(3, 1, size=(20, 9))]
    found = cka_permutation_test(*(np.stack([x @ x.T for x in side]) for side in (ours, theirs)), permutations=99)
    expected = [[linear_cka(x, y) for y in theirs] for x in ours]
    np.testing.assert_allclose(found.value, expected, atol=1e-9)
    assert found.p[0, 0] == 0.01 and (found.low < found.value).all() and (found.value < found.high).all()
    assert abs(found.null_mean).max() < 0.1


def test_cka_jackknife_is_that_of_scenes_left_out() -> None:
    rng = np.random.default_rng(12)
    x = rng.normal(size=(12, 4))
    y = x + rng.normal(size=x.shape)
    found = cka_permutation_test((x @ x.T)[None], (y @ y.T)[None], permutations=19)
    left = np.array([linear_cka(np.delete(x, k, 0), np.delete(y, k, 0)) for k in range(12)])
    error = np.sqrt(11 / 12 * ((left - left.mean()) ** 2).sum())
    assert found.high[0, 0] - found.value[0, 0] == pytest.approx(1.96 * error, rel=1e-6)


def test_cka_of_what_does_not_vary_is_nan() -> None:
    x = np.random.default_rng(13).normal(size=(10, 4))
    found = cka_permutation_test(np.stack([x @ x.T, np.zeros((10, 10))]), (x @ x.T)[None], permutations=19)
    assert np.isnan(found.value[1, 0]) and np.isnan(found.p[1, 0]) and found.value[0, 0] == pytest.approx(1)


@pytest.mark.slow
def test_intervals_cover_the_score_over_many_scenes() -> None:
    """95 % intervals over 60 scenes against the score over 1,500 scenes of the same populations."""
    rng = np.random.default_rng(14)
    mixing = rng.normal(size=(8, 30))

    def draw(scenes: int) -> tuple[np.ndarray, np.ndarray]:
        hidden = rng.normal(size=(scenes, 8))
        return rdm(hidden @ mixing + rng.normal(size=(scenes, 30))), rdm(hidden + rng.normal(size=hidden.shape))

    truth = compare_rdms(*draw(1500))
    covered = []
    for seed in range(120):
        ours, theirs = draw(60)
        row = score_rdms({"l": ours}, {"g": theirs}, bootstraps=200, permutations=19, splits=1, seed=seed).table.iloc[0]
        covered.append(row["ci_low"] <= truth <= row["ci_high"])
    assert 0.88 <= np.mean(covered) <= 1.0
