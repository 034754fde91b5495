"""Paired differences of two score tables, and the verdicts on the published statements."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alignment.similarity import (
    benjamini_hochberg,
    exception_contrasts,
    paired_differences,
    paired_permutation,
    published_claims,
)
from neural_alignment import InputError

GROUPS = {"VISp": np.arange(40), "Fezf2-1": np.arange(40, 60), "none": np.array([], dtype=int)}


def tables(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """60 cells of 12 donors in two layers; the variant is lower in VISp and higher in Fezf2."""
    rng = np.random.default_rng(seed)
    cells = pd.MultiIndex.from_product([[0, 1], range(60)], names=["layer_index", "cell"]).to_frame(index=False)
    baseline = cells.assign(layer="x", rmse_mean=rng.normal(0.2, 0.05, 120), kde_iou_unit=rng.random(120))
    shift = np.where(cells["cell"] < 40, -0.02, 0.02) + 0.004 * rng.normal(size=120)
    variant = baseline.assign(rmse_mean=baseline["rmse_mean"] + shift, layer="y")
    return baseline, variant, np.repeat(np.arange(12), 5)


def test_differences_by_layer_and_group() -> None:
    baseline, variant, donors = tables()
    found = paired_differences(baseline, variant, GROUPS, donors, by=("layer_index",), permutations=999)
    assert len(found) == 2 * 3 * 2
    rmse = found[found["metric"] == "rmse_mean"].set_index(["layer_index", "group"])
    for layer in (0, 1):
        both = [t[t["layer_index"] == layer]["rmse_mean"].to_numpy()[:40] for t in (baseline, variant)]
        row = rmse.loc[(layer, "VISp")]
        assert row["difference"] == pytest.approx((both[1] - both[0]).mean())
        assert (row["baseline"], row["variant"]) == pytest.approx((both[0].mean(), both[1].mean()))
        assert row["ci_low"] < row["difference"] < row["ci_high"] < 0
        expected = paired_permutation(both[1], both[0], donors[:40], permutations=999)
        assert row["p"] == expected.p
        assert (row["flipped"], row["resampled"], row["n_donors"]) == ("donors", "donors, cells", 8)
        four = rmse.loc[(layer, "Fezf2-1")]
        assert (four["flipped"], four["n_donors"], four["p_least"]) == ("donors", 4, 0.125)
        assert np.isnan(four["p"]) and np.isnan(four["q"]) and four["reason"].startswith("not testable")
        assert rmse.loc[(layer, "Fezf2-1")]["difference"] > 0
        missing = rmse.loc[(layer, "none")]
        assert missing["reason"] == "no cells in this group"
        assert np.isnan(missing["q"])
        family = rmse.xs(layer)
        np.testing.assert_allclose(family["q"], benjamini_hochberg(family["p"].to_numpy()))
    same = found[found["metric"] == "kde_iou_unit"]
    assert (same["p"].dropna() == 1).all()
    assert (same["difference"].dropna() == 0).all()


def test_row_order_does_not_matter() -> None:
    baseline, variant, donors = tables()
    options = {"groups": GROUPS, "donors": donors, "by": ("layer_index",)}
    straight = paired_differences(baseline, variant, **options)
    mixed = paired_differences(baseline, variant.sample(frac=1, random_state=1), **options)
    pd.testing.assert_frame_equal(straight, mixed)


def test_one_comparison_needs_no_key() -> None:
    baseline, variant, _ = tables()
    one = [table[table["layer_index"] == 1] for table in (baseline, variant)]
    found = paired_differences(*one, {"VISp": GROUPS["VISp"]}, metrics=["rmse_mean"])
    expected = one[1]["rmse_mean"].to_numpy()[:40] - one[0]["rmse_mean"].to_numpy()[:40]
    assert found["difference"].item() == pytest.approx(expected.mean())
    assert list(found.columns[:2]) == ["group", "metric"]


def test_missing_scores_are_left_out_and_said() -> None:
    baseline, variant, donors = tables()
    variant.loc[variant["cell"] == 3, "rmse_mean"] = np.nan
    found = paired_differences(baseline, variant, GROUPS, donors, by=("layer_index",))
    visp = found[found["group"] == "VISp"]
    assert (visp["n_cells"] == 39).all()
    assert visp["note"].str.contains("1 of 40 cells left out: a score of theirs is missing").all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b, v: (b, v[v["cell"] < 50]), "over the same comparisons and 60 cells"),
        (lambda b, v: (b, v[v["layer_index"] == 0]), "over the same comparisons"),
        (lambda b, v: (b, v.assign(layer_index=v["layer_index"] + 1)), "over the same comparisons"),
        (lambda b, v: (b.drop(columns="cell"), v), "a table without cell"),
        (lambda b, v: (b, v[["cell", "layer_index"]]), "columns of both tables"),
        (lambda b, v: (b.drop(index=3), v), "every cell, 0 to n − 1"),
        (lambda b, v: (pd.concat([b, b]), v), "one row a comparison and cell"),
    ],
)
def test_refused(change, message: str) -> None:
    baseline, variant, donors = tables()
    with pytest.raises(InputError, match=message):
        paired_differences(*change(baseline, variant), GROUPS, donors, by=("layer_index",))


def claim(**changes: object) -> pd.DataFrame:
    row = {
        "group": "VISp",
        "metric": "rmse_mean",
        "difference": -0.01,
        "ci_low": -0.02,
        "ci_high": -0.005,
        "q": 0.01,
        "n_clear": 3,
        "n_layers": 8,
    }
    return pd.DataFrame([row | changes])


RISE = {"difference": 0.01, "ci_low": 0.005, "ci_high": 0.02}
FEZF2 = {"group": "Fezf2-1"} | RISE
ABOVE = {"contrast": 0.02, "contrast_low": 0.01, "contrast_high": 0.03, "contrast_q": 0.01}


@pytest.mark.parametrize(
    ("changes", "verdict", "direction"),
    [
        ({}, "holds", "lower"),
        (RISE, "contradicted", "higher"),
        ({"q": 0.2}, "undecided", "undecided"),
        ({"ci_high": 0.001}, "undecided", "undecided"),
        ({"q": np.nan}, "cannot tell", "cannot tell"),
        ({"ci_low": np.nan, "ci_high": np.nan}, "cannot tell", "cannot tell"),
        ({"n_clear": 0}, "cannot tell", "cannot tell"),
        ({"n_clear": np.nan, "n_layers": np.nan}, "cannot tell", "cannot tell"),
        (FEZF2, "cannot tell", "higher"),  # it rises, but was held against no other group
        (FEZF2 | ABOVE, "holds", "higher"),
        (FEZF2 | ABOVE | {"contrast_q": 0.3}, "undecided", "higher"),
        (FEZF2 | ABOVE | {"contrast_low": -0.01}, "undecided", "higher"),
        (FEZF2 | {"contrast": -0.02, "contrast_low": -0.03, "contrast_high": -0.01, "contrast_q": 0.01},
         "contradicted", "higher"),
        (FEZF2 | ABOVE | {"n_clear": 0}, "cannot tell", "cannot tell"),
        (FEZF2 | ABOVE | {"group": "VISl × Fezf2-1", "contrast_q": np.nan}, "cannot tell", "higher"),
    ],
)  # fmt: skip
def test_verdicts(changes: dict, verdict: str, direction: str) -> None:
    row = published_claims(claim(**changes)).iloc[0]
    assert (row["verdict"], row["direction"]) == (verdict, direction)
    assert bool(row["reason"]) == ("cannot tell" in (verdict, direction))


def test_what_withholds_a_verdict_is_said() -> None:
    told = "not testable: with 4 donors p is at least 0.125, above 0.05"
    row = published_claims(claim(n_clear=0, q=np.nan, reason=told)).iloc[0]
    assert row["reason"] == f"{told}; 0 of 8 layers are closer to these cells than with the scenes shuffled"
    without = published_claims(claim().drop(columns=["n_clear", "n_layers"])).iloc[0]
    assert (without["verdict"], without["difference"]) == ("cannot tell", -0.01)
    assert without["reason"] == "no scores with the scenes shuffled to hold these against"


def test_claims_on_classes_and_simulated_cells() -> None:
    classes = claim().drop(columns="group").assign(a_value=0.11, b_value=0.12)
    found = published_claims(claim(), classes, simulated=True)
    assert found["claim"].tolist() == [
        "RMSE is lower with NeuRN",
        "RMSE is lower for excitatory than for inhibitory cells",
    ]
    assert (found["caution"] == "simulated cells cannot confirm it").all()
    assert published_claims(pd.concat([claim(), claim(metric="kde_iou_unit")]))["metric"].tolist() == ["rmse_mean"]
    with pytest.raises(InputError, match="without q"):
        published_claims(claim().drop(columns="q"))


def changed(fezf2: float, others: float, seed: int = 0, donors: int = 24) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Scores of 6 cells of each donor; the first four donors are of Fezf2-1, the rest of four other genotypes."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(donors), 6)
    before = pd.DataFrame({"cell": range(len(codes)), "rmse_mean": 0.2 + 0.02 * rng.normal(size=len(codes))})
    noise = 0.004 * rng.normal(size=donors)[codes] + 0.004 * rng.normal(size=len(codes))
    after = before.assign(rmse_mean=before["rmse_mean"] + np.where(codes < 4, fezf2, others) + noise)
    names = np.where(codes < 4, "Fezf2-1", np.array(["Sst-1", "Vip-1", "Cux2-1", "Emx1-1"])[codes % 4])
    genotype = {name: np.flatnonzero(names == name) for name in np.unique(names)}
    return before, after, {"groupings": {"genotype": genotype}, "donors": codes}


def judged(before: pd.DataFrame, after: pd.DataFrame, parts: dict) -> pd.Series:
    paired = paired_differences(before, after, parts["groupings"]["genotype"], parts["donors"])
    contrasts = exception_contrasts(before, after, **parts, bootstraps=200).drop(columns="group_by")
    rows = paired.merge(contrasts, how="left", on=["group", "metric"]).assign(n_clear=1, n_layers=4)
    return published_claims(rows).set_index("group").loc["Fezf2-1"]


@pytest.mark.parametrize(
    ("fezf2", "others", "verdict"),
    [(0.02, -0.02, "holds"), (0.01, 0.03, "contradicted"), (0.02, 0.02, "undecided")],
)
def test_the_exception_is_judged_against_the_others(fezf2: float, others: float, verdict: str) -> None:
    row = judged(*changed(fezf2, others))
    assert row["verdict"] == verdict
    assert row["others"] == pytest.approx(others, abs=0.005)
    assert row["contrast"] == pytest.approx(fezf2 - others, abs=0.01)
    assert row["contrast"] == pytest.approx(row["difference"] - row["others"])
    assert row["contrast_low"] < row["contrast"] < row["contrast_high"]


@pytest.mark.slow
def test_the_exception_rarely_holds_where_all_rise_alike() -> None:
    verdicts = [judged(*changed(0.02, 0.02, seed))["verdict"] for seed in range(200)]
    assert verdicts.count("holds") < 10  # 5 %
    assert verdicts.count("undecided") > 180


def test_the_others_are_alike_in_all_other_parts() -> None:
    cells = pd.DataFrame({"cell": range(12), "rmse_mean": 0.2})
    rise = cells.assign(rmse_mean=0.2 + np.repeat([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 2))
    names = ["VISp × Fezf2-1", "VISp × Sst-1", "VISp × Vip-1", "VISl × Fezf2-1", "VISl × Sst-1", "VISl × Fezf2-2"]
    groups = {name: [2 * at, 2 * at + 1] for at, name in enumerate(names)} | {"VISam × Fezf2-1": []}
    found = exception_contrasts(cells, rise, {"area+genotype": groups}, np.arange(12)).set_index("group")
    expected = {names[0]: 0.25, names[3]: 0.5, names[5]: 0.5, "VISam × Fezf2-1": np.nan}
    assert found["others"].index.tolist() == list(expected)
    np.testing.assert_allclose(found["others"].to_numpy(float), list(expected.values()))
    assert found.loc["VISam × Fezf2-1", "contrast_reason"] == "no cells in this group"
    assert found.loc[names[0], "contrast_reason"].startswith("not testable: 2 against 4 donors")
    alone = exception_contrasts(cells, rise, {"genotype": {"Fezf2-1": range(12)}}).iloc[0]
    assert alone["contrast_reason"] == "there are no other groups of its kind"


def test_claims_read_what_paired_differences_writes() -> None:
    baseline, variant, donors = tables()
    found = paired_differences(baseline, variant, GROUPS, donors, by=("layer_index",), permutations=999)
    table = published_claims(found.assign(n_clear=1, n_layers=1)).set_index(["layer_index", "group"])
    assert table.loc[(0, "VISp"), "verdict"] == "holds"
    few, none = table.loc[(0, "Fezf2-1")], table.loc[(0, "none")]
    assert (few["verdict"], few["direction"]) == (none["verdict"], none["direction"]) == ("cannot tell", "cannot tell")
    assert few["reason"] == "the group was not compared with the others" and few["difference"] > 0
    assert np.isnan(few["q"]) and few["p_least"] == 0.125
    assert none["reason"].startswith("no cells in this group")
