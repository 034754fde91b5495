"""What a report shows of neurons and their comparison with networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipelines.perform import Inputs

__all__ = ["gather_alignment"]

_NULL = ("null_mean", "null_low", "null_high", "p", "q")
_NO_SHUFFLES = "the study asks for no shuffled scenes (controls.shuffled_scenes)"
_LAST = ("n_cells", "n_donors", "n_units", "resampled", "reason", "note")


def gather_alignment(inputs: Inputs, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report's parts that are about neurons, by the names of its fields."""
    population = inputs["population"]
    responses = population["responses"]
    scored = [inputs[name] for name in inputs.names("similarity:")]
    twins = [inputs[name]["scores"] for name in inputs.names("twin:")]
    paired = [inputs[name] for name in inputs.names("paired:")]
    claims = [inputs[name]["claims"] for name in inputs.names("claims:")]
    cell_scores = pd.concat([part["cells"] for part in scored], ignore_index=True)
    kinds = study["representations"]["kinds"]
    return {
        "similarity": _similarity(pd.concat([*(part["scores"] for part in scored), *twins], ignore_index=True), inputs),
        "ceilings": _ceilings(inputs),
        "claims": pd.concat(claims, ignore_index=True) if claims else None,
        "paired": pd.concat(paired, ignore_index=True) if paired else None,
        "cells": _cells(responses, inputs[f"representations:{kinds[0]}"]),
        "cell_scores": cell_scores,
        "sessions": _sessions(population["quality"]),
        "embedding": population.get("embedding"),
        "marginals": _marginals(inputs["resemblance"]) if "resemblance" in inputs else None,
        "notes": _notes(responses, population["quality"]),
    }


def _similarity(scores: pd.DataFrame, inputs: Inputs) -> pd.DataFrame:
    """Put beside every score its ceiling, the score as a part of it, and its shuffled-scene null."""
    from alignment.similarity import CEILING_KINDS, normalise

    places = ["representation", "group_by", "group", "metric"]
    ceilings = _ceilings(inputs)[[*places, "ceiling", "reason"]].rename(columns={"reason": "ceiling_reason"})
    # A ceiling that is there needs no reason; that it has no interval is told in its own table.
    ceilings["ceiling_reason"] = ceilings["ceiling_reason"].where(ceilings["ceiling"].isna(), "")
    table = scores.merge(ceilings, how="left", on=places, validate="many_to_one")
    table["normalised"] = np.nan
    for metric, kind in CEILING_KINDS.items():
        rows = table["metric"] == metric
        table.loc[rows, "normalised"] = normalise(table.loc[rows, "value"], table.loc[rows, "ceiling"], kind)
    own = ["model", "layer_variant", "twin", "layer_index", *places]
    parts = [inputs[name] for name in inputs.names("null:")]
    if parts:
        null = pd.concat(parts, ignore_index=True).drop(columns=["neurn", "layer"])
        table = table.merge(null, how="left", on=own, validate="many_to_one")
        reason = np.where(table["twin"], "shuffled for the trained network alone", "this score was not shuffled")
        table["null_reason"] = table["null_reason"].where(table["null_reason"].notna(), reason)
        empty = table["null_reason"].eq("") & table["value"].isna()
        table["null_reason"] = table["null_reason"].where(~empty, table["reason"])
    else:
        table = table.assign(**dict.fromkeys(_NULL, np.nan), n_shuffles=0, null_reason=_NO_SHUFFLES)
    return table[[*(name for name in table if name not in _LAST), *_LAST]]


def _ceilings(inputs: Inputs) -> pd.DataFrame:
    return pd.concat([inputs[name]["groups"] for name in inputs.names("ceiling:")], ignore_index=True)


def _cells(responses: xr.Dataset, representations: xr.Dataset) -> pd.DataFrame:
    """Return one row a cell: its peak response to its best scene (% dF/F), when it comes, and the API's metrics."""
    from alignment.brain.catalogue import CELL_METRICS
    from alignment.brain.responses import CELL_COORDINATES

    # A metric that the API gives of none of these cells says nothing.
    given = [name for name in CELL_METRICS if name in responses.coords and responses[name].notnull().any()]
    names = (*CELL_COORDINATES, "reliability", "responsive_p", *given)
    table = pd.DataFrame({name: responses[name].values for name in names if name in responses.coords})
    peaks = responses["peak"].values
    best = np.argmax(np.where(np.isfinite(peaks), peaks, -np.inf), axis=1)
    rows = np.arange(len(best))
    percent = 100.0 if responses.attrs["units"] == "dF/F" else 1.0
    table["preferred_scene"] = best
    table["peak"] = percent * peaks[rows, best]
    table["time_to_peak"] = responses["time_to_peak"].values[rows, best]
    table["degenerate"] = representations["degenerate"].values
    return table


def _marginals(resemblance: pd.DataFrame) -> pd.DataFrame:
    """Return the statistics that are known of real cells too, named with their units."""
    units = {"response": "response, %", "deviation": "deviation, %", "robust deviation": "robust deviation, %"}
    both = resemblance.dropna(subset=["real"])
    return both.assign(quantity=both["statistic"].replace(units)).drop(columns="statistic")


def _sessions(quality: pd.DataFrame) -> pd.DataFrame:
    """Return the counts of each session that a reader looks for; columns of zeros say nothing and stay out."""
    names = ["experiment_id", "area", "genotype", "depth_um", "cells", "reliable_cells", "responsive_cells"]
    names += ["median_reliability", "missing_trials"]
    told = ("dropped_nan", "dropped_constant", "moving_trials", "without_reliability")
    return quality[[*names, *(name for name in told if quality[name].any())]]


def _notes(responses: xr.Dataset, quality: pd.DataFrame) -> list[str]:
    notes = []
    for column, reason in (
        ("dropped_nan", "the trace holds no numbers"),
        ("dropped_constant", "the trace is flat"),
    ):
        dropped = int(quality[column].sum())
        if dropped:
            cells = "1 cell was" if dropped == 1 else f"{dropped} cells were"
            notes.append(f"{cells} left out because {reason}.")
    missing = int(quality["missing_trials"].sum())
    if missing:
        notes.append(f"{missing:,} trials of a cell have no value and count in no mean.")
    moving = int(quality["moving_trials"].sum())
    if moving:
        notes.append(f"{moving:,} presentations were left out because the mouse moved, or its speed is not known.")
    if "selection_note" in responses.attrs:
        notes.append(str(responses.attrs["selection_note"]))
    return notes
