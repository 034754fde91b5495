from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from alignment.transfer import SHIFTS, apply_shift
from neural_alignment import InputError


@pytest.fixture
def images() -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((6, 3, 24, 24)), (0, 0, 2, 2))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.rint(255 * smooth).astype(np.uint8)


@pytest.mark.parametrize("shift", list(SHIFTS))
def test_every_shift_keeps_the_form_changes_the_images_and_repeats(shift: str, images: np.ndarray) -> None:
    before = images.copy()
    shifted = apply_shift(images, shift, seed=4)
    assert shifted.shape == images.shape and shifted.dtype == np.uint8
    assert not np.array_equal(shifted, images)
    assert np.array_equal(images, before)
    assert np.array_equal(shifted, apply_shift(images, shift, seed=4))


@pytest.mark.parametrize("shift", ["occlusion", "noise"])
def test_random_shifts_follow_the_seed(shift: str, images: np.ndarray) -> None:
    assert not np.array_equal(apply_shift(images, shift, seed=1), apply_shift(images, shift, seed=2))


def test_rotation_turns_to_either_side(images: np.ndarray) -> None:
    many = np.repeat(images[:1], 20, axis=0)
    turned = apply_shift(many, "rotation", 90, seed=0)
    left, right = np.rot90(many[0], 1, (1, 2)), np.rot90(many[0], -1, (1, 2))
    sides = [int(np.abs(one.astype(int) - left).max() <= 1) for one in turned]
    assert 0 < sum(sides) < 20
    for one, side in zip(turned, sides, strict=True):
        assert np.abs(one.astype(int) - (left if side else right)).max() <= 1


def test_scale_brings_the_middle_together(images: np.ndarray) -> None:
    square = np.zeros((1, 3, 32, 32), np.uint8)
    square[:, :, 8:24, 8:24] = 255
    assert apply_shift(square, "scale", 50)[0, 0].sum() / 255 == pytest.approx(64, rel=0.05)
    assert np.array_equal(apply_shift(images, "scale", 100), images)


def test_blur_is_a_gaussian_of_the_stated_width(images: np.ndarray) -> None:
    sigma = 0.05 * 24
    expected = ndimage.gaussian_filter(images.astype(float), (0, 0, sigma, sigma), mode="mirror", radius=4)
    inner = (slice(None), slice(None), slice(5, -5), slice(5, -5))
    difference = apply_shift(images, "blur", 5)[inner].astype(float) - expected[inner]
    assert np.abs(difference).max() <= 1.5


def test_occlusion_covers_the_stated_share(images: np.ndarray) -> None:
    changed = apply_shift(np.zeros_like(images), "occlusion", 50) != 0
    assert np.all(changed.sum(axis=(2, 3)) == 12 * 12)


def test_inversion_contrast_and_noise_do_their_arithmetic(images: np.ndarray) -> None:
    assert np.array_equal(apply_shift(images, "inversion"), 255 - images)
    kept = apply_shift(images, "contrast", 50).astype(float)
    assert np.abs(kept - (127.5 + (images - 127.5) / 2)).max() <= 0.5
    grey = np.full((4, 3, 64, 64), 128, np.uint8)
    assert apply_shift(grey, "noise", 10).std() == pytest.approx(25.5, rel=0.02)


@pytest.mark.parametrize(("shift", "strength"), [("rotaton", None), ("rotation", 0), ("occlusion", 91), ("blur", 1.5)])
def test_wrong_shifts_and_strengths_are_refused(shift: str, strength: object, images: np.ndarray) -> None:
    with pytest.raises(InputError, match="must be"):
        apply_shift(images, shift, strength)  # type: ignore[arg-type]
