"""The name, version and errors that every part of neural-alignment shares.

``alignment``, ``cache``, ``reports`` and ``pipelines`` stand beside one another and mostly do not import each other;
this module is the one thing that all of them may import.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["DataError", "InputError", "NeuralAlignmentError", "__version__", "check_siblings", "closest"]

__version__ = "0.1.0"


class NeuralAlignmentError(Exception):
    """Base of every error that neural-alignment raises on purpose.

    The message is written for the person who runs the analysis: what is wrong, what is allowed, what came instead
    and what to do next. The command line prints it alone, without a traceback.

    Attributes
    ----------
    exit_code : int
        What ``nalign`` exits with when the error ends a command.
    """

    exit_code = 1


class InputError(NeuralAlignmentError, ValueError):
    """A value, name or option that a person gave is not one that the call accepts (exit code 2)."""

    exit_code = 2


class DataError(NeuralAlignmentError):
    """A file or a data set is missing, damaged or not fit for what was asked of it (exit code 1)."""


def closest(name: str, allowed: Iterable[str]) -> str:
    """Suggest the allowed name nearest to a misspelt one, as a sentence to append to a message.

    Parameters
    ----------
    name : str
        What came.
    allowed : iterable of str
        What would have been accepted.

    Returns
    -------
    str
        ``" Did you mean 'resnet18'?"``, or an empty string when nothing is near.

    Examples
    --------
    >>> closest("resnet81", ["resnet18", "vgg11"])
    " Did you mean 'resnet18'?"
    >>> closest("alexnet", ["vgg11"])
    ''
    """
    by_lower = {str(option).lower(): str(option) for option in allowed}
    matches = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1)
    return f" Did you mean '{by_lower[matches[0]]}'?" if matches else ""


def check_siblings(*names: str) -> None:
    """Raise unless Python finds our packages, and no stranger's, under the names that they have.

    A package that needs others of ours calls it before it imports them: their names are common words, and a
    ``cache.py`` beside a script would be imported in place of ours.

    Parameters
    ----------
    *names : str
        Packages that stand beside this module.

    Raises
    ------
    ImportError
        Another file comes first under one of the names, or none is there.

    Examples
    --------
    >>> check_siblings("cache", "reports")
    """
    home = Path(__file__).resolve().parent
    for name in names:
        module = sys.modules.get(name)
        spec = module.__spec__ if module is not None else importlib.util.find_spec(name)
        places = [] if spec is None else [*(spec.submodule_search_locations or []), spec.origin or ""]
        if not places:
            raise ImportError(f"neural-alignment's package {name!r} is not in {home}: install neural-alignment again.")
        if home / name not in [Path(place).resolve() for place in places]:
            stranger = next(place for place in reversed(places) if place)
            raise ImportError(
                f"{name!r} is {stranger}, which hides neural-alignment's own package in {home}: rename it, or start "
                "Python with PYTHONSAFEPATH=1 (python -P) and without that folder in PYTHONPATH."
            )
