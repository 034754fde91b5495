"""The page in order, and what it says of parts that a study did not have."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

import reports.blocks
from reports import ReportData
from reports.blocks import Block, FigureBlock, Prose, Section, TableBlock
from reports.published import (
    ALIGNMENT,
    CITATIONS,
    TRANSFER,
    alignment_beside_published,
    transfer_beside_published,
)
from reports.sections import build_sections
from reports.sections_transfer import transfer_table

PARTS = (
    ("similarity",),
    ("cells", "cell_scores", "architectures"),
    ("paired", "marginals", "sessions"),
    ("transfer", "embedding", "examples"),
)


def blocks(sections: list[Section], kind: type[Block]) -> list[Block]:
    return [block for section in sections for block in section.blocks if isinstance(block, kind)]


def absent(sections: list[Section]) -> dict[str, list[str]]:
    return {
        section.anchor: [block.text for block in section.blocks if isinstance(block, Prose) and block.absent]
        for section in sections
        if any(isinstance(block, Prose) and block.absent for block in section.blocks)
    }


def test_the_order_of_the_page(report_sections: list[Section]) -> None:
    order = [section.anchor for section in report_sections]
    assert order[:3] == ["findings", "glance", "groups"]
    assert order.index("transfer") < order.index("published") < order.index("quality")
    assert order[-2:] == ["provenance", "citations"]
    assert len(set(order)) == len(order)


def test_a_whole_study_lacks_nothing(report_sections: list[Section]) -> None:
    gone = absent(report_sections)
    assert gone == {"published": ["None of the published source–target pairs is part of this study."]}


def test_figures_have_names_of_their_own(report_sections: list[Section]) -> None:
    names = [block.name for block in blocks(report_sections, FigureBlock)]  # type: ignore[union-attr]
    assert len(names) >= 13 and len(set(names)) == len(names)


def test_every_row_has_a_cell_for_every_column(report_sections: list[Section]) -> None:
    for block in blocks(report_sections, TableBlock):
        assert isinstance(block, TableBlock)
        assert block.rows and {len(row) for row in block.rows} == {len(block.columns)}


@pytest.fixture(scope="module")
def report_sections(report_data: ReportData) -> list[Section]:
    """Return the sections of the synthetic study, figures drawn but not rendered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reports.blocks, "to_svg", lambda figure: b"<svg/>")
        return build_sections(report_data)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the rendering of figures, which other tests look at."""
    monkeypatch.setattr(reports.blocks, "to_svg", lambda figure: b"<svg/>")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("parts", PARTS, ids=" ".join)
def test_any_part_may_be_missing(parts: tuple[str, ...], build_report: Callable[..., ReportData]) -> None:
    made = build_sections(build_report(**dict.fromkeys(parts)))
    for section in made:
        assert section.blocks
        assert all(not isinstance(block, TableBlock) or block.rows for block in section.blocks)


@pytest.mark.usefixtures("quick")
def test_a_study_of_images_alone_speaks_of_no_neurons(build_report: Callable[..., ReportData]) -> None:
    everything = {part for parts in PARTS for part in parts}
    made = build_sections(build_report(**dict.fromkeys(everything - {"transfer"}), simulated=False))
    assert "Neurons were not part of this study" in absent(made)["groups"][0]
    assert {"quality", "responses", "violins"}.isdisjoint(section.anchor for section in made)


@pytest.mark.usefixtures("quick")
def test_a_study_of_neurons_alone_says_that_there_was_no_transfer(
    build_report: Callable[..., ReportData],
) -> None:
    assert absent(build_sections(build_report(transfer=None)))["transfer"] == [
        "Domain transfer was not part of this study."
    ]


def test_the_transfer_table_prints_mean_spread_and_gain(build_report: Callable[..., ReportData]) -> None:
    rows = [
        ("m", "baseline", 0, 0.2),
        ("m", "baseline", 1, 0.4),
        ("m", "neurn", 0, 0.5),
        ("n", "baseline", 0, 1.0),
    ]
    frame = pd.DataFrame(rows, columns=["model", "layer_variant", "seed", "accuracy"]).assign(source="a", target="b")
    table = transfer_table(build_report(transfer=frame))
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["a", "b", "m", "30.0 ± 14.1", "50.0", "+20.0"],
        ["a", "b", "n", "100.0", "–", "–"],
    ]


def test_published_transfers_stand_beside_the_same_transfers_of_ours(
    build_report: Callable[..., ReportData],
) -> None:
    table = build_report().table("transfer").replace({"digits": "mnist"})
    beside = transfer_beside_published(build_report(transfer=table))
    home = beside.query("source == 'MNIST' and target == 'MNIST'")
    assert sorted(home["ours"]) == ["resnet18", "vgg11", "vit_small"]
    assert (home["ours_baseline"].between(90, 100)).all() and (home["neurn"] == 74.2).all()
    assert beside.query("target == 'SVHN'")["ours"].isna().all()
    assert transfer_beside_published(build_report(transfer=None))["baseline"].tolist() == TRANSFER["baseline"].tolist()


def test_published_alignment_stands_beside_ours(report_data: ReportData) -> None:
    beside = alignment_beside_published(report_data)
    assert len(beside) == len(ALIGNMENT) and beside["ours_baseline"].notna().all()
    row = beside.set_index("group").loc["Fezf2"]
    assert (row["baseline"], row["neurn"]) == (0.113, 0.114)


def test_the_papers_and_the_allen_institute_are_cited() -> None:
    text = " ".join(" ".join(entry) for entry in CITATIONS)
    for needed in ("2505.06881", "2505.06886", "2408.14950", "Allen Institute", "s41593-019-0550-9"):
        assert needed in text


def test_identifiers_are_not_printed_as_quantities(report_sections: list[Section]) -> None:
    (table,) = (block for block in blocks(report_sections, TableBlock) if block.csv == "sessions")  # type: ignore[union-attr]
    assert isinstance(table, TableBlock)
    assert table.rows[0][0].text == "501000000"
