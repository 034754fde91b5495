"""Alignment of layer sequences, and the matrices made from it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.models import architecture
from alignment.models.architecture import needleman_wunsch, similarity_matrix
from neural_alignment import InputError

VGG16, VGG19 = "CCMCCMCCCMCCCMCCCMLLL", "CCMCCMCCCCMCCCCMCCCCMLLL"
VGG11 = "CRMCRMCRCRMCRCRMCRCRMALRDLRDL"
LAST_ROW = (
    "-42 -39 -39 -36 -33 -33 -30 -27 -27 -24 -24 -21 -18 -18 -15 -15 -14 -13 -13 -10 -10 -9 -9 -6 -6 -8 -7 -9 -11 -10"
)

sequences = st.lists(st.sampled_from("CRMALDN"), min_size=1, max_size=18)
scorings = st.tuples(st.integers(-1, 4), st.integers(-4, 1), st.integers(-4, 0))


def _textbook(a, b, match: int, mismatch: int, gap: int) -> list[list[int]]:
    """The recursion as in a textbook, cell by cell."""
    table = [[gap * j for j in range(len(b) + 1)]]
    for i, one in enumerate(a, 1):
        row = [gap * i]
        for j, other in enumerate(b, 1):
            paired = table[i - 1][j - 1] + (match if one == other else mismatch)
            row.append(max(paired, table[i - 1][j] + gap, row[-1] + gap))
        table.append(row)
    return table


def test_the_published_scores_and_row_are_reproduced() -> None:
    assert needleman_wunsch(VGG16, VGG19).score == 15
    found = needleman_wunsch(VGG16, VGG11)
    assert found.score == -10
    assert " ".join(map(str, found.matrix[-1])) == LAST_ROW
    assert found.matrix[:, 0].tolist() == [-2 * i for i in range(22)]


@settings(deadline=None, max_examples=200)
@given(sequences, sequences, scorings)
def test_the_matrix_is_the_textbooks(a: list[str], b: list[str], scoring: tuple[int, int, int]) -> None:
    found = needleman_wunsch(a, b, *scoring)
    expected = _textbook(a, b, *scoring)
    np.testing.assert_array_equal(found.matrix, expected)
    assert found.score == expected[-1][-1]


@settings(deadline=None, max_examples=50)
@given(st.lists(sequences, min_size=2, max_size=4), scorings)
def test_every_pair_of_the_matrix_has_the_textbooks_score(many, scoring: tuple[int, int, int]) -> None:
    named = {f"m{index}": sequence for index, sequence in enumerate(many)}
    score = similarity_matrix(named, *scoring)["score"].values
    for i, j in itertools.product(range(len(many)), repeat=2):
        assert score[i, j] == _textbook(many[i], many[j], *scoring)[-1][-1]


@settings(deadline=None, max_examples=100)
@given(sequences, sequences, scorings)
def test_the_traceback_is_a_way_with_the_best_score(a, b, scoring: tuple[int, int, int]) -> None:
    match, mismatch, gap = scoring
    found = needleman_wunsch(a, b, *scoring)
    assert found.traceback[0].tolist() == [0, 0] and found.traceback[-1].tolist() == [len(a), len(b)]
    steps = np.diff(found.traceback, axis=0)
    assert steps.min() >= 0 and steps.max() == 1 and (steps.sum(axis=1) > 0).all()
    worth = [gap if None in pair else match if pair[0] == pair[1] else mismatch for pair in found.pairs]
    assert sum(worth) == found.score
    for side, sequence in ((0, a), (1, b)):
        assert [pair[side] for pair in found.pairs if pair[side] is not None] == sequence
        assert found.aligned[side].replace("-", "") == "".join(sequence)
    assert len(found.aligned[0]) == len(found.aligned[1])


@given(sequences, sequences)
def test_alignment_is_symmetric_and_a_sequence_is_most_like_itself(a: list[str], b: list[str]) -> None:
    score = needleman_wunsch(a, b).score
    assert score == needleman_wunsch(b, a).score
    assert needleman_wunsch(a, a).score == len(a)
    assert score <= min(len(a), len(b))


def test_biopython_gives_the_same_scores() -> None:
    align = pytest.importorskip("Bio.Align")
    peer = align.PairwiseAligner(
        mode="global", match_score=1, mismatch_score=-2, open_gap_score=-2, extend_gap_score=-2
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = ("".join(rng.choice(list("CRMALDN"), rng.integers(1, 300))) for _ in range(2))
        assert needleman_wunsch(a, b).score == peer.score(a, b)


def test_many_different_words_are_aligned_as_well() -> None:
    rng = np.random.default_rng(1)
    words = [f"C{kernel}w{width}" for kernel in range(20) for width in range(10)]
    a, b = (list(rng.choice(words, 400)) for _ in range(2))
    a[100:300] = words
    b[50:250] = words
    found = needleman_wunsch(a, b)
    np.testing.assert_array_equal(found.matrix, _textbook(a, b, 1, -2, -2))
    assert similarity_matrix({"a": a, "b": b})["score"].values[0, 1] == found.score


def test_scores_beyond_16_bits_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needleman_wunsch("C" * 400, "R" * 300, 1, -200, -100).score == -70_000
    assert similarity_matrix({"a": "C" * 400, "b": "R" * 300}, 1, -200, -100)["score"].values[0, 1] == -70_000


def test_words_are_set_apart_in_the_aligned_text() -> None:
    one, other = needleman_wunsch(("C3", "R", "M"), ("C3", "M")).aligned
    assert one.split() == ["C3", "R", "M"] and other.split() == ["C3", "-", "M"]
    assert len(one) == len(other)


def test_identity_is_the_share_of_equal_columns() -> None:
    assert needleman_wunsch("CCM", "CCM").identity == 1.0
    assert needleman_wunsch("CRM", "CM").identity == pytest.approx(2 / 3)


def test_the_matrix_has_scores_correlation_and_normalised_scores() -> None:
    named = {"vgg16": VGG16, "vgg19": VGG19, "vgg11": VGG11}
    found = similarity_matrix(named)
    assert found["score"].dtype.kind == "i"
    assert found["score"].sel(model="vgg16", other="vgg19") == 15
    np.testing.assert_allclose(found["correlation"], np.corrcoef(found["score"]), atol=1e-12)
    assert found["normalised"].sel(model="vgg16", other="vgg19") == pytest.approx(15 / 24)
    assert np.diag(found["normalised"]).tolist() == [1.0, 1.0, 1.0]
    assert found["length"].values.tolist() == [21, 24, 29]
    assert found.attrs["symbols"] == named and found.attrs["gap"] == -2


def test_a_correlation_that_is_not_defined_is_not_made_up() -> None:
    found = similarity_matrix({"a": "C", "b": "C"})
    assert np.isnan(found["correlation"].values[0, 1]) and found["correlation"].values[0, 0] == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: needleman_wunsch("", "C"), "sequence of a is empty"),
        (lambda: needleman_wunsch("C", []), "sequence of b is empty"),
        (lambda: needleman_wunsch([1, 2], "C"), "must be text or words"),
        (
            lambda: needleman_wunsch("C", "C", gap=1),
            "'gap' parameter of needleman_wunsch must be an integer ≤ 0",
        ),
        (lambda: needleman_wunsch("C", "C", match=0.5), "'match' parameter"),
        (lambda: similarity_matrix({"a": "C"}), "at least two networks"),
        (lambda: similarity_matrix({"a": "C", "b": ""}), "sequence of b is empty"),
    ],
)
def test_bad_input_is_told(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_both_ways_of_computing_a_table_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = needleman_wunsch(VGG16, VGG11).matrix
    monkeypatch.setattr(architecture, "_LETTERS", "")
    np.testing.assert_array_equal(needleman_wunsch(VGG16, VGG11).matrix, fast)
