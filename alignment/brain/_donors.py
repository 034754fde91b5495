"""Which mice, areas and depths the simulated observatory imaged: the real survey's genotypes, in its places.

The 22 full genotypes of the experiment containers that passed quality control in the Allen Visual Coding
(two-photon) survey, with areas and depths in which each was imaged (experiment containers as the public API
serves them; Allen Institute for Brain Science, 2016-2018).
"""

from __future__ import annotations

from typing import NamedTuple

from alignment.brain.catalogue import cre_line_of, neuron_class_of

__all__ = ["AREAS", "SURVEY", "Genotype", "Place", "place_of"]

AREAS: dict[str, tuple[int, str]] = {
    "VISp": (385, "Primary visual area"),
    "VISl": (409, "Lateral visual area"),
    "VISal": (402, "Anterolateral visual area"),
    "VISpm": (533, "posteromedial visual area"),
    "VISam": (394, "Anteromedial visual area"),
    "VISrl": (417, "Rostrolateral visual area"),
}


class Genotype(NamedTuple):
    """A full genotype and the (area, depth in µm) pairs it was imaged in, the one to use first in front."""

    full: str
    places: tuple[tuple[str, int], ...]

    @property
    def cre_line(self) -> str:
        """The Cre driver line."""
        return cre_line_of(self.full)

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """The transgenic lines as (name, type): Cre driver, tTA driver if there is one, reporter."""
        names = []
        for part in self.full.split(";"):
            # An insertion's name may hold parentheses but no slash: the two alleles stand either side of one.
            name = part.split("/")[0]
            names.append((name, "reporter" if name.startswith("Ai") else "driver"))
        return tuple(names)

    @property
    def indicator(self) -> str:
        """The calcium indicator that the reporter line expresses."""
        return "GCaMP6s" if "Ai94" in self.full or "Ai162" in self.full else "GCaMP6f"


class Place(NamedTuple):
    """What one simulated session images."""

    genotype: Genotype
    area: str
    depth_um: int

    @property
    def inhibitory(self) -> bool:
        """Whether the labelled cells are inhibitory."""
        return neuron_class_of(self.genotype.cre_line) == "inhibitory"


_TTA = "Camk2a-tTA/wt"
_AI93 = "Ai93(TITL-GCaMP6f)"
_ONE, _TWO = f"{_TTA};{_AI93}/wt", f"{_TTA};{_AI93}/{_AI93}"
_AI148 = "Ai148(TIT2L-GC6f-ICL-tTA2)/wt"


def _everywhere(*depths: int, first: str, but: tuple[tuple[str, int], ...] = ()) -> tuple[tuple[str, int], ...]:
    """Return all areas at these depths, except pairs that the survey does not have."""
    areas = [first, *(area for area in AREAS if area != first)]
    return tuple((area, depth) for depth in depths for area in areas if (area, depth) not in but)


# The order decides what a small observatory holds: the first six sessions cover the six areas, the first
# thirteen the thirteen Cre lines, the first twenty-two all genotypes.
SURVEY: tuple[Genotype, ...] = (
    Genotype(f"Cux2-CreERT2/wt;{_ONE}", _everywhere(275, 175, first="VISp", but=(("VISal", 175),))),
    Genotype(f"Sst-IRES-Cre/wt;{_AI148}", (("VISl", 275), ("VISp", 275), ("VISpm", 375), ("VISl", 375))),
    Genotype(f"Rorb-IRES2-Cre/wt;{_ONE}", _everywhere(275, first="VISal")),
    Genotype(f"Vip-IRES-Cre/wt;{_AI148}", (("VISpm", 275), ("VISp", 175), ("VISl", 275), ("VISl", 175))),
    Genotype(f"Rbp4-Cre_KL100/wt;{_ONE}", _everywhere(375, first="VISam")),
    Genotype(f"Emx1-IRES-Cre/wt;{_ONE}", _everywhere(275, 175, first="VISrl", but=(("VISpm", 275),))),
    Genotype("Pvalb-IRES-Cre/wt;Ai162(TIT2L-GC6s-ICL-tTA2)/wt", (("VISp", 275), ("VISl", 275), ("VISp", 375))),
    Genotype(
        f"Slc17a7-IRES2-Cre/wt;{_ONE}",
        _everywhere(
            *(375, 275, 175),
            first="VISl",
            but=(("VISal", 375), ("VISam", 375), ("VISam", 275), ("VISrl", 275)),
        ),
    ),
    Genotype(f"Nr5a1-Cre/wt;{_ONE}", _everywhere(350, first="VISal")),
    Genotype(f"Ntsr1-Cre_GN220/wt;{_AI148}", (("VISpm", 550), ("VISp", 550), ("VISl", 550))),
    Genotype(f"Fezf2-CreER/wt;{_AI148}", (("VISl", 375), ("VISp", 400))),
    Genotype(f"Tlx3-Cre_PL56/wt;{_AI148}", (("VISp", 375), ("VISl", 375))),
    Genotype(f"Scnn1a-Tg3-Cre/wt;{_TWO}", (("VISp", 350), ("VISp", 335))),
    Genotype(f"Cux2-CreERT2/Cux2-CreERT2;{_TWO}", (("VISl", 275), ("VISal", 275), ("VISp", 175), ("VISpm", 175))),
    Genotype(f"Cux2-CreERT2/wt;{_TWO}", (("VISpm", 175), ("VISp", 175), ("VISal", 175), ("VISl", 175))),
    Genotype(f"Emx1-IRES-Cre/wt;{_TTA};{_AI93}-hyg/wt", (("VISrl", 175), ("VISpm", 175), ("VISpm", 275))),
    Genotype(f"Emx1-IRES-Cre/wt;{_TWO}", (("VISp", 175), ("VISp", 275))),
    Genotype(f"Nr5a1-Cre/wt;{_TWO}", (("VISrl", 350), ("VISam", 350), ("VISl", 350), ("VISp", 350))),
    Genotype(f"Rbp4-Cre_KL100/wt;{_TWO}", (("VISpm", 375), ("VISam", 375), ("VISal", 375), ("VISl", 375))),
    Genotype(f"Rorb-IRES2-Cre/wt;{_TWO}", _everywhere(275, first="VISam")),
    Genotype(f"Scnn1a-Tg3-Cre/wt;{_ONE}", (("VISp", 275), ("VISp", 350))),
    Genotype(f"Slc17a7-IRES2-Cre/wt;{_TTA};Ai94(TITL-GCaMP6s)/wt", (("VISp", 205), ("VISp", 175))),
)

# After the first round every round begins with the inhibitory lines, of which the survey has fewest.
_LATER = sorted(range(len(SURVEY)), key=lambda index: neuron_class_of(SURVEY[index].cre_line) != "inhibitory")


def place_of(session: int) -> Place:
    """Return the genotype, area and depth of the session with this number (0, 1, ...).

    Sessions do not depend on how many there are: a larger observatory begins with the smaller one's.
    """
    visit, position = divmod(session, len(SURVEY))
    genotype = SURVEY[position] if visit == 0 else SURVEY[_LATER[position]]
    area, depth = genotype.places[visit % len(genotype.places)]
    return Place(genotype, area, depth)
