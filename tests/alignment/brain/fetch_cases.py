"""What the tests of fetching share: three sessions, two degrees of patience, and what lies in a folder after."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py

from alignment.brain import _allen_layout as layout
from alignment.brain._allen_records import (
    cell_record,
    container_record,
    experiment_record,
    identity,
    stimulus_mappings,
)
from alignment.brain._donors import place_of
from alignment.brain.download import Network

SESSIONS = [(identity(number, place_of(number)), place_of(number)) for number in range(3)]
FIRST = SESSIONS[0][0].experiment
ONCE = Network(attempts=1, pause=0.01, timeout=0.5)
PATIENT = Network(attempts=4, pause=0.01, timeout=0.5)
ROOT = Path(__file__).resolve().parents[3]

_CHILD = """
import sys
from alignment.brain.download import Network, fetch_experiments
fetch_experiments(sys.argv[1], sys.argv[2], [int(sys.argv[3])], network=Network(pause=0.01), bytes_per_file=1)
"""


def records() -> dict[str, list[dict[str, Any]]]:
    """What the API answers about the three sessions."""
    return {
        "ExperimentContainer": [container_record(who, place) for who, place in SESSIONS],
        "OphysExperiment": [experiment_record(who, place) for who, place in SESSIONS],
        "ApiCamStimulusMapping": stimulus_mappings(),
        "ApiCamCellMetric": [cell_record(*SESSIONS[0], cell, {}) for cell in range(4005)],
    }


def write_sources(folder: Path, small_file: Any) -> dict[int, Path]:
    """Write three small NWB files, compressed so that damage within them shows."""
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


def left_in(folder: Path) -> list[str]:
    """What lies in the folder under names that anybody would take for data."""
    return sorted(path.name for path in (folder / layout.NWB_FOLDER).glob("*") if not path.name.startswith("."))


def fetching_process(folder: Path, uri: str) -> subprocess.Popen[bytes]:
    """Start a process that fetches the first experiment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _CHILD, str(folder), uri, str(FIRST)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
