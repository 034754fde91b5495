"""Filters on the catalogue by name and by depth, with an answer for unknown names and for contradictions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from alignment._validation import check_name, check_number, fail
from alignment.brain.catalogue import (
    AREAS,
    CRE_LINES,
    GENOTYPES,
    NATURAL_SCENE_SESSION,
    NEURON_CLASSES,
    PASSED_GENOTYPES,
    SESSION_TYPES,
    gene_of,
)
from neural_alignment import DataError, InputError

__all__ = ["filter_experiments"]

Filter = str | Sequence[str] | None
Depth = float | tuple[float, float] | None


def filter_experiments(
    table: pd.DataFrame,
    *,
    area: Filter = None,
    cre_line: Filter = None,
    genotype: Filter = None,
    depth_um: Depth = None,
    neuron_class: Filter = None,
    session_type: Filter = NATURAL_SCENE_SESSION,
    include_failed: bool = False,
    source: str = "the catalogue",
) -> pd.DataFrame:
    """Keep the experiments that meet every filter.

    Parameters
    ----------
    table : pandas.DataFrame
        From `experiment_table`.
    area, cre_line, genotype, neuron_class, session_type : str or sequence of str, optional
        Names to keep. A Cre line may be given as its gene (``"Sst"``), a genotype as its label
        (``"Cux2-2"``), as the full genotype, or as the gene where the line has one genotype only.
    depth_um : float or (float, float), optional
        Imaging depth in µm, or the lowest and highest to keep.
    include_failed : bool
        Whether to keep containers that failed the Allen Institute's quality control.
    source : str
        Where the table comes from, for messages.

    Returns
    -------
    pandas.DataFrame
        The rows kept, at least one.

    Raises
    ------
    InputError
        For an unknown name (the closest one is suggested) or filters that exclude each other.
    DataError
        If the catalogue read holds nothing that a filter asks for.
    """
    kept = table if include_failed else table[~table["failed"].astype(bool)]
    masks: dict[str, pd.Series[bool]] = {}
    for column, value in (
        ("session_type", session_type),
        ("area", area),
        ("cre_line", cre_line),
        ("genotype", genotype),
        ("neuron_class", neuron_class),
    ):
        if value is not None:
            names = _resolve(column, value, table)
            masks[f"{column}={value!r}"] = kept[column].isin(names)
    if depth_um is not None:
        low, high = _depth_range(depth_um)
        masks[f"depth_um={depth_um!r}"] = kept["depth_um"].between(low, high)
    _check_conflicts(masks, kept, source)
    for mask in masks.values():
        kept = kept[mask.reindex(kept.index)]
    return kept.reset_index(drop=True)


def _resolve(column: str, value: str | Sequence[str], table: pd.DataFrame) -> set[str]:
    """Turn names as typed into the names of the table's column."""
    present = set(table[column])
    known: dict[str, set[str]] = {name: {name} for name in present | set(_VOCABULARY[column])}
    if column == "cre_line":
        for name in list(known):
            known.setdefault(gene_of(name), set()).add(name)
    if column == "genotype":
        for full, label in {
            **GENOTYPES,
            **dict(zip(table["full_genotype"], table["genotype"], strict=True)),
        }.items():
            known[full] = {label}
        genes = [gene_of(label) for label in _VOCABULARY[column]]
        known.update({gene: {f"{gene}-1"} for gene in genes if genes.count(gene) == 1})
    names = [value] if isinstance(value, str) else list(value)
    if not names:
        raise fail(column, "the observatory's list", "a name or several names", value)
    found: set[str] = set()
    for name in names:
        if name not in known and column == "genotype":
            _refuse_gene(name)
        found |= known[check_name(name, _WORDS[column], known, "nalign observatory list")]
    return found


def _refuse_gene(name: object) -> None:
    of_gene = [label for label in PASSED_GENOTYPES.values() if gene_of(label) == name]
    if of_gene:
        raise InputError(
            f"The genotype {name!r} is ambiguous: the line has {', '.join(of_gene)}. "
            f"Name one of them, or filter with cre_line={name!r}."
        )


def _depth_range(depth_um: float | tuple[float, float]) -> tuple[float, float]:
    owner = "the observatory's list"
    if isinstance(depth_um, (tuple, list)):
        if len(depth_um) != 2:
            raise fail("depth_um", owner, "a depth in µm or a pair (lowest, highest)", depth_um)
        low, high = (check_number(bound, "depth_um", owner, low=0) for bound in depth_um)
        if low > high:
            raise fail("depth_um", owner, "a pair (lowest, highest) in this order", depth_um)
        return low, high
    depth = check_number(depth_um, "depth_um", owner, low=0)
    return depth, depth


def _check_conflicts(masks: Mapping[str, pd.Series[bool]], kept: pd.DataFrame, source: str) -> None:
    for name, mask in masks.items():
        if not mask.any():
            column = name.split("=", 1)[0]
            held = sorted(set(kept[column]))
            shown = ", ".join(str(value) for value in held[:24]) or "nothing that passed"
            raise DataError(f"No experiment in {source} has {name}. It holds {column}: {shown}.")
    for size in range(2, len(masks) + 1):
        for names in itertools.combinations(masks, size):
            together = masks[names[0]]
            for name in names[1:]:
                together = together & masks[name]
            if not together.any():
                raise InputError(
                    f"The filters {' and '.join(names)} exclude each other: no experiment in {source} meets "
                    "them together. Drop or change one of them."
                )


_VOCABULARY: Final[Mapping[str, Sequence[str]]] = {
    "area": AREAS,
    "cre_line": tuple(CRE_LINES),
    "genotype": tuple(GENOTYPES.values()),
    "neuron_class": NEURON_CLASSES,
    "session_type": SESSION_TYPES,
}
_WORDS: Final[Mapping[str, str]] = {
    "area": "area",
    "cre_line": "Cre line",
    "genotype": "genotype",
    "neuron_class": "neuron class",
    "session_type": "session type",
}
