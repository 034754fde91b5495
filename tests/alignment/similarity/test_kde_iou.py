"""KDE-IoU against scipy's gaussian_kde, its invariants, and what degenerate samples give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import simpson
from scipy.stats import gaussian_kde

from alignment.similarity import kde_densities, kde_iou
from alignment.similarity import kde_iou as public
from alignment.similarity.kde_iou import _Pairs
from neural_alignment import InputError

NAN = float("nan")


def reference(a: np.ndarray, b: np.ndarray, size: int = 2**14 + 1) -> float:
    kernels = gaussian_kde(a), gaussian_kde(b)
    widths = [float(np.sqrt(kernel.covariance[0, 0])) for kernel in kernels]
    low = min(x.min() - 3 * h for x, h in zip((a, b), widths, strict=True))
    high = max(x.max() + 3 * h for x, h in zip((a, b), widths, strict=True))
    grid = np.linspace(low, high, size)
    p, q = (kernel(grid) for kernel in kernels)
    return float(simpson(np.minimum(p, q), x=grid) / simpson(np.maximum(p, q), x=grid))


SAMPLES = {
    "beta": lambda rng, n: rng.beta(2, 5, n),
    "rectified": lambda rng, n: np.maximum(rng.normal(size=n), 0) / 4,
    "sparse": lambda rng, n: rng.random(n) ** 8,
    "one pixel": lambda rng, n: (np.arange(n) == n // 2).astype(float),
    "narrow": lambda rng, n: rng.normal(0.5, 0.02, n),
    "heavy tails": lambda rng, n: rng.standard_t(2, n),
    "two values": lambda rng, n: rng.integers(0, 2, n).astype(float),
}


@pytest.mark.parametrize("first", list(SAMPLES))
@pytest.mark.parametrize("second", list(SAMPLES))
def test_agrees_with_scipy(first: str, second: str) -> None:
    rng = np.random.default_rng(0)
    a, b = SAMPLES[first](rng, 400), SAMPLES[second](rng, 300)
    assert kde_iou(a, b) == pytest.approx(reference(a, b), abs=1e-4)


@pytest.mark.parametrize("n", [2, 3, 10, 118, 5000])
def test_agrees_with_scipy_for_any_length(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n), rng.normal(0.7, 1.5, size=n + 3)
    assert kde_iou(a, b) == pytest.approx(reference(a, b), abs=1e-4)


def test_pairs_are_compared_row_by_row() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((40, 100)), rng.random((40, 80)) ** rng.uniform(0.2, 4, (40, 1))
    b[3] = 0.5
    b[7] = a[7, 0] + 1e-3 * rng.random(80)  # needs a finer grid than the others
    both = kde_iou(a, b)
    assert both.shape == (40,)
    np.testing.assert_allclose(both, [kde_iou(x, y) for x, y in zip(a, b, strict=True)], atol=1e-9)
    assert both[3] == 0.0
    assert both[7] == pytest.approx(reference(a[7], b[7], 2**15), abs=1e-4)


finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)
sample = st.lists(finite, min_size=2, max_size=30)


@given(a=sample, b=sample)
@settings(max_examples=150, deadline=None)
def test_range_symmetry_identity(a: list, b: list) -> None:
    forward = kde_iou(a, b)
    assert 0.0 <= forward <= 1.0
    assert kde_iou(b, a) == pytest.approx(forward, abs=1e-9)
    assert kde_iou(a, a) == pytest.approx(1.0, abs=1e-9)


@given(
    seed=st.integers(0, 2**31),
    slope=st.floats(0.01, 100.0).flatmap(lambda x: st.sampled_from([x, -x])),
    shift=st.floats(-10.0, 10.0),
)
@settings(max_examples=60, deadline=None)
def test_common_affine_map_changes_nothing(seed: int, slope: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=50), rng.normal(rng.uniform(-2, 2), rng.uniform(0.3, 3), 60)
    assert kde_iou(slope * a + shift, slope * b + shift) == pytest.approx(kde_iou(a, b), abs=1e-6)


@given(seed=st.integers(0, 2**31), distance=st.floats(12.0, 1e6))
@settings(max_examples=40, deadline=None)
def test_apart_is_zero_and_nearing_grows(seed: int, distance: float) -> None:
    a = np.random.default_rng(seed).normal(size=60)
    assume(np.ptp(a) < 8)
    assert kde_iou(a, a + distance) < 1e-6
    steps = [kde_iou(a, a + step) for step in (4.0, 2.0, 1.0, 0.5, 0.0)]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 1.0, 1.0], [1.0, 1.0], 1.0),
        ([1.0], [1.0], 1.0),
        ([1.0], [2.0], 0.0),
        ([1.0, 1.0], [0.0, 1.0, 2.0], 0.0),
        ([0.1] * 7, [0.1] * 3, 1.0),
        ([], [1.0, 2.0], NAN),
        ([1.0, 2.0], [], NAN),
        ([1.0, NAN], [1.0, 2.0], NAN),
        ([1.0, 2.0], [1.0, np.inf], NAN),
        ([-np.inf, np.inf], [1.0, 2.0], NAN),
        ([NAN], [NAN], NAN),
    ],
)
def test_degenerate_samples(a: list, b: list, expected: float) -> None:
    assert kde_iou(np.array(a), np.array(b)) == pytest.approx(expected, nan_ok=True)


def test_degenerate_rows_leave_the_others_alone() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random((5, 50)), rng.random((5, 50))
    a[1, 3], b[2], a[4], b[4] = NAN, 0.5, 0.25, 0.25
    found = kde_iou(a, b)
    np.testing.assert_array_equal(np.isnan(found), [False, True, False, False, False])
    assert found[2] == 0.0
    assert found[4] == 1.0
    assert found[0] == pytest.approx(reference(a[0], b[0]), abs=1e-4)


def test_densities_are_scipys() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=200), rng.normal(1, 2, 300)
    drawn = kde_densities(a, b)
    np.testing.assert_allclose(drawn.a, gaussian_kde(a)(drawn.x), atol=2e-5)
    np.testing.assert_allclose(drawn.b, gaussian_kde(b)(drawn.x), atol=2e-5)
    assert drawn.iou == pytest.approx(kde_iou(a, b), abs=1e-12)


def test_torch_agrees_with_numpy() -> None:
    from alignment.similarity._torch import overlap_ratio

    rng = np.random.default_rng(4)
    a, b = rng.random((6, 90)), rng.random((6, 70)) ** 2
    pairs = _Pairs.of(a, b)
    step = (pairs.high - pairs.low) / 1023
    widths = np.stack([pairs.left_width, pairs.right_width]) / step
    found = overlap_ratio(a, b, pairs.low, step, widths, 1024, "cpu")
    np.testing.assert_allclose(found, kde_iou(a, b), atol=1e-9)


@pytest.mark.gpu
def test_cuda_agrees_with_numpy() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random((600, 90)), rng.random((600, 70)) ** 2
    np.testing.assert_allclose(kde_iou(a, b, device="cuda"), kde_iou(a, b), atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: public(np.ones((2, 3)), np.ones((3, 3))), r"'a' has the shape \(2, 3\)"),
        (lambda: public(np.ones(3), np.ones((3, 3))), "a sample"),
        (lambda: public(np.ones(3), np.ones(3), grid_size=8), "'grid_size' parameter of kde_iou"),
        (lambda: public(np.ones(3), np.ones(3), device="mps"), "CUDA"),
        (lambda: kde_densities(np.ones(3), np.arange(3)), "not all equal"),
        (lambda: kde_densities(np.arange(3), [np.nan, 1]), "'b' parameter of kde_densities"),
    ],
)
def test_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
