"""``python -m benchmarks.draw_scale``: ``docs/scale.png`` and ``docs/scale.md`` from ``results/scale.json``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.style import INK, MUTED, PAGE_WIDTH, new_figure, quiet_grid, style, to_png

RESULTS = Path(__file__).parent / "results" / "scale.json"
DOCS = Path(__file__).resolve().parents[1] / "docs"
_LINE = re.compile(r"(\d+) cells: (responses|scores|most memory)")
_PAGE = """# Time and memory by number of cells

{cells:,} simulated cells (the Allen Brain Observatory has as many) × {scenes} scenes × {trials} trials: trial
responses to representations on a {grid} × {grid} grid, then RMSE (mean and nearest unit) and KDE-IoU (population and
single pairs) against {layers} layers of {units:,} units in all, for {groups} groups of cells, each with
{bootstraps:,} bootstrap resamples of donors and cells.

![Time and peak memory from 4,000 to 63,000 cells](scale.png)

{table}

Time a cell at {last:,} cells is {growth:.2f} times that at {first:,}; the most memory that the process ever held is
{memory:.1f} GB. One process, one thread, {processor}, {when}. Trials come a thousand cells at a time, as sessions do,
and are dropped once represented: all of them together would take {trials_gb:.1f} GB.

Made by `python -m benchmarks scale` and drawn by `python -m benchmarks.draw_scale`.
"""


def read_scale(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row a size: ``cells``, ``responses`` and ``scores`` (s), ``memory`` (GB)."""
    rows: dict[int, dict[str, float]] = {}
    for line in record["results"][0]["lines"]:
        found = _LINE.match(line["text"])
        if found:
            name = "memory" if found[2] == "most memory" else found[2]
            rows.setdefault(int(found[1]), {})[name] = float(line["value"])
    return pd.DataFrame.from_dict(rows, orient="index").sort_index().rename_axis("cells").reset_index()


def draw_scale(table: pd.DataFrame) -> Figure:
    """Draw time (with the line through the first size, in proportion) and peak memory by number of cells."""
    with style():
        figure = new_figure("One model's 12 layers against all cells", PAGE_WIDTH, 2.7, mark="SIMULATED")
        left, right = figure.subplots(1, 2)
        cells, seconds = table["cells"].to_numpy(), (table["responses"] + table["scores"]).to_numpy()
        left.plot(cells, seconds[0] * cells / cells[0], color=MUTED, linestyle="--", label="in proportion to cells")
        left.plot(cells, seconds, "o-", color=INK, label="all", markersize=4)
        left.plot(cells, table["responses"], "s-", color="#0072b2", label="responses, representations", markersize=3)
        right.plot(cells, table["memory"], "o-", color=INK, markersize=4, label="most memory")
        right.axhline(8, color="#b3261e", linestyle="--", linewidth=0.9, label="budget")
        for axes, name in ((left, "time (s)"), (right, "memory of the process (GB)")):
            _finish(axes, cells, name)
    return figure


def _finish(axes: Axes, cells: np.ndarray, name: str) -> None:
    axes.set(xlabel="cells (thousands)", title=name, xlim=(0, 1.03 * cells[-1]))
    axes.set_ylim(bottom=0)
    axes.set_xticks(cells, [f"{count / 1000:.0f}" for count in cells])
    quiet_grid(axes)
    axes.legend()


def page(record: Mapping[str, Any], table: pd.DataFrame) -> str:
    """Return the text of ``docs/scale.md``."""
    notes, machine = record["results"][0]["notes"], record["machine"]
    seconds = table["responses"] + table["scores"]
    lines = [
        "| cells | responses and representations (s) | scores (s) | ms a cell | most memory (GB) |",
        "|" + "--:|" * 5,
    ]
    for row, total in zip(table.itertuples(), seconds, strict=True):
        lines.append(
            f"| {row.cells:,} | {row.responses:.2f} | {row.scores:.1f} | {1000 * total / row.cells:.2f} "
            f"| {row.memory:.2f} |"
        )
    first, last = (int(table["cells"].iloc[at]) for at in (0, -1))
    return _PAGE.format(
        cells=last,
        grid=32,
        table="\n".join(lines),
        first=first,
        last=last,
        growth=seconds.iloc[-1] / seconds.iloc[0] / (last / first),
        memory=table["memory"].max(),
        processor=machine["processor"],
        when=machine["when"][:10],
        trials_gb=last * notes["scenes"] * notes["trials"] * 4 / 1e9,
        **{name: notes[name] for name in ("scenes", "trials", "layers", "units", "groups", "bootstraps")},
    )


def main(results: Path = RESULTS, docs: Path = DOCS) -> int:
    """Write both files."""
    record = json.loads(results.read_text(encoding="utf-8"))
    table = read_scale(record)
    (docs / "scale.png").write_bytes(to_png(draw_scale(table)))
    (docs / "scale.md").write_text(page(record, table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
