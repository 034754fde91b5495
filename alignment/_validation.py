"""Constraints as data: each check raises one :class:`~neural_alignment.InputError` of the same form."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from neural_alignment import InputError, closest

__all__ = ["check_choice", "check_integer", "check_name", "check_number", "check_within", "fail"]


def fail(parameter: str, owner: str, allowed: str, got: object, hint: str = "") -> InputError:
    """Build the error for one refused value.

    Parameters
    ----------
    parameter, owner : str
        The parameter and the public name it belongs to.
    allowed : str
        What is accepted, as the end of the sentence "must be ...".
    got : object
        What came; shown with ``repr``, shortened.
    hint : str, optional
        What to do next.

    Returns
    -------
    InputError
        For the caller to raise.

    Examples
    --------
    >>> raise fail("k", "NeuRN", "an odd integer ≥ 3", 4)
    Traceback (most recent call last):
        ...
    neural_alignment.InputError: The 'k' parameter of NeuRN must be an odd integer ≥ 3. Got 4 instead.
    """
    shown = repr(got)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    message = f"The '{parameter}' parameter of {owner} must be {allowed}. Got {shown} instead."
    return InputError(f"{message} {hint.strip()}".strip())


def check_choice(value: Any, parameter: str, owner: str, options: Collection[str]) -> str:
    """Return ``value`` if it is one of ``options``; otherwise raise, naming them all and the closest."""
    if isinstance(value, str) and value in options:
        return value
    listed = ", ".join(repr(option) for option in options)
    raise fail(parameter, owner, f"one of {listed}", value, closest(str(value), options))


def check_name(value: Any, what: str, known: Collection[str], where: str = "") -> str:
    """Return ``value`` if it is a known name; otherwise raise, with the closest name and not the whole list."""
    if isinstance(value, str) and value in known:
        return value
    hint = closest(str(value), known) or (f" See {where}." if where else "")
    raise InputError(f"Unknown {what} {value!r}: it is none of the {len(known)} known ones.{hint}")


def check_integer(
    value: Any,
    parameter: str,
    owner: str,
    *,
    low: int | None = None,
    high: int | None = None,
    odd: bool = False,
) -> int:
    """Return ``value`` as ``int`` if it is a whole number within the limits (booleans are refused)."""
    good = isinstance(value, Integral) and not isinstance(value, bool)
    if good:
        number = int(value)
        good = (low is None or number >= low) and (high is None or number <= high)
        good = good and (not odd or number % 2 == 1)
    if not good:
        kind = "an odd integer" if odd else "an integer"
        raise fail(parameter, owner, kind + _limits(low, high), value)
    return int(value)


def check_number(
    value: Any,
    parameter: str,
    owner: str,
    *,
    low: float | None = None,
    high: float | None = None,
    open_low: bool = False,
) -> float:
    """Return ``value`` as ``float`` if it is a finite number within the limits; ``open_low`` excludes ``low``."""
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))
    if good:
        number = float(value)
        good = low is None or (number > low if open_low else number >= low)
        good = good and (high is None or number <= high)
    if not good:
        raise fail(parameter, owner, "a finite number" + _limits(low, high, open_low), value)
    return float(value)


def check_within(path: Path, folder: Path, what: str) -> Path:
    """Return ``path`` if, links resolved, it lies inside ``folder``; names and ids never lead out of it."""
    resolved, base = path.resolve(), folder.resolve()
    if resolved != base and base not in resolved.parents:
        raise InputError(f"{what} leads outside of {base}: {resolved}. Give a plain name without '..' or '/'.")
    return path


def _limits(low: float | None, high: float | None, open_low: bool = False) -> str:
    if low is not None and high is not None:
        return f" between {low} {'(excluded) ' if open_low else ''}and {high}"
    if low is not None:
        return f" {'>' if open_low else '≥'} {low}"
    return f" ≤ {high}" if high is not None else ""
