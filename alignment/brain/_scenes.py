"""The 118 natural scenes of the simulated observatory, cut from photographs that Python packages ship.

The real scenes may not be passed on with the code. These have their form: 118 grey frames of 918 x 1174
pixels, each a crop of a photograph enlarged smoothly and stretched in contrast. They do not depend on a
simulation's seed, as the real ones do not depend on the mouse: any two simulated observatories show the same
scenes.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from neural_alignment import DataError

__all__ = ["SCENE_COUNT", "SCENE_SHAPE", "Photograph", "SceneSet", "photographs", "scene_set"]

SCENE_COUNT = 118
SCENE_SHAPE = (918, 1174)

# A crop is reduced to a seventh of the frame before it is enlarged, and has 64 grey levels: at the 32 x 32 to
# 224 x 224 pixels that models see nothing is lost, and the compressed stack stays near 20 MB a session file.
_REDUCTION = 7
_GREY_STEP = 4
_COMPRESSION = 6
_SEED = 118

# The scale at which simulated cells see: a ninth of the frame, about one degree of visual angle a pixel.
VIEW_SHAPE = (102, 130)

# Photographs, and how many of the 118 scenes come from each: natural scenes first, plain textures last.
_SOURCES: tuple[tuple[str, str, int], ...] = (
    ("sklearn.datasets", "images/china.jpg", 12),
    ("sklearn.datasets", "images/flower.jpg", 11),
    ("skimage", "data/chelsea.png", 12),
    ("skimage", "data/coffee.png", 12),
    ("skimage", "data/astronaut.png", 11),
    ("skimage", "data/rocket.jpg", 9),
    ("skimage", "data/camera.png", 9),
    ("skimage", "data/motorcycle_left.png", 9),
    ("skimage", "data/motorcycle_right.png", 5),
    ("skimage", "data/hubble_deep_field.jpg", 6),
    ("skimage", "data/moon.png", 4),
    ("skimage", "data/coins.png", 4),
    ("skimage", "data/retina.jpg", 4),
    ("skimage", "data/gravel.png", 4),
    ("skimage", "data/grass.png", 3),
    ("skimage", "data/brick.png", 3),
)


class Photograph(NamedTuple):
    """A photograph and the number of scenes that are cut from it."""

    name: str
    image: Image.Image
    scenes: int


class SceneSet(NamedTuple):
    """The scenes in the two forms that a simulation needs.

    Attributes
    ----------
    chunks : tuple of bytes
        Each scene's 918 x 1174 uint8 pixels, compressed with zlib as HDF5's gzip filter stores a chunk.
    views : (118, 102, 130) float32 array
        The scenes as simulated cells see them, in [0, 1], about one degree of visual angle a pixel.
    sources : tuple of str
        The photograph of each scene.
    """

    chunks: tuple[bytes, ...]
    views: npt.NDArray[np.float32]
    sources: tuple[str, ...]

    def pixels(self, scene: int) -> npt.NDArray[np.uint8]:
        """Return one scene's pixels, uint8 (918, 1174)."""
        return np.frombuffer(zlib.decompress(self.chunks[scene]), np.uint8).reshape(SCENE_SHAPE)


def photographs() -> list[Photograph]:
    """Open the photographs in grey.

    Raises
    ------
    DataError
        If an installed package ships fewer photographs than expected.
    """
    found = []
    for package, path, scenes in _SOURCES:
        file = resources.files(package).joinpath(path)
        if not file.is_file():
            raise DataError(
                f"The photograph {path} of the package {package} is missing, so the simulated scenes cannot "
                "be made. Install the versions in requirements.txt (scikit-image 0.24, scikit-learn 1.7)."
            )
        with file.open("rb") as stream:
            found.append(Photograph(path.rpartition("/")[2], Image.open(stream).convert("L"), scenes))
    return found


@lru_cache(maxsize=1)
def scene_set() -> SceneSet:
    """Cut, enlarge and compress the scenes: once a process, about six seconds."""
    rng = np.random.default_rng(_SEED)
    crops = [(photo.name, _crop(photo.image, rng)) for photo in photographs() for _ in range(photo.scenes)]
    order = rng.permutation(len(crops))
    chunks, views, sources = [], np.empty((SCENE_COUNT, *VIEW_SHAPE), np.float32), []
    for scene, index in enumerate(order):
        name, crop = crops[index]
        pixels = _enlarge(crop)
        chunks.append(zlib.compress(pixels.tobytes(), _COMPRESSION))
        views[scene] = _view(pixels)
        sources.append(name)
    views.setflags(write=False)
    return SceneSet(tuple(chunks), views, tuple(sources))


def _crop(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut a random window of the frame's shape, a third to nine tenths of the photograph, maybe mirrored."""
    width, height = photo.size
    aspect = SCENE_SHAPE[1] / SCENE_SHAPE[0]
    largest = min(float(height), width / aspect)
    tall = rng.uniform(0.35, 0.9) * largest
    left, top = rng.uniform(0, width - tall * aspect), rng.uniform(0, height - tall)
    mirrored = rng.random() < 0.5
    small = (round(SCENE_SHAPE[1] / _REDUCTION), round(SCENE_SHAPE[0] / _REDUCTION))
    box = (left, top, left + tall * aspect, top + tall)
    window = photo.resize(small, Image.Resampling.LANCZOS, box=box)
    return window.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else window


def _enlarge(crop: Image.Image) -> npt.NDArray[np.uint8]:
    values: npt.NDArray[Any] = np.asarray(crop, dtype=np.float32)
    low, high = np.percentile(values, (1, 99))
    stretched = np.clip((values - low) * (255.0 / max(high - low, 1.0)), 0, 255).astype(np.uint8)
    frame = Image.fromarray(stretched).resize(SCENE_SHAPE[::-1], Image.Resampling.BICUBIC)
    pixels = np.asarray(frame, dtype=np.uint8)
    return np.asarray(pixels // _GREY_STEP * _GREY_STEP + _GREY_STEP // 2, dtype=np.uint8)


def _view(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    small = Image.fromarray(pixels.astype(np.float32)).resize(VIEW_SHAPE[::-1], Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0
