from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignment.transfer import load_domain
from alignment.transfer.fusion import imagenet_wnids, match_classes
from neural_alignment import DataError


def test_the_wnids_are_the_thousand_in_order() -> None:
    wnids = imagenet_wnids()
    assert len(set(wnids)) == 1000 and list(wnids) == sorted(wnids)
    assert wnids[0] == "n01440764" and wnids[281] == "n02123045"  # tench, tabby cat


def test_classes_are_matched_by_name_and_others_counted() -> None:
    labels = np.array([2, 0, 1, 2, 0])
    found = match_classes("d", ["cat", "emu", "dog"], labels, ["ant", "bee", "cat", "dog"])
    assert found.positions.tolist() == [0, 1, 3, 4] and found.labels.tolist() == [3, 2, 3, 2]
    assert (found.left_out, found.shared) == (1, 2)


@pytest.mark.parametrize("known", [imagenet_wnids(), imagenet_wnids()[280:290]])
def test_a_folder_of_wnids_is_matched_with_all_or_some_of_them(tmp_path: Path, known: tuple[str, ...]) -> None:
    wnids = imagenet_wnids()
    for wnid in (wnids[281], wnids[285], wnids[3]):
        folder = tmp_path / "imagenet-r" / wnid
        folder.mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (30, 40), (index, 0, 0)).save(folder / f"art_{index}.jpg")
    domain = load_domain("folder.imagenet-r", "all", data=tmp_path, image_size=16)
    assert len(domain) == 6
    found = match_classes(domain.name, domain.classes, domain.labels, known)
    assert found.left_out == (0 if len(known) == 1000 else 2)
    assert {known[label] for label in found.labels} <= {wnids[281], wnids[285], wnids[3]}
    for position, label in zip(found.positions, found.labels, strict=True):
        assert domain.classes[domain.labels[position]] == known[label]


def test_imagenet_v2_numbers_its_classes_in_the_order_of_the_wnids() -> None:
    wnids = imagenet_wnids()
    names = sorted(str(number) for number in range(1000))  # as folders sort: 0, 1, 10, 100, ...
    labels = np.arange(1000)
    found = match_classes("v2", names, labels, wnids)
    assert [int(names[p]) for p in found.positions] == found.labels.tolist()
    some = match_classes("v2", names, labels, wnids[::100])
    assert len(some.positions) == 10 and some.left_out == 990


def test_digits_keep_their_own_numbers() -> None:
    digits = tuple("0123456789")
    assert match_classes("mnist", digits, np.arange(10), digits).labels.tolist() == list(range(10))


def test_nothing_in_common_is_refused_with_both_sides_names() -> None:
    with pytest.raises(DataError, match=r"its classes are called cat, emu, \.\.\., the head's ant, \.\.\."):
        match_classes("pets", ["cat", "emu"], np.array([0, 1]), ["ant"])
