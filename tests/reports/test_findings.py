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
    paired = report_data.table("paired").query(
        "representation == 'weighted' and group_by == 'genotype' and metric == 'rmse_mean'"
    )
    means = paired.groupby("group")["difference"].mean()
    assert f"{(means < 0).sum()} of {len(means)} groups by genotype" in text
    assert f"({means.idxmin()})" in text and f"({means.idxmax()})" in text
    lower = ((paired["q"] < 0.05) & (paired["difference"] < 0)).sum()
    assert f"of {len(paired):,} tests" in text and f"{lower:,} are lower" in text
    whole = report_data.table("paired").query(
        "representation == 'weighted' and group_by == 'all' and metric == 'rmse_mean'"
    )
    assert signed(whole["difference"].mean()) in text


def test_the_published_exception_is_named_with_its_interval(report_data: ReportData) -> None:
    assert "Fezf2, the published exception" in text_of(report_data)


def test_transfer_interval_is_a_t_interval_over_seeds(report_data: ReportData) -> None:
    plain = report_data.table("transfer").query("method == 'plain'")
    runs = plain.pivot_table(index=["model", "seed", "source", "target"], columns="layer_variant", values="accuracy")
    away = runs[runs.index.get_level_values("target") != "digits"]
    change = 100 * (away["neurn"] - away["baseline"])
    seeds = change.groupby(level="seed").mean()
    low, high = stats.t.interval(0.95, len(seeds) - 1, seeds.mean(), stats.sem(seeds))
    text = text_of(report_data)
    assert f"{signed(change.mean(), 1)} points [{signed(low, 1)}, {signed(high, 1)}] (95 % over 3 seeds)" in text
    assert f"{(change > 0).sum()} of {len(change)} paired runs are higher" in text


def test_one_seed_claims_no_interval(build_report: Callable[..., ReportData]) -> None:
    first = build_report().table("transfer").query("seed == 0")
    assert "one seed, so no interval" in text_of(build_report(transfer=first))


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
    assert "lower for excitatory than for inhibitory" in text_of(build_report())
    table = build_report().table("similarity")
    wide = table.assign(ci_low=table["value"] - 1, ci_high=table["value"] + 1)
    assert "(intervals overlap)" in text_of(build_report(similarity=wide))


def test_notes_are_passed_on(report_data: ReportData) -> None:
    assert report_data.notes[0] in text_of(report_data)


def test_nothing_to_say_says_nothing(build_report: Callable[..., ReportData]) -> None:
    assert key_findings(build_report(similarity=None, paired=None, transfer=None, notes=(), simulated=False)) == []


def test_without_paired_tests_no_interval_is_claimed(build_report: Callable[..., ReportData]) -> None:
    text = text_of(build_report(paired=None))
    assert "groups by genotype" in text and "Benjamini" not in text


def test_a_whole_table_of_missing_scores_is_no_finding(build_report: Callable[..., ReportData]) -> None:
    table = build_report().table("similarity").assign(value=np.nan)
    text = text_of(
        build_report(similarity=table, paired=None, transfer=pd.DataFrame(build_report().table("transfer")[:0]))
    )
    assert "RMSE" not in text
