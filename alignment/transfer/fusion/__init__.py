"""Brain-machine fusion: a frozen vision encoder and the responses of a brain that an encoding model predicts from it.

After NeuralOOD (arXiv 2408.14950), on mouse or human responses. Importing this package does not import torch; each name
is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.transfer.fusion._fit import FitResult, FitSettings
    from alignment.transfer.fusion.algonauts import algonauts_files, read_algonauts
    from alignment.transfer.fusion.brain_transformer import BrainTransformer
    from alignment.transfer.fusion.decoder import RoiDecoder
    from alignment.transfer.fusion.encoding import BrainEncoder, EncoderOptions, fit_encoder, score_encoder
    from alignment.transfer.fusion.head import FUSE, FusionHead, HeadOptions, HeadOutput
    from alignment.transfer.fusion.loss import fusion_loss, pearson
    from alignment.transfer.fusion.responses import ROI_BY, ResponsePairs, choose_rois, pairs_from_cells
    from alignment.transfer.fusion.ridge import LAMBDAS, Ridge, fit_ridge
    from alignment.transfer.fusion.shifted import MatchedClasses, imagenet_wnids, match_classes
    from alignment.transfer.fusion.tokens import Tokens, extract_tokens
    from alignment.transfer.fusion.training import (
        RESPONSES,
        TrainedHead,
        Variant,
        attention_maps,
        control_responses,
        evaluate_head,
        train_head,
    )

_HOMES = {
    "FitResult": "_fit",
    "FitSettings": "_fit",
    "algonauts_files": "algonauts",
    "read_algonauts": "algonauts",
    "BrainTransformer": "brain_transformer",
    "RoiDecoder": "decoder",
    "BrainEncoder": "encoding",
    "EncoderOptions": "encoding",
    "fit_encoder": "encoding",
    "score_encoder": "encoding",
    "FUSE": "head",
    "FusionHead": "head",
    "HeadOptions": "head",
    "HeadOutput": "head",
    "fusion_loss": "loss",
    "pearson": "loss",
    "ROI_BY": "responses",
    "ResponsePairs": "responses",
    "choose_rois": "responses",
    "pairs_from_cells": "responses",
    "LAMBDAS": "ridge",
    "Ridge": "ridge",
    "fit_ridge": "ridge",
    "MatchedClasses": "shifted",
    "imagenet_wnids": "shifted",
    "match_classes": "shifted",
    "Tokens": "tokens",
    "extract_tokens": "tokens",
    "RESPONSES": "training",
    "TrainedHead": "training",
    "Variant": "training",
    "attention_maps": "training",
    "control_responses": "training",
    "evaluate_head": "training",
    "train_head": "training",
}

__all__ = [
    "FUSE",
    "LAMBDAS",
    "RESPONSES",
    "ROI_BY",
    "BrainEncoder",
    "BrainTransformer",
    "EncoderOptions",
    "FitResult",
    "FitSettings",
    "FusionHead",
    "HeadOptions",
    "HeadOutput",
    "MatchedClasses",
    "ResponsePairs",
    "Ridge",
    "RoiDecoder",
    "Tokens",
    "TrainedHead",
    "Variant",
    "algonauts_files",
    "attention_maps",
    "choose_rois",
    "control_responses",
    "evaluate_head",
    "extract_tokens",
    "fit_encoder",
    "fit_ridge",
    "fusion_loss",
    "imagenet_wnids",
    "match_classes",
    "pairs_from_cells",
    "pearson",
    "read_algonauts",
    "score_encoder",
    "train_head",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
