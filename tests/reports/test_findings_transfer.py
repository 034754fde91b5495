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
    table = report_data.table("transfer_judged").query(
        "reference == 'baseline' and layer_variant == 'neurn' and method == 'plain' and source != target"
    )
    assert len(table) == 3
    for row in table.itertuples():
        low, high = signed(100 * row.ci_low, 1), signed(100 * row.ci_high, 1)
        said = f"{row.source} → {row.target} {signed(100 * row.difference, 1)} [{low}, {high}], q = {row.q:.3f}"
        assert said + (" (equal by construction)" if row.target == "digits_inverted" else "") in text
    clear = (table["q"] < 0.05).sum()
    assert f"At q < 0.05 {clear} of 3 transfers are higher, 0 lower and {3 - clear} undecided" in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_of_too_few_seeds_nothing_is_tested_and_the_reason_is_told(seeds: int, build_report: Build) -> None:
    reason = f"not testable: {seeds} seed{'s' * (seeds > 1)}, and a test needs at least 3"
    nothing = {"ci_low": np.nan, "ci_high": np.nan, "p": np.nan, "q": np.nan, "seeds": seeds, "reason": reason}
    data = build_report(
        transfer=build_report().table("transfer").query("seed < @seeds"),
        transfer_judged=build_report().table("transfer_judged").assign(**nothing),
        similarity=None,
    )
    text = text_of(data)
    assert text.count(reason) >= 3  # over all targets, without the equal ones, target by target
    assert "[" not in text and "q <" not in text and "q =" not in text and "undecided" not in text


def test_the_gain_is_told_with_and_without_what_neurn_makes_equal_sobel_beside(build_report: Build) -> None:
    data = build_report()
    (line,) = (line for line in transfer_findings(data) if "by construction: images" in line)
    assert "NeuRN makes digits → digits_inverted equal to the source by construction" in line
    assert "lie below 0.1 % as far apart behind it as before it" in line and "Sobel" in line and "was not tried" in line
    runs = data.table("transfer").query("method == 'plain' and target in ['digits_m', 'digits_low_contrast']")
    means = runs.groupby("layer_variant")["accuracy"].mean()
    gain = signed(100 * (means["neurn"] - means["baseline"]), 1)
    assert f"Without it, over the other 2, NeuRN brings {gain} points [" in line
    transfer = data.table("transfer")
    sobel = transfer.query("layer_variant == 'neurn'").assign(layer_variant="sobel")
    beside = text_of(build_report(transfer=pd.concat([transfer, sobel])))
    assert f"A Sobel filter in its place brings {signed(self_gain(transfer), 1)} points [" in beside
    assert f"and {gain} points [" in beside
    none = data.table("transfer_invariance").assign(share=np.nan, equal=False)
    assert "by construction" not in text_of(build_report(transfer_invariance=none))


def self_gain(transfer: pd.DataFrame) -> float:
    away = transfer.query("method == 'plain' and source != target").groupby("layer_variant")["accuracy"].mean()
    return float(100 * (away["neurn"] - away["baseline"]))


def test_nothing_is_concluded_from_networks_below_a_floor(build_report: Build) -> None:
    floors = build_report().table("transfer_floors")
    low = (floors["target"] == "digits_m") & (floors["model"] == "vgg11")
    changed = floors.assign(
        nearest_neighbour=floors["nearest_neighbour"].mask(low, 0.45),
        below=floors["below"].mask(low, "1-nearest neighbour"),
    )
    transfer = build_report().table("transfer")
    cell = (transfer["target"] == "digits_m") & (transfer["model"] == "vgg11")
    first = text_of(build_report(transfer_floors=changed, similarity=None))
    # Whatever such a network does with a layer, no sentence changes.
    other = transfer.assign(accuracy=transfer["accuracy"].mask(cell & (transfer["layer_variant"] == "neurn"), 0.99))
    assert text_of(build_report(transfer_floors=changed, transfer=other, similarity=None)) == first
    assert "In 1 of 12 combinations" in first and "vgg11 digits → digits_m (" in first
    assert "below 1-nearest neighbour 45.0 %), " not in first and "nothing is concluded there about layers" in first


def test_where_every_network_lies_below_only_that_is_said(build_report: Build) -> None:
    floors = build_report().table("transfer_floors").assign(below="chance", chance=0.99)
    lines = transfer_findings(build_report(transfer_floors=floors, transfer_judged=None))
    assert len(lines) == 1 and "In 12 of 12 combinations" in lines[0] and "; and 4 more" in lines[0]
    assert lines[0].endswith("No combination is left to conclude from.")


def test_what_lies_above_neurn_is_named_and_what_lies_below(build_report: Build) -> None:
    assert "Below NeuRN on every unseen domain: after RandConv; LCN." in text_of(build_report())
    table = build_report().table("transfer_judged")
    ahead = (table["reference"] == "neurn") & (table["method"] == "randconv") & (table["target"] == "digits_m")
    changed = table.assign(
        difference=table["difference"].mask(ahead, 0.4), q=table["q"].mask(table["reference"] == "neurn", 0.01)
    )
    text = text_of(build_report(transfer_judged=changed))
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
    table = build_report().table("transfer_judged").query("target == 'digits_m'")
    many = pd.concat([table.assign(target=f"t{k}", difference=table["difference"] * (1 + k)) for k in range(11)])
    text = text_of(build_report(transfer_judged=many))
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
