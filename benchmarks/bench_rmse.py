"""Pairwise RMSE beside the bare matrix product and scipy's cdist, and its error near duplicates."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances

from alignment.similarity import nearest_units, rmse
from benchmarks.harness import Bench


def bench_rmse(bench: Bench) -> None:
    """Every neuron against every unit: 1,000 × 20,000 vectors of 1,024 values in [0, 1]."""
    n, m = (50, 400) if bench.quick else (1000, 20_000)
    neurons, units = (bench.rng.random((rows, 1024), dtype=np.float32) for rows in (n, m))
    bench.note(neurons=n, units=m, values=1024, dtype="float32")
    exact_neurons, exact_units = neurons.astype(np.float64), units.astype(np.float64)
    torch_neurons, torch_units = torch.from_numpy(neurons), torch.from_numpy(units)
    few = {"repeats": 5}
    bench.ours("rmse mean", lambda: rmse(neurons, units), **few)
    bench.ours("rmse nearest", lambda: rmse(neurons, units, reduce="nearest"), **few)
    bench.ours("mean and nearest of each neuron", lambda: nearest_units(neurons, units), **few)
    bench.ours("rmse matrix", lambda: rmse(neurons, units, reduce=None), **few)
    bench.ours("rmse mean, float64", lambda: rmse(exact_neurons, exact_units, precision="float64"), **few)
    bench.limit("float32 product", lambda: neurons @ units.T, **few)
    bench.limit("float64 product", lambda: exact_neurons @ exact_units.T, **few)
    bench.limit("float32 product (torch)", lambda: torch_neurons @ torch_units.T, **few)
    bench.peer("scipy cdist", lambda: cdist(exact_neurons, exact_units), repeats=1, before=lambda: None)
    bench.peer("scikit-learn, float32", lambda: pairwise_distances(neurons, units) / 32, **few)
    bench.within("rmse mean", of="float32 product", at_most=2)
    bench.within("rmse nearest", of="float32 product", at_most=2)
    bench.within("mean and nearest of each neuron", of="float32 product", at_most=2)
    bench.within("rmse matrix", of="float32 product", at_most=2)
    bench.within("rmse mean, float64", of="float64 product", at_most=2)
    bench.within("rmse mean", of="float32 product (torch)")
    bench.faster("rmse matrix", than="scikit-learn, float32")
    goal = None if bench.quick else 20
    bench.faster("rmse mean", than="scipy cdist", at_least=goal)
    bench.faster("rmse matrix", than="scipy cdist", at_least=goal)


def bench_near_duplicates(bench: Bench) -> None:
    """Largest relative error where neurons and units nearly or wholly coincide; what it costs."""
    n = 100 if bench.quick else 1000
    neurons = bench.rng.random((n, 1024))
    units = np.concatenate([neurons, bench.rng.random((n, 1024))])
    units[:n] += np.logspace(-8, -1, n)[:, None] * bench.rng.normal(size=(n, 1024))
    everywhere = neurons[0] + 1e-3 * bench.rng.normal(size=(n, 1024))
    bench.note(neurons=n, units=2 * n, values=1024)
    bench.ours("distinct", lambda: rmse(neurons, units[n:]), repeats=5)
    bench.ours("a duplicate of each", lambda: rmse(neurons, units[:n]), repeats=5)
    bench.ours("duplicates everywhere", lambda: rmse(everywhere, everywhere[::-1]), repeats=5)
    bench.within("a duplicate of each", of="distinct")
    bench.within("duplicates everywhere", of="distinct")
    for name, a, b in (("each", neurons, units), ("everywhere", everywhere[:50], everywhere[:200])):
        exact = cdist(a, b) / 32
        error = np.abs(rmse(a, b, reduce=None) - exact)[exact > 0] / exact[exact > 0]
        bench.value(f"relative error, duplicates {name}", error.max(), at_most=1e-6)
    naive = neurons.astype(np.float32), units.astype(np.float32)
    squared = (naive[0] ** 2).sum(1)[:, None] + (naive[1] ** 2).sum(1) - 2 * naive[0] @ naive[1].T
    exact = cdist(neurons, units) / 32
    error = np.abs(np.sqrt(np.maximum(squared, 0)) / 32 - exact)[exact > 0] / exact[exact > 0]
    bench.value("relative error of |a|² + |b|² − 2ab in float32", error.max())
