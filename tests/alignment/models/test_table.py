"""The zoo's table: the page in docs holds what the registry says, and what differs from the papers says how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alignment.models import entry, list_models, table
from alignment.models.table import count_parameters, describe_models, markdown_table

PAPERS = list_models(papers_only=True)
OTHERS = [name for name in list_models() if name not in PAPERS]

# Networks that are the published ones, with the number of weights their authors' or libraries' versions have
# (Keras's less the statistics of its norms, U-Net's with one output); every other one carries a note.
EXACT = {
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11": 132_863_336,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "googlenet": 6_624_904,
    "inception_v3": 23_834_568,
    "fcn_resnet101": 52_451_368,
    "u-net": 7_763_041 + 999 * 33,
    "ghostnet": 5_182_508,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "vit_tiny": 5_717_416,
    "mobilenetv1_025": 470_072,
}
OURS = {"small_cnn", "spos_shufflenet", "autoformer_tiny", "autoformer_small", "autoformer_base"}


def page_tables() -> dict[str, str]:
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"<!-- (papers|others) -->\n(.*?)<!-- /\1 -->", page, flags=re.DOTALL))
    assert set(found) == {"papers", "others"}
    return found


def without_parameters(markdown: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in markdown.strip().splitlines()]
    return [row[:2] + row[3:] for row in rows]


def test_the_page_holds_what_the_registry_says(monkeypatch):
    monkeypatch.setattr(table, "count_parameters", lambda name: 0)
    page = page_tables()
    for which, names in (("papers", PAPERS), ("others", OTHERS)):
        assert without_parameters(page[which]) == without_parameters(markdown_table(names))


@pytest.mark.slow
def test_the_page_holds_the_numbers_of_parameters():
    assert page_tables() == {"papers": markdown_table(PAPERS), "others": markdown_table(OTHERS)}


def test_every_stand_in_carries_a_note():
    assert {name for name in list_models() if not entry(name).stand_in} == set(EXACT) | OURS
    for name in set(PAPERS) - set(EXACT):
        assert len(entry(name).stand_in.split()) >= 3, "a note is to say how it differs, or what is left open"


@pytest.mark.parametrize("name", ["vgg16", "densenet121", "efficientnet_b0", "ghostnet", "u-net", "vit_tiny"])
def test_what_has_no_note_has_the_published_size(name):
    assert count_parameters(name) == EXACT[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_all_without_a_note_have_the_published_size(name):
    assert count_parameters(name) == EXACT[name]


def test_rows_say_where_from_and_which_sizes():
    rows = {row.name: row for row in describe_models(["cornet", "vit_tiny", "squeezenet"])}
    assert rows["cornet"].source == "ours:cornet_s"
    assert rows["vit_tiny"].sizes == "≥ 32, a multiple of 4; another form below 64"
    assert "patches of 4 pixels" in rows["vit_tiny"].small_form
    assert "do not say which" in rows["squeezenet"].note
