"""Numbers in sentences: signs, intervals and what an interval allows to say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alignment.similarity import CANNOT_TELL

__all__ = ["CANNOT_TELL", "interval", "signed", "verdict"]


def signed(value: float, digits: int = 4) -> str:
    """Write a number with its sign, a true minus included."""
    return f"{value:+.{digits}f}".replace("-", "−")


def interval(low: float, high: float, write: Callable[[float], str] = signed) -> str | None:
    """Write an interval in brackets, or ``None`` where there is none."""
    known = np.isfinite(low) and np.isfinite(high)
    return f"[{write(low)}, {write(high)}]" if known else None


def verdict(low: float, high: float) -> str:
    """Say what a 95 % interval of a difference allows: ``"lower"``, ``"higher"`` or ``"undecided"``."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return "no interval"
    if high < 0:
        return "lower"
    return "higher" if low > 0 else "undecided"
