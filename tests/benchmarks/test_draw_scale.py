"""The scale curve: what is read from the results, drawn, and written beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.draw_scale import DOCS, RESULTS, draw_scale, main, page, read_scale


def record(sizes: tuple[int, ...] = (4000, 63_000)) -> dict:
    lines = [{"text": "time a cell, 63000 beside 4000", "value": 1.0}]
    for cells in sizes:
        lines += [
            {"text": f"{cells} cells: responses and representations", "value": cells / 1e4},
            {"text": f"{cells} cells: scores of 2112 rows", "value": 2 * cells / 1e4},
            {"text": f"{cells} cells: most memory", "value": cells / 3e4},
        ]
    notes = {"scenes": 118, "trials": 50, "layers": 12, "units": 3712, "groups": 44, "bootstraps": 1000}
    return {"machine": {"processor": "one", "when": "2026-01-02T03"}, "results": [{"lines": lines, "notes": notes}]}


def test_sizes_come_in_order_with_their_numbers() -> None:
    table = read_scale(record((63_000, 4000)))
    assert table["cells"].tolist() == [4000, 63_000]
    np.testing.assert_allclose(table["scores"], 2 * table["responses"])
    np.testing.assert_allclose(table["memory"], [4 / 30, 2.1])


def test_the_figure_shows_the_total_time_and_the_memory() -> None:
    left, right = draw_scale(read_scale(record())).axes
    drawn = {line.get_label(): line.get_ydata() for axes in (left, right) for line in axes.lines}
    np.testing.assert_allclose(drawn["all"], [1.2, 18.9])
    np.testing.assert_allclose(drawn["in proportion to cells"], [1.2, 18.9])
    np.testing.assert_allclose(drawn["most memory"], [4 / 30, 2.1])


def test_the_page_says_the_same_numbers(tmp_path: Path) -> None:
    results = tmp_path / "scale.json"
    results.write_text(json.dumps(record()))
    assert main(results, tmp_path) == 0
    text = (tmp_path / "scale.md").read_text()
    assert "| 63,000 | 6.30 | 12.6 | 0.30 | 2.10 |" in text
    assert "is 1.00 times that at 4,000" in text
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_in_the_documentation_is_of_the_results_kept() -> None:
    if not RESULTS.is_file():
        pytest.skip("the results are not part of an installed package")
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert (DOCS / "scale.md").read_text(encoding="utf-8") == page(kept, read_scale(kept))
