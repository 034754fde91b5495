"""Densities on the shared lattice: mass, agreement with scipy, width of nodes, pooled moments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from alignment.similarity import kde_iou
from alignment.similarity._kernels import row_moments
from alignment.similarity._lattice import Lattice, overlap_to_iou, pooled_moments
from alignment.similarity.kde_iou import scott_bandwidth


def nodes_of(lattice: Lattice) -> np.ndarray:
    return lattice.low + (lattice.high - lattice.low) / lattice.nodes * np.arange(lattice.nodes)


@pytest.mark.parametrize("size", [10, 118, 1024])
@pytest.mark.parametrize("nodes", [512, 1024])
def test_densities_are_scipys_and_keep_their_mass(size: int, nodes: int) -> None:
    rng = np.random.default_rng(size)
    rows = np.stack([rng.random(size), rng.beta(2, 5, size), np.maximum(rng.normal(0.3, 0.3, size), 0)])
    moments = row_moments(rows)
    widths = scott_bandwidth(moments, size)
    low, high = moments[:, 0].min(), moments[:, 1].max()
    lattice = Lattice.over(low, high, size, float(widths.min()), nodes)
    masses = lattice.densities(rows, moments)
    np.testing.assert_allclose(masses.sum(axis=1), 1, atol=1e-5)
    step = (lattice.high - lattice.low) / lattice.nodes
    for row, mass, width in zip(rows, masses, widths, strict=True):
        expected = gaussian_kde(row)(nodes_of(lattice))
        assert np.sqrt(gaussian_kde(row).covariance[0, 0]) == pytest.approx(width)
        np.testing.assert_allclose(mass / step, expected, atol=2e-3 * expected.max())


def test_a_constant_row_has_no_density() -> None:
    rows = np.stack([np.zeros(20), np.linspace(0, 1, 20)])
    lattice = Lattice.over(0, 1, 20, 0.1, 512)
    masses = lattice.densities(rows, row_moments(rows))
    np.testing.assert_array_equal(masses[0], 0)
    assert masses[1].sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("narrowest", "nodes"), [(0.0, 512), (1.0, 512), (0.002, 2048), (1e-9, 512 * 2**8)])
def test_nodes_follow_the_narrowest_bandwidth(narrowest: float, nodes: int) -> None:
    assert Lattice.over(0, 1, 1024, narrowest, 512).nodes == nodes


def test_no_values_at_all_still_make_a_lattice() -> None:
    lattice = Lattice.over(0.5, 0.5, 1, 0.0, 512)
    assert lattice.low < 0.5 < lattice.high


def test_the_circle_holds_the_widest_possible_density() -> None:
    """Half of the values at each end: the largest standard deviation there can be."""
    row = np.repeat([0.0, 1.0], 5)[None]
    lattice = Lattice.over(0, 1, 10, 0.1, 512)
    masses = lattice.densities(row, row_moments(row))[0]
    np.testing.assert_allclose(masses[[0, -1]], 0, atol=1e-5)


def test_pooled_moments_are_those_of_all_values() -> None:
    rows = np.random.default_rng(0).normal(3, 2, size=(7, 50))
    found = pooled_moments(row_moments(rows), 50)[0]
    expected = [rows.min(), rows.max(), rows.mean(), ((rows - rows.mean()) ** 2).sum()]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert scott_bandwidth(found[None], 350)[0] == pytest.approx(rows.std(ddof=1) * 350**-0.2)


def test_iou_from_overlap() -> None:
    np.testing.assert_allclose(overlap_to_iou(np.array([0.0, 0.5, 1.0, 1.0 + 1e-7])), [0, 1 / 3, 1, 1])


@pytest.mark.parametrize("seed", range(5))
def test_pairs_on_the_lattice_are_those_of_kde_iou(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((4, 200)), rng.random((4, 200)) ** rng.uniform(0.5, 4, (4, 1))
    both = np.concatenate([a, b])
    moments = row_moments(both)
    narrowest = float(scott_bandwidth(moments, 200).min())
    lattice = Lattice.over(both.min(), both.max(), 200, narrowest, 1024)
    masses = lattice.densities(both, moments)
    found = overlap_to_iou(np.minimum(masses[:4], masses[4:]).sum(axis=1))
    # The public function's grid ends 3 bandwidths out, where 0.1 % of a density are left.
    np.testing.assert_allclose(found, kde_iou(a, b), atol=1e-3)
