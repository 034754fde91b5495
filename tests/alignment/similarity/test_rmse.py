"""RMSE against scipy, near duplicates, memory and refused input."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from alignment.similarity import nearest_units, rmse
from alignment.similarity._torch import rmse_blocks
from alignment.similarity.rmse import _CLOSE, _scale
from neural_alignment import InputError


def reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return cdist(a.astype(np.float64), b.astype(np.float64)) / np.sqrt(a.shape[1])


def on_torch(a: np.ndarray, b: np.ndarray, shape: tuple[int, int], device: str = "cpu") -> np.ndarray:
    centre = (a.mean(axis=0, dtype=np.float64) + b.mean(axis=0, dtype=np.float64)) / 2
    matrix = np.empty((len(a), len(b)))
    for rows, columns, block in rmse_blocks(a, b, centre, _scale(a, b, centre), "float32", shape, _CLOSE, device):
        matrix[rows, columns] = block.values()
        np.testing.assert_allclose(block.row_sums(), block.values().sum(axis=1, dtype=float), rtol=1e-6)
        value, at = block.row_minima()
        np.testing.assert_array_equal(value, block.values()[np.arange(len(at)), at])
    return matrix


def near_duplicates(seed: int, scale: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = rng.random((40, 200)), rng.random((60, 200))
    for row, distance in enumerate(np.logspace(-9, -1, 20)):
        b[row] = a[row] + distance * rng.normal(size=200)
    b[20] = a[20]
    return a * scale + offset, b * scale + offset


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-12, 0.0), (1e12, 0.0), (1.0, 100.0)])
def test_matrix_is_right_for_near_duplicates(precision: str, scale: float, offset: float) -> None:
    a, b = near_duplicates(0, scale, offset)
    found, expected = rmse(a, b, reduce=None, precision=precision), reference(a, b)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)
    assert found[20, 20] == 0


def test_many_near_duplicates_are_right_too() -> None:
    """More close pairs than are recomputed one by one send the block through float64."""
    rng = np.random.default_rng(1)
    centre = rng.random(150)
    a, b = centre + 1e-4 * rng.normal(size=(50, 150)), centre + 1e-4 * rng.normal(size=(80, 150))
    a[0], b[0] = centre + 1.0, centre - 1.0
    np.testing.assert_allclose(rmse(a, b, reduce=None), reference(a, b), rtol=1e-6)


def test_identical_rows_everywhere() -> None:
    a = np.zeros((30, 10))
    b = np.zeros((40, 10))
    b[:20] = 1.0
    np.testing.assert_array_equal(rmse(a, b, reduce=None), reference(a, b))
    same = np.tile(np.linspace(0, 1, 10), (30, 1))
    assert rmse(same, same) == 0.0


@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    d=st.integers(1, 30),
    single=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_invariants(seed: int, n: int, m: int, d: int, single: bool) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(rows, d)).astype(np.float32 if single else np.float64) for rows in (n, m))
    matrix = rmse(a, b, reduce=None)
    np.testing.assert_allclose(matrix, reference(a, b), rtol=2e-6, atol=1e-12)
    np.testing.assert_allclose(rmse(b, a, reduce=None).T, matrix, rtol=2e-6)
    assert rmse(a, b) == pytest.approx(matrix.mean(dtype=float), rel=1e-6)
    assert rmse(a, b, reduce="nearest") == pytest.approx(matrix.min(axis=1).mean(dtype=float), rel=1e-6)
    assert rmse(a, a, reduce="nearest") == 0.0
    np.testing.assert_allclose(rmse(a + np.float32(1), b + np.float32(1)), rmse(a, b), rtol=1e-5)


def test_blocks_do_not_change_the_result() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random((300, 20)), rng.random((700, 20))
    whole, small = nearest_units(a, b), nearest_units(a, b, max_bytes=2**16)
    expected = reference(a, b)
    for found in (whole, small):
        np.testing.assert_allclose(found.mean, expected.mean(axis=1), rtol=1e-6)
        np.testing.assert_allclose(found.nearest, expected.min(axis=1), rtol=1e-6)
        np.testing.assert_array_equal(found.unit, expected.argmin(axis=1))
    np.testing.assert_allclose(rmse(a, b, None, max_bytes=2**16), expected, rtol=1e-6)


def test_memory_is_bounded() -> None:
    a, b = np.random.default_rng(3).random((2000, 8)), np.random.default_rng(4).random((4000, 8))
    rmse(a[:2], b[:2])
    tracemalloc.start()
    rmse(a, b, max_bytes=2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20 < 4 * len(a) * len(b)


def test_grids_torch_and_xarray_come_in() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random((3, 4, 4)), rng.random((5, 4, 4))
    expected = rmse(a.reshape(3, -1), b.reshape(5, -1))
    assert rmse(xr.DataArray(a, dims=("cell", "y", "x")), torch.from_numpy(b)) == expected
    assert rmse((a * 255).astype(np.uint8), (b * 255).astype(np.uint8)) == pytest.approx(255 * expected, rel=0.02)


def test_torch_blocks_agree_with_numpy() -> None:
    a, b = near_duplicates(6, 1.0, 0.0)
    np.testing.assert_allclose(on_torch(a, b, (7, 11)), reference(a, b), rtol=1e-6)
    assert torch.backends.cuda.matmul.allow_tf32 is False


@pytest.mark.gpu
def test_cuda_agrees_with_scipy() -> None:
    a, b = near_duplicates(7, 1.0, 0.0)
    np.testing.assert_allclose(rmse(a, b, None, device="cuda"), reference(a, b), rtol=1e-6)
    assert rmse(a, b, "nearest", device="cuda") == pytest.approx(rmse(a, b, "nearest"), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), np.ones((2, 4))), "vectors as long as those of 'neurons', 3 values. Got 4"),
        ((np.ones(3), np.ones((2, 3))), r"'neurons' parameter of rmse must be an array \(n, d\)"),
        ((np.ones((0, 3)), np.ones((2, 3))), "at least one row"),
        ((np.array([[1.0, np.nan]]), np.ones((2, 2))), "NaN or infinity in 1 of 1 rows, first in row 0"),
        ((np.ones((2, 2)), np.array([[1.0, 1], [np.inf, 1]])), "first in row 1"),
        ((np.ones((2, 2)), np.ones((2, 2)), "median"), "'mean', 'nearest'"),
        ((np.array([["a", "b"]]), np.ones((2, 2))), "an array of numbers"),
    ],
)
def test_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rmse(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "'float32', 'float64'"),
        ({"max_bytes": 10}, "max_bytes"),
        ({"device": "tpu"}, "a CUDA device that torch sees"),
        ({"device": "cuda:99"}, "nalign doctor"),
    ],
)
def test_refused_options(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rmse(np.ones((2, 2)), np.ones((2, 2)), **options)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_matrix_is_made_in_its_place(precision: str) -> None:
    """Beside the matrix itself no second one is held, whatever ``max_bytes`` allows a block."""
    rng = np.random.default_rng(0)
    neurons, units = rng.random((900, 8)), rng.random((1200, 8))
    rmse(neurons[:9], units[:9], reduce=None, precision=precision)  # compiles, which takes memory of its own
    tracemalloc.start()
    try:
        matrix = rmse(neurons, units, reduce=None, precision=precision, max_bytes=2**18)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * matrix.nbytes
    np.testing.assert_allclose(matrix, cdist(neurons, units) / 8**0.5, rtol=1e-5)
