"""Single-source domain generalisation: domains, training, evaluation and the methods to compare with.

Importing this package does not import torch; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.transfer import fusion
    from alignment.transfer.corruptions import SHIFTS, apply_shift
    from alignment.transfer.domains import Domain, check_domain, domain_files, list_domains, load_domain, shift_between
    from alignment.transfer.evaluation import Evaluation, evaluate, wilson_interval
    from alignment.transfer.floors import transfer_floors, words_below
    from alignment.transfer.invariance import EQUAL_SHARE, paired_distances
    from alignment.transfer.link import GainLink, correlate_gains
    from alignment.transfer.methods import METHODS, Batch, Method, create_method
    from alignment.transfer.published import published_transfers
    from alignment.transfer.statistics import activation_statistics, domains_inside, feature_distances
    from alignment.transfer.summary import (
        condition_differences,
        paired_differences,
        pooled_difference,
        rank_variants,
        summarise_seeds,
    )
    from alignment.transfer.training import DivergenceError, TrainingResult, train

_HOMES = {
    "SHIFTS": "corruptions",
    "apply_shift": "corruptions",
    "Domain": "domains",
    "check_domain": "domains",
    "domain_files": "domains",
    "list_domains": "domains",
    "load_domain": "domains",
    "shift_between": "domains",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "wilson_interval": "evaluation",
    "transfer_floors": "floors",
    "words_below": "floors",
    "EQUAL_SHARE": "invariance",
    "paired_distances": "invariance",
    "GainLink": "link",
    "correlate_gains": "link",
    "METHODS": "methods",
    "Batch": "methods",
    "Method": "methods",
    "create_method": "methods",
    "published_transfers": "published",
    "activation_statistics": "statistics",
    "domains_inside": "statistics",
    "feature_distances": "statistics",
    "condition_differences": "summary",
    "paired_differences": "summary",
    "pooled_difference": "summary",
    "rank_variants": "summary",
    "summarise_seeds": "summary",
    "DivergenceError": "training",
    "TrainingResult": "training",
    "train": "training",
}

__all__ = [
    "EQUAL_SHARE",
    "METHODS",
    "SHIFTS",
    "Batch",
    "DivergenceError",
    "Domain",
    "Evaluation",
    "GainLink",
    "Method",
    "TrainingResult",
    "activation_statistics",
    "apply_shift",
    "check_domain",
    "condition_differences",
    "correlate_gains",
    "create_method",
    "domain_files",
    "domains_inside",
    "evaluate",
    "feature_distances",
    "fusion",
    "list_domains",
    "load_domain",
    "paired_differences",
    "paired_distances",
    "pooled_difference",
    "published_transfers",
    "rank_variants",
    "shift_between",
    "summarise_seeds",
    "train",
    "transfer_floors",
    "wilson_interval",
    "words_below",
]


def __getattr__(name: str) -> Any:
    if name == "fusion":
        return importlib.import_module(f"{__name__}.fusion")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
