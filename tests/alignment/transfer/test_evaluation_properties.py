"""Scores of any predictions: Wilson's interval, calibration, confusion and labels against written-out definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from statsmodels.stats.proportion import proportion_confint

from alignment.transfer import Domain, wilson_interval
from alignment.transfer.evaluation import expected_calibration_error, match_labels, score

seeds = st.integers(0, 2**31)


@pytest.mark.parametrize("n", [1, 2, 10, 450, 10_000])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_wilson_at_every_share(n: int, level: float) -> None:
    shares = sorted({0, 1, n // 3, n - 1, n})
    found = [wilson_interval(k, n, level) for k in shares]
    expected = [proportion_confint(k, n, 1 - level, "wilson") for k in shares]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert all(low <= k / n <= high for k, (low, high) in zip(shares, found, strict=True))
    mirrored = [(1 - high, 1 - low) for low, high in (wilson_interval(n - k, n, level) for k in shares)]
    np.testing.assert_allclose(found, mirrored, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, n=st.integers(1, 80), bins=st.integers(1, 20))
def test_calibration_error_bin_by_bin(seed: int, n: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, correct = rng.random(n), rng.random(n) < 0.6
    expected = 0.0
    for number in range(bins):
        inside = (confidence * bins > number) & (confidence * bins <= number + 1)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    found = expected_calibration_error(confidence, correct, bins)
    assert found == pytest.approx(expected, abs=1e-12)
    # Gaps of one sign and of the other cancel within a wide bin, never in narrower ones.
    assert expected_calibration_error(confidence, correct, 1) <= found + 1e-12 <= 1 + 1e-12


@settings(max_examples=40, deadline=None)
@given(seed=seeds, n=st.integers(1, 60), classes=st.integers(2, 7))
def test_scores_by_counting(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(n, classes)).astype(np.float32) * 3, rng.integers(0, classes, n)
    names = [f"class {number}" for number in range(classes)]
    found = score(torch.from_numpy(logits), torch.from_numpy(labels), names)
    predicted = logits.argmax(axis=1)
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (labels, predicted), 1)
    assert np.array_equal(found.confusion, expected)
    assert found.confusion.sum() == found.n == n
    assert found.accuracy == pytest.approx((predicted == labels).mean())
    assert found.ci_low <= found.accuracy <= found.ci_high
    assert found.loss == pytest.approx(-log_softmax(logits, axis=1)[np.arange(n), labels].mean(), rel=1e-4)
    present = np.unique(labels)
    recall = [(predicted[labels == c] == c).mean() for c in present]
    np.testing.assert_allclose(found.recall[present], recall)
    assert found.balanced_accuracy == pytest.approx(np.mean(recall))
    assert set(found.missing_classes) == {names[c] for c in set(range(classes)) - set(present.tolist())}


@settings(max_examples=40, deadline=None)
@given(seed=seeds, extra=st.integers(0, 3))
def test_labels_keep_their_names_in_any_order_of_classes(seed: int, extra: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 12)
    domain = Domain("d", "test", np.zeros((12, 3, 8, 8), np.uint8), labels, ("cat", "dog", "owl", "bee"))
    known = rng.permutation([*domain.classes, *(f"other {number}" for number in range(extra))]).tolist()
    matched = match_labels(domain, known)
    assert [known[number] for number in matched] == [domain.classes[number] for number in labels]
