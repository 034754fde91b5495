"""What the Allen Visual Coding (two-photon) data set holds: areas, Cre lines, genotypes, layers, classes.

The tables here are the catalogue's vocabulary and need no AllenSDK: labels are the same whichever subset of
the data, real or simulated, is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from alignment._validation import check_number
from neural_alignment import DataError

__all__ = [
    "AREAS",
    "CELL_METRICS",
    "COLUMNS",
    "CRE_LINES",
    "EXPERIMENT_COORDINATES",
    "GENOTYPES",
    "GROUPINGS",
    "LAYERS",
    "NATURAL_SCENE_SESSION",
    "NEURON_CLASSES",
    "PASSED_GENOTYPES",
    "SESSION_TYPES",
    "complete_table",
    "cortical_layer",
    "cre_line_of",
    "experiment_table",
    "gene_of",
    "genotype_labels",
    "neuron_class_of",
]

AREAS: Final = ("VISp", "VISl", "VISal", "VISpm", "VISam", "VISrl")
"""The six visual areas, primary visual cortex first."""

LAYERS: Final = ("L2/3", "L4", "L5", "L6")
NEURON_CLASSES: Final = ("excitatory", "inhibitory")
NATURAL_SCENE_SESSION: Final = "three_session_B"
SESSION_TYPES: Final = ("three_session_A", "three_session_B", "three_session_C", "three_session_C2")

CRE_LINES: Final[Mapping[str, str]] = {
    "Cux2-CreERT2": "excitatory",
    "Emx1-IRES-Cre": "excitatory",
    "Fezf2-CreER": "excitatory",
    "Nr5a1-Cre": "excitatory",
    "Ntsr1-Cre_GN220": "excitatory",
    "Pvalb-IRES-Cre": "inhibitory",
    "Rbp4-Cre_KL100": "excitatory",
    "Rorb-IRES2-Cre": "excitatory",
    "Scnn1a-Tg3-Cre": "excitatory",
    "Slc17a7-IRES2-Cre": "excitatory",
    "Sst-IRES-Cre": "inhibitory",
    "Tlx3-Cre_PL56": "excitatory",
    "Vip-IRES-Cre": "inhibitory",
}
"""The 13 Cre driver lines and the class of the neurons that each labels."""

_AI93_WT = "Camk2a-tTA/wt;Ai93(TITL-GCaMP6f)/wt"
_AI93_HOMOZYGOUS = "Camk2a-tTA/wt;Ai93(TITL-GCaMP6f)/Ai93(TITL-GCaMP6f)"
_AI148 = "Ai148(TIT2L-GC6f-ICL-tTA2)/wt"
_PASSED_GENOTYPES = (
    f"Cux2-CreERT2/Cux2-CreERT2;{_AI93_HOMOZYGOUS}",
    f"Cux2-CreERT2/wt;{_AI93_HOMOZYGOUS}",
    f"Cux2-CreERT2/wt;{_AI93_WT}",
    "Emx1-IRES-Cre/wt;Camk2a-tTA/wt;Ai93(TITL-GCaMP6f)-hyg/wt",
    f"Emx1-IRES-Cre/wt;{_AI93_HOMOZYGOUS}",
    f"Emx1-IRES-Cre/wt;{_AI93_WT}",
    f"Fezf2-CreER/wt;{_AI148}",
    f"Nr5a1-Cre/wt;{_AI93_HOMOZYGOUS}",
    f"Nr5a1-Cre/wt;{_AI93_WT}",
    f"Ntsr1-Cre_GN220/wt;{_AI148}",
    "Pvalb-IRES-Cre/wt;Ai162(TIT2L-GC6s-ICL-tTA2)/wt",
    f"Rbp4-Cre_KL100/wt;{_AI93_HOMOZYGOUS}",
    f"Rbp4-Cre_KL100/wt;{_AI93_WT}",
    f"Rorb-IRES2-Cre/wt;{_AI93_HOMOZYGOUS}",
    f"Rorb-IRES2-Cre/wt;{_AI93_WT}",
    f"Scnn1a-Tg3-Cre/wt;{_AI93_HOMOZYGOUS}",
    f"Scnn1a-Tg3-Cre/wt;{_AI93_WT}",
    f"Slc17a7-IRES2-Cre/wt;{_AI93_WT}",
    "Slc17a7-IRES2-Cre/wt;Camk2a-tTA/wt;Ai94(TITL-GCaMP6s)/wt",
    f"Sst-IRES-Cre/wt;{_AI148}",
    f"Tlx3-Cre_PL56/wt;{_AI148}",
    f"Vip-IRES-Cre/wt;{_AI148}",
)
# Two genotypes occur in failed containers only. They are numbered after the passed ones, so that asking for
# failed containers never changes the label of a passed one.
_FAILED_GENOTYPES = (
    "Emx1-IRES-Cre/wt;Camk2a-tTA/wt;Ai93(TITL-GCaMP6f)/Ai93(TITL-GCaMP6f)-STOPdel",
    "Rbp4-Cre_KL100/wt;Camk2a-tTA/wt;Ai93(TITL-GCaMP6f)/Ai93(TITL-GCaMP6f)-STOPdel",
)

EXPERIMENT_COORDINATES: Final = (
    "donor_id",
    "area",
    "cre_line",
    "genotype",
    "full_genotype",
    "depth_um",
    "cortical_layer",
    "neuron_class",
)
"""What the catalogue says of an experiment that every one of its cells carries to the tables."""

GROUPINGS: Final = ("area", "cre_line", "genotype", "cortical_layer", "neuron_class")
"""The coordinates by which cells and experiments are counted and compared."""

CELL_METRICS: Final = (
    "p_ns",
    "reliability_ns",
    "image_sel_ns",
    "peak_dff_ns",
    "pref_image_ns",
    "run_mod_ns",
    "time_to_peak_ns",
)
"""The columns of the API's cell metrics (ApiCamCellMetric) that concern natural scenes."""

COLUMNS: Final = ("experiment_id", "experiment_container_id", *EXPERIMENT_COORDINATES, "session_type", "failed")
"""The columns of the experiment table, in order."""

# Lower bounds in µm of each layer; see `cortical_layer`.
_LAYER_STARTS = ((500.0, "L6"), (365.0, "L5"), (250.0, "L4"), (0.0, "L2/3"))


def gene_of(cre_line: str) -> str:
    """Return the gene that a Cre line (or a full genotype) is named after.

    Examples
    --------
    >>> gene_of("Ntsr1-Cre_GN220")
    'Ntsr1'
    """
    return cre_line.split("-", 1)[0]


def cre_line_of(full_genotype: str) -> str:
    """Return the Cre line of a full genotype: its first allele.

    Examples
    --------
    >>> cre_line_of("Sst-IRES-Cre/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt")
    'Sst-IRES-Cre'
    """
    return full_genotype.split(";", 1)[0].split("/", 1)[0]


def _number_genotypes(full_genotypes: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    labels = dict(known)
    for full in sorted(set(full_genotypes) - set(labels)):
        gene = gene_of(full)
        labels[full] = f"{gene}-{1 + sum(gene_of(other) == gene for other in labels)}"
    return labels


PASSED_GENOTYPES: Final[Mapping[str, str]] = _number_genotypes(_PASSED_GENOTYPES, {})
"""The 22 full genotypes of passed containers, with their labels."""

GENOTYPES: Final[Mapping[str, str]] = _number_genotypes(_FAILED_GENOTYPES, PASSED_GENOTYPES)
"""Full genotype to label, as ``genotype_labels`` gives them: 22 of passed containers, 2 of failed ones."""


def genotype_labels(full_genotypes: Iterable[str]) -> dict[str, str]:
    """Label full genotypes ``Gene-n``.

    ``n`` counts the distinct full genotypes of the Cre line in alphabetical (code point) order over the
    passed containers of the whole Allen catalogue, so a label does not depend on which subset is read. A
    genotype that the catalogue does not hold is numbered after the known ones, alphabetically among those
    given. A genotype without its zygosities (``Cux2-CreERT2;Camk2a-tTA;Ai93``, in NWB files of old pipelines)
    gets the label of the only known genotype it can stand for, or else ``Gene-?``.

    Parameters
    ----------
    full_genotypes : iterable of str
        As in ``specimen.donor.full_genotype`` of the manifest.

    Returns
    -------
    dict of str to str
        Full genotype to label.

    Examples
    --------
    >>> genotype_labels(["Fezf2-CreER/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt"])
    {'Fezf2-CreER/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt': 'Fezf2-1'}
    """
    wanted = list(dict.fromkeys(full_genotypes))
    complete = [full for full in wanted if "/" in full]
    numbered = _number_genotypes(complete, GENOTYPES)
    for full in wanted:
        if full not in numbered:
            alleles = _plain_alleles(full)
            fits = {label for known, label in PASSED_GENOTYPES.items() if _plain_alleles(known) == alleles}
            numbered[full] = fits.pop() if len(fits) == 1 else f"{gene_of(full)}-?"
    return {full: numbered[full] for full in wanted}


def _plain_alleles(genotype: str) -> tuple[str, ...]:
    """Return the alleles without zygosity and construct: ('Cux2-CreERT2', 'Camk2a-tTA', 'Ai93')."""
    return tuple(allele.split("/", 1)[0].split("(", 1)[0].strip() for allele in genotype.split(";"))


def neuron_class_of(cre_line: str) -> str:
    """Return ``"inhibitory"`` for the Pvalb, Sst and Vip lines, else ``"excitatory"``.

    Examples
    --------
    >>> neuron_class_of("Vip-IRES-Cre"), neuron_class_of("Emx1-IRES-Cre")
    ('inhibitory', 'excitatory')
    """
    return "inhibitory" if gene_of(cre_line) in {"Pvalb", "Sst", "Vip"} else "excitatory"


def cortical_layer(depth_um: float) -> str:
    """Assign a cortical layer to an imaging depth.

    The Allen white paper images layer 2/3 at about 175 µm, layer 4 at 275 to 350 µm, layer 5 at 375 µm and
    layer 6 at 550 µm below the pia. The limits here (250, 365 and 500 µm, each belonging to the deeper layer)
    lie between these depths and put every plane of a layer-specific line into its layer: Nr5a1, Scnn1a and
    Rorb (265 to 350 µm) into L4, Rbp4, Tlx3 and Fezf2 (375 to 400 µm) into L5, Ntsr1 (550 to 625 µm) into L6.

    Parameters
    ----------
    depth_um : float
        Depth below the pia, µm.

    Returns
    -------
    str
        ``"L2/3"``, ``"L4"``, ``"L5"`` or ``"L6"``.

    Examples
    --------
    >>> [cortical_layer(depth) for depth in (175, 275, 375, 550)]
    ['L2/3', 'L4', 'L5', 'L6']
    """
    depth = check_number(depth_um, "depth_um", "cortical_layer", low=0)
    return next(layer for start, layer in _LAYER_STARTS if depth >= start)


def experiment_table(containers: Sequence[Mapping[str, Any]], source: str = "the manifest") -> pd.DataFrame:
    """Flatten experiment containers, as the Allen API serves them, to one row per experiment.

    Parameters
    ----------
    containers : sequence of mapping
        ``experiment_containers.json``; each holds its experiments.
    source : str
        Where they come from, for messages.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`, all session types, failed containers included, by experiment id.

    Raises
    ------
    DataError
        If a record lacks what every container of the Allen catalogue has.
    """
    rows: list[dict[str, Any]] = []
    for number, container in enumerate(containers):
        try:
            donor = container["specimen"]["donor"]
            shared = {
                "experiment_container_id": int(container["id"]),
                "donor_id": int(donor["id"]),
                "area": str(container["targeted_structure"]["acronym"]),
                "full_genotype": str(donor["full_genotype"]),
                "depth_um": int(container["imaging_depth"]),
                "failed": bool(container["failed"]),
            }
            rows.extend(
                {
                    **shared,
                    "experiment_id": int(experiment["id"]),
                    "session_type": str(experiment["stimulus_name"]),
                }
                for experiment in container["ophys_experiments"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"Record {number} of {source} is not an Allen experiment container "
                f"({type(error).__name__}: {error}). The file is damaged or of another kind or version: "
                "delete it and fetch the manifests again."
            ) from error
    return complete_table(rows)


def complete_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Add the columns that follow from full genotype and depth; order columns and rows."""
    labels = genotype_labels(row["full_genotype"] for row in rows)
    table = pd.DataFrame(
        [
            {
                **row,
                "cre_line": cre_line_of(row["full_genotype"]),
                "genotype": labels[row["full_genotype"]],
                "cortical_layer": cortical_layer(row["depth_um"]),
                "neuron_class": neuron_class_of(row["full_genotype"]),
            }
            for row in rows
        ],
        columns=list(COLUMNS),
    )
    return table.sort_values("experiment_id", ignore_index=True)
