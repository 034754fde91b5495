"""Conditions by name, label and colour, and the gains of both sides."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from reports import ReportData
from reports.views import transfer_differences, transfer_summary
from reports.views_transfer import (
    condition,
    condition_colour,
    condition_labels,
    gains,
    ordered_conditions,
    transfers,
    with_condition,
)

Build = Callable[..., ReportData]


@pytest.mark.parametrize(
    ("variant", "method", "name"),
    [
        ("baseline", "plain", "baseline"),
        ("neurn", "plain", "neurn"),
        ("baseline", "randconv", "randconv"),
        ("neurn", "augmix", "neurn + augmix"),
    ],
)
def test_a_condition_is_a_layer_a_method_or_both(variant: str, method: str, name: str) -> None:
    assert condition(variant, method) == name


def test_layers_come_first_then_methods_then_a_users_own() -> None:
    rows = [("mine", "plain"), ("baseline", "mixstyle"), ("neurn", "augmix"), ("neurn", "plain"), ("baseline", "plain")]
    table = pd.DataFrame(rows, columns=["layer_variant", "method"])
    assert ordered_conditions(table) == ["baseline", "neurn", "mixstyle", "mine", "neurn + augmix"]
    assert with_condition(table)["condition"].tolist()[1:3] == ["mixstyle", "neurn + augmix"]


def test_labels_name_both_parts_and_mark_what_saw_the_target(build_report: Build) -> None:
    table = build_report().table("transfer")
    both = table.assign(layer_variant="neurn", method="adversarial", sees_target=True)
    labels = condition_labels(build_report(transfer=pd.concat([table, both])))
    assert labels["neurn + adversarial"] == "NeuRN + domain-adversarial (sees target)"
    assert labels["randconv"] == "after RandConv" and labels["neurn"] == "NeuRN"
    assert labels["of no run"] == "of no run", "a table may name what no run has"


def test_colours_differ() -> None:
    known = ["baseline", "neurn", "randconv", "augmix", "mixstyle", "adversarial", "mine", "yours"]
    assert len({condition_colour(name, known) for name in known}) == len(known)


def test_transfers_keep_their_order_and_may_leave_the_source_out(report_data: ReportData) -> None:
    table = report_data.table("transfer")
    every = transfers(table)
    assert every[0] == ("digits", "digits") and len(every) == 4
    assert transfers(table, unseen=True) == every[1:]


def test_a_table_without_methods_is_of_plain_training(build_report: Build) -> None:
    table = build_report().table("transfer").query("method == 'plain'").drop(columns=["method", "sees_target"])
    data = build_report(transfer=table)
    assert set(data.table("transfer")["method"]) == {"plain"} and not data.table("transfer")["sees_target"].any()
    assert len(transfer_summary(data)) == 3 * 3 * 4


def test_other_methods_do_not_enter_the_differences(build_report: Build) -> None:
    table = build_report().table("transfer")
    with_neurn = table[table["layer_variant"] == "neurn"].assign(method="randconv", accuracy=0.0)
    data = build_report(transfer=pd.concat([table, with_neurn]))
    pd.testing.assert_frame_equal(transfer_differences(data), transfer_differences(build_report()))


def test_gains_need_both_sides(build_report: Build) -> None:
    assert len(gains(build_report())) == 3
    assert gains(build_report(transfer=None)).empty and gains(build_report(similarity=None)).empty
    only_baseline = build_report().table("transfer").query("layer_variant == 'baseline'")
    assert gains(build_report(transfer=only_baseline)).empty
