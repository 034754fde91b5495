"""How values are printed and what they sort by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.blocks import Cell, Column, Prose, figure_block, heat_cell, table_block
from reports.style import Drawing, new_figure, style


@pytest.mark.parametrize(
    ("value", "column", "text", "sort"),
    [
        (0.12345, Column("v", "v", 3), "0.123", "0.12345"),
        (-0.5, Column("v", "v", 1, signed=True), "−0.5", "-0.5"),
        (0.5, Column("v", "v", 1, signed=True), "+0.5", "0.5"),
        (0.256, Column("v", "v", 1, 100.0), "25.6", "25.6"),
        (12345.678, Column("v", "v", 1), "12,345.7", "12345.678"),
        (7, Column("v", "v"), "7", "7.0"),
        (7.0, Column("v", "v"), "7", "7.0"),
        (np.int64(3), Column("v", "v"), "3", "3.0"),
        (np.float32(0.5), Column("v", "v", 2), "0.50", "0.5"),
        (True, Column("v", "v"), "yes", "1"),
        (np.bool_(False), Column("v", "v"), "no", "0"),
        ("VISp", Column("v", "v"), "VISp", "visp"),
    ],
)
def test_values_are_printed(value: object, column: Column, text: str, sort: str) -> None:
    frame = pd.DataFrame({"v": pd.Series([value], dtype=object)})
    cell = table_block(frame, [column], "").rows[0][0]
    assert (cell.text, cell.sort) == (text, sort)


@pytest.mark.parametrize("missing", [np.nan, None, np.inf, -np.inf])
def test_a_missing_value_is_a_dash_that_sorts_last(missing: float | None) -> None:
    frame = pd.DataFrame({"v": pd.Series([1.0, missing], dtype=object)})
    cell = table_block(frame, [Column("v", "v", 2)], "").rows[1][0]
    assert (cell.text, cell.sort, cell.numeric) == ("–", "", True)


def test_columns_without_a_value_are_left_out() -> None:
    frame = pd.DataFrame({"a": [1.0], "b": [np.nan]})
    block = table_block(frame, [Column("a", "A", 1), Column("b", "B", 1), Column("c", "C", 1)], "")
    assert [column.label for column in block.columns] == ["A"]
    assert all(len(row) == 1 for row in block.rows)


def test_text_made_of_numbers_sorts_by_the_number() -> None:
    frame = pd.DataFrame({"text": ["[−2, 1]", None], "low": [-2.0, np.nan]})
    first, second = (row[0] for row in table_block(frame, [Column("text", "T", sort_by="low")], "").rows)
    assert (first.text, first.sort, first.numeric) == ("[−2, 1]", "-2.0", True)
    assert (second.text, second.sort) == ("–", "")


@pytest.mark.parametrize("value", [-0.2, 0.0, 0.3, 0.54, 0.56, 1.0, 1.3])
def test_ink_stands_out_on_every_heat_colour(value: float) -> None:
    cell = heat_cell(Cell("1", "1", True), value)
    assert cell.background is not None and cell.ink is not None

    def luminance(colour: str) -> float:
        channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(cell.background), luminance(cell.ink)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_hot_columns_are_coloured_and_others_are_not() -> None:
    frame = pd.DataFrame({"a": [0.9], "b": [0.9]})
    row = table_block(frame, [Column("a", "A", 1), Column("b", "B", 1)], "", heat=["a"]).rows[0]
    assert row[0].background is not None and row[1].background is None


def test_no_drawing_becomes_a_sentence_and_a_drawing_a_figure() -> None:
    absent = figure_block(None, "There was none.")
    assert absent == Prose("There was none.", absent=True)
    with style():
        figure = new_figure("t", 3.5, 2)
    block = figure_block(Drawing("name", figure, "caption", "alt"), "")
    assert block.kind == "figure" and block.width == 3.5 and block.source.startswith("data:image/svg+xml;base64,")
