"""Keys: stable, and different for different work."""

from __future__ import annotations

import enum
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cache import canonical_json, digest_array, digest_file, digest_folder, make_key
from neural_alignment import DataError, InputError

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
params = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


def _tagged(value: Any) -> Any:
    """The value with its kinds spelled out: an independent notion of equality for parameters."""
    if isinstance(value, dict):
        return ("map", frozenset((name, _tagged(item)) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(_tagged(item) for item in value))
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else value.hex())
    return (type(value).__name__, value)


@given(params, params)
def test_equal_text_means_equal_values_and_the_other_way_round(one: Any, other: Any) -> None:
    assert (canonical_json(one) == canonical_json(other)) == (_tagged(one) == _tagged(other))


@given(st.dictionaries(st.text(max_size=4), params, max_size=5), st.randoms())
def test_the_order_of_names_does_not_matter(value: dict[str, Any], random: Any) -> None:
    names = list(value)
    random.shuffle(names)
    assert canonical_json(value) == canonical_json({name: value[name] for name in names})


@given(params)
def test_the_text_is_json_and_reading_it_gives_the_same_text(value: Any) -> None:
    text = canonical_json(value)
    assert text.isascii()
    assert canonical_json(json.loads(text)) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), (0, False), (0.0, -0.0), ("1", 1), ([1, 2], [2, 1]), ([[1], 2], [1, [2]]),
     (None, "null"), (float("nan"), "NaN"), (float("inf"), float("-inf")),
     ({"a": 1}, {"a": [1]}), ([], {}), ("é", "e\u0301"),
     (0.1, np.float32(0.1)), (2**63, 2.0**63)],
)  # fmt: skip
def test_values_that_look_alike_are_told_apart(one: Any, other: Any) -> None:
    assert canonical_json(one) != canonical_json(other)


class Kind(enum.StrEnum):
    A = "a"


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, 2), [1, 2]), (np.int32(3), 3), (np.float64(0.5), 0.5), (np.bool_(True), True), (np.str_("x"), "x"),
     (Kind.A, "a"), (np.nan, -np.nan), ({"b": 1, "a": (2,)}, {"a": [2], "b": 1}), (np.float32(0.5), 0.5)],
)  # fmt: skip
def test_values_that_mean_the_same_have_the_same_text(one: Any, other: Any) -> None:
    assert canonical_json(one) == canonical_json(other)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"p": Path("x")}, r"Path at params\.p\. .*digest_file"),
        ({"a": [1, np.zeros(3)]}, r"ndarray at params\.a\[1\]\. Give digest_array"),
        ({"s": {1, 2}}, r"set at params\.s\. A set has no order"),
        ({"f": len}, "builtin_function_or_method at params.f"),
        ({"b": b"x"}, "bytes at params.b"),
        ({"c": 1j}, "complex at params.c"),
        ({"d": {3: 1}}, r"int at a name in params\.d"),
    ],
)
def test_values_without_a_canonical_form_are_refused_with_their_place(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_key("stage", "1", value, {})


def test_every_argument_decides_the_key() -> None:
    base: tuple[Any, ...] = ("train", "1", {"epochs": 1}, {"data": "a" * 40})
    variants: list[tuple[Any, ...]] = [
        ("test", *base[1:]),
        ("train", "2", *base[2:]),
        (*base[:2], {"epochs": 2}, base[3]),
        (*base[:3], {"data": "b" * 40}),
        (*base[:3], {"date": "a" * 40}),
        (*base[:2], {"epochs": 1, "data": "a" * 40}, {}),
    ]
    keys = [make_key(*arguments) for arguments in (base, *variants)]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 40 and set(key) <= set("0123456789abcdef") for key in keys)


def test_keys_do_not_depend_on_the_process() -> None:
    code = "from cache import make_key; print(make_key('s', '1', {'b': 0.1, 'a': ['x', None]}, {'i': 'k'}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert found == {make_key("s", "1", {"a": ["x", None], "b": 0.1}, {"i": "k"})}
    # Written down: a change of this digest would silently orphan every store there is.
    assert found == {"3298099460f87c8a55a2e5c078bdb3e9e46b0d9f"}


numbers = hnp.arrays(
    st.sampled_from(["f4", "f8", "i4", "u1", "?"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(numbers)
def test_layout_and_byte_order_do_not_change_an_arrays_digest(array: np.ndarray) -> None:
    digest = digest_array(array)
    assert digest == digest_array(np.asfortranarray(array).reshape(array.shape))
    assert digest == digest_array(array.astype(array.dtype.newbyteorder(">")))
    assert digest == digest_array(np.stack([array, array], axis=-1)[..., 0])


def test_an_arrays_values_shape_and_type_change_its_digest() -> None:
    base = np.arange(6.0)
    others = [
        base.reshape(2, 3),
        base.reshape(3, 2),
        base.astype("f4"),
        base.astype("i8"),
        base + 1,
        base[:5],
        base[::-1],
    ]
    digests = {digest_array(array) for array in (base, *others, np.zeros(0), np.zeros((0, 3)), np.array(0.0))}
    assert len(digests) == 11


def test_tensors_and_labelled_arrays_have_the_digest_of_their_values() -> None:
    torch = pytest.importorskip("torch")
    xr = pytest.importorskip("xarray")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest_array(torch.from_numpy(array)) == digest_array(array) == digest_array(xr.DataArray(array))
    bits = torch.from_numpy(array).to(torch.bfloat16)
    assert digest_array(bits) == digest_array(bits.clone())
    assert digest_array(bits) != digest_array(bits.view(torch.int16))
    with pytest.raises(InputError, match="Python objects"):
        digest_array(np.array(["a", None], dtype=object))


def test_digests_of_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"")
    (tmp_path / "a" / "y").write_bytes(b"y")
    assert digest_file(tmp_path / "a" / "b" / "x") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    first = digest_folder(tmp_path / "a")
    (tmp_path / "a" / "empty").mkdir()
    assert digest_folder(tmp_path / "a") == first
    (tmp_path / "a" / "y").rename(tmp_path / "a" / "z")
    assert digest_folder(tmp_path / "a") != first
    for missing in (digest_file, digest_folder):
        with pytest.raises(DataError, match="Check the path"):
            missing(tmp_path / "nothing")
