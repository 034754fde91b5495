"""The product that RMSE is made of: the faster of two, the same numbers from both."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from alignment.similarity import _product, rmse


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.random((300, 1024), dtype=np.float32), rng.random((1000, 1024), dtype=np.float32)


@pytest.mark.parametrize("faster", [True, False])
def test_rmse_is_right_to_1e_6_with_either(rows, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    for name in ("_torch", "_numpy"):
        how = getattr(_product, name)
        monkeypatch.setattr(_product, name, lambda *arrays, how=how, name=name: (used.append(name), how(*arrays)))
    monkeypatch.setattr(_product, "_torch_is_faster", lambda precision: faster)
    exact = cdist(*(array.astype(np.float64) for array in rows)) / 32
    np.testing.assert_allclose(rmse(*rows, reduce=None), exact, rtol=1e-6)
    assert set(used) == {"_torch" if faster else "_numpy"}


@pytest.mark.parametrize(("numpy_seconds", "chosen"), [(1.0, False), (1.4, False), (1.6, True), (4.7, True)])
def test_torch_is_taken_where_it_is_much_faster(monkeypatch, numpy_seconds: float, chosen: bool) -> None:
    taken = {_product._numpy: numpy_seconds, _product._torch: 1.0}
    monkeypatch.setattr(_product, "_seconds", lambda how, *arrays: taken[how])
    assert _product._torch_is_faster.__wrapped__("float32") is chosen


def test_a_small_product_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_product, "_torch_is_faster", lambda precision: pytest.fail("measured"))
    out = np.empty((2, 3))
    _product.product(np.ones((2, 4)), np.ones((3, 4)), out)
    assert (out == 4).all()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_part_of_a_larger_array_is_written_in_place(precision: str) -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.random((n, 16)).astype(precision) for n in (5, 7))
    for how in (_product._torch, _product._numpy):
        home = np.zeros((9, 12), dtype=precision)
        how(left, right, home[2:7, 3:10])
        np.testing.assert_allclose(home[2:7, 3:10], left @ right.T, rtol=1e-6)
        assert home.sum() == pytest.approx(home[2:7, 3:10].sum())
