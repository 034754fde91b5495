"""What a report shows of domain transfer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipelines.perform import Inputs

__all__ = ["gather_domains", "gather_transfer"]


def gather_transfer(inputs: Inputs) -> pd.DataFrame | None:
    """Return the transfer table, a row a run, or None where nothing was trained."""
    rows = [inputs[name]["row"] for name in inputs.names("evaluate:")]
    return pd.concat(rows, ignore_index=True) if rows else None


def gather_domains(inputs: Inputs, shown: int = 8) -> list[Any]:
    """Return a few images of each target as they are, and as NeuRN gives them to the network."""
    import torch

    from alignment.models import NeuRN
    from reports import DomainImages

    found = []
    for name in inputs.names("domain:"):
        data = inputs[name]
        labels = data["labels"].values
        first = [int(np.flatnonzero(labels == value)[0]) for value in np.unique(labels)[:shown]]
        images = data["images"].values[first]
        with torch.no_grad():
            seen = NeuRN()(torch.from_numpy(images).float() / 255).numpy()
        words = [str(data.attrs["classes"][label]) for label in labels[first]]
        found.append(
            DomainImages(name.partition(":")[2], images.transpose(0, 2, 3, 1), seen.transpose(0, 2, 3, 1), words)
        )
    return found
