"""KDE-IoU beside scipy's gaussian_kde, KDEpy and scikit-learn: pairs of units, and pooled populations."""

from __future__ import annotations

import numpy as np
from KDEpy import FFTKDE
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity

from alignment.similarity import kde_iou, score_layers
from benchmarks.harness import Bench

GRID = 1024


def bench_pairs(bench: Bench) -> None:
    """Neuron–unit pairs of 1,024 values each."""
    pairs = 5 if bench.quick else 100
    a, b = _samples(bench, pairs)
    bench.note(pairs=pairs, values=1024, grid=GRID)
    bench.ours("kde_iou", lambda: kde_iou(a, b))
    bench.peer("scipy gaussian_kde", lambda: [_scipy(*pair) for pair in _pairs(a, b, pairs)], repeats=2)
    bench.peer("KDEpy FFTKDE", lambda: [_kdepy(*pair) for pair in _pairs(a, b, pairs)], repeats=5)
    bench.peer(
        "scikit-learn",
        lambda: [_sklearn(*pair) for pair in _pairs(a, b, pairs)],
        repeats=1,
        before=lambda: None,
    )
    bench.limit("numpy histograms alone", lambda: [np.histogram(x, GRID) for x in (*a, *b)])
    bench.faster("kde_iou", than="scipy gaussian_kde", at_least=None if bench.quick else 300)
    bench.faster("kde_iou", than="KDEpy FFTKDE")
    bench.faster("kde_iou", than="scikit-learn")
    bench.within("kde_iou", of="numpy histograms alone")
    error = max(abs(kde_iou(*pair) - _scipy(*pair)) for pair in _pairs(a, b, 20))
    bench.value("largest difference from scipy", error, at_most=1e-4)


def bench_population(bench: Bench) -> None:
    """Two pooled samples of 100,000 values."""
    size = 2000 if bench.quick else 100_000
    a, b = bench.rng.beta(2, 5, size), np.maximum(bench.rng.normal(0.3, 0.2, size), 0)
    bench.note(values=size, grid=GRID)
    bench.ours("kde_iou", lambda: kde_iou(a, b))
    bench.peer("scipy gaussian_kde", lambda: _scipy(a, b), repeats=2, before=lambda: None)
    bench.peer("KDEpy FFTKDE", lambda: _kdepy(a, b), repeats=5)
    bench.faster("kde_iou", than="scipy gaussian_kde", at_least=None if bench.quick else 300)
    bench.faster("kde_iou", than="KDEpy FFTKDE")
    bench.value("difference from scipy", abs(kde_iou(a, b) - _scipy(a, b)), at_most=1e-4)
    bench.value("KDEpy's difference from scipy", abs(_kdepy(a, b) - _scipy(a, b)))


def bench_score_layers(bench: Bench) -> None:
    """Score 12 layers against 44 groups of 290 cells: all metrics, 1,000 resamples."""
    cells, units, layers = (40, 32, 2) if bench.quick else (290, 512, 12)
    neurons = _scale(bench.rng.normal(size=(cells, 1024)))
    network = {str(i): _scale(np.maximum(bench.rng.normal(size=(units, 1024)), 0)) for i in range(layers)}
    groups = {}
    for count in (6, 13, 22, 2, 1):
        label = bench.rng.integers(0, count, cells)
        groups |= {f"{count}-{i}": np.flatnonzero(label == i) for i in range(count)}
    donors = bench.rng.integers(0, 24, cells)
    bench.note(cells=cells, units=units, layers=layers, groups=len(groups), bootstraps=1000)
    bench.ours("score_layers", lambda: score_layers(neurons, network, groups, donors=donors), repeats=5)
    bench.seconds("score_layers", at_most=None if bench.quick else 1.5)


def _samples(bench: Bench, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    a = bench.rng.normal(size=(pairs, 1024))
    b = np.maximum(bench.rng.normal(size=(pairs, 1024)) + bench.rng.uniform(-1, 1, (pairs, 1)), 0)
    return _scale(a), _scale(b)


def _scale(values: np.ndarray) -> np.ndarray:
    low = values.min(axis=1, keepdims=True)
    return ((values - low) / np.ptp(values, axis=1, keepdims=True)).astype(np.float32)


def _pairs(a: np.ndarray, b: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(a[:count], b[:count], strict=True)]


def _width(x: np.ndarray) -> float:
    return float(x.std(ddof=1) * len(x) ** -0.2)


def _grid(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = min(x.min() - 3 * _width(x) for x in (a, b))
    high = max(x.max() + 3 * _width(x) for x in (a, b))
    return np.linspace(low, high, GRID)


def _ratio(p: np.ndarray, q: np.ndarray, grid: np.ndarray) -> float:
    return float(_area(np.minimum(p, q), grid) / _area(np.maximum(p, q), grid))


def _area(y: np.ndarray, x: np.ndarray) -> float:
    return float(((y[1:] + y[:-1]) * np.diff(x)).sum() / 2)


def _scipy(a: np.ndarray, b: np.ndarray) -> float:
    grid = _grid(a, b)
    return _ratio(gaussian_kde(a)(grid), gaussian_kde(b)(grid), grid)


def _kdepy(a: np.ndarray, b: np.ndarray) -> float:
    grid = _grid(a, b)
    return _ratio(*(FFTKDE(bw=_width(x)).fit(x).evaluate(grid) for x in (a, b)), grid)


def _sklearn(a: np.ndarray, b: np.ndarray) -> float:
    grid = _grid(a, b)
    fits = (KernelDensity(bandwidth=_width(x)).fit(x[:, None]) for x in (a, b))
    return _ratio(*(np.exp(fit.score_samples(grid[:, None])) for fit in fits), grid)
