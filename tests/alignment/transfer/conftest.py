"""Small networks and domains that the transfer tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from alignment.transfer import Domain

Maker = Callable[..., nn.Module]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def network() -> Maker:
    """Return ``make(seed, classes, dropout)``: a small convolutional network for 8×8 images."""

    def make(seed: int = 0, classes: int = 3, dropout: float = 0.0, normalise: bool = False) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8) if normalise else nn.Identity(),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(32, classes),
        )

    return make


@pytest.fixture
def blobs() -> Callable[..., Domain]:
    """Return ``make(n, classes, seed)``: images whose class is the place of a bright square."""

    def make(n: int = 90, classes: int = 3, seed: int = 0, split: str = "train", name: str = "blobs") -> Domain:
        generator = np.random.default_rng(seed)
        labels = np.arange(n) % classes
        images = generator.integers(0, 60, (n, 3, 8, 8)).astype(np.uint8)
        for index, label in enumerate(labels):
            images[index, :, 2 * label : 2 * label + 2, 2:6] += 120
        return Domain(name, split, images, labels.astype(np.int64), tuple("abcd"[:classes]))

    return make
