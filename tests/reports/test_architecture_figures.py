"""Figures of architectural similarity: what is drawn is what was computed."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.models.architecture import needleman_wunsch, similarity_matrix
from alignment.models.families import cluster
from neural_alignment import InputError
from reports.architecture_figures import architecture_map, architecture_pair
from reports.style import to_svg

NETWORKS = {"vgg16": "CCMCCMCCCM", "vgg19": "CCMCCMCCCCM", "vit": "CLXLLXLLXL", "price $x^2$": "CNRCNRCNR"}


@pytest.fixture(scope="module")
def similarity():
    return similarity_matrix(NETWORKS)


def _texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_the_map_shows_all_networks_in_the_order_of_the_tree(similarity) -> None:
    clustering = cluster(similarity)
    drawing = architecture_map(similarity, clustering, {"vgg16"})
    tree, heat = drawing.figure.axes[:2]
    labels = [label.get_text() for label in heat.get_yticklabels()]
    assert labels == list(clustering.order) == [label.get_text() for label in heat.get_xticklabels()]
    shown = np.asarray(heat.images[0].get_array())
    expected = similarity["correlation"].sel(model=labels, other=labels).values
    np.testing.assert_allclose(shown, expected)
    assert len(tree.collections) >= 1
    bold = [label.get_text() for label in heat.get_yticklabels() if label.get_fontweight() == "bold"]
    assert bold == ["vgg16"]
    assert "n = 4 networks" in drawing.caption and "In bold: the 1" in drawing.caption
    assert all(name in drawing.alt for name in NETWORKS)


@pytest.mark.parametrize(("variable", "limit"), [("correlation", 1.0), ("normalised", 1.0), ("score", 14.0)])
def test_the_colours_span_the_values_and_none_is_the_middle(similarity, variable: str, limit: float) -> None:
    image = architecture_map(similarity, cluster(similarity), variable=variable).figure.axes[1].images[0]
    low, high = image.get_clim()
    assert low == -high
    assert high >= np.abs(similarity[variable].values).max() - 1e-9
    assert variable == "score" or (high <= 2.5 and limit == 1.0)


def test_an_unknown_variable_is_told(similarity) -> None:
    with pytest.raises(InputError, match="Did you mean 'correlation'"):
        architecture_map(similarity, cluster(similarity), variable="corelation")


def test_a_pair_shows_every_layer_every_score_and_the_way() -> None:
    alignment = needleman_wunsch("CCMCCM", "CRMCM")
    drawing = architecture_pair(("vgg16", "vgg11"), alignment)
    strips, matrix = drawing.figure.axes
    letters = [text for text in _texts(strips) if text not in ("vgg16", "vgg11")]
    assert len(letters) == 2 * len(alignment.pairs)
    assert letters[0::2] == [one or "–" for one, _ in alignment.pairs]
    assert letters[1::2] == [other or "–" for _, other in alignment.pairs]
    assert _texts(matrix) == [str(value) for value in alignment.matrix.ravel()]
    bold = [text for text in matrix.texts if text.get_fontweight() == "bold"]
    assert {(int(t.get_position()[1]), int(t.get_position()[0])) for t in bold} == set(
        map(tuple, alignment.traceback.tolist())
    )
    assert len(matrix.patches) == len(alignment.traceback)
    assert f"score {alignment.score}" in drawing.caption


def test_long_sequences_and_words_are_drawn_without_numbers() -> None:
    drawing = architecture_pair(("a", "b"), needleman_wunsch("CNR" * 40, "CNRR" * 25))
    strips, matrix = drawing.figure.axes
    assert _texts(matrix) == [] and len(matrix.lines) == 1
    assert len({text.get_position()[1] for text in strips.texts}) >= 8  # several lines of two rows each
    words = architecture_pair(("a", "b"), needleman_wunsch(("C3/1w6", "R"), ("C3/2w6", "R")))
    assert "C3/1w6" in _texts(words.figure.axes[0])


def test_equal_figures_have_equal_bytes(similarity) -> None:
    one, two = (to_svg(architecture_map(similarity, cluster(similarity)).figure) for _ in range(2))
    assert one == two and b"<svg" in one
