"""Stages that compare: a network's layers with every cell, and a layer variant with its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipelines.perform import Context, Inputs

__all__ = ["paired", "similarity"]


def similarity(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, pd.DataFrame]:
    """Score every layer of one network against every group of cells; per-cell scores beside."""
    from alignment.similarity import score_groups

    neurons = inputs["representations"]
    vectors = _flat(neurons["representation"].values)
    labels = group_labels(neurons, params["group_by"])
    donors = neurons["donor_id"].values
    images = inputs["scenes"]
    tables, cells = [], []
    layers = inputs["activations"]
    for done, name in enumerate(sorted(layers)):
        layer = layers[name]
        context.tell(done, len(layers), str(layer.attrs["layer"]))
        units = unit_vectors(layer, params["kind"], images)
        scored = score_groups(
            vectors,
            units,
            {"\t".join(key): index for key, index in labels.items()},
            metrics=tuple(params["metrics"]),
            donors=donors,
            bootstraps=params["bootstraps"],
            seed=params["seed"],
        )
        tables.append(_named(_split_groups(scored.table), layer, params))
        cells.append(_named(scored.cells, layer, params))
    return {"scores": pd.concat(tables, ignore_index=True), "cells": pd.concat(cells, ignore_index=True)}


def paired(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Difference of a layer variant and the baseline, cell by cell, per layer and group of cells."""
    from alignment.similarity import paired_differences

    neurons = inputs["representations"]
    labels = {"\t".join(key): index for key, index in group_labels(neurons, params["group_by"]).items()}
    baseline, variant = inputs["baseline"]["cells"], inputs["variant"]["cells"]
    tables = []
    layers = list(dict.fromkeys(variant["layer_index"]))
    for done, index in enumerate(layers):
        context.tell(done, len(layers), "")
        # Layers pair by position: the layer in front adds a prefix to module names but no layer of its own.
        ours, theirs = variant[variant["layer_index"] == index], baseline[baseline["layer_index"] == index]
        table = paired_differences(
            theirs,
            ours,
            labels,
            donors=neurons["donor_id"].values,
            bootstraps=params["bootstraps"],
            permutations=params["permutations"],
            seed=params["seed"],
        )
        table = _split_groups(table)
        table.insert(0, "layer", ours["layer"].iloc[0])
        table.insert(1, "layer_index", index)
        tables.append(table)
    result = pd.concat(tables, ignore_index=True)
    result.insert(0, "model", params["model"])
    result.insert(1, "layer_variant", params["layer_variant"])
    result.insert(2, "representation", params["kind"])
    return result


def group_labels(neurons: xr.Dataset, group_by: list[str]) -> dict[tuple[str, str], np.ndarray]:
    """Return the cells of each group, by (group_by, group)."""
    from alignment.brain import group_cells

    return {(by, group): index for by in group_by for group, index in group_cells(neurons, by).items()}


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
    scaled, _ = scale_unit(_flat(vectors), axis=1)
    return scaled


def _flat(vectors: np.ndarray) -> np.ndarray:
    return vectors.reshape(len(vectors), -1)


def _split_groups(table: pd.DataFrame) -> pd.DataFrame:
    pairs = table["group"].str.split("\t", n=1, expand=True)
    table = table.assign(group=pairs[1])
    table.insert(table.columns.get_loc("group"), "group_by", pairs[0])
    return table


def _named(table: pd.DataFrame, layer: xr.Dataset, params: Mapping[str, Any]) -> pd.DataFrame:
    """Put in front what the rows belong to."""
    names = {
        "model": params["model"],
        "layer_variant": params["layer_variant"],
        "neurn": params["layer_variant"] == "neurn",
        "layer": layer.attrs["layer"],
        "layer_index": layer.attrs["layer_index"],
        "representation": params["kind"],
    }
    table = table.copy()
    for position, (name, value) in enumerate(names.items()):
        table.insert(position, name, value)
    return table
