from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv

from alignment.transfer import SHIFTS, apply_shift, check_domain
from alignment.transfer.severities import SEVERITIES, SMALL
from neural_alignment import InputError


def picture(side: int, n: int = 4, seed: int = 0) -> np.ndarray:
    rough = np.random.default_rng(seed).random((n, 3, side, side))
    smooth = ndimage.gaussian_filter(rough, (0, 0, side / 16, side / 16), mode="reflect")
    smooth -= smooth.min(axis=(1, 2, 3), keepdims=True)
    return np.rint(20 + 200 * smooth / smooth.max(axis=(1, 2, 3), keepdims=True)).astype(np.uint8)


def moved(images: np.ndarray, shift: str, severity: int) -> float:
    return float(np.abs(apply_shift(images, shift, severity).astype(float) - images).mean())


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize("shift", list(SEVERITIES))
def test_a_higher_severity_leads_farther_away(shift: str, side: int) -> None:
    images = picture(side)
    distances = [moved(images, shift, severity) for severity in range(1, 6)]
    assert 0 < distances[0] < distances[2] < distances[4]
    assert all(after >= 0.9 * before for before, after in itertools.pairwise(distances))


def test_every_severity_is_a_shift_of_five_steps() -> None:
    for name in SEVERITIES:
        assert (SHIFTS[name].low, SHIFTS[name].high, SHIFTS[name].default) == (1, 5, 3)
        check_domain(f"cifar100.{name}-5")
        with pytest.raises(InputError, match="from 1 to 5"):
            check_domain(f"cifar100.{name}-6")


@pytest.mark.parametrize(
    ("shift", "side", "severity", "sd"),
    [
        ("gaussian_noise", SMALL, 1, 0.04),
        ("gaussian_noise", SMALL, 5, 0.10),
        ("gaussian_noise", SMALL + 1, 3, 0.18),
        ("speckle_noise", SMALL, 5, 0.20 * 0.5),
        ("shot_noise", SMALL, 5, (0.5 / 50) ** 0.5),
        ("shot_noise", 128, 1, (0.5 / 60) ** 0.5),
    ],
)
def test_noise_has_the_documented_spread(shift: str, side: int, severity: int, sd: float) -> None:
    grey = np.full((6, 3, side, side), 128, np.uint8)
    noisy = apply_shift(grey, shift, severity, seed=1).astype(float) / 255
    assert noisy.std() == pytest.approx(sd, rel=0.03)
    assert noisy.mean() == pytest.approx(128 / 255, abs=0.01)


def test_impulse_noise_sets_the_documented_share_to_the_extremes() -> None:
    grey = np.full((8, 3, 64, 64), 128, np.uint8)
    noisy = apply_shift(grey, "impulse_noise", 5, seed=2)
    assert (noisy != 128).mean() == pytest.approx(0.07, rel=0.05)
    assert set(np.unique(noisy).tolist()) == {0, 128, 255}
    assert (noisy == 0).sum() == pytest.approx((noisy == 255).sum(), rel=0.1)


@pytest.mark.parametrize(("side", "sigma"), [(32, 1.0), (128, 6.0)])
def test_gaussian_blur_against_scipy(side: int, sigma: float) -> None:
    images = picture(side)
    expected = ndimage.gaussian_filter(images.astype(float), (0, 0, sigma, sigma), mode="mirror", truncate=4)
    assert np.abs(apply_shift(images, "gaussian_blur", 5) - expected).max() <= 1.0


def test_defocus_blur_spreads_light_over_a_disk() -> None:
    square = np.zeros((1, 3, 96, 96), np.uint8)
    square[:, :, 40:57, 40:57] = 255
    blurred = apply_shift(square, "defocus_blur", 1)[0, 0].astype(float)
    assert blurred[48, 48] == 255 and blurred[48, 36] == 0 < blurred[48, 38]
    assert blurred.sum() == pytest.approx(255 * 17 * 17, rel=0.01)
    assert np.abs(blurred - blurred.T).max() <= 1


def test_brightness_against_hsv() -> None:
    images = picture(32)
    hsv = rgb2hsv(images.transpose(0, 2, 3, 1) / 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.15, 0, 1)
    expected = 255 * hsv2rgb(hsv).transpose(0, 3, 1, 2)
    assert np.abs(apply_shift(images, "brightness", 3) - expected).max() <= 1.0
    black = np.zeros((1, 3, 8, 8), np.uint8)
    assert np.all(apply_shift(black, "brightness", 3) == 38)


def test_contrast_is_lost_towards_each_channels_mean() -> None:
    images = picture(96)
    mean = images.mean(axis=(2, 3), keepdims=True)
    assert np.abs(apply_shift(images, "contrast_loss", 1) - (mean + 0.4 * (images - mean))).max() <= 0.51


def test_pixelate_and_jpeg_are_what_pillow_makes_of_one_image() -> None:
    images = picture(32, n=2)
    one = Image.fromarray(images[1].transpose(1, 2, 0))
    boxes = one.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    assert np.array_equal(apply_shift(images, "pixelate", 5)[1], np.asarray(boxes).transpose(2, 0, 1))
    stream = io.BytesIO()
    one.save(stream, "JPEG", quality=40)
    assert np.array_equal(apply_shift(images, "jpeg", 5)[1], np.asarray(Image.open(stream)).transpose(2, 0, 1))


@pytest.mark.parametrize("shift", ["defocus_blur", "gaussian_blur", "zoom_blur", "contrast_loss", "pixelate"])
def test_what_spreads_light_leaves_flat_images_alone(shift: str) -> None:
    flat = np.full((2, 3, 16, 16), 90, np.uint8)
    assert np.abs(apply_shift(flat, shift, 5).astype(int) - 90).max() <= 1


def test_tiny_images_take_every_blur() -> None:
    tiny = picture(8)
    for shift in ("defocus_blur", "gaussian_blur", "zoom_blur", "pixelate", "jpeg"):
        assert apply_shift(tiny, shift, 5).shape == tiny.shape
