"""What a study names on this machine: the content of the user's own classes and functions, and files of data."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from cache import Store
from neural_alignment import DataError

__all__ = ["existing", "own_source"]

_LIBRARIES = ("timm", "torchvision")


def own_source(name: str, store: Store) -> dict[str, str]:
    """Return the digest of the file behind a name of the form ``package.module:thing``, or nothing.

    Parameters
    ----------
    name : str
        A network's or method's name; one of the zoo, of timm or of torchvision has no file of the user's.
    store : Store
        Digests the file, so that results are computed again once it is edited.

    Returns
    -------
    dict
        ``content``, or empty.
    """
    module, colon, _ = name.partition(":")
    if not colon or module in _LIBRARIES:
        return {}
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # told, with what to do, when it is made
        return {}
    if found is None or not found.origin or not Path(found.origin).is_file():
        return {}
    return {"content": store.digest_file(found.origin)}


def existing(path: Path, what: str, origin: str | None) -> Path:
    """Return a file that a study names, if it is there.

    Parameters
    ----------
    path : Path
        Absolute, as :func:`~pipelines.study.load_study` makes it.
    what : str
        What the file is, to begin a sentence.
    origin : str or None
        Where the study says that it comes from.

    Raises
    ------
    DataError
        It is missing; the message says where it was looked for and where it comes from.
    """
    if path.is_file():
        return path
    source = f" Its origin, as the study declares it: {origin}" if origin else ""
    raise DataError(
        f"{what} is not there: {path}. A relative path in a study is looked for beside the study, then in the folder "
        f"of data sets (--data DIR, or $NALIGN_DATA). Put the file there, or mend the path.{source}"
    )
