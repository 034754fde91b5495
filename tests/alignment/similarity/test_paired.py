"""Paired differences of two score tables, and the verdicts on the published statements."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alignment.similarity import benjamini_hochberg, paired_differences, paired_permutation, published_claims
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
    }
    return pd.DataFrame([row | changes])


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "holds"),
        ({"difference": 0.01, "ci_low": 0.005, "ci_high": 0.02}, "contradicted"),
        ({"q": 0.2}, "undecided"),
        ({"ci_high": 0.001}, "undecided"),
        ({"q": np.nan}, "not testable"),
        ({"ci_low": np.nan, "ci_high": np.nan}, "not testable"),
        ({"group": "Fezf2-1"}, "contradicted"),
        ({"group": "Fezf2-1", "difference": 0.01, "ci_low": 0.005, "ci_high": 0.02}, "holds"),
        ({"group": "Fezf2-1", "difference": 0.001, "ci_low": -0.02, "ci_high": 0.02}, "undecided"),
    ],
)
def test_verdicts(changes: dict, verdict: str) -> None:
    assert published_claims(claim(**changes))["verdict"].item() == verdict


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


def test_claims_read_what_paired_differences_writes() -> None:
    baseline, variant, donors = tables()
    found = published_claims(
        paired_differences(baseline, variant, GROUPS, donors, by=("layer_index",), permutations=999)
    )
    verdicts = found.set_index(["layer_index", "group"])["verdict"]
    assert verdicts[(0, "VISp")] == verdicts[(0, "Fezf2-1")] == "holds"
    assert verdicts[(0, "none")] == "not testable"
