"""Two groups side by side, as ``nalign compare`` draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from neural_alignment import DataError
from reports.figures import compare_figure, to_svg
from reports.figures_compare import COMPARISON_COLUMNS


def comparison(rows: int = 6, **changes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.11, 0.01, (2, rows))
    frame = pd.DataFrame({"model": [f"m{k}" for k in range(rows)], "a_value": a, "b_value": b, "difference": a - b})
    fixed = {"layer_variant": "neurn", "layer": "l1", "metric": "rmse_mean"}
    return frame.assign(**(fixed | changes))


def words(drawing: Any) -> list[str]:
    return [text.get_text() for axes in drawing.figure.axes for text in axes.get_yticklabels()]


def test_every_row_is_drawn_with_its_name_and_numbers() -> None:
    table = comparison(ci_low=-0.01, ci_high=0.01, q=[0.01, 0.2, np.nan, 0.04, 0.9, 0.049])
    drawing = compare_figure(table, "Fezf2-1", "class:excitatory", simulated=True)
    assert words(drawing)[:6] == [f"m{k}, NeuRN, l1" for k in range(6)]
    left, right = drawing.figure.axes
    shown = [item.get_offsets()[:, 0] for item in left.collections if isinstance(item, PathCollection)]
    assert np.allclose(shown[0], table["a_value"]) and np.allclose(shown[1], table["b_value"])
    (marks,) = (item for item in right.collections if isinstance(item, PathCollection))
    assert np.allclose(np.asarray(marks.get_offsets())[:, 0], table["difference"])
    filled = [tuple(colour[:3]) != (1.0, 1.0, 1.0) for colour in marks.get_facecolor()]
    assert filled == [True, False, False, True, False, True]


@pytest.mark.parametrize("simulated", [True, False])
def test_it_says_simulated_only_where_it_is(simulated: bool) -> None:
    drawing = compare_figure(comparison(), "a", "b", simulated=simulated)
    assert ("SIMULATED" in [text.get_text() for text in drawing.figure.texts]) == simulated


def test_cells_and_donors_of_both_sides_are_told() -> None:
    table = comparison(a_cells=90, b_cells=1500, a_donors=4, b_donors=40)
    caption = compare_figure(table, "Sst", "Vip", simulated=False).caption
    assert "Sst: cells n = 90, donors n = 4; Vip: cells n = 1,500, donors n = 40" in caption


def test_many_rows_are_cut_to_the_largest_and_the_caption_says_so() -> None:
    table = comparison(90)
    drawing = compare_figure(table, "a", "b", simulated=False)
    kept = set(table.loc[table["difference"].abs().nlargest(40).index, "model"])
    assert {name.split(",")[0] for name in words(drawing)} == kept
    assert "40 largest of 90" in drawing.caption and drawing.figure.get_figheight() <= 9.5


def test_one_metric_is_drawn_at_a_time() -> None:
    both = pd.concat([comparison(3), comparison(2, metric="kde_iou_unit")])
    assert len(words(compare_figure(both, "a", "b", simulated=False, metric="kde_iou_unit"))) >= 2
    assert compare_figure(both, "a", "b", simulated=False).name == "compare_rmse_mean"


def test_names_are_written_as_they_are() -> None:
    drawing = compare_figure(comparison(), "$a$ & <b>", "_x_", simulated=False)
    assert drawing.figure.axes[1].get_title(loc="left") == "$a$ & <b> − _x_"
    assert to_svg(drawing.figure)


@pytest.mark.parametrize("column", COMPARISON_COLUMNS)
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(DataError, match=rf"without {column} instead"):
        compare_figure(comparison().drop(columns=column), "a", "b", simulated=False)


@pytest.mark.parametrize(
    ("table", "metric"),
    [(comparison(0), None), (comparison(2), "other"), (comparison(2, difference=np.nan), "rmse_mean")],
)
def test_nothing_to_draw_is_one_clear_message(table: pd.DataFrame, metric: str | None) -> None:
    with pytest.raises(DataError, match="comparison of a with b has no scores"):
        compare_figure(table, "a", "b", simulated=False, metric=metric)


def test_kinds_of_representation_are_drawn_apart() -> None:
    both = pd.concat([comparison(3, representation="weighted"), comparison(2, representation="tuning")])
    first, other = (compare_figure(both, "a", "b", simulated=False, representation=kind) for kind in (None, "tuning"))
    assert (first.name, other.name) == ("compare_weighted_rmse_mean", "compare_tuning_rmse_mean")
    assert (len(first.figure.axes[0].get_yticklabels()), len(other.figure.axes[0].get_yticklabels())) == (3, 2)
    assert "Representation: tuning." in other.caption
    with pytest.raises(DataError, match="no scores of 'rmse_mean'"):
        compare_figure(both, "a", "b", simulated=False, representation="matched")
