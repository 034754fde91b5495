"""Image folders as domains: ``data/DOMAIN/class/*.jpg``, the layout of PACS, Office, VisDA and DomainNet.

``folder.PACS.sketch`` reads ``data/PACS/sketch``. A domain folder that holds only ``train`` and ``test`` is
taken as split already; any other is split by a fixed draw, one image of five of each class for testing. The split
``all`` is every image: for folders that are all test, such as ImageNet-R.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from alignment._validation import check_within
from alignment.transfer.images import stratified_split
from neural_alignment import DataError

__all__ = ["folder_files", "read_folder"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def folder_files(base: Path, parts: tuple[str, ...], split: str) -> tuple[list[Path], tuple[str, ...]]:
    """List the images of one split and the classes of the whole domain.

    Parameters
    ----------
    base : Path
        The data folder.
    parts : tuple of str
        The path of the domain's folder below it.
    split : {"train", "test", "all"}
        Which images.

    Returns
    -------
    files : list of Path
        Ordered by class and name; the class is the name of the folder that holds the file.
    classes : tuple of str
        Alphabetically.

    Raises
    ------
    DataError
        No such folder, no classes, or a class without images.
    """
    folder = check_within(base.joinpath(*parts), base, "The domain's folder")
    if not folder.is_dir():
        raise DataError(f"The image folder {folder} is not there. It must hold one folder of images a class.")
    subfolders = _subfolders(folder)
    if {path.name for path in subfolders} == {"train", "test"}:
        classes = tuple(path.name for path in _subfolders(folder / "train"))
        if split == "all":
            raise DataError(f"{folder} is split into train and test: it has no split 'all'. Ask for 'test'.")
        listed = _by_class(folder / split, _subfolders(folder / split))
        unknown = sorted(set(listed) - set(classes))
        if unknown:
            raise DataError(f"{folder} has the classes {', '.join(unknown)} in test and not in train.")
        return [path for files in listed.values() for path in files], classes
    listed = _by_class(folder, subfolders)
    files = [path for members in listed.values() for path in members]
    if split == "all":
        return files, tuple(listed)
    labels = np.repeat(np.arange(len(listed)), [len(members) for members in listed.values()])
    # The split is part of the domain: one draw for every seed of a study.
    train, test = stratified_split(labels, 0.2, seed=0)
    chosen = train if split == "train" else test
    return [files[index] for index in chosen], tuple(listed)


def read_folder(
    files: list[Path], classes: tuple[str, ...], image_size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read images of any sizes: the shorter side resized to ``image_size``, the middle square kept.

    Parameters
    ----------
    files : list of Path
        Image files; the folder of each names its class.
    classes : tuple of str
        All classes, which number the labels.
    image_size : int
        Side of the result in pixels.

    Returns
    -------
    images : (n, image_size, image_size, 3) uint8 array
    labels : (n,) int64 array

    Raises
    ------
    DataError
        A file is no complete image.
    """
    from PIL import Image, ImageOps

    images = np.empty((len(files), image_size, image_size, 3), np.uint8)
    for index, path in enumerate(files):
        try:
            with Image.open(path) as opened:
                opened.draft("RGB", (image_size, image_size))  # a JPEG decodes at a fraction of its size
                fitted = ImageOps.fit(opened.convert("RGB"), (image_size, image_size), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} is not a complete image: {error}. Replace or remove it.") from error
        images[index] = np.asarray(fitted)
    numbers = {name: number for number, name in enumerate(classes)}
    return images, np.array([numbers[path.parent.name] for path in files], np.int64)


def _subfolders(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise DataError(f"{folder} holds no class folders. An image folder is DOMAIN/class/*.jpg.")
    return found


def _by_class(folder: Path, subfolders: list[Path]) -> dict[str, list[Path]]:
    listed = {
        sub.name: sorted(path for path in sub.iterdir() if path.suffix.lower() in _SUFFIXES) for sub in subfolders
    }
    empty = [name for name, files in listed.items() if not files]
    if empty:
        raise DataError(
            f"The classes {', '.join(empty[:5])} of {folder} hold no images ({', '.join(_SUFFIXES)}). "
            "Add some, or remove the folders."
        )
    return listed
