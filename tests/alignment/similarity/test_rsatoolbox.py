"""Dissimilarities and their comparison against rsatoolbox, where it is installed (`pip install rsatoolbox`).

It is in no list of dependencies: its own ask for other versions than the Allen Institute's client does.
"""

from __future__ import annotations

import numpy as np
import pytest

from alignment.similarity import compare_rdms, rdm

rsatoolbox = pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed")


def theirs(responses: np.ndarray):
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    return calc_rdm(Dataset(responses), method="correlation")


@pytest.mark.parametrize(("scenes", "units"), [(3, 2), (12, 40), (118, 300)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_dissimilarities(scenes: int, units: int, offset: float) -> None:
    responses = np.random.default_rng(scenes).normal(size=(scenes, units)) + offset
    np.testing.assert_allclose(rdm(responses), theirs(responses).get_matrices()[0], atol=1e-9)


@pytest.mark.parametrize(("ours", "named"), [("spearman", "spearman"), ("pearson", "corr")])
@pytest.mark.parametrize("decimals", [12, 1])
def test_comparison_of_dissimilarities(ours: str, named: str, decimals: int) -> None:
    """With one decimal most of the values are tied."""
    from rsatoolbox.rdm import RDMs, compare

    rng = np.random.default_rng(1)
    shared = rng.normal(size=(30, 20))
    first, second = (np.round(rdm(shared + rng.normal(size=shared.shape)), decimals) for _ in range(2))
    expected = float(compare(RDMs(first[None]), RDMs(second[None]), method=named)[0, 0])
    assert compare_rdms(first, second, method=ours) == pytest.approx(expected, abs=1e-9)
    assert 0.05 < expected < 0.9
