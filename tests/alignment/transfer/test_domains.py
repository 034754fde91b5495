from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from alignment.transfer import Domain, check_domain, domain_files, list_domains, load_domain
from neural_alignment import DataError, InputError

EMBEDDED = [name for name, from_files in list_domains().items() if not from_files]


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_domains_need_no_files(name: str) -> None:
    domain = load_domain(name, "test", limit=40)
    assert domain.images.shape == (40, 3, 32, 32) and domain.images.dtype == np.uint8
    assert domain.labels.dtype == np.int64 and domain.missing_classes == ()
    assert domain.name == name and domain.split == "test" and domain.image_size == 32
    assert domain.licence and domain.citation
    assert domain_files(name, "test", None) == []
    assert domain.digest == load_domain(name, "test", limit=40).digest


def test_the_digits_are_scikit_learns_each_once() -> None:
    train, test = load_domain("digits", "train"), load_domain("digits", "test")
    assert len(train) + len(test) == len(load_digits().target)
    both = np.bincount(train.labels) + np.bincount(test.labels)
    assert np.array_equal(both, np.bincount(load_digits().target))
    pictures = {image.tobytes() for image in train.images}
    assert sum(image.tobytes() in pictures for image in test.images) == 0


def test_the_split_does_not_depend_on_the_seed_and_backgrounds_do() -> None:
    plain = [load_domain("digits", "test", seed=seed).digest for seed in (0, 7)]
    blended = [load_domain("digits_m", "test", seed=seed) for seed in (0, 7)]
    assert plain[0] == plain[1]
    assert np.array_equal(blended[0].labels, blended[1].labels)
    assert blended[0].digest != blended[1].digest


def test_shifts_by_name_and_by_alias() -> None:
    plain = load_domain("digits", "test")
    assert np.array_equal(load_domain("digits_inverted", "test").images, 255 - plain.images)
    assert load_domain("digits.inversion", "test").digest == load_domain("digits_inverted", "test").digest
    strong, weak = (load_domain(f"digits.noise-{value}", "test").images.astype(int) for value in (40, 5))
    assert np.abs(strong - plain.images).mean() > np.abs(weak - plain.images).mean()
    train, test = (load_domain("digits.noise", split, limit=20) for split in ("train", "test"))
    noise = [domain.images.astype(int) for domain in (train, test)]
    assert not np.array_equal(noise[0] == 0, noise[1] == 0)


def test_a_limit_keeps_whole_images_of_the_full_domain() -> None:
    full = {image.tobytes() for image in load_domain("digits_m", "train").images}
    some = load_domain("digits_m", "train", limit=100)
    assert len(some) == 100 and all(image.tobytes() in full for image in some.images)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minst", "Did you mean 'mnist'"),
        ("mnist.rotaton", "Unknown shift 'rotaton' in .* Did you mean 'rotation'"),
        ("mnist.rotation-500", "from 1 to 180 .degrees"),
        ("mnist.rotation-x", "Got 'x' instead"),
        ("mnist.blur.noise", "Unknown shift 'blur'"),
        ("digits_noisy.blur", "is a shift already"),
        ("", "must be a word"),
        (3, "must be a word"),
    ],
)
def test_wrong_names_are_refused_without_a_look_at_files(name: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_domain(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "'split' parameter of load_domain must be one of 'train', 'test'"),
        ({"image_size": 4}, "'image_size' parameter"),
        ({"limit": 0}, "'limit' parameter"),
        ({"seed": -1}, "'seed' parameter"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_domain(**({"name": "digits", "split": "train"} | options))  # type: ignore[arg-type]


def test_a_missing_data_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'mnist' is read from files"):
        load_domain("mnist", "train")
    with pytest.raises(DataError, match=r"The data folder .* is not there"):
        load_domain("mnist", "train", data=tmp_path / "nowhere")
    with pytest.raises(DataError, match=f"not in {tmp_path}"):
        domain_files("usps", "train", tmp_path)


def test_labelled_arrays_and_back() -> None:
    domain = load_domain("digits_m", "test", limit=20)
    dataset = domain.to_dataset()
    assert dict(dataset.sizes) == {"image": 20, "channel": 3, "y": 32, "x": 32}
    again = Domain.from_dataset(dataset)
    assert again.digest == domain.digest and again.classes == domain.classes
    assert (again.name, again.split, again.licence, again.citation) == (
        domain.name,
        domain.split,
        domain.licence,
        domain.citation,
    )
    with pytest.raises(DataError, match="is no domain"):
        Domain.from_dataset(dataset.drop_vars("labels"))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((0, 3, 8, 8), np.uint8), np.zeros(0, np.int64), "is empty"),
        (np.zeros((2, 3, 8, 8), np.float32), np.zeros(2, np.int64), "uint8"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(2, np.int64), r"\(n, 3, y, x\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), np.zeros(3, np.int64), "a label an image"),
        (np.zeros((2, 3, 8, 8), np.uint8), np.array([0, 2]), "has 2 classes"),
        (np.zeros((2, 3, 8, 8), np.uint8), np.array([-1, 0]), "go from -1 to 0"),
    ],
)
def test_arrays_that_are_no_domain_are_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Domain("wrong", "train", images, labels, ("a", "b"))


def test_digest_tells_images_labels_and_classes_apart() -> None:
    images, labels = np.zeros((2, 3, 8, 8), np.uint8), np.array([0, 1])
    base = Domain("x", "train", images, labels, ("a", "b"))
    others = [
        Domain("x", "train", images + np.uint8(1), labels, ("a", "b")),
        Domain("x", "train", images, labels[::-1], ("a", "b")),
        Domain("x", "train", images, labels, ("a", "c")),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 4
    assert Domain("renamed", "test", images, labels, ("a", "b")).digest == base.digest
    assert base.take(np.array([1])).missing_classes == ("a",)


def test_names_and_files_can_be_looked_up_without_torch() -> None:
    code = (
        "import sys; from alignment.transfer.domains import check_domain, domain_files; "
        "check_domain('mnist.blur');"
        "domain_files('digits', 'train', None); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
