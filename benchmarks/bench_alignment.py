"""Architectural similarity: 44 networks as symbols, and every pair of them aligned."""

from __future__ import annotations

import time

import numpy as np

from alignment.models import list_models
from alignment.models.architecture import similarity_matrix
from alignment.models.symbols import trace_layers, write_symbols
from benchmarks.harness import Bench


def bench_alignment(bench: Bench) -> None:
    """Align all pairs of the papers' networks by Needleman-Wunsch."""
    names = list_models(papers_only=True)
    names = names[11:14] if bench.quick else names
    start = time.perf_counter()
    traces = {name: trace_layers(name) for name in names}
    traced = time.perf_counter() - start
    sequences = {name: str(write_symbols(trace)) for name, trace in traces.items()}
    words = {name: write_symbols(trace, "detailed") for name, trace in traces.items()}
    texts = list(sequences.values())
    bench.note(networks=len(names), symbols=sum(map(len, texts)), longest=max(map(len, texts)))
    bench.value(f"{len(names)} networks built and traced, once", traced, unit="s", at_most=120)

    bench.ours("all pairs, letters", lambda: similarity_matrix(sequences))
    bench.ours("all pairs, words", lambda: similarity_matrix(words))
    bench.peer("Biopython", lambda: _biopython(texts), repeats=3)
    # A tenth of each sequence is a hundredth of the work: all of it would take minutes.
    part = [text[: max(1, len(text) // 10)] for text in texts]
    bench.peer("pure Python, a tenth of each sequence", lambda: _python(part), repeats=3)
    bench.limit("parasail alone", lambda: _parasail(texts))
    bench.seconds("all pairs, letters", at_most=1.0)
    bench.seconds("all pairs, words", at_most=1.0)
    bench.within("all pairs, letters", of="parasail alone")
    bench.faster("all pairs, letters", than="Biopython")
    ours = similarity_matrix(sequences)["score"].values
    upper = np.triu_indices(len(names))
    bench.value("scores unlike Biopython's", float((ours[upper] != _biopython(texts)).sum()), at_most=0)


def _biopython(texts: list[str]) -> np.ndarray:
    from Bio.Align import PairwiseAligner

    aligner = PairwiseAligner(mode="global", match_score=1, mismatch_score=-2, open_gap_score=-2, extend_gap_score=-2)
    return np.array([aligner.score(a, b) for i, a in enumerate(texts) for b in texts[i:]])


def _parasail(texts: list[str]) -> list[int]:
    import parasail

    scoring = parasail.matrix_create("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 1, -2)
    return [parasail.nw_scan_16(a, b, 2, 2, scoring).score for i, a in enumerate(texts) for b in texts[i:]]


def _python(texts: list[str]) -> list[int]:
    return [_score(a, b) for i, a in enumerate(texts) for b in texts[i:]]


def _score(a: str, b: str) -> int:
    row = [-2 * j for j in range(len(b) + 1)]
    for i, one in enumerate(a, 1):
        before, row[0] = row[0], -2 * i
        for j, other in enumerate(b, 1):
            best = max(before + (1 if one == other else -2), row[j] - 2, row[j - 1] - 2)
            before, row[j] = row[j], best
    return row[-1]
