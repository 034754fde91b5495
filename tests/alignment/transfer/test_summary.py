from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from alignment.transfer import (
    condition_differences,
    paired_differences,
    pooled_difference,
    published_transfers,
    rank_variants,
    summarise_seeds,
)
from neural_alignment import DataError, InputError

FUNCTIONS = [summarise_seeds, paired_differences, condition_differences, pooled_difference, rank_variants]
COLUMNS = ["model", "layer_variant", "source", "target", "seed", "accuracy"]


@pytest.fixture
def table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = [
        (model, variant, "mnist", target, seed, 0.5 + gain + 0.02 * generator.standard_normal())
        for model in ("cnn", "vit")
        for variant, gain in (("baseline", 0.0), ("neurn", 0.2), ("lrn", 0.05))
        for target in ("mnist", "mnist_m", "usps")
        for seed in range(4)
    ]
    # So many images that the floor of the spread lies far below it.
    return pd.DataFrame(rows, columns=COLUMNS).assign(n=10**6).sample(frac=1, random_state=0)


def tied(right: tuple[int, int], n: int, seeds: int) -> pd.DataFrame:
    """Every seed classifies the same numbers of ``n`` images rightly, without and with a layer."""
    rows = [
        ("cnn", variant, "a", "b", seed, count / n)
        for variant, count in zip(("baseline", "neurn"), right, strict=True)
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).assign(n=n)


def test_seeds_are_summarised(table: pd.DataFrame) -> None:
    summary = summarise_seeds(table).set_index(["model", "layer_variant", "source", "target"])
    chosen = table.query("model == 'vit' and layer_variant == 'neurn' and target == 'usps'")["accuracy"]
    row = summary.loc[("vit", "neurn", "mnist", "usps")]
    assert row["mean"] == pytest.approx(chosen.mean()) and row["sd"] == pytest.approx(chosen.std(ddof=1))
    assert (row["low"], row["high"], row["seeds"]) == (chosen.min(), chosen.max(), 4)
    assert len(summary) == 18


def test_one_seed_has_no_spread(table: pd.DataFrame) -> None:
    one = table[table["seed"] == 0]
    assert summarise_seeds(one)["sd"].isna().all()
    paired = paired_differences(one)
    assert paired["difference"].notna().all() and (paired["seeds"] == 1).all()
    assert paired[["ci_low", "ci_high", "p", "q"]].isna().all(axis=None)


def test_paired_differences_agree_with_scipy(table: pd.DataFrame) -> None:
    paired = paired_differences(table)
    assert len(paired) == 6
    for row in paired.itertuples():
        both = table.query(f"model == '{row.model}' and target == '{row.target}'").pivot(
            index="seed", columns="layer_variant", values="accuracy"
        )
        expected = stats.ttest_rel(both["neurn"], both["baseline"])
        assert row.p == pytest.approx(expected.pvalue, rel=1e-9)
        difference = both["neurn"] - both["baseline"]
        low, high = stats.t.interval(0.95, 3, difference.mean(), stats.sem(difference))
        assert (row.difference, row.ci_low, row.ci_high) == pytest.approx((difference.mean(), low, high))
    assert paired["q"].to_numpy() == pytest.approx(multipletests(paired["p"], method="fdr_bh")[1])


def test_only_seeds_that_both_have_are_paired(table: pd.DataFrame) -> None:
    partial = table[~((table["layer_variant"] == "neurn") & (table["seed"] == 3))]
    assert (paired_differences(partial)["seeds"] == 3).all()
    apart = table[(table["layer_variant"] == "neurn") == (table["seed"] > 1)]
    with pytest.raises(DataError, match="nothing to compare"):
        paired_differences(apart)


def test_two_seeds_that_agree_are_no_proof() -> None:
    """A study's own tie: both seeds lose four images of 70, which came out as p = 0 and an interval of no width."""
    row = paired_differences(tied((40, 36), 70, seeds=2)).iloc[0]
    assert row["difference"] == pytest.approx(-4 / 70)
    assert row[["ci_low", "ci_high", "p", "q"]].isna().all()
    assert row["reason"] == "not testable: 2 seeds, and a test needs at least 3"


def test_the_spread_is_at_least_the_binomial_error_of_the_images() -> None:
    row = paired_differences(tied((36, 40), 70, seeds=3)).iloc[0]
    shares = np.array([38, 42]) / 74
    error = np.sqrt((shares * (1 - shares) / 74).sum() / 3)
    low, high = stats.t.interval(0.95, 2, 4 / 70, error)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    assert row["p"] == pytest.approx(2 * stats.t.sf(4 / 70 / error, 2)) and row["p"] > 0.05 and row["reason"] == ""


@pytest.mark.parametrize("right", [(70, 70), (0, 0), (0, 70)])
def test_accuracies_of_nought_and_one_have_a_spread_too(right: tuple[int, int]) -> None:
    row = paired_differences(tied(right, 70, seeds=3)).iloc[0]
    assert row["ci_low"] < row["ci_high"] and 0 < row["p"] <= 1


@pytest.mark.parametrize(("n", "seeds"), [(70, 3), (500, 3), (500, 5)])
def test_without_an_effect_few_tests_are_below_the_level(n: int, seeds: int) -> None:
    generator = np.random.default_rng(0)
    right = generator.binomial(n, 0.6, (2, 3000, seeds))
    rows = [
        (str(model), variant, "a", "b", seed, right[place, model, seed] / n)
        for place, variant in enumerate(("baseline", "neurn"))
        for model in range(3000)
        for seed in range(seeds)
    ]
    p = paired_differences(pd.DataFrame(rows, columns=COLUMNS).assign(n=n))["p"]
    assert (p < 0.05).mean() <= 0.06 and p.min() > 1e-5


def test_what_cannot_be_tested_is_in_no_family(table: pd.DataFrame) -> None:
    short = (table["model"] == "vit") & (table["seed"] > 1)
    found = condition_differences(table[~short])
    tested = found[found["model"] == "cnn"]
    assert found.loc[found["model"] == "vit", ["p", "q"]].isna().all(axis=None)
    assert tested["q"].to_numpy() == pytest.approx(multipletests(tested["p"], method="fdr_bh")[1])


def test_without_the_number_of_images_nothing_is_tested(table: pd.DataFrame) -> None:
    for none in (table.drop(columns="n"), table.assign(n=np.nan)):
        found = condition_differences(none, over_models=True)
        assert found["difference"].notna().all() and found[["ci_low", "p", "q"]].isna().all(axis=None)
        assert set(found["reason"]) == {"not testable: the number of test images is not known"}


def test_the_pooled_difference_is_a_mean_seed_by_seed(table: pd.DataFrame) -> None:
    wide = table.pivot_table(index="seed", columns=["layer_variant", "model", "target"], values="accuracy")
    change = (wide["neurn"] - wide["baseline"]).mean(axis=1)
    low, high = stats.t.interval(0.95, 3, change.mean(), stats.sem(change))
    pooled = pooled_difference(table)
    assert pooled[["difference", "ci_low", "ci_high"]].tolist() == pytest.approx([change.mean(), low, high])
    assert (pooled["seeds"], pooled["reason"]) == (4, "")
    # A seed that lacks a model would be a mean over others.
    assert pooled_difference(table[~((table["model"] == "vit") & (table["seed"] == 0))])["seeds"] == 3


def test_methods_are_kept_apart(table: pd.DataFrame) -> None:
    both = pd.concat([table.assign(method=name) for name in ("plain", "randconv")])
    assert len(summarise_seeds(both)) == 36
    assert len(paired_differences(both)) == 12
    assert set(rank_variants(both)["method"]) == {"plain", "randconv"}
    with pytest.raises(DataError, match="A seed occurs twice"):
        summarise_seeds(both.drop(columns="method"))


def test_every_condition_is_compared_with_the_baseline(table: pd.DataFrame) -> None:
    found = condition_differences(table)
    assert set(found["layer_variant"]) == {"neurn", "lrn"} and set(found["method"]) == {"plain"}
    for variant in ("neurn", "lrn"):
        one = paired_differences(table, variant).set_index(["model", "source", "target"]).sort_index()
        same = found.query("layer_variant == @variant").set_index(["model", "source", "target"]).sort_index()
        for column in ("difference", "ci_low", "ci_high", "p", "seeds"):
            assert same[column].to_numpy() == pytest.approx(one[column].to_numpy())
    # The family of the tests is the whole table.
    assert found["q"].to_numpy() == pytest.approx(multipletests(found["p"], method="fdr_bh")[1])


def test_methods_are_conditions_too_and_neurn_can_be_what_they_are_compared_with(table: pd.DataFrame) -> None:
    randconv = table[table["layer_variant"] == "baseline"].assign(method="randconv")
    randconv["accuracy"] += 0.125
    both = pd.concat([table.assign(method="plain"), randconv])
    rows = condition_differences(both).query("method == 'randconv'")
    assert rows["layer_variant"].unique().tolist() == ["baseline"] and len(rows) == 6
    assert rows["difference"].to_numpy() == pytest.approx(0.125)
    against = condition_differences(both, "neurn")
    assert len(against) == 18 and not ((against["layer_variant"] == "neurn") & (against["method"] == "plain")).any()
    mirrored = against.query("layer_variant == 'baseline' and method == 'plain'")["difference"].to_numpy()
    assert sorted(-mirrored) == pytest.approx(sorted(paired_differences(table)["difference"]))


def test_differences_over_models_are_averaged_seed_by_seed(table: pd.DataFrame) -> None:
    found = condition_differences(table, over_models=True)
    assert len(found) == 6 and (found["models"] == 2).all() and "model" not in found
    wide = table.query("target == 'usps'").pivot_table(
        index="seed", columns=["layer_variant", "model"], values="accuracy"
    )
    change = (wide["neurn"] - wide["baseline"]).mean(axis=1)
    row = found.query("layer_variant == 'neurn' and target == 'usps'").iloc[0]
    low, high = stats.t.interval(0.95, 3, change.mean(), stats.sem(change))
    assert row[["difference", "ci_low", "ci_high"]].tolist() == pytest.approx([change.mean(), low, high])
    # A seed that one model lacks would compare other models in other seeds.
    partial = table[~((table["model"] == "vit") & (table["seed"] == 0))]
    assert (condition_differences(partial, over_models=True)["seeds"] == 3).all()


def test_nothing_to_pair_gives_no_rows_and_unknown_references_are_refused(table: pd.DataFrame) -> None:
    apart = table[(table["layer_variant"] == "baseline") == (table["seed"] > 1)]
    for over_models in (False, True):
        assert condition_differences(apart, over_models=over_models).empty
    with pytest.raises(InputError, match=r"'variant' parameter .* Did you mean 'neurn'"):
        condition_differences(table, "neurm")
    with pytest.raises(InputError, match="'method' parameter of condition_differences"):
        condition_differences(table, method="randconv")


def test_ranks_over_transfers(table: pd.DataFrame) -> None:
    ranks = rank_variants(table)
    assert ranks[ranks["model"] == "cnn"]["layer_variant"].tolist()[0] == "neurn"
    assert (ranks["transfers"] == 2).all()  # mnist to mnist is no transfer
    assert (rank_variants(table, include_same=True)["transfers"] == 3).all()
    assert ranks.groupby("model")["mean_rank"].sum().to_numpy() == pytest.approx([6, 6])
    means = summarise_seeds(table[table["target"] != "mnist"]).groupby(["model", "layer_variant"])["mean"].mean()
    for row in ranks.itertuples():
        assert row.mean_accuracy == pytest.approx(means[(row.model, row.layer_variant)])


def test_only_transfers_that_all_variants_have_are_ranked(table: pd.DataFrame) -> None:
    partial = table[~((table["layer_variant"] == "lrn") & (table["target"] == "usps"))]
    assert (rank_variants(partial)["transfers"] == 1).all()
    with pytest.raises(DataError, match="nothing to rank"):
        rank_variants(table[table["target"] == "mnist"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_tables_of_another_form_are_refused(function, table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="It lacks seed"):
        function(table.drop(columns="seed"))
    with pytest.raises(DataError, match="is empty"):
        function(table.iloc[:0])


def test_unknown_variants_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"'variant' parameter .* Did you mean 'neurn'"):
        paired_differences(table, variant="neurm")


def test_published_numbers_are_as_printed() -> None:
    published = published_transfers()
    assert len(published) == 5
    assert (published["neurn"] > published["baseline"]).all()
    assert published[["baseline", "neurn"]].to_numpy().max() <= 1
    assert published["reference"].str.contains("arXiv").all()
    first = published.iloc[0]
    assert (first["source"], first["target"], first["baseline"], first["neurn"]) == (
        "mnist",
        "mnist_m",
        0.397,
        0.626,
    )
