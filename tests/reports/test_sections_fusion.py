"""The report's section on fusion: what stands there, with which warnings, and what the sentences say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports import ReportData
from reports.blocks import FigureBlock, Findings, TableBlock
from reports.figures_fusion import attention_figure, design_figure, encoder_figure
from reports.figures_fusion_scores import SHIFTED, ablation_figure, heat_figure, severity_figure, shown_variants
from reports.report import render_html
from reports.sections import build_sections
from reports.sections_fusion import ablation_tables, fusion_findings, fusion_sections


@pytest.fixture
def data(report_data: ReportData, make_fusion: Callable[..., dict[str, Any]]) -> ReportData:
    return dataclasses.replace(report_data, **make_fusion())


def said(data: ReportData) -> str:
    return " ".join(text for text, _ in fusion_findings(data))


def test_a_study_without_fusion_has_no_such_section(report_data: ReportData) -> None:
    gone = dict.fromkeys(("fusion", "fusion_seeds", "fusion_paired", "fusion_encoder", "fusion_design"))
    assert fusion_sections(dataclasses.replace(report_data, **gone, attention=())) == []


def test_a_study_of_fusion_alone_has_its_findings_among_the_key_findings(
    make_fusion: Callable[..., dict[str, Any]],
) -> None:
    told = {"name": "human", "title": "Fusion", "sentence": "One.", "simulated": False, "study_yaml": "", "command": ""}
    alone = ReportData(**told, **make_fusion())
    (block,) = build_sections(alone)[0].blocks
    assert isinstance(block, Findings) and list(block.items) == fusion_findings(alone)
    page = render_html(alone)
    assert "nothing to compare" not in page and "No neurons" not in page
    assert "fused with the observatory (SIMULATED)" in page


def test_the_section_holds_every_figure_and_table(data: ReportData) -> None:
    (section,) = fusion_sections(data)
    drawn = [block.name for block in section.blocks if isinstance(block, FigureBlock)]
    names = ("design", "encoder", "ablation", "severity", "heat", "attention")
    assert drawn == [f"fusion_{name}" for name in names]
    assert [block.csv for block in section.blocks if isinstance(block, TableBlock)] == [
        "fusion_encoder",
        "fusion_paired",
        "fusion_paired",
        "fusion",
    ]
    assert isinstance(section.blocks[0], Findings)


def test_an_encoder_worse_than_the_mean_is_a_caution_by_name(data: ReportData) -> None:
    cautions = [text for text, tone in fusion_findings(data) if tone == "caution"]
    assert any("In 1 of 3 regions" in text and "(VISam Vip)" in text for text in cautions)
    good = data.fusion_encoder.assign(worse_than_mean=False, r2=0.1)
    fine = dataclasses.replace(data, fusion_encoder=good)
    assert not any("worse than the" in text for text, _ in fusion_findings(fine))


def test_a_simulated_brain_is_said_so_in_words_and_on_every_figure(data: ReportData) -> None:
    drawings = [
        f(data)
        for f in (design_figure, encoder_figure, ablation_figure, severity_figure, heat_figure, attention_figure)
    ]
    assert all("SIMULATED" in [text.get_text() for text in one.figure.texts] for one in drawings)
    assert "SIMULATED" in said(data)
    real = dataclasses.replace(data, simulated=False, fusion_design={**data.fusion_design, "simulated": False})
    assert "SIMULATED" not in said(real)
    assert not any(text.get_text() == "SIMULATED" for text in design_figure(real).figure.texts)


def test_the_sentences_put_the_controls_beside(data: ReportData) -> None:
    told = said(data)
    means = data.fusion_seeds.set_index(["variant", "target"])["mean"]
    own, base = (100 * means[name, "cifar20"] for name in ("cross_attention", "image_only"))
    assert f"On cifar20 as it is, cross attention with predicted responses reaches {own:.1f} %" in told
    assert f"image only {base:.1f} %" in told and "q = 0.06" in told
    assert f"shuffled {100 * means['shuffled', SHIFTED]:.1f} %" in told and "projection" in told
    assert "mean held-out correlation over all units is 0.24" in told
    assert "could reach 0.57" in told and "2 cells were left out." in told


def test_without_ceilings_none_is_claimed(data: ReportData) -> None:
    bare = dataclasses.replace(data, fusion_encoder=data.fusion_encoder.assign(ceiling=np.nan))
    assert "could reach" not in said(bare)
    assert "no ceiling is drawn" in encoder_figure(bare).caption


def test_the_table_shows_each_head_once_with_its_difference(data: ReportData) -> None:
    table, shifted = ablation_tables(data)
    assert "over all shifted domains" in shifted.caption and len(shifted.rows) == len(table.rows)
    heads = [row[0].text for row in table.rows]
    assert heads == ["cross attention", "shuffled", "projection", "image only (reference)", "linear"]
    labels = [column.label for column in table.columns]
    place = labels.index("− reference, points")
    assert table.rows[3][place].text == "–"
    assert "[−2.0, +6.0]" in table.rows[0][place].text
    assert [row[1].text for row in table.rows][-2:] == ["the image alone"] * 2


def test_one_seed_has_no_interval_and_no_shift_no_panel(
    data: ReportData, make_fusion: Callable[..., dict[str, Any]]
) -> None:
    parts = make_fusion(seeds=1)
    paired = parts["fusion_paired"].assign(ci_low=np.nan, ci_high=np.nan, p=np.nan, q=np.nan)
    alone = dataclasses.replace(data, **{**parts, "fusion_paired": paired})
    assert "q =" not in said(alone)
    assert ablation_figure(alone) is not None and heat_figure(alone) is not None
    keep = {
        name: parts[name][parts[name]["target"] == "cifar20"] for name in ("fusion", "fusion_seeds", "fusion_paired")
    }
    unshifted = dataclasses.replace(data, **{**parts, **keep, "attention": []})
    assert severity_figure(unshifted) is None and attention_figure(unshifted) is None
    (section,) = fusion_sections(unshifted)
    assert "all shifted" not in " ".join(text for text, _ in section.blocks[0].items)


def test_lines_are_drawn_for_a_few_heads_with_the_reference_among_them(data: ReportData) -> None:
    assert shown_variants(data, most=3)[-1] == "image_only"
    assert len(shown_variants(data)) == 5


def test_many_regions_are_cut_to_the_best(data: ReportData) -> None:
    rows = pd.DataFrame({"roi": [f"R{i}" for i in range(60)], "units": 3, "r": np.linspace(0, 0.5, 60), "r2": 0.1})
    many = dataclasses.replace(
        data, fusion_encoder=rows.assign(worse_than_mean=False, neuron_class="", r_sd=0.1, ceiling=0.6)
    )
    assert "The best 48 of 60 regions" in encoder_figure(many).caption


def test_a_decoder_and_a_transformer_are_drawn_by_their_names(data: ReportData) -> None:
    other = dataclasses.replace(
        data, fusion_design={**data.fusion_design, "kind": "decoder", "has_cls": True, "encoder": "timm:vit_small"}
    )
    words = [text.get_text() for text in design_figure(other).figure.axes[0].texts]
    assert any("decoder" in word for word in words) and any("[CLS]\n128" in word for word in words)
    assert "transformer decoder" in design_figure(other).caption
