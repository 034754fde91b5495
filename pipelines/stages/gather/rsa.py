"""What a report shows of representational similarity."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipelines.perform import Inputs

__all__ = ["MATRICES_ORIGIN", "gather_rsa"]

MATRICES_ORIGIN = (
    "Similarity matrices of populations of cells by area and cortical layer, real recordings of mouse visual cortex: "
    "two-photon calcium imaging from the Allen Brain Observatory, Visual Coding (© Allen Institute for Brain Science, "
    "https://observatory.brain-map.org/visualcoding), reliable cells, trial averages, as computed and published in "
    "DeepMouseTrap (C. Conwell and colleagues, https://github.com/ColinConwell/DeepMouseTrap). Cite both."
)

_PARTS = {"scores": "rsa", "best": "rsa_best", "differences": "rsa_differences", "twins": "rsa_twins"}


def gather_rsa(inputs: Inputs) -> dict[str, Any]:
    """Return the report's parts that are about dissimilarities, by the names of its fields; none without them."""
    scored = [inputs[name] for name in inputs.names("rsa:")]
    if not scored:
        return {}
    parts: dict[str, Any] = {}
    for part, field in _PARTS.items():
        tables = [one[part] for one in scored if len(one[part])]
        if tables:
            parts[field] = pd.concat(tables, ignore_index=True)
    brain = inputs["brain_rdms"]
    if brain.attrs["kind"] == "matrices":
        parts["origin"] = MATRICES_ORIGIN
    return parts
