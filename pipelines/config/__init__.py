"""The study file: what may stand in it, and one clear message for each thing that may not.

A study is YAML, checked by the pydantic models below. Paths in it are relative to the file. Everything except
``compute`` and ``report`` decides results and is part of their keys.
"""

from pipelines.config.brain import ObservatoryConfig, RepresentationsConfig, ResponsesConfig
from pipelines.config.comparison import ControlsConfig, SimilarityConfig
from pipelines.config.fusion import FusionConfig, VariantConfig
from pipelines.config.layers import LayerConfig
from pipelines.config.networks import ActivationsConfig, ArchitecturesConfig, ModelConfig
from pipelines.config.rsa import RsaConfig
from pipelines.config.study import ComputeConfig, Study
from pipelines.config.transfer import MethodConfig, PretrainConfig, TransferConfig

__all__ = [
    "ActivationsConfig",
    "ArchitecturesConfig",
    "ComputeConfig",
    "ControlsConfig",
    "FusionConfig",
    "LayerConfig",
    "MethodConfig",
    "ModelConfig",
    "ObservatoryConfig",
    "PretrainConfig",
    "RepresentationsConfig",
    "ResponsesConfig",
    "RsaConfig",
    "SimilarityConfig",
    "Study",
    "TransferConfig",
    "VariantConfig",
]
