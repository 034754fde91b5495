"""Nothing is cut off: every table lies within its box on a screen and within the margins on paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from reports import ReportData, blocks
from reports.blocks import Cell, Column, Section, TableBlock, split_wide
from reports.report import render_html
from reports.sections import build_sections
from reports.sections_rsa import rsa_sections
from reports.sections_transfer import transfer_table

SCREENS = (375, 1280, 1440)
NETWORKS = [f"timm:mobilenetv3_large_{number}.lamb_in1k" for number in range(100, 113)]
LAYERS = ("baseline", "neurn", "lcn_divisive", "standardise", "neurn_raw", "sobel")


@pytest.fixture(scope="module")
def plain() -> Any:
    """Figures take seconds and are not what is measured: here each is an empty picture."""
    patch = pytest.MonkeyPatch()
    patch.setattr(blocks, "to_svg", lambda figure: b'<svg xmlns="http://www.w3.org/2000/svg" width="700" height="40"/>')
    yield patch
    patch.undo()


@pytest.fixture(scope="module")
def page(report_data: ReportData, plain: Any) -> str:
    """Every table that a report can have, and the two widest with thirteen networks of long names."""
    crowd = dataclasses.replace(report_data, **_rsa(), **_transfer())
    sections = [Section("wide", "Wide tables", split_wide(transfer_table(crowd)))]
    for section in rsa_sections(crowd):
        tables = [block for block in section.blocks if isinstance(block, TableBlock)]
        sections.append(Section("rsa-tables", section.title, tables))
    return render_html(report_data, [*sections, *build_sections(report_data)])


def _transfer() -> dict[str, pd.DataFrame]:
    place = [
        (model, layer, target)
        for model in NETWORKS
        for layer in LAYERS
        for target in ("digits_low_contrast", "mnist_m")
    ]
    rows = [
        {"model": model, "layer_variant": layer, "source": "digits", "target": target, "seed": seed, "accuracy": 0.877}
        for model, layer, target in place
        for seed in (0, 1)
    ]
    return {"transfer": pd.DataFrame(rows)}


def _rsa() -> dict[str, pd.DataFrame]:
    numbers = {"value": 0.1234, "half_value": 0.1234, "ci_low": -0.0456, "ci_high": 0.2345, "p": 0.0033, "q": 0.0123}
    numbers |= {"null_high": 0.1234, "normalised": 0.77, "ceiling": 0.16, "difference": -0.0456, "n_scenes": 118}
    numbers |= {"baseline_value": 0.1234, "variant_value": 0.0778, "half_difference": -0.0456}
    rows = [
        {"model": model, "layer_variant": layer, "layer": "features.denseblock4.denselayer16.conv2", "layer_index": 3}
        | {"group_by": "all", "group": "all", "metric": metric, "seed": seed, **numbers}
        for model in NETWORKS[:4]
        for layer in LAYERS[:2]
        for metric in ("rsa_spearman", "cka")
        for seed in (0, 1)
    ]
    whole = pd.DataFrame(rows)
    one = whole[whole["seed"] == 0]
    return {"rsa": one, "rsa_best": one, "rsa_differences": one.assign(layer="best"), "rsa_twins": whole}


@pytest.mark.browser
def test_on_a_screen_no_column_is_hidden_and_on_a_phone_only_tables_scroll(
    page: str, measure_tables: Callable[..., dict[int, Any]]
) -> None:
    found = measure_tables(page, SCREENS)
    for width in SCREENS:
        assert len(found[width]["tables"]) >= 24 and found[width]["page"] <= width
    assert not [table for width in SCREENS[1:] for table in found[width]["tables"] if table[1] > 0 or table[2] > 0]


def test_in_print_no_text_leaves_the_margins(page: str) -> None:
    from weasyprint import HTML

    millimetre = 96 / 25.4
    sheets = HTML(string=page).render().pages
    assert len(sheets) > 10
    over, seen = [], 0
    for number, sheet in enumerate(sheets, 1):
        for box in sheet._page_box.descendants():
            if not getattr(box, "text", "").strip() or box.position_y < 19 * millimetre:
                continue  # nothing drawn, or the line above the page's content, which has margins of its own
            seen += 1
            left, right = box.position_x, box.position_x + box.width
            if left < 16 * millimetre - 1 or right > sheet.width - 16 * millimetre + 1 or box.position_y > sheet.height:
                over.append((number, box.text))
    assert seen > 2000 and over == []


def test_a_wide_table_is_split_and_every_part_names_its_rows() -> None:
    columns = [Column("model", "model"), Column("layer", "layer"), *(Column(str(k), f"c{k}", 1) for k in range(25))]
    row = tuple(Cell(column.label, column.label) for column in columns)
    parts = split_wide(TableBlock(columns, [row, row], "Caption.", "similarity"))
    assert [len(part.columns) for part in parts] == [11, 11, 9]
    assert [column.key for part in parts for column in part.columns[2:]] == [str(k) for k in range(25)]
    for number, part in enumerate(parts, 1):
        assert part.caption == f"Caption. Columns in 3 parts: part {number}." and part.csv == "similarity"
        assert [cell.text for cell in part.rows[1]] == [column.label for column in part.columns]
    narrow = TableBlock(columns[:12], [row[:12]], "Caption.")
    assert split_wide(narrow) == [narrow]
