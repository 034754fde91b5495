"""Sentences on representational similarity: pixels, random networks, the best network, and each difference."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .data import ReportData
from .style import variant_label
from .views_rsa import PIXELS, headline, pixel_scores, row_label, shown_groups, spearman, twin_scores

__all__ = ["interval_of", "rsa_findings", "rsa_sentences"]


def rsa_findings(data: ReportData) -> list[str]:
    """Return what stands among the key findings: the best network, what undoes it, the changes; none without scores."""
    if not data.has("rsa_best"):
        return []
    sentences = rsa_sentences(data)
    changes = [sentence for sentence in sentences if " in front changes the score by" in sentence]
    own = [sentence for sentence in changes if sentence.startswith("NeuRN")]
    scores = " ".join(sentence for sentence in sentences if sentence not in changes)
    return [f"Dissimilarities of scenes (RSA). {sentence}" for sentence in (scores, *own) if sentence]


def rsa_sentences(data: ReportData) -> list[str]:
    """Say what the numbers say: pixels, random networks, the best network, and each difference.

    Parameters
    ----------
    data : ReportData
        Uses ``rsa_best``, ``rsa_differences`` and ``rsa_twins``.

    Returns
    -------
    list of str
        Sentences with values, intervals and p, of the group that sums all up.
    """
    by, group = headline(data)
    best = spearman(data, "rsa_best")
    best = best[(best["group_by"] == by) & (best["group"] == group) & (best["model"] != PIXELS)]
    over = f"mean over {len(shown_groups(data, summary=False))} populations" if by == "mean" else "all cells"
    said = []
    pixels = float(pixel_scores(data).get((by, group), np.nan))
    if np.isfinite(pixels):
        said.append(f"Spearman correlations of dissimilarities, {over}: the pixels themselves reach {pixels:.2f}.")
    said += _twin_sentence(data, best)
    known = best.dropna(subset=["value"])
    if len(known):
        row = known.loc[known["value"].idxmax()]
        said.append(
            f"The highest of the networks is {row_label(row['model'], row['layer_variant'])} (layer {row['layer']}) "
            f"with {row['value']:.2f} {interval_of(row)}; chosen on half of the scenes and scored on the other half, "
            f"its best layer reaches {row['half_value']:.2f}."
        )
    said += _difference_sentences(data)
    return [sentence.replace("-0.", "−0.") for sentence in said]


def _twin_sentence(data: ReportData, best: pd.DataFrame) -> list[str]:
    by, group = headline(data)
    twins = twin_scores(data)
    twins = twins[(twins["group_by"] == by) & (twins["group"] == group) & (twins["layer_variant"] == "baseline")]
    if twins.empty:
        return []
    above, below = [], []
    for model, own in twins.groupby("model", sort=False):
        row = best[(best["model"] == model) & (best["layer_variant"] == "baseline")]
        own_value = float(row["value"].iloc[0]) if len(row) else np.nan
        # A network that is random itself is one of its twins.
        if np.isfinite(own_value) and not np.isclose(own["value"], own_value, atol=1e-12).any():
            (above if own_value > own["value"].max() else below).append(str(model))
    low, high = twins["value"].min(), twins["value"].max()
    said = [f"Networks with random weights range from {low:.2f} to {high:.2f}, by architecture and seed."]
    if above:
        said.append(f"Above every one of their own random twins: {', '.join(above)}.")
    if below:
        said.append(f"Not above all of their own random twins: {', '.join(below)}.")
    return said


def _difference_sentences(data: ReportData) -> list[str]:
    by, group = headline(data)
    table = spearman(data, "rsa_differences")
    table = table[(table["layer"] == "best") & (table["group_by"] == by) & (table["group"] == group)]
    said = []
    for variant, own in table.dropna(subset=["difference"]).groupby("layer_variant", sort=False):
        parts = [f"{row['model']} {row['difference']:+.2f} {interval_of(row)}" for _, row in own.iterrows()]
        clear = int(((own["ci_low"] > 0) | (own["ci_high"] < 0)).sum())
        said.append(
            f"{variant_label(str(variant))} in front changes the score by: {'; '.join(parts)}. Intervals that exclude "
            f"zero: {clear} of {len(own)}."
        )
    return said


def interval_of(row: pd.Series, digits: int = 2) -> str:
    """Write a row's interval in brackets."""
    if not (np.isfinite(row["ci_low"]) and np.isfinite(row["ci_high"])):
        return "(no interval)"
    return f"({row['ci_low']:.{digits}f} to {row['ci_high']:.{digits}f})".replace("-", "−")
