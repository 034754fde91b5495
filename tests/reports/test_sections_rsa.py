"""The section on dissimilarities: what it shows, says and leaves out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports import ReportData
from reports.figures_rsa import rsa_depth, rsa_differences, rsa_glance, rsa_map
from reports.findings_rsa import rsa_findings, rsa_sentences
from reports.sections_rsa import rsa_sections
from reports.style import to_svg
from reports.tables import export_tables
from reports.views_rsa import headline, row_label, shown_groups, twin_scores

POPULATIONS = ("VISp L2/3", "VISp L4", "VISal L5")
LEVELS = {"pixels": 0.08, "random": 0.2, "trained": 0.4}


def rows(family: str, groups: tuple[str, ...], summary: tuple[str, str]) -> dict[str, pd.DataFrame]:
    """Tables of pixels, a random network and a trained one, whose score NeuRN lowers by 0.1."""
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("rsa", "rsa_best", "rsa_differences", "rsa_twins")}
    for model, level in LEVELS.items():
        depth = 1 if model == "pixels" else 3
        for variant in ("baseline", "neurn"):
            for by, group in [*((family, name) for name in groups), summary]:
                front = {"model": model, "layer_variant": variant, "neurn": variant == "neurn"}
                front |= {"group_by": by, "group": group, "metric": "rsa_spearman", "n_scenes": 118}
                for layer in range(depth):
                    value = level - 0.1 * (variant == "neurn") - 0.05 * abs(layer - 1) * (depth > 1)
                    own = front | {"layer": f"block{layer}", "layer_index": layer, "value": value}
                    own |= {"ci_low": value - 0.06, "ci_high": value + 0.05, "p": 0.001, "q": 0.002, "null_high": 0.05}
                    tables["rsa"].append(own)
                    for seed in range(2 if depth > 1 else 0):
                        told = {name: own[name] for name in own if name not in ("ci_low", "ci_high", "p", "q")}
                        tables["rsa_twins"].append(told | {"seed": seed, "value": 0.2 - 0.05 * seed - 0.02 * layer})
                best = max(
                    (row for row in tables["rsa"] if all(row[name] == front[name] for name in front)),
                    key=lambda row: row["value"],
                )
                tables["rsa_best"].append(best | {"half_value": best["value"] - 0.02, "n_layers": depth})
                if variant == "neurn":
                    change = front | {"layer": "best", "layer_index": -1, "difference": -0.1, "half_difference": -0.09}
                    change |= {"baseline_value": level, "variant_value": level - 0.1, "ci_low": -0.15, "ci_high": -0.04}
                    tables["rsa_differences"].append(change | {"p": 0.002, "q": 0.01})
    return {name: pd.DataFrame(found) for name, found in tables.items()}


def report(**changes: Any) -> ReportData:
    values: dict[str, Any] = {"name": "rsms", "title": "RSA", "sentence": "One.", "simulated": False}
    values |= {"study_yaml": "", "command": ""}
    return ReportData(**{**values, **rows("area and layer", POPULATIONS, ("mean", "mean")), **changes})


@pytest.fixture(scope="module")
def data() -> ReportData:
    return report()


@pytest.fixture(scope="module")
def cells() -> ReportData:
    return report(**rows("area", ("VISp", "VISl"), ("all", "all")), simulated=True)


def words(data: ReportData) -> str:
    return " ".join(rsa_sentences(data))


class TestSentences:
    """What the numbers are said to say."""

    def test_pixels_twins_the_highest_and_the_difference(self, data: ReportData) -> None:
        said = words(data)
        assert "mean over 3 populations: the pixels themselves reach 0.08" in said
        assert "random weights range from 0.15 to 0.20" in said
        assert "The highest of the networks is trained (layer block1) with 0.40 (0.34 to 0.45)" in said
        assert "its best layer reaches 0.38" in said
        assert "trained −0.10 (−0.15 to −0.04)" in said and "Intervals that exclude zero: 3 of 3." in said

    def test_a_network_above_its_twins_is_told_from_one_that_is_its_own(self, data: ReportData) -> None:
        # The twins of "random" hold its own value, as those of a network that was never trained do.
        assert "Above every one of their own random twins: trained." in words(data)
        assert "Not above" not in words(data)

    def test_a_trained_network_that_is_not_above_is_said_so(self) -> None:
        best = report().rsa_best
        assert best is not None
        low = best.assign(value=best["value"].where(best["model"] != "trained", 0.11))
        assert "Not above all of their own random twins: trained." in words(report(rsa_best=low))

    def test_of_cells_it_is_all_cells(self, cells: ReportData) -> None:
        assert headline(cells) == ("all", "all") and "all cells: the pixels" in words(cells)

    def test_findings_are_two(self, data: ReportData) -> None:
        assert len(rsa_findings(data)) == 2
        assert rsa_findings(report(rsa=None, rsa_best=None, rsa_differences=None, rsa_twins=None)) == []

    def test_without_numbers_nothing_is_claimed(self) -> None:
        best = report().rsa_best
        assert best is not None
        nothing = report(rsa_best=best.assign(value=np.nan, half_value=np.nan), rsa_differences=None, rsa_twins=None)
        assert words(nothing) == ""


class TestSection:
    """Its blocks, by the study's parts."""

    def test_every_block_is_there(self, data: ReportData) -> None:
        (section,) = rsa_sections(data)
        kinds = [block.kind for block in section.blocks]
        assert kinds.count("table") == 2 and kinds.count("figure") == 5
        best, differences = (block for block in section.blocks if block.kind == "table")
        assert len(best.rows) == 6 and len(differences.rows) == 3
        texts = [cell.text for cell in best.rows[4]]
        assert texts[0] == "trained" and "0.400" in texts and "0.175 (0.150 to 0.200)" in texts

    def test_counts_of_populations_leave_the_mean_out(self, data: ReportData) -> None:
        differences = [block for block in rsa_sections(data)[0].blocks if block.kind == "table"][1]
        assert {row[-1].text for row in differences.rows} == {"0, 3 of 3"}

    def test_a_study_without_dissimilarities_has_no_section(self) -> None:
        assert rsa_sections(report(rsa=None, rsa_best=None, rsa_differences=None, rsa_twins=None)) == []

    def test_only_a_baseline_has_no_difference_and_says_so(self) -> None:
        (section,) = rsa_sections(report(rsa_differences=None))
        absent = [block.text for block in section.blocks if block.kind == "prose" and block.absent]
        assert absent == ["No layer variant stands beside a baseline in this study."]

    def test_matrices_say_that_no_ceiling_is_known(self, data: ReportData, cells: ReportData) -> None:
        last = [rsa_sections(one)[0].blocks[-1].text for one in (data, cells)]
        assert "no noise ceiling can be computed" in last[0] and "no noise ceiling" not in last[1]

    def test_cka_stands_beside_where_responses_are_known(self) -> None:
        tables = rows("area", ("VISp",), ("all", "all"))
        tables["rsa"] = pd.concat([tables["rsa"], tables["rsa"].assign(metric="cka", value=0.77)])
        table = next(block for block in rsa_sections(report(**tables))[0].blocks if block.kind == "table")
        assert "CKA, best" in [column.label for column in table.columns]
        assert {row[-1].text for row in table.rows} == {"0.770"}


class TestFigures:
    """Drawn, marked and named."""

    def test_simulated_cells_are_marked_and_real_ones_are_not(self, data: ReportData, cells: ReportData) -> None:
        for draw in (rsa_glance, rsa_map, rsa_differences, lambda one: rsa_depth(one)[0]):
            marked = [any(t.get_text() == "SIMULATED" for t in draw(one).figure.texts) for one in (data, cells)]
            assert marked == [False, True]

    def test_the_map_prints_every_number_and_marks_the_clear_ones(self, data: ReportData) -> None:
        axes = rsa_map(data).figure.axes[0]
        printed = [text.get_text() for text in axes.texts]
        assert len(printed) == 6 * 4 and printed.count("0.40") == 4
        assert {text.get_fontweight() for text in axes.texts} == {"bold"}
        assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["pixels", "pixels, NeuRN"]

    def test_depth_is_drawn_of_networks_with_depth(self, data: ReportData) -> None:
        drawings = rsa_depth(data)
        assert [drawing.name for drawing in drawings] == ["rsa_depth_1", "rsa_depth_2"]
        titles = [axes.get_title(loc="left") for axes in drawings[0].figure.axes if axes.get_visible()]
        assert titles == [*POPULATIONS, "mean of all"]

    def test_rings_are_the_twins(self, data: ReportData) -> None:
        lines = rsa_glance(data).figure.axes[0].lines
        rings = [line for line in lines if line.get_markerfacecolor() == "none"]
        assert sorted({round(float(x), 2) for line in rings for x in line.get_xdata()}) == [0.15, 0.2]

    def test_the_same_data_give_the_same_bytes(self, data: ReportData) -> None:
        assert to_svg(rsa_glance(data).figure) == to_svg(rsa_glance(data).figure)

    def test_nothing_is_drawn_of_nothing(self) -> None:
        empty = report(rsa=None, rsa_best=None, rsa_differences=None, rsa_twins=None)
        assert rsa_glance(empty) is rsa_map(empty) is rsa_differences(empty) is None and rsa_depth(empty) == []


class TestViews:
    """Groups, twins and labels."""

    def test_many_groups_leave_the_last_families_to_the_table(self) -> None:
        many = report(**rows("area", tuple(f"VIS{k}" for k in range(20)), ("all", "all")))
        assert shown_groups(many) == [("all", "all")]

    def test_the_summary_can_be_left_out(self, data: ReportData) -> None:
        assert shown_groups(data)[-1] == ("mean", "mean")
        assert [group for _, group in shown_groups(data, summary=False)] == list(POPULATIONS)

    def test_a_twin_scores_with_its_best_layer(self, data: ReportData) -> None:
        found = twin_scores(data)
        assert found[(found["seed"] == 0)]["value"].unique().tolist() == [0.2]
        assert len(found) == 2 * 2 * 2 * 4

    @pytest.mark.parametrize(("variant", "label"), [("baseline", "net"), ("neurn", "net, NeuRN"), ("x", "net, x")])
    def test_labels(self, variant: str, label: str) -> None:
        assert row_label("net", variant) == label


def test_tables_say_where_their_neurons_come_from(tmp_path: Any, data: ReportData, cells: ReportData) -> None:
    """Of matrices alone only the declared origin is known; of cells, whether they are simulated."""
    declared = dataclasses.replace(data, origin="Matrices of ours, CC BY.")
    for one, column, value in ((declared, "origin", "Matrices of ours, CC BY."), (cells, "simulated", True)):
        written = {path.stem: path for path in export_tables(one, tmp_path / column) if path.suffix == ".csv"}
        for name in ("rsa", "rsa_best", "rsa_differences", "rsa_twins"):
            assert (pd.read_csv(written[name])[column] == value).all()
