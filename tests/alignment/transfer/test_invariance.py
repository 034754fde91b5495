"""Which shifts a layer undoes: distances of images and their shifted copies behind it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from alignment.models import create_layer
from alignment.transfer import apply_shift, load_domain, paired_distances, shift_between
from alignment.transfer.corruptions import exact_shift


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return load_domain("digits", "test", image_size=16, limit=60).images


def equal(images: np.ndarray, shift: str, strength: int | None = None) -> dict[str, bool]:
    layers = {name: create_layer(name) for name in ("baseline", "neurn", "sobel", "standardise")}
    return paired_distances(layers, images, shift, strength).set_index("layer_variant")["equal"].to_dict()


def test_neurn_and_sobel_undo_contrast_and_inversion_and_nothing_else(images: np.ndarray) -> None:
    """Both divide differences of neighbouring pixels by the image's largest one: gain, offset and sign are gone."""
    everything = {"baseline": False, "neurn": True, "sobel": True}
    assert equal(images, "inversion") == {**everything, "standardise": False}
    assert equal(images, "contrast", 30) == {**everything, "standardise": True}
    for shift in ("noise", "rotation", "blur", "occlusion"):
        assert not any(equal(images, shift).values())


def test_distances_are_those_of_numpy(images: np.ndarray) -> None:
    row = paired_distances({"half": nn.AvgPool2d(2)}, images, "noise", 20, seed=3).iloc[0]
    copies = exact_shift(images, "noise", 20, seed=3).astype(float)

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.sqrt(((first - second) ** 2).sum() / ((first - first.mean(axis=0)) ** 2).sum()))

    def halved(values: np.ndarray) -> np.ndarray:
        return values.astype(float).reshape(len(values), 3, 8, 2, 8, 2).mean(axis=(3, 5))

    assert row["before"] == pytest.approx(distance(images.astype(float), copies), rel=1e-5)
    assert row["behind"] == pytest.approx(distance(halved(images), halved(copies)), rel=1e-5)
    assert row["share"] == pytest.approx(row["behind"] / row["before"]) and row["images"] == 60


def test_a_layer_that_only_makes_everything_small_undoes_nothing(images: np.ndarray) -> None:
    class Small(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values * 1e-3

    assert paired_distances({"small": Small()}, images, "inversion")["share"].tolist() == pytest.approx([1.0])


def test_copies_that_are_the_images_and_layers_that_leave_nothing_have_no_share(images: np.ndarray) -> None:
    class Nothing(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(values)

    same = paired_distances({"baseline": nn.Identity()}, images, "contrast", 100).iloc[0]
    gone = paired_distances({"nothing": Nothing()}, images, "inversion").iloc[0]
    assert np.isnan(same["share"]) and np.isnan(gone["share"]) and not same["equal"] and not gone["equal"]


def test_an_exact_shift_rounds_to_the_shift(images: np.ndarray) -> None:
    for shift in ("contrast", "noise", "rotation"):
        exact = exact_shift(images, shift, seed=5)
        assert exact.min() >= 0 and exact.max() <= 255 and (exact % 1 != 0).any()
        assert np.array_equal(np.rint(exact).astype(np.uint8), apply_shift(images, shift, seed=5))


@pytest.mark.parametrize(
    ("source", "target", "shift"),
    [
        ("digits", "digits_inverted", ("inversion", None)),
        ("digits", "digits.noise-10", ("noise", 10)),
        ("folder.a.b", "folder.a.b.blur", ("blur", None)),
        ("digits", "digits_m", None),
        ("digits", "digits", None),
        ("mnist", "usps.inversion", None),
        ("folder.a.b", "folder.a.c.blur", None),
        ("mnist.inversion", "mnist.blur", None),
    ],
)
def test_only_a_shift_of_the_sources_own_images_has_pairs(source: str, target: str, shift: object) -> None:
    assert shift_between(source, target) == shift
