"""What is kept of a batch's activations, and of all batches: unit responses, and maps averaged over scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from alignment.models._maps import MapStore
from alignment.models._probe import Call, Layout, fold

__all__ = ["Reduced", "Totals", "layout_of_call", "resize_maps"]

Halves = npt.NDArray[np.bool_]


def resize_maps(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize maps (C, H, W) to a grid: averages of areas where they shrink, bilinear where they grow."""
    height, width = maps.shape[-2:]
    if (height, width) == tuple(grid):
        return maps
    if height >= grid[0] and width >= grid[1]:
        return functional.adaptive_avg_pool2d(maps, grid)
    return functional.interpolate(maps[None], size=grid, mode="bilinear", align_corners=False, antialias=True)[0]


class Reduced:
    """What the hooks keep of one batch: each layer's unit responses and its maps summed over scenes.

    Parameters
    ----------
    calls : sequence of Call
        The layers to keep.
    grid : (int, int)
        Size of the maps in the end.
    halves : (scene,) array of bool, optional
        Sum the scenes where it is true apart from the others.
    store : MapStore, optional
        Where full maps are written as well.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        grid: tuple[int, int],
        halves: Halves | None = None,
        store: MapStore | None = None,
    ) -> None:
        self.calls = {c.name: c for c in calls}
        self.grid, self.halves, self.store = grid, halves, store
        self.rows = slice(0, 0)
        self.responses: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}

    def start(self, rows: slice) -> None:
        """Forget the last batch; the next one holds these scenes."""
        self.rows = rows
        self.responses.clear()
        self.sums.clear()

    @property
    def complete(self) -> bool:
        """Whether every layer has been seen."""
        return len(self.responses) == len(self.calls)

    def see(self, name: str, output: Tensor) -> None:
        """Reduce a layer's output, if it is one to keep."""
        call = self.calls.get(name)
        if call is None or call.layout is None:
            return
        maps = fold(output.detach(), call.layout)
        self.responses[name] = maps.mean(dim=(2, 3), dtype=torch.float32)
        if self.halves is None:
            sums = maps.sum(dim=0, keepdim=True, dtype=torch.float32)
        else:
            first = torch.from_numpy(self.halves[self.rows]).to(maps.device)
            sums = torch.stack([maps[half].sum(dim=0, dtype=torch.float32) for half in (first, ~first)])
        if not _summed_natively(call.layout, self.grid):
            sums = torch.stack([resize_maps(half, self.grid) for half in sums])
        self.sums[name] = sums
        if self.store is not None:
            self.store.write(name, self.rows, maps)


class Totals:
    """Responses of all scenes, and maps summed over all batches.

    Parameters
    ----------
    calls : sequence of Call
        The layers.
    scenes : int
        How many there are.
    grid : (int, int)
        Size of the maps in the end.
    parts : int
        2 where halves of the scenes are summed apart, else 1.
    """

    def __init__(self, calls: Sequence[Call], scenes: int, grid: tuple[int, int], parts: int) -> None:
        self.grid = grid
        self.responses: dict[str, npt.NDArray[np.float32]] = {}
        self._sums: dict[str, Tensor] = {}
        for call in calls:
            layout = layout_of_call(call)
            size = (layout.height, layout.width) if _summed_natively(layout, grid) else grid
            self.responses[call.name] = np.empty((scenes, layout.units), np.float32)
            self._sums[call.name] = torch.zeros((parts, layout.units, *size), dtype=torch.float64)

    def add(self, rows: slice, batch: Reduced) -> None:
        """Add a batch of these scenes."""
        for name, values in batch.responses.items():
            self.responses[name][rows] = values.cpu().numpy()
            self._sums[name] += batch.sums[name].cpu()

    def maps(self, name: str) -> Tensor:
        """Return a layer's maps summed over scenes, (part, unit, y, x) float64 on the grid."""
        sums = self._sums[name]
        if sums.shape[-2:] == self.grid:
            return sums
        return torch.stack([resize_maps(part, self.grid) for part in sums])


def layout_of_call(call: Call) -> Layout:
    """Return the layout of a call that was chosen because it has one."""
    assert call.layout is not None
    return call.layout


def _summed_natively(layout: Layout, grid: tuple[int, int]) -> bool:
    """Tell whether maps are summed as they are and resized once, in the end: resizing is linear.

    Larger ones are resized in every batch, so that the sums never take more memory than the results.
    """
    return layout.height * layout.width <= grid[0] * grid[1]
