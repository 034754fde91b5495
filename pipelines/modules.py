"""Where a person's own networks, layers and methods are imported from (``net:make`` in a study)."""

from __future__ import annotations

import os
import sys

__all__ = ["append_modules"]


def append_modules(folder: str | os.PathLike[str] | None) -> None:
    """Let modules in a folder be imported, after everything else, so that they never hide a package.

    Parameters
    ----------
    folder : path, optional
        Nothing is done without one, or where it is on the path already.
    """
    if folder is not None and os.fspath(folder) not in sys.path:
        sys.path.append(os.fspath(folder))
