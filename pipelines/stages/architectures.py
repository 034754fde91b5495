"""The stage that compares architectures: every network traced, every pair aligned."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.perform import Context, Inputs

if TYPE_CHECKING:
    import pandas as pd

    from alignment.models.symbols import Trace

__all__ = ["architectures"]

_MINOR = frozenset("RSQBYIHD")  # layers that an option can leave out
_CLOSE = 0.05  # the published values are read off a colour map


def architectures(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Trace and align networks.

    Returns
    -------
    dict
        ``similarity`` (Dataset), ``sequences`` (label: symbols), ``published`` and ``options`` (tables; empty
        where none of the published pairs is here), ``notes`` (sentences), ``score_length`` (correlation of the
        pairs' scores with minus the difference of their lengths).
    """
    from alignment.models.architecture import similarity_matrix
    from alignment.models.symbols import write_symbols

    del inputs
    traces: dict[str, Trace] = {}
    for place, model in enumerate(params["models"]):
        context.tell(place, len(params["models"]), str(model["label"]))
        traces[str(model["label"])] = _trace(model)
    context.notes["device"] = "meta" if all(trace.device == "meta" for trace in traces.values()) else "meta, cpu"
    sequences = {name: write_symbols(trace, params["level"], **params["symbols"]) for name, trace in traces.items()}
    similarity = similarity_matrix(sequences, **params["scoring"])
    published, options = _beside_published(similarity, traces, params["level"])
    return {
        "similarity": similarity,
        "sequences": {name: list(sequence) for name, sequence in sequences.items()},
        "published": published,
        "options": options,
        "notes": [trace.note for trace in traces.values() if trace.note],
        "score_length": _score_length(similarity),
    }


def _trace(model: Mapping[str, Any]) -> Trace:
    from alignment.models import create_model
    from alignment.models.symbols import trace_layers

    name, size, width = str(model["name"]), model.get("image_size"), model.get("width", 1.0)
    with warnings.catch_warnings():
        # The trace's note says the same; it is kept with the result and shown each time.
        warnings.filterwarnings("ignore", message=".*does not run on the meta device", category=UserWarning)
        if width != 1.0:  # a narrower network may have fewer layers
            return trace_layers(create_model(name, image_size=size or 224, width=width))
        return trace_layers(name, size)


def _beside_published(similarity: Any, traces: Mapping[str, Trace], level: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return our values beside the published, with the range that other choices of layers give, and the choices."""
    from alignment.models.families import compare_options, compare_published

    published = compare_published(similarity)
    if not len(published):
        return published.assign(lowest=[], highest=[], verdict=[]), published[[]]
    whole = {name: trace for name, trace in traces.items() if {layer.symbol for layer in trace.layers} - _MINOR}
    options = compare_options(whole, level)
    names = [f"{row.model}|{row.other}" for row in published.itertuples()]
    lowest, highest = options[names].min().to_numpy(), options[names].max().to_numpy()
    verdicts = []
    for value, difference, low, high in zip(
        published["published"], published["difference"], lowest, highest, strict=True
    ):
        if abs(difference) <= _CLOSE:
            verdicts.append("agrees")
        elif low - _CLOSE <= value <= high + _CLOSE:
            verdicts.append("depends on what counts as a layer")
        else:
            verdicts.append("no choice of layers gives it")
    return published.assign(lowest=lowest, highest=highest, verdict=verdicts), options


def _score_length(similarity: Any) -> float | None:
    """Return how far the scores follow from the sequences' lengths alone, or None where they do not vary."""
    pairs = np.triu_indices(similarity.sizes["model"], 1)
    lengths = similarity["length"].values
    apart = -np.abs(lengths[:, None] - lengths[None, :])[pairs]
    score = similarity["score"].values[pairs]
    if len(score) < 2 or not np.ptp(apart) or not np.ptp(score):
        return None
    return float(np.corrcoef(apart, score)[0, 1])
