"""Networks as models of visual cortex: NeuRN, the zoo, per-layer activations, architectures.

Importing this package imports neither torch nor timm; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.models._preflight import Preflight, preflight
    from alignment.models.activations import extract_activations
    from alignment.models.architecture import needleman_wunsch, similarity_matrix
    from alignment.models.features import LayerFeatures, layer_features
    from alignment.models.images import as_images, scene_digest
    from alignment.models.layers import LAYER_VARIANTS, WithLayer, create_layer, with_layer, with_neurn
    from alignment.models.neurn import NeuRN
    from alignment.models.symbols import layer_symbols
    from alignment.models.weights import load_weights, weights_digest
    from alignment.models.zoo import Entry, ImageModel, create_model, entry, list_models

_HOMES = {
    "LAYER_VARIANTS": "layers",
    "NeuRN": "neurn",
    "WithLayer": "layers",
    "create_layer": "layers",
    "with_layer": "layers",
    "with_neurn": "layers",
    "Entry": "_registry",
    "ImageModel": "zoo",
    "create_model": "zoo",
    "entry": "_registry",
    "list_models": "_registry",
    "load_weights": "weights",
    "weights_digest": "weights",
    "Preflight": "_preflight",
    "LayerFeatures": "features",
    "layer_features": "features",
    "as_images": "images",
    "extract_activations": "activations",
    "preflight": "_preflight",
    "scene_digest": "images",
    "layer_symbols": "symbols",
    "needleman_wunsch": "architecture",
    "similarity_matrix": "architecture",
}

__all__ = [
    "LAYER_VARIANTS",
    "Entry",
    "ImageModel",
    "LayerFeatures",
    "NeuRN",
    "Preflight",
    "WithLayer",
    "as_images",
    "create_layer",
    "create_model",
    "entry",
    "extract_activations",
    "layer_features",
    "layer_symbols",
    "list_models",
    "load_weights",
    "needleman_wunsch",
    "preflight",
    "scene_digest",
    "similarity_matrix",
    "weights_digest",
    "with_layer",
    "with_neurn",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
