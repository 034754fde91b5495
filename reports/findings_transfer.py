"""Sentences on domain transfer: direction, size, interval and q, target by target, and what does better than NeuRN."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alignment.transfer import correlate_gains

from .data import ReportData
from .views import transfer_differences, transfer_summary
from .views_transfer import (
    GAIN_METRICS,
    condition_labels,
    gains,
    ordered_conditions,
    with_condition,
)
from .words import interval, signed

__all__ = ["say_features", "transfer_findings"]

_LISTED = 8


def transfer_findings(data: ReportData) -> list[str]:
    """Write the findings on domain transfer.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer``, ``transfer_overall`` and, for the link to alignment, ``similarity``.

    Returns
    -------
    list of str
        Sentences; none where NeuRN has no baseline beside it.
    """
    if not data.has("transfer"):
        return []
    return [*_overall(data), *_by_target(data), *_ranking(data), *_better(data), *_link(data)]


def _overall(data: ReportData) -> list[str]:
    """Say what NeuRN changes on unseen domains and within the source's own, over all plain trainings."""
    runs = transfer_differences(data)
    if runs.empty:
        return []
    sentences = []
    away = runs[runs["source"] != runs["target"]]
    if len(away):
        models, targets = away["model"].nunique(), away[["source", "target"]].drop_duplicates().shape[0]
        sentences.append(
            "On domains never trained on (real images), accuracy goes from "
            f"{100 * away['baseline'].mean():.1f} % without to {100 * away['variant'].mean():.1f} % with "
            f"NeuRN: {signed(100 * away['difference'].mean(), 1)} points{_over_seeds(away)}, mean over "
            f"{models} model{'s' * (models != 1)} and {targets} source–target pair{'s' * (targets != 1)}; "
            f"{int((away['difference'] > 0).sum())} of {len(away)} paired runs are higher, from "
            f"{signed(100 * away['difference'].min(), 1)} to {signed(100 * away['difference'].max(), 1)} "
            "points."
        )
        worst = away.groupby(["source", "target"], sort=False)["difference"].mean()
        if worst.min() < 0:
            source, target = worst.idxmin()
            sentences.append(
                f"NeuRN lowers accuracy on average for {source} → {target}: {signed(100 * worst.min(), 1)} "
                "points, mean over models and seeds."
            )
    home = runs[runs["source"] == runs["target"]]
    if len(home):
        sentences.append(
            "Within the source domain NeuRN changes accuracy by "
            f"{signed(100 * home['difference'].mean(), 1)} points{_over_seeds(home)} (from "
            f"{100 * home['baseline'].mean():.1f} %)."
        )
    return sentences


def _over_seeds(runs: pd.DataFrame) -> str:
    """Return a 95 % t interval over the seeds' mean differences: seeds are what was repeated."""
    means = 100 * runs.groupby("seed")["difference"].mean()
    if len(means) < 2:
        return " (one seed, so no interval)"
    from scipy.stats import t

    half = float(t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return f"{_interval(means.mean() - half, means.mean() + half, 1)} (95 % over {len(means)} seeds)"


def _interval(low: float, high: float, digits: int) -> str:
    written = interval(low, high, lambda value: signed(value, digits))
    return f" {written}" if written else ""


def _unseen(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    rows = with_condition(table[table["reference"] == reference])
    return rows[rows["source"] != rows["target"]]


def _by_target(data: ReportData) -> list[str]:
    """Say NeuRN minus baseline for each unseen target, mean over models."""
    table = _unseen(data.table("transfer_overall"), "baseline")
    table = table[table["condition"] == "neurn"]
    if table.empty:
        return []
    listed = table.reindex(table["difference"].abs().sort_values(ascending=False, kind="stable").index)[:_LISTED]
    parts = [
        f"{row.source} → {row.target} {signed(100 * row.difference, 1)}"
        f"{_interval(100 * row.ci_low, 100 * row.ci_high, 1)}" + (f", q = {row.q:.3f}" if np.isfinite(row.q) else "")
        for row in listed.itertuples()
    ]
    rest = "" if len(table) <= _LISTED else f" (the {_LISTED} largest of {len(table)})"
    models, seeds = int(table["models"].max()), int(table["seeds"].max())
    known = table["q"].notna().any()
    how = (
        f"95 % interval over {seeds} seeds, q over all layers, methods and transfers"
        if known
        else "one seed, no interval"
    )
    sentence = (
        f"NeuRN minus baseline by target, in points{rest}, mean over {models} model{'s' * (models != 1)} ({how}): "
        f"{'; '.join(parts)}."
    )
    if known:
        clear = table["q"] < 0.05
        above, below = int((clear & (table["difference"] > 0)).sum()), int((clear & (table["difference"] < 0)).sum())
        sentence += (
            f" At q < 0.05 {above} of {len(table)} transfers are higher, {below} lower and "
            f"{len(table) - above - below} undecided."
        )
    return [sentence]


def _ranking(data: ReportData) -> list[str]:
    """Rank layers and methods over the transfers that all of them were tried on."""
    summary = with_condition(transfer_summary(data))
    away = summary[summary["source"] != summary["target"]]
    if len(ordered_conditions(away)) < 3:
        return []
    # Only what every layer was tried on, so that no layer is ahead because it met easier targets.
    wide = away.pivot_table(index=["model", "source", "target"], columns="condition", values="mean").dropna()
    if wide.empty:
        return []
    labels, means = condition_labels(data), (100 * wide.mean()).sort_values(ascending=False)
    ranked = ", ".join(f"{labels[str(name)]} {value:.1f} %" for name, value in means.items())
    return [
        f"All layers and methods on unseen domains, mean over the {len(wide)} combinations of model, source and target "
        f"that have them all: {ranked}."
    ]


def _better(data: ReportData) -> list[str]:
    """Say which layers and methods lie above NeuRN, in how many transfers, and how surely."""
    table = _unseen(data.table("transfer_overall"), "neurn")
    table = table[table["condition"] != "baseline"]
    if table.empty:
        return []
    labels, ahead, behind = condition_labels(data), [], []
    means = table.groupby("condition")["difference"].mean().sort_values(ascending=False)
    for name, mean in means.items():
        own = table[table["condition"] == name]
        higher, clear = own["difference"] > 0, own["q"] < 0.05
        if mean <= 0 and not higher.any():
            behind.append(labels[str(name)])
            continue
        sure = f", at q < 0.05 in {int((higher & clear).sum())}" if own["q"].notna().any() else ""
        ahead.append(
            f"{labels[str(name)]} {signed(100 * mean, 1)} points on average, higher in {int(higher.sum())} of "
            f"{len(own)} transfers{sure}"
        )
    said = f"Against NeuRN on unseen domains: {'; '.join(ahead)}." if ahead else ""
    below = f"Below NeuRN on every unseen domain: {'; '.join(behind)}." if behind else ""
    return [f"{said} {below}".strip()]


def _link(data: ReportData) -> list[str]:
    """Say whether networks that gain in alignment gain in transfer, as far as their number allows."""
    table = gains(data)
    if len(table) < 2:
        return []
    parts = []
    for metric, label in GAIN_METRICS:
        if metric in table:
            link = correlate_gains(table[metric], table["transfer"])
            if np.isfinite(link.rho):
                parts.append(f"{label} ρ = {signed(link.rho, 2)}{_interval(link.ci_low, link.ci_high, 2)}")
    if not parts:
        return []
    few = not np.isfinite(link.ci_low)
    tail = f"; {link.note}, and so few say nothing of a relation" if few else " (95 % bootstrap over networks)"
    return [
        f"Gain in transfer against gain in alignment over n = {len(table)} networks, Spearman: {'; '.join(parts)}"
        f"{tail}."
    ]


def say_features(data: ReportData) -> list[str]:
    """Say what the distances inside the networks allow to read.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer_features`` and ``transfer``.

    Returns
    -------
    list of str
        Sentences; none without both the baseline and NeuRN.
    """
    features = with_condition(data.table("transfer_features"))
    features = features.assign(distance=pd.to_numeric(features["distance"], errors="coerce"))
    features = features[features["condition"].isin(["baseline", "neurn"]) & np.isfinite(features["distance"])]
    keys = ["model", "source", "target"]
    # The layer before the classifier: what the classes are read from.
    order = features["layer_index"] - features.groupby([*keys, "condition"])["layer_index"].transform("max")
    first = _both(features[features["layer_index"] == 0], keys)
    last = _both(features[order == -1], keys)
    if first.empty or last.empty:
        return []
    said = (
        "Mean over models and transfers, source and target lie "
        f"{first['baseline'].mean():.2f} apart in the pixels without and {first['neurn'].mean():.2f} after NeuRN, and "
        f"{last['baseline'].mean():.2f} and {last['neurn'].mean():.2f} in the layer before the classifier; there NeuRN "
        f"brings them closer in {int((last['neurn'] < last['baseline']).sum())} of {len(last)} model–transfer pairs."
    )
    runs = transfer_differences(data)
    runs = runs[runs["seed"].isin(set(features["seed"]))] if features["seed"].notna().all() else runs
    change = runs.groupby(keys)["difference"].mean().rename("gain")
    both = last.join(change, how="inner")
    if len(both) < 3:
        return [said]
    closer = both["neurn"] < both["baseline"]
    worse = int((closer & (both["gain"] < 0)).sum())
    link = correlate_gains(both["baseline"] - both["neurn"], both["gain"])
    said += f" In {worse} of the {int(closer.sum())} pairs that come closer accuracy falls all the same"
    if np.isfinite(link.rho):
        said += (
            f"; over all {len(both)} pairs, coming closer and gaining accuracy correlate with ρ = {signed(link.rho, 2)}"
        )
    return [
        f"{said} (first seed; pairs share their trainings, so no interval). What can be read: a smaller distance is no "
        "success of its own, because a layer can bring domains together by losing what tells the classes apart."
    ]


def _both(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    wide = rows.pivot_table(index=keys, columns="condition", values="distance")
    if not {"baseline", "neurn"} <= set(wide.columns):
        return pd.DataFrame()
    return wide[["baseline", "neurn"]].dropna()
