"""Fetching experiments: what arrives, how a broken transfer goes on, and what is refused before it starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import allen_server
import h5py
import numpy as np
import pytest
from fetch_cases import FIRST, ONCE, PATIENT, closed_port, left_in

from alignment.brain import _allen_layout as layout
from alignment.brain import download
from alignment.brain._network import check_uri
from alignment.brain.allen.sdk_reader import load
from alignment.brain.download import Transfer, disk_need, fetch_experiments, fetch_manifests
from neural_alignment import DataError, InputError

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


@pytest.mark.oracle
def test_allensdk_finds_what_was_fetched_without_network(server: Any, tmp_path: Path) -> None:
    cache_module = load("allensdk.core.brain_observatory_cache")
    fetch_manifests(tmp_path, server.uri, cells=True, network=PATIENT)
    fetch_experiments(tmp_path, server.uri, [FIRST], network=PATIENT, bytes_per_file=1)
    cache = cache_module.BrainObservatoryCache(
        manifest_file=str(tmp_path / layout.MANIFEST), base_uri=f"http://127.0.0.1:{closed_port()}"
    )
    assert len(cache.get_experiment_containers()) == 3
    assert len(cache.get_cell_specimens()) == 4005
    assert cache.get_ophys_experiment_data(FIRST).get_metadata()["ophys_experiment_id"] == FIRST


def test_the_real_catalogue_and_a_simulated_session_by_way_of_the_observatory(
    shared_data: Path, tmp_path: Path
) -> None:
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
