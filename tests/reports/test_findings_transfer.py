"""Sentences on transfer say direction, size, interval and q, and claim no more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from reports import ReportData
from reports.findings_transfer import say_features, transfer_findings
from reports.words import signed

Build = Callable[..., ReportData]


def text_of(data: ReportData) -> str:
    return "\n".join(transfer_findings(data))


def test_every_target_is_told_with_interval_and_q(report_data: ReportData) -> None:
    text = text_of(report_data)
    table = report_data.table("transfer_overall").query(
        "reference == 'baseline' and layer_variant == 'neurn' and method == 'plain' and source != target"
    )
    assert len(table) == 3
    for row in table.itertuples():
        low, high = signed(100 * row.ci_low, 1), signed(100 * row.ci_high, 1)
        said = f"{row.source} → {row.target} {signed(100 * row.difference, 1)} [{low}, {high}], q = {row.q:.3f}"
        assert said in text
    clear = (table["q"] < 0.05).sum()
    assert f"At q < 0.05 {clear} of 3 transfers are higher, 0 lower and {3 - clear} undecided" in text


def test_with_one_seed_there_is_neither_interval_nor_q(build_report: Build) -> None:
    nothing = {"ci_low": np.nan, "ci_high": np.nan, "p": np.nan, "q": np.nan, "seeds": 1}
    data = build_report(
        transfer=build_report().table("transfer").query("seed == 0"),
        transfer_overall=build_report().table("transfer_overall").assign(**nothing),
        similarity=None,
    )
    text = text_of(data)
    assert "one seed, no interval" in text and "one seed, so no interval" in text
    assert "[" not in text and "q <" not in text and "q =" not in text


def test_what_lies_above_neurn_is_named_and_what_lies_below(build_report: Build) -> None:
    assert "Below NeuRN on every unseen domain: RandConv; LCN." in text_of(build_report())
    table = build_report().table("transfer_overall")
    ahead = (table["reference"] == "neurn") & (table["method"] == "randconv") & (table["target"] == "digits_m")
    changed = table.assign(
        difference=table["difference"].mask(ahead, 0.4), q=table["q"].mask(table["reference"] == "neurn", 0.01)
    )
    text = text_of(build_report(transfer_overall=changed))
    assert "RandConv" in text.split("Against NeuRN on unseen domains: ")[1]
    assert "higher in 1 of 3 transfers, at q < 0.05 in 1" in text
    assert "Below NeuRN on every unseen domain: LCN." in text


def test_a_method_that_sees_the_target_is_marked_in_the_ranking(build_report: Build) -> None:
    table = build_report().table("transfer")
    seeing = table.assign(sees_target=table["method"] == "randconv")
    assert "RandConv (sees target)" in text_of(build_report(transfer=seeing))


def test_methods_do_not_mix_into_the_effect_of_neurn(build_report: Build) -> None:
    table = build_report().table("transfer")
    other = table.assign(accuracy=table["accuracy"].where(table["method"] == "plain", 0.0))
    first, second = (text_of(build_report(transfer=one)).split("\n")[0] for one in (table, other))
    assert first == second and first.startswith("On domains never trained on")


def test_many_targets_are_cut_and_counted(build_report: Build) -> None:
    table = build_report().table("transfer_overall").query("target == 'digits_m'")
    many = pd.concat([table.assign(target=f"t{k}", difference=table["difference"] * (1 + k)) for k in range(11)])
    text = text_of(build_report(transfer_overall=many))
    assert "(the 8 largest of 11)" in text and "t10 " in text and "t0 " not in text


def test_no_transfer_says_nothing(build_report: Build) -> None:
    assert transfer_findings(build_report(transfer=None)) == []


def test_the_link_of_three_networks_has_no_interval(report_data: ReportData) -> None:
    (sentence,) = (line for line in transfer_findings(report_data) if line.startswith("Gain in transfer"))
    assert "n = 3 networks" in sentence and "not defined with fewer than 4" in sentence and "[" not in sentence


# --- inside ---------------------------------------------------------------------------------------


def test_distances_inside_are_told_with_what_they_do_not_show(report_data: ReportData) -> None:
    (sentence,) = say_features(report_data)
    table = report_data.table("transfer_features").query("method == 'plain'")
    first = table[table["layer_index"] == 0].groupby("layer_variant")["distance"].mean()
    assert f"{first['baseline']:.2f} apart in the pixels without and {first['neurn']:.2f} after NeuRN" in sentence
    assert "9 of 9 model–transfer pairs" in sentence and "no success of its own" in sentence
    assert "In 0 of the 9 pairs that come closer accuracy falls" in sentence


def test_domains_that_come_closer_while_accuracy_falls_are_counted(build_report: Build) -> None:
    table = build_report().table("transfer")
    worse = (table["layer_variant"] == "neurn") & (table["target"] == "digits_m")
    data = build_report(transfer=table.assign(accuracy=table["accuracy"].mask(worse, 0.01)))
    assert "In 3 of the 9 pairs that come closer accuracy falls" in say_features(data)[0]


@pytest.mark.parametrize("variant", ["baseline", "neurn"])
def test_one_side_alone_compares_nothing(variant: str, build_report: Build) -> None:
    table = build_report().table("transfer_features").query("layer_variant == @variant")
    assert say_features(build_report(transfer_features=table)) == []
