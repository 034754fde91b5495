"""Claims, ceilings and controls: their summaries, sections and figure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from reports import ReportData
from reports.blocks import Findings, Prose, TableBlock
from reports.controls import claim_rows, condition_scores, group_ceilings
from reports.figures_controls import controls_figure
from reports.sections_claims import claims_section
from reports.sections_controls import controls_section
from reports.style import to_svg
from reports.views import group_scores, model_scores, paired_groups


@pytest.fixture(scope="module")
def controlled(report_data: ReportData) -> pd.DataFrame:
    """The synthetic scores with ceilings, a null for the networks, and twins that are all 0.05 higher."""
    scores = report_data.table("similarity").assign(twin=False, ceiling=0.05, p=0.01, q=0.02)
    scores = scores.assign(null_mean=scores["value"] + 0.02, null_low=scores["value"], null_high=scores["value"] + 0.04)
    whole = scores[scores["group_by"] == "all"]
    scores.loc[whole.index[whole["layer"] == "stage1"], "q"] = 0.5
    gone = dict.fromkeys(("null_mean", "null_low", "null_high", "p", "q"), np.nan)
    return pd.concat([scores, scores.assign(twin=True, value=scores["value"] + 0.05, **gone)], ignore_index=True)


def test_twins_stay_out_of_every_other_number(
    build_report: Callable[..., ReportData], controlled: pd.DataFrame
) -> None:
    plain, both = build_report(), build_report(similarity=controlled)
    for by in ("all", "area", "genotype"):
        pd.testing.assert_frame_equal(group_scores(plain, by, "rmse_mean"), group_scores(both, by, "rmse_mean"))
        pd.testing.assert_frame_equal(model_scores(plain, by, "rmse_mean"), model_scores(both, by, "rmse_mean"))


def test_other_pairs_stay_out_of_neurn_less_baseline(build_report: Callable[..., ReportData]) -> None:
    paired = build_report().table("paired")
    others = [paired.assign(layer_variant="sobel", difference=9.0), paired.assign(reference="sobel", difference=9.0)]
    both = build_report(paired=pd.concat([paired, *others], ignore_index=True))
    pd.testing.assert_frame_equal(
        paired_groups(build_report(), "area", "rmse_mean"), paired_groups(both, "area", "rmse_mean")
    )


def test_conditions_are_means_over_layers(build_report: Callable[..., ReportData], controlled: pd.DataFrame) -> None:
    found = condition_scores(build_report(similarity=controlled), "rmse_mean")
    assert len(found) == 3 * 2 * 2 and found["twin"].tolist() == [False, False, True, True] * 3
    row = found[(found["model"] == "vgg11") & (found["layer_variant"] == "neurn") & ~found["twin"]].iloc[0]
    rows = controlled.query("model == 'vgg11' and layer_variant == 'neurn' and group_by == 'all' and not twin")
    rows = rows[(rows["metric"] == "rmse_mean") & (rows["representation"] == "weighted")]
    assert row["value"] == pytest.approx(rows["value"].mean()) and row["null_mean"] == pytest.approx(
        row["value"] + 0.02
    )
    assert (row["n_layers"], row["n_clear"]) == (8, 7)
    twins = found[found["twin"]]
    assert twins["n_clear"].isna().all() and twins["null_mean"].isna().all()
    assert condition_scores(build_report(), "no such metric").empty


def test_ceilings_stand_beside_the_scores_in_order(build_report: Callable[..., ReportData]) -> None:
    data = build_report()
    found = group_ceilings(data, "rmse_mean")
    assert found["group"].tolist()[:3] == ["all", "excitatory", "inhibitory"]
    assert found.loc[3:8, "group"].tolist() == ["VISp", "VISl", "VISal", "VISpm", "VISam", "VISrl"]
    scores = group_scores(data, "area", "rmse_mean")
    row = found.set_index("group").loc["VISl"]
    assert row["baseline"] == pytest.approx(scores.loc["VISl", "baseline"]), "each network counts once, as elsewhere"
    assert row["n_cells"] == scores.loc["VISl", "n_cells"] and row["correlation"] == 0.9
    missing = found.set_index("group").loc["Fezf2-1"]
    assert np.isnan(missing["ceiling"]) and "without variation" in missing["reason"]


def test_claims_say_what_holds_and_that_a_simulation_confirms_nothing(build_report: Callable[..., ReportData]) -> None:
    section = claims_section(build_report())
    findings, groups, classes = section.blocks
    assert isinstance(findings, Findings) and isinstance(groups, TableBlock) and isinstance(classes, TableBlock)
    said = [text for text, _ in findings.items]
    assert findings.items[0][1] == "caution" and "cannot confirm a statement about mice" in " ".join(said[0].split())
    assert any(text.startswith("RMSE is lower with NeuRN: of") and "holds" in text for text in said)
    assert "Fezf2, the published exception, rises against the other groups: of 2 groups, 2 holds." in said
    assert any("lower for excitatory than for inhibitory cells (all models, NeuRN)" in text for text in said)
    labels = [column.label for column in groups.columns]
    assert {"95 % interval", "q", "cells", "donors", "published", "in this data"} <= set(labels)
    at = labels.index("in this data")
    verdicts = {row[0].text: row[at].text for row in groups.rows}
    assert "all cells" in verdicts and set(verdicts.values()) <= {"holds", "contradicted", "undecided"}
    real = claims_section(build_report(simulated=False)).blocks[0]
    assert isinstance(real, Findings) and all(tone != "caution" for _, tone in real.items)


def test_groups_of_two_coordinates_stay_in_the_csv(build_report: Callable[..., ReportData]) -> None:
    claims = build_report().table("claims")
    pairs = claims[claims["group_by"] == "area"].assign(group_by="area+neuron_class", group="VISp × excitatory")
    both = build_report(claims=pd.concat([claims, pairs], ignore_index=True))
    pd.testing.assert_frame_equal(claim_rows(both)[0], claim_rows(build_report())[0])


def test_a_group_that_cannot_be_tested_says_why(build_report: Callable[..., ReportData]) -> None:
    claims = build_report().table("claims").copy()
    rows = claims["group"] == "VISl"
    claims.loc[rows, ["difference", "ci_low", "ci_high", "q"]] = np.nan
    claims.loc[rows, "verdict"], claims.loc[rows, "reason"] = "cannot tell", "no cells in this group"
    table = claims_section(build_report(claims=claims)).blocks[1]
    assert isinstance(table, TableBlock)
    assert table.columns[-1].label == "why it cannot tell"
    assert [row[-1].text for row in table.rows if row[0].text == "VISl"] == ["no cells in this group"]


def test_absent_parts_are_said(build_report: Callable[..., ReportData]) -> None:
    (claims,) = claims_section(build_report(claims=None)).blocks
    assert isinstance(claims, Prose) and claims.absent and "are not tested" in claims.text
    (controls,) = controls_section(build_report(similarity=None)).blocks
    assert isinstance(controls, Prose) and controls.absent
    without = controls_section(build_report(ceilings=None)).blocks
    assert sum(isinstance(block, TableBlock) for block in without) == 1


def test_the_figure_shows_what_there_is(build_report: Callable[..., ReportData], controlled: pd.DataFrame) -> None:
    (drawing,) = controls_figure(build_report(similarity=controlled))
    labels = [text.get_text() for legend in drawing.figure.legends for text in legend.get_texts()]
    assert labels == ["as compared", "random twin", "scenes shuffled", "noise ceiling"]
    assert len(drawing.figure.axes) == 6 and b"<svg" in to_svg(drawing.figure)
    assert "noise ceiling" in drawing.caption
    (bare,) = controls_figure(build_report())
    assert [text.get_text() for legend in bare.figure.legends for text in legend.get_texts()] == [
        "as compared",
        "noise ceiling",
    ]
    many = [controlled.assign(model=controlled["model"] + str(copy)) for copy in range(3)]
    assert len(controls_figure(build_report(similarity=pd.concat(many, ignore_index=True)))) == 3


def test_sentences_say_what_the_controls_leave(
    build_report: Callable[..., ReportData], controlled: pd.DataFrame
) -> None:
    sobel = controlled[controlled["layer_variant"] == "neurn"].assign(layer_variant="sobel")
    sobel["value"] = sobel["value"] + 0.03
    both = controlled.assign(normalised=0.5)
    data = build_report(similarity=pd.concat([both, sobel.assign(normalised=0.5)], ignore_index=True))
    findings = controls_section(data).blocks[0]
    assert isinstance(findings, Findings) and len(findings.items) == 2
    said = findings.items[0][0]
    assert said.startswith("RMSE to all cells, mean over layers and models: 48 of 57 layers are closer")
    assert "less their random twins −0.0500" in said and "NeuRN less Sobel −0.0300" in said
    assert "0.50 of the noise ceiling" in said


def test_the_table_of_controls_holds_a_row_a_condition(
    build_report: Callable[..., ReportData], controlled: pd.DataFrame
) -> None:
    section = controls_section(build_report(similarity=controlled))
    table = next(block for block in section.blocks if isinstance(block, TableBlock))
    assert len(table.rows) == 2 * 3 * 2 * 2
    names = [column.label for column in table.columns]
    first = dict(zip(names, [cell.text for cell in table.rows[0]], strict=True))
    assert first["q < 0.05"] == "5 of 6" and first["layer in front"] == "baseline"
    assert {row[1].text for row in table.rows} == {"baseline", "NeuRN", "baseline, random twin", "NeuRN, random twin"}
