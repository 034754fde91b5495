"""The survey's lists as they are stored: read from JSON, whatever lies in their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from alignment.brain import _allen_layout as layout
from alignment.brain.catalogue import CELL_METRICS
from neural_alignment import DataError

__all__ = ["Records", "cell_metrics", "containers_path", "read_records"]

Records = list[dict[str, Any]]


def read_records(path: Path, keep: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> Records:
    """Read one of the API's lists from its JSON file, of each record only what `keep` returns."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"), object_hook=keep)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON: {error}. It is damaged or was cut short: delete it and fetch the "
            "manifests again with 'nalign observatory fetch'."
        ) from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        shown = repr(records)[:80]
        raise DataError(
            f"{path} must hold a list of records, but holds {shown}. An error of the server was stored in its place, "
            "or the file is of another kind: delete it and fetch the manifests again with 'nalign observatory fetch'."
        )
    return records


def containers_path(folder: Path) -> Path:
    """Return where the list of experiment containers lies: where AllenSDK's manifest says, if there is one.

    Raises
    ------
    DataError
        If the manifest is none, or of another version than AllenSDK's last.
    """
    manifest = folder / layout.MANIFEST
    if not manifest.is_file():
        return folder / layout.CONTAINERS
    remedy = "Move it away and fetch the manifests again; NWB files beside it are kept."
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["manifest"]
        places = {entry["key"]: entry for entry in entries if entry["type"] in ("dir", "file")}
        versions = [entry["value"] for entry in entries if entry["type"] == "manifest_version"]
        path = _resolve(places, "EXPERIMENT_CONTAINERS", folder.resolve())
    except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise DataError(
            f"{manifest} is not a manifest of AllenSDK ({type(error).__name__}: {error}). {remedy}"
        ) from error
    if versions != [layout.MANIFEST_VERSION]:
        version = versions[-1] if versions else None
        raise DataError(
            f"{manifest} is of version {version!r}; {layout.MANIFEST_VERSION!r} can be read. "
            f"{remedy} If the folder is not yours, link its {layout.NWB_FOLDER} and {layout.CONTAINERS} into "
            "one of your own."
        )
    return path


def _resolve(places: dict[str, dict[str, Any]], key: str, folder: Path) -> Path:
    """Return the path of an entry, which may lie in another entry's; the outermost lie in the manifest's folder."""
    entry = places[key]
    parent = entry.get("parent_key")
    return (_resolve(places, parent, folder) if parent else folder) / str(entry["spec"])


@lru_cache(maxsize=2)
def cell_metrics(path: Path, changed: int, size: int) -> pd.DataFrame | None:
    """Read the metrics once in a process: the real file has 63,000 records, each session needs a few.

    The time and size of the file tell a new one from the one that was read.
    """
    del changed, size
    wanted = ("cell_specimen_id", "experiment_container_id", *CELL_METRICS)
    records = read_records(path, lambda record: {name: record[name] for name in wanted if name in record})
    if not records:
        return None
    table = pd.DataFrame(records)
    if "cell_specimen_id" not in table:
        raise DataError(f"{path} has no cell_specimen_id: it is no table of cell metrics. Delete it and fetch again.")
    return table.drop_duplicates("cell_specimen_id").set_index("cell_specimen_id")
