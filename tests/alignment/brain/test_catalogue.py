"""The catalogue's vocabulary and filters, against the real manifest where it is at hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.brain.catalogue import (
    AREAS,
    COLUMNS,
    CRE_LINES,
    GENOTYPES,
    cortical_layer,
    cre_line_of,
    experiment_table,
    gene_of,
    genotype_labels,
    neuron_class_of,
)
from alignment.brain.filters import filter_experiments
from neural_alignment import DataError, InputError


@pytest.fixture(scope="session")
def real_containers(shared_data: Path) -> list[dict[str, Any]]:
    text = (shared_data / "allen_manifests" / "experiment_containers.json").read_text()
    containers: list[dict[str, Any]] = json.loads(text)
    return containers


@pytest.fixture(scope="session")
def real_table(real_containers: list[dict[str, Any]]) -> pd.DataFrame:
    return experiment_table(real_containers)


@pytest.fixture(scope="session")
def real_csv(shared_data: Path) -> pd.DataFrame:
    return pd.read_csv(shared_data / "allen_manifests" / "ophys_experiments_flat.csv")


class TestRealManifest:
    def test_natural_scene_sessions_are_as_published(self, real_table: pd.DataFrame) -> None:
        listed = filter_experiments(real_table)
        assert tuple(listed.columns) == COLUMNS
        assert len(listed) == 456
        assert listed["experiment_container_id"].is_unique
        assert listed["genotype"].nunique() == 22
        assert set(listed["cre_line"]) == set(CRE_LINES)
        assert set(listed["area"]) == set(AREAS)

    def test_genotypes_have_the_published_multiplicities(self, real_table: pd.DataFrame) -> None:
        labels = filter_experiments(real_table)["genotype"].unique()
        counts = Counter(gene_of(label) for label in labels)
        three, two = {"Cux2", "Emx1"}, {"Rbp4", "Rorb", "Nr5a1", "Scnn1a", "Slc17a7"}
        assert {gene for gene, count in counts.items() if count == 3} == three
        assert {gene for gene, count in counts.items() if count == 2} == two
        assert len(counts) == 13

    def test_labels_follow_the_rule_over_the_passed_containers(self, real_containers: list[dict[str, Any]]) -> None:
        passed = sorted({c["specimen"]["donor"]["full_genotype"] for c in real_containers if not c["failed"]})
        for full in passed:
            number = 1 + [other for other in passed if gene_of(other) == gene_of(full)].index(full)
            assert GENOTYPES[full] == f"{gene_of(full)}-{number}"
        assert len(passed) == 22

    def test_failed_containers_add_rows_and_change_no_label(self, real_table: pd.DataFrame) -> None:
        passed = filter_experiments(real_table)
        everything = filter_experiments(real_table, include_failed=True)
        assert len(everything) == 506
        merged = passed.merge(everything, on="experiment_id")
        assert (merged["genotype_x"] == merged["genotype_y"]).all()
        assert everything["genotype"].nunique() == 24

    @pytest.mark.parametrize(
        ("filters", "columns"),
        [
            ({"area": "VISpm"}, {"targeted_structure": "VISpm"}),
            ({"cre_line": "Sst", "area": "VISp"}, {"targeted_structure": "VISp", "cre_line": "Sst-IRES-Cre"}),
            ({"depth_um": 175, "cre_line": "Vip"}, {"imaging_depth": 175, "cre_line": "Vip-IRES-Cre"}),
        ],
    )
    def test_counts_agree_with_the_flat_table(
        self,
        real_table: pd.DataFrame,
        real_csv: pd.DataFrame,
        filters: dict[str, Any],
        columns: dict[str, Any],
    ) -> None:
        rows = real_csv[(real_csv["session_type"] == "three_session_B") & ~real_csv["container_failed"]]
        for name, value in columns.items():
            rows = rows[rows[name] == value]
        listed = filter_experiments(real_table, **filters)
        assert set(listed["experiment_id"]) == set(rows["id"])
        assert len(listed) > 0

    def test_cre_lines_agree_with_the_flat_table(self, real_table: pd.DataFrame, real_csv: pd.DataFrame) -> None:
        both = real_table.merge(real_csv, left_on="experiment_id", right_on="id", suffixes=("", "_csv"))
        assert len(both) == len(real_table) == 1518
        assert (both["cre_line"] == both["cre_line_csv"]).all()

    @pytest.mark.parametrize(
        ("lines", "layer"),
        [(("Nr5a1", "Scnn1a", "Rorb"), "L4"), (("Rbp4", "Tlx3", "Fezf2"), "L5"), (("Ntsr1",), "L6")],
    )
    def test_lines_of_one_layer_fall_into_it(
        self, real_table: pd.DataFrame, lines: tuple[str, ...], layer: str
    ) -> None:
        assert set(filter_experiments(real_table, cre_line=lines)["cortical_layer"]) == {layer}

    def test_cux2_lies_in_the_upper_layers(self, real_table: pd.DataFrame) -> None:
        assert set(filter_experiments(real_table, cre_line="Cux2")["cortical_layer"]) == {"L2/3", "L4"}

    @pytest.mark.parametrize("session", ["three_session_A", "three_session_C", "three_session_C2"])
    def test_other_sessions(self, real_table: pd.DataFrame, session: str) -> None:
        assert set(filter_experiments(real_table, session_type=session)["session_type"]) == {session}

    def test_classes(self, real_table: pd.DataFrame) -> None:
        listed = filter_experiments(real_table, neuron_class="inhibitory")
        assert set(listed["cre_line"]) == {"Pvalb-IRES-Cre", "Sst-IRES-Cre", "Vip-IRES-Cre"}
        assert len(listed) == 21 + 49 + 50


@pytest.mark.parametrize(
    ("depth", "layer"),
    [
        (0, "L2/3"), (175, "L2/3"), (249.9, "L2/3"), (250, "L4"), (276, "L4"), (364, "L4"),
        (365, "L5"), (499, "L5"), (500, "L6"), (900, "L6"),
    ],
)  # fmt: skip
def test_layer_limits(depth: float, layer: str) -> None:
    assert cortical_layer(depth) == layer


@pytest.mark.parametrize("depth", [-1, float("nan"), "175", None])
def test_no_layer_without_a_depth(depth: Any) -> None:
    with pytest.raises(InputError, match="depth_um"):
        cortical_layer(depth)


@given(st.floats(0, 2000), st.floats(0, 2000))
def test_deeper_is_never_a_higher_layer(a: float, b: float) -> None:
    layers = ("L2/3", "L4", "L5", "L6")
    shallow, deep = sorted((a, b))
    assert layers.index(cortical_layer(shallow)) <= layers.index(cortical_layer(deep))


@given(st.sets(st.sampled_from(sorted(GENOTYPES)), min_size=1))
def test_labels_do_not_depend_on_the_subset(subset: set[str]) -> None:
    assert genotype_labels(subset) == {full: GENOTYPES[full] for full in subset}


def test_unknown_genotypes_are_numbered_after_the_known_ones() -> None:
    new = ["Cux2-CreERT2/wt;B/wt", "Cux2-CreERT2/wt;A/wt", "Calb1-Cre/wt;A/wt"]
    assert genotype_labels(new) == {new[0]: "Cux2-5", new[1]: "Cux2-4", new[2]: "Calb1-1"}


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("Sst-IRES-Cre;Ai148", "Sst-1"),
        ("Slc17a7-IRES2-Cre;Camk2a-tTA;Ai94", "Slc17a7-2"),
        ("Cux2-CreERT2;Camk2a-tTA;Ai93", "Cux2-?"),
    ],
)
def test_genotypes_without_zygosity(written: str, label: str) -> None:
    assert genotype_labels([written]) == {written: label}
    assert cre_line_of(written).startswith(label.split("-")[0])


@pytest.mark.parametrize("line", sorted(CRE_LINES))
def test_class_of_every_line(line: str) -> None:
    assert neuron_class_of(line) == CRE_LINES[line]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.pop("specimen"),
        lambda record: record.update(imaging_depth="deep"),
        lambda record: record.update(ophys_experiments=None),
        lambda record: record["targeted_structure"].clear(),
    ],
)
def test_records_of_another_kind(make_container: Any, spoil: Any) -> None:
    record = make_container(1, {2: "three_session_B"}, genotype="Sst/wt", area="VISp", depth_um=175)
    spoil(record)
    with pytest.raises(DataError, match="Record 0 of somewhere is not an Allen experiment container"):
        experiment_table([record], "somewhere")
