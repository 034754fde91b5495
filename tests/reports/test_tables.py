"""The tables beside the page, as CSV and as Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports import ReportData
from reports.data import TABLES
from reports.tables import FROM_NEURONS, export_tables

# The synthetic study has no dissimilarities; their tables are written in test_sections_rsa.
HELD = [name for name in TABLES if not name.startswith("rsa")]


@pytest.fixture(scope="module")
def folder(report_data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tables")
    export_tables(report_data, target)
    return target


@pytest.mark.parametrize("name", HELD)
def test_every_table_is_written_whole(name: str, folder: Path, report_data: ReportData) -> None:
    read = pd.read_csv(folder / f"{name}.csv")
    held = report_data.table(name)
    assert len(read) == len(held) and set(held.columns) <= set(read.columns)


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("simulated", [True, False])
def test_tables_of_neurons_say_whether_they_are_simulated(
    name: str, simulated: bool, build_report: Callable[..., ReportData], tmp_path: Path
) -> None:
    kept = {name: build_report().table(name).head(3)}
    if name == "cell_scores":
        kept["cells"] = build_report().table("cells").head(3)
    gone = dict.fromkeys(set(TABLES) - set(kept))
    export_tables(build_report(**gone, **kept, architectures=None, simulated=simulated), tmp_path)
    read = pd.read_csv(tmp_path / f"{name}.csv")
    if name in FROM_NEURONS and name != "marginals":
        assert (read["simulated"] == simulated).all()
    assert sorted(path.stem for path in tmp_path.glob("*.csv")) == sorted(kept)
    binary = pd.read_parquet(tmp_path / f"{name}.parquet")
    assert list(binary.columns) == list(read.columns) and len(binary) == len(read)


def test_parquet_holds_what_the_csv_holds(folder: Path) -> None:
    names = sorted(path.stem for path in folder.glob("*.csv"))
    assert names == sorted(path.stem for path in folder.glob("*.parquet")) and "similarity" in names
    for name in names:
        text, binary = pd.read_csv(folder / f"{name}.csv"), pd.read_parquet(folder / f"{name}.parquet")
        assert list(text.columns) == list(binary.columns)
        for column in text.columns:
            if pd.api.types.is_numeric_dtype(text[column]) and pd.api.types.is_numeric_dtype(binary[column]):
                np.testing.assert_allclose(text[column], binary[column].astype(float), rtol=1e-6, err_msg=column)
            else:
                ours, theirs = (part[column].map(str).replace({"nan": "", "None": ""}) for part in (text, binary))
                assert ours.tolist() == theirs.tolist() or text[column].isna().all(), (name, column)


def test_words_beside_numbers_become_words(build_report: Callable[..., ReportData], tmp_path: Path) -> None:
    mixed = build_report().table("sessions").head(3).assign(kept=[1, "none", np.nan])
    gone = dict.fromkeys(set(TABLES) - {"sessions"})
    export_tables(build_report(**gone, sessions=mixed, architectures=None), tmp_path)
    assert pd.read_parquet(tmp_path / "sessions.parquet")["kept"].tolist()[:2] == ["1", "none"]


def test_the_simulated_quantiles_are_not_overwritten(folder: Path, report_data: ReportData) -> None:
    read = pd.read_csv(folder / "marginals.csv")
    assert read["simulated"].to_numpy() == pytest.approx(report_data.table("marginals")["simulated"].to_numpy())


def test_architectures_are_one_row_a_pair(folder: Path, report_data: ReportData) -> None:
    read = pd.read_csv(folder / "architectures.csv").set_index(["model_a", "model_b"])
    assert report_data.architectures is not None
    for a in report_data.architectures["model"].values:
        for b in report_data.architectures["other"].values:
            pair = report_data.architectures.sel(model=a, other=b)
            assert read.loc[(a, b), "score"] == int(pair["score"])
            assert read.loc[(a, b), "correlation"] == pytest.approx(float(pair["correlation"]), abs=1e-7)


def test_missing_values_and_odd_names_survive(build_report: Callable[..., ReportData], tmp_path: Path) -> None:
    names = ['a "quoted", name', "line\nbreak", "Zoë & <b>"]
    table = build_report().table("transfer").head(3).assign(model=names, n=[1, None, 3])
    gone = dict.fromkeys(set(TABLES) - {"transfer"})
    export_tables(build_report(**gone, transfer=table, architectures=None), tmp_path)
    read = pd.read_csv(tmp_path / "transfer.csv")
    assert read["model"].tolist() == names and read["n"].isna().tolist() == [False, True, False]


def test_nothing_to_write_is_an_empty_folder(build_report: Callable[..., ReportData], tmp_path: Path) -> None:
    assert export_tables(build_report(**dict.fromkeys(TABLES), architectures=None), tmp_path / "t") == []
    assert list((tmp_path / "t").iterdir()) == []
