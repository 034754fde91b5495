"""``nalign observatory``: list in three forms, check a file, simulate."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

FIRST, SECOND = 501498760, 501498761


def test_list_prints_rows_and_counts(nalign, observatory: Path) -> None:
    result = nalign("observatory", "list", "--folder", observatory)
    assert result.code == 0
    for words in (str(FIRST), str(SECOND), "Cux2-3", "Sst-1", "area (2): VISl 1, VISp 1", "2 experiments"):
        assert words in result.out


def test_list_as_csv_and_json_is_the_same_table(nalign, observatory: Path) -> None:
    comma = nalign("observatory", "list", "--folder", observatory, "--format", "csv")
    listed = nalign("observatory", "list", "--folder", observatory, "--format", "json")
    table, records = pd.read_csv(io.StringIO(comma.out)), json.loads(listed.out)
    assert table["experiment_id"].tolist() == [FIRST, SECOND] == [row["experiment_id"] for row in records]
    assert list(table.columns) == list(records[0])
    assert {"area", "cre_line", "genotype", "full_genotype", "depth_um", "neuron_class", "donor_id"} <= set(records[0])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--area", "VISp"], [FIRST]),
        (["--area", "VISp", "--area", "VISl"], [FIRST, SECOND]),
        (["--class", "inhibitory"], [SECOND]),
        (["--genotype", "Sst-1"], [SECOND]),
        (["--cre-line", "Cux2"], [FIRST]),
        (["--depth", "200", "300"], [FIRST, SECOND]),
    ],
)
def test_filters(nalign, observatory: Path, options: list[str], found: list[int]) -> None:
    result = nalign("observatory", "list", "--folder", observatory, "--format", "json", *options)
    assert [row["experiment_id"] for row in json.loads(result.out)] == found


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--area", "VISpp"], 2, "Did you mean 'VISp'"),
        (["--class", "exitatory"], 2, "Did you mean 'excitatory'"),
        (["--area", "VISam"], 1, "VISam"),
    ],
)
def test_filters_that_find_nothing_are_told(
    nalign, observatory: Path, options: list[str], code: int, told: str
) -> None:
    result = nalign("observatory", "list", "--folder", observatory, *options)
    assert result.code == code and told in result.message


def test_the_folder_is_asked_for_or_comes_from_the_environment(nalign, observatory: Path, tmp_path: Path) -> None:
    missing = nalign("observatory", "list")
    assert missing.code == 2
    assert "--folder" in missing.message and "NALIGN_OBSERVATORY" in missing.message
    assert "nalign observatory simulate" in missing.message
    assert nalign("observatory", "list", env={"NALIGN_OBSERVATORY": str(observatory)}).code == 0
    empty = nalign("observatory", "list", "--folder", tmp_path)
    assert empty.code == 1 and str(tmp_path) in empty.message


def test_simulate_writes_what_list_reads(nalign, tmp_path: Path) -> None:
    folder = tmp_path / "simulated"
    made = nalign("observatory", "simulate", folder, "--cells", 2, "--trials", 2, "--sessions", 1)
    assert made.code == 0 and f"1 simulated sessions in {folder}" in made.out
    listed = nalign("observatory", "list", "--folder", folder, "--format", "json")
    assert len(json.loads(listed.out)) == 1
    assert (folder / "SIMULATED.json").is_file()


def test_simulate_overwrites_nothing(nalign, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = nalign("observatory", "simulate", tmp_path, "--cells", 2, "--trials", 2, "--sessions", 1)
    assert result.code in (1, 2) and str(tmp_path) in result.message
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("option", "value"), [("--cells", 0), ("--trials", 0), ("--sessions", 0), ("--seed", -1)])
def test_a_size_that_cannot_be_is_told(nalign, tmp_path: Path, option: str, value: int) -> None:
    result = nalign("observatory", "simulate", tmp_path / "simulated", option, value)
    assert result.code == 2 and option in result.err and "Traceback" not in result.err
    assert not (tmp_path / "simulated").exists()


class TestCheck:
    def test_both_readers_read_by_read(self, nalign, observatory: Path) -> None:
        from alignment.brain.allen.sdk_reader import why_not

        path = observatory / "ophys_experiment_data" / f"{FIRST}.nwb"
        result = nalign("observatory", "check", path)
        assert result.code == 0, result.err
        rows = {line.split("  ")[0].strip(): line.split()[-1] for line in result.out.splitlines()}
        reads = ("metadata", "session type", "dF/F", "dF/F of some cells", "corrected fluorescence", "natural scenes")
        assert {rows[name] for name in reads} == {"-" if why_not() else "yes"}
        assert f"Experiment {FIRST}" in result.out

    def test_without_allensdk_its_licence_is_told(self, nalign, observatory: Path, monkeypatch) -> None:
        monkeypatch.setattr("alignment.brain.allen.agreement.why_not", lambda: "AllenSDK is not installed")
        result = nalign("observatory", "check", observatory / "ophys_experiment_data" / f"{FIRST}.nwb")
        assert result.code == 0
        assert "2-clause BSD plus a clause that prohibits redistribution for commercial purposes" in result.out

    def test_what_is_no_whole_file_fails_in_one_sentence(self, nalign, observatory: Path, tmp_path: Path) -> None:
        bad = tmp_path / "5.nwb"
        bad.write_bytes((observatory / "ophys_experiment_data" / f"{FIRST}.nwb").read_bytes()[:5000])
        for path, said in ((bad, "is no NWB file"), (tmp_path / "none.nwb", "is missing")):
            result = nalign("observatory", "check", path)
            assert result.code == 1 and said in result.message


def test_list_takes_a_reader_where_files_speak_for_themselves(nalign, observatory: Path, monkeypatch) -> None:
    monkeypatch.setattr("alignment.brain.allen.sdk_reader.why_not", lambda: "AllenSDK is not installed")
    folder = observatory / "ophys_experiment_data"
    assert str(FIRST) in nalign("observatory", "list", "--folder", folder, "--reader", "own").out
    result = nalign("observatory", "list", "--folder", folder, "--reader", "allensdk")
    assert result.code == 2 and "AllenSDK is not installed" in result.message
