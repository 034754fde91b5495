"""What limits, shifts and blends keep of a domain, for any labels, seeds and strengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.transfer import SHIFTS, Domain, apply_shift, list_domains, load_domain
from alignment.transfer.images import stratified_split, stratified_subset, to_stack
from alignment.transfer.mnist_m import blend_digits
from neural_alignment import InputError

EMBEDDED = [name for name, from_files in list_domains().items() if not from_files and name != "folder"]
seeds = st.integers(0, 2**31)
counts = st.lists(st.integers(2, 30), min_size=2, max_size=6)


def smooth(seed: int, n: int = 4, size: int = 20) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (n, 5, 5)).astype(np.uint8)
    return to_stack(small, size)


@settings(max_examples=60, deadline=None)
@given(counts=counts, seed=seeds, data=st.data())
def test_a_limit_keeps_the_shares_to_within_an_image(counts: list[int], seed: int, data: st.DataObject) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    limit = data.draw(st.integers(len(counts), labels.size))
    chosen = stratified_subset(labels, limit, seed)
    assert chosen.size == np.unique(chosen).size == limit
    assert (np.diff(chosen) > 0).all()
    taken = np.bincount(labels[chosen], minlength=len(counts))
    share = np.array(counts) / labels.size * limit
    assert (taken >= 1).all() and (taken <= counts).all()
    # Rare classes that are kept at one image are paid for by the others.
    assert (taken >= np.floor(share) - len(counts)).all() and (taken <= np.ceil(share) + 1).all()
    assert np.array_equal(chosen, stratified_subset(labels, limit, seed))


@settings(max_examples=60, deadline=None)
@given(counts=counts, seed=seeds, fraction=st.floats(0.05, 0.95))
def test_a_split_is_the_same_again_and_each_classs_share(counts: list[int], seed: int, fraction: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    first, second = stratified_split(labels, fraction, seed)
    assert sorted([*first, *second]) == list(range(labels.size))
    for value, count in enumerate(counts):
        expected = min(max(round(fraction * count), 1), count - 1)
        assert (labels[second] == value).sum() == expected
    again = stratified_split(labels, fraction, seed)
    assert np.array_equal(first, again[0]) and np.array_equal(second, again[1])


@pytest.mark.parametrize("name", EMBEDDED)
def test_loading_is_a_function_of_its_arguments(name: str) -> None:
    one, again = (load_domain(name, "test", image_size=16, seed=3, limit=40) for _ in range(2))
    assert one.digest == again.digest
    others = [
        load_domain(name, "train", image_size=16, seed=3, limit=40),
        load_domain(name, "test", image_size=17, seed=3, limit=40),
        load_domain(name, "test", image_size=16, seed=4, limit=40),
        load_domain(name, "test", image_size=16, seed=3, limit=41),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 5


@pytest.mark.parametrize("limit", [10, 37, 100, 449])
def test_limits_of_the_digits_are_balanced_as_the_digits_are(limit: int) -> None:
    whole = np.bincount(load_domain("digits", "test").labels)
    kept = np.bincount(load_domain("digits", "test", limit=limit).labels, minlength=10)
    assert kept.sum() == limit
    assert np.abs(kept - whole * limit / 450).max() <= 1


@pytest.mark.parametrize("shift", list(SHIFTS))
def test_a_shift_by_name_keeps_everything_but_the_images(shift: str) -> None:
    plain, shifted = (load_domain(f"digits{end}", "test", image_size=16, limit=30) for end in ("", f".{shift}"))
    assert np.array_equal(plain.labels, shifted.labels)
    assert plain.classes == shifted.classes and plain.licence == shifted.licence
    assert (shifted.images.shape, shifted.images.dtype) == (plain.images.shape, np.uint8)
    assert shifted.digest != plain.digest
    named = load_domain(f"digits.{shift}-{SHIFTS[shift].default}", "test", image_size=16, limit=30)
    assert np.array_equal(named.images, shifted.images)


STEPS = {
    "rotation": [2, 10, 40],
    "occlusion": [10, 30, 90],
    "blur": [3, 8, 25],
    "inversion": [5, 20, 45],
    "noise": [2, 10, 40],
}


@pytest.mark.parametrize("shift", list(STEPS))
@pytest.mark.parametrize("seed", range(3))
def test_stronger_shifts_lead_farther_away(shift: str, seed: int) -> None:
    images = smooth(seed)
    moved = [
        np.abs(apply_shift(images, shift, strength, seed).astype(float) - images).mean() for strength in STEPS[shift]
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


@settings(max_examples=25, deadline=None)
@given(seed=seeds, strengths=st.lists(st.integers(1, 100), min_size=2, max_size=2, unique=True))
def test_less_contrast_is_less_spread_about_grey(seed: int, strengths: list[int]) -> None:
    images = smooth(seed % 1000)
    low, high = (apply_shift(images, "contrast", strength).astype(float) for strength in sorted(strengths))
    assert low.std() <= high.std() + 0.5
    assert (np.abs(low - 127.5) <= np.abs(high - 127.5) + 0.5).all()
    assert np.array_equal(apply_shift(images, "contrast", 100), images)


@pytest.mark.parametrize("level", [0, 1, 127, 255])
@pytest.mark.parametrize("shift", ["rotation", "scale", "blur"])
def test_what_moves_pixels_leaves_flat_images_alone(shift: str, level: int) -> None:
    flat = np.full((3, 3, 16, 16), level, np.uint8)
    for strength in (SHIFTS[shift].low, SHIFTS[shift].default, SHIFTS[shift].high):
        assert np.array_equal(apply_shift(flat, shift, strength), flat)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, height=st.integers(3, 12), width=st.integers(3, 12), n=st.integers(1, 6))
def test_mnist_m_by_its_definition(seed: int, height: int, width: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    digits = rng.integers(0, 256, (n, height, width)).astype(np.uint8)
    photos = [rng.integers(0, 256, (height + extra, width + 2 * extra, 3)).astype(np.uint8) for extra in (0, 3, 9)]
    draws = np.random.default_rng(seed).random((n, 3))
    for index, blended in enumerate(blend_digits(digits, photos, seed)):
        photo = photos[int(draws[index, 0] * 3)]
        top = int(draws[index, 1] * (photo.shape[0] - height + 1))
        left = int(draws[index, 2] * (photo.shape[1] - width + 1))
        for y, x, channel in np.ndindex(height, width, 3):
            background = int(photo[top + y, left + x, channel])
            assert blended[y, x, channel] == abs(background - int(digits[index, y, x]))
    white = blend_digits(np.full_like(digits, 255), photos, seed)
    assert np.array_equal(white, 255 - blend_digits(np.zeros_like(digits), photos, seed))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, place=st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 7), st.integers(0, 7)))
def test_any_byte_any_label_and_any_class_changes_the_digest(seed: int, place: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 256, (4, 3, 8, 8)).astype(np.uint8), rng.integers(0, 3, 4)
    plain = Domain("d", "test", images, labels, ("a", "b", "c"))
    changed, moved = images.copy(), labels.copy()
    changed[place] ^= 1
    moved[place[0]] = (moved[place[0]] + 1) % 3
    digests = {
        plain.digest,
        Domain("d", "test", changed, labels, ("a", "b", "c")).digest,
        Domain("d", "test", images, moved, ("a", "b", "c")).digest,
        Domain("d", "test", images, labels, ("a", "b", "z")).digest,
    }
    assert len(digests) == 4
    assert Domain("other", "train", np.asfortranarray(images), labels, ("a", "b", "c")).digest == plain.digest
    order = rng.permutation(4)
    assert np.array_equal(plain.take(order).labels, labels[order])
    assert np.array_equal(plain.take(order).images, images[order])


@pytest.mark.parametrize("shift", list(SHIFTS))
@pytest.mark.parametrize("beyond", ["low", "high", "fraction", "truth"])
def test_strengths_beyond_the_limits_are_refused_with_the_limits(shift: str, beyond: str) -> None:
    kind = SHIFTS[shift]
    strength = {"low": kind.low - 1, "high": kind.high + 1, "fraction": kind.low + 0.5, "truth": True}[beyond]
    allowed = f"'strength' parameter of the shift '{shift}' must be an integer between {kind.low} and {kind.high}"
    with pytest.raises(InputError, match=allowed):
        apply_shift(smooth(0), shift, strength)  # type: ignore[arg-type]
