from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, log_loss, recall_score
from statsmodels.stats.proportion import proportion_confint
from torch import nn

from alignment.transfer import Domain, evaluate, wilson_interval
from alignment.transfer.device import resolve_device
from alignment.transfer.evaluation import calibration_bins, expected_calibration_error
from neural_alignment import DataError, InputError


class Lookup(nn.Module):
    """Logits that the first pixel chooses from a table, so that any prediction can be arranged."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[(images[:, 0, 0, 0] * 255).round().long()]


@pytest.fixture
def arranged() -> tuple[Lookup, Domain, np.ndarray]:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(200, 4)).astype(np.float32) * 2
    images = np.zeros((200, 3, 4, 4), np.uint8)
    images[:, 0, 0, 0] = np.arange(200)
    labels = generator.integers(0, 3, 200)  # the fourth class has no image
    return Lookup(torch.from_numpy(logits)), Domain("arranged", "test", images, labels, tuple("abcd")), logits


def test_scores_agree_with_scikit_learn(arranged: tuple[Lookup, Domain, np.ndarray]) -> None:
    model, domain, logits = arranged
    scored = evaluate(model, domain, batch_size=33, device="cpu")
    predicted = logits.argmax(axis=1)
    assert np.array_equal(scored.confusion, confusion_matrix(domain.labels, predicted, labels=range(4)))
    expected = recall_score(domain.labels, predicted, labels=range(3), average=None)
    assert scored.recall[:3] == pytest.approx(expected) and np.isnan(scored.recall[3])
    assert scored.accuracy == pytest.approx((predicted == domain.labels).mean())
    assert scored.missing_classes == ("d",)
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        assert scored.balanced_accuracy == pytest.approx(balanced_accuracy_score(domain.labels, predicted))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert scored.loss == pytest.approx(log_loss(domain.labels, chances, labels=range(4)), rel=1e-5)
    assert scored.n == 200 and scored.ci_low < scored.accuracy < scored.ci_high


def test_batches_change_nothing_and_the_mode_is_kept(
    network: Callable[..., nn.Module], blobs: Callable[..., Domain]
) -> None:
    model, domain = network(dropout=0.5, normalise=True).train(), blobs()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = (evaluate(model, domain, batch_size=size, device="cpu") for size in (7, 90))
    assert first.loss == pytest.approx(second.loss, rel=1e-5)
    assert np.array_equal(first.confusion, second.confusion)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_statsmodels(n: int, data: st.DataObject, level: float) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson_interval(successes, n, level)
    expected = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert (low, high) == pytest.approx(expected, abs=1e-12)
    assert 0 <= low <= successes / n <= high <= 1


@pytest.mark.parametrize("arguments", [(1, 0), (3, 2), (-1, 5), (1, 5, 0.0), (1, 5, 1.5)])
def test_wilson_refuses_counts_that_cannot_be(arguments: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="wilson_interval must be"):
        wilson_interval(*arguments)  # type: ignore[arg-type]


def test_calibration_error_against_a_plain_loop() -> None:
    generator = np.random.default_rng(3)
    confidence, correct = generator.random(500), generator.random(500) < 0.6
    expected = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)


def test_calibration_error_at_the_ends() -> None:
    sure = np.ones(10)
    assert expected_calibration_error(sure, np.ones(10, bool)) == 0
    assert expected_calibration_error(sure, np.zeros(10, bool)) == 1
    assert expected_calibration_error(np.zeros(10), np.zeros(10, bool)) == 0
    with pytest.raises(InputError, match="a confidence for every outcome"):
        expected_calibration_error(sure, np.ones(9, bool))


def test_calibration_bins_hold_every_image_and_give_the_error_back() -> None:
    generator = np.random.default_rng(4)
    confidence, correct = generator.random(700), generator.random(700) < 0.7
    bins = calibration_bins(confidence, correct, bins=12)
    assert bins["n"].sum() == 700 and bins["right"].sum() == correct.sum()
    for row in bins.itertuples():
        inside = (confidence > row.low) & (confidence <= row.high)
        assert row.n == inside.sum() and row.right == correct[inside].sum()
        assert row.confidence == pytest.approx(confidence[inside].mean())
    again = (bins["n"] * (bins["confidence"] - bins["right"] / bins["n"]).abs()).sum() / 700
    assert again == pytest.approx(expected_calibration_error(confidence, correct, bins=12))


def test_an_empty_bin_has_no_confidence() -> None:
    bins = calibration_bins(np.array([0.0, 1.0]), np.array([False, True]), bins=3)
    assert bins["n"].tolist() == [1, 0, 1] and bins["right"].tolist() == [0, 0, 1]
    assert bins["confidence"].tolist()[::2] == [0.0, 1.0] and np.isnan(bins["confidence"][1])
    with pytest.raises(InputError, match="calibration_bins needs a confidence for every outcome"):
        calibration_bins(np.ones(2), np.ones(3, bool))


def test_an_evaluation_carries_the_bins_of_its_error(arranged: tuple[Lookup, Domain, np.ndarray]) -> None:
    model, domain, _ = arranged
    scored = evaluate(model, domain, device="cpu")
    bins = scored.calibration.query("n > 0")
    assert bins["n"].sum() == scored.n and bins["right"].sum() == np.trace(scored.confusion)
    gaps = (bins["n"] * bins["confidence"] - bins["right"]).abs()
    assert gaps.sum() / scored.n == pytest.approx(scored.ece)


def test_labels_are_matched_by_name(blobs: Callable[..., Domain]) -> None:
    domain = blobs(classes=3)
    logits = torch.zeros(256, 4)
    scored = evaluate(Lookup(logits), domain, device="cpu", classes=("c", "x", "b", "a"))
    assert scored.classes == ("c", "x", "b", "a")
    assert scored.confusion.sum(axis=1).tolist() == [30, 0, 30, 30]
    assert scored.accuracy == pytest.approx(1 / 3)


def test_label_sets_and_outputs_that_do_not_fit_are_refused(
    network: Callable[..., nn.Module], blobs: Callable[..., Domain]
) -> None:
    with pytest.raises(DataError, match="was not trained on: c"):
        evaluate(network(), blobs(), device="cpu", classes=("a", "b"))
    with pytest.raises(DataError, match=r"gives \(4,\) outputs an image, and the domain 'blobs' has 3 classes"):
        evaluate(network(classes=4), blobs(), device="cpu")
    with pytest.raises(InputError, match="batch_size"):
        evaluate(network(), blobs(), device="cpu", batch_size=0)


@pytest.mark.parametrize("device", ["gpu", "cuda:999", 3.5])
def test_devices_that_are_not_there_are_refused(device: object) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        resolve_device(device)  # type: ignore[arg-type]


def test_auto_is_a_device_that_works() -> None:
    assert resolve_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
