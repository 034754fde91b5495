"""The last stage: gather a study's tables and examples, and write the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from pipelines.perform import Context, Inputs
from pipelines.stages.comparison import unit_vectors

__all__ = ["report"]

SIMULATED_ORIGIN = (
    "The neurons are SIMULATED: Gabor energy units with divisive normalisation, written in the Allen Institute's file "
    "formats. They show that the analysis works; they say nothing about mice."
)
ALLEN_ORIGIN = (
    "Two-photon calcium imaging from the Allen Brain Observatory, Visual Coding "
    "(© Allen Institute for Brain Science, https://observatory.brain-map.org/visualcoding)."
)


def report(inputs: Inputs, params: Mapping[str, Any], context: Context, folder: Path) -> None:
    """Write ``report.html``, ``report.pdf``, ``figures/`` and ``tables/`` into ``folder``."""
    from reports import ReportData, write_report

    study = params["study"]
    aligned = "population" in inputs
    simulated = aligned and bool(inputs["population"]["responses"].attrs["simulated"])
    context.tell(0, 3, "tables")
    parts = _alignment(inputs, study) if aligned else {}
    transfer = _transfer(inputs)
    context.tell(1, 3, "examples")
    data = ReportData(
        name=study["name"],
        title=study["title"],
        sentence=_sentence(study, parts, transfer),
        simulated=simulated,
        origin=(SIMULATED_ORIGIN if simulated else ALLEN_ORIGIN) if aligned else "",
        study_yaml=yaml.safe_dump(study, sort_keys=False, allow_unicode=True, width=100),
        command="nalign run study.yaml",
        transfer=transfer,
        examples=_examples(inputs, study),
        architectures=inputs["architectures"]["similarity"] if "architectures" in inputs else None,
        provenance=_provenance(inputs),
        **parts,
    )
    context.tell(2, 3, "pages")
    write_report(data, folder)


def _alignment(inputs: Inputs, study: Mapping[str, Any]) -> dict[str, Any]:
    population = inputs["population"]
    responses = population["responses"]
    scored = [inputs[name] for name in inputs.names("similarity:")]
    paired = [inputs[name] for name in inputs.names("paired:")]
    cell_scores = pd.concat([part["cells"] for part in scored], ignore_index=True)
    kinds = study["representations"]["kinds"]
    return {
        "similarity": pd.concat([part["scores"] for part in scored], ignore_index=True),
        "paired": pd.concat(paired, ignore_index=True) if paired else None,
        "cells": _cells(responses, inputs[f"representations:{kinds[0]}"]),
        "cell_scores": cell_scores,
        "sessions": _sessions(population["quality"]),
        "embedding": population.get("embedding"),
        "marginals": _marginals(inputs["resemblance"]) if "resemblance" in inputs else None,
        "notes": _notes(responses, population["quality"]),
    }


def _cells(responses: xr.Dataset, representations: xr.Dataset) -> pd.DataFrame:
    """Return one row a cell, with the peak response to its best scene (% dF/F) and when it comes."""
    names = ("cell_specimen_id", "experiment_id", "donor_id", "area", "cre_line", "genotype", "full_genotype")
    names += ("depth_um", "cortical_layer", "neuron_class", "reliability", "responsive_p")
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
        notes.append(f"{missing} trials of a cell have no value and count in no mean.")
    if "selection_note" in responses.attrs:
        notes.append(str(responses.attrs["selection_note"]))
    return notes


def _transfer(inputs: Inputs) -> pd.DataFrame | None:
    rows = [inputs[name]["row"] for name in inputs.names("evaluate:")]
    return pd.concat(rows, ignore_index=True) if rows else None


def _sentence(study: Mapping[str, Any], parts: Mapping[str, Any], transfer: pd.DataFrame | None) -> str:
    models = ", ".join(model["label"] or model["name"] for model in study["models"])
    variants = " and ".join(_variant(name) for name in study["layer_variants"])
    said = [f"{models}, {variants}"]
    if parts:
        cells = parts["cells"]
        said.append(
            f"beside {len(cells):,} cells of {cells['area'].nunique()} visual areas and "
            f"{cells['genotype'].nunique()} genotypes"
        )
    if transfer is not None:
        sources, targets = study["transfer"]["sources"], study["transfer"]["targets"]
        said.append(f"trained on {', '.join(sources)} and tested on {', '.join(targets)}")
    return "; ".join(said) + "."


def _variant(name: str) -> str:
    return {"baseline": "without a layer in front", "neurn": "with NeuRN"}.get(name, f"with {name}")


def _examples(inputs: Inputs, study: Mapping[str, Any]) -> Any:
    from reports import Examples

    maps, densities = [], []
    if "population" in inputs:
        maps, densities = _samples(inputs, study)
    return Examples(maps=maps, densities=densities, domains=_domains(inputs))


def _samples(inputs: Inputs, study: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return sample representations and unit maps, and the densities of the best and worst of many pairs."""
    kind = study["representations"]["kinds"][0]
    neurons = inputs[f"representations:{kind}"]
    first = inputs.names("activations:")[0]
    layers = inputs[first]
    name = sorted(layers)[len(layers) // 2]
    units = unit_vectors(layers[name], kind, inputs["scenes"])
    layer = str(layers[name].attrs["layer"])
    rng = np.random.default_rng(study["seed"])
    maps = _maps(neurons, units, layers[name], layer) if kind != "tuning" else []
    return maps, _densities(neurons, units, f"{first.split(':')[1]} {layer}", rng)


def _maps(neurons: xr.Dataset, units: np.ndarray, layer: xr.Dataset, label: str) -> list[Any]:
    from reports import MapExample

    reliability = neurons["reliability"].values
    classes = neurons["neuron_class"].values
    images = neurons["representation"].values
    found = []
    for wanted in ("excitatory", "inhibitory"):
        own = np.flatnonzero((classes == wanted) & np.isfinite(reliability))
        for cell in own[np.argsort(reliability[own])[::-1][:4]]:
            words = f"{neurons['area'].values[cell]}, {neurons['genotype'].values[cell]}"
            found.append(MapExample(images[cell], words, "neuron", wanted))
    spread = np.argsort(units.std(axis=1))[::-1]
    for unit in spread[np.linspace(0, len(spread) // 2, 8).astype(int)]:
        image = units[unit].reshape(layer.sizes["y"], layer.sizes["x"])
        found.append(MapExample(image, f"{label}, unit {unit}", "unit"))
    return found


def _densities(neurons: xr.Dataset, units: np.ndarray, label: str, rng: np.random.Generator) -> list[Any]:
    from alignment.similarity import kde_densities, kde_iou
    from reports import DensityPair

    vectors = neurons["representation"].values.reshape(neurons.sizes["cell"], -1)
    good = np.flatnonzero(~neurons["degenerate"].values.astype(bool))
    alive = np.flatnonzero(units.std(axis=1) > 0)
    if not len(good) or not len(alive):
        return []
    cells, chosen = rng.choice(good, 400), rng.choice(alive, 400)
    scores = np.asarray(kde_iou(vectors[cells], units[chosen]))
    order = np.argsort(scores)
    found = []
    for position, best in [*((p, True) for p in order[::-1][:3]), *((p, False) for p in order[:3])]:
        cell, unit = cells[position], chosen[position]
        drawn = kde_densities(vectors[cell], units[unit])
        found.append(
            DensityPair(
                x=drawn.x,
                neuron=drawn.a,
                unit=drawn.b,
                iou=float(drawn.iou),
                best=best,
                neuron_label=f"{neurons['area'].values[cell]}, {neurons['genotype'].values[cell]}",
                unit_label=f"{label}, unit {unit}",
                neuron_class=str(neurons["neuron_class"].values[cell]),
            )
        )
    return found


def _domains(inputs: Inputs, shown: int = 8) -> list[Any]:
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


def _provenance(inputs: Inputs) -> list[dict[str, Any]]:
    """Return one row a stage: how many results, how long they took together, and on what."""
    rows: dict[str, dict[str, Any]] = {}
    for name in inputs.names():
        told = inputs.provenance(name)
        row = rows.setdefault(
            told["stage"],
            {
                "stage": told["stage"],
                "version": told["stage_version"],
                "results": 0,
                "seconds": 0.0,
                "device": told.get("device", "cpu"),
                "packages": told["packages"],
                "neural_alignment": told["neural_alignment"],
            },
        )
        row["results"] += 1
        row["key"] = inputs.key(name) if row["results"] == 1 else None
        row["seconds"] = round(row["seconds"] + told["seconds"], 1)
    return list(rows.values())
