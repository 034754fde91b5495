"""What a report shows of representational similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipelines.perform import Inputs

__all__ = ["gather_rsa"]

UNKNOWN_ORIGIN = "Unknown: the study does not declare where its similarity matrices come from ('rsa.origin')."

_PARTS = {"scores": "rsa", "best": "rsa_best", "differences": "rsa_differences", "twins": "rsa_twins"}


def gather_rsa(inputs: Inputs, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report's parts that are about dissimilarities, by the names of its fields; none without them.

    Where matrices come from is what the study declares, and otherwise unknown.
    """
    scored = [inputs[name] for name in inputs.names("rsa:")]
    if not scored:
        return {}
    parts: dict[str, Any] = {}
    for part, field in _PARTS.items():
        tables = [one[part] for one in scored if len(one[part])]
        if tables:
            parts[field] = pd.concat(tables, ignore_index=True)
    if inputs["brain_rdms"].attrs["kind"] == "matrices":
        parts["origin"] = study["rsa"]["origin"] or UNKNOWN_ORIGIN
    return parts
