"""``nalign observatory``: fetching from a server of the API's kind, listing, simulating."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alignment.brain import _allen_layout as layout
from alignment.brain._network import Network
from alignment.brain.observatory import Observatory

ROOT = Path(__file__).resolve().parents[3]
_SPEC = importlib.util.spec_from_file_location(
    "allen_server_of_commands", ROOT / "tests" / "alignment" / "brain" / "allen_server.py"
)
assert _SPEC is not None and _SPEC.loader is not None
allen_server = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = allen_server  # its dataclasses look themselves up
_SPEC.loader.exec_module(allen_server)

Nalign = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, nalign: Nalign) -> Path:
    """Three simulated sessions, by the command."""
    folder: Path = tmp_path_factory.mktemp("commands") / "made"
    result = nalign("observatory", "simulate", folder, "--cells", 2, "--trials", 2, "--sessions", 3)
    assert result.code == 0, result.err
    assert result.out == f"3 simulated sessions in {folder}\n"
    return folder


@pytest.fixture(scope="module")
def ids(made: Path) -> list[int]:
    return sorted(int(path.stem) for path in (made / layout.NWB_FOLDER).glob("*.nwb"))


@pytest.fixture
def server(made: Path, ids: list[int]) -> Iterator[Any]:
    models = {
        "ExperimentContainer": layout.CONTAINERS, "OphysExperiment": layout.EXPERIMENTS,
        "ApiCamStimulusMapping": layout.MAPPINGS, "ApiCamCellMetric": layout.CELLS,
    }  # fmt: skip
    records = {model: json.loads((made / name).read_text()) for model, name in models.items()}
    with allen_server.AllenServer(records, {number: layout.nwb_path(made, number) for number in ids}) as running:
        running.stall_s = 3.0
        yield running


@pytest.fixture
def fetch(nalign: Nalign, server: Any, tmp_path: Path) -> Nalign:
    """``fetch(*options)`` into ``tmp_path / "there"`` from the server."""

    def call(*options: object, **more: Any) -> Any:
        return nalign("observatory", "fetch", "--folder", tmp_path / "there", "--uri", server.uri, *options, **more)

    return call


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt at each transfer."""
    from alignment.brain import download

    monkeypatch.setattr(download, "Network", lambda: Network(attempts=1, pause=0.01, timeout=1.0))


class Terminal(io.StringIO):
    """A person's answer at a terminal."""

    def isatty(self) -> bool:
        return True


def held(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / layout.NWB_FOLDER).glob("[0-9]*.nwb"))


# --- fetch ---


def test_a_fetch_says_what_it_needs_and_what_came(fetch: Nalign, made: Path, ids: list[int], tmp_path: Path) -> None:
    there = tmp_path / "there"
    result = fetch()
    assert result.code == 0, result.err
    assert f"3 experiments chosen, 0 of them in {there} already." in result.out
    assert "To fetch: 3 files of 100 to 400 MB, about 900.0 MB together. Free on the disk: " in result.out
    assert result.out.splitlines()[-1].startswith("Fetched 3 files (")
    assert result.out.splitlines()[-1].endswith(f"3 of 3 experiments in {there}")
    assert "3/3 files" in result.err.splitlines()[-1]
    assert held(there) == ids
    assert layout.nwb_path(there, ids[0]).read_bytes() == layout.nwb_path(made, ids[0]).read_bytes()
    assert Observatory(there).session(ids[0]).experiment_id == ids[0]


def test_the_second_fetch_has_nothing_to_do(fetch: Nalign, server: Any, tmp_path: Path) -> None:
    assert fetch().code == 0
    before = server.count("file"), server.count("query")
    result = fetch()
    assert result.code == 0
    assert "3 of them in" in result.out and "To fetch" not in result.out
    assert result.out.splitlines()[-1] == f"Nothing fetched; 3 of 3 experiments in {tmp_path / 'there'}"
    assert (server.count("file"), server.count("query")) == before
    assert fetch("--refresh").code == 0
    assert server.count("query") == before[1] + 3
    assert server.count("file") == before[0]


def test_a_dry_run_fetches_the_catalogue_alone(fetch: Nalign, server: Any, tmp_path: Path) -> None:
    result = fetch("--dry-run")
    assert result.code == 0
    assert "To fetch: 3 files" in result.out and "Fetched" not in result.out
    assert server.count("file") == 0
    assert len(Observatory(tmp_path / "there").list()) == 3


def test_filters_and_numbers_choose(fetch: Nalign, ids: list[int], tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert fetch("--experiment", ids[0], "--experiment", ids[0]).code == 0
    assert held(there) == ids[:1]
    table = Observatory(there).list()
    genotype = table.set_index("experiment_id").loc[ids[1], "genotype"]
    chosen = table.loc[table["genotype"] == genotype, "experiment_id"]
    assert fetch("--genotype", genotype, "--workers", 1).code == 0
    assert held(there) == sorted({ids[0], *chosen})


def test_cell_metrics_come_when_asked_for(fetch: Nalign, ids: list[int], tmp_path: Path) -> None:
    assert fetch("--experiment", ids[0], "--cells").code == 0
    assert "reliability_ns" in Observatory(tmp_path / "there").session(ids[0]).cells


def test_list_fetches_the_catalogue_when_asked_to(nalign: Nalign, server: Any, tmp_path: Path) -> None:
    there = tmp_path / "there"
    empty = nalign("observatory", "list", "--folder", there)
    assert empty.code == 1 and f"'nalign observatory list --refresh --folder {there}'" in empty.message
    assert server.count("query") == 0
    listed = nalign("observatory", "list", "--refresh", "--folder", there, "--uri", server.uri)
    assert listed.code == 0 and "3 experiments, 0 with their NWB file" in listed.out
    asked = server.count("query")
    assert nalign("observatory", "list", "--folder", there, "--uri", server.uri).out == listed.out
    assert server.count("query") == asked and server.count("file") == 0


def test_the_address_and_the_folder_come_from_the_environment(nalign: Nalign, server: Any, tmp_path: Path) -> None:
    env = {"NALIGN_ALLEN_URI": server.uri, "NALIGN_OBSERVATORY": str(tmp_path / "there")}
    assert nalign("observatory", "fetch", "--dry-run", env=env).code == 0
    assert nalign("observatory", "list", env=env).code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--experiment", "7"], "Unknown experiment 7"),
        (["--experiment", "-7"], "integer ≥ 1 as 'nalign observatory list' shows it. Got '-7'"),
        (["--experiment", "../../etc/passwd"], "must be an experiment's number, an integer ≥ 1"),
        (["--experiment", "0"], "Got '0'"),
        (["--experiment", "1e3"], "Got '1e3'"),
        (["--experiment", "٣"], "integer ≥ 1"),
        (["--area", "VISq"], "Did you mean 'VIS"),
        (["--cre-line", "Cuxx2"], "Did you mean 'Cux2"),
        (["--genotype", "Cux2"], "is ambiguous: the line has Cux2-1, Cux2-2, Cux2-3"),
        (["--experiment", "7", "--area", "VISp"], "exclude each other"),
        (["--experiment", "7", "--session", "three_session_A"], "exclude each other"),
        (["--experiment", "7", "--include-failed"], "exclude each other"),
        (["--class", "inhibitory", "--cre-line", "Cux2"], "exclude each other"),
        (["--depth", "400", "300"], "a pair (lowest, highest) in this order"),
        (["--depth", "-1", "300"], "≥ 0"),
        (["--session", "three_session_D"], "Unknown session type 'three_session_D'"),
        (["--uri", "ftp://host"], "address of the Allen API"),
    ],
)
def test_bad_requests_end_with_two(options: list[str], said: str, fetch: Nalign, server: Any, tmp_path: Path) -> None:
    result = fetch(*options)
    assert result.code == 2
    assert said in result.message
    assert server.count("file") == 0


@pytest.mark.parametrize("options", [["--depth", "shallow", "300"], ["--workers", "0"], ["--session"]])
def test_bad_usage_ends_with_two(options: list[str], fetch: Nalign, server: Any) -> None:
    assert fetch(*options).code == 2
    assert server.count("query") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--experiment", "7"], "Unknown experiment 7"),
        (["--area", "VISq"], "Did you mean 'VIS"),
        (["--class", "inhibitory", "--cre-line", "Cux2"], "exclude each other"),
    ],
)
def test_a_catalogue_at_hand_refuses_before_the_server_is_asked(
    options: list[str], said: str, fetch: Nalign, server: Any, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    shutil.copy(made / layout.CONTAINERS, tmp_path / "there")
    result = fetch(*options)
    assert result.code == 2
    assert said in result.message
    assert server.count("query") == 0


def test_a_dry_run_with_a_catalogue_needs_no_server(nalign: Nalign, made: Path, tmp_path: Path) -> None:
    shutil.copy(made / layout.CONTAINERS, tmp_path)
    result = nalign("observatory", "fetch", "--folder", tmp_path, "--uri", "http://127.0.0.1:9", "--dry-run")
    assert result.code == 0
    assert "To fetch: 3 files" in result.out


def test_files_without_a_catalogue_refuse_nothing(fetch: Nalign, ids: list[int], made: Path, tmp_path: Path) -> None:
    place = layout.nwb_path(tmp_path / "there", ids[0])
    place.parent.mkdir(parents=True)
    shutil.copy(layout.nwb_path(made, ids[0]), place)
    assert fetch("--experiment", ids[1]).code == 0
    assert held(tmp_path / "there") == ids[:2]


def test_a_damaged_catalogue_is_fetched_anew(fetch: Nalign, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / layout.CONTAINERS).write_text('"The query could not be executed"')
    assert fetch("--dry-run").code == 0
    assert len(Observatory(tmp_path / "there").list()) == 3


def test_no_folder_no_fetch(nalign: Nalign) -> None:
    result = nalign("observatory", "fetch")
    assert result.code == 2
    assert "--folder DIR or set NALIGN_OBSERVATORY" in result.message


def test_real_data_never_join_simulated_ones(nalign: Nalign, made: Path, server: Any) -> None:
    result = nalign("observatory", "fetch", "--folder", made, "--uri", server.uri)
    assert result.code == 2
    assert "simulated observatory" in result.message


@pytest.mark.parametrize("answer", ["n\n", "y\n"])
def test_a_terminal_is_asked_before_several_files(
    answer: str, fetch: Nalign, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    result = fetch()
    assert "Fetch them?" in result.out
    if answer == "n\n":
        assert result.code == 1 and server.count("file") == 0
        assert result.out.endswith("Nothing was fetched.\n")
    else:
        assert result.code == 0 and server.count("file") == 3


@pytest.mark.parametrize("options", [["--yes"], ["--experiment"]])
def test_yes_and_a_single_file_ask_nothing(
    options: list[str], fetch: Nalign, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    result = fetch(*options, *(ids[:1] if options == ["--experiment"] else []))
    assert result.code == 0
    assert "Fetch them?" not in result.out


@pytest.mark.parametrize(
    ("free", "options", "code"),
    [(200_000_000, [], 1), (200_000_000, ["--yes"], 1), (500_000_000, [], 1), (500_000_000, ["--yes"], 0)],
)
def test_a_small_disk_is_told_before_the_start(
    free: int, options: list[str], code: int, fetch: Nalign, server: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    result = fetch(*options)
    assert result.code == code
    assert server.count("file") == (0 if code else 3)
    if code:
        assert "is too small: 3 files need about 900.0 MB, and" in result.message
        assert ("--yes tries" in result.message) == (free == 500_000_000)


@pytest.mark.usefixtures("impatient")
def test_what_came_is_said_when_one_file_cannot_be_had(fetch: Nalign, server: Any, tmp_path: Path) -> None:
    server.fail("file", "corrupted bytes")
    result = fetch("--workers", 1)
    assert result.code == 1
    assert "run the same command" in result.message
    assert result.out.splitlines()[-1].endswith(f"2 of 3 experiments in {tmp_path / 'there'}")
    assert fetch().code == 0
    assert len(held(tmp_path / "there")) == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["503", "no JSON", "success false", "connection dropped"])
def test_a_catalogue_that_cannot_be_had_is_one_message(fault: str, fetch: Nalign, server: Any, tmp_path: Path) -> None:
    server.fail("query", fault)
    result = fetch("--dry-run")
    assert result.code == 1
    assert server.uri in result.message
    assert fetch("--dry-run").code == 0


def test_ctrl_c_is_one_message_and_the_next_fetch_goes_on(
    fetch: Nalign, server: Any, ids: list[int], tmp_path: Path
) -> None:
    there = tmp_path / "there"
    server.pause = 0.02
    command = [
        sys.executable, "-m", "pipelines.cli", "observatory", "fetch", "--folder", str(there), "--uri", server.uri,
        "--experiment", str(ids[0]),
    ]  # fmt: skip
    child = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    part = there / layout.NWB_FOLDER / f".{ids[0]}.nwb.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 200_000):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=30)[1]
    assert child.returncode == 130
    assert said == "error: Interrupted. What was finished is kept; the same command goes on from there.\n"
    assert held(there) == []
    server.pause = 0.0
    assert fetch("--experiment", ids[0]).code == 0
    assert any(request.asked.startswith("bytes=") for request in server.requests)


# --- list ---


@pytest.fixture(scope="module")
def manifests(shared_data: Path) -> Path:
    return shared_data / "allen_manifests"


def test_the_real_catalogue_as_json(nalign: Nalign, manifests: Path) -> None:
    result = nalign("observatory", "list", "--folder", manifests, "--format", "json")
    rows = json.loads(result.out)
    assert len(rows) == 456
    assert {"cre_line", "genotype", "depth_um", "cortical_layer", "neuron_class", "donor_id"} < set(rows[0])
    assert [len({row[name] for row in rows}) for name in ("genotype", "cre_line", "area")] == [22, 13, 6]


def test_filters_count_as_the_flat_list_does(nalign: Nalign, manifests: Path) -> None:
    flat = pd.read_csv(manifests / "ophys_experiments_flat.csv")
    flat = flat[~flat["container_failed"] & (flat["session_type"] == "three_session_B")]
    for options, wanted in (
        (["--cre-line", "Cux2"], flat["cre_line"] == "Cux2-CreERT2"),
        (["--area", "VISl", "--area", "VISrl"], flat["targeted_structure"].isin(["VISl", "VISrl"])),
        (["--class", "inhibitory"], flat["cre_line"].str.match("Pvalb|Sst|Vip")),
        (["--depth", "300", "400"], flat["imaging_depth"].between(300, 400)),
    ):  # fmt: skip
        result = nalign("observatory", "list", "--folder", manifests, "--format", "csv", *options)
        assert sorted(pd.read_csv(io.StringIO(result.out))["experiment_id"]) == sorted(flat.loc[wanted, "id"])


def test_a_table_is_whole_on_a_narrow_pipe(nalign: Nalign, manifests: Path) -> None:
    result = nalign("observatory", "list", "--folder", manifests, columns=40)
    lines = result.out.splitlines()
    assert lines[0].split() == [
        "experiment_id", "donor_id", "area", "cre_line", "genotype", "depth_um", "cortical_layer", "neuron_class",
    ]  # fmt: skip
    assert all(len(line.split()) == 8 for line in lines[1:457])
    assert [line.split(":")[0] for line in lines[457:462]] == [
        "area (6)", "cre_line (13)", "genotype (22)", "cortical_layer (4)", "neuron_class (2)",
    ]  # fmt: skip
    assert lines[462:] == ["456 experiments, 0 with their NWB file in the folder"]
    assert "…" not in result.out


def test_cells_are_counted_where_their_metrics_are_at_hand(nalign: Nalign, made: Path, tmp_path: Path) -> None:
    result = nalign("observatory", "list", "--folder", made)
    metrics = pd.DataFrame(json.loads((made / layout.CELLS).read_text()))
    low = int((metrics["p_ns"] < 0.05).sum())
    assert f"cells (6, by the API's metrics): 6 saw natural scenes, {low} of them with p_ns < 0.05" in result.out
    listed = json.loads(nalign("observatory", "list", "--folder", made, "--format", "json").out)
    chosen = [row["experiment_container_id"] for row in listed if row["genotype"] == listed[0]["genotype"]]
    one = nalign("observatory", "list", "--folder", made, "--genotype", listed[0]["genotype"])
    assert f"cells ({metrics['experiment_container_id'].isin(chosen).sum()}, by the API's metrics)" in one.out
    (tmp_path / layout.CONTAINERS).write_text((made / layout.CONTAINERS).read_text())
    assert "API's metrics" not in nalign("observatory", "list", "--folder", tmp_path).out
    (tmp_path / layout.CELLS).write_text('[{"cell_specimen_id": 1, "p_ns": 0.2}]')
    assert "API's metrics" not in nalign("observatory", "list", "--folder", tmp_path).out


def test_an_unknown_name_suggests_the_closest(nalign: Nalign, manifests: Path) -> None:
    result = nalign("observatory", "list", "--folder", manifests, "--area", "VISpp")
    assert result.code == 2
    assert "Did you mean 'VISp'?" in result.message


def test_simulating_into_a_full_folder_is_refused(nalign: Nalign, made: Path) -> None:
    result = nalign("observatory", "simulate", made, "--sessions", 1)
    assert result.code == 2
    assert str(made) in result.message
