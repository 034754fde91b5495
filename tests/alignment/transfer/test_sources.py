"""Readers of the data sets, on real files where they are there and on files of their form elsewhere."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from alignment.transfer import domain_files, load_domain, sources
from alignment.transfer.cifar import CIFAR20_CLASSES, CIFAR27, CIFAR27_CLASSES, read_cifar
from neural_alignment import DataError


def write_idx(path: Path, array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    content = head + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return content


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray, np.ndarray]:
    """A small data set in MNIST's files, whose checksums are taken as the published ones."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 28, 28)).astype(np.uint8)
    labels = np.arange(60) % 10
    for prefix in ("train", "t10k"):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            name = f"{prefix}-{kind}-ubyte"
            content = write_idx(tmp_path / "mnist" / f"{name}.gz", array)
            monkeypatch.setitem(sources.CHECKSUMS, name, hashlib.md5(content).hexdigest())
    return tmp_path, images, labels


def test_mnist_files_are_read_as_written(mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, images, labels = mnist
    domain = load_domain("mnist", "train", data=folder, image_size=28)
    assert np.array_equal(domain.images[:, 1], images)
    assert np.array_equal(domain.labels, labels)
    assert [path.name for path in domain_files("mnist", "train", folder)] == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]


def test_mnist_uncompressed_in_torchvisions_place(mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, images, labels = mnist
    for path in (folder / "mnist").iterdir():
        path.unlink()
    write_idx(folder / "MNIST/raw/t10k-images-idx3-ubyte", images)
    write_idx(folder / "MNIST/raw/t10k-labels-idx1-ubyte", labels)
    assert len(load_domain("mnist", "test", data=folder)) == 60


def test_a_partial_or_other_mnist_file_is_refused_by_name(mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, images, _ = mnist
    path = folder / "mnist/train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is not a complete gzip file"):
        load_domain("mnist", "train", data=folder)
    write_idx(path, images[::-1])
    with pytest.raises(DataError, match="is not the published train-images-idx3-ubyte: its MD5 is"):
        load_domain("mnist", "train", data=folder)
    path.unlink()
    with pytest.raises(DataError, match=r"looked for mnist/train-images-idx3-ubyte\.gz"):
        load_domain("mnist", "train", data=folder)


def test_mnist_m_is_made_from_mnist_and_photographs(mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, images, labels = mnist
    with pytest.raises(DataError, match="photographs of BSDS500"):
        load_domain("mnist_m", "train", data=folder)
    (folder / "bsds500_train200").mkdir()
    Image.new("RGB", (60, 50), (10, 20, 30)).save(folder / "bsds500_train200/1.jpg", quality=100)
    domain = load_domain("mnist_m", "train", data=folder, image_size=28)
    patch = np.asarray(Image.open(folder / "bsds500_train200/1.jpg"))[0, 0].astype(int)
    expected = np.abs(images[:, None].astype(int) - patch[None, :, None, None])
    assert np.array_equal(domain.images, expected)
    assert np.array_equal(domain.labels, labels)
    assert len(domain_files("mnist_m", "train", folder)) == 3


def test_published_mnist_m_is_preferred(
    mnist: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mnist[0]
    pictures = folder / "mnist_m/mnist_m_test"
    pictures.mkdir(parents=True)
    listing = folder / "mnist_m/mnist_m_test_labels.txt"
    names = [f"{index:08d}.png" for index in range(12)]
    for index, name in enumerate(names):
        Image.new("RGB", (32, 32), (index, 0, 0)).save(pictures / name)
    rows = [f"{name} {index % 10}" for index, name in enumerate(names)]
    listing.write_text("\n".join(reversed(rows)))
    with pytest.raises(DataError, match="lists 12 images; the published file has 9001 to 10000"):
        load_domain("mnist_m", "test", data=folder)
    monkeypatch.setitem(sources._MNIST_M_SIZES, "test", (1, 12))
    domain = load_domain("mnist_m", "test", data=folder)
    assert domain.labels.tolist() == domain.images[:, 0, 0, 0].astype(int).__mod__(10).tolist()
    Image.new("RGB", (16, 32)).save(pictures / names[3])
    with pytest.raises(DataError, match="must have one size"):
        load_domain("mnist_m", "test", data=folder)
    (pictures / names[3]).unlink()
    with pytest.raises(DataError, match=r"00000003\.png is named in"):
        load_domain("mnist_m", "test", data=folder)


def write_usps(path: Path, sizes: dict[str, int], dtype: type = np.float32, top: float = 1.0) -> None:
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for split, size in sizes.items():
            file[f"{split}/data"] = (generator.random((size, 256)) * top).astype(dtype)
            file[f"{split}/target"] = np.arange(size) % 10


@pytest.mark.parametrize(
    ("sizes", "top", "message"),
    [
        ({"train": 7291}, 1.0, "must hold test/data"),
        ({"train": 7291, "test": 2000}, 1.0, "is not the whole USPS"),
        ({"train": 7291, "test": 2007}, 2.0, r"values in \[0, 1\]"),
    ],
)
def test_wrong_usps_files_are_refused(tmp_path: Path, sizes: dict[str, int], top: float, message: str) -> None:
    write_usps(tmp_path / "usps.h5", sizes, top=top)
    with pytest.raises(DataError, match=message):
        load_domain("usps", "test", data=tmp_path)


def test_a_truncated_usps_file_is_refused(tmp_path: Path) -> None:
    write_usps(tmp_path / "usps.h5", {"train": 7291, "test": 2007})
    assert load_domain("usps", "test", data=tmp_path, limit=50).images.shape == (50, 3, 32, 32)
    content = (tmp_path / "usps.h5").read_bytes()
    (tmp_path / "usps.h5").write_bytes(content[: len(content) // 3])
    with pytest.raises(DataError, match=r"usps\.h5 is not the USPS file"):
        load_domain("usps", "test", data=tmp_path)


def test_svhn_files_of_the_published_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 40)).astype(np.uint8)
    digits = np.arange(40) % 10 + 1  # MATLAB's way: 1 to 10, and 10 means the digit 0
    path = tmp_path / "svhn/test_32x32.mat"
    path.parent.mkdir()
    savemat(path, {"X": images, "y": digits[:, None].astype(np.uint8)}, do_compression=True)
    with pytest.raises(DataError, match=r"is not the published test_32x32\.mat"):
        load_domain("svhn", "test", data=tmp_path)
    monkeypatch.setitem(sources.CHECKSUMS, path.name, hashlib.md5(path.read_bytes()).hexdigest())
    domain = load_domain("svhn", "test", data=tmp_path)
    assert np.array_equal(domain.images, images.transpose(3, 2, 0, 1))
    assert domain.labels.tolist() == [digit % 10 for digit in digits]
    assert domain_files("svhn", "test", tmp_path) == [path]


def test_cifar27_is_27_classes_of_cifar100() -> None:
    assert len(CIFAR27) == len(set(CIFAR27_CLASSES)) == 27
    assert list(CIFAR27_CLASSES) == sorted(CIFAR27_CLASSES)
    assert all("frame" in told for told in CIFAR27.values())


def test_cifar_files_and_their_faults(tmp_path: Path) -> None:
    names = np.array([*CIFAR27_CLASSES, *(f"other{index}" for index in range(73))])
    labels = np.arange(200) % 100
    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3)).astype(np.uint8)
    path = tmp_path / "test_200.npz"
    np.savez(path, X=images, y=labels, classes=names)
    whole = load_domain("cifar100", "test", data=tmp_path)
    assert len(whole) == 200 and len(whole.classes) == 100
    some = load_domain("cifar27", "test", data=tmp_path)
    assert len(some) == 54 and some.classes == CIFAR27_CLASSES
    assert np.array_equal(some.images, whole.images[labels < 27])
    for keys, message in (
        ({"X": images, "y": labels}, "must hold the arrays"),
        ({"X": images[:5], "y": labels, "classes": names}, r"must hold X \(n, 32, 32, 3\)"),
        ({"X": images, "y": labels, "classes": names[::-1][:99]}, "100 class names"),
    ):
        np.savez(path, **keys)
        with pytest.raises(DataError, match=message):
            read_cifar(path)
    np.savez(path, X=images, y=labels, classes=np.array([f"c{index}" for index in range(100)]))
    with pytest.raises(DataError, match="lacks the CIFAR-100 classes bear"):
        load_domain("cifar27", "test", data=tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="is not a complete CIFAR-100 file"):
        load_domain("cifar100", "test", data=tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="a pickle"):
        load_domain("cifar100", "test", data=tmp_path)


def test_several_cifar_files_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("test_a.npz", "test_b.npz"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"several test files of CIFAR-100: test_a\.npz, test_b\.npz"):
        domain_files("cifar100", "test", tmp_path)


@pytest.mark.parametrize(
    ("name", "size", "n", "mean"),
    # The means that users of these data sets know: 0.1325, and (0.5088, 0.4874, 0.4419) a channel.
    [("mnist", 28, 10000, 0.1325), ("cifar100", 32, 10000, 0.4794)],
)
def test_real_files(shared_data: Path, name: str, size: int, n: int, mean: float) -> None:
    domain = load_domain(name, "test", data=shared_data, image_size=size)
    assert len(domain) == n and domain.missing_classes == ()
    assert domain.images.mean() / 255 == pytest.approx(mean, abs=1e-4)
    assert domain.licence and domain.citation


def test_real_usps(shared_data: Path) -> None:
    domain = load_domain("usps", "test", data=shared_data, image_size=16)
    with h5py.File(shared_data / "usps/usps.h5") as file:
        stored = file["test/data"][:].reshape(-1, 16, 16)
    assert len(domain) == 2007 and domain.missing_classes == ()
    assert np.abs(domain.images[:, 2] / 255 - stored).max() <= 0.5 / 255 + 1e-6


def test_real_mnist_m(shared_data: Path) -> None:
    made = load_domain("mnist_m", "test", data=shared_data, image_size=28, limit=200)
    digits = load_domain("mnist", "test", data=shared_data, image_size=28, limit=200)
    assert np.array_equal(made.labels, digits.labels)
    # On the digits' black the photograph shows as it is; on their white it shows inverted.
    on, off = digits.images > 250, digits.images < 5
    assert made.images[on].mean() == pytest.approx(255 - made.images[off].mean(), abs=12)


def test_cifar20_and_cifar80_share_no_class_and_are_all_of_cifar100(shared_data: Path) -> None:
    names = [load_domain(name, "test", data=shared_data, limit=200).classes for name in ("cifar20", "cifar80")]
    assert len(names[0]) == 20 and len(names[1]) == 80
    assert names[0] == CIFAR20_CLASSES == tuple(sorted(CIFAR20_CLASSES))
    assert not set(names[0]) & set(names[1])
    assert set(names[0]) | set(names[1]) == set(load_domain("cifar100", "test", data=shared_data, limit=100).classes)
    assert len(load_domain("cifar20", "train", data=shared_data)) == 2000
