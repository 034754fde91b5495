"""Stages of brain-machine fusion: tokens, response pairs, the brain encoder, heads and their evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipelines.perform import Context, Inputs
from pipelines.stages.networks import read_network

__all__ = ["attention", "brain_encoder", "fusion", "ood", "pairs", "predicted", "tokens"]

# A head on this many images trains long enough that an interrupted one should not start anew.
_WORTH_A_CHECKPOINT = 20_000


def pairs(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Pair images with responses, sorted by region: of the observatory's cells, or of an fMRI subject."""
    from alignment.transfer.fusion import pairs_from_cells, read_algonauts

    if params["source"] == "fmri":
        chosen = {name: params[name] for name in ("atlas", "image_size", "limit")}
        return read_algonauts(context.where["folder"], **chosen).to_parts()
    cells, size = inputs["population"]["responses"], params["image_size"]
    grey = inputs["scenes"][f"scenes_{size}x{size}"].values
    images = np.repeat(np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)[:, None], 3, axis=1)
    labels = {name: cells[name].values.astype(str) for name in ("area", "cre_line", "neuron_class")}
    made = pairs_from_cells(
        images,
        cells["response"].values,
        labels,
        by=params["by"],
        reliability=cells["reliability"].values,
        simulated=bool(cells.attrs["simulated"]),
    )
    return made.to_parts()


def tokens(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Run the frozen vision encoder on a domain's images, or on those that a brain was shown."""
    from alignment.transfer import Domain
    from alignment.transfer.fusion import extract_tokens

    model = read_network(inputs, params, context)
    told: dict[str, Any] = {}
    if "pairs" in inputs:
        images = inputs["pairs"]["images"]
    else:
        domain = Domain.from_dataset(inputs["domain"])
        images = domain.images
        told = {"labels": domain.labels, "classes": list(domain.classes), "domain": domain.name}
    found = extract_tokens(
        model,
        images,
        layer=params["layer_read"],
        grid=None if params["grid"] is None else tuple(params["grid"]),
        dtype=params["dtype"],
        batch_size=int(context.where["batch_size"]),
        device=context.device,
        progress=context.tell,
    )
    return {**found.to_parts(), **told}


def brain_encoder(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Fit the encoder on all pairs; ``scores`` tells a row a region how it does on images held out."""
    from alignment.transfer.fusion import ResponsePairs, Tokens, fit_encoder, score_encoder

    shown, seen = ResponsePairs.from_parts(inputs["pairs"]), Tokens.from_parts(inputs["tokens"])
    options = _encoder_options(params)
    scores = score_encoder(
        seen, shown, options, folds=params["folds"], seed=params["seed"], device=context.device, progress=context.tell
    )
    fitted = fit_encoder(seen, shown, options, device=context.device, checkpoint=context.scratch)
    told = {
        "name": shown.name,
        "simulated": shown.simulated,
        "notes": list(shown.notes),
        "images": len(seen),
        "units": shown.units,
        "kind": params["kind"],
        "folds": params["folds"],
        "features": int(seen.features),
        "grid": list(seen.grid),
        "layer": seen.layer,
        "has_cls": seen.has_cls,
    }
    return {"encoder": fitted.to_parts(), "scores": scores, "told": told}


def _encoder_options(params: Mapping[str, Any]) -> Any:
    from alignment.transfer.fusion import EncoderOptions, FitSettings

    if params["kind"] == "ridge":
        return EncoderOptions("ridge")
    sizes = {name: params[name] for name in ("width", "depth", "heads")}
    return EncoderOptions("decoder", **sizes, fit=FitSettings(seed=params["seed"], epochs=params["epochs"]))


def predicted(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Predict a brain's responses to a domain's images: ``responses`` (image, unit), in standard deviations."""
    from alignment.transfer.fusion import BrainEncoder, Tokens

    del params
    encoder = BrainEncoder.from_parts(inputs["encoder"]["encoder"])
    found = encoder.predict(Tokens.from_parts(inputs["tokens"]), device=context.device)
    return {"responses": found}


def fusion(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Train one head with one seed: weights, history, summary."""
    from alignment.transfer.fusion import FitSettings, HeadOptions, Tokens, train_head

    stored = inputs["tokens"]
    seen, labels = Tokens.from_parts(stored), stored["labels"]
    variant = _variant(params["variant"])
    units = _units(inputs["encoder"]["encoder"], variant)
    given = _given(inputs["predicted"]["responses"][:, units], seen, variant, params["seed"], draw=0)
    done = train_head(
        variant,
        seen,
        given,
        labels,
        len(stored["classes"]),
        options=HeadOptions(**params["head"]),
        settings=FitSettings(seed=params["seed"], **params["training"]),
        device=context.device,
        checkpoint=context.scratch if len(labels) >= _WORTH_A_CHECKPOINT else None,
        progress=context.tell,
    )
    context.notes["device"] = done.device
    summary = {
        "variant": dict(params["variant"]),
        "head": dict(params["head"]),
        "seed": params["seed"],
        "classes": list(stored["classes"]),
        "features": int(seen.features),
        "tokens": int(seen.patches.shape[1]),
        "has_cls": seen.has_cls,
        "units": len(units),
        "weights": done.weights,
        "epochs": done.fit.epochs,
        "best_epoch": done.fit.best_epoch,
        "seconds": done.fit.seconds,
        "n": len(labels),
    }
    weights = {name: tensor.detach().cpu() for name, tensor in done.head.state_dict().items()}
    return {"weights": weights, "history": done.fit.history, "summary": summary}


def ood(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Score a head once on every domain: a row each."""
    from alignment.transfer.fusion import Tokens, evaluate_head, match_classes

    stored = inputs["head"]
    summary, head, variant = stored["summary"], _head(stored), _variant(stored["summary"]["variant"])
    units = _units(inputs["encoder"]["encoder"], variant)
    like = inputs["like"]["responses"][:, units]
    rows = []
    names = inputs.names("tokens:")
    for draw, name in enumerate(names, start=1):
        target = name.partition(":")[2]
        context.tell(draw, len(names), target)
        seen = inputs[name]
        matched = match_classes(target, seen["classes"], seen["labels"], summary["classes"])
        held = Tokens.from_parts(seen).take(matched.positions)
        responses = inputs[f"predicted:{target}"]["responses"][matched.positions][:, units]
        given = _given(responses, held, variant, summary["seed"], draw=draw, like=like)
        scored = evaluate_head(head, held, given, matched.labels, summary["classes"], device=context.device)
        row = {name: params[name] for name in ("model", "variant", "source", "seed")}
        row |= {"target": target, "accuracy": scored.accuracy, "ci_low": scored.ci_low, "ci_high": scored.ci_high}
        row |= {"ece": scored.ece, "loss": scored.loss, "balanced_accuracy": scored.balanced_accuracy, "n": scored.n}
        row |= {"left_out": matched.left_out, "shared_classes": matched.shared, "classes": len(summary["classes"])}
        row |= {key: summary[key] for key in ("units", "weights", "epochs", "seconds")}
        rows.append(row | {key: summary["variant"][key] for key in ("fuse", "responses", "pearson")})
    return pd.DataFrame(rows)


def attention(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Where a head looks in images of the source: one image of each of the first classes, and its map."""
    from alignment.transfer.fusion import Tokens, attention_maps

    stored = inputs["head"]
    summary, variant = stored["summary"], _variant(stored["summary"]["variant"])
    seen, domain = inputs["tokens"], inputs["domain"]
    labels = seen["labels"]
    chosen = [int(np.flatnonzero(labels == value)[0]) for value in np.unique(labels)[: params["images"]]]
    units = _units(inputs["encoder"]["encoder"], variant)
    whole = Tokens.from_parts(seen)
    responses = inputs["predicted"]["responses"][:, units]
    given = _given(responses, whole, variant, summary["seed"], draw=1, like=inputs["like"]["responses"][:, units])
    place = np.array(chosen, np.int64)
    maps = attention_maps(_head(stored), whole.take(place), given[place], device=context.device)
    words = [str(seen["classes"][labels[index]]) for index in chosen]
    return {"images": domain["images"].values[chosen], "maps": maps, "labels": words}


def _variant(made: Mapping[str, Any]) -> Any:
    from alignment.transfer.fusion import Variant

    return Variant("head", **{**made, "rois": None if made["rois"] is None else tuple(made["rois"])})


def _units(encoder: Mapping[str, Any], variant: Any) -> np.ndarray:
    """Return the positions of the units that a variant uses."""
    from alignment.transfer.fusion import choose_rois

    told = encoder["told"]
    rois = choose_rois(told["rois"], told["classes"], variant.rois, variant.neuron_class)
    return np.flatnonzero(np.isin(encoder["roi"], rois))


def _given(responses: Any, seen: Any, variant: Any, seed: int, *, draw: int, like: Any = None) -> Any:
    from alignment.transfer.fusion import control_responses

    return control_responses(variant.responses, responses, seen, seed=seed, draw=draw, like=like)


def _head(stored: Mapping[str, Any]) -> Any:
    from alignment.transfer.fusion import FusionHead, HeadOptions

    told = stored["summary"]
    head = FusionHead(
        told["features"],
        told["tokens"],
        told["units"],
        len(told["classes"]),
        fuse=told["variant"]["fuse"],
        options=HeadOptions(**told["head"]),
        has_cls=told["has_cls"],
    )
    head.load_state_dict(stored["weights"])
    return head.eval()
