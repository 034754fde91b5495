"""One file format for each kind of value; each library is imported only when a value of its kind is met."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_alignment import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    import xarray as xr

__all__ = [
    "read_arrays",
    "read_datasets",
    "read_table",
    "read_tensors",
    "write_arrays",
    "write_datasets",
    "write_table",
    "write_tensors",
]


def write_datasets(path: Path, datasets: Mapping[str, xr.Dataset]) -> None:
    """Write datasets as the groups of one Zarr hierarchy (format 2), packed in one zip file.

    One file in place of some ten a variable: quick to check, to digest and to list, also on a network disk.
    ``xarray.open_zarr(zarr.storage.ZipStore(path), group=..., consolidated=False)`` reads it from elsewhere.
    """
    import xarray as xr

    # Newer xarray would write format 3; older ones know no other format than 2 and have no such argument.
    newer = "zarr_format" in inspect.signature(xr.Dataset.to_zarr).parameters
    options: dict[str, Any] = {"zarr_format": 2} if newer else {}
    tree = path.with_name(f"{path.name}.tree")
    for group, dataset in datasets.items():
        try:
            _without_encoding(dataset).to_zarr(tree, group=group, mode="w-", consolidated=False, **options)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"The dataset '{group}' cannot be written as Zarr: {error}. "
                "Its variables and attributes must be numbers, text, dates or booleans."
            ) from error
    _pack(tree, path)


def read_datasets(path: Path, groups: Iterable[str]) -> dict[str, xr.Dataset]:
    """Read groups of :func:`write_datasets` into memory."""
    import xarray as xr
    from zarr.storage import ZipStore

    store: Any = ZipStore(os.fspath(path), mode="r")  # xarray opens it, and does not say so
    try:
        found = {}
        for group in groups:
            lazy = xr.open_dataset(store, engine="zarr", group=group, backend_kwargs={"consolidated": False})
            found[group] = _with_plain_text(_without_encoding(lazy.load()))
        return found
    finally:
        store.close()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, its index included."""
    try:
        table.to_parquet(path, engine="pyarrow")
    except OSError:
        raise
    except Exception as error:  # pyarrow's and pandas's own kinds are many; all mean the same here
        raise InputError(
            f"The table with columns {list(table.columns)[:8]} cannot be written as Parquet: {error}. "
            "Each column must have a text name and values of one kind."
        ) from error


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of :func:`write_table`."""
    import pandas as pd

    return pd.read_parquet(path, engine="pyarrow")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write NumPy arrays as safetensors."""
    import numpy as np
    from safetensors.numpy import save_file

    ready = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise InputError(
                f"The array '{name}' of type {array.dtype} cannot be kept as safetensors: numbers and "
                "booleans of at most 64 bits can. Put text and dates in a table or a dataset."
            )
        plain = np.ascontiguousarray(array).reshape(array.shape)
        ready[name] = plain.astype(plain.dtype.newbyteorder("="), copy=False)
    with _disk_errors():
        save_file(ready, os.fspath(path))


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read arrays of :func:`write_arrays`."""
    return _read_safetensors(path, names, "numpy")


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write torch tensors as safetensors; tensors that share memory are written apart."""
    from safetensors.torch import save_file

    ready: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in seen or plain.untyped_storage().nbytes() != plain.nbytes:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        ready[name] = plain
    try:
        with _disk_errors():
            save_file(ready, os.fspath(path))
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            f"The tensors {list(ready)[:4]} cannot be kept as safetensors: {error}. Only dense tensors can."
        ) from error


def read_tensors(path: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Read tensors of :func:`write_tensors`, onto the CPU."""
    return _read_safetensors(path, names, "pt")


def _read_safetensors(path: Path, names: Iterable[str], framework: str) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(os.fspath(path), framework=framework) as file:
        return {name: file.get_tensor(name) for name in names}


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """Give back the system's error that safetensors wraps in text of its own: a full disk is told as one."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _without_encoding(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset without what it remembers of its file: the chunks there must not rule here."""
    plain = dataset.copy(deep=False)
    plain.encoding = {}
    for variable in plain.variables.values():
        variable.encoding = {}
    return plain


def _with_plain_text(dataset: xr.Dataset) -> xr.Dataset:
    """Return text as the Python strings that were written: zarr 3 beside numpy 2 reads it as ``StringDType``."""
    text = {name: variable.astype(object) for name, variable in dataset.variables.items() if variable.dtype.kind == "T"}
    coordinates = {name: variable for name, variable in text.items() if name in dataset.coords}
    return dataset.assign_coords(coordinates).assign({name: text[name] for name in text.keys() - coordinates.keys()})


def _pack(tree: Path, path: Path) -> None:
    """Move a folder's files into a zip file: not compressed again, no times, so same tree, same bytes."""
    with zipfile.ZipFile(path, mode="x", compression=zipfile.ZIP_STORED, allowZip64=True) as archive:
        for file in sorted(tree.rglob("*")):
            if file.is_file():
                member = zipfile.ZipInfo(file.relative_to(tree).as_posix())
                with file.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                file.unlink()  # at no time twice the room
    shutil.rmtree(tree)
