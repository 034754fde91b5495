"""The door: tables are checked once, completed, and never changed for the caller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from neural_alignment import DataError
from reports import DensityPair, Examples, MapExample, ReportData
from reports.data import TABLES


def data(**parts: Any) -> ReportData:
    plain: dict[str, Any] = {"name": "a", "title": "A", "sentence": "S.", "study_yaml": "", "command": ""}
    return ReportData(simulated=True, **(plain | parts))


def smallest(name: str, rows: int = 2) -> pd.DataFrame:
    return pd.DataFrame({column: np.zeros(rows) for column in TABLES[name].required})


@pytest.mark.parametrize("name", [name for name in TABLES if name != "cell_scores"])
def test_every_table_is_completed_with_its_optional_columns(name: str) -> None:
    given = smallest(name)
    held = data(**{name: given}).table(name)
    assert set(TABLES[name].required) | set(TABLES[name].optional) <= set(held.columns)
    assert list(given.columns) == list(TABLES[name].required), "the caller's table was changed"


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in TABLES for column in TABLES[name].required])
def test_a_table_without_a_needed_column_is_refused_by_name(name: str, column: str) -> None:
    with pytest.raises(DataError, match=rf"report's {name} table .* without {column} instead"):
        data(**{name: smallest(name).drop(columns=column)})


def test_extra_columns_are_kept() -> None:
    frame = smallest("sessions").assign(stationary_share=0.5)
    assert data(sessions=frame).table("sessions")["stationary_share"].tolist() == [0.5, 0.5]


def test_layers_without_a_number_are_numbered_in_the_order_they_appear() -> None:
    frame = smallest("similarity", 5).assign(model=list("aaabb"), layer=["x", "y", "x", "y", "z"])
    assert data(similarity=frame).table("similarity")["layer_index"].tolist() == [0, 1, 0, 0, 1]


def test_layers_with_a_number_keep_it() -> None:
    frame = smallest("similarity", 3).assign(layer=["x", "y", "z"], layer_index=[4, 2, 0])
    assert data(similarity=frame).table("similarity")["layer_index"].tolist() == [4, 2, 0]


@pytest.mark.parametrize("position", [-1, 2, 50])
def test_scores_of_cells_that_do_not_exist_are_refused(position: int) -> None:
    scores = smallest("cell_scores").assign(cell=[0, position])
    with pytest.raises(DataError, match=r"rows of its cells table, 0 to 1\. Got"):
        data(cells=smallest("cells"), cell_scores=scores)


def test_scores_of_cells_that_exist_are_taken() -> None:
    held = data(cells=smallest("cells"), cell_scores=smallest("cell_scores").assign(cell=[0, 1]))
    assert held.has("cell_scores")


def test_missing_and_empty_parts_are_alike() -> None:
    none, empty = data(), data(transfer=smallest("transfer", 0), examples=Examples())
    for held in (none, empty):
        assert not held.has("transfer") and not held.has("examples") and not held.has("maps")
        assert not held.has_neurons
        assert len(held.table("transfer")) == 0 and "accuracy" in held.table("transfer").columns


def test_examples_are_parts_of_their_own() -> None:
    curve = np.ones(4)
    maps = data(examples=Examples(maps=[MapExample(np.ones((2, 2)), "a", "neuron")]))
    pairs = data(examples=Examples(densities=[DensityPair(curve, curve, curve, 1.0, True, "a", "b")]))
    assert maps.has("maps") and maps.has("examples") and not maps.has("densities") and maps.has_neurons
    assert pairs.has("densities") and not pairs.has("maps") and pairs.has_neurons
