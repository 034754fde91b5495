"""The pieces that a page is built of: sections that hold figures, tables, sentences and code."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .style import Drawing, to_svg

__all__ = [
    "Block",
    "Cell",
    "Code",
    "Column",
    "FigureBlock",
    "Findings",
    "Prose",
    "References",
    "Section",
    "TableBlock",
    "figure_block",
    "heat_cell",
    "split_wide",
    "table_block",
]

_LONGEST = 18  # letters of a word that a column of a crowded table still has room for
_MOST = 12  # columns that a page holds side by side, on paper and on a screen of 1,280 px


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    key : str
        The column's name in the data frame.
    label : str
        The heading.
    digits : int, optional
        Decimals; ``None`` for text and whole numbers.
    scale : float
        Factor before printing (100 for percent).
    signed : bool
        Print a plus sign.
    sort_by : str, optional
        Column to sort by instead, for text that was put together from numbers.
    """

    key: str
    label: str
    digits: int | None = None
    scale: float = 1.0
    signed: bool = False
    sort_by: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether the column is known to hold numbers."""
        return self.digits is not None or self.sort_by is not None

    @property
    def endless(self) -> bool:
        """Whether a word of the heading is too long for a column, so that it must break anywhere."""
        return _is_endless(self.label)


@dataclass(frozen=True)
class Cell:
    """One printed value, what it sorts by, and the colour behind it (``None`` for none)."""

    text: str
    sort: str = ""
    numeric: bool = False
    background: str | None = None
    ink: str | None = None

    @property
    def endless(self) -> bool:
        """Whether a word in it is too long for a column, so that it must break anywhere."""
        return _is_endless(self.text)


@dataclass(frozen=True)
class TableBlock:
    """A table as it is printed."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str
    csv: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class FigureBlock:
    """A rendered figure and its words."""

    name: str
    svg: bytes
    caption: str
    alt: str
    width: float
    kind: str = "figure"

    @property
    def source(self) -> str:
        """The figure as a ``data:`` address, so that the page needs no other file and no id can clash."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode("ascii")


@dataclass(frozen=True)
class Prose:
    """A paragraph; ``absent`` marks one that says what a study had no part of."""

    text: str
    absent: bool = False
    kind: str = "prose"


@dataclass(frozen=True)
class Findings:
    """Sentences as a list; each may carry a tone: ``"caution"`` or ``""``."""

    items: Sequence[tuple[str, str]]
    kind: str = "findings"


@dataclass(frozen=True)
class Code:
    """Text in a typewriter face, folded away on screen where it is long."""

    text: str
    title: str
    folded: bool = False
    kind: str = "code"


@dataclass(frozen=True)
class References:
    """Citations: the reference, the address in words, the address, and what is owed to it."""

    items: Sequence[tuple[str, str, str, str]]
    kind: str = "references"


Block = TableBlock | FigureBlock | Prose | Findings | Code | References


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    anchor: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def table_block(
    frame: pd.DataFrame, columns: Sequence[Column], caption: str, *, csv: str = "", heat: Sequence[str] = ()
) -> TableBlock:
    """Format a data frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        The values.
    columns : sequence of Column
        What to print, in order; columns that the frame does not have, or has no value in, are left out.
    caption : str
        What the table shows, with units and n.
    csv : str, optional
        Address of the whole table beside the page.
    heat : sequence of str
        Columns (with values in [0, 1]) to colour from white to deep teal by value.

    Returns
    -------
    TableBlock
        Ready for the template; every text in it is still unescaped.
    """
    shown = [column for column in columns if column.key in frame.columns and frame[column.key].notna().any()]
    rows = []
    for _, record in frame.iterrows():
        cells = []
        for column in shown:
            cell = _cell(record[column.key], column)
            if column.sort_by is not None:
                number = float(record[column.sort_by])
                cell = Cell(cell.text, repr(number) if np.isfinite(number) else "", True)
            if column.key in heat and cell.numeric and cell.text != "–":
                cell = heat_cell(cell, float(record[column.key]))
            cells.append(cell)
        rows.append(tuple(cells))
    return TableBlock(tuple(shown), tuple(rows), caption, csv)


def split_wide(block: Block) -> list[Block]:
    """Split a table of more columns than fit side by side; every part repeats the first columns, which name its rows.

    Parameters
    ----------
    block : Block
        Any; what is no table, or narrow enough, comes back alone.

    Returns
    -------
    list of Block
        Tables of about equal width, of the same rows.
    """
    if not isinstance(block, TableBlock) or len(block.columns) <= _MOST:
        return [block]
    numbers = [place for place, column in enumerate(block.columns) if column.numeric]
    names = min(numbers[0] if numbers else 1, _MOST // 2)
    rest = len(block.columns) - names
    parts = -(-rest // (_MOST - names))
    size = -(-rest // parts)
    found: list[Block] = []
    for part in range(parts):
        chosen = [*range(names), *range(names + part * size, min(names + (part + 1) * size, len(block.columns)))]
        caption = f"{block.caption} Columns in {parts} parts: part {part + 1}."
        rows = tuple(tuple(row[place] for place in chosen) for row in block.rows)
        found.append(TableBlock(tuple(block.columns[place] for place in chosen), rows, caption, block.csv))
    return found


def figure_block(drawing: Drawing | None, absent: str) -> FigureBlock | Prose:
    """Render a drawing; where there is none, say so in ``absent`` instead of showing an empty plot."""
    if drawing is None:
        return Prose(absent, absent=True)
    width = float(drawing.figure.get_figwidth())
    return FigureBlock(drawing.name, to_svg(drawing.figure), drawing.caption, drawing.alt, width)


def _is_endless(text: str) -> bool:
    return any(len(word) > _LONGEST for word in text.split())


def _cell(value: object, column: Column) -> Cell:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))
    if value is None or (number and not np.isfinite(float(value))):  # type: ignore[arg-type]
        return Cell("–", "", number or column.digits is not None)
    if isinstance(value, (bool, np.bool_)):
        return Cell("yes" if value else "no", "1" if value else "0")
    if number and column.digits is not None:
        scaled = float(value) * column.scale  # type: ignore[arg-type]
        sign = "+" if column.signed else ""
        text = f"{scaled:{sign},.{column.digits}f}".replace("-", "−")
        return Cell(text, repr(scaled), True)
    if number:
        whole = float(value)  # type: ignore[arg-type]
        text = f"{whole:.0f}" if whole.is_integer() else f"{whole:.4g}"
        return Cell(text.replace("-", "−"), repr(whole), True)
    return Cell(str(value), str(value).lower(), column.digits is not None)


def heat_cell(cell: Cell, value: float) -> Cell:
    """Colour a printed value from white (0) to deep teal (1), with ink that stands out on it."""
    share = min(max(value, 0.0), 1.0)
    low, high = np.array([255, 255, 255]), np.array([0, 98, 87])
    channels = (low + (high - low) * share**1.2).round().astype(int)
    # Relative luminance (WCAG 2): white ink wherever it stands out more than black.
    parts = channels / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    dark = float(linear @ [0.2126, 0.7152, 0.0722]) < 0.179
    colour = "#{:02x}{:02x}{:02x}".format(*channels)
    return Cell(cell.text, cell.sort, True, colour, "#ffffff" if dark else "#000000")
