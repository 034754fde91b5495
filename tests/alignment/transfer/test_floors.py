"""Chance and nearest neighbours, beside scikit-learn's and beside what was measured on MNIST."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from alignment.models import create_layer
from alignment.transfer import Domain, load_domain, transfer_floors, words_below
from neural_alignment import DataError

LAYERS = ("baseline", "neurn")


def small(images: np.ndarray) -> np.ndarray:
    return images.astype(float).mean(axis=1).reshape(len(images), -1)


def test_nearest_neighbours_are_scikit_learns() -> None:
    source, target = (
        load_domain(name, split, image_size=16) for name, split in (("digits", "train"), ("digits_m", "test"))
    )
    row = transfer_floors(source, target, {"baseline": create_layer("baseline")}).iloc[0]
    expected = (
        KNeighborsClassifier(1).fit(small(source.images), source.labels).score(small(target.images), target.labels)
    )
    assert row["nearest_neighbour"] == pytest.approx(expected, abs=0.003)  # equal distances may be told apart otherwise
    assert (row["chance"], row["n"], row["n_train"], row["pixels"]) == (0.1, 450, len(source), 16)


def test_classes_are_matched_by_name() -> None:
    images = np.zeros((2, 3, 8, 8), np.uint8)
    images[1] = 255
    source = Domain("s", "train", images, np.array([0, 1]), ("dark", "light"))
    target = Domain("t", "test", images, np.array([1, 0]), ("light", "dark"))
    layers = {"baseline": create_layer("baseline")}
    assert transfer_floors(source, target, layers)["nearest_neighbour"].tolist() == [1.0]
    with pytest.raises(DataError, match="other"):
        transfer_floors(source, Domain("o", "test", images, np.array([0, 1]), ("other", "dark")), layers)


def test_what_lies_below_is_said_in_words() -> None:
    assert words_below(0.05, 0.1, 0.4) == "chance and 1-nearest neighbour"
    assert words_below(0.05, 0.1, 0.002) == "chance"
    assert words_below(0.4, 0.1, 0.4) == ""


def test_on_mnist_neighbours_reach_what_was_measured_apart_from_this_code(shared_data: Path) -> None:
    layers = {name: create_layer(name) for name in LAYERS}
    source = load_domain("mnist", "train", shared_data, limit=3000)
    found = {}
    for name in ("mnist", "mnist_m", "usps"):
        floors = transfer_floors(source, load_domain(name, "test", shared_data, limit=1000), layers)
        found[name] = (100 * floors["nearest_neighbour"]).tolist()
    # Other draws of 3,000 and 1,000 images, and of MNIST-M's backgrounds.
    assert found["mnist"] == pytest.approx([93.6, 90.6], abs=2)
    assert found["mnist_m"] == pytest.approx([38.4, 82.9], abs=4)
    assert found["usps"] == pytest.approx([63.9, 54.6], abs=3)
