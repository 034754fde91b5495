"""Where things lie in an observatory's folder and in its NWB files: AllenSDK's cache layout, in one place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = [
    "CELLS",
    "CONTAINERS",
    "DEMIXED",
    "EXPERIMENTS",
    "MANIFEST",
    "MANIFEST_VERSION",
    "MAPPINGS",
    "NWB_FOLDER",
    "PIPELINE",
    "SIMULATED",
    "manifest",
    "nwb_path",
    "write_json",
]

MANIFEST = "manifest.json"
CONTAINERS = "experiment_containers.json"
EXPERIMENTS = "ophys_experiments.json"
CELLS = "cell_specimens.json"
MAPPINGS = "stimulus_mappings.json"
SIMULATED = "SIMULATED.json"
NWB_FOLDER = "ophys_experiment_data"

PIPELINE = "processing/brain_observatory_pipeline"
DEMIXED = f"{PIPELINE}/Fluorescence/imaging_plane_1_demixed_signal"

MANIFEST_VERSION = "1.3"
_FILES = {
    "EXPERIMENT_CONTAINERS": CONTAINERS,
    "EXPERIMENTS": EXPERIMENTS,
    "EXPERIMENT_DATA": f"{NWB_FOLDER}/%d.nwb",
    "ANALYSIS_DATA": "ophys_experiment_analysis/%d_%s_analysis.h5",
    "EVENTS_DATA": "ophys_experiment_events/%d_events.npz",
    "CELL_SPECIMENS": CELLS,
    "STIMULUS_MAPPINGS": MAPPINGS,
    "EYE_GAZE_DATA": "ophys_eye_gaze_mapping/%d_eyetracking_dlc_to_screen_mapping.h5",
}


def manifest() -> dict[str, Any]:
    """Return the manifest that tells AllenSDK's BrainObservatoryCache where its files lie."""
    entries: list[dict[str, str]] = [
        {"type": "manifest_version", "value": MANIFEST_VERSION},
        {"key": "BASEDIR", "type": "dir", "spec": "."},
    ]
    entries += [{"key": key, "type": "file", "spec": spec, "parent_key": "BASEDIR"} for key, spec in _FILES.items()]
    return {"manifest": entries}


def nwb_path(folder: Path, experiment_id: int) -> Path:
    """Return where AllenSDK looks for an experiment's NWB file."""
    return folder / NWB_FOLDER / f"{int(experiment_id)}.nwb"


def write_json(path: Path, value: Any) -> None:
    """Write JSON to a temporary name beside ``path``, then rename: a reader sees the old file or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1)
            stream.write("\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
