"""Human fMRI in the layout of the Algonauts 2023 challenge (one subject of the Natural Scenes Dataset).

``training_split/training_images/*.png`` in the order of the rows of
``training_split/training_fmri/{lh,rh}_training_fmri.npy`` (image, vertex);
``roi_masks/{lh,rh}.CLASS_challenge_space.npy`` (vertex) number the regions of a class, and
``roi_masks/mapping_CLASS.npy`` names the numbers. The mapping files are pickles, which can run code: they are read as a
list of literals, never executed, and where that does not work the published names stand in.

Gifford et al. (2023), The Algonauts Project 2023 Challenge; Allen et al. (2022), A massive 7T fMRI dataset.
"""

from __future__ import annotations

import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alignment._validation import check_integer
from alignment.transfer.fusion.responses import ResponsePairs
from alignment.transfer.images import to_stack
from neural_alignment import DataError, InputError, closest

__all__ = ["PUBLISHED_ROIS", "algonauts_files", "read_algonauts"]

_SIDES = ("lh", "rh")
_LITERALS = frozenset(
    ("BININT", "BININT1", "BININT2", "INT", "LONG1", "LONG", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE")
)
PUBLISHED_ROIS: dict[str, tuple[str, ...]] = {
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "floc-bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "floc-places": ("OPA", "PPA", "RSC"),
    "floc-words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
    "streams": ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
}
"""Names of the regions 1, 2, ... of each class of masks, as published; 0 is no region."""


def algonauts_files(folder: Path, atlas: str = "streams") -> list[Path]:
    """List the files that :func:`read_algonauts` reads, images in the order of the responses' rows.

    Raises
    ------
    InputError
        A class of masks that the folder does not have.
    DataError
        A part of the layout is not there.
    """
    images = sorted((folder / "training_split" / "training_images").glob("*.png"))
    if not images:
        raise DataError(
            f"No images in {folder / 'training_split' / 'training_images'}. The layout is that of Algonauts 2023: "
            "training_split/training_images/*.png, training_split/training_fmri/{lh,rh}_training_fmri.npy and "
            "roi_masks/*.npy."
        )
    known = sorted({_atlas_of(path) for path in (folder / "roi_masks").glob("?h.*_challenge_space.npy")})
    if not known:
        raise DataError(f"No ROI masks in {folder / 'roi_masks'}: looked for lh.CLASS_challenge_space.npy.")
    if atlas not in known:
        raise InputError(f"Unknown ROI masks {atlas!r}. {folder} has {', '.join(known)}.{closest(atlas, known)}")
    files = list(images)
    for side in _SIDES:
        for path in (_fmri(folder, side), folder / "roi_masks" / f"{side}.{atlas}_challenge_space.npy"):
            if not path.is_file():
                raise DataError(f"{path} is not there. Both hemispheres are needed; unpack the subject again.")
            files.append(path)
    mapping = folder / "roi_masks" / f"mapping_{atlas}.npy"
    return [*files, mapping] if mapping.is_file() else files


def read_algonauts(
    folder: str | Path, *, atlas: str = "streams", image_size: int = 224, limit: int | None = None
) -> ResponsePairs:
    """Read one subject.

    Parameters
    ----------
    folder : path
        The subject's folder, such as ``subj01``.
    atlas : str, optional
        The class of ROI masks; see :data:`PUBLISHED_ROIS`. Vertices without a region are left out. Left and right
        hemisphere make one ROI.
    image_size : int, optional
        Side to which the (square) images are resized.
    limit : int, optional
        Only the first so many images.

    Returns
    -------
    ResponsePairs
        The responses are means over presentations, and nothing in the folder tells their noise: ceilings are NaN.

    Raises
    ------
    InputError, DataError
        As of :func:`algonauts_files`; files that do not fit each other, or masks without a region.
    """
    base = Path(folder)
    check_integer(image_size, "image_size", "read_algonauts", low=8)
    paths = [path for path in algonauts_files(base, atlas) if path.suffix == ".png"]
    sides = [_side(base, side, atlas) for side in _SIDES]
    rows = {len(responses) for responses, _ in sides}
    if rows != {len(paths)}:
        counts = " and ".join(str(len(responses)) for responses, _ in sides)
        raise DataError(f"{base} has {len(paths)} images and {counts} rows of responses. Unpack the subject again.")
    if limit is not None:
        paths = paths[: check_integer(limit, "limit", "read_algonauts", low=1)]
    responses = np.concatenate([side[: len(paths)] for side, _ in sides], axis=1)
    numbers = np.concatenate([mask for _, mask in sides])
    kept = numbers > 0
    if not kept.any():
        raise DataError(f"The ROI masks {atlas} of {base} mark no vertex. Take another class of masks.")
    finite = np.isfinite(responses).all(axis=0)
    notes = [] if finite[kept].all() else [f"{int((~finite & kept).sum())} vertices without a number were left out."]
    order = np.flatnonzero(kept & finite)
    order = order[np.argsort(numbers[order], kind="stable")]
    found, roi = np.unique(numbers[order], return_inverse=True)
    names = _names(base, atlas)
    rois = tuple(names.get(int(number), f"{atlas} {number}") for number in found)
    notes.append(f"{int((~kept).sum())} of {len(kept)} vertices belong to no region of {atlas}.")
    return ResponsePairs(
        images=_images(paths, image_size),
        responses=np.ascontiguousarray(responses[:, order], dtype=np.float32),
        roi=roi.astype(np.int64),
        rois=rois,
        classes=("",) * len(rois),
        ceiling=np.full(len(order), np.nan),
        name=f"fMRI of {base.name}",
        notes=tuple(notes),
    )


def _atlas_of(path: Path) -> str:
    return path.name.split(".", 1)[1].removesuffix("_challenge_space.npy")


def _fmri(folder: Path, side: str) -> Path:
    return folder / "training_split" / "training_fmri" / f"{side}_training_fmri.npy"


def _side(folder: Path, side: str, atlas: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    responses, mask_path = _array(_fmri(folder, side)), folder / "roi_masks" / f"{side}.{atlas}_challenge_space.npy"
    mask = _array(mask_path)
    if responses.ndim != 2:
        raise DataError(f"{_fmri(folder, side)} must be (image, vertex). Got {responses.shape} instead.")
    if mask.shape != (responses.shape[1],):
        raise DataError(
            f"The ROI mask {mask_path} must have a value a vertex: {responses.shape[1]}. Got {mask.shape} instead. "
            "Take the mask of this subject and hemisphere."
        )
    return responses, np.asarray(np.rint(mask), np.int64)


def _array(path: Path) -> npt.NDArray[Any]:
    try:
        loaded: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a complete array of numbers: {error}. Fetch it again.") from error
    return loaded


def _images(paths: list[Path], image_size: int) -> npt.NDArray[np.uint8]:
    from PIL import Image

    images = np.empty((len(paths), 3, image_size, image_size), np.uint8)
    for index, path in enumerate(paths):
        try:
            with Image.open(path) as opened:
                picture = np.asarray(opened.convert("RGB"))
        except (OSError, SyntaxError) as error:
            raise DataError(f"{path} is not a complete image: {error}. Fetch it again.") from error
        images[index] = to_stack(picture[None], image_size)[0]
    return images


def _names(folder: Path, atlas: str) -> dict[int, str]:
    published = dict(enumerate(PUBLISHED_ROIS.get(atlas, ()), start=1))
    path = folder / "roi_masks" / f"mapping_{atlas}.npy"
    return {**published, **(_read_mapping(path) if path.is_file() else {})}


def _read_mapping(path: Path) -> dict[int, str]:
    """Read the literals of a pickled ``{number: name}`` without executing the pickle; empty where it holds more."""
    content = path.read_bytes()
    start = content.find(b"\n") + 1  # the header of an .npy file ends with its first line break
    try:
        operations = [(operation.name, argument) for operation, argument, _ in pickletools.genops(content[start:])]
    except ValueError:
        return {}
    inside = False
    literals: list[Any] = []
    for name, argument in operations:
        if name in ("EMPTY_DICT", "DICT"):
            inside = True
        elif name in ("SETITEMS", "SETITEM"):
            inside = False
        elif inside and name in _LITERALS:
            literals.append(argument)
        elif inside and name not in ("MARK", "BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            return {}
    pairs = list(zip(literals[::2], literals[1::2], strict=False))
    if len(literals) % 2 or not all(isinstance(key, int) and isinstance(value, str) for key, value in pairs):
        return {}
    return {int(key): value for key, value in pairs if key != 0}
