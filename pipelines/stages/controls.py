"""Stages that say what a score is worth: noise ceilings, the shuffled-scene null, the published claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipelines.perform import Context, Inputs
from pipelines.stages.comparison import BETWEEN, group_labels, name_layers, split_groups, unit_vectors

__all__ = ["ceiling", "claims", "null"]

ALL_MODELS = "all models"
SAME_VALUES = "shuffling scenes leaves the values of a tuning vector, and so their density, as they are"
_CLASSES = ("excitatory", "inhibitory")
_COUNTS = ["n_clear", "n_layers"]
_LEVEL = 0.05


def ceiling(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Noise ceilings of every group: representations of half of the trials against those of all of them."""
    from alignment.similarity import group_ceilings, split_halves

    responses, whole = inputs["population"]["responses"], inputs["representations"]
    trials = responses["response"].transpose("cell", "scene", "trial").values
    halves: Iterator[tuple[np.ndarray, np.ndarray]] = iter(())
    if trials.shape[2] > 1 and trials.shape[1] > 2:  # else every ceiling is NaN, with the reason
        images = _images(inputs, params)
        halves = (
            (_represented(first, images, params), _represented(second, images, params))
            for done, (first, second) in enumerate(split_halves(trials, params["splits"], params["seed"]))
            if context.tell(done, params["splits"], "halves") is None
        )
    found = group_ceilings(
        halves,
        whole["representation"].values.reshape(len(trials), -1),
        group_labels(responses, params["group_by"], params["groups"]),
        params["metrics"],
        responses["donor_id"].values,
        bootstraps=params["bootstraps"],
        seed=params["seed"],
    )
    table = split_groups(found.table)
    table.insert(0, "representation", params["kind"])
    return {"groups": table, "cells": found.cells, "parameters": found.parameters}


def null(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Score one network against cells whose responses were dealt to other scenes, as often as asked for."""
    from alignment.similarity import null_scores, scene_null_table, shuffled_scenes

    responses, layers, scenes = inputs["population"]["responses"], inputs["activations"], inputs["scenes"]
    observed = inputs["scores"]["scores"]
    groups = group_labels(responses, params["group_by"], params["groups"])
    means = _trial_means(responses)
    images = _images(inputs, params)
    count = params["shuffles"]
    orders = shuffled_scenes(means.shape[1], count, params["seed"])
    names = [name for name in sorted(layers) if int(name) in set(observed["layer_index"])]
    metrics = [name for name in params["metrics"] if params["kind"] != "tuning" or not name.startswith("kde_iou")]
    keyed = observed.assign(
        layer=observed["layer_index"].map(lambda index: f"{index:03d}"),
        group=[f"{by}\t{group}" for by, group in zip(observed["group_by"], observed["group"], strict=True)],
    )
    keyed = keyed[["layer", "group", "metric", "value"]]
    parts = []
    if metrics:
        scored = null_scores(
            (_represented(means[:, order], images, params) for order in orders),
            {name: unit_vectors(layers[name], params["kind"], scenes) for name in names},
            groups,
            metrics,
            seed=params["seed"],
            progress=lambda done: context.tell(done, count, "shuffles"),
        )
        chosen = keyed[keyed["metric"].isin(metrics)]
        chosen = chosen.assign(metric=pd.Categorical(chosen["metric"], metrics)).sort_values("metric", kind="stable")
        parts.append(
            scene_null_table(chosen.astype({"metric": str}), scored, names, list(groups)).assign(null_reason="")
        )
    rest = keyed[~keyed["metric"].isin(metrics)].drop(columns="value")
    if len(rest):
        parts.append(rest.assign(n_shuffles=0, null_reason=SAME_VALUES))
    return name_layers(split_groups(pd.concat(parts, ignore_index=True)), layers, params)


def claims(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Judge the published statements for every group: each cell's RMSE, mean over layers, by model and over models."""
    from alignment.similarity import compare_groups, exception_contrasts, paired_differences, published_claims

    del context
    neurons = inputs["representations"]
    donors = neurons["donor_id"].values
    cells = {
        side: pd.concat(_layer_means(inputs[f"{side}:{model}"]["cells"], model) for model in params["models"])
        for side in ("baseline", "variant")
    }
    if len(params["models"]) > 1:
        cells = {side: pd.concat([_model_means(table), table]) for side, table in cells.items()}
    metrics = [name for name in params["metrics"] if name in cells["baseline"]]
    size = {"bootstraps": params["bootstraps"], "permutations": params["permutations"], "seed": params["seed"]}
    labels = group_labels(neurons, params["group_by"], params["groups"])
    sides = cells["baseline"], cells["variant"]
    shared: dict[str, Any] = {"by": ("model",), "metrics": metrics, **size}
    paired = split_groups(paired_differences(*sides, labels, donors, **shared))
    paired = paired.rename(columns={"baseline": "baseline_value", "variant": "variant_value"})
    contrasts = exception_contrasts(*sides, _groupings(labels), donors, **shared)
    paired = paired.merge(contrasts, how="left", on=["model", "group_by", "group", "metric"])
    null = _null_counts(inputs)
    paired = paired.merge(
        null.groupby(["model", "group_by", "group", "metric"])[_COUNTS].sum().reset_index(), how="left"
    )
    members = {name: np.flatnonzero(neurons["neuron_class"].values == name) for name in _CLASSES}
    both = pd.concat(
        [cells["baseline"].assign(layer_variant="baseline"), cells["variant"].assign(layer_variant=params["variant"])]
    ).assign(layer="mean")
    if all(len(index) for index in members.values()):
        compared = compare_groups(
            both, members, *_CLASSES, donors, layer="all", by=("model", "layer_variant"), metrics=metrics, **size
        )
        classes = compared.table
    else:
        missing = next(name for name, index in members.items() if not len(index))
        classes = both[["model", "layer_variant"]].drop_duplicates().merge(pd.DataFrame({"metric": metrics}), "cross")
        classes = classes.assign(**dict.fromkeys(("difference", "ci_low", "ci_high", "p", "q"), np.nan))
        classes = classes.assign(reason=f"no {missing} cells")
    classes = classes.drop(columns="layer", errors="ignore").assign(group_by="neuron_class")
    both_classes = null[(null["group_by"] == "neuron_class") & null["group"].isin(_CLASSES)]
    fewer = both_classes.groupby(["model", "layer_variant", "metric"])[_COUNTS].min().reset_index()
    classes = classes.merge(fewer, how="left")
    judged = published_claims(paired, classes, simulated=bool(neurons.attrs["simulated"]))
    judged.insert(0, "representation", params["kind"])
    judged["layer_variant"] = judged["layer_variant"].fillna(params["variant"])
    return {"claims": judged, "parameters": size}


def _groupings(labels: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return the cells of each group of :func:`group_labels`, by what they are grouped by."""
    groupings: dict[str, dict[str, np.ndarray]] = {}
    for label, index in labels.items():
        by, group = label.split(BETWEEN, 1)
        groupings.setdefault(by, {})[group] = index
    return groupings


def _null_counts(inputs: Inputs) -> pd.DataFrame:
    """Return how many layers were held against shuffled scenes, and how many of them are closer (q < 0.05).

    One row per model (and all models), layer variant, group and metric; none where the study shuffles no scenes.
    """
    keys = ["model", "layer_variant", "group_by", "group", "metric"]
    parts = [inputs[name] for name in inputs.names("null:")]
    if not parts:
        return pd.DataFrame({**{name: pd.Series(dtype=object) for name in keys}, **dict.fromkeys(_COUNTS, np.nan)})
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(n_clear=table["q"] < _LEVEL, n_layers=table["q"].notna())
    counts = table.groupby(keys)[_COUNTS].sum().reset_index()
    overall = counts.groupby(keys[1:])[_COUNTS].sum().reset_index().assign(model=ALL_MODELS)
    return pd.concat([overall, counts], ignore_index=True)


def _layer_means(cells: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return one row a cell: the mean of its RMSE over the layers of a network."""
    names = [name for name in cells if str(name).startswith("rmse")]
    return cells.groupby("cell", sort=True)[names].mean().reset_index().assign(model=model)


def _model_means(cells: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in cells if str(name).startswith("rmse")]
    return cells.groupby("cell", sort=True)[names].mean().reset_index().assign(model=ALL_MODELS)


def _images(inputs: Inputs, params: Mapping[str, Any]) -> np.ndarray:
    height, width = params["grid"]
    return np.asarray(inputs["scenes"][f"scenes_{height}x{width}"].values)


def _trial_means(responses: xr.Dataset) -> np.ndarray:
    """Return (cell, scene) means over the trials that were measured; NaN where there is none."""
    trials = responses["response"].transpose("cell", "scene", "trial").values
    known = np.isfinite(trials)
    total = np.where(known, trials, 0.0).sum(axis=2, dtype=np.float64)
    count = known.sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _represented(means: np.ndarray, images: np.ndarray, params: Mapping[str, Any]) -> np.ndarray:
    """Represent mean responses (cell, scene) as the study represents its cells: (cell, d)."""
    from alignment.brain import represent

    one_trial = xr.Dataset({"response": (("cell", "scene", "trial"), means[:, :, None])})
    made = represent(one_trial, images, kind=params["kind"], grid=tuple(params["grid"]))
    return np.asarray(made["representation"].values.reshape(len(means), -1))
