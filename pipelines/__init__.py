"""Studies: what to compute, in which order, where, and how to ask for it from the command line.

Importing this package loads nothing else; what a user calls from Python is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_alignment import check_siblings

if TYPE_CHECKING:
    from pipelines.compare import compare_run

__all__ = ["compare_run"]

check_siblings("alignment", "cache", "reports")


def __getattr__(name: str) -> Any:
    if name == "compare_run":
        from pipelines.compare import compare_run

        return compare_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
