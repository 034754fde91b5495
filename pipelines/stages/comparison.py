"""Stages that compare: a network's layers with every cell, and a layer variant with its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipelines.perform import Context, Inputs

__all__ = ["group_labels", "paired", "similarity", "unit_vectors"]

_BETWEEN = "\t"  # joins a grouping and a group's name into one key; neither can hold it


def similarity(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Score every layer of one network against every group of cells; per-cell scores beside."""
    from alignment.similarity import score_layers

    neurons, layers = inputs["representations"], inputs["activations"]
    done = iter(range(1, len(layers) + 1))
    scored = score_layers(
        neurons["representation"].values.reshape(neurons.sizes["cell"], -1),
        _layers(layers, params["kind"], inputs["scenes"]),
        group_labels(neurons, params["group_by"]),
        metrics=tuple(params["metrics"]),
        donors=neurons["donor_id"].values,
        bootstraps=params["bootstraps"],
        seed=params["seed"],
        progress=lambda name: context.tell(next(done), len(layers), str(layers[name].attrs["layer"])),
    )
    return {
        "scores": _named(_split_groups(scored.table), layers, params),
        "cells": _named(scored.cells, layers, params),
        "parameters": scored.parameters,
    }


def paired(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Difference of a layer variant and the baseline, cell by cell, per layer and group of cells.

    Layers pair by position: a layer in front of the network is none of the network's own.
    """
    from alignment.similarity import paired_differences

    del context
    neurons = inputs["representations"]
    baseline, variant = inputs["baseline"]["cells"], inputs["variant"]["cells"]
    table = paired_differences(
        baseline,
        variant,
        group_labels(neurons, params["group_by"]),
        donors=neurons["donor_id"].values,
        by=("layer_index",),
        bootstraps=params["bootstraps"],
        permutations=params["permutations"],
        seed=params["seed"],
    )
    table = _split_groups(table.rename(columns={"baseline": "baseline_value", "variant": "variant_value"}))
    names = variant.drop_duplicates("layer_index").set_index("layer_index")["layer"]
    table.insert(0, "model", params["model"])
    table.insert(1, "layer_variant", params["layer_variant"])
    table.insert(2, "layer", table["layer_index"].map(names))
    table.insert(3, "representation", params["kind"])
    return table


def group_labels(neurons: xr.Dataset, group_by: list[str]) -> dict[str, np.ndarray]:
    """Return the cells of each group, all cells first, by the key ``group_by<tab>group``."""
    from alignment.brain import group_cells

    groups = {f"all{_BETWEEN}all": np.arange(neurons.sizes["cell"])}
    for by in group_by:
        groups |= {f"{by}{_BETWEEN}{group}": index for group, index in group_cells(neurons, by).items()}
    return groups


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


def _split_groups(table: pd.DataFrame) -> pd.DataFrame:
    pairs = table["group"].str.split(_BETWEEN, n=1, expand=True)
    table = table.assign(group=pairs[1])
    table.insert(table.columns.get_loc("group"), "group_by", pairs[0])
    return table


def _named(table: pd.DataFrame, layers: Mapping[str, xr.Dataset], params: Mapping[str, Any]) -> pd.DataFrame:
    """Put in front what the rows belong to; layers come in under their number in the network."""
    table = table.rename(columns={"layer": "layer_index"})
    numbers = table.pop("layer_index")
    names = {
        "model": params["model"],
        "layer_variant": params["layer_variant"],
        "neurn": params.get("neurn", params["layer_variant"] == "neurn"),
        "layer": numbers.map({name: str(layer.attrs["layer"]) for name, layer in layers.items()}),
        "layer_index": numbers.astype(int),
        "representation": params["kind"],
    }
    for position, (name, value) in enumerate(names.items()):
        table.insert(position, name, value)
    return table
