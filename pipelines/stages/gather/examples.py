"""Samples to look at: representations, unit maps and densities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pipelines.perform import Inputs
from pipelines.stages.comparison import unit_vectors
from pipelines.stages.gather.transfer import gather_domains

__all__ = ["gather_examples"]


def gather_examples(inputs: Inputs, study: Mapping[str, Any]) -> Any:
    """Return samples of every part that the study has."""
    from reports import Examples

    maps, densities = [], []
    if "population" in inputs:
        maps, densities = _samples(inputs, study)
    return Examples(maps=maps, densities=densities, domains=gather_domains(inputs))


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
