"""Sentences say what the tables say, and no more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports import ReportData
from reports.findings import interval, key_findings, signed, verdict


def text_of(data: ReportData) -> str:
    return "\n".join(sentence for sentence, _ in key_findings(data))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-2, -1, "lower"),
        (1, 2, "higher"),
        (-1, 1, "undecided"),
        (-1, 0, "undecided"),
        (np.nan, 1, "no interval"),
    ],
)
def test_the_verdict_reads_the_interval(low: float, high: float, said: str) -> None:
    assert verdict(low, high) == said


def test_numbers_carry_true_minus_signs() -> None:
    assert signed(-0.00123) == "−0.0012" and signed(0.5, 1) == "+0.5"
    assert interval(-1.0, 2.0) == "[−1.0000, +2.0000]" and interval(np.nan, 2.0) is None


def test_simulated_neurons_are_called_so_first(report_data: ReportData) -> None:
    sentence, tone = key_findings(report_data)[0]
    assert tone == "caution" and "simulated" in sentence and "neither confirms nor contradicts" in sentence


def test_recorded_neurons_carry_no_such_caution(build_report: Callable[..., ReportData]) -> None:
    findings = key_findings(build_report(simulated=False))
    assert all(tone == "" for _, tone in findings)
    assert "simulat" not in text_of(build_report(simulated=False))
    assert "in these data" in text_of(build_report(simulated=False))


def test_the_sentences_count_what_the_tables_hold(report_data: ReportData) -> None:
    text = text_of(report_data)
    paired = report_data.table("paired").query("representation == 'weighted' and metric == 'rmse_mean'")
    means = paired[paired["group_by"] == "genotype"].groupby("group")["difference"].mean()
    assert f"{signed(means.min())} ({means.idxmin()}) to {signed(means.max())} ({means.idxmax()})" in text
    directions = report_data.table("claims").query(
        "representation == 'weighted' and metric == 'rmse_mean' and group_by == 'genotype'"
    )["direction"]
    rule = "by q < 0.05 (Benjamini–Hochberg) and the 95 % interval"
    assert f"Of {len(means)} groups, {rule}: {(directions == 'lower').sum()} lower, " in text
    assert signed(paired[paired["group_by"] == "all"]["difference"].mean()) in text


def shuffled(data: ReportData, clear: int) -> pd.DataFrame:
    """The scores held against shuffled scenes, of which ``clear`` layers of each network are closer."""
    table = data.table("similarity")
    return table.assign(q=np.where(table["layer_index"] < clear, 0.01, 0.5), null_mean=0.2)


def withheld(data: ReportData, reason: str) -> pd.DataFrame:
    table = data.table("claims").assign(verdict="cannot tell", direction="cannot tell", reason=reason)
    return table.assign(n_clear=0) if "shuffled" in reason else table.assign(p=np.nan, q=np.nan)


def test_the_null_stands_beside_the_scores_it_undoes(build_report: Callable[..., ReportData]) -> None:
    data = build_report()
    reason = "0 of 38 layers are closer to these cells than with the scenes shuffled"
    failed = build_report(similarity=shuffled(data, 0), claims=withheld(data, reason))
    sentences = [sentence for sentence, _ in key_findings(failed)]
    for start in ("RMSE to all cells together changes by", "Population KDE-IoU to all cells changes by"):
        (sentence,) = [sentence for sentence in sentences if sentence.startswith(start)]
        assert "0 of 38 layers are closer to the cells than with the scenes shuffled (q < 0.05), so neither" in sentence
    (groups,) = [sentence for sentence in sentences if sentence.startswith("By genotype")]
    assert "the 95 % interval: 22 cannot tell (22 because no layer is known to be closer" in groups
    text = "\n".join(sentences)
    for word in ("holds", "contradicted", "undecided", " lower,", " higher,"):
        assert word not in "\n".join(sentence for sentence in sentences if "RMSE" in sentence), word
    assert f"That it is lower for excitatory cells: cannot tell ({reason})" in text
    passed = text_of(build_report(similarity=shuffled(data, 2)))
    assert "12 of 38 layers are closer to the cells than with the scenes shuffled (q < 0.05)." in passed
    assert "neither score" not in passed
    assert "whether it says anything of these cells is unknown" in text_of(data), "nothing was shuffled"


def test_too_few_donors_are_the_reason_given(build_report: Callable[..., ReportData]) -> None:
    data = build_report()
    told = "not testable: with 2 donors p is at least 0.5, above 0.05"
    text = text_of(build_report(claims=withheld(data, told)))
    assert "the 95 % interval: 22 cannot tell (22 for want of donors)." in text
    assert "interval: 22 cannot tell." in text_of(build_report(claims=None))


def test_the_published_exception_is_told_by_its_real_label_and_contrast(report_data: ReportData) -> None:
    text = text_of(report_data)
    row = (
        report_data.table("claims")
        .query("group == 'Fezf2-1' and representation == 'weighted' and metric == 'rmse_mean'")
        .iloc[0]
    )
    (sentence,) = [line for line in text.splitlines() if line.startswith("Fezf2-1, the published exception")]
    ends = f"[{signed(row['contrast_low'])}, {signed(row['contrast_high'])}]"
    assert f"less that of the other genotypes (−0.0070): {signed(row['contrast'])} {ends}, q = 0.010" in sentence
    assert sentence.endswith("That it rises against the others: holds.")


def test_a_rise_that_the_others_share_is_no_exception(build_report: Callable[..., ReportData]) -> None:
    claims = build_report().table("claims")
    rows = claims["group"] == "Fezf2-1"
    changed = {"verdict": "contradicted", "contrast": -0.003, "contrast_low": -0.005, "contrast_high": -0.001}
    text = text_of(build_report(claims=claims.assign(**{k: claims[k].mask(rows, v) for k, v in changed.items()})))
    assert "That it rises against the others: contradicted." in text


def test_transfer_interval_is_a_t_interval_over_seeds(build_report: Callable[..., ReportData]) -> None:
    """With so many test images that the binomial error is no floor of the spread."""
    data = build_report(transfer=build_report().table("transfer").assign(n=10**8))
    plain = data.table("transfer").query("method == 'plain'")
    runs = plain.pivot_table(index=["model", "seed", "source", "target"], columns="layer_variant", values="accuracy")
    away = runs[runs.index.get_level_values("target") != "digits"]
    change = 100 * (away["neurn"] - away["baseline"])
    seeds = change.groupby(level="seed").mean()
    low, high = stats.t.interval(0.95, len(seeds) - 1, seeds.mean(), stats.sem(seeds))
    text = text_of(data)
    assert f"{signed(change.mean(), 1)} points [{signed(low, 1)}, {signed(high, 1)}] (95 % over 3 seeds)" in text
    assert f"{(change > 0).sum()} of {len(change)} paired runs are higher" in text


def test_one_seed_claims_no_interval(build_report: Callable[..., ReportData]) -> None:
    first = build_report().table("transfer").query("seed == 0")
    assert "not testable: 1 seed, and a test needs at least 3" in text_of(build_report(transfer=first))


def test_a_loss_in_transfer_is_told(build_report: Callable[..., ReportData]) -> None:
    transfer = build_report().table("transfer").copy()
    worse = (transfer["layer_variant"] == "neurn") & (transfer["target"] == "digits_m")
    transfer.loc[worse, "accuracy"] = 0.05
    assert "NeuRN lowers accuracy on average for digits → digits_m" in text_of(build_report(transfer=transfer))


def test_other_layers_are_ranked_only_over_what_all_were_tried_on(
    build_report: Callable[..., ReportData],
) -> None:
    data = build_report()
    transfer = data.table("transfer")
    gone = (transfer["layer_variant"] == "lcn") & (transfer["target"] == "digits_m")
    assert "mean over the 9 combinations" in text_of(data)
    assert "mean over the 6 combinations" in text_of(build_report(transfer=transfer[~gone]))


def test_classes_are_compared_with_their_intervals(build_report: Callable[..., ReportData]) -> None:
    text = text_of(build_report())
    assert "to inhibitory cells, mean over layers and models; difference −0.0100 [−0.0200, −0.0020]." in text
    assert "That it is lower for excitatory cells: holds." in text
    claims = build_report().table("claims")
    text = text_of(build_report(claims=claims.assign(verdict="undecided")))
    assert "That it is lower for excitatory cells: undecided." in text
    assert "That it" not in text_of(build_report(claims=None))


def test_notes_are_passed_on(report_data: ReportData) -> None:
    assert report_data.notes[0] in text_of(report_data)


def test_nothing_to_say_says_nothing(build_report: Callable[..., ReportData]) -> None:
    assert key_findings(build_report(similarity=None, paired=None, transfer=None, notes=(), simulated=False)) == []


def test_without_paired_tests_no_interval_is_claimed(build_report: Callable[..., ReportData]) -> None:
    text = text_of(build_report(paired=None))
    assert "By genotype" in text and "RMSE to all cells together changes" not in text


def test_a_whole_table_of_missing_scores_is_no_finding(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("similarity").assign(value=np.nan)
    text = text_of(
        build_report(similarity=table, paired=None, transfer=pd.DataFrame(build_report().table("transfer")[:0]))
    )
    assert "RMSE" not in text
