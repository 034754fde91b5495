"""What a report shows of domain transfer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neural_alignment import DataError
from pipelines.perform import Inputs

__all__ = ["gather_domains", "gather_transfer"]

_PLACE = ["model", "layer_variant", "method", "source", "target"]
_CELL = ["model", "source", "target"]
_REFERENCES = ("baseline", "neurn")
_NO_PAIRS = "no paired images: the target is not a shift of the source's own images"
_NOT_IN_FRONT = "the layer does not stand in front of the network, or leaves no difference between images"


def gather_transfer(inputs: Inputs, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report's parts that are about domain transfer, by the names of its fields; none without a training.

    Parameters
    ----------
    inputs : Inputs
        ``evaluate:`` results of every run, ``features:`` results of those with the first seed, and ``floors:`` and
        ``invariance:`` of every source, target and image size.
    study : mapping
        The study as resolved.

    Returns
    -------
    dict
        ``transfer`` (a row a run), ``transfer_seeds`` (means over seeds), ``transfer_paired`` and
        ``transfer_overall`` (differences to the baseline and to NeuRN, by model and over models),
        ``transfer_floors`` (chance and nearest neighbours), ``transfer_judged`` (``transfer_overall`` of networks
        that lie below neither), ``transfer_invariance`` (shifts that layers undo),
        ``transfer_ranks``, ``transfer_recall``, ``transfer_confusion``, ``transfer_calibration``,
        ``transfer_features``, ``protocol`` (a paragraph) and ``notes``.
    """
    scored = [_with_method(inputs[name]) for name in inputs.names("evaluate:")]
    if not scored:
        return {}
    runs = pd.concat([one["row"] for one in scored], ignore_index=True)
    confusions = _stacked(scored, "confusion")
    sizes = {row["model"]: row["image_size"] for row in _sizes_of_models(inputs)}
    floors = _floors(inputs, runs, sizes)
    return {
        "transfer": runs,
        "transfer_seeds": _seeds(runs),
        "transfer_paired": _differences(runs, over_models=False),
        "transfer_overall": _differences(runs, over_models=True),
        "transfer_floors": floors,
        "transfer_judged": _differences(_judged(runs, floors), over_models=True),
        "transfer_invariance": _invariance(inputs, runs, sizes),
        "transfer_ranks": _ranks(runs),
        "transfer_recall": _recall(confusions),
        "transfer_confusion": _confusion(confusions),
        "transfer_calibration": _calibration(_stacked(scored, "calibration")),
        "transfer_features": _features(inputs),
        "protocol": _protocol(runs, study["transfer"]),
        "notes": _notes(scored),
    }


def _with_method(scored: dict[str, Any]) -> dict[str, Any]:
    row = scored["row"]
    return scored if "method" in row else {**scored, "row": row.assign(method="plain")}


def _stacked(scored: Sequence[Mapping[str, Any]], name: str) -> pd.DataFrame:
    """Return one table of every run's, with the run's place and seed in front."""
    parts = []
    for one in scored:
        keys = one["row"].iloc[0][[*_PLACE, "seed"]].to_dict()
        parts.append(pd.DataFrame({**keys, **dict(one[name].items())}))
    return pd.concat(parts, ignore_index=True)


def _seeds(runs: pd.DataFrame) -> pd.DataFrame:
    from alignment.transfer import summarise_seeds

    ece = runs.groupby(_PLACE, sort=False)["ece"].agg(ece="mean", ece_sd="std").reset_index()
    images = runs.groupby(_PLACE, sort=False)["n"].max().reset_index()
    return summarise_seeds(runs).merge(ece, on=_PLACE).merge(images, on=_PLACE)


def _differences(runs: pd.DataFrame, *, over_models: bool) -> pd.DataFrame | None:
    """Return every condition minus the plain baseline, and every condition minus plain NeuRN."""
    from alignment.transfer import condition_differences

    if runs.empty:
        return None
    plain = set(runs.loc[runs["method"] == "plain", "layer_variant"])
    parts = [
        condition_differences(runs, reference, over_models=over_models).assign(reference=reference)
        for reference in _REFERENCES
        if reference in plain
    ]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return found if len(found) else None


def _reference(runs: pd.DataFrame) -> str | None:
    """Return the layer variant whose plain training the others are compared with."""
    plain = set(runs.loc[runs["method"] == "plain", "layer_variant"])
    return next((name for name in _REFERENCES if name in plain), None)


def _sizes_of_models(inputs: Inputs) -> list[dict[str, Any]]:
    params = [inputs.provenance(name)["params"] for name in inputs.names("evaluate:")]
    return [{"model": one["model"], "image_size": one["network"]["image_size"]} for one in params]


def _by_model(inputs: Inputs, stage: str, sizes: Mapping[str, int]) -> pd.DataFrame:
    """Return a stage's rows of every source, target and image size, repeated for each model of that size."""
    parts = []
    for name in inputs.names(f"{stage}:"):
        params = inputs.provenance(name)["params"]
        keys = {key: params[key] for key in ("source", "target", "image_size")}
        parts += [
            inputs[name].assign(model=model, **keys) for model, size in sizes.items() if size == params["image_size"]
        ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*_CELL, "layer_variant"])


def _floors(inputs: Inputs, runs: pd.DataFrame, sizes: Mapping[str, int]) -> pd.DataFrame | None:
    """Return the floors of every model, layer, source and target, and which of them the plain network lies below."""
    from alignment.transfer import words_below

    table = _by_model(inputs, "floors", sizes)
    if table.empty:
        return None
    pixels = table.loc[table["layer_variant"] == "baseline", [*_CELL, "nearest_neighbour"]]
    pixels = pixels.rename(columns={"nearest_neighbour": "pixels_neighbour"})
    means = runs[runs["method"] == "plain"].groupby([*_CELL, "layer_variant"])["accuracy"].mean()
    table = table.merge(pixels, on=_CELL).merge(
        means.rename("network").reset_index(), "left", [*_CELL, "layer_variant"]
    )
    numbers = table[["network", "chance", "pixels_neighbour"]].to_numpy(float)
    below = [words_below(*row) if np.isfinite(row[0]) else "" for row in numbers]
    reference = table["layer_variant"] == _reference(runs)
    return table.assign(below=below, reference=reference).drop(columns="pixels_neighbour")


def _judged(runs: pd.DataFrame, floors: pd.DataFrame | None) -> pd.DataFrame:
    """Leave out the models, sources and targets whose network without a layer lies below a floor."""
    if floors is None:
        return runs
    below = floors.loc[floors["reference"] & (floors["below"] != ""), _CELL].drop_duplicates()
    marked = runs.merge(below, "left", _CELL, indicator="found")
    return runs[(marked["found"] == "left_only").to_numpy()]


def _invariance(inputs: Inputs, runs: pd.DataFrame, sizes: Mapping[str, int]) -> pd.DataFrame:
    """Return the distances of paired images behind every layer, with the reason where there is none."""
    plain = runs[(runs["method"] == "plain") & (runs["source"] != runs["target"])]
    wanted = plain[[*_CELL, "layer_variant"]].drop_duplicates()
    table = wanted.merge(_by_model(inputs, "invariance", sizes), "left", [*_CELL, "layer_variant"])
    if "share" not in table:
        return table.assign(share=np.nan, equal=False, reason=_NO_PAIRS)
    paired = table.groupby(["source", "target"])["share"].transform(lambda share: share.notna().any())
    reason = np.where(table["share"].notna(), "", np.where(paired, _NOT_IN_FRONT, _NO_PAIRS))
    return table.assign(equal=table["equal"].eq(True), reason=reason)


def _ranks(runs: pd.DataFrame) -> pd.DataFrame | None:
    from alignment.transfer import rank_variants

    try:
        return rank_variants(runs)
    except DataError:  # a study of the source's own domain alone has no transfer to rank
        return None


def _recall(confusions: pd.DataFrame) -> pd.DataFrame:
    """Return each class's recall, mean and sd over seeds."""
    keys = [*_PLACE, "true_class"]
    right = confusions["n"].where(confusions["true_class"] == confusions["predicted_class"], 0)
    runs = confusions.assign(right=right).groupby([*keys, "seed"], sort=False)[["n", "right"]].sum().reset_index()
    runs = runs.assign(recall=runs["right"] / runs["n"])
    grouped = runs.groupby(keys, sort=False)
    table = grouped["recall"].agg(recall="mean", sd="std", seeds="count")
    return table.assign(n=grouped["n"].max()).reset_index().rename(columns={"true_class": "class_name"})


def _confusion(confusions: pd.DataFrame) -> pd.DataFrame:
    """Return how often a class was taken for another, added up over seeds; pairs that never occur have no row."""
    keys = [*_PLACE, "true_class", "predicted_class"]
    seeds = confusions.groupby(_PLACE, sort=False)["seed"].nunique().rename("seeds").reset_index()
    return confusions.groupby(keys, sort=False)["n"].sum().reset_index().merge(seeds, on=_PLACE)


def _calibration(bins: pd.DataFrame) -> pd.DataFrame:
    """Return the bins of confidence added up over seeds; empty ones are left out."""
    bins = bins[bins["n"] > 0]
    weighted = bins.assign(confidence=bins["confidence"] * bins["n"])
    keys = [*_PLACE, "low", "high"]
    table = weighted.groupby(keys, sort=False)[["n", "confidence", "right"]].sum().reset_index()
    table = table.assign(confidence=table["confidence"] / table["n"], accuracy=table["right"] / table["n"])
    return table.sort_values([*_PLACE, "low"], kind="stable", ignore_index=True)


def _features(inputs: Inputs) -> pd.DataFrame | None:
    parts = []
    for name in inputs.names("features:"):
        params = inputs.provenance(name)["params"]
        keys = {key: params.get(key, "plain") for key in [*_PLACE, "seed"]}
        parts.append(pd.DataFrame({**keys, **dict(inputs[name].items())}))
    return pd.concat(parts, ignore_index=True) if parts else None


def _protocol(runs: pd.DataFrame, config: Mapping[str, Any]) -> str:
    """Say in words what was trained on how many images, and tested on how many."""
    trained = _sizes(runs.groupby("source", sort=False)["n_train"].max())
    tested = _sizes(runs.groupby("target", sort=False)["n"].max())
    seeds = runs["seed"].nunique()
    limits, splits = [], {"train_limit": "of each source's training split", "test_limit": "of each target's test split"}
    for name, what in splits.items():
        if config[name] is not None:
            limits.append(f"at most {config[name]:,} images {what} ({name})")
    if limits:
        drawn = f"The study takes {' and '.join(limits)}, a seeded draw with every class in its share."
        drawn += "" if len(limits) == 2 else " The other split is whole."
    else:
        drawn = "Whole splits are used: the study sets neither train_limit nor test_limit."
    said = (
        f"Training images: {trained}; {100 * config['validation']:g} % of them are kept for early stopping (patience "
        f"{config['patience']}, at most {config['epochs']} epochs). Test images, looked at once, at the end: {tested}. "
        f"{drawn} Adam, learning rate {config['learning_rate']:g}, batches of {config['batch_size']}; "
        f"{seeds} seed{'s' * (seeds != 1)}."
    )
    if seeds == 1:
        said += " With a single seed nothing is known of the spread between trainings: no interval is given for it."
    return said


def _sizes(images: pd.Series) -> str:
    return ", ".join(f"{name} {int(number):,}" for name, number in images.items())


def _notes(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a reader must know: classes that a target has no image of, and what trainings told."""
    missing: dict[str, list[str]] = {}
    told: dict[tuple[Any, ...], list[str]] = {}
    for one in scored:
        row = one["row"].iloc[0]
        present = set(one["confusion"]["true_class"])
        absent = [name for name in one["classes"] if name not in present]
        if absent:
            missing[row["target"]] = absent
        told[tuple(row[[*_PLACE[:4], "seed"]])] = one["notes"]
    notes = []
    for target, absent in missing.items():
        listed = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        which = "class" if len(absent) == 1 else "classes"
        notes.append(f"The test images of {target} hold none of the {which} {listed}: no recall is given for it.")
    counted = Counter(note for list_of_notes in told.values() for note in list_of_notes)
    return notes + [f"{note} ({number} of {len(told)} trainings.)" for note, number in counted.items()]


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
