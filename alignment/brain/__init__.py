"""Mouse visual cortex in: the observatory, its simulated twin, responses, representations and populations.

Names are imported when first used, so that ``import alignment.brain`` costs nothing: AllenSDK and umap-learn
load only where they are needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.brain.joining import join_sessions
    from alignment.brain.observatory import Observatory, Session
    from alignment.brain.populations import group_cells, plan_selection, select_cells
    from alignment.brain.precomputed import read_rsms, read_scenes
    from alignment.brain.quality import quality_by_cell, quality_table, responsiveness
    from alignment.brain.representations import represent, resize_scenes, scale_unit, weighted_images
    from alignment.brain.responses import split_half_reliability, trial_responses
    from alignment.brain.simulated import simulate_observatory

__all__ = [
    "Observatory",
    "Session",
    "group_cells",
    "join_sessions",
    "plan_selection",
    "quality_by_cell",
    "quality_table",
    "read_rsms",
    "read_scenes",
    "represent",
    "resize_scenes",
    "responsiveness",
    "scale_unit",
    "select_cells",
    "simulate_observatory",
    "split_half_reliability",
    "trial_responses",
    "weighted_images",
]

_HOMES = {
    "Observatory": "observatory",
    "Session": "observatory",
    "group_cells": "populations",
    "join_sessions": "joining",
    "plan_selection": "populations",
    "quality_by_cell": "quality",
    "quality_table": "quality",
    "read_rsms": "precomputed",
    "read_scenes": "precomputed",
    "represent": "representations",
    "resize_scenes": "representations",
    "responsiveness": "quality",
    "scale_unit": "representations",
    "select_cells": "populations",
    "simulate_observatory": "simulated",
    "split_half_reliability": "responses",
    "trial_responses": "responses",
    "weighted_images": "representations",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
