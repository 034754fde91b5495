"""The survey's lists from the API: how they are asked for, and what makes one valid."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from alignment.brain import _allen_layout as layout
from alignment.brain._network import Network, attempt, read_json
from alignment.brain.allen.bucket import is_bucket
from neural_alignment import DataError

__all__ = ["LISTS", "ask", "fetch_list", "file_query", "is_valid"]

_PAGE = 2000
# The queries are AllenSDK's own, to the letter: what a mirror answers to it, it answers to us.
_ALL = ",rma::options[num_rows$eq'all'][count$eqfalse]"
_QUERIES = {
    layout.CONTAINERS: (
        "model::ExperimentContainer,rma::include,ophys_experiments,isi_experiment,"
        "specimen(donor(conditions,age,transgenic_lines)),targeted_structure"
    ),
    layout.EXPERIMENTS: (
        "model::OphysExperiment,rma::include,experiment_container,well_known_files(well_known_file_type),"
        "targeted_structure,specimen(donor(age,transgenic_lines))"
    ),
    layout.MAPPINGS: "model::ApiCamStimulusMapping",
    layout.CELLS: "model::ApiCamCellMetric",
}
LISTS = tuple(_QUERIES)
"""The lists' file names in AllenSDK's cache layout."""

# What every record of a list must have for AllenSDK and the catalogue to read it; dots lead into records.
_REQUIRED = {
    layout.CONTAINERS: (
        "id",
        "failed",
        "imaging_depth",
        "targeted_structure.acronym",
        "specimen.donor.full_genotype",
        "specimen.donor.transgenic_lines",
        "ophys_experiments",
    ),
    layout.EXPERIMENTS: (
        "id",
        "experiment_container_id",
        "stimulus_name",
        "imaging_depth",
        "targeted_structure.acronym",
        "specimen.donor.transgenic_lines",
        "experiment_container.failed",
    ),
    layout.MAPPINGS: ("item", "item_type", "level"),
    layout.CELLS: ("cell_specimen_id", "experiment_container_id"),
}


def fetch_list(
    session: requests.Session, base: str, name: str, network: Network, stop: threading.Event
) -> list[dict[str, Any]]:
    """Ask for one list, of an API in pages where it is long, and check it."""
    if is_bucket(base):
        url = f"{base}/{name}"
        return _checked(attempt(name, base, network, stop, lambda: read_json(session, url, network, stop)), name, base)
    paged = name == layout.CELLS
    records: list[dict[str, Any]] = []
    while True:
        query = _QUERIES[name]
        if paged:
            query += f",rma::options[num_rows$eq{_PAGE}][start_row$eq{len(records)}]"
            query += "[order$eq'cell_specimen_id'][count$eqfalse]"
        else:
            query += _ALL
        page = ask(session, base, query, name, network, stop)
        if records and page == records[: len(page)] and page:
            raise DataError(f"{base} sends the same page of {name} again and again. Is it an Allen API? Check --uri.")
        records += page
        # A mirror that knows no pages sends more than one at once: all there are.
        if not paged or len(page) != _PAGE:
            break
    return _checked(records, name, base)


def _checked(records: Any, name: str, base: str) -> list[dict[str, Any]]:
    fault = _fault(records, name)
    if fault:
        raise DataError(
            f"{base} sent no valid {name}: {fault}. Nothing was replaced. Check NALIGN_ALLEN_URI, or try again later."
        )
    return list(records)


def file_query(experiment_id: int) -> str:
    """Return the query for the address of an experiment's NWB file."""
    wanted = f"[attachable_id$eq{experiment_id}],well_known_file_type[name$eqNWBOphys]"
    return f"model::WellKnownFile,rma::criteria,{wanted}{_ALL}"


def ask(
    session: requests.Session, base: str, query: str, what: str, network: Network, stop: threading.Event
) -> list[Any]:
    """Ask the API and return the records it answers with; ``what`` names them in messages."""
    url = f"{base}/api/v2/data/query.json?q={quote(query, safe=':,$')}"
    reply = attempt(what, base, network, stop, lambda: read_json(session, url, network, stop))
    if not isinstance(reply, dict) or not isinstance(reply.get("msg"), list) or reply.get("success") is not True:
        said = reply.get("msg") if isinstance(reply, dict) else reply
        raise DataError(
            f"{base} refused to give {what}: {str(said)[:200]!r}. Nothing was replaced. Check that "
            "NALIGN_ALLEN_URI names an Allen API, or try again later."
        )
    return list(reply["msg"])


def _fault(records: Any, name: str) -> str:
    """Say what makes a list invalid, or nothing."""
    if not isinstance(records, list) or not records:
        return "it is empty" if isinstance(records, list) else "it is no list"
    for number, record in enumerate(records):
        for field in _REQUIRED[name]:
            value: Any = record
            for step in field.split("."):
                if not isinstance(value, dict) or step not in value:
                    return f"its record {number} has no {field}"
                value = value[step]
    return ""


def is_valid(path: Path, name: str) -> bool:
    """Whether a stored list is there and whole."""
    try:
        return not _fault(json.loads(path.read_text(encoding="utf-8")), name)
    except (OSError, ValueError):
        return False
