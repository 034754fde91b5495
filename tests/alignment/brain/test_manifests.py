"""Fetching the catalogue: a good list is kept, a bad answer never replaces it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import allen_server
import pytest
from fetch_cases import FIRST, ONCE, PATIENT

from alignment.brain import _allen_layout as layout
from alignment.brain.allen.sdk_reader import load
from alignment.brain.download import fetch_experiments, fetch_manifests
from neural_alignment import DataError

WAITED_FOR = ("stall",)  # AllenSDK waits for minutes; its client of lists has no time-out of its own


@pytest.mark.oracle
def test_the_queries_are_allensdks_to_the_letter(server: Any, sources: dict[int, Path], tmp_path: Path) -> None:
    module = load("allensdk.core.brain_observatory_cache")
    fetch_manifests(tmp_path / "ours", server.uri, cells=True, network=ONCE)
    fetch_experiments(tmp_path / "ours", server.uri, [FIRST], network=ONCE, bytes_per_file=1)
    ours, server.queries = server.queries, []
    (tmp_path / "sdk").mkdir()
    cache = module.BrainObservatoryCache(manifest_file=str(tmp_path / "sdk" / layout.MANIFEST), base_uri=server.uri)
    cache.get_experiment_containers()
    cache.get_ophys_experiments()
    cache.get_cell_specimens()
    cache._get_stimulus_mappings()
    cache.get_ophys_experiment_data(FIRST)
    eyes = {query for query in server.queries if "EyeDlcScreenMapping" in query}  # not needed for what we read
    assert len(eyes) == 1
    assert set(ours) == set(server.queries) - eyes


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


LIST_FAULTS = {
    "no JSON": "no JSON.*Down for maintenance",
    "success false": "refused.*could not be executed",
    "503": "503",
    "cut short, length announced": "cut short|connection broke",
    "cut short, no length announced": "no JSON",
    "redirect loop": "in a circle",
    "stall": "in time|connection broke",
}


@pytest.mark.parametrize(("fault", "said"), LIST_FAULTS.items(), ids=list(LIST_FAULTS))
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


@pytest.mark.oracle
@pytest.mark.parametrize("fault", [fault for fault in LIST_FAULTS if fault not in WAITED_FOR])
def test_what_a_bad_answer_does_to_allensdk(
    fault: str, server: Any, tmp_path: Path, note_fault: Callable[..., None]
) -> None:
    told = _sdk_list(fault, server, tmp_path / "sdk")
    note_fault(f"list: {fault}", "error, good list stays; next call works", told)
    assert told.startswith("fails")
    assert ("; next call fails" in told) == (fault == "success false")


def _sdk_list(fault: str, server: Any, folder: Path) -> str:
    module = load("allensdk.core.brain_observatory_cache")
    folder.mkdir()
    cache = module.BrainObservatoryCache(manifest_file=str(folder / layout.MANIFEST), base_uri=server.uri)
    server.fail("query", fault, times=31 if fault == "redirect loop" else 1)
    first = _outcome(cache.get_experiment_containers)
    server.heal()
    kept = "file kept" if (folder / layout.CONTAINERS).is_file() else "no file kept"
    return f"{first}, {kept}; next call {_outcome(cache.get_experiment_containers)}"


def _outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:  # whatever AllenSDK or requests raise is the finding
        return f"fails ({type(error).__name__})"
    return "works"


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


@pytest.mark.parametrize(("held", "pages"), [(2000, True), (2001, True), (6000, False)])
def test_pages_that_end_evenly_or_are_none(
    held: int, pages: bool, server: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    row = server.records["ApiCamCellMetric"][0]
    server.records["ApiCamCellMetric"] = [{**row, "id": number} for number in range(held)]
    if not pages:  # a mirror that knows none sends all at once, whatever is asked
        answer = allen_server._answer
        monkeypatch.setattr(allen_server, "_answer", lambda at, query: answer(at, query.partition(",rma::options")[0]))
    fetch_manifests(tmp_path, server.uri, cells=True, network=ONCE)
    assert [record["id"] for record in json.loads((tmp_path / layout.CELLS).read_text())] == list(range(held))


def test_a_page_that_comes_again_and_again_is_no_list(server: Any, tmp_path: Path, monkeypatch: Any) -> None:
    answer = allen_server._answer
    monkeypatch.setattr(
        allen_server, "_answer", lambda at, query: answer(at, re.sub(r"start_row\$eq\d+", "start_row$eq0", query))
    )
    with pytest.raises(DataError, match=r"the same page of cell_specimens.json again and again"):
        fetch_manifests(tmp_path, server.uri, cells=True, network=ONCE)
    assert not (tmp_path / layout.CELLS).exists()


def test_an_error_text_that_allensdk_stored_as_a_list_is_replaced(server: Any, tmp_path: Path) -> None:
    (tmp_path / layout.CONTAINERS).write_text('"The query could not be executed"')
    fetch_manifests(tmp_path, server.uri, network=ONCE)
    assert len(json.loads((tmp_path / layout.CONTAINERS).read_text())) == 3
