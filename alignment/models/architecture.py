"""Architectural similarity: networks' layer sequences aligned by Needleman–Wunsch (NeuRN, arXiv 2505.06881).

Scores are whole numbers: ``match`` for two equal symbols, ``mismatch`` for two different ones, ``gap`` for
a symbol opposite nothing. The papers' values, 1, -2 and -2, are the defaults; their heat map shows the
Pearson correlation of the score matrix's rows.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from alignment._validation import check_integer
from neural_alignment import InputError

__all__ = ["Alignment", "needleman_wunsch", "similarity_matrix"]

Symbols = str | Sequence[str]
# Letters that parasail is given in place of the symbols; "*" is its own.
_LETTERS = string.ascii_letters + string.digits + "!#$%&()+,./:;<=>?@[]^_{|}~"
_SMALL = 30_000  # beyond this a score could leave 16 bits


@dataclass(frozen=True, eq=False)
class Alignment:
    """Two sequences aligned end to end.

    Attributes
    ----------
    a, b : tuple of str
        The sequences.
    score : int
        Of the best alignment.
    matrix : ndarray (len(a) + 1, len(b) + 1) of int
        ``matrix[i, j]`` is the best score of the first i symbols of ``a`` with the first j of ``b``.
    match, mismatch, gap : int
        The scoring.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    score: int
    matrix: NDArray[np.int64]
    match: int
    mismatch: int
    gap: int

    @cached_property
    def traceback(self) -> NDArray[np.int64]:
        """Cells of ``matrix`` that the alignment passes, from (0, 0) to the end, (steps + 1, 2).

        Of equally good ways the one that pairs symbols latest in the sequences is taken, then the one that
        leaves out a symbol of ``a``.
        """
        i, j = len(self.a), len(self.b)
        cells = [(i, j)]
        while i or j:
            here = self.matrix[i, j]
            if i and j:
                paired = self.match if self.a[i - 1] == self.b[j - 1] else self.mismatch
                if here == self.matrix[i - 1, j - 1] + paired:
                    i, j = i - 1, j - 1
                    cells.append((i, j))
                    continue
            if i and here == self.matrix[i - 1, j] + self.gap:
                i -= 1
            else:
                j -= 1
            cells.append((i, j))
        return np.array(cells[::-1])

    @cached_property
    def pairs(self) -> list[tuple[str | None, str | None]]:
        """The symbols opposite each other; None where one stands opposite nothing."""
        steps = zip(self.traceback[:-1], self.traceback[1:], strict=True)
        return [(self.a[i] if after[0] > i else None, self.b[j] if after[1] > j else None) for (i, j), after in steps]

    @property
    def aligned(self) -> tuple[str, str]:
        """Both sequences as text of equal length, ``-`` for a gap; words are set apart by spaces."""
        wide = max((len(word) for word in (*self.a, *self.b)), default=1)
        between = " " if wide > 1 else ""
        one, other = (
            between.join(("-" if pair[side] is None else str(pair[side])).ljust(wide) for pair in self.pairs)
            for side in (0, 1)
        )
        return one, other

    @property
    def identity(self) -> float:
        """Share of the alignment's columns in which both symbols are equal."""
        return sum(one == other for one, other in self.pairs) / max(1, len(self.pairs))


def needleman_wunsch(a: Symbols, b: Symbols, match: int = 1, mismatch: int = -2, gap: int = -2) -> Alignment:
    """Align two sequences of symbols from end to end.

    Parameters
    ----------
    a, b : str or sequence of str
        Symbols, as :func:`~alignment.models.layer_symbols` writes them: a letter each, or words.
    match, mismatch, gap : int
        Scores of two equal symbols, of two different ones, and of each symbol opposite nothing.

    Returns
    -------
    Alignment
        With ``score``, ``aligned``, ``matrix`` and ``traceback``.

    Raises
    ------
    InputError
        An empty sequence, a score that is no whole number, or a gap above 0.

    References
    ----------
    Needleman and Wunsch 1970, J. Mol. Biol. 48:443; scoring of arXiv 2505.06881.

    Examples
    --------
    >>> found = needleman_wunsch("CCMCCM", "CCMCM")
    >>> found.score, found.aligned
    (3, ('CCMCCM', 'CCM-CM'))
    """
    match, mismatch, gap = _check_scores(match, mismatch, gap)
    one, other = _check_symbols(a, "a"), _check_symbols(b, "b")
    matrix = _bordered_table(one, other, match, mismatch, gap)
    return Alignment(one, other, int(matrix[-1, -1]), matrix, match, mismatch, gap)


def similarity_matrix(
    sequences: Mapping[str, Symbols], match: int = 1, mismatch: int = -2, gap: int = -2
) -> xr.Dataset:
    """Align every network with every other.

    Parameters
    ----------
    sequences : mapping of str to (str or sequence of str)
        Each network's symbols.
    match, mismatch, gap : int
        As of :func:`needleman_wunsch`.

    Returns
    -------
    xr.Dataset
        Over (model, other): ``score`` (int), ``correlation`` (Pearson, of the score matrix's rows: what the
        papers show) and ``normalised``, the score over what the longer sequence has with itself (at most
        1). Coordinate ``length``; the scoring and the sequences are in the attributes.

    Raises
    ------
    InputError
        Fewer than two networks, an empty sequence, or unfit scores.

    Examples
    --------
    >>> found = similarity_matrix({"vgg16": "CCMCCM", "vgg19": "CCMCCCM", "vit": "CLXLLXL"})
    >>> found["score"].sel(model="vgg16").values.tolist()
    [6, 4, -11]
    """
    match, mismatch, gap = _check_scores(match, mismatch, gap)
    if len(sequences) < 2:
        raise InputError(f"A similarity matrix needs at least two networks. Got {list(sequences)}: name more.")
    symbols = {name: _check_symbols(sequence, name) for name, sequence in sequences.items()}
    names = list(symbols)
    score = _all_scores(list(symbols.values()), match, mismatch, gap)
    lengths = np.array([len(sequence) for sequence in symbols.values()])
    longest = np.maximum.outer(lengths, lengths)
    dims = ("model", "other")
    return xr.Dataset(
        {
            "score": (dims, score),
            "correlation": (dims, _correlation(score)),
            "normalised": (dims, score / (max(match, 1) * longest)),
        },
        coords={"model": names, "other": names, "length": ("model", lengths)},
        attrs={
            "match": match,
            "mismatch": mismatch,
            "gap": gap,
            "symbols": {name: "".join(s) if max(map(len, s)) == 1 else " ".join(s) for name, s in symbols.items()},
        },
    )


def _all_scores(sequences: list[tuple[str, ...]], match: int, mismatch: int, gap: int) -> NDArray[np.int64]:
    import parasail

    count = len(sequences)
    score = np.zeros((count, count), dtype=np.int64)
    kinds = sorted({symbol for sequence in sequences for symbol in sequence})
    if len(kinds) <= len(_LETTERS) and gap < 0 and _fits(sequences, match, mismatch, gap):
        letter = dict(zip(kinds, _LETTERS, strict=False))
        texts = ["".join(letter[symbol] for symbol in sequence) for sequence in sequences]
        scoring = parasail.matrix_create(_LETTERS, match, mismatch, True)
        # The scan kernel: parasail's striped one misses scores when opening a gap costs what extending it
        # does.
        for i, text in enumerate(texts):
            for j in range(i, count):
                score[i, j] = parasail.nw_scan_16(text, texts[j], -gap, -gap, scoring).score
    else:
        for i in range(count):
            for j in range(i, count):
                score[i, j] = _bordered_table(sequences[i], sequences[j], match, mismatch, gap)[-1, -1]
    return np.asarray(np.triu(score) + np.triu(score, 1).T)


def _bordered_table(a: tuple[str, ...], b: tuple[str, ...], match: int, mismatch: int, gap: int) -> NDArray[np.int64]:
    """Return the score matrix with its borders of gaps."""
    # A symbol that only one of the two has matches nothing, so all of those can share a letter.
    shared = sorted(set(a) & set(b))
    table = np.empty((len(a) + 1, len(b) + 1), dtype=np.int64)
    table[0], table[:, 0] = gap * np.arange(len(b) + 1), gap * np.arange(len(a) + 1)
    if len(shared) + 2 <= len(_LETTERS) and gap < 0 and _fits([a, b], match, mismatch, gap):
        import parasail

        letter = dict(zip(shared, _LETTERS[2:], strict=False))
        one, other = ("".join(letter.get(s, none) for s in text) for text, none in ((a, "a"), (b, "b")))
        scoring = parasail.matrix_create(_LETTERS, match, mismatch, True)
        # The table lies in memory of the result: keep that until the numbers are copied.
        result = parasail.nw_table_scan_16(one, other, -gap, -gap, scoring)
        table[1:, 1:] = result.score_table
        return table
    number = {symbol: index for index, symbol in enumerate(sorted({*a, *b}))}
    columns = np.array([number[symbol] for symbol in b])
    slope = gap * np.arange(len(b) + 1)
    for i, symbol in enumerate(a):
        paired = table[i, :-1] + np.where(columns == number[symbol], match, mismatch)
        table[i + 1, 1:] = np.maximum(paired, table[i, 1:] + gap)
        # Gaps along the row: the best cell to the left, less a gap for every step, as one running maximum.
        table[i + 1] = np.maximum.accumulate(table[i + 1] - slope) + slope
    return table


def _fits(sequences: Sequence[Sequence[str]], match: int, mismatch: int, gap: int) -> bool:
    longest = max(map(len, sequences))
    return 2 * longest * max(abs(match), abs(mismatch), abs(gap)) < _SMALL


def _correlation(score: NDArray[np.int64]) -> NDArray[np.float64]:
    centred = score - score.mean(axis=1, keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=1))
    if not norm.all():
        return np.where(np.eye(len(score), dtype=bool), 1.0, np.nan)
    found = np.clip(centred @ centred.T / np.outer(norm, norm), -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found, dtype=np.float64)


def _check_scores(match: Any, mismatch: Any, gap: Any) -> tuple[int, int, int]:
    owner = "needleman_wunsch"
    return (
        check_integer(match, "match", owner),
        check_integer(mismatch, "mismatch", owner),
        check_integer(gap, "gap", owner, high=0),
    )


def _check_symbols(symbols: Symbols, name: str) -> tuple[str, ...]:
    found = tuple(symbols)
    if not found:
        raise InputError(f"The sequence of {name} is empty: it must hold at least one symbol to be aligned.")
    if not all(isinstance(symbol, str) for symbol in found):
        raise InputError(f"The sequence of {name} must be text or words. Got {found[:3]!r}.")
    return found
