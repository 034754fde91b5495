"""Domains: image sets with one interface, whatever they were stored as, and synthetic shifts of each.

A domain's name is a data set, ``mnist``, or a shift of one, ``mnist.rotation-30``. The digits that
scikit-learn ships are embedded, the others are read from a folder of local files; nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alignment._validation import check_choice, check_integer
from alignment.transfer.corruptions import SHIFTS, apply_shift
from alignment.transfer.folders import folder_files, read_folder
from alignment.transfer.images import stratified_subset, to_stack
from alignment.transfer.sources import SOURCES, Raw
from neural_alignment import DataError, InputError, closest

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Domain", "check_domain", "domain_files", "is_whole_folder", "list_domains", "load_domain", "shift_between"]

SPLITS = ("train", "test", "all")
_ALIASES = {
    "digits_inverted": "digits.inversion",
    "digits_low_contrast": "digits.contrast",
    "digits_noisy": "digits.noise",
}


@dataclass(frozen=True)
class Domain:
    """One split of one image set.

    Parameters
    ----------
    name : str
        The domain's name.
    split : {"train", "test", "all"}
        Which split.
    images : (n, 3, y, x) uint8 array
        The images, 0..255.
    labels : (n,) int64 array
        The class of each, counted in ``classes``.
    classes : tuple of str
        The classes' names.
    licence, citation : str, optional
        The terms of the data and what to cite.

    Raises
    ------
    DataError
        No images, or arrays that do not fit each other.

    Examples
    --------
    >>> domain = Domain("two", "test", np.zeros((2, 3, 8, 8), np.uint8), np.array([0, 1]), ("a", "b"))
    >>> len(domain), domain.missing_classes
    (2, ())
    """

    name: str
    split: str
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        where = f"The domain '{self.name}' ({self.split})"
        if len(self.images) == 0:
            raise DataError(f"{where} is empty: a split needs at least one image.")
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            got = f"{self.images.dtype} {self.images.shape}"
            raise DataError(f"{where} needs images (n, 3, y, x) uint8. Got {got} instead.")
        if self.labels.shape != (len(self.images),):
            raise DataError(f"{where} needs a label an image: {len(self.images)}. Got {self.labels.shape} instead.")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            span = f"{self.labels.min()} to {self.labels.max()}"
            raise DataError(f"{where} has {len(self.classes)} classes; its labels go from {span}.")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return int(self.images.shape[-1])

    @property
    def missing_classes(self) -> tuple[str, ...]:
        """Classes of which this split has no image; their recall cannot be told."""
        present = set(np.unique(self.labels).tolist())
        return tuple(name for number, name in enumerate(self.classes) if number not in present)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the images, labels and classes: equal digests mean the same data."""
        digest = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()

    def take(self, positions: npt.NDArray[np.int64]) -> Domain:
        """Return the domain reduced to the images at ``positions``."""
        images, labels = self.images[positions], self.labels[positions]
        return Domain(self.name, self.split, images, labels, self.classes, self.licence, self.citation)

    def to_dataset(self) -> xr.Dataset:
        """Return the domain as labelled arrays: ``images`` (image, channel, y, x) and ``labels`` (image)."""
        import xarray as xr

        attributes = {
            "name": self.name,
            "split": self.split,
            "classes": list(self.classes),
            "digest": self.digest,
        }
        attributes |= {"licence": self.licence, "citation": self.citation}
        data = {"images": (("image", "channel", "y", "x"), self.images), "labels": ("image", self.labels)}
        return xr.Dataset(data, attrs=attributes)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Domain:
        """Return the domain that :meth:`to_dataset` wrote.

        Raises
        ------
        DataError
            The data set has not the variables and attributes of a domain.
        """
        try:
            images, labels, told = dataset["images"].values, dataset["labels"].values, dataset.attrs
            names = told["classes"]
            classes = (names,) if isinstance(names, str) else tuple(str(name) for name in names)
            terms = str(told["licence"]), str(told["citation"])
            return cls(told["name"], told["split"], images, labels.astype(np.int64), classes, *terms)
        except KeyError as error:
            raise DataError(
                f"This data set is no domain: it has no {error}. Write it with Domain.to_dataset."
            ) from None


@dataclass(frozen=True)
class _Name:
    base: str
    folder: tuple[str, ...]
    shift: str | None
    strength: int | None


def check_domain(name: str) -> None:
    """Raise unless ``name`` is the name of a domain; its files are not looked at.

    Parameters
    ----------
    name : str
        As :func:`load_domain` takes it.

    Raises
    ------
    InputError
        Unknown data set or shift, or a strength beyond its limits.

    Examples
    --------
    >>> check_domain("mnist.rotation-30")
    >>> check_domain("minst")
    Traceback (most recent call last):
        ...
    neural_alignment.InputError: Unknown domain 'minst'. ... Did you mean 'mnist'?
    """
    _parse(name)


def list_domains() -> dict[str, bool]:
    """Return the names of the data sets, and whether each is read from files in a data folder.

    Examples
    --------
    >>> list_domains()["mnist"], list_domains()["digits"]
    (True, False)
    """
    return {name: source.files is not None for name, source in SOURCES.items()} | dict.fromkeys(_ALIASES, False)


def domain_files(name: str, split: str, data: str | Path | None) -> list[Path]:
    """List the files that a domain is read from.

    Parameters
    ----------
    name, split : str
        As :func:`load_domain` takes them.
    data : path or None
        The data folder.

    Returns
    -------
    list of Path
        Empty for the embedded domains.

    Raises
    ------
    InputError
        Unknown domain, or no data folder given for one that needs it.
    DataError
        The files are not in the folder.
    """
    parsed = _parse(name)
    _check_split(split, parsed)
    if parsed.base == "folder":
        return folder_files(_data_folder(data, name), _folder_parts(parsed, data, name), split)[0]
    files = SOURCES[parsed.base].files
    return [] if files is None else files(_data_folder(data, name), split)


def is_whole_folder(name: str, data: str | Path | None) -> bool:
    """Tell whether a domain is a folder of images that is not split into train and test, so that ``all`` is a split.

    Parameters
    ----------
    name : str
        As :func:`load_domain` takes it.
    data : path or None
        The data folder.

    Raises
    ------
    InputError
        Unknown domain, or no data folder given for one that needs it.
    """
    parsed = _parse(name)
    if parsed.base != "folder":
        return False
    folder = _data_folder(data, name).joinpath(*_folder_parts(parsed, data, name))
    return not ((folder / "train").is_dir() and (folder / "test").is_dir())


def load_domain(
    name: str,
    split: str,
    data: str | Path | None = None,
    image_size: int = 32,
    seed: int = 0,
    limit: int | None = None,
) -> Domain:
    """Load one split of a domain.

    Parameters
    ----------
    name : str
        ``digits``, ``digits_m``, ``digits_inverted``, ``digits_low_contrast``, ``digits_noisy`` (embedded);
        ``mnist``, ``mnist_m``, ``usps``, ``svhn``, ``cifar100``, ``cifar27``, ``cifar20``, ``cifar80`` or
        ``folder.PATH.TO.DOMAIN`` (files in ``data``). A shift may follow any of them: ``usps.blur``,
        ``mnist.rotation-45``; see :data:`alignment.transfer.SHIFTS` for their units.
    split : {"train", "test", "all"}
        Which split; ``all``, every image, is for folders.
    data : path, optional
        Folder of the data sets that are not embedded.
    image_size : int, optional
        Side of the images in pixels.
    seed : int, optional
        Of the random parts of a domain: MNIST-M's backgrounds, a shift's draws, and which images ``limit``
        keeps. The splits are fixed and do not depend on it.
    limit : int, optional
        Keep this many images, every class in its share.

    Returns
    -------
    Domain

    Raises
    ------
    InputError
        Unknown domain, wrong option, or no data folder where one is needed.
    DataError
        A file is missing, partial or not the published one.

    Examples
    --------
    >>> load_domain("digits", "test").images.shape
    (450, 3, 32, 32)
    """
    parsed = _parse(name)
    _check_split(split, parsed)
    check_integer(image_size, "image_size", "load_domain", low=8, high=1024)
    check_integer(seed, "seed", "load_domain", low=0)
    if limit is not None:
        check_integer(limit, "limit", "load_domain", low=1)
    if parsed.base == "folder":
        raw, images, terms = _from_folder(parsed, name, split, data, image_size, seed, limit)
    else:
        source = SOURCES[parsed.base]
        folder = Path() if source.files is None else _data_folder(data, name)
        raw = _limited(source.read(folder, split, seed), seed, limit)
        images, terms = to_stack(raw.images, image_size), (source.licence, source.citation)
    if parsed.shift is not None:
        # Train and test draw apart: equal draws would tie the two splits' noise together.
        draw = int(np.random.SeedSequence([seed, SPLITS.index(split)]).generate_state(1)[0])
        images = apply_shift(images, parsed.shift, parsed.strength, seed=draw)
    return Domain(name, split, images, raw.labels, raw.classes, *terms)


def shift_between(source: str, target: str) -> tuple[str, int | None] | None:
    """Return the shift that makes a target of a source's own images, with its strength.

    Parameters
    ----------
    source, target : str
        Names as :func:`load_domain` takes them.

    Returns
    -------
    tuple of str and int, or None
        ``None`` where the target has other images, or other content: then no image of it has a partner in the
        source. A strength of ``None`` is the shift's default.

    Raises
    ------
    InputError
        Unknown domain.

    Examples
    --------
    >>> shift_between("mnist", "mnist.rotation-30"), shift_between("digits", "digits_inverted")
    (('rotation', 30), ('inversion', None))
    >>> shift_between("mnist", "usps.rotation-30") is None
    True
    """
    here, there = _parse(source), _parse(target)
    same = (here.base, here.folder) == (there.base, there.folder)
    return (there.shift, there.strength) if same and here.shift is None and there.shift is not None else None


def _check_split(split: str, parsed: _Name) -> None:
    check_choice(split, "split", "load_domain", SPLITS if parsed.base == "folder" else SPLITS[:2])


def _from_folder(
    parsed: _Name, name: str, split: str, data: Any, image_size: int, seed: int, limit: int | None
) -> tuple[Raw, npt.NDArray[np.uint8], tuple[str, str]]:
    files, classes = folder_files(_data_folder(data, name), _folder_parts(parsed, data, name), split)
    if limit is not None:
        # Chosen before a file is decoded.
        numbers = {label: number for number, label in enumerate(classes)}
        labels = np.array([numbers[path.parent.name] for path in files], np.int64)
        files = [files[index] for index in stratified_subset(labels, limit, seed)]
    images, labels = read_folder(files, classes, image_size)
    terms = ("as the owner of the folder states", f"the images in {'/'.join(parsed.folder)}")
    return Raw(images, labels, classes), to_stack(images, image_size), terms


def _limited(raw: Raw, seed: int, limit: int | None) -> Raw:
    if limit is None:
        return raw
    chosen = stratified_subset(raw.labels, limit, seed)
    return Raw(raw.images[chosen], raw.labels[chosen], raw.classes)


def _data_folder(data: str | Path | None, name: str) -> Path:
    if data is None:
        raise InputError(
            f"The domain '{name}' is read from files: give the folder that holds them ('data' in the study, "
            "--data on the command line, $NALIGN_DATA). docs/transfer.md has what it holds and where that comes from."
        )
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise DataError(f"The data folder {folder} is not there. Give the folder that holds the data sets.")
    return folder


def _folder_parts(parsed: _Name, data: str | Path | None, name: str) -> tuple[str, ...]:
    if parsed.shift is not None:
        ambiguous = _data_folder(data, name).joinpath(*parsed.folder, name.rpartition(".")[2])
        if ambiguous.exists():
            raise DataError(f"The name '{name}' means both a shift and the folder {ambiguous}. Rename the folder.")
    return parsed.folder


def _parse(name: str) -> _Name:
    if not isinstance(name, str) or not name:
        raise InputError(f"A domain's name must be a word such as 'mnist'. Got {name!r} instead.")
    parts = _ALIASES.get(name, name).split(".")
    shift, strength = _parse_shift(parts[-1], name) if len(parts) > 1 else (None, None)
    if shift is not None:
        parts = parts[:-1]
    base, rest = parts[0], tuple(parts[1:])
    if base == "folder":
        if not rest or any(not part for part in rest):
            raise InputError(f"The domain '{name}' names no folder. Write folder.PATH.TO.DOMAIN, dots for slashes.")
        return _Name(base, rest, shift, strength)
    if base in _ALIASES:
        raise InputError(f"The domain '{name}' is a shift already; shift 'digits' itself instead.")
    if base not in SOURCES:
        known = [*list_domains(), "folder"]
        raise InputError(f"Unknown domain '{name}'. Known are {', '.join(known)}.{closest(base, known)}")
    if rest:
        raise InputError(
            f"Unknown shift '{rest[-1]}' in '{name}'. Known are {', '.join(SHIFTS)}.{closest(rest[-1], SHIFTS)}"
        )
    return _Name(base, (), shift, strength)


def _parse_shift(text: str, name: str) -> tuple[str | None, int | None]:
    shift, dash, number = text.partition("-")
    if shift not in SHIFTS:
        return None, None
    if not dash:
        return shift, None
    kind = SHIFTS[shift]
    if not number.isdecimal() or not kind.low <= int(number) <= kind.high:
        raise InputError(
            f"The strength of '{shift}' in '{name}' must be a whole number from {kind.low} to {kind.high} "
            f"({kind.unit}). Got '{number}' instead."
        )
    return shift, int(number)
