"""Where the images come from: one reader for each data set, with its files, checksums, licence and citation.

A reader returns one split as it is stored, uint8 (n, h, w) or (n, h, w, 3), with its labels. Files that are
published with a checksum are compared with it before they are believed; the others are checked for what they
must hold.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alignment.transfer.cifar import CIFAR20_CLASSES, CIFAR27_CLASSES, read_cifar
from alignment.transfer.images import stratified_split
from alignment.transfer.mnist_m import blend_digits, embedded_photographs, read_photographs
from neural_alignment import DataError

__all__ = ["CHECKSUMS", "SOURCES", "Raw", "Source", "one_of"]

DIGITS = tuple("0123456789")

# MD5 of the decompressed MNIST files (a file may be compressed anew), of the files of USPS and SVHN as
# published.
CHECKSUMS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
_USPS_SIZES = {"train": 7291, "test": 2007}
_MNIST_M_SIZES = {"train": (59001, 60000), "test": (9001, 10000)}


@dataclass(frozen=True)
class Raw:
    """One split as stored: images (n, h, w) or (n, h, w, 3) uint8, labels (n,) int64, class names."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """One data set.

    Attributes
    ----------
    read : callable
        ``(folder, split, seed) -> Raw``.
    files : callable or None
        ``(folder, split) -> files``, checked to exist; None for a data set that the installed packages ship.
    licence, citation : str
        Its terms and what to cite.
    """

    read: Callable[[Path, str, int], Raw]
    files: Callable[[Path, str], list[Path]] | None
    licence: str
    citation: str


def one_of(folder: Path, candidates: Sequence[str], what: str) -> Path:
    """Return the first of the places below ``folder`` that is a file; otherwise say where was looked."""
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    listed = ", ".join(candidates)
    raise DataError(f"{what} is not in {folder}: looked for {listed}. Put one there, or give another data folder.")


def _checked(content: bytes, name: str, path: Path) -> bytes:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != CHECKSUMS[name]:
        raise DataError(
            f"{path} is not the published {name}: its MD5 is {found} and should be {CHECKSUMS[name]}. "
            "It is partial or another file; fetch it again."
        )
    return content


# --- digits ---------------------------------------------------------------------------------------


def _read_digits(folder: Path, split: str, seed: int) -> Raw:
    from sklearn.datasets import load_digits

    del folder, seed
    stored = load_digits()
    labels = stored.target.astype(np.int64)
    # The split is part of the data set, so it does not depend on the caller's seed.
    train, test = stratified_split(labels, 0.25, seed=0)
    chosen = train if split == "train" else test
    images = np.rint(stored.images[chosen] * (255 / 16)).astype(np.uint8)
    return Raw(_enlarge(images, 4), labels[chosen], DIGITS)


def _enlarge(images: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    from alignment.transfer.images import to_stack

    return np.ascontiguousarray(to_stack(images, images.shape[1] * factor)[:, 0])


def _read_digits_m(folder: Path, split: str, seed: int) -> Raw:
    raw = _read_digits(folder, split, seed)
    patches = blend_digits(raw.images, embedded_photographs(), _split_seed(seed, split))
    return Raw(patches, raw.labels, raw.classes)


def _split_seed(seed: int, split: str) -> int:
    return int(np.random.SeedSequence([seed, 1 if split == "test" else 0]).generate_state(1)[0])


# --- MNIST and MNIST-M ----------------------------------------------------------------------------


def _mnist_files(folder: Path, split: str) -> list[Path]:
    prefix = "train" if split == "train" else "t10k"
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        name = f"{prefix}-{kind}-ubyte"
        places = [f"{sub}{name}{end}" for sub in ("mnist/", "MNIST/raw/", "") for end in (".gz", "")]
        found.append(one_of(folder, places, f"MNIST's {name}"))
    return found


def _read_mnist(folder: Path, split: str, seed: int) -> Raw:
    del seed
    images, labels = (_read_idx(path) for path in _mnist_files(folder, split))
    return Raw(images, labels.astype(np.int64), DIGITS)


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a complete gzip file: {error}. Fetch it again.") from error
    _checked(content, path.name.removesuffix(".gz"), path)
    # idx: two zero bytes, the type (8 = unsigned byte), the number of dimensions, then each as big-endian
    # int32.
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()


def _published_mnist_m(folder: Path, split: str) -> Path | None:
    for candidate in (f"mnist_m/mnist_m_{split}_labels.txt", f"mnist_m_{split}_labels.txt"):
        if (folder / candidate).is_file():
            return folder / candidate
    return None


def _backgrounds(folder: Path) -> list[Path]:
    for sub in ("bsds500_train200", "BSDS500/data/images/train", "BSR/BSDS500/data/images/train"):
        found = sorted((folder / sub).glob("*.jpg"))
        if found:
            return found
    raise DataError(
        f"MNIST-M is not in {folder}: looked for the published mnist_m/mnist_m_train_labels.txt, and for the "
        "photographs of BSDS500 to make it from in bsds500_train200/*.jpg or BSDS500/data/images/train/*.jpg."
    )


def _mnist_m_files(folder: Path, split: str) -> list[Path]:
    published = _published_mnist_m(folder, split)
    if published is not None:
        return [published, *sorted((published.parent / f"mnist_m_{split}").glob("*.png"))]
    backgrounds = _backgrounds(folder)
    return [*_mnist_files(folder, split), *backgrounds]


def _read_mnist_m(folder: Path, split: str, seed: int) -> Raw:
    published = _published_mnist_m(folder, split)
    if published is not None:
        return _read_published_mnist_m(published, split)
    photographs = read_photographs(_backgrounds(folder))
    raw = _read_mnist(folder, split, seed)
    return Raw(blend_digits(raw.images, photographs, _split_seed(seed, split)), raw.labels, DIGITS)


def _read_published_mnist_m(listing: Path, split: str) -> Raw:
    rows = [line.split() for line in listing.read_text().splitlines() if line.strip()]
    if any(len(row) != 2 or not row[1].isdigit() or int(row[1]) > 9 for row in rows):
        raise DataError(f"{listing} must hold a file name and a digit on every line. It does not; fetch it again.")
    low, high = _MNIST_M_SIZES[split]
    if not low <= len(rows) <= high:
        raise DataError(f"{listing} lists {len(rows)} images; the published file has {low} to {high}. Fetch it again.")
    folder = listing.parent / f"mnist_m_{split}"
    missing = next((row[0] for row in rows if not (folder / Path(row[0]).name).is_file()), None)
    if missing is not None:
        raise DataError(f"{folder / missing} is named in {listing} and is not there. Unpack MNIST-M again.")
    pictures = read_photographs([folder / Path(row[0]).name for row in rows])
    order = np.argsort([Path(row[0]).name for row in rows], kind="stable")
    labels = np.array([int(row[1]) for row in rows], np.int64)[order]
    return Raw(_equal_sizes(pictures, folder), labels, DIGITS)


def _equal_sizes(pictures: Sequence[npt.NDArray[np.uint8]], where: Path) -> npt.NDArray[np.uint8]:
    sizes = {picture.shape[:2] for picture in pictures}
    if len(sizes) != 1:
        listed = ", ".join(f"{height}×{width}" for height, width in sorted(sizes)[:4])
        raise DataError(f"The images in {where} must have one size. Got {listed}.")
    return np.stack(pictures)


# --- USPS and SVHN --------------------------------------------------------------------------------


def _usps_files(folder: Path, split: str) -> list[Path]:
    del split
    return [one_of(folder, ["usps/usps.h5", "usps.h5"], "USPS (usps.h5)")]


def _read_usps(folder: Path, split: str, seed: int) -> Raw:
    import h5py

    del seed
    path = _usps_files(folder, split)[0]
    try:
        with h5py.File(path, "r") as file:
            data: npt.NDArray[Any] = np.asarray(file[f"{split}/data"])
            labels = np.asarray(file[f"{split}/target"])
    except (OSError, KeyError) as error:
        raise DataError(
            f"{path} is not the USPS file: {error}. It must hold {split}/data and {split}/target."
        ) from error
    size = _USPS_SIZES[split]
    if data.shape != (size, 256) or labels.shape != (size,):
        raise DataError(
            f"{path} is not the whole USPS: {split}/data must be ({size}, 256) and {split}/target ({size},). "
            f"Got {data.shape} and {labels.shape}. Fetch it again."
        )
    if data.min() < 0 or data.max() > 1 or set(np.unique(labels)) != set(range(10)):
        raise DataError(f"{path} must hold values in [0, 1] and the labels 0 to 9. It does not; fetch it again.")
    images = np.rint(data.reshape(-1, 16, 16) * 255).astype(np.uint8)
    return Raw(images, labels.astype(np.int64), DIGITS)


def _svhn_files(folder: Path, split: str) -> list[Path]:
    name = f"{split}_32x32.mat"
    return [one_of(folder, [f"svhn/{name}", f"SVHN/{name}", name], f"SVHN's {name}")]


def _read_svhn(folder: Path, split: str, seed: int) -> Raw:
    from scipy.io import loadmat

    del seed
    path = _svhn_files(folder, split)[0]
    _checked(path.read_bytes(), path.name, path)
    stored = loadmat(path, variable_names=["X", "y"])
    # Images last and the digit 0 stored as 10, as MATLAB has it.
    images = np.ascontiguousarray(np.transpose(stored["X"], (3, 0, 1, 2)))
    labels = stored["y"].astype(np.int64).ravel() % 10
    return Raw(images, labels, DIGITS)


# --- CIFAR ----------------------------------------------------------------------------------------


def _cifar_files(folder: Path, split: str) -> list[Path]:
    for sub in ("cifar100", "."):
        found = sorted((folder / sub).glob(f"{split}_*.npz")) + sorted((folder / sub).glob(f"{split}.npz"))
        if len(found) > 1:
            listed = ", ".join(path.name for path in found)
            raise DataError(f"{folder / sub} holds several {split} files of CIFAR-100: {listed}. Keep one.")
        if found:
            return found
    raise DataError(
        f"CIFAR-100 is not in {folder}: looked for cifar100/{split}_*.npz with the arrays X, y and classes. "
        "(The published archive is a pickle, which can run code and is not read; the images as files, from which "
        "these can be made: https://github.com/cyizhuo/CIFAR-100-dataset. docs/transfer.md has the layout.)"
    )


def _read_cifar100(folder: Path, split: str, seed: int) -> Raw:
    del seed
    return Raw(*read_cifar(_cifar_files(folder, split)[0]))


def _read_cifar27(folder: Path, split: str, seed: int) -> Raw:
    del seed
    return Raw(*read_cifar(_cifar_files(folder, split)[0], CIFAR27_CLASSES))


def _read_cifar20(folder: Path, split: str, seed: int) -> Raw:
    del seed
    return Raw(*read_cifar(_cifar_files(folder, split)[0], CIFAR20_CLASSES))


def _read_cifar80(folder: Path, split: str, seed: int) -> Raw:
    del seed
    return Raw(*read_cifar(_cifar_files(folder, split)[0], without=CIFAR20_CLASSES))


_DIGITS_TERMS = (
    "CC BY 4.0",
    "Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository",
)
_MNIST_TERMS = ("CC BY-SA 3.0", "LeCun, Cortes & Burges, The MNIST database of handwritten digits")
_CIFAR_TERMS = (
    "no licence stated; research use",
    "Krizhevsky (2009), Learning multiple layers of features from tiny images",
)
_BSDS_TERMS = (
    "non-commercial research (BSDS500); MNIST under CC BY-SA 3.0",
    "Ganin & Lempitsky (2015), Unsupervised domain adaptation by backpropagation; "
    "Arbelaez et al. (2011), Contour detection and hierarchical image segmentation",
)

SOURCES: dict[str, Source] = {
    "digits": Source(_read_digits, None, *_DIGITS_TERMS),
    "digits_m": Source(
        _read_digits_m,
        None,
        "CC BY 4.0 (digits); public domain, CC0 and CC BY (photographs of scikit-image, scikit-learn)",
        f"{_DIGITS_TERMS[1]}; van der Walt et al. (2014), scikit-image; Pedregosa et al. (2011), scikit-learn",
    ),
    "mnist": Source(_read_mnist, _mnist_files, *_MNIST_TERMS),
    "mnist_m": Source(_read_mnist_m, _mnist_m_files, *_BSDS_TERMS),
    "usps": Source(
        _read_usps,
        _usps_files,
        "research use",
        "Hull (1994), A database for handwritten text recognition research",
    ),
    "svhn": Source(
        _read_svhn,
        _svhn_files,
        "non-commercial use",
        "Netzer et al. (2011), Reading digits in natural images with unsupervised feature learning",
    ),
    "cifar100": Source(_read_cifar100, _cifar_files, *_CIFAR_TERMS),
    "cifar20": Source(_read_cifar20, _cifar_files, *_CIFAR_TERMS),
    "cifar27": Source(_read_cifar27, _cifar_files, *_CIFAR_TERMS),
    "cifar80": Source(_read_cifar80, _cifar_files, *_CIFAR_TERMS),
}
"""The data sets by name."""
