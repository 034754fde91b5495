"""Which cells a side of a comparison is made of: ``Fezf2-1``, ``class:excitatory``, ``area:VISp+class:inhibitory``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from alignment._validation import check_name
from neural_alignment import InputError, closest

__all__ = ["ALIASES", "Chosen", "choose_cells", "grouping"]

ALIASES: Mapping[str, str] = {
    "class": "neuron_class",
    "cre": "cre_line",
    "depth": "depth_um",
    "donor": "donor_id",
    "layer": "cortical_layer",
    "session": "experiment_id",
}
"""Short words for coordinates of cells."""

_EVERY = "all"


@dataclass(frozen=True)
class Chosen:
    """Some cells, and what a person called them.

    Attributes
    ----------
    name : str
        As it was typed.
    cells : (n,) int array
        Their positions.
    """

    name: str
    cells: np.ndarray


def grouping(name: str, cells: xr.Dataset) -> str:
    """Return the coordinate of cells that a word stands for.

    Raises
    ------
    InputError
        Cells have no such coordinate.
    """
    # A number measured of every cell, such as its reliability, groups nothing.
    known = [
        str(key) for key, values in cells.coords.items() if values.dims == ("cell",) and values.dtype.kind in "USOi"
    ]
    full = ALIASES.get(name, name)
    if full not in known:
        check_name(name, "grouping of cells", [*known, *(word for word in ALIASES if ALIASES[word] in known)])
    return full


def choose_cells(text: str, cells: xr.Dataset, group: str = "genotype") -> Chosen:
    """Find the cells that a selector names.

    Parameters
    ----------
    text : str
        A group of ``group`` (``Fezf2-1``), a group of another grouping (``class:excitatory``, ``area:VISp``), or
        several that must all hold (``area:VISp+class:inhibitory``). ``all`` is every cell.
    cells : xarray.Dataset
        With cells' coordinates.
    group : str
        The grouping of names without one.

    Returns
    -------
    Chosen
        The cells, at least one.

    Raises
    ------
    InputError
        An unknown grouping or group (the closest is suggested and all are listed), or no cell that is all that
        was asked for.

    Examples
    --------
    >>> import xarray as xr
    >>> words = {"area": ("cell", ["VISp", "VISl", "VISp"]), "genotype": ("cell", ["Sst-1", "Sst-1", "Cux2-1"])}
    >>> choose_cells("area:VISp+Sst-1", xr.Dataset(coords=words)).cells
    array([0])
    """
    kept = np.ones(cells.sizes["cell"], dtype=bool)
    for part in text.split("+"):
        by, colon, name = part.strip().rpartition(":")
        if not part.strip():
            raise InputError(f"The cells {text!r} are not named: give a group, or GROUPING:GROUP, or several with '+'.")
        if not colon and name == _EVERY:
            continue
        kept &= _members(name.strip(), grouping(by.strip() if colon else group, cells), cells)
    if not kept.any():
        raise InputError(f"No cell is {text.replace('+', ' and ')} at once. Leave a condition out.")
    return Chosen(text, np.flatnonzero(kept))


def _members(name: str, by: str, cells: xr.Dataset) -> np.ndarray:
    values = np.asarray([str(value) for value in cells[by].values.tolist()])
    known, counts = np.unique(values, return_counts=True)
    if name not in known:
        listed = ", ".join(f"{group} ({count})" for group, count in zip(known[:40], counts, strict=False))
        more = f" and {len(known) - 40} more" if len(known) > 40 else ""
        hint = _elsewhere(name, by, cells) or closest(name, known.tolist())
        raise InputError(f"No cell has the {by} {name!r}.{hint} There are (cells): {listed}{more}.")
    found: np.ndarray = values == name
    return found


def _elsewhere(name: str, by: str, cells: xr.Dataset) -> str:
    """Say under which other grouping the name is a group."""
    for other in ("area", "cre_line", "genotype", "neuron_class", "cortical_layer"):
        if other != by and other in cells.coords and name in {str(value) for value in cells[other].values.tolist()}:
            return f" Did you mean '{other}:{name}'?"
    return ""
