"""Values to files and back."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cache.values import part_names, read_value, write_value
from neural_alignment import InputError


def _round_trip(value: Any, only: list[str] | None = None) -> Any:
    with TemporaryDirectory() as folder:
        write_value(value, Path(folder))
        return read_value(Path(folder), only)


def _same(found: Any, expected: Any) -> None:
    """Compare kinds as well as values, all the way down."""
    if isinstance(expected, xr.Dataset | xr.DataArray):
        assert type(found) is type(expected)
        xr.testing.assert_identical(found, expected)
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray) and found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert isinstance(found, dict) and list(found) == list(expected)
        for name in expected:
            _same(found[name], expected[name])
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _same(one, other)
    else:
        assert type(found) is type(expected)
        assert found == expected or (found != found and expected != expected)


def _dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "response": (("cell", "scene"), np.arange(6, dtype=np.float32).reshape(2, 3)),
            "count": ("cell", np.array([0, 7], dtype=np.int16)),
            "holes": ("scene", np.array([np.nan, 0.0, np.inf])),
            "image": (("y", "x"), np.arange(4, dtype=np.uint8).reshape(2, 2)),
            "kept": ("cell", np.array([True, False])),
            "nothing": (("cell", "none"), np.zeros((2, 0))),
        },
        coords={
            "area": ("cell", np.array(["VISp", "VISal"], dtype=object)),
            "genotype": ("cell", np.array(["Cux2-1", "Émx1"])),
            "cell": np.array([2**40, 5]),
            "depth_um": 175.0,
            "day": ("cell", pd.to_datetime(["2016-01-02", "2017-03-04"]).values.astype("datetime64[ns]")),
        },
        attrs={"simulated": 1, "window": [0.0, 0.5], "method": "dff"},
    )


def test_a_dataset_keeps_dimensions_coordinates_types_and_attributes() -> None:
    found = _round_trip(_dataset())
    _same(found, _dataset())
    for name in ("response", "count", "image", "kept", "cell"):
        assert found[name].dtype == _dataset()[name].dtype, name


def test_a_dataset_that_was_read_from_another_chunking_is_written_all_the_same(tmp_path: Path) -> None:
    write_value({"one": _dataset()}, tmp_path)
    again = read_value(tmp_path)["one"]
    again["response"].encoding = {"chunks": (1, 1), "compressor": None, "filters": None}
    _same(_round_trip(again), _dataset())


def test_a_mixture_keeps_every_part_in_order() -> None:
    torch = pytest.importorskip("torch")
    value = {
        "layers": {"blocks.0/attn": _dataset(), "conv": _dataset().isel(cell=[0])},
        "table": pd.DataFrame({"name": ["a", None], "x": [1.5, np.nan]}, index=pd.Index([3, 4], name="id")),
        "Table": pd.DataFrame({"n": [1]}),
        "array": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "settings": {"lr": 1e-3, "layers": [1, 2], "none": None, "nan": float("nan")},
        "matrix": xr.DataArray(np.eye(2), dims=("a", "b"), name="m", attrs={"unit": "1"}),
        "unnamed": xr.DataArray(np.eye(2), dims=("a", "b")),
    }
    state = {"w": torch.eye(3), "b": torch.zeros(2, dtype=torch.bfloat16), "n": torch.tensor(3)}
    found = _round_trip({**value, "state": state})
    loaded = found.pop("state")
    _same(found, value)
    assert list(loaded) == list(state)
    for name, tensor in state.items():
        assert loaded[name].dtype == tensor.dtype and torch.equal(loaded[name], tensor)


def test_tensors_that_share_memory_or_carry_gradients_come_back_whole() -> None:
    torch = pytest.importorskip("torch")
    base = torch.arange(12.0).reshape(3, 4)
    layer = torch.nn.Linear(2, 2)
    value = {
        "all": base,
        "row": base[1],
        "turned": base.T,
        "again": base,
        "weight": layer.weight,
        "none": base[:0],
    }
    found = _round_trip(value)
    for name, tensor in value.items():
        assert torch.equal(found[name], tensor.detach()), name
        assert not found[name].requires_grad


NAMES = [
    "",
    ".",
    "..",
    "a/b",
    "a%2Fb",
    "a b",
    "é",
    "__metadata__",
    "%__metadata__",
    ".zattrs",
    "A",
    "a",
    "_x",
    "CON",
    "\n",
]


def test_names_of_any_kind_stay_apart() -> None:
    arrays = {name: np.array([number]) for number, name in enumerate(NAMES)}
    _same(_round_trip(arrays), arrays)
    sets = {name: xr.Dataset({"v": ("x", [number])}) for number, name in enumerate(NAMES)}
    _same(_round_trip(sets), sets)
    tables = {name: pd.DataFrame({"v": [number]}) for number, name in enumerate(NAMES)}
    _same(_round_trip(tables), tables)


def test_no_name_writes_outside_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    write_value({"../../out": pd.DataFrame({"a": [1]}), "/tmp/x": xr.Dataset({"v": 1})}, inside)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["inside"]


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "text", [], {}, [1, [2, None]], {"a": {"b": ["c"]}}])
def test_plain_data_come_back_as_they_were(value: Any) -> None:
    _same(_round_trip(value), value)


def test_single_arrays_and_scalars_keep_their_shape() -> None:
    for array in (np.array(3.0), np.zeros((0, 4)), np.arange(3, dtype=">i4"), np.array([True])):
        found = _round_trip(array)
        assert found.shape == array.shape
        np.testing.assert_array_equal(found, array)
    assert _round_trip({"n": np.int64(3), "t": (1, 2)}) == {"n": 3, "t": [1, 2]}


def test_only_some_parts_can_be_read(tmp_path: Path) -> None:
    value = {"a": np.ones(2), "d": _dataset(), "t": pd.DataFrame({"x": [1]})}
    write_value(value, tmp_path)
    assert part_names(tmp_path) == ["a", "d", "t"]
    (tmp_path / "datasets.zarr.zip").unlink()
    found = read_value(tmp_path, ["t", "a"])
    assert list(found) == ["t", "a"]
    with pytest.raises(InputError, match=r"no part 'z'; it has 'a', 'd', 't'"):
        read_value(tmp_path, ["z"])
    with TemporaryDirectory() as other:
        write_value(np.ones(2), Path(other))
        assert part_names(Path(other)) == []
        with pytest.raises(InputError, match="is one array"):
            read_value(Path(other), ["a"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "Got object at value"),
        ({"a": {1, 2}}, "Got set at value.a"),
        ({"a": np.ones(1), 3: np.ones(1)}, "must have text as names"),
        ({3: "x"}, "Got dict at value"),
        ([np.ones(2)], r"numpy.ndarray at value\[0\]"),
        (np.array(["text"]), "cannot be kept as safetensors"),
        (np.array([1j]), "cannot be kept as safetensors"),
        (np.array([object()]), "cannot be kept as safetensors"),
        (pd.DataFrame({"a": [1, "x"]}), "cannot be written as Parquet"),
        (xr.Dataset({"v": ("x", [object()])}), "cannot be written as Zarr"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _round_trip(value)


def test_a_network_is_refused_with_the_way_out() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match=r"state_dict\(\)"):
        _round_trip({"net": torch.nn.Linear(1, 1)})


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
arrays = hnp.arrays(
    st.sampled_from(["f4", "f8", "i1", "i8", "u2", "?", "f2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=6), plain | arrays, max_size=5))
def test_any_mixture_of_arrays_and_plain_data_comes_back(value: dict[str, Any]) -> None:
    _same(_round_trip(value), value)


@settings(max_examples=15, deadline=None)
@given(arrays.filter(lambda array: array.dtype != np.float16))
def test_any_array_comes_back_in_a_dataset(array: np.ndarray) -> None:
    dataset = xr.Dataset({"v": (tuple("abc"[: array.ndim]), array)})
    found = _round_trip(dataset)
    assert found["v"].dtype == array.dtype
    xr.testing.assert_identical(found, dataset)


def test_equal_datasets_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_value({"d": _dataset(), "a": np.ones(3)}, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_the_zarr_file_opens_in_plain_xarray(tmp_path: Path) -> None:
    storage = pytest.importorskip("zarr.storage")
    write_value({"layer": _dataset()}, tmp_path)
    archive = storage.ZipStore(str(tmp_path / "datasets.zarr.zip"), mode="r")
    with xr.open_zarr(archive, group="layer", consolidated=False) as found:
        xr.testing.assert_identical(found.load(), _dataset())
    archive.close()
