"""The compiled loops against numpy, one line each."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.similarity import _kernels

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_row_moments(dtype: type) -> None:
    rows = RNG.normal(100, 1, size=(6, 33)).astype(dtype)
    wide = rows.astype(np.float64)
    expected = [wide.min(1), wide.max(1), wide.mean(1), ((wide - wide.mean(1, keepdims=True)) ** 2).sum(1)]
    np.testing.assert_allclose(_kernels.row_moments(rows).T, expected, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_row_moments_of_a_row_that_is_not_finite_are_nan(bad: float) -> None:
    rows = RNG.normal(size=(3, 5))
    rows[1, 4] = bad
    found = _kernels.row_moments(rows)
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), [False, True, False])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squared_norms(dtype: type) -> None:
    rows = RNG.normal(size=(6, 1000)).astype(dtype)
    expected = (rows.astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(_kernels.squared_norms(rows), expected, rtol=1e-12)


@given(seed=st.integers(0, 2**31), size=st.integers(2, 40), n=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_binning_keeps_mass_and_mean_and_tells_the_variance_it_adds(seed: int, size: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-1, 1, (2, n))
    start, step = np.array([-1.0, -1.5]), np.array([2.0, 3.0]) / (size - 1)
    out = np.zeros((2, size + 3))
    added = _kernels.bin_rows_into(out, rows, start, step, size)
    np.testing.assert_allclose(out.sum(axis=1), 1)
    assert (out[:, size:] == 0).all()
    nodes = start[:, None] + step[:, None] * np.arange(size + 3)
    mean = (out * nodes).sum(axis=1)
    np.testing.assert_allclose(mean, rows.mean(axis=1), atol=1e-12)
    variance = (out * (nodes - mean[:, None]) ** 2).sum(axis=1)
    np.testing.assert_allclose(variance, rows.var(axis=1) + added * step**2, atol=1e-12)
    np.testing.assert_array_equal(_kernels.bin_rows(rows, start, step, size), out[:, :size])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_overlaps(dtype: type) -> None:
    a, b = (RNG.random((rows, 130)).astype(dtype) for rows in (5, 7))
    expected = np.minimum(a[:, None], b[None]).sum(axis=2)
    np.testing.assert_allclose(_kernels.overlap_pairs(a, b), expected, rtol=1e-5)
    np.testing.assert_allclose(_kernels.overlap_rows(a, b[:5]), np.diagonal(expected), rtol=1e-5)


@pytest.mark.parametrize("capacity", [0, 2, 100])
def test_finished_blocks_list_their_close_pairs(capacity: int) -> None:
    a, b = RNG.normal(size=(6, 9)), RNG.normal(size=(8, 9))
    b[[1, 5]] = a[[0, 3]] + 1e-3
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    block = a @ b.T
    flagged = np.full((capacity, 2), -1, dtype=np.int64)
    norms = _kernels.squared_norms(a), _kernels.squared_norms(b)
    found = _kernels.finish_block(block, *norms, 1e-3, 1 / 9, flagged)
    assert found == 2
    np.testing.assert_allclose(block, np.sqrt(squared / 9), atol=1e-7)
    expected = [[0, 1], [3, 5]][:capacity]
    assert flagged[: len(expected)].tolist() == expected
    exact = _kernels.exact_pairs(a, b, np.array([[0, 1], [3, 5]]))
    np.testing.assert_allclose(exact, squared[[0, 3], [1, 5]] / 9, rtol=1e-12)


def test_a_block_inside_a_matrix_is_finished_in_its_place() -> None:
    a, b = RNG.normal(size=(4, 9)), RNG.normal(size=(5, 9))
    b[2] = a[1] + 1e-3
    matrix = np.full((7, 11), -5.0)
    matrix[2:6, 3:8] = a @ b.T
    flagged = np.full((3, 2), -1, dtype=np.int64)
    norms = _kernels.squared_norms(a), _kernels.squared_norms(b)
    assert _kernels.finish_block(matrix, *norms, 1e-3, 1 / 9, flagged, (2, 3)) == 1
    expected = np.sqrt(((a[:, None] - b[None]) ** 2).mean(axis=2))
    np.testing.assert_allclose(matrix[2:6, 3:8], expected, atol=1e-7)
    assert flagged[0].tolist() == [1, 2]
    matrix[2:6, 3:8] = -5.0
    assert (matrix == -5.0).all()


def test_draws_are_counted_where_they_belong() -> None:
    picked = np.array([[0, 0], [1, 0]])
    start, size = np.array([0, 2]), np.array([2, 1])
    order = np.array([2, 0, 1])  # the first donor's cells are 2 and 0, the second's is 1
    uniform = np.array([0.0, 0.6, 0.2, 0.3, 0.9, 0.99, 0.0])
    counts = _kernels.count_draws(picked, start, size, order, uniform)
    np.testing.assert_array_equal(counts, [[1, 0, 3], [1, 1, 1]])


def test_import_is_cheap() -> None:
    """Neither torch nor numba nor scipy's optional parts come in before they are needed."""
    code = "import sys, alignment.similarity; print([m for m in ('torch', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
