"""Keys and digests: the same work has the same key, and another parameter, input or byte has another."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neural_alignment import DataError, InputError

__all__ = ["canonical_json", "digest_array", "digest_file", "digest_folder", "make_key"]

KEY_LENGTH = 40
"""Hexadecimal digits of a key: 160 bits of SHA-256, beyond accident and short enough for a path."""


def make_key(stage: str, version: str, params: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the key under which a stage's result is kept.

    Parameters
    ----------
    stage, version : str
        Which work, and which generation of its code.
    params : mapping
        Parameters that decide the result: text, numbers, booleans, ``None``, NumPy scalars, and lists,
        tuples and mappings of these. The order of a mapping's names does not matter; a tuple counts as a
        list; ``1``, ``1.0`` and ``True`` are three different values.
    inputs : mapping of str to str
        Keys or digests of what the work reads, by name.

    Returns
    -------
    str
        40 hexadecimal digits.

    Raises
    ------
    InputError
        A parameter has no canonical form (a path, an array, a set, an object).

    Examples
    --------
    >>> a = make_key("train", "1", {"epochs": 3, "rate": 1e-3}, {"domain": "0" * 40})
    >>> b = make_key("train", "1", {"rate": 0.001, "epochs": 3}, {"domain": "0" * 40})
    >>> a == b, a == make_key("train", "2", {"rate": 0.001, "epochs": 3}, {"domain": "0" * 40})
    (True, False)
    """
    text = canonical_json({"stage": stage, "version": version, "params": params, "inputs": inputs})
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:KEY_LENGTH]


def canonical_json(value: Any) -> str:
    """Write a value so that equal values give equal text, and different values different text.

    Parameters
    ----------
    value : object
        As ``params`` of :func:`make_key`.

    Returns
    -------
    str
        JSON in ASCII, names sorted, no spaces; floats in their shortest exact form; not-a-number and
        infinities as ``NaN`` and ``Infinity`` (every not-a-number is the same one).

    Raises
    ------
    InputError
        The value, or one inside it, has no canonical form; the message says where it stands.

    Examples
    --------
    >>> canonical_json({"b": (1, 2.0), "a": None})
    '{"a":null,"b":[1,2.0]}'
    """
    return json.dumps(_plain(value, ""), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _plain(value: Any, place: str) -> Any:
    """Return the value with JSON's own types only; ``place`` is where it stands, for the message."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        # One spelling for all not-a-number values; float() strips NumPy's float64, which is a float by
        # inheritance.
        return math.nan if math.isnan(value) else float(value)
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise _no_form(name, f"a name in {place or 'the top'}", "Names must be text.")
        inside = f"{place}." if place else ""
        return {str.__str__(name): _plain(item, f"{inside}{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if _is_numpy_scalar(value):
        return _plain(value.item(), place)
    raise _no_form(value, place, _way_out(value))


def _is_numpy_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")  # a NumPy value cannot come from a process that never imported NumPy
    return numpy is not None and isinstance(value, numpy.bool_ | numpy.integer | numpy.floating)


def _way_out(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return "A path says nothing of what lies there: give digest_file() or digest_folder() of it."
    if hasattr(value, "__array__"):
        return "Give digest_array() of it."
    if isinstance(value, set | frozenset):
        return "A set has no order: give sorted(...) of it."
    return "Give the values that define it."


def _no_form(value: Any, place: str, hint: str) -> InputError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return InputError(
        "A key is made of text, numbers, booleans, None, lists and mappings of these. "
        f"Got {kind} at {place or 'the top'}. {hint}"
    )


def digest_array(array: Any) -> str:
    """Return the digest of an array's values, shape and type; layout in memory and byte order do not matter.

    Parameters
    ----------
    array : array_like
        NumPy array, xarray DataArray, or torch tensor, of numbers, booleans, dates or fixed-width text.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).

    Raises
    ------
    InputError
        The array holds Python objects, whose bytes are addresses.

    Examples
    --------
    >>> import numpy as np
    >>> digest_array(np.eye(3)) == digest_array(np.asfortranarray(np.eye(3)))
    True
    """
    import numpy as np

    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        if array.dtype == torch.bfloat16:  # NumPy has no such type; its bits under another name keep it apart
            array = array.view(torch.int16)
            return digest_array(array.numpy().view("V2"))
    values = np.asarray(array)
    if values.dtype.hasobject:
        raise InputError(
            f"An array of Python objects has no digest of its own (type {values.dtype}). "
            "Give numbers, or text as a fixed-width array: array.astype(str)."
        )
    values = np.ascontiguousarray(values).reshape(values.shape)
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode("ascii"))
    if values.size:
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def digest_file(path: str | os.PathLike[str]) -> str:
    """Return the digest of a file's bytes (SHA-256, 64 hexadecimal digits).

    Raises
    ------
    DataError
        The file is not there or cannot be read.

    See Also
    --------
    cache.Store.digest_file : remembers digests by path, size and time of change.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"The file {os.fspath(path)} cannot be read: {error.strerror or error}. Check the path and its permissions."
        ) from None


def digest_folder(path: str | os.PathLike[str], digest: Callable[[Path], str] = digest_file) -> str:
    """Return the digest of all files in a folder: their names relative to it and their bytes.

    Parameters
    ----------
    path : path
        The folder. Empty folders, times and permissions do not matter.
    digest : callable, optional
        What gives one file's digest.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).

    Raises
    ------
    DataError
        The folder is not there, or a file in it cannot be read.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"The folder {folder} is not there. Check the path.")
    listing = {
        file.relative_to(folder).as_posix(): digest(file) for file in sorted(folder.rglob("*")) if file.is_file()
    }
    return hashlib.sha256(canonical_json(listing).encode("ascii")).hexdigest()
