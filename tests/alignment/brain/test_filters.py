"""Filters on a small catalogue: the right rows, and a clear word where there are none."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from alignment.brain.catalogue import GENOTYPES, experiment_table, gene_of
from alignment.brain.filters import filter_experiments
from neural_alignment import DataError, InputError


class TestFilters:
    @pytest.fixture
    def table(self, make_container: Any) -> pd.DataFrame:
        full = {gene_of(name): name for name in sorted(GENOTYPES, reverse=True)}
        plan = [
            (1, "Cux2", "VISp", 175, False),
            (2, "Sst", "VISl", 275, False),
            (3, "Rorb", "VISp", 275, False),
            (4, "Vip", "VISam", 175, True),
        ]
        return experiment_table(
            [
                make_container(
                    number,
                    {100 * number: "three_session_B", 100 * number + 1: "three_session_A"},
                    genotype=full[gene], area=area, depth_um=depth, failed=failed,
                )
                for number, gene, area, depth, failed in plan
            ]
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("filters", "experiments"),
        [
            ({}, [100, 200, 300]),
            ({"include_failed": True}, [100, 200, 300, 400]),
            ({"area": "VISp"}, [100, 300]),
            ({"area": ["VISp", "VISl"]}, [100, 200, 300]),
            ({"cre_line": "Sst"}, [200]),
            ({"cre_line": "Sst-IRES-Cre"}, [200]),
            ({"genotype": "Cux2-1"}, [100]),
            ({"genotype": "Sst"}, [200]),
            ({"genotype": "Sst-IRES-Cre/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt"}, [200]),
            ({"depth_um": 275}, [200, 300]),
            ({"depth_um": (100, 200)}, [100]),
            ({"neuron_class": "excitatory", "area": "VISp", "depth_um": (200, 300)}, [300]),
            ({"session_type": "three_session_A"}, [101, 201, 301]),
            ({"session_type": None, "area": "VISl"}, [200, 201]),
        ],
    )
    def test_rows(self, table: pd.DataFrame, filters: dict[str, Any], experiments: list[int]) -> None:
        assert filter_experiments(table, **filters)["experiment_id"].tolist() == experiments

    @pytest.mark.parametrize(
        ("filters", "message"),
        [
            ({"area": "VISpp"}, "Unknown area 'VISpp'.*Did you mean 'VISp'"),
            ({"area": "visp"}, "Did you mean 'VISp'"),
            ({"cre_line": "Sst-IRES2-Cre"}, "Unknown Cre line.*Did you mean 'Sst-IRES-Cre'"),
            ({"genotype": "Cux2-9"}, "Unknown genotype.*Did you mean 'Cux2-"),
            ({"genotype": "Cux2"}, "ambiguous: the line has Cux2-1, Cux2-2, Cux2-3"),
            ({"neuron_class": "inhibitry"}, "Did you mean 'inhibitory'"),
            ({"session_type": "three_session_D"}, "Did you mean 'three_session_"),
            ({"area": []}, "'area' parameter .* must be a name or several names"),
            ({"depth_um": (300, 200)}, "in this order"),
            ({"depth_um": (1, 2, 3)}, "a pair"),
            ({"depth_um": "deep"}, "finite number"),
            ({"depth_um": -5}, "≥ 0"),
            (
                {"cre_line": "Sst", "neuron_class": "excitatory"},
                "cre_line='Sst' and neuron_class='excitatory'",
            ),
            ({"genotype": "Cux2-1", "cre_line": "Rorb"}, "exclude each other"),
            ({"area": "VISl", "depth_um": 175}, "area='VISl' and depth_um=175 exclude each other"),
        ],
    )
    def test_mistakes(self, table: pd.DataFrame, filters: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            filter_experiments(table, **filters)

    def test_a_known_name_that_the_folder_does_not_hold(self, table: pd.DataFrame) -> None:
        with pytest.raises(DataError, match=r"No experiment in here has area='VISrl'.*holds area: VISl, VISp"):
            filter_experiments(table, area="VISrl", source="here")

    def test_only_failed_containers_hold_it(self, table: pd.DataFrame) -> None:
        with pytest.raises(DataError, match="area='VISam'"):
            filter_experiments(table, area="VISam")

    def test_empty_catalogue(self) -> None:
        with pytest.raises(DataError, match="nothing that passed"):
            filter_experiments(experiment_table([]))
