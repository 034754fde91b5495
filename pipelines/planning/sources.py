"""The content of the user's own classes and functions: what a task's key must hold of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from cache import Store

__all__ = ["own_source"]

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
