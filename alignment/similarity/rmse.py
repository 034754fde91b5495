"""Root mean square difference of every neuron's and every unit's representation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from alignment._validation import check_choice, check_integer

from . import _kernels
from ._arrays import Array, as_vectors, check_device, check_finite, check_same_axes, check_same_length
from ._product import product

if TYPE_CHECKING:
    from ._torch import TorchBlock

__all__ = ["NearestUnits", "nearest_units", "rmse"]

# Below this part of |a|² + |b|² a squared distance from a product of that precision has lost too many digits,
# and the pair is computed again from the differences themselves.
_CLOSE = {"float32": 0.1, "float64": 1e-7}
# With more close pairs than this part of a block, the block's product is made again in float64.
_MANY_CLOSE = 0.02


@overload
def rmse(
    neurons: Any,
    units: Any,
    reduce: Literal["mean", "nearest"] = ...,
    *,
    precision: Literal["float32", "float64"] = ...,
    max_bytes: int = ...,
    device: str = ...,
) -> float: ...
@overload
def rmse(
    neurons: Any,
    units: Any,
    reduce: None,
    *,
    precision: Literal["float32", "float64"] = ...,
    max_bytes: int = ...,
    device: str = ...,
) -> Array: ...
def rmse(
    neurons: Any,
    units: Any,
    reduce: Literal["mean", "nearest"] | None = "mean",
    *,
    precision: Literal["float32", "float64"] = "float32",
    max_bytes: int = 64 * 2**20,
    device: str = "cpu",
) -> float | Array:
    """Root mean square difference of neurons' and units' representations (Mice to Machines, RMSE).

    Every pair is compared by blocked matrix products; pairs so alike that the product loses their difference
    are computed again directly, so that the result holds to 1e-6 of its size near duplicates too.

    Parameters
    ----------
    neurons : (n, d) or (n, y, x) array
        One representation a neuron (numpy, torch or xarray).
    units : (m, d) or (m, y, x) array
        One representation a unit, on the same grid or scenes.
    reduce : {"mean", "nearest"} or None
        ``"mean"``: over all pairs. ``"nearest"``: each neuron's closest unit, averaged over neurons.
        ``None``: the whole matrix.
    precision : {"float32", "float64"}
        Of the matrix product.
    max_bytes : int
        Memory for one block of pairs; the matrix itself exists only with ``reduce=None``.
    device : str
        ``"cpu"`` (numpy), or ``"cuda"``, ``"cuda:1"`` ...: with torch, TF32 off.

    Returns
    -------
    float or (n, m) float32 array
        In the units of the representations.

    Raises
    ------
    InputError
        The vectors differ in length, grid or (where xarray labels them) scenes, or hold NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> neurons, units = np.zeros((2, 4)), np.array([[0.0, 0, 0, 1], [1, 1, 1, 1]])
    >>> rmse(neurons, units)
    0.75
    >>> rmse(neurons, units, reduce="nearest")
    0.5
    >>> rmse(neurons, units, reduce=None)
    array([[0.5, 1. ],
           [0.5, 1. ]], dtype=float32)
    """
    left, right = _checked(neurons, units, "rmse")
    if reduce is not None:
        check_choice(reduce, "reduce", "rmse", ("mean", "nearest"))
    if reduce is None:
        matrix = np.empty((len(left), len(right)), dtype=np.float32)
        for rows, columns, block in _blocks(left, right, precision, max_bytes, device, "rmse", matrix):
            if not np.may_share_memory(block.values(), matrix):
                matrix[rows, columns] = block.values()
        return matrix
    blocks = _blocks(left, right, precision, max_bytes, device, "rmse")
    if reduce == "mean":
        return float(sum(block.row_sums().sum() for _, _, block in blocks) / (len(left) * len(right)))
    nearest = np.full(len(left), np.inf)
    for rows, _, block in blocks:
        np.minimum(nearest[rows], block.row_minima()[0], out=nearest[rows])
    return float(nearest.mean())


@dataclass(frozen=True)
class NearestUnits:
    """Each neuron's comparison with all units of a layer.

    Attributes
    ----------
    mean : (n,) float64 array
        Mean RMSE over units.
    nearest : (n,) float64 array
        RMSE of the closest unit.
    unit : (n,) int64 array
        Which unit that is.
    """

    mean: Array
    nearest: Array
    unit: Array


def nearest_units(
    neurons: Any,
    units: Any,
    *,
    precision: Literal["float32", "float64"] = "float32",
    max_bytes: int = 64 * 2**20,
    device: str = "cpu",
) -> NearestUnits:
    """Mean and smallest RMSE of each neuron over a layer's units, in one pass and without the whole matrix.

    Parameters are those of :func:`rmse`.

    Returns
    -------
    NearestUnits
        ``mean``, ``nearest`` and ``unit``, each (n,).

    Examples
    --------
    >>> import numpy as np
    >>> found = nearest_units(np.zeros((1, 2)), np.array([[1.0, 1.0], [0.5, 0.5]]))
    >>> found.mean, found.nearest, found.unit
    (array([0.75]), array([0.5]), array([1]))
    """
    left, right = _checked(neurons, units, "nearest_units")
    total = np.zeros(len(left))
    nearest = np.full(len(left), np.inf)
    unit = np.zeros(len(left), dtype=np.int64)
    for rows, columns, block in _blocks(left, right, precision, max_bytes, device, "nearest_units"):
        total[rows] += block.row_sums()
        value, best = block.row_minima()
        better = value < nearest[rows]
        nearest[rows] = np.where(better, value, nearest[rows])
        unit[rows] = np.where(better, best + columns.start, unit[rows])
    return NearestUnits(total / len(right), nearest, unit)


def _checked(neurons: Any, units: Any, owner: str) -> tuple[Array, Array]:
    check_same_axes(neurons, units, ("neurons", "units"), owner)
    left, right = as_vectors(neurons, "neurons", owner), as_vectors(units, "units", owner)
    check_same_length(left, right, ("neurons", "units"), owner)
    check_finite(left, "neurons", owner)
    check_finite(right, "units", owner)
    return left, right


@dataclass(frozen=True)
class _Block:
    """Some rows and columns of the RMSE matrix, and its reductions."""

    matrix: Array

    def values(self) -> Array:
        return self.matrix

    def row_sums(self) -> Array:
        sums: Array = self.matrix.sum(axis=1, dtype=np.float64)
        return sums

    def row_minima(self) -> tuple[Array, Array]:
        best = self.matrix.argmin(axis=1)
        return self.matrix[np.arange(len(best)), best], best


def _blocks(
    left: Array,
    right: Array,
    precision: str,
    max_bytes: int,
    device: str,
    owner: str,
    matrix: Array | None = None,
) -> Iterator[tuple[slice, slice, _Block | TorchBlock]]:
    """Yield the RMSE matrix block by block: rows, columns, values, which hold until the next block.

    Given the whole ``matrix``, blocks that have its precision are made in their place there.
    """
    check_choice(precision, "precision", owner, ("float32", "float64"))
    check_integer(max_bytes, "max_bytes", owner, low=2**16)
    check_device(device, owner)
    height, width = _block_shape(len(left), len(right), max_bytes // np.dtype(precision).itemsize)
    centre = (left.mean(axis=0, dtype=np.float64) + right.mean(axis=0, dtype=np.float64)) / 2
    scale = _scale(left, right, centre)
    if device != "cpu":
        from ._torch import rmse_blocks

        shape = (height, width)
        yield from rmse_blocks(left, right, centre, scale, precision, shape, _CLOSE, device)
        return
    in_place = matrix is not None and matrix.dtype == precision
    home = matrix if matrix is not None and in_place else np.empty((height, width), dtype=precision)
    for column in range(0, len(right), width):
        columns = slice(column, min(column + width, len(right)))
        b = _prepared(right[columns], centre, scale, precision)
        b_norms = _kernels.squared_norms(b)
        for row in range(0, len(left), height):
            rows = slice(row, min(row + height, len(left)))
            a = _prepared(left[rows], centre, scale, precision)
            norms = (_kernels.squared_norms(a), b_norms)
            start = (row, column) if in_place else (0, 0)
            product(a, b, home[start[0] : start[0] + len(a), start[1] : start[1] + len(b)])
            yield rows, columns, _Block(_finished(home, start, norms, left[rows], right[columns], centre, scale))


def _block_shape(n: int, m: int, values: int) -> tuple[int, int]:
    height = min(n, max(1, int(values**0.5)), 1024)
    return height, min(m, max(1, values // height))


def _scale(left: Array, right: Array, centre: Array) -> float:
    """Return the power of two that brings all values near [-2, 2]: float32 neither overflows nor vanishes."""
    largest = max(
        float(np.max(np.abs(extreme - centre)))
        for array in (left, right)
        for extreme in (array.min(axis=0), array.max(axis=0))
    )
    return float(2.0 ** -np.floor(np.log2(largest))) if largest > 0 else 1.0


def _prepared(rows: Array, centre: Array, scale: float, precision: str) -> Array:
    # Distances do not change when both sides move: without their common mean the products lose the fewest
    # digits.
    if precision == "float32" and rows.dtype == np.float32:
        return np.ascontiguousarray((rows - centre.astype(np.float32)) * np.float32(scale))
    return np.ascontiguousarray((rows - centre) * scale, dtype=precision)


def _finished(
    home: Array,
    start: tuple[int, int],
    norms: tuple[Array, Array],
    left: Array,
    right: Array,
    centre: Array,
    scale: float,
) -> Array:
    """Make root mean square differences of products, for close pairs from the differences themselves.

    The block of products that begins at ``start`` of ``home`` is overwritten and returned.
    """
    block = home[start[0] : start[0] + len(left), start[1] : start[1] + len(right)]
    precision = str(home.dtype)
    back = 1.0 / (left.shape[1] * scale * scale)
    pairs = np.empty((max(64, int(_MANY_CLOSE * block.size)), 2), dtype=np.int64)
    found = _kernels.finish_block(home, *norms, _CLOSE[precision], back, pairs, start)
    if found > len(pairs) and precision == "float32":
        a, b = (_prepared(rows, centre, scale, "float64") for rows in (left, right))
        exact = (_kernels.squared_norms(a), _kernels.squared_norms(b))
        block[...] = _finished(a @ b.T, (0, 0), exact, left, right, centre, scale)
        return block
    if found > len(pairs):
        pairs = np.empty((found, 2), dtype=np.int64)
        # Roots already stand in the block, so the products are made again from them only by listing once
        # more.
        totals = norms[0][:, None] + norms[1][None, :]
        close = np.argwhere(block**2 < _CLOSE[precision] * totals * back)
        pairs, found = close.astype(np.int64), len(close)
    if found:
        pairs = pairs[:found]
        block[pairs[:, 0], pairs[:, 1]] = np.sqrt(_kernels.exact_pairs(left, right, pairs))
    return block
