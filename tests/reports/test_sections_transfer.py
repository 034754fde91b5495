"""The sections on transfer: what they hold, what they say of their n, and what they leave out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import reports.blocks
from reports import ReportData
from reports.blocks import FigureBlock, Prose, Section, TableBlock
from reports.sections_transfer import link_blocks, published_section, transfer_sections, transfer_table

Build = Callable[..., ReportData]
TABLES = (
    "seeds",
    "paired",
    "overall",
    "ranks",
    "recall",
    "confusion",
    "calibration",
    "features",
    "floors",
    "invariance",
    "judged",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the rendering of figures, which other tests look at."""
    monkeypatch.setattr(reports.blocks, "to_svg", lambda figure: b"<svg/>")


def text_of(sections: list[Section]) -> str:
    return "\n".join(block.text for section in sections for block in section.blocks if isinstance(block, Prose))


def table(sections: list[Section], start: str) -> TableBlock:
    found = [
        block
        for section in sections
        for block in section.blocks
        if isinstance(block, TableBlock) and block.caption.startswith(start)
    ]
    assert len(found) == 1
    return found[0]


def test_a_whole_study_has_three_sections_in_order(report_data: ReportData) -> None:
    sections = transfer_sections(report_data)
    assert [section.anchor for section in sections] == ["transfer", "errors", "inside"]
    names = [block.name for section in sections for block in section.blocks if isinstance(block, FigureBlock)]
    expected = ["transfer", "transfer_differences", "transfer_ranks", "transfer_recall", "transfer_confusion"]
    assert names == [*expected, "transfer_calibration", "domain_images", "transfer_features"]
    for section in sections:
        for block in section.blocks:
            if isinstance(block, TableBlock):
                assert block.rows and {len(row) for row in block.rows} == {len(block.columns)}
                assert block.csv.startswith("transfer") and "over" in block.caption


def test_the_sizes_of_the_subsets_stand_first(report_data: ReportData) -> None:
    first = transfer_sections(report_data)[0].blocks[0]
    assert isinstance(first, Prose) and first.text == report_data.protocol


def test_neurn_minus_baseline_is_printed_with_interval_p_and_q(report_data: ReportData) -> None:
    block = table(transfer_sections(report_data), "NeuRN minus baseline")
    assert [column.key for column in block.columns][3:] == ["difference", "ci_low", "ci_high", "p", "q", "seeds"]
    paired = report_data.table("transfer_paired").query("reference == 'baseline'")
    assert len(block.rows) == 12 and f"over the {len(paired)} tests" in block.caption
    own = paired.query("layer_variant == 'neurn' and method == 'plain'").iloc[0]
    assert block.rows[0][3].text == f"{100 * own['difference']:+.1f}".replace("-", "−")


def test_with_one_seed_the_table_says_so_and_has_no_columns_for_what_is_not_known(build_report: Build) -> None:
    nothing = {"ci_low": np.nan, "ci_high": np.nan, "p": np.nan, "q": np.nan, "seeds": 1, "reason": "not testable"}
    data = build_report(
        transfer=build_report().table("transfer").query("seed == 0"),
        transfer_paired=build_report().table("transfer_paired").assign(**nothing),
        transfer_overall=build_report().table("transfer_overall").assign(**nothing),
    )
    sections = transfer_sections(data)
    block = table(sections, "NeuRN minus baseline")
    assert [column.key for column in block.columns][3:] == ["difference", "seeds", "reason"]
    assert "No row can be tested, so there is no interval, no p and no q." in block.caption
    assert "Each is one seed, so no spread is known." in table(sections, "Accuracy").caption
    assert all("±" not in cell.text for row in table(sections, "Accuracy").rows for cell in row)


def test_many_conditions_become_rows(build_report: Build) -> None:
    transfer = build_report().table("transfer")
    more = [transfer[transfer["layer_variant"] == "lcn"].assign(layer_variant=name) for name in ("lrn", "sobel")]
    block = transfer_table(build_report(transfer=pd.concat([transfer, *more])))
    assert [column.key for column in block.columns] == [
        "source",
        "target",
        "condition",
        "resnet18",
        "vgg11",
        "vit_small",
    ]
    # Chance, neighbours, and neighbours behind NeuRN below the six conditions.
    assert len(block.rows) == 4 * 9 and block.rows[1][2].text == "NeuRN"
    assert [row[2].text for row in block.rows[6:9]] == ["chance", "1-nearest neighbour", "1-nearest neighbour, NeuRN"]


@pytest.mark.parametrize("wide", [False, True])
def test_floors_stand_below_the_networks_and_mark_those_that_lie_lower(wide: bool, build_report: Build) -> None:
    transfer, floors = build_report().table("transfer"), build_report().table("transfer_floors")
    low = (floors["target"] == "digits_m") & (floors["model"] == "vgg11") & (floors["layer_variant"] == "baseline")
    parts = {"transfer_floors": floors.assign(below=floors["below"].mask(low, "1-nearest neighbour"))}
    if wide:
        more = [transfer[transfer["layer_variant"] == "lcn"].assign(layer_variant=name) for name in ("lrn", "sobel")]
        parts["transfer"] = pd.concat([transfer, *more])
    block = transfer_table(build_report(**parts))
    marked = [(row, place) for row in block.rows for place, cell in enumerate(row) if "†" in cell.text]
    ((row, place),) = marked
    words = [cell.text for cell in row[:3]]
    assert words == ["digits", "digits_m", "baseline"] if wide else words == ["digits", "digits_m", "vgg11"]
    assert block.columns[place].label.startswith("vgg11" if wide else "baseline")
    chance = [row for row in block.rows if row[2].text == "chance"]
    assert len(chance) == 4 and all(row[3].text == "10.0" for row in chance)
    assert "†: below chance or below 1-nearest neighbour" in block.caption
    assert "†" not in transfer_table(build_report()).caption


def test_the_gain_stands_with_and_without_what_neurn_makes_equal(build_report: Build) -> None:
    block = table(transfer_sections(build_report()), "Gain in accuracy on unseen targets")
    names = [row[0].text for row in block.rows]
    assert names[-3:] == ["mean of all 3", "mean of the 1 that NeuRN makes equal", "mean of the other 2"]
    shares = {row[0].text: row[1].text for row in block.rows}
    assert (shares["digits → digits_inverted"], shares["digits → digits_low_contrast"]) == ("0.0", "33.0")
    assert shares["digits → digits_m"] == "–"
    none = build_report().table("transfer_invariance").assign(share=np.nan, equal=False)
    assert "No target is a shift of the source's own images" in text_of(
        transfer_sections(build_report(transfer_invariance=none))
    )


def test_a_method_that_sees_the_target_is_marked_and_explained(build_report: Build) -> None:
    transfer = build_report().table("transfer")
    seeing = transfer.assign(sees_target=transfer["method"] == "randconv")
    sections = transfer_sections(build_report(transfer=seeing))
    assert "Marked “sees target”: after RandConv." in text_of(sections)
    assert any("RandConv (sees target)" in column.label for column in table(sections, "Accuracy").columns)
    assert "sees target" not in text_of(transfer_sections(build_report()))


def test_calibration_errors_are_in_percent_without_a_colour_that_means_good(report_data: ReportData) -> None:
    block = table(transfer_sections(report_data), "Expected calibration error")
    seeds = report_data.table("transfer_seeds").iloc[0]
    assert block.rows[0][3].text == f"{100 * seeds['ece']:.1f} ± {100 * seeds['ece_sd']:.1f}"
    assert all(cell.background is None for row in block.rows for cell in row)


def test_statistics_inside_are_told_at_the_input_between_and_at_the_classifier(report_data: ReportData) -> None:
    block = table(transfer_sections(report_data), "Distance of the domains")
    assert [row[2].text for row in block.rows[:3]] == ["input", "layers between", "classifier"]
    assert len(block.rows) == 3 * 3 * 2
    assert "no success of its own" in text_of(transfer_sections(report_data))


@pytest.mark.parametrize("name", TABLES)
def test_any_table_may_be_missing(name: str, build_report: Build) -> None:
    sections = transfer_sections(build_report(**{f"transfer_{name}": None}))
    assert sections[0].anchor == "transfer" and all(section.blocks for section in sections)


def test_only_the_runs_still_make_a_section(build_report: Build) -> None:
    bare = build_report(**dict.fromkeys([f"transfer_{name}" for name in TABLES]), examples=None, protocol="")
    sections = transfer_sections(bare)
    assert [section.anchor for section in sections] == ["transfer"]
    assert "no difference to test" in text_of(sections)


# --- the link, and the published numbers -----------------------------------------------------------


def test_the_link_prints_the_gains_of_every_model(report_data: ReportData) -> None:
    figure, block = link_blocks(report_data)
    assert isinstance(figure, FigureBlock) and isinstance(block, TableBlock)
    assert [row[0].text for row in block.rows] == ["resnet18", "vgg11", "vit_small"]


def test_with_two_models_the_page_says_what_is_missing(build_report: Build) -> None:
    transfer = build_report().table("transfer")
    (block,) = link_blocks(build_report(transfer=transfer[transfer["model"] != "vgg11"]))
    assert isinstance(block, Prose) and "at least 3 networks" in block.text and "this study has 2." in block.text
    assert link_blocks(build_report(similarity=None)) == []


def test_published_accuracies_are_marked_as_another_protocols_and_compared_with_plain_training(
    build_report: Build,
) -> None:
    transfer = build_report().table("transfer").replace({"digits": "mnist", "digits_m": "mnist_m"})
    section = published_section(build_report(transfer=transfer))
    assert "other weights, other training protocols" in text_of([section])
    block = next(block for block in section.blocks if isinstance(block, TableBlock))
    assert "of other weights and another protocol" in block.caption
    plain = transfer.query("method == 'plain' and target == 'mnist_m' and model == 'vgg11'")
    means = 100 * plain.groupby("layer_variant")["accuracy"].mean()
    (row,) = (row for row in block.rows if row[5].text == "arXiv 2505.06886" and row[6].text == "vgg11")
    assert [row[7].text, row[8].text] == [f"{means['baseline']:.1f}", f"{means['neurn']:.1f}"]
