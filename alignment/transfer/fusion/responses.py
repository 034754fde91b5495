"""Pairs of images and responses, whatever they were measured with, and their regions of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from alignment._validation import check_choice, fail
from neural_alignment import DataError, InputError

__all__ = ["ROI_BY", "ResponsePairs", "choose_rois", "pairs_from_cells"]

ROI_BY = ("area_cre_line", "area", "cre_line", "neuron_class")
"""How the observatory's cells can be put in regions of interest."""


@dataclass(frozen=True)
class ResponsePairs:
    """Images and the responses to them, units sorted into regions of interest (ROI).

    Attributes
    ----------
    images : (image, 3, y, x) uint8 array
        What was shown.
    responses : (image, unit) float32 array
        Mean response of each unit (cell, voxel or vertex) to each image.
    roi : (unit,) int64 array
        The unit's ROI, a position in ``rois``.
    rois : tuple of str
        Names; each has at least one unit.
    classes : tuple of str
        ``"excitatory"``, ``"inhibitory"`` or empty, one an ROI.
    ceiling : (unit,) float64 array
        The largest correlation that a noiseless prediction could reach with these responses, √reliability; NaN where
        it is not known.
    name : str
        Where they come from.
    simulated : bool
        Whether the brain is a model.
    notes : tuple of str
        What a reader should know.

    Raises
    ------
    DataError
        Different numbers of images and responses, an ROI mask of another length than the units, an ROI without units,
        or responses that are not finite.
    """

    images: npt.NDArray[np.uint8]
    responses: npt.NDArray[np.float32]
    roi: npt.NDArray[np.int64]
    rois: tuple[str, ...]
    classes: tuple[str, ...]
    ceiling: npt.NDArray[np.float64]
    name: str
    simulated: bool = False
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.responses.ndim != 2 or len(self.images) != len(self.responses):
            raise DataError(
                f"The pairs of {self.name} must have a row of responses an image. Got {len(self.images)} images and "
                f"responses {self.responses.shape}. Give the images of these responses, in their order."
            )
        units = self.responses.shape[1]
        for what, array in (("ROI mask", self.roi), ("noise ceiling", self.ceiling)):
            if array.shape != (units,):
                raise DataError(
                    f"The {what} of {self.name} must have a value a unit: {units}. Got {array.shape} instead. Take the "
                    "mask that belongs to these responses."
                )
        if units == 0 or self.roi.min() < 0 or self.roi.max() >= len(self.rois):
            raise DataError(f"The ROI mask of {self.name} must hold positions 0 to {len(self.rois) - 1} of its ROIs.")
        counts = np.bincount(self.roi, minlength=len(self.rois))
        empty = [name for name, count in zip(self.rois, counts, strict=True) if count == 0]
        if empty:
            raise DataError(
                f"The ROI {', '.join(empty[:5])} of {self.name} has no cell or voxel. Leave it out, or take data that "
                "have some."
            )
        if len(self.classes) != len(self.rois):
            raise DataError(f"{self.name} has {len(self.rois)} ROIs and {len(self.classes)} classes of them.")
        if not np.isfinite(self.responses).all():
            bad = int((~np.isfinite(self.responses)).any(axis=0).sum())
            raise DataError(f"{bad} units of {self.name} have responses that are not finite. Leave these units out.")

    @property
    def units(self) -> int:
        """How many cells, voxels or vertices."""
        return int(self.responses.shape[1])

    def to_parts(self) -> dict[str, Any]:
        """Return arrays and plain data, for a store."""
        told: dict[str, Any] = {"rois": list(self.rois), "classes": list(self.classes), "name": self.name}
        told |= {"simulated": self.simulated, "notes": list(self.notes)}
        arrays = {"images": self.images, "responses": self.responses, "roi": self.roi, "ceiling": self.ceiling}
        return {**arrays, "told": told}

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any]) -> ResponsePairs:
        """Return the pairs that :meth:`to_parts` gave."""
        told = parts["told"]
        arrays = (parts["images"], parts["responses"], parts["roi"])
        names = tuple(told["rois"]), tuple(told["classes"])
        return cls(*arrays, *names, parts["ceiling"], told["name"], told["simulated"], tuple(told["notes"]))


def choose_rois(
    rois: Sequence[str], classes: Sequence[str], names: Sequence[str] | None, neuron_class: str | None = None
) -> npt.NDArray[np.int64]:
    """Return the positions of the ROIs that a subset asks for.

    Parameters
    ----------
    rois, classes : sequence of str
        As in :class:`ResponsePairs`.
    names : sequence of str or None
        Names or globs (``"VISp *"``); None for all.
    neuron_class : str, optional
        Only ROIs of this class.

    Returns
    -------
    (n,) int64 array

    Raises
    ------
    InputError
        A name or glob, or the class, that no ROI has.

    Examples
    --------
    >>> choose_rois(["VISp Cux2", "VISl Sst"], ["excitatory", "inhibitory"], ["VISp *"]).tolist()
    [0]
    """
    chosen = set(range(len(rois)))
    if names is not None:
        matched = {name: {i for i, roi in enumerate(rois) if fnmatchcase(roi, name)} for name in names}
        absent = [name for name, found in matched.items() if not found]
        if absent or not names:
            listed = ", ".join(list(rois)[:8]) + (", ..." if len(rois) > 8 else "")
            raise InputError(f"No ROI is called {', '.join(absent) or 'by an empty list'}. There are {listed}.")
        chosen = set().union(*matched.values())
    if neuron_class is not None:
        chosen &= {i for i, kind in enumerate(classes) if kind == neuron_class}
    if not chosen:
        raise InputError(f"No ROI is of the class {neuron_class!r}{' among ' + ', '.join(names) if names else ''}.")
    return np.array(sorted(chosen), np.int64)


def pairs_from_cells(
    images: npt.NDArray[np.uint8],
    responses: npt.NDArray[Any],
    labels: Mapping[str, Sequence[str]],
    *,
    by: str = "area_cre_line",
    reliability: npt.NDArray[Any] | None = None,
    name: str = "the observatory",
    simulated: bool = False,
) -> ResponsePairs:
    """Make pairs of the natural scenes and cells of the observatory.

    Parameters
    ----------
    images : (scene, 3, y, x) uint8 array
        The scenes.
    responses : (cell, scene, trial) or (cell, scene) array
        Trial responses (NaN: not measured; the mean over trials is taken), or means.
    labels : mapping
        One label a cell: ``area``, ``cre_line``, ``neuron_class``.
    by : str, optional
        One of :data:`ROI_BY`.
    reliability : (cell,) array, optional
        Split-half reliability, Spearman-Brown corrected; its root is the ceiling. At or below 0 nothing can be
        predicted, and the ceiling is 0.
    name, simulated : optional
        As in :class:`ResponsePairs`.

    Returns
    -------
    ResponsePairs
        Cells without a response to some scene, or with the same to all, are left out and told.

    Raises
    ------
    InputError
        An unknown grouping, or labels of another length than the cells.
    DataError
        Different numbers of scenes, or no cell that can be used.
    """
    check_choice(by, "by", "pairs_from_cells", ROI_BY)
    values = np.asarray(responses, np.float32)
    means = values if values.ndim == 2 else _trial_means(values)
    good = np.all(np.isfinite(means), axis=1)
    good[good] &= np.ptp(means[good], axis=1) > 0
    if not good.any():
        raise DataError(f"No cell of {name} has a response to every scene: there is nothing to encode.")
    keys = by.split("_", 1) if by == "area_cre_line" else [by]
    for key in keys:
        if len(labels[key]) != len(means):
            raise fail("labels", "pairs_from_cells", f"one {key} a cell ({len(means)})", len(labels[key]))
    words = [" ".join(_short(str(labels[key][int(cell)])) for key in keys) for cell in np.flatnonzero(good)]
    rois, roi = np.unique(words, return_inverse=True)
    kinds = np.asarray(labels["neuron_class"])[good]
    classes = tuple(_common(kinds[roi == number]) for number in range(len(rois)))
    ceiling = np.full(int(good.sum()), np.nan)
    if reliability is not None:
        known = np.asarray(reliability, np.float64)[good]
        ceiling = np.sqrt(np.where(np.isnan(known), np.nan, np.clip(known, 0, 1)))
    left = int((~good).sum())
    notes = (
        (f"{left} cells without a response to every scene, or with the same to all, were left out.",) if left else ()
    )
    order = np.argsort(roi, kind="stable")  # the units of an ROI lie side by side
    return ResponsePairs(
        images=images,
        responses=np.ascontiguousarray(means[good][order].T),
        roi=roi[order].astype(np.int64),
        rois=tuple(str(word) for word in rois),
        classes=classes,
        ceiling=ceiling[order],
        name=name,
        simulated=simulated,
        notes=notes,
    )


def _trial_means(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    known = np.isfinite(values)
    count = known.sum(axis=2)
    total = np.where(known, values, 0).sum(axis=2, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _short(label: str) -> str:
    """Shorten a Cre line to its gene: ``Cux2-CreERT2`` to ``Cux2``."""
    return label.partition("-")[0]


def _common(kinds: npt.NDArray[Any]) -> str:
    found = set(kinds.tolist())
    return str(found.pop()) if len(found) == 1 else ""
