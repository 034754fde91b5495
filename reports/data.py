"""What a report is made of: the tables and arrays that a study hands over, checked once at the door.

Nothing here computes a score. Parts that a study did not have stay ``None`` (or empty), and the page then
says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neural_alignment import DataError

from .fusion_data import AttentionMaps

__all__ = ["TABLES", "DensityPair", "DomainImages", "Examples", "MapExample", "ReportData", "TableSpec"]


@dataclass(frozen=True)
class TableSpec:
    """The columns of one table: those a report cannot do without, and those it uses when they are there."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


_OVERALL = (
    ("reference", "layer_variant", "source", "target", "difference", "models", "seeds"),
    ("method", "ci_low", "ci_high", "p", "q", "reason"),
)
_RSA_COUNTS = ("n_scenes", "n_cells", "n_units", "note")
TABLES: dict[str, TableSpec] = {
    "similarity": TableSpec(
        ("model", "layer_variant", "layer", "representation", "group_by", "group", "metric", "value"),
        (
            "neurn",
            "twin",
            "layer_index",
            "ci_low",
            "ci_high",
            "n_cells",
            "n_units",
            "ceiling",
            "normalised",
            "ceiling_reason",
            "null_mean",
            "null_low",
            "null_high",
            "p",
            "q",
            "null_reason",
            "reason",
            "note",
        ),
    ),
    "paired": TableSpec(
        ("model", "layer", "representation", "group_by", "group", "metric", "difference"),
        ("layer_variant", "reference", "ci_low", "ci_high", "p", "p_least", "q", "n_donors", "reason", "note"),
    ),
    "ceilings": TableSpec(
        ("representation", "group_by", "group", "metric", "ceiling"),
        ("ci_low", "ci_high", "halves", "n_cells", "n_donors", "reason", "note"),
    ),
    "claims": TableSpec(
        ("representation", "model", "layer_variant", "group_by", "group", "metric", "difference", "claim", "verdict"),
        (
            "baseline_value",
            "variant_value",
            "a_value",
            "b_value",
            "expected",
            "ci_low",
            "ci_high",
            "p",
            "p_least",
            "q",
            "n_cells",
            "n_donors",
            "a_cells",
            "b_cells",
            "n_clear",
            "n_layers",
            "others",
            "contrast",
            "contrast_low",
            "contrast_high",
            "contrast_p",
            "contrast_p_least",
            "contrast_q",
            "contrast_reason",
            "direction",
            "caution",
            "reason",
            "note",
        ),
    ),
    "rsa": TableSpec(
        ("model", "layer_variant", "layer", "layer_index", "group_by", "group", "metric", "value"),
        ("neurn", "ci_low", "ci_high", "p", "q", "null_mean", "null_high", "ceiling", "normalised", *_RSA_COUNTS),
    ),
    "rsa_best": TableSpec(
        ("model", "layer_variant", "layer", "layer_index", "group_by", "group", "metric", "value", "half_value"),
        (
            "neurn",
            "ci_low",
            "ci_high",
            "p",
            "q",
            "null_mean",
            "null_high",
            "ceiling",
            "normalised",
            "n_layers",
            *_RSA_COUNTS,
        ),
    ),
    "rsa_differences": TableSpec(
        ("model", "layer_variant", "layer", "layer_index", "group_by", "group", "metric", "difference"),
        ("neurn", "baseline_value", "variant_value", "ci_low", "ci_high", "p", "q", "half_difference", "n_cells"),
    ),
    "rsa_twins": TableSpec(
        ("model", "layer_variant", "seed", "layer", "layer_index", "group_by", "group", "metric", "value"),
        ("neurn", "n_cells", "n_units"),
    ),
    "fusion": TableSpec(
        ("variant", "source", "target", "seed", "accuracy"),
        ("shift", "severity", "fuse", "responses", "pearson", "n", "left_out", "ece", "units", "weights", "seconds"),
    ),
    "fusion_seeds": TableSpec(
        ("variant", "target", "mean", "sd", "seeds"),
        ("shift", "severity", "fuse", "responses", "pearson", "ece", "ece_sd", "units", "weights", "n", "seconds"),
    ),
    "fusion_paired": TableSpec(
        ("variant", "target", "reference", "difference", "seeds"), ("ci_low", "ci_high", "p", "q", "reason")
    ),
    "fusion_encoder": TableSpec(("roi", "units", "r", "r2", "worse_than_mean"), ("neuron_class", "r_sd", "ceiling")),
    "transfer": TableSpec(
        ("model", "layer_variant", "source", "target", "seed", "accuracy"),
        (
            "method",
            "sees_target",
            "n",
            "n_train",
            "epochs",
            "seconds",
            "ci_low",
            "ci_high",
            "classes",
            "ece",
            "loss",
            "balanced_accuracy",
        ),
    ),
    "transfer_seeds": TableSpec(
        ("model", "layer_variant", "source", "target", "mean", "sd", "seeds"), ("method", "ece", "ece_sd", "n")
    ),
    "transfer_paired": TableSpec(
        ("reference", "model", "layer_variant", "source", "target", "difference", "seeds"),
        ("method", "ci_low", "ci_high", "p", "q", "reason"),
    ),
    "transfer_overall": TableSpec(*_OVERALL),
    "transfer_judged": TableSpec(*_OVERALL),
    "transfer_floors": TableSpec(
        ("model", "layer_variant", "source", "target", "chance", "nearest_neighbour", "network", "below", "reference"),
        ("image_size", "pixels", "n", "n_train"),
    ),
    "transfer_invariance": TableSpec(
        ("model", "layer_variant", "source", "target", "share", "equal"),
        ("before", "behind", "images", "image_size", "reason"),
    ),
    "transfer_ranks": TableSpec(
        ("model", "layer_variant", "mean_accuracy", "mean_rank", "transfers"),
        ("method",),
    ),
    "transfer_recall": TableSpec(
        ("model", "layer_variant", "source", "target", "class_name", "recall", "n"), ("method", "sd", "seeds")
    ),
    "transfer_confusion": TableSpec(
        ("model", "layer_variant", "source", "target", "true_class", "predicted_class", "n"), ("method", "seeds")
    ),
    "transfer_calibration": TableSpec(
        ("model", "layer_variant", "source", "target", "low", "high", "n", "confidence", "accuracy"), ("method",)
    ),
    "transfer_features": TableSpec(
        ("model", "layer_variant", "source", "target", "layer", "layer_index", "distance"),
        (
            "method",
            "seed",
            "units",
            "mean_source",
            "mean_target",
            "sd_source",
            "sd_target",
            "active_source",
            "active_target",
            "sparsity_source",
            "sparsity_target",
            "images_source",
            "images_target",
        ),
    ),
    "cells": TableSpec(
        ("cell_specimen_id", "area", "cre_line", "genotype", "neuron_class"),
        (
            "experiment_id",
            "donor_id",
            "depth_um",
            "cortical_layer",
            "reliability",
            "peak",
            "time_to_peak",
            "degenerate",
        ),
    ),
    "cell_scores": TableSpec(("model", "layer_variant", "layer", "cell"), ("representation", "rmse_mean")),
    "sessions": TableSpec(("experiment_id",), ()),
    "marginals": TableSpec(("quantity", "quantile", "simulated", "real"), ()),
    "embedding": TableSpec(("x", "y", "area", "genotype", "neuron_class", "kept"), ("cluster",)),
}
"""The tables of a report by the name of their field in :class:`ReportData`."""


@dataclass(frozen=True)
class MapExample:
    """One small picture: a neuron's representation, or a unit's map.

    Parameters
    ----------
    image : (y, x) array
        Values; shown on a grey scale of its own range.
    label : str
        What stands under it, e.g. ``"VISp, Cux2-1"`` or ``"layer2, unit 17"``.
    kind : {"neuron", "unit"}
        Which side of the comparison it comes from.
    neuron_class : str, optional
        ``"excitatory"`` or ``"inhibitory"``: the colour of a neuron's frame.
    """

    image: np.ndarray
    label: str
    kind: str
    neuron_class: str | None = None


@dataclass(frozen=True)
class DensityPair:
    """Kernel densities of a neuron's and a unit's values on one grid, and how much of them is shared.

    Parameters
    ----------
    x, neuron, unit : (grid,) arrays
        The grid (representation value, no unit) and the two densities on it.
    iou : float
        Area of the lower over area of the upper envelope, in [0, 1].
    best : bool
        One of the best pairs (``True``) or of the worst (``False``).
    neuron_label, unit_label : str
        Whose densities they are.
    neuron_class : str, optional
        ``"excitatory"`` or ``"inhibitory"``.
    """

    x: np.ndarray
    neuron: np.ndarray
    unit: np.ndarray
    iou: float
    best: bool
    neuron_label: str
    unit_label: str
    neuron_class: str | None = None


@dataclass(frozen=True)
class DomainImages:
    """Sample images of one transfer domain, as they are and after NeuRN.

    Parameters
    ----------
    domain : str
        The domain's name.
    images, neurn : (n, y, x) or (n, y, x, channel) arrays
        The images (uint8, or floats in [0, 1]) and what NeuRN makes of them (floats in [0, 1]).
    labels : sequence of str, optional
        One class name an image.
    """

    domain: str
    images: np.ndarray
    neurn: np.ndarray
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Examples:
    """Samples to look at: representations and unit maps, densities of unit pairs, images of the domains."""

    maps: Sequence[MapExample] = ()
    densities: Sequence[DensityPair] = ()
    domains: Sequence[DomainImages] = ()


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report shows.

    Parameters
    ----------
    name, title, sentence : str
        The study's short name, its title, and the study in one sentence.
    simulated : bool
        Whether the neurons are simulated; then every page and every figure made from them says SIMULATED.
    study_yaml, command : str
        The study as resolved, and the command that runs it again.
    origin : str, optional
        Where the neural data come from, in a sentence or two, with what a reader must cite.
    similarity, paired, ceilings, claims, transfer, cells, cell_scores, sessions, marginals, embedding : table, optional
        Tidy tables with the columns of :data:`TABLES`; columns that are optional there are filled with NaN.
        ``cell_scores.cell`` is the row's position in ``cells``. ``paired.difference`` is that of ``layer_variant``
        less ``reference`` (NeuRN and the baseline where they are not named). ``similarity`` holds networks and,
        where ``twin``, what each was before training; its ``p`` and ``q`` are against shuffled scenes.
        Fractions (accuracy) lie in [0, 1]; ``peak`` is in % dF/F, ``time_to_peak`` in s, ``depth_um`` in µm.
    transfer_seeds, transfer_paired, transfer_overall, transfer_judged, transfer_floors, transfer_invariance,
    transfer_ranks, transfer_recall, transfer_confusion, transfer_calibration, transfer_features : table, optional
        Tables that follow from ``transfer`` and from what its runs keep beside it. A table without a
        ``method`` is of plain training. ``reference`` names the layer (of plain training) that was
        subtracted; ``transfer_overall`` is the mean over ``models``, ``transfer_judged`` that over the models
        whose network without a layer lies below none of ``transfer_floors`` (chance, and the nearest training
        image in pixels or behind a layer; there ``reference`` marks the rows of that network, and ``below`` says in
        words which floors a network lies below). ``transfer_invariance`` holds how far images and their shifted
        copies lie apart behind a layer, as a ``share`` of their distance before it.
    rsa, rsa_best, rsa_differences, rsa_twins : pandas.DataFrame, optional
        Networks beside populations by dissimilarities of scenes: every layer, the best layers, layer variants
        less the baseline, and randomly initialised networks. ``metric`` is ``rsa_spearman`` or ``cka``; the
        group ``mean`` averages over all. Intervals and tests are over scenes.
    fusion, fusion_seeds, fusion_paired, fusion_encoder : pandas.DataFrame, optional
        Brain-machine fusion: a row a head and domain, means over seeds, differences to the reference head paired by
        seed, and how well each region's responses are predicted held out.
    fusion_design : mapping, optional
        What was built, in numbers, for the drawing.
    attention : sequence of AttentionMaps, optional
        Where heads look.
    protocol : str, optional
        How many images were trained and tested on, and how, in words.
    examples : Examples, optional
        Samples to look at.
    architectures : xarray.Dataset, optional
        ``score`` and ``correlation`` (model, other), as ``alignment.models.similarity_matrix`` gives them.
    provenance : sequence of mappings, optional
        One a stage: ``stage``, ``key``, ``version``, ``seconds``, ``device``, ``packages`` (a mapping),
        ``seed`` ...
    notes : sequence of str, optional
        Sentences that the reader must know (cells dropped, a class that fell short), printed with the
        findings.

    Raises
    ------
    DataError
        A table lacks a column it cannot do without.

    Examples
    --------
    >>> data = ReportData(
    ...     name="demo", title="Demo", sentence="One study.", simulated=True, study_yaml="", command=""
    ... )
    >>> data.has("cells")
    False
    """

    name: str
    title: str
    sentence: str
    simulated: bool
    study_yaml: str
    command: str
    origin: str = ""
    similarity: pd.DataFrame | None = None
    paired: pd.DataFrame | None = None
    ceilings: pd.DataFrame | None = None
    claims: pd.DataFrame | None = None
    transfer: pd.DataFrame | None = None
    transfer_seeds: pd.DataFrame | None = None
    transfer_paired: pd.DataFrame | None = None
    transfer_overall: pd.DataFrame | None = None
    transfer_judged: pd.DataFrame | None = None
    transfer_floors: pd.DataFrame | None = None
    transfer_invariance: pd.DataFrame | None = None
    transfer_ranks: pd.DataFrame | None = None
    transfer_recall: pd.DataFrame | None = None
    transfer_confusion: pd.DataFrame | None = None
    transfer_calibration: pd.DataFrame | None = None
    transfer_features: pd.DataFrame | None = None
    fusion: pd.DataFrame | None = None
    fusion_seeds: pd.DataFrame | None = None
    fusion_paired: pd.DataFrame | None = None
    fusion_encoder: pd.DataFrame | None = None
    fusion_design: Mapping[str, Any] | None = None
    attention: Sequence[AttentionMaps] = ()
    protocol: str = ""
    rsa: pd.DataFrame | None = None
    rsa_best: pd.DataFrame | None = None
    rsa_differences: pd.DataFrame | None = None
    rsa_twins: pd.DataFrame | None = None
    cells: pd.DataFrame | None = None
    cell_scores: pd.DataFrame | None = None
    sessions: pd.DataFrame | None = None
    marginals: pd.DataFrame | None = None
    embedding: pd.DataFrame | None = None
    examples: Examples | None = None
    architectures: xr.Dataset | None = None
    provenance: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name in TABLES:
            frame = getattr(self, name)
            if frame is not None:
                object.__setattr__(self, name, _complete(frame, name))
        if self.cell_scores is not None and len(self.cell_scores):
            n_cells = 0 if self.cells is None else len(self.cells)
            positions = self.cell_scores["cell"]
            if positions.min() < 0 or positions.max() >= n_cells:
                raise DataError(
                    "The 'cell' column of the report's cell_scores must hold rows of its cells table, 0 to "
                    f"{n_cells - 1}. Got {positions.min()} to {positions.max()} instead. Hand over the cells "
                    "table that the scores were made from."
                )

    def has(self, part: str) -> bool:
        """Tell whether a part is there and holds anything.

        Parameters
        ----------
        part : str
            A field's name, or ``"maps"``, ``"densities"``, ``"domains"`` of the examples.

        Returns
        -------
        bool
            Whether there is something to show.
        """
        if part in {field.name for field in dataclasses.fields(Examples)}:
            return self.examples is not None and len(getattr(self.examples, part)) > 0
        value = getattr(self, part)
        if isinstance(value, Examples):
            return any(self.has(field.name) for field in dataclasses.fields(Examples))
        return value is not None and len(value) > 0

    @property
    def has_neurons(self) -> bool:
        """Whether any part of the study has to do with neurons (simulated or recorded)."""
        return any(self.has(part) for part in ("similarity", "cells", "cell_scores", "sessions", "maps", "densities"))

    @property
    def has_brain(self) -> bool:
        """Whether networks stand beside neurons, or beside matrices of populations of them."""
        return self.has_neurons or self.has("rsa")

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of :data:`TABLES`, empty (with its columns) where the study had none."""
        frame: pd.DataFrame | None = getattr(self, name)
        if frame is None:
            spec = TABLES[name]
            return pd.DataFrame(columns=[*spec.required, *spec.optional])
        return frame


def _complete(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    spec = TABLES[name]
    missing = [column for column in spec.required if column not in frame.columns]
    if missing:
        raise DataError(
            f"The report's {name} table must have the columns {', '.join(spec.required)}. Got a table "
            f"without {', '.join(missing)} instead. Run the study's stage that writes it again."
        )
    absent = [column for column in spec.optional if column not in frame.columns]
    complete = frame.reset_index(drop=True).assign(**dict.fromkeys(absent, np.nan))
    if "method" in spec.optional:
        complete = complete.assign(method=complete["method"].fillna("plain"))
    if "sees_target" in spec.optional:
        complete = complete.assign(sees_target=complete["sees_target"].eq(True))
    if name == "paired":
        complete = complete.assign(
            layer_variant=complete["layer_variant"].fillna("neurn"), reference=complete["reference"].fillna("baseline")
        )
    if name == "similarity":
        complete = _layer_order(complete.assign(twin=complete["twin"].eq(True)))
    return complete


def _layer_order(similarity: pd.DataFrame) -> pd.DataFrame:
    """Give layers without a number their place of first appearance in their model."""
    if not similarity["layer_index"].isna().any():
        return similarity
    order = similarity.groupby("model", sort=False)["layer"].transform(lambda layer: pd.factorize(layer)[0])
    return similarity.assign(layer_index=similarity["layer_index"].fillna(order))
