"""The report's section on architectures: what stands there with many networks, few, and none that differ."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from alignment.models.architecture import similarity_matrix
from alignment.models.families import predict_gains
from reports.blocks import FigureBlock, Prose, TableBlock
from reports.data import ReportData
from reports.sections_architectures import architecture_section

NETWORKS = {
    "vgg16": "CCMCCMCCCM",
    "vgg19": "CCMCCMCCCCM",
    "vit": "CLXLLXLLXL",
    "resnet50": "CNRCNRCNRAL",
    "cornet": "CNRCNRCNRCNRAL",
}


def _data(report_data: ReportData, networks: dict[str, str], gains: dict[str, float]) -> ReportData:
    rows = [
        {"model": name, "layer_variant": variant, "source": "digits", "target": "svhn", "seed": seed, "accuracy": value}
        for name, gain in gains.items()
        for seed in (0, 1)
        for variant, value in (("baseline", 0.4), ("neurn", 0.4 + gain))
    ]
    transfer = pd.DataFrame(rows) if rows else None
    return dataclasses.replace(report_data, architectures=similarity_matrix(networks), transfer=transfer)


def _prose(data: ReportData) -> str:
    return " ".join(block.text for block in architecture_section(data).blocks if isinstance(block, Prose))


def test_the_mantel_test_of_gains_is_told_with_how_weak_the_test_is(report_data: ReportData) -> None:
    gains = {"vgg16": 0.10, "vgg19": 0.11, "vit": 0.3, "resnet50": 0.21, "cornet": 0.20}
    section = architecture_section(_data(report_data, NETWORKS, gains))
    assert [type(block) for block in section.blocks] == [FigureBlock, TableBlock, TableBlock, FigureBlock, Prose]
    said = _prose(_data(report_data, NETWORKS, gains))
    found = predict_gains(similarity_matrix(NETWORKS), gains)
    assert f"rank correlation {found.correlation:.2f}" in said and f"one-sided p = {found.p_value:.3f}" in said
    assert "n = 5 networks" in said and "only a strong relation can be seen" in said


def test_four_networks_can_show_next_to_nothing(report_data: ReportData) -> None:
    gains = {"vgg16": 0.10, "vgg19": 0.11, "vit": 0.3, "resnet50": 0.21}
    assert "p cannot fall below 0.042, which only the single best relabelling has" in _prose(
        _data(report_data, NETWORKS, gains)
    )


@pytest.mark.parametrize("gains", [{}, {"vgg16": 0.1, "vit": 0.2, "resnet50": 0.0}, {"elsewhere": 0.2}])
def test_too_few_networks_are_counted(report_data: ReportData, gains: dict[str, float]) -> None:
    here = len(set(gains) & set(NETWORKS))
    assert f"This study has {here} networks" in _prose(_data(report_data, NETWORKS, gains))


def test_equal_gains_are_no_test(report_data: ReportData) -> None:
    said = _prose(_data(report_data, NETWORKS, dict.fromkeys(NETWORKS, 0.1)))
    assert "The test cannot be made" in said or "must vary" in said


def test_networks_that_do_not_differ_have_no_correlation_and_say_so(report_data: ReportData) -> None:
    data = _data(report_data, {"one": "CNR", "other": "CNR"}, {})
    assert np.isnan(data.architectures["correlation"].values[0, 1])
    section = architecture_section(data)
    assert isinstance(section.blocks[0], FigureBlock)
    assert "cannot be correlated" in _prose(data)
    assert len(section.blocks) == 2


def test_a_study_without_architectures_says_so(report_data: ReportData) -> None:
    section = architecture_section(dataclasses.replace(report_data, architectures=None))
    assert [block.absent for block in section.blocks] == [True]


def test_the_most_alike_pair_that_differs_is_drawn(report_data: ReportData) -> None:
    networks = {"one": "CCMCCML", "same": "CCMCCML", "near": "CCMCCMLL", "far": "LDLDLDLDLDLDLD"}
    data = dataclasses.replace(report_data, architectures=similarity_matrix(networks))
    section = architecture_section(data)
    figures = [block for block in section.blocks if isinstance(block, FigureBlock)]
    assert len(figures) == 2
    assert "near" in figures[1].caption and "far" not in figures[1].caption
