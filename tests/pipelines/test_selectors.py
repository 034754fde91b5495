"""Cells by name: single groups, other groupings, several conditions, and what is said of names that are none."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from neural_alignment import InputError
from pipelines.selectors import choose_cells, grouping

AREA = ["VISp", "VISl", "VISp", "VISl", "VISp", "VISp"]
GENOTYPE = ["Sst-1", "Sst-1", "Cux2-1", "Cux2-1", "Fezf2-1", "Sst-1"]
CLASS = ["inhibitory", "inhibitory", "excitatory", "excitatory", "excitatory", "inhibitory"]


@pytest.fixture
def cells() -> xr.Dataset:
    words = {
        "area": ("cell", AREA),
        "genotype": ("cell", GENOTYPE),
        "neuron_class": ("cell", CLASS),
        "depth_um": ("cell", [175, 275, 175, 275, 175, 375]),
        "reliability": ("cell", np.linspace(0, 1, 6)),
    }
    return xr.Dataset({"representation": (("cell", "scene"), np.zeros((6, 4)))}, coords=words)


@pytest.mark.parametrize(
    ("text", "group", "expected"),
    [
        ("Sst-1", "genotype", [0, 1, 5]),
        ("VISp", "area", [0, 2, 4, 5]),
        ("class:excitatory", "genotype", [2, 3, 4]),
        ("neuron_class:excitatory", "genotype", [2, 3, 4]),
        ("area:VISp+class:inhibitory", "genotype", [0, 5]),
        ("VISp+class:inhibitory", "area", [0, 5]),
        (" area:VISp + Sst-1 ", "genotype", [0, 5]),
        ("area:VISp+class:inhibitory+depth:175", "genotype", [0]),
        ("all", "genotype", [0, 1, 2, 3, 4, 5]),
        ("all+area:VISl", "genotype", [1, 3]),
    ],
)
def test_selectors(cells: xr.Dataset, text: str, group: str, expected: list[int]) -> None:
    found = choose_cells(text, cells, group)
    assert found.cells.tolist() == expected
    assert found.name == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Fezf2",
            r"No cell has the genotype 'Fezf2'\. Did you mean 'Fezf2-1'\? There are \(cells\): Cux2-1 \(2\),",
        ),
        ("VISp", r"No cell has the genotype 'VISp'\. Did you mean 'area:VISp'\?"),
        ("class:excitatry", r"No cell has the neuron_class 'excitatry'\. Did you mean 'excitatory'\?"),
        ("clas:excitatory", r"Unknown grouping of cells 'clas'.*Did you mean 'class'\?"),
        ("reliability:1.0", r"Unknown grouping of cells 'reliability'"),
        ("area:VISl+Fezf2-1", r"No cell is area:VISl and Fezf2-1 at once"),
        ("", "are not named: give a group"),
        ("area:VISp+", "are not named: give a group"),
    ],
)
def test_names_that_are_none(cells: xr.Dataset, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_cells(text, cells)


def test_short_words_of_groupings(cells: xr.Dataset) -> None:
    assert (grouping("class", cells), grouping("area", cells)) == ("neuron_class", "area")
    with pytest.raises(InputError, match="Unknown grouping of cells 'cre'"):  # these cells have no Cre line
        grouping("cre", cells)
