from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignment.transfer import domain_files, load_domain
from neural_alignment import DataError, InputError

COLOURS = {"cat": (200, 10, 10), "dog": (10, 200, 10), "fox": (10, 10, 200)}


@pytest.fixture
def pacs(tmp_path: Path) -> Path:
    """An image folder of three classes, ten images each, of several sizes and formats."""
    for name, colour in COLOURS.items():
        folder = tmp_path / "PACS/sketch" / name
        folder.mkdir(parents=True)
        for index in range(10):
            size = (40 + 7 * index, 60 - 3 * index)
            Image.new("RGB", size, colour).save(folder / f"{index}.{'png' if index % 2 else 'jpg'}")
    return tmp_path


@pytest.mark.parametrize("size", [24, 224])
def test_images_of_mixed_sizes_come_at_one_size_with_their_classes(pacs: Path, size: int) -> None:
    train = load_domain("folder.PACS.sketch", "train", data=pacs, image_size=size)
    test = load_domain("folder.PACS.sketch", "test", data=pacs, image_size=size)
    assert train.images.shape == (24, 3, size, size) and test.images.shape == (6, 3, size, size)
    assert train.classes == test.classes == ("cat", "dog", "fox")
    for domain in (train, test):
        colours = domain.images.mean(axis=(2, 3))
        expected = np.array([COLOURS[domain.classes[label]] for label in domain.labels])
        assert np.abs(colours - expected).max() < 3


def test_the_splits_share_no_file_and_do_not_depend_on_the_seed(pacs: Path) -> None:
    train, test = (set(domain_files("folder.PACS.sketch", split, pacs)) for split in ("train", "test"))
    assert not train & test and len(train | test) == 30
    digests = {load_domain("folder.PACS.sketch", "test", data=pacs, seed=seed).digest for seed in (0, 1)}
    assert len(digests) == 1


def test_a_limit_is_stratified(pacs: Path) -> None:
    domain = load_domain("folder.PACS.sketch", "train", data=pacs, limit=6)
    assert np.bincount(domain.labels).tolist() == [2, 2, 2]


def test_a_folder_that_is_split_already(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for name in ("a", "b"):
            folder = tmp_path / "office" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (20, 20)).save(folder / f"{index}.png")
    assert len(load_domain("folder.office", "train", data=tmp_path)) == 6
    assert len(load_domain("folder.office", "test", data=tmp_path)) == 4
    (tmp_path / "office/test/c").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "office/test/c/0.png")
    with pytest.raises(DataError, match="the classes c in test and not in train"):
        load_domain("folder.office", "test", data=tmp_path)


def test_a_shifted_folder_and_an_ambiguous_name(pacs: Path) -> None:
    plain = load_domain("folder.PACS.sketch", "test", data=pacs)
    negative = load_domain("folder.PACS.sketch.inversion", "test", data=pacs)
    assert np.array_equal(negative.images, 255 - plain.images)
    (pacs / "PACS/sketch/inversion").mkdir()
    with pytest.raises(DataError, match="means both a shift and the folder"):
        load_domain("folder.PACS.sketch.inversion", "test", data=pacs)


def test_faults_are_named(pacs: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        load_domain("folder.PACS.photo", "train", data=pacs)
    (pacs / "PACS/sketch/wolf").mkdir()
    with pytest.raises(DataError, match=r"The classes wolf of .* hold no images"):
        load_domain("folder.PACS.sketch", "train", data=pacs)
    (pacs / "PACS/sketch/wolf").rmdir()
    broken = pacs / "PACS/sketch/cat/0.jpg"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DataError, match=r"0\.jpg is not a complete image"):
        for split in ("train", "test"):
            load_domain("folder.PACS.sketch", split, data=pacs)
    (pacs / "empty").mkdir()
    with pytest.raises(DataError, match="holds no class folders"):
        load_domain("folder.empty", "train", data=pacs)


@pytest.mark.parametrize("name", ["folder", "folder.", "folder..up"])
def test_names_without_a_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no folder"):
        load_domain(name, "train", data=tmp_path)


def test_the_split_all_is_every_image_of_a_folder_that_is_not_split(pacs: Path, tmp_path: Path) -> None:
    whole = load_domain("folder.PACS.sketch", "all", data=pacs, image_size=16)
    assert len(whole) == 30 and np.bincount(whole.labels).tolist() == [10, 10, 10]
    with pytest.raises(InputError, match="one of 'train', 'test'"):
        load_domain("digits", "all")
    for split in ("train", "test"):
        folder = tmp_path / "office" / split / "cup"
        folder.mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(folder / "0.png")
    with pytest.raises(DataError, match="no split 'all'"):
        load_domain("folder.office", "all", data=tmp_path)
