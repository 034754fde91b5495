"""Full activation maps on disk, written batch by batch, refused before the disk would be full."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from alignment.models._probe import Call
from neural_alignment import DataError, InputError

__all__ = ["MapStore"]


class MapStore:
    """A Zarr folder with one float32 array (scene, unit, y, x) for each layer.

    Parameters
    ----------
    folder : Path
        Made new; an existing one is refused.
    calls : list of Call
        The layers.
    scenes, batch_size : int
        How many rows, and how many stand in a chunk.
    """

    def __init__(self, folder: Path, calls: list[Call], scenes: int, batch_size: int) -> None:
        shapes = {c.name: (c.layout.units, c.layout.height, c.layout.width) for c in calls if c.layout}
        if folder.exists():
            raise InputError(f"{folder} exists already: give save_maps a new folder, or remove that one.")
        needed = sum(4 * scenes * a * b * c for a, b, c in shapes.values())
        home = next(parent for parent in folder.absolute().parents if parent.exists())
        free = shutil.disk_usage(home).free
        if needed > 0.95 * free:
            raise DataError(
                f"The full maps of {len(shapes)} layers on {scenes} scenes take {needed / 1e9:.1f} GB, and "
                f"{home} has "
                f"{free / 1e9:.1f} GB free. Choose fewer layers, or leave save_maps out: the results hold "
                "the means."
            )
        import zarr

        group: Any = zarr.open_group(str(folder), mode="w")
        create = getattr(group, "create_array", None) or group.create_dataset
        rows = min(batch_size, scenes)
        self._arrays = {
            name: create(name=name, shape=(scenes, *shape), chunks=(rows, *shape), dtype="float32")
            for name, shape in shapes.items()
        }

    def write(self, name: str, rows: slice, maps: Tensor) -> None:
        """Write the maps (B, C, H, W) of these rows."""
        self._arrays[name][rows] = maps.float().cpu().numpy()
