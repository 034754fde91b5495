"""Stages of representational similarity: scenes from a file, a brain's and a network's matrices, their comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neural_alignment import DataError
from pipelines.perform import Context, Inputs
from pipelines.stages.comparison import group_labels
from pipelines.stages.networks import read_network

__all__ = ["brain_rdms", "network_rdms", "rsa", "rsa_scenes"]

_SPLITS = 20  # of the trials, for a population's ceiling
_NO_CEILING = "only the population's matrix is known, not its trials"


def rsa_scenes(inputs: Inputs, params: Mapping[str, Any], context: Context) -> xr.Dataset:
    """Resize scenes of a file to every size the study needs: ``scenes_HxW`` (scene, y, x), 0 to 1."""
    from alignment.brain import read_scenes
    from alignment.models import as_images

    del inputs
    scenes = read_scenes(context.where["scenes"])
    variables = {
        f"scenes_{size}x{size}": (("scene", f"y_{size}", f"x_{size}"), as_images(scenes, size)[:, 0])
        for size in params["sizes"]
    }
    return xr.Dataset(variables, coords={"scene": np.arange(len(scenes))})


def brain_rdms(inputs: Inputs, params: Mapping[str, Any], context: Context) -> xr.Dataset:
    """Dissimilarities of populations over the scenes: ``rdm`` (population, scene, scene_b).

    Of cells also ``products``, the X·Xᵀ of their mean responses X (scene, cell), which CKA needs. Coordinates by
    population: group_by, group, n_cells, ceiling and note, the reason for a ceiling or matrix that is missing.
    """
    if "population" in inputs:
        return _cell_rdms(inputs["population"]["responses"], params, context)
    from alignment.brain import read_rsms

    scenes = inputs["scenes"].sizes["scene"]
    try:
        matrices = read_rsms(context.where["matrices"], scenes=scenes)
    except DataError as error:
        raise DataError(f"{error} The scenes of this study, {context.where['scenes']}, are {scenes}.") from None
    count = matrices.sizes["population"]
    return xr.Dataset(
        {"rdm": (("population", "scene", "scene_b"), 1.0 - matrices["rsm"].values)},
        coords={
            "group_by": ("population", np.repeat("area and layer", count)),
            "group": ("population", matrices["population"].values.astype(str)),
            "n_cells": ("population", np.full(count, np.nan)),
            "ceiling": ("population", np.full(count, np.nan)),
            "note": ("population", np.repeat(_NO_CEILING, count)),
            "scene": matrices["scene"].values,
        },
        attrs={"simulated": 0, "kind": "matrices", "source": str(matrices.attrs["source"])},
    )


def network_rdms(inputs: Inputs, params: Mapping[str, Any], context: Context) -> xr.Dataset:
    """Dissimilarities of a network's layers, all units at all places: ``rdm`` and ``products`` (layer, scene, scene_b).

    Without a network the images themselves are the one layer, behind the layer variant.
    """
    from alignment.similarity import rdm

    names, units, matrices, products = [], [], [], []
    for name, n_units, values in _features(inputs, params, context):
        names.append(name)
        units.append(n_units)
        matrices.append(rdm(values))
        products.append(_products(values))
    dims = ("layer", "scene", "scene_b")
    coords = {"layer": names, "n_units": ("layer", units), "scene": inputs["scenes"]["scene"].values}
    return xr.Dataset({"rdm": (dims, np.stack(matrices)), "products": (dims, np.stack(products))}, coords=coords)


def rsa(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, pd.DataFrame]:
    """Compare one network, with every layer variant, and its random twins with every population.

    Returns
    -------
    dict
        ``scores`` (a row a layer variant, layer, group and metric), ``best`` (of the best layers), ``differences``
        (layer variant less baseline) and ``twins`` (of randomly initialised networks).
    """
    from alignment.similarity import compare_rdms, rdm_differences, score_rdms

    brain = inputs["brain"]
    keys = [f"{by}\t{group}" for by, group in zip(brain["group_by"].values, brain["group"].values, strict=True)]
    groups = dict(zip(keys, brain["rdm"].values, strict=True))
    ceilings = dict(zip(keys, brain["ceiling"].values.tolist(), strict=True))
    chosen = {name: params[name] for name in ("bootstraps", "permutations", "splits", "seed")}
    names = inputs.names("own:")
    scored, tables, best, differences = {}, [], [], []
    for done, name in enumerate(names):
        variant = name.partition(":")[2]
        context.tell(done, len(names), variant)
        layers = inputs[name]
        _same_scenes(brain, layers, params["model"])
        scored[variant] = score_rdms(_by_layer(layers), groups, ceilings, **chosen)
        tables.append(_named(scored[variant].table, brain, layers, params, variant))
        best.append(_named(scored[variant].best, brain, layers, params, variant))
        if "products" in brain:
            tables.append(_cka(brain, layers, params, variant))
        if variant != "baseline" and "baseline" in scored:
            told = rdm_differences(scored["baseline"], scored[variant])
            differences.append(_named(told, brain, layers, params, variant))
    twins = []
    for name in inputs.names("twin"):
        seed, _, variant = name.removeprefix("twin").partition(":")
        layers = inputs[name]
        values = np.asarray(compare_rdms(layers["rdm"].values, brain["rdm"].values))
        twins.append(_named(_twin_table(values, keys, layers), brain, layers, params, variant).assign(seed=int(seed)))
    parts = {"scores": tables, "best": best, "differences": differences, "twins": twins}
    return {part: pd.concat(found, ignore_index=True) if found else pd.DataFrame() for part, found in parts.items()}


def _features(inputs: Inputs, params: Mapping[str, Any], context: Context) -> Iterator[tuple[str, int, np.ndarray]]:
    """Hand over name, units and values (scene, feature) of each layer."""
    size = params.get("image_size") or params["network"]["image_size"]
    grey = inputs["scenes"][f"scenes_{size}x{size}"].values.astype(np.float32)
    images = np.repeat(grey[:, None], 3, axis=1)
    if "network" not in params:
        import torch

        from alignment.models import create_layer

        made = params.get("layer", {"name": params["layer_variant"]})
        front = create_layer(**made)
        with torch.no_grad():
            seen = front(torch.from_numpy(images)).numpy()
        yield "pixels", images.shape[1], seen.reshape(len(seen), -1)
        return
    from alignment.models import layer_features

    model = read_network(inputs, params, context)
    options = {"layers": params["layers"], "batch_size": params["batch_size"], "device": context.device}
    for layer in layer_features(model, images, **options, progress=lambda done, of: context.tell(done, of, "")):
        yield layer.name, layer.units, layer.values


def _products(values: np.ndarray, block: int = 2**15) -> np.ndarray:
    """Return X·Xᵀ of centred features, in blocks so that no float64 copy of them all is made."""
    total = np.zeros((len(values),) * 2)
    for start in range(0, values.shape[1], block):
        part = values[:, start : start + block].astype(np.float64)
        part -= part.mean(axis=0)
        total += part @ part.T
    return total


def _cell_rdms(responses: xr.Dataset, params: Mapping[str, Any], context: Context) -> xr.Dataset:
    from alignment.brain.representations import trial_means
    from alignment.similarity import noise_ceiling, rdm

    trials = responses["response"].transpose("cell", "scene", "trial").values
    means = trial_means(trials)
    whole = np.isfinite(means).all(axis=1)
    groups = group_labels(responses, params["group_by"])
    scenes = trials.shape[1]
    found: dict[str, list[Any]] = {name: [] for name in ("rdm", "products", "n_cells", "ceiling", "note")}
    for done, (key, cells) in enumerate(groups.items()):
        context.tell(done, len(groups), key.partition("\t")[2])
        kept = cells[whole[cells]]
        ceiling, note = np.nan, ""
        matrix, product = np.full((scenes, scenes), np.nan), np.full((scenes, scenes), np.nan)
        if len(kept) < 2:
            note = f"{len(kept)} cells with a response to every scene; dissimilarities need two"
        else:
            matrix, product = rdm(means[kept].T), _products(means[kept].T)
            limit = noise_ceiling(trials[kept], "rdm", splits=_SPLITS, seed=params["seed"])
            ceiling, note = float(limit.value[0]), str(limit.reason[0])
        if len(kept) < len(cells):
            note = "; ".join(filter(None, [note, f"{len(cells) - len(kept)} cells lack a response to some scene"]))
        for name, value in zip(found, (matrix, product, len(kept), ceiling, note), strict=True):
            found[name].append(value)
    dims = ("population", "scene", "scene_b")
    pairs = [key.split("\t") for key in groups]
    return xr.Dataset(
        {"rdm": (dims, np.stack(found["rdm"])), "products": (dims, np.stack(found["products"]))},
        coords={
            "group_by": ("population", [by for by, _ in pairs]),
            "group": ("population", [group for _, group in pairs]),
            **{name: ("population", found[name]) for name in ("n_cells", "ceiling", "note")},
            "scene": np.arange(scenes),
        },
        attrs={"simulated": int(responses.attrs["simulated"]), "kind": "cells", "source": "cells"},
    )


def _same_scenes(brain: xr.Dataset, layers: xr.Dataset, model: str) -> None:
    ours, theirs = layers["scene"].values.tolist(), brain["scene"].values.tolist()
    if ours != theirs:
        odd = sorted(set(ours) ^ set(theirs))
        named = f"; only on one side: {', '.join(map(str, odd[:8]))}" if odd else ", in another order"
        raise DataError(
            f"{model} saw {len(ours)} scenes and the populations {len(theirs)}{named}. Dissimilarities compare the "
            "same scenes in the same order: give the scenes that the populations were measured with."
        )


def _by_layer(layers: xr.Dataset) -> dict[str, np.ndarray]:
    return dict(zip(layers["layer"].values.astype(str).tolist(), layers["rdm"].values, strict=True))


def _cka(brain: xr.Dataset, layers: xr.Dataset, params: Mapping[str, Any], variant: str) -> pd.DataFrame:
    """Return unbiased linear CKA of every layer and every population whose responses are known."""
    from alignment.similarity import benjamini_hochberg, cka_permutation_test

    known = np.flatnonzero(np.isfinite(brain["products"].values).all(axis=(1, 2)))
    products = layers["products"].values, brain["products"].values[known]
    test = cka_permutation_test(*products, permutations=params["permutations"], seed=params["seed"])
    keys = [f"{by}\t{group}" for by, group in zip(brain["group_by"].values, brain["group"].values, strict=True)]
    rows = []
    for index, layer in enumerate(layers["layer"].values.astype(str)):
        q = benjamini_hochberg(test.p[index])
        for place, population in enumerate(known):
            row = {"layer": layer, "layer_index": index, "group": keys[population], "value": test.value[index, place]}
            row |= {"ci_low": test.low[index, place], "ci_high": test.high[index, place]}
            row |= {"p": test.p[index, place], "q": q[place], "null_mean": test.null_mean[index, place]}
            row |= {"null_high": test.null_high[index, place], "n_scenes": layers.sizes["scene"], "note": ""}
            rows.append(row)
    return _named(pd.DataFrame(rows), brain, layers, params, variant, metric="cka")


def _twin_table(values: np.ndarray, keys: list[str], layers: xr.Dataset) -> pd.DataFrame:
    from alignment.similarity import MEAN_GROUP

    values = np.concatenate([values, values.mean(axis=1, keepdims=True)], axis=1)
    names = layers["layer"].values.astype(str)
    rows = [
        {"layer": name, "layer_index": index, "group": group, "value": values[index, place]}
        for index, name in enumerate(names)
        for place, group in enumerate([*keys, MEAN_GROUP])
    ]
    return pd.DataFrame(rows)


def _named(
    table: pd.DataFrame,
    brain: xr.Dataset,
    layers: xr.Dataset,
    params: Mapping[str, Any],
    variant: str,
    metric: str = "rsa_spearman",
) -> pd.DataFrame:
    """Put in front what the rows belong to; groups of cells overlap, so that a mean over them would say nothing."""
    from alignment.similarity import MEAN_GROUP

    over_all = table["group"] == MEAN_GROUP
    if brain.attrs["kind"] == "cells":
        table, over_all = table[~over_all], over_all[~over_all]
    split = table["group"].str.partition("\t")
    table = table.assign(group=split[2].where(~over_all, MEAN_GROUP))
    by = split[0].where(~over_all, MEAN_GROUP)
    keys = by + "\t" + table["group"]
    known = {
        f"{row.group_by}\t{row.group}": row
        for row in brain[["group_by", "group", "n_cells", "note"]].to_dataframe().reset_index().itertuples()
    }
    cells = keys.map({key: row.n_cells for key, row in known.items()})
    units = dict(enumerate(layers["n_units"].values.tolist()))
    front = {
        "model": params["model"],
        "layer_variant": variant,
        "neurn": variant in params["neurn"],
        "layer": table.pop("layer"),
        "layer_index": table.pop("layer_index"),
        "group_by": by,
    }
    for position, (name, value) in enumerate(front.items()):
        table.insert(position, name, value)
    table.insert(table.columns.get_loc("group") + 1, "metric", metric)
    table["n_cells"] = cells.astype(float)
    table["n_units"] = table["layer_index"].map(units)
    if "note" in table:
        reasons = keys.map({key: row.note for key, row in known.items()}).fillna("")
        table["note"] = [
            "; ".join(dict.fromkeys(filter(None, pair))) for pair in zip(table["note"], reasons, strict=True)
        ]
    return table.reset_index(drop=True)
