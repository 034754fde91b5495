"""Stages on the network side: domains, training, evaluation on targets, and layer activations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pipelines.perform import Context, Inputs

__all__ = ["activations", "domain", "evaluate", "features", "floors", "invariance", "read_network", "train"]


def domain(inputs: Inputs, params: Mapping[str, Any], context: Context) -> xr.Dataset:
    """Load one split of one domain: ``images`` (image, channel, y, x) uint8 and ``labels``."""
    from alignment.transfer import load_domain

    del inputs
    loaded = load_domain(
        params["name"],
        params["split"],
        data=context.where.get("data"),
        image_size=params["image_size"],
        seed=params["seed"],
        limit=params["limit"],
    )
    return loaded.to_dataset()


def train(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Train one network, ± a layer in front, on one source by one method: weights, history, summary.

    ``start`` is the training that this one goes on from with other classes, ``target`` the domain whose images the
    method sees without their labels.
    """
    from alignment.transfer import Domain, create_method
    from alignment.transfer import train as train_model

    source = Domain.from_dataset(inputs["domain"])
    model, told = _start(inputs, params, context, len(source.classes))
    chosen = params.get("method", {"name": "plain", "options": {}})
    names = ("epochs", "batch_size", "learning_rate", "patience", "validation", "seed")
    result = train_model(
        model,
        source,
        **{name: params[name] for name in names},
        device=context.device,
        checkpoint=context.scratch,
        progress=context.tell,
        method=create_method(chosen["name"], **chosen["options"]),
        target=Domain.from_dataset(inputs["target"]) if "target" in inputs else None,
    )
    context.notes["device"] = result.device
    weights = {name: tensor.detach().cpu() for name, tensor in result.model.state_dict().items()}
    summary = {
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "seconds": result.seconds,
        "classes": list(source.classes),
        "n": len(source.labels),
        "notes": [*told, *result.notes],
    }
    return {"weights": weights, "history": result.history, "summary": summary}


def evaluate(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Score a trained network once on one target's test split.

    ``row`` of the transfer table, ``confusion`` (true_class, predicted_class, n; pairs that occur), the bins of the
    calibration error, all classes, and what the training had to tell.
    """
    from alignment.transfer import Domain
    from alignment.transfer import evaluate as evaluate_model

    target, trained = Domain.from_dataset(inputs["domain"]), inputs["trained"]
    model = _trained(params, trained)
    scored = evaluate_model(model, target, device=context.device, classes=trained["summary"]["classes"])
    names = ("model", "layer_variant", "method", "sees_target", "source", "target", "seed")
    row = {name: params[name] for name in names}
    row |= {"accuracy": scored.accuracy, "n": scored.n, "ci_low": scored.ci_low, "ci_high": scored.ci_high}
    row |= {"ece": scored.ece, "loss": scored.loss}
    row |= {"balanced_accuracy": scored.balanced_accuracy, "classes": len(scored.classes)}
    told = trained["summary"]
    row |= {"epochs": told["epochs"], "seconds": told["seconds"], "n_train": told["n"]}
    true, predicted = np.nonzero(scored.confusion)
    classes = np.array(scored.classes, dtype=object)
    pairs = {"true_class": classes[true], "predicted_class": classes[predicted], "n": scored.confusion[true, predicted]}
    return {
        "row": pd.DataFrame([row]),
        "confusion": pd.DataFrame(pairs),
        "calibration": scored.calibration,
        "classes": list(scored.classes),
        "notes": list(told.get("notes", [])),
    }


def features(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Compare what a trained network makes of its source and of a target inside: a row a layer, the input first.

    ``distance`` between the domains, and mean, sd, share of active values and sparsity on each; see
    :func:`alignment.transfer.domains_inside`. Both are seeded, stratified samples of the test splits.
    """
    from alignment.transfer import Domain, domains_inside
    from alignment.transfer.images import stratified_subset

    domains = (Domain.from_dataset(inputs[name]) for name in ("source", "target"))
    samples = [
        domain.take(stratified_subset(domain.labels, max(params["images"], len(domain.classes)), params["seed"]))
        for domain in domains
    ]
    rows = domains_inside(_trained(params, inputs["trained"]), *samples, device=context.device)
    return rows.assign(images_source=len(samples[0]), images_target=len(samples[1]))


def floors(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Return what an accuracy is held against: chance and nearest training image, one row per layer in front."""
    from alignment.transfer import Domain, transfer_floors

    del context
    source, target = (Domain.from_dataset(inputs[name]) for name in ("source", "target"))
    return transfer_floors(source, target, _layers(params), params["pixels"])


def invariance(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Return how far the source's images and their shifted copies lie apart, one row per layer in front."""
    from alignment.transfer import Domain, paired_distances
    from alignment.transfer.images import stratified_subset

    del context
    source = Domain.from_dataset(inputs["source"])
    chosen = stratified_subset(source.labels, max(params["images"], len(source.classes)), params["seed"])
    return paired_distances(_layers(params), source.images[chosen], *params["shift"], seed=params["seed"])


def _layers(params: Mapping[str, Any]) -> dict[str, Any]:
    from alignment.models import create_layer

    return {label: create_layer(**made) for label, made in params["layers"].items()}


def activations(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, xr.Dataset]:
    """Read a network's layers on the natural scenes, in execution order."""
    from alignment.models import extract_activations
    from alignment.similarity import scene_halves

    model = read_network(inputs, params, context)
    size = params["network"]["image_size"]
    grey = inputs["scenes"][f"scenes_{size}x{size}"].values
    images = np.repeat(grey[:, None].astype(np.float32), 3, axis=1)
    layers = extract_activations(
        model,
        images,
        layers=params["layers"],
        grid=tuple(params["grid"]),
        batch_size=params["batch_size"],
        device=context.device,
        halves=scene_halves(len(images), seed=params["halves"]),
    )
    names = {}
    for index, (name, data) in enumerate(layers.items()):
        names[f"{index:03d}"] = data.assign_attrs(layer=name, layer_index=index)
    return names


def read_network(inputs: Inputs, params: Mapping[str, Any], context: Context) -> Any:
    """Return the network whose layers are read: as it was trained, or with weights of its own, or random ones."""
    if "trained" in inputs:
        return _trained(params, inputs["trained"])
    classes = len(inputs["classes"].attrs["classes"]) if "classes" in inputs else 1000
    return _model(params, classes, weights=_weights(params, context))


def _model(params: Mapping[str, Any], num_classes: int, weights: str | None) -> Any:
    from alignment.models import create_model, with_layer

    network = params["network"]
    model = create_model(
        network["name"],
        weights=weights,
        seed=network["seed"],
        num_classes=num_classes,
        image_size=network["image_size"],
        width=network["width"],
    )
    layer = params.get("layer", {"name": params["layer_variant"]})
    return with_layer(model, **layer)


def _start(inputs: Inputs, params: Mapping[str, Any], context: Context, num_classes: int) -> tuple[Any, list[str]]:
    """Return the network as training begins, and what a reader should know of where its weights are from."""
    from alignment.models.weights import fit_weights, load_weights

    file = context.where.get("weights")
    hub = None if file is not None else params.get("weights")
    model = _model(params, num_classes, weights=hub)
    if "start" in inputs:
        before = inputs["start"]
        said = f"Each network was first trained on another domain of {len(before['summary']['classes'])} classes"
        fitted = fit_weights(model, before["weights"], "the first training", new_head=True)
    elif file is not None:
        said = f"Training started from the weights of {Path(file).name}"
        fitted = load_weights(model, file, new_head=True)
    else:
        return model, [] if hub is None else [f"Training started from the weights {hub}, with a new classifier."]
    kept = "its classifier, of other classes, replaced" if fitted["new_head"] else "its classifier kept"
    return model, [f"{said}, {kept}."]


def _trained(params: Mapping[str, Any], trained: Mapping[str, Any]) -> Any:
    model = _model({"layer_variant": "baseline", **params}, len(trained["summary"]["classes"]), weights=None)
    model.load_state_dict(trained["weights"])
    return model


def _weights(params: Mapping[str, Any], context: Context) -> str | None:
    """Return the file of weights on this machine, or the hub tag the study names, or None for random ones."""
    return context.where.get("weights", params.get("weights"))
