"""Fetching over a network that breaks in every way the API's has been seen to break, and some more."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignment.brain import _allen_layout as layout
from alignment.brain import download
from alignment.brain._allen_records import (
    cell_record,
    container_record,
    experiment_record,
    identity,
    stimulus_mappings,
)
from alignment.brain._donors import place_of
from alignment.brain._network import check_uri
from alignment.brain._nwb_check import check_nwb
from alignment.brain.download import Network, Transfer, disk_need, fetch_experiments, fetch_manifests
from neural_alignment import DataError, InputError

_SPEC = importlib.util.spec_from_file_location("allen_server", Path(__file__).with_name("allen_server.py"))
assert _SPEC is not None and _SPEC.loader is not None
allen_server = importlib.util.module_from_spec(_SPEC)
sys.modules["allen_server"] = allen_server  # its dataclasses look themselves up
_SPEC.loader.exec_module(allen_server)

SESSIONS = [(identity(number, place_of(number)), place_of(number)) for number in range(3)]
FIRST = SESSIONS[0][0].experiment
ONCE = Network(attempts=1, pause=0.01, timeout=0.5)
PATIENT = Network(attempts=4, pause=0.01, timeout=0.5)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, small_file: Any) -> dict[int, Path]:
    """Three small NWB files, compressed so that damage within them shows."""
    folder = tmp_path_factory.mktemp("sources")
    files = {}
    for number, (who, place) in enumerate(SESSIONS):
        small = small_file(who.experiment, cells=30, trials=8, seed=number, genotype=place.genotype.full)
        loose = small.write(folder / "loose.nwb")
        files[who.experiment] = folder / f"{who.experiment}.nwb"
        with h5py.File(loose) as file, h5py.File(files[who.experiment], "w") as packed:
            file.visititems(lambda name, item, to=packed: _pack(name, item, to))
    return files


def _pack(name: str, item: Any, to: Any) -> None:
    if isinstance(item, h5py.Dataset):
        to.create_dataset(name, data=item[()], compression=1 if item.size > 100 else None)


@pytest.fixture
def server(sources: dict[int, Path]) -> Iterator[Any]:
    records = {
        "ExperimentContainer": [container_record(who, place) for who, place in SESSIONS],
        "OphysExperiment": [experiment_record(who, place) for who, place in SESSIONS],
        "ApiCamStimulusMapping": stimulus_mappings(),
        "ApiCamCellMetric": [cell_record(*SESSIONS[0], cell, {}) for cell in range(4005)],
    }
    with allen_server.AllenServer(records, sources) as running:
        running.stall_s = 5.0
        yield running


def left_in(folder: Path) -> list[str]:
    """What lies in the folder under names that anybody would take for data."""
    return sorted(path.name for path in (folder / layout.NWB_FOLDER).glob("*") if not path.name.startswith("."))


# --- The good case ---


def test_files_arrive_whole_in_allensdks_layout(server: Any, sources: dict[int, Path], tmp_path: Path) -> None:
    told: list[Transfer] = []
    paths = fetch_experiments(
        tmp_path, server.uri, list(sources), network=PATIENT, progress=told.append, bytes_per_file=1
    )
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in sources.values()]
    assert left_in(tmp_path) == sorted(f"{number}.nwb" for number in sources)
    assert not list(tmp_path.glob("**/*.part*"))
    assert told[-1].files_done == told[-1].files_total == 3
    assert told[-1].bytes_done == told[-1].bytes_total == sum(path.stat().st_size for path in sources.values())


def test_what_is_there_is_not_fetched_again(server: Any, tmp_path: Path) -> None:
    told: list[Transfer] = []
    for _ in range(2):
        fetch_experiments(tmp_path, server.uri, [FIRST, FIRST], network=PATIENT, progress=told.append, bytes_per_file=1)
    assert server.count("file") == 1
    assert told[-1].text.endswith("was there")
    assert (told[-1].files_done, told[-1].files_total) == (1, 1)


def test_allensdk_finds_what_was_fetched_without_network(server: Any, tmp_path: Path) -> None:
    cache_module = pytest.importorskip("allensdk.core.brain_observatory_cache")
    fetch_manifests(tmp_path, server.uri, cells=True, network=PATIENT)
    fetch_experiments(tmp_path, server.uri, [FIRST], network=PATIENT, bytes_per_file=1)
    cache = cache_module.BrainObservatoryCache(
        manifest_file=str(tmp_path / layout.MANIFEST), base_uri=f"http://127.0.0.1:{_closed_port()}"
    )
    assert len(cache.get_experiment_containers()) == 3
    assert len(cache.get_cell_specimens()) == 4005
    assert cache.get_ophys_experiment_data(FIRST).get_metadata()["ophys_experiment_id"] == FIRST


def test_the_real_catalogue_and_a_simulated_session_by_way_of_the_observatory(
    shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("allensdk")
    from alignment.brain.observatory import Observatory
    from alignment.brain.simulated import simulate_observatory

    made = simulate_observatory(tmp_path / "made", cells=2, trials=2, sessions=1)
    containers = json.loads((shared_data / "allen_manifests" / layout.CONTAINERS).read_text())
    containers += json.loads((made / layout.CONTAINERS).read_text())
    records = {
        "ExperimentContainer": containers,
        "OphysExperiment": [
            {**experiment, **{name: record[name] for name in ("specimen", "targeted_structure")},
             "experiment_container": {"failed": record["failed"]}}
            for record in containers
            for experiment in record["ophys_experiments"]
        ],
        "ApiCamStimulusMapping": json.loads((shared_data / "allen_manifests" / layout.MAPPINGS).read_text()),
    }  # fmt: skip
    with allen_server.AllenServer(records, {FIRST: layout.nwb_path(made, FIRST)}) as server:
        observatory = Observatory(tmp_path / "fetched", uri=server.uri)
        (path,) = observatory.fetch([FIRST])
    assert path.read_bytes() == layout.nwb_path(made, FIRST).read_bytes()
    listed = Observatory(tmp_path / "fetched").list()
    assert len(listed) == 457
    assert listed["full_genotype"].nunique() == 22
    session = Observatory(tmp_path / "fetched").session(FIRST)
    assert len(session.natural_scenes()) == 119 * 2


# --- The fault table ---


class Row(NamedTuple):
    fault: str
    ours: str
    allensdk: str


TABLE: list[Row] = []

MESSAGES = {
    "cut short, length announced": "connection broke|cut short",
    "cut short, no length announced": "cannot be read",
    "503": "503",
    "stall": "in time|connection broke",
    "slow drip": "bytes a second",
    "corrupted bytes": "cannot be read",
    "redirect loop": "in a circle",
    "connection dropped": "connection",
    "another file": "cannot be read",
}
# Left out of random runs: faults that wait for time-outs or spoil many answers, and damage, which cannot show
# if all that is left to come is a tail that no checksum covers.
_NOT_RANDOM = ("stall", "slow drip", "redirect loop", "corrupted bytes")


@pytest.mark.parametrize("fault", MESSAGES)
def test_no_fault_leaves_a_wrong_file_and_the_next_call_succeeds(
    fault: str, server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    server.fail("file", fault, times=31 if fault == "redirect loop" else 1)
    with pytest.raises(DataError, match=MESSAGES[fault]) as caught:
        fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert "run the same command" in str(caught.value)
    assert str(FIRST) in str(caught.value)
    assert left_in(tmp_path) == []
    server.heal()
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()
    TABLE.append(Row(fault, "error, nothing kept as data; next call works", _allensdk(fault, server, tmp_path / "sdk")))


@pytest.mark.parametrize("fault", [fault for fault in MESSAGES if fault != "redirect loop"])
def test_a_fault_that_passes_is_ridden_out(fault: str, server: Any, sources: dict[int, Path], tmp_path: Path) -> None:
    server.fail("file", fault, times=2)
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=PATIENT, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()


@given(faults=st.lists(st.sampled_from([fault for fault in MESSAGES if fault not in _NOT_RANDOM]), max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_run_of_passing_faults_ends_in_the_same_bytes(
    faults: list[str], server: Any, sources: dict[int, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    for fault in faults:
        server.fail("file", fault)
    patient = Network(attempts=len(faults) + 1, pause=0.001, timeout=0.5)
    folder = tmp_path_factory.mktemp("any")
    (path,) = fetch_experiments(folder, server.uri, [FIRST], network=patient, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()
    assert [name.name for name in path.parent.iterdir()] == [path.name]


def test_a_refused_connection_says_so(server: Any, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{_closed_port()}"
    with pytest.raises(DataError, match=r"no connection .* server up.*NALIGN_ALLEN_URI"):
        fetch_experiments(tmp_path, address, [FIRST], network=ONCE, bytes_per_file=1)
    assert left_in(tmp_path) == []
    fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    TABLE.append(Row("connection refused", "error, nothing kept as data; next call works", "not tried"))


def _allensdk(fault: str, server: Any, folder: Path) -> str:
    """Do the same with AllenSDK's own client and say what it leaves, and what its next call does."""
    if fault in ("stall", "slow drip"):
        return "not tried here: it waits 30 s for each piece of an answer"
    cache_module = pytest.importorskip("allensdk.core.brain_observatory_cache")
    folder.mkdir()
    cache = cache_module.BrainObservatoryCache(manifest_file=str(folder / layout.MANIFEST), base_uri=server.uri)
    server.fail("file", fault, times=31 if fault == "redirect loop" else 1)
    first = _outcome(lambda: cache.get_ophys_experiment_data(FIRST).get_dff_traces())
    server.heal()
    path = layout.nwb_path(folder, FIRST)
    kept = "file kept" if path.is_file() else "no file kept"
    second = _outcome(lambda: cache.get_ophys_experiment_data(FIRST).get_dff_traces())
    return f"{first}, {kept}; next call {second}"


def _outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:  # whatever AllenSDK, requests or h5py raise is the finding
        return f"fails ({type(error).__name__})"
    return "works"


# --- Going on where it stopped ---


def test_a_broken_transfer_goes_on_from_its_half(server: Any, sources: dict[int, Path], tmp_path: Path) -> None:
    size = sources[FIRST].stat().st_size
    server.fail("file", "cut short, length announced")
    fetch_experiments(tmp_path, server.uri, [FIRST], network=PATIENT, bytes_per_file=1)
    assert server.sent() == size
    assert [request.asked for request in server.requests if request.kind == "file"] == [
        "",
        f"bytes={size // 2}-",
    ]


def test_a_server_without_ranges_is_asked_for_all_again(sources: dict[int, Path], tmp_path: Path) -> None:
    with allen_server.AllenServer({}, sources, ranges=False) as server:
        server.fail("file", "cut short, length announced")
        (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=PATIENT, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()


def test_a_file_that_changed_between_two_attempts_is_begun_anew(
    server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    server.fail("file", "cut short, length announced")
    with pytest.raises(DataError):
        fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    newer = tmp_path / "newer.nwb"
    shutil.copyfile(sources[FIRST], newer)
    with h5py.File(newer, "r+") as file:
        file["general/notes"] = np.bytes_("processed again" * 1000)
    server.files = {FIRST: newer}
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=PATIENT, bytes_per_file=1)
    assert path.read_bytes() == newer.read_bytes()


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"url": "elsewhere", "total": 5}'])
def test_a_part_of_unknown_origin_is_not_used(note: str, server: Any, sources: dict[int, Path], tmp_path: Path) -> None:
    folder = tmp_path / layout.NWB_FOLDER
    folder.mkdir()
    (folder / f".{FIRST}.nwb.part").write_bytes(b"what is this")
    (folder / f".{FIRST}.nwb.part.json").write_text(note)
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()


def test_a_truncated_file_that_another_tool_left_is_replaced(
    server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    path = layout.nwb_path(tmp_path, FIRST)
    path.parent.mkdir()
    path.write_bytes(sources[FIRST].read_bytes()[:50_000])
    fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()


def test_one_file_that_cannot_be_had_does_not_stop_the_others(
    server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    del server.files[FIRST]
    server.files[FIRST] = tmp_path / "bad"
    (tmp_path / "bad").write_bytes(b"no NWB file")
    server.files = dict(sorted(server.files.items()))
    with pytest.raises(DataError, match=str(FIRST)):
        fetch_experiments(tmp_path, server.uri, list(sources), network=ONCE, workers=1, bytes_per_file=1)
    assert left_in(tmp_path) == sorted(f"{number}.nwb" for number in sources if number != FIRST)


# --- Processes that die, and processes that meet ---

_CHILD = """
import sys
from alignment.brain.download import Network, fetch_experiments
fetch_experiments(sys.argv[1], sys.argv[2], [int(sys.argv[3])], network=Network(pause=0.01), bytes_per_file=1)
"""


def _child(folder: Path, uri: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _CHILD, str(folder), uri, str(FIRST)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_fetch_that_is_killed_leaves_no_wrong_file(
    number: signal.Signals, server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    server.pause = 0.05
    child = _child(tmp_path, server.uri)
    part = tmp_path / layout.NWB_FOLDER / f".{FIRST}.nwb.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 40_000):
        assert child.poll() is None and time.monotonic() < deadline, child.communicate()[1].decode()
        time.sleep(0.01)
    child.send_signal(number)
    child.communicate(timeout=30)
    assert child.returncode != 0
    assert left_in(tmp_path) == []
    server.pause = 0.0
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()
    assert any(request.asked.startswith("bytes=") for request in server.requests), "it went on from the part"
    TABLE.append(
        Row(number.name, "part kept, hidden; next call goes on from it", _killed_sdk(number, server, tmp_path))
    )


_SDK_CHILD = """
import sys
from allensdk.core.brain_observatory_cache import BrainObservatoryCache
cache = BrainObservatoryCache(manifest_file=sys.argv[1], base_uri=sys.argv[2])
cache.get_ophys_experiment_data(int(sys.argv[3]))
"""


def _killed_sdk(number: signal.Signals, server: Any, folder: Path) -> str:
    """Kill AllenSDK's own client in mid-file, and say what it leaves and what its next call does."""
    cache_module = pytest.importorskip("allensdk.core.brain_observatory_cache")
    manifest = folder / "sdk" / layout.MANIFEST
    manifest.parent.mkdir()
    server.pause = 0.1
    command = [sys.executable, "-c", _SDK_CHILD, str(manifest), server.uri, str(FIRST)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    path = layout.nwb_path(manifest.parent, FIRST)
    deadline = time.monotonic() + 60
    while not path.is_file() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    child.send_signal(number)
    child.communicate(timeout=30)
    server.pause = 0.0
    kept = "file kept" if path.is_file() else "no file kept"
    cache = cache_module.BrainObservatoryCache(manifest_file=str(manifest), base_uri=server.uri)
    second = _outcome(lambda: cache.get_ophys_experiment_data(FIRST).get_dff_traces())
    return f"{kept}; next call {second}"


def test_two_processes_that_want_one_file_fetch_it_once(server: Any, sources: dict[int, Path], tmp_path: Path) -> None:
    server.pause = 0.02
    children = [_child(tmp_path, server.uri) for _ in range(2)]
    for child in children:
        errors = child.communicate(timeout=60)[1]
        assert child.returncode == 0, errors.decode()
    assert server.count("file") == 1
    assert layout.nwb_path(tmp_path, FIRST).read_bytes() == sources[FIRST].read_bytes()


_SMALL_DISK = """
import resource, sys
from alignment.brain.download import fetch_experiments
from neural_alignment import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # a write past it fails as on a full disk
try:
    fetch_experiments(sys.argv[1], sys.argv[2], [int(sys.argv[3])], bytes_per_file=1)
except DataError as error:
    print(error)
"""


def test_a_disk_that_fills_up_in_mid_file_is_named_and_the_next_call_goes_on(
    server: Any, sources: dict[int, Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _SMALL_DISK, str(tmp_path), server.uri, str(FIRST)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert f"Writing to {tmp_path} failed" in told.stdout
    assert left_in(tmp_path) == []
    (path,) = fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    assert path.read_bytes() == sources[FIRST].read_bytes()


@pytest.mark.slow
def test_allensdk_on_a_stall_gives_up_after_half_a_minute(server: Any, tmp_path: Path) -> None:
    cache_module = pytest.importorskip("allensdk.core.brain_observatory_cache")
    server.stall_s = 60.0
    server.fail("file", "stall")
    cache = cache_module.BrainObservatoryCache(manifest_file=str(tmp_path / layout.MANIFEST), base_uri=server.uri)
    before = time.monotonic()
    told = _outcome(lambda: cache.get_ophys_experiment_data(FIRST))
    print(f"AllenSDK on a stall: {told} after {time.monotonic() - before:.0f} s")
    assert told.startswith("fails")
    assert not layout.nwb_path(tmp_path, FIRST).exists()


# --- Manifests ---


def test_manifests_arrive_and_good_ones_are_kept(server: Any, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    paths = fetch_manifests(tmp_path, server.uri, cells=True, network=PATIENT, progress=lambda *news: told.append(news))
    assert [path.name for path in paths] == [
        layout.CONTAINERS, layout.EXPERIMENTS, layout.MAPPINGS, layout.CELLS,
    ]  # fmt: skip
    assert json.loads(paths[0].read_text()) == server.records["ExperimentContainer"]
    assert len(json.loads(paths[3].read_text())) == 4005  # three pages
    assert told[-1][:2] == (4, 4)
    asked = server.count("query")
    fetch_manifests(tmp_path, server.uri, cells=True, network=PATIENT)
    assert server.count("query") == asked


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no JSON", "no JSON.*Down for maintenance"),
        ("success false", "refused.*could not be executed"),
        ("503", "503"),
        ("cut short, length announced", "cut short|connection broke"),
        ("cut short, no length announced", "no JSON"),
        ("redirect loop", "in a circle"),
        ("stall", "in time|connection broke"),
    ],
)
def test_a_bad_answer_never_replaces_a_good_list(fault: str, said: str, server: Any, tmp_path: Path) -> None:
    fetch_manifests(tmp_path, server.uri, network=PATIENT)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    server.fail("query", fault, times=31 if fault == "redirect loop" else 1)
    with pytest.raises(DataError, match=said):
        fetch_manifests(tmp_path, server.uri, refresh=True, network=ONCE)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.json")} == before
    server.heal()
    server.records["ExperimentContainer"] = server.records["ExperimentContainer"][:2]
    fetch_manifests(tmp_path, server.uri, refresh=True, network=ONCE)
    assert len(json.loads((tmp_path / layout.CONTAINERS).read_text())) == 2
    if fault in ("no JSON", "success false", "503"):
        told = _sdk_list(fault, server, tmp_path / "sdk")
        TABLE.append(Row(f"list: {fault}", "error, good list stays; next call works", told))


def _sdk_list(fault: str, server: Any, folder: Path) -> str:
    cache_module = pytest.importorskip("allensdk.core.brain_observatory_cache")
    folder.mkdir()
    cache = cache_module.BrainObservatoryCache(manifest_file=str(folder / layout.MANIFEST), base_uri=server.uri)
    server.fail("query", fault)
    first = _outcome(cache.get_experiment_containers)
    server.heal()
    kept = "file kept" if (folder / layout.CONTAINERS).is_file() else "no file kept"
    return f"{first}, {kept}; next call {_outcome(cache.get_experiment_containers)}"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda records: records.clear(), "it is empty"),
        (lambda records: records[1].pop("specimen"), "record 1 has no specimen.donor.full_genotype"),
        (
            lambda records: records[0].update(targeted_structure=None),
            "record 0 has no targeted_structure.acronym",
        ),
        (lambda records: records.append("text"), "record 3 has no id"),
    ],
)
def test_a_list_of_another_form_is_refused(
    spoil: Callable[[list[Any]], Any], said: str, server: Any, tmp_path: Path
) -> None:
    spoil(server.records["ExperimentContainer"])
    with pytest.raises(DataError, match=said):
        fetch_manifests(tmp_path, server.uri, network=ONCE)
    assert not (tmp_path / layout.CONTAINERS).exists()


def test_an_error_text_that_allensdk_stored_as_a_list_is_replaced(server: Any, tmp_path: Path) -> None:
    (tmp_path / layout.CONTAINERS).write_text('"The query could not be executed"')
    fetch_manifests(tmp_path, server.uri, network=ONCE)
    assert len(json.loads((tmp_path / layout.CONTAINERS).read_text())) == 3


# --- Bad input ---


@pytest.mark.parametrize("bad", ["../../etc/passwd", -5, 0, 1.5, True, None, 10**16])
def test_bad_ids_are_refused_before_anything_is_asked(bad: Any, server: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ids"):
        fetch_experiments(tmp_path, server.uri, [bad], network=ONCE, bytes_per_file=1)
    with pytest.raises(InputError):
        fetch_experiments(tmp_path, server.uri, "123", network=ONCE, bytes_per_file=1)
    assert server.count("query") == 0


def test_an_unknown_experiment_is_named(server: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Unknown experiment 42.*observatory list"):
        fetch_experiments(tmp_path, server.uri, [42], network=ONCE, bytes_per_file=1)


@pytest.mark.parametrize("link", ["//evil.example/x", "http://evil.example/x", None, 7])
def test_a_link_that_leads_elsewhere_is_not_followed(
    link: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        allen_server, "_answer", lambda server, query: {"success": True, "msg": [{"download_link": link}]}
    )
    with pytest.raises(DataError, match="gives no address"):
        fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=1)


@pytest.mark.parametrize("uri", ["ftp://host", "api.brain-map.org", "file:///etc", "http://", "http://a?b=c"])
def test_an_address_that_is_none_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="address of the Allen API"):
        fetch_manifests(tmp_path, uri, network=ONCE)


def test_the_address_defaults_to_allensdks() -> None:
    assert check_uri(None) == check_uri(download.DEFAULT_URI + "/")
    assert check_uri("https://mirror.example/") == "https://mirror.example"


def test_real_data_never_go_into_a_simulated_observatory(server: Any, tmp_path: Path) -> None:
    (tmp_path / layout.SIMULATED).write_text("{}")
    with pytest.raises(InputError, match="simulated"):
        fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE)
    with pytest.raises(InputError, match="simulated"):
        fetch_manifests(tmp_path, server.uri, network=ONCE)


def test_a_folder_that_cannot_be_made_is_named(server: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Choose another one"):
        fetch_manifests(tmp_path / "file" / "folder", server.uri, network=ONCE)


def test_a_disk_that_is_too_small_is_told_before_the_start(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=150_000_000))
    assert disk_need(tmp_path / "new", [1, 2, 3]) == (3, 900_000_000, 150_000_000)
    with pytest.raises(DataError, match=r"2 files .* 0.2 GB.* 0.1 GB free|2 files .* 0.2 GB.* 0.2 GB free"):
        fetch_experiments(tmp_path, server.uri, list(server.files)[:2], network=ONCE)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match="this file needs"):
        fetch_experiments(tmp_path, server.uri, [FIRST], network=ONCE, bytes_per_file=0)
    assert left_in(tmp_path) == []


# --- The check ---


def test_the_check_knows_a_whole_file(sources: dict[int, Path]) -> None:
    for number, path in sources.items():
        check_nwb(path, number)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.__delitem__("general/session_id"), "session_id"),
        (lambda file: file.__delitem__("stimulus"), "stimulus"),
        (lambda file: file.__delitem__(f"{layout.PIPELINE}/Fluorescence"), "Fluorescence"),
        (
            lambda file: file[f"{layout.PIPELINE}/ImageSegmentation"].pop("cell_specimen_ids"),
            "cell_specimen_ids",
        ),
    ],
)
def test_the_check_names_what_is_missing(
    spoil: Callable[[Any], Any], said: str, sources: dict[int, Path], tmp_path: Path
) -> None:
    path = tmp_path / "spoilt.nwb"
    shutil.copyfile(sources[FIRST], path)
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(DataError, match=said):
        check_nwb(path, FIRST)


def test_the_check_refuses_another_experiments_file(sources: dict[int, Path]) -> None:
    with pytest.raises(DataError, match=f"holds experiment {FIRST}, not 42"):
        check_nwb(sources[FIRST], 42)
    with pytest.raises(DataError, match="missing"):
        check_nwb(sources[FIRST].with_name("none.nwb"), FIRST)


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- The report ---


def test_the_fault_table(capsys: pytest.CaptureFixture[str]) -> None:
    if len(TABLE) < len(MESSAGES) + 6:
        pytest.skip("the table is made from the tests above; run the whole file")
    with capsys.disabled():
        print("\n\nfault while downloading | ours | AllenSDK alone")
        for row in TABLE:
            print(" | ".join(row))
    lasting = {row.fault for row in TABLE if re.search(r"(?<!no )file kept; next call fails", row.allensdk)}
    assert {"cut short, no length announced", "corrupted bytes", "SIGKILL"} <= lasting
    assert all("next call" in row.ours for row in TABLE)
