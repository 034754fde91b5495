"""What :func:`extract_activations` is given, checked before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor, nn

from alignment._validation import check_integer, fail
from neural_alignment import InputError

__all__ = ["OWNER", "check_batch", "check_device", "check_grid", "check_halves", "check_images", "float32"]

OWNER = "extract_activations"


def check_grid(grid: Any) -> tuple[int, int]:
    """Return the grid as (rows, columns)."""
    try:
        rows, columns = grid
    except (TypeError, ValueError):
        raise fail("grid", OWNER, "two integers ≥ 1, rows and columns", grid) from None
    return check_integer(rows, "grid", OWNER, low=1), check_integer(columns, "grid", OWNER, low=1)


def check_halves(halves: Any, scenes: int) -> npt.NDArray[np.bool_] | None:
    """Return which scenes belong to the first half, or None."""
    if halves is None:
        return None
    first = np.asarray(halves)
    if first.dtype != bool or first.shape != (scenes,) or not 0 < first.sum() < scenes:
        allowed = f"{scenes} booleans, one for each scene, some of them true and some false"
        raise fail("halves", OWNER, allowed, f"{first.dtype} of shape {first.shape}")
    return first


def check_images(images: Any, model: nn.Module) -> Any:
    """Return the images if they are of shape (scene, 3, H, W) and of the model's size."""
    images = getattr(images, "values", images) if isinstance(images, xr.DataArray) else images
    shape = tuple(getattr(images, "shape", ()))
    if len(shape) != 4 or shape[1] != 3 or shape[0] < 1:
        raise fail("images", OWNER, "of shape (scene, 3, H, W)", shape, "Make them from grey scenes with as_images.")
    size = getattr(model, "image_size", None)
    if size is not None and shape[2:] != (size, size):
        raise InputError(
            f"{getattr(model, 'name', 'The model')} was made for images of {size}x{size}. Got "
            f"{shape[2]}x{shape[3]}: "
            "make the images with as_images, or the model with another image_size."
        )
    return images


def check_batch(batch: Any, start: int) -> npt.NDArray[np.float32]:
    """Return the batch as float32 in [0, 1], or say which image is not."""
    kind = str(getattr(batch, "dtype", ""))
    if "float" not in kind:
        hint = "Divide grey levels by 255, or make the images with as_images."
        raise fail("images", OWNER, "floating point in [0, 1]", kind, hint)
    found = float32(batch)
    low, high = float(found.min()), float(found.max())
    if not (low >= -1e-6 and high <= 1.0 + 1e-6):
        bad = [i for i, image in enumerate(found) if not (image.min() >= -1e-6 and image.max() <= 1.0 + 1e-6)]
        hint = "Divide grey levels by 255." if high > 2 else ""
        range_ = f"{float(found[bad[0]].min()):g} to {float(found[bad[0]].max()):g} in image {start + bad[0]}"
        raise InputError(f"The 'images' parameter of {OWNER} must be in [0, 1]. Got {range_} instead. {hint}".strip())
    return found


def float32(images: Any) -> npt.NDArray[np.float32]:
    """Return a writable float32 array of the images."""
    if isinstance(images, Tensor):
        images = images.detach().cpu().float().numpy()
    # Writable, because torch shares the memory and warns about what it cannot write to.
    return np.require(images, np.float32, ["C", "W"])


def check_device(device: str) -> torch.device:
    """Return the torch device, if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise fail("device", OWNER, "'auto', 'cpu' or 'cuda' (with a number)", device) from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"The device {device!r} was asked for, and torch sees no CUDA device. Use 'auto' or 'cpu'.")
    return found
