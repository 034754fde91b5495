"""A value to files and back: datasets, tables, arrays, tensors, plain data, and mappings that mix them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cache import formats
from cache.keys import _is_numpy_scalar
from neural_alignment import InputError

__all__ = ["part_names", "read_value", "write_value"]

INDEX = "value.json"
DATASETS, ARRAYS, TENSORS = "datasets.zarr.zip", "arrays.safetensors", "tensors.safetensors"


def write_value(value: Any, folder: Path) -> None:
    """Write a value as files in an empty folder.

    Parameters ---------- value : xarray.Dataset, xarray.DataArray, pandas.DataFrame, array, tensor,
    JSON-able, or a mapping of names to these
        Datasets become groups of one Zarr hierarchy, tables Parquet, arrays and tensors safetensors,
        everything else stands in ``value.json`` beside the list of the parts. Mappings may be nested.
    folder : Path
        Where the files go.

    Raises
    ------
    InputError
        The value, or a part of it, is of no kind that can be kept.
    """
    writer = _Writer(folder)
    tree = writer.add(value, ())
    writer.finish()
    (folder / INDEX).write_text(json.dumps({"format": 1, "value": tree}), encoding="utf-8")


def read_value(folder: Path, only: Iterable[str] | None = None) -> Any:
    """Read what :func:`write_value` wrote.

    Parameters
    ----------
    folder : Path
        Where the files are.
    only : iterable of str, optional
        Of a mapping, the names to read; the others' files are not opened or not read through.

    Raises
    ------
    InputError
        A name in ``only`` is not in the mapping.
    """
    tree = _index(folder)
    if only is not None:
        tree = _chosen(tree, list(only))
    return _Reader(folder, tree).value()


def part_names(folder: Path) -> list[str]:
    """Return the names of a mapping's parts; none for a value that is not a mapping."""
    tree = _index(folder)
    if tree["kind"] == "mapping":
        return list(tree["parts"])
    return list(tree["value"]) if tree["kind"] == "json" and isinstance(tree["value"], dict) else []


def _index(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))["value"]
    return tree


def _chosen(tree: dict[str, Any], only: list[str]) -> dict[str, Any]:
    slot = {"mapping": "parts", "json": "value"}.get(tree["kind"], "")
    parts = tree.get(slot)
    if not isinstance(parts, dict):
        raise InputError(f"This result is one {tree['kind']}, not a mapping of names. Read it without 'only'.")
    missing = [name for name in only if name not in parts]
    if missing:
        raise InputError(f"This result has no part {missing[0]!r}; it has {', '.join(map(repr, parts))}.")
    return {**tree, slot: {name: parts[name] for name in only}}


class _Writer:
    """Walk a value, write its tables at once and gather the parts that share a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.datasets: dict[str, Any] = {}
        self.arrays: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}
        self.files: set[str] = set()

    def add(self, value: Any, path: tuple[str, ...]) -> dict[str, Any]:
        if _is(value, "xarray", "Dataset"):
            return {"kind": "dataset", "at": _put(self.datasets, path, value)}
        if _is(value, "xarray", "DataArray"):
            plain = value.rename(None).to_dataset(name="__array__")
            plain.attrs = {}
            return {"kind": "dataarray", "name": value.name, "at": _put(self.datasets, path, plain)}
        if _is(value, "pandas", "DataFrame"):
            name = self._file_name(path)
            formats.write_table(self.folder / name, value)
            return {"kind": "table", "at": name}
        if _is(value, "torch", "Tensor"):
            return {"kind": "tensor", "at": _put(self.tensors, path, value)}
        if _is(value, "numpy", "ndarray"):
            return {"kind": "array", "at": _put(self.arrays, path, value)}
        if isinstance(value, Mapping) and any(_is_heavy(item) for item in value.values()):
            for name in value:
                if not isinstance(name, str):
                    raise InputError(f"The parts of a result must have text as names. Got {name!r} instead.")
            return {
                "kind": "mapping",
                "parts": {name: self.add(item, (*path, name)) for name, item in value.items()},
            }
        return {"kind": "json", "value": _json_able(value, ".".join(path) or "value")}

    def finish(self) -> None:
        if self.datasets:
            formats.write_datasets(self.folder / DATASETS, self.datasets)
        if self.arrays:
            formats.write_arrays(self.folder / ARRAYS, self.arrays)
        if self.tensors:
            formats.write_tensors(self.folder / TENSORS, self.tensors)

    def _file_name(self, path: tuple[str, ...]) -> str:
        base = "-".join(_safe(name) for name in path)[:100] or "table"
        name, number = f"{base}.parquet", 1
        while name.casefold() in self.files:  # some disks do not tell A from a
            name, number = f"{base}~{number}.parquet", number + 1
        self.files.add(name.casefold())
        return name


class _Reader:
    """Read all parts that share a file in one opening, then put the value together."""

    def __init__(self, folder: Path, tree: dict[str, Any]) -> None:
        self.folder, self.tree = folder, tree
        wanted: dict[str, list[str]] = {"dataset": [], "array": [], "tensor": []}
        self._gather(tree, wanted)
        self.datasets = formats.read_datasets(folder / DATASETS, wanted["dataset"]) if wanted["dataset"] else {}
        self.arrays = formats.read_arrays(folder / ARRAYS, wanted["array"]) if wanted["array"] else {}
        self.tensors = formats.read_tensors(folder / TENSORS, wanted["tensor"]) if wanted["tensor"] else {}

    def _gather(self, node: dict[str, Any], wanted: dict[str, list[str]]) -> None:
        if node["kind"] == "mapping":
            for part in node["parts"].values():
                self._gather(part, wanted)
        kind = "dataset" if node["kind"] == "dataarray" else node["kind"]
        if kind in wanted:
            wanted[kind].append(node["at"])

    def value(self) -> Any:
        return self._value(self.tree)

    def _value(self, node: dict[str, Any]) -> Any:
        kind = node["kind"]
        if kind == "mapping":
            return {name: self._value(part) for name, part in node["parts"].items()}
        if kind == "dataset":
            return self.datasets[node["at"]]
        if kind == "dataarray":
            return self.datasets[node["at"]]["__array__"].rename(node["name"])
        if kind == "table":
            return formats.read_table(self.folder / node["at"])
        if kind == "array":
            return self.arrays[node["at"]]
        if kind == "tensor":
            return self.tensors[node["at"]]
        return node["value"]


def _put(parts: dict[str, Any], path: tuple[str, ...], value: Any) -> str:
    name = "/".join(_safe(name) for name in path) or "value"
    while name in parts:  # "__metadata__" is made safe by a prefix that another part may bear
        name += "_"
    parts[name] = value
    return name


def _safe(name: str) -> str:
    """Return a name that is one part of a path and of a group's name, whatever it holds."""
    plain = quote(name, safe=" +-_.,()[]")
    # Zarr takes a leading dot or underscores for its own, safetensors one reserved word.
    return plain if plain and not plain.startswith((".", "__")) else f"%{plain}"


def _is(value: Any, module: str, name: str) -> bool:
    """Tell whether a value is of a library's class; a library that was never imported has made no values."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


_HEAVY = (
    ("xarray", "Dataset"),
    ("xarray", "DataArray"),
    ("pandas", "DataFrame"),
    ("torch", "Tensor"),
    ("numpy", "ndarray"),
)


def _is_heavy(value: Any) -> bool:
    if isinstance(value, Mapping) and not _is(value, "xarray", "Dataset"):
        return any(_is_heavy(item) for item in value.values())
    return any(_is(value, module, name) for module, name in _HEAVY)


def _json_able(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if _is_numpy_scalar(value):
        return value.item()
    if isinstance(value, list | tuple):
        return [_json_able(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _json_able(item, f"{place}.{name}") for name, item in value.items()}
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise InputError(
        "The store keeps datasets, tables, arrays, tensors, JSON-able data, and mappings of text to these. "
        f"Got {kind} at {place}. Of a network keep its state_dict()."
    )
