"""The name, version and errors that every part of neural-alignment shares.

``alignment``, ``cache``, ``reports`` and ``pipelines`` stand beside one another and mostly do not import each other;
this module is the one thing that all of them may import.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DataError", "InputError", "NeuralAlignmentError", "__version__", "closest"]

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
