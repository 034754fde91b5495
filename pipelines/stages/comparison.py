"""Stages that compare: a network's layers with every cell, and a layer variant with its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipelines.perform import Context, Inputs

__all__ = ["BETWEEN", "group_labels", "name_layers", "paired", "similarity", "split_groups", "unit_vectors"]

BETWEEN = "\t"  # joins a grouping and a group's name into one key; neither can hold it


def similarity(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Score every layer of one network against every group of cells; per-cell scores beside."""
    from alignment.similarity import score_layers

    neurons, layers = inputs["representations"], inputs["activations"]
    done = iter(range(1, len(layers) + 1))
    scored = score_layers(
        neurons["representation"].values.reshape(neurons.sizes["cell"], -1),
        _layers(layers, params["kind"], inputs["scenes"]),
        group_labels(neurons, params["group_by"], params["groups"]),
        metrics=tuple(params["metrics"]),
        donors=neurons["donor_id"].values,
        bootstraps=params["bootstraps"],
        seed=params["seed"],
        progress=lambda name: context.tell(next(done), len(layers), str(layers[name].attrs["layer"])),
    )
    return {
        "scores": name_layers(split_groups(scored.table), layers, params),
        "cells": name_layers(scored.cells, layers, params),
        "parameters": scored.parameters,
    }


def paired(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Difference of a layer variant and its reference (the baseline), cell by cell, per layer and group of cells.

    Layers pair by position: a layer in front of the network is none of the network's own.
    """
    from alignment.similarity import paired_differences

    del context
    neurons = inputs["representations"]
    baseline, variant = inputs["baseline"]["cells"], inputs["variant"]["cells"]
    table = paired_differences(
        baseline,
        variant,
        group_labels(neurons, params["group_by"], params["groups"]),
        donors=neurons["donor_id"].values,
        by=("layer_index",),
        bootstraps=params["bootstraps"],
        permutations=params["permutations"],
        seed=params["seed"],
    )
    table = split_groups(table.rename(columns={"baseline": "baseline_value", "variant": "variant_value"}))
    names = variant.drop_duplicates("layer_index").set_index("layer_index")["layer"]
    table.insert(0, "model", params["model"])
    table.insert(1, "layer_variant", params["layer_variant"])
    table.insert(2, "reference", params.get("reference", "baseline"))
    table.insert(3, "layer", table["layer_index"].map(names))
    table.insert(4, "representation", params["kind"])
    return table


def group_labels(
    neurons: xr.Dataset, group_by: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, np.ndarray]:
    """Return the cells of each group, all cells first, by the key ``group_by<tab>group``.

    Parameters
    ----------
    neurons : xarray.Dataset
        With cells' coordinates.
    group_by : sequence of str
        Coordinates; several together are joined by ``+``.
    groups : mapping of str to sequence of str, optional
        Groups that the study's sessions belong to, by grouping: one that has lost all its cells is there, empty.
    """
    from alignment.brain import group_cells

    found = {f"all{BETWEEN}all": np.arange(neurons.sizes["cell"])}
    for by in group_by:
        found |= {f"{by}{BETWEEN}{group}": index for group, index in group_cells(neurons, tuple(by.split("+"))).items()}
        for group in (groups or {}).get(by, ()):
            found.setdefault(f"{by}{BETWEEN}{group}", np.empty(0, dtype=np.int64))
    return found


def unit_vectors(layer: xr.Dataset, kind: str, scenes: xr.Dataset) -> np.ndarray:
    """Represent a layer's units as the neurons are represented, each scaled to [0, 1]: (unit, d)."""
    from alignment.brain import scale_unit, weighted_images

    if kind == "weighted":
        vectors = layer["unit_map"].values
    elif kind == "tuning":
        vectors = layer["unit_response"].values.T
    else:
        height, width = layer.sizes["y"], layer.sizes["x"]
        vectors = weighted_images(layer["unit_response"].values.T, scenes[f"scenes_{height}x{width}"].values)
    scaled, _ = scale_unit(vectors.reshape(len(vectors), -1), axis=1)
    return np.asarray(scaled)


def _layers(layers: Mapping[str, xr.Dataset], kind: str, scenes: xr.Dataset) -> Iterator[tuple[str, np.ndarray]]:
    for name in sorted(layers):
        yield name, unit_vectors(layers[name], kind, scenes)


def split_groups(table: pd.DataFrame) -> pd.DataFrame:
    """Part the keys of :func:`group_labels` into the columns ``group_by`` and ``group``."""
    pairs = table["group"].str.split(BETWEEN, n=1, expand=True)
    table = table.assign(group=pairs[1])
    table.insert(table.columns.get_loc("group"), "group_by", pairs[0])
    return table


def name_layers(table: pd.DataFrame, layers: Mapping[str, xr.Dataset], params: Mapping[str, Any]) -> pd.DataFrame:
    """Put in front what the rows belong to; layers come in under their number in the network."""
    table = table.rename(columns={"layer": "layer_index"})
    numbers = table.pop("layer_index")
    names = {
        "model": params["model"],
        "layer_variant": params["layer_variant"],
        "neurn": params.get("neurn", params["layer_variant"] == "neurn"),
        "twin": params.get("twin", False),
        "layer": numbers.map({name: str(layer.attrs["layer"]) for name, layer in layers.items()}),
        "layer_index": numbers.astype(int),
        "representation": params["kind"],
    }
    for position, (name, value) in enumerate(names.items()):
        table.insert(position, name, value)
    return table
