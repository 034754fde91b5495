"""How a report's results came to be: one row for every stage behind it, near or far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.perform import Inputs

__all__ = ["gather_provenance"]


def gather_provenance(inputs: Inputs) -> list[dict[str, Any]]:
    """Return one row a stage, from the first data to the last scores.

    Each says how many results there are, the seeds that they were made with, how long they took together, on what
    device and with which packages; ``key`` is there where the stage has one result.
    """
    rows: dict[str, dict[str, Any]] = {}
    for key, told in inputs.lineage():
        row = rows.setdefault(
            told["stage"],
            {
                "stage": told["stage"],
                "version": told["stage_version"],
                "results": 0,
                "seconds": 0.0,
                "device": [],
                "seed": set(),
                "packages": told["packages"],
                "neural_alignment": told["neural_alignment"],
            },
        )
        row["results"] += 1
        row["key"] = key if row["results"] == 1 else None
        row["seconds"] = round(row["seconds"] + told["seconds"], 1)
        device = told.get("device", "cpu")
        row["device"] += [] if device in row["device"] else [device]
        row["seed"] |= set(_seeds(told["params"]))
    for row in rows.values():
        row["device"] = ", ".join(row["device"])
        row["seed"] = ", ".join(map(str, sorted(row["seed"]))) or None
    return list(rows.values())


def _seeds(params: Mapping[str, Any]) -> Iterator[int]:
    """Yield every seed among a task's parameters, at any depth."""
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _seeds(value)
        elif name == "seed" and value is not None:
            yield int(value)
