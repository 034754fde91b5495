from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignment.transfer.mnist_m import blend_digits, embedded_photographs, read_photographs
from neural_alignment import DataError


@pytest.fixture
def photographs() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (40, 50 + 5 * index, 3)).astype(np.uint8) for index in range(3)]


def test_black_digits_show_a_patch_of_a_photograph(photographs: list[np.ndarray]) -> None:
    blended = blend_digits(np.zeros((20, 28, 28), np.uint8), photographs, seed=1)
    for image in blended:
        windows = (np.lib.stride_tricks.sliding_window_view(photo, (28, 28, 3)) for photo in photographs)
        assert any((window == image).all(axis=(3, 4, 5)).any() for window in windows)


def test_the_blend_is_the_absolute_difference(photographs: list[np.ndarray]) -> None:
    digits = np.random.default_rng(2).integers(0, 256, (30, 28, 28)).astype(np.uint8)
    patches = blend_digits(np.zeros_like(digits), photographs, seed=5).astype(int)
    expected = np.abs(digits[..., None].astype(int) - patches)
    assert np.array_equal(blend_digits(digits, photographs, seed=5), expected)


def test_patches_follow_the_seed_and_the_place_only(photographs: list[np.ndarray]) -> None:
    digits = np.zeros((10, 28, 28), np.uint8)
    whole = blend_digits(digits, photographs, seed=0)
    assert np.array_equal(whole[:4], blend_digits(digits[:4], photographs, seed=0))
    assert not np.array_equal(whole, blend_digits(digits, photographs, seed=1))
    assert len({image.tobytes() for image in whole}) > 5


def test_photographs_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    digits = np.zeros((1, 28, 28), np.uint8)
    with pytest.raises(DataError, match="at least one photograph"):
        blend_digits(digits, [], seed=0)
    with pytest.raises(DataError, match="at least 28×28"):
        blend_digits(digits, [np.zeros((27, 99, 3), np.uint8)], seed=0)
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff not a photograph")
    with pytest.raises(DataError, match=r"a\.jpg is not a complete image"):
        read_photographs([tmp_path / "a.jpg"])


def test_photographs_are_read_by_name_and_in_colour(tmp_path: Path) -> None:
    for name, value in (("b.png", 9), ("a.png", 3)):
        Image.fromarray(np.full((30, 31), value, np.uint8)).save(tmp_path / name)
    found = read_photographs([tmp_path / "b.png", tmp_path / "a.png"])
    assert [photo.shape for photo in found] == [(30, 31, 3)] * 2
    assert [int(photo[0, 0, 0]) for photo in found] == [3, 9]


def test_embedded_photographs_are_natural_and_large_enough() -> None:
    found = embedded_photographs()
    assert len(found) == 6
    assert all(photo.dtype == np.uint8 and photo.ndim == 3 and min(photo.shape[:2]) >= 300 for photo in found)
