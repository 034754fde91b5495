from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alignment.transfer.images import stratified_split, stratified_subset, to_stack
from neural_alignment import DataError


def test_grey_images_get_three_equal_channels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8)).astype(np.uint8)
    stack = to_stack(images, 8)
    assert stack.shape == (5, 3, 8, 8)
    assert all(np.array_equal(stack[:, channel], images) for channel in range(3))


def test_colours_go_first_and_chunks_change_nothing() -> None:
    images = np.random.default_rng(1).integers(0, 256, (7, 10, 10, 3)).astype(np.uint8)
    assert np.array_equal(to_stack(images, 10), np.moveaxis(images, 3, 1))
    assert np.array_equal(to_stack(images, 16, chunk=2), to_stack(images, 16))


@pytest.mark.parametrize("size", [16, 32, 56])
def test_resizing_agrees_with_pillow(size: int) -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    ours = to_stack(images, size)[:, 0].astype(int)
    for index in range(3):
        theirs = np.asarray(Image.fromarray(images[index]).resize((size, size), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(ours[index] - theirs).max() <= 1  # pillow computes with 8-bit weights


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 5), st.data())
def test_subset_has_the_size_asked_for_and_every_class_in_its_share(
    counts: list[int], seed: int, data: st.DataObject
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    limit = data.draw(st.integers(len(counts), len(labels) + 3))
    chosen = stratified_subset(labels, limit, seed)
    assert len(chosen) == len(set(chosen.tolist())) == min(limit, len(labels))
    assert np.all(np.diff(chosen) > 0)
    found = np.bincount(labels[chosen], minlength=len(counts))
    assert np.all(found >= 1)
    share = np.array(counts) / len(labels) * len(chosen)
    assert np.all(found <= np.maximum(np.ceil(share), 1))


def test_subset_depends_on_the_seed_alone() -> None:
    labels = np.repeat(np.arange(4), 50)
    assert np.array_equal(stratified_subset(labels, 40, 3), stratified_subset(labels, 40, 3))
    assert not np.array_equal(stratified_subset(labels, 40, 3), stratified_subset(labels, 40, 4))


def test_subset_refuses_a_limit_below_the_classes() -> None:
    with pytest.raises(DataError, match="cannot hold all 4 classes"):
        stratified_subset(np.arange(4), 3, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.floats(0.05, 0.6), st.integers(0, 5))
def test_split_is_a_partition_with_both_parts_of_every_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    first, second = stratified_split(labels, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([first, second])), np.arange(len(labels)))
    for value, count in enumerate(counts):
        if count > 1:
            assert (labels[first] == value).any() and (labels[second] == value).any()
            assert abs((labels[second] == value).sum() - fraction * count) <= 1
