"""Scores of every cell on each half of the scenes: a layer is chosen on the first and scored on the second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipelines.perform import Context, Inputs
from pipelines.stages.comparison import unit_vectors

__all__ = ["halves"]


def halves(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Represent cells and units on each half of the scenes and score them there.

    One row a half (0: to choose on, 1: to score on), layer and cell: ``model``, ``layer_variant``,
    ``representation``, ``layer``, ``layer_index``, ``cell`` and the cell's metrics.
    """
    from alignment.brain import represent
    from alignment.similarity import score_layers

    layers, scenes = inputs["activations"], inputs["scenes"]
    responses = inputs["population"]["responses"]
    half_of = next(iter(layers.values()))["scene_half"].values
    height, width = params["grid"]
    tables = []
    for half in (0, 1):
        context.tell(half, 2, ("first", "second")[half] + " half")
        rows = np.flatnonzero(half_of == half)
        seen = scenes.isel(scene=rows)
        images = seen[f"scenes_{height}x{width}"].values
        neurons = represent(responses.isel(scene=rows), images, kind=params["kind"], grid=(height, width))
        scored = score_layers(
            neurons["representation"].values.reshape(neurons.sizes["cell"], -1),
            _units(layers, params["kind"], seen, rows, half),
            {"all": np.arange(neurons.sizes["cell"])},
            metrics=tuple(params["metrics"]),
            bootstraps=100,  # the fewest allowed: only the cells' own scores are kept
            seed=params["seed"],
        )
        tables.append(scored.cells.assign(half=half))
    table = pd.concat(tables, ignore_index=True)
    numbers = table.pop("layer")
    names = numbers.map({name: str(layer.attrs["layer"]) for name, layer in layers.items()})
    table = table.assign(layer=names, layer_index=numbers.astype(int))
    return table.assign(model=params["model"], layer_variant=params["layer_variant"], representation=params["kind"])


def _units(
    layers: Mapping[str, xr.Dataset], kind: str, scenes: xr.Dataset, rows: np.ndarray, half: int
) -> Iterator[tuple[str, np.ndarray]]:
    for name in sorted(layers):
        layer = layers[name].isel(scene=rows)
        yield name, unit_vectors(layer.assign(unit_map=layer["unit_map_half"].isel(half=half)), kind, scenes)
