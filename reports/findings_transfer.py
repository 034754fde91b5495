"""Sentences on domain transfer: direction, size, interval and q, target by target, and what does better than NeuRN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from alignment.transfer import correlate_gains, pooled_difference

from .data import ReportData
from .floors_transfer import reference_condition, share_text
from .views import transfer_differences, transfer_summary
from .views_transfer import (
    GAIN_METRICS,
    cells_below,
    condition_labels,
    equal_transfers,
    gains,
    in_transfers,
    judged,
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
        Uses ``transfer``, ``transfer_judged``, ``transfer_floors``, ``transfer_invariance`` and, for the link to
        alignment, ``similarity``.

    Returns
    -------
    list of str
        Sentences; none where NeuRN has no baseline beside it. Networks that lie below a floor without a layer are
        named, and no other sentence counts them.
    """
    if not data.has("transfer"):
        return []
    return [
        *_below_floors(data),
        *_overall(data),
        *_by_target(data),
        *_ranking(data),
        *_better(data),
        *_link(data),
    ]


def _below_floors(data: ReportData) -> list[str]:
    """Name the networks that lie below chance or nearest neighbours, of which nothing is concluded about layers."""
    below, floors = cells_below(data), data.table("transfer_floors")
    if below.empty:
        return []
    every = floors[floors["reference"].eq(True)]
    side = int(floors["pixels"].iloc[0])
    listed = [
        f"{row.model} {row.source} → {row.target} ({100 * row.network:.1f} %, below {_floors_of(row)})"
        for row in below[:_LISTED].itertuples()
    ]
    rest = f"; and {len(below) - _LISTED} more, marked in the transfer table" if len(below) > _LISTED else ""
    which = "the network without a layer" if reference_condition(data) == "baseline" else "the network with NeuRN"
    return [
        f"In {len(below)} of {len(every)} combinations of network, source and target {which} is worse than chance or "
        f"than 1-nearest neighbour on {side}×{side} grey pixels, so nothing is concluded there about layers: "
        f"{'; '.join(listed)}{rest}."
        + (" No combination is left to conclude from." if len(below) == len(every) else "")
    ]


def _floors_of(row: Any) -> str:
    values = {"chance": row.chance, "1-nearest neighbour": row.nearest_neighbour}
    return " and ".join(f"{name} {100 * values[name]:.1f} %" for name in row.below.split(" and "))


def _overall(data: ReportData) -> list[str]:
    """Say what NeuRN changes on unseen domains and within the source's own, over all plain trainings."""
    runs = judged(data, transfer_differences(data))
    if runs.empty:
        return []
    sentences = []
    away = runs[runs["source"] != runs["target"]]
    if len(away):
        models, targets = away["model"].nunique(), away[["source", "target"]].drop_duplicates().shape[0]
        sentences.append(
            "On domains never trained on (real images), accuracy goes from "
            f"{100 * away['baseline'].mean():.1f} % without to {100 * away['variant'].mean():.1f} % with "
            f"NeuRN: {_pooled(data, away)}, mean over "
            f"{models} model{'s' * (models != 1)} and {targets} source–target pair{'s' * (targets != 1)}; "
            f"{int((away['difference'] > 0).sum())} of {len(away)} paired runs are higher, from "
            f"{signed(100 * away['difference'].min(), 1)} to {signed(100 * away['difference'].max(), 1)} "
            "points."
        )
        sentences += _without_equal(data, away)
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
            f"Within the source domain NeuRN changes accuracy by {_pooled(data, home)} (from "
            f"{100 * home['baseline'].mean():.1f} %)."
        )
    return sentences


def _without_equal(data: ReportData, away: pd.DataFrame) -> list[str]:
    """Say what is left of NeuRN's gain without the targets that it makes equal by construction, Sobel beside."""
    shares = data.table("transfer_invariance").query("layer_variant == 'neurn'")
    equal = [pair for pair in equal_transfers(data) if len(in_transfers(away, *pair))]
    if not equal:
        return []
    places = list(zip(away["source"], away["target"], strict=True))
    rest = away[[place not in equal for place in places]]
    named = " and ".join(f"{source} → {target}" for source, target in equal)
    largest = max(float(in_transfers(shares, *pair)["share"].max()) for pair in equal)
    said = (
        f"Of these, NeuRN makes {named} equal to the source by construction: images and their shifted copies lie "
        f"{share_text(largest)} as far apart behind it as before it."
    )
    it = "it" if len(equal) == 1 else "them"
    with_sobel = "sobel" in set(data.table("transfer").query("method == 'plain'")["layer_variant"])
    beside = "Sobel, an edge filter without NeuRN, was not tried."
    if with_sobel:
        beside = f"A Sobel filter in its place brings {_pooled(data, away, 'sobel')} with {it}"
        beside += "." if rest.empty else f" and {_pooled(data, rest, 'sobel')} without {it}."
    if rest.empty:
        return [f"{said} No other target is left to tell whether NeuRN generalises. {beside}"]
    count = rest[["source", "target"]].drop_duplicates().shape[0]
    return [f"{said} Without {it}, over the other {count}, NeuRN brings {_pooled(data, rest)}. {beside}"]


def _pooled(data: ReportData, runs: pd.DataFrame, variant: str = "neurn") -> str:
    """Write the mean difference of a layer to the baseline over some runs, with its interval or why it has none."""
    transfer = data.table("transfer")
    plain = transfer[(transfer["method"] == "plain") & transfer["layer_variant"].isin(["baseline", variant])]
    chosen = plain.merge(runs[["model", "source", "target"]].drop_duplicates(), on=["model", "source", "target"])
    pooled = pooled_difference(chosen, variant)
    points = f"{signed(100 * pooled['difference'], 1)} points"
    if pooled["reason"]:
        return f"{points} ({pooled['reason']})"
    ends = _interval(100 * pooled["ci_low"], 100 * pooled["ci_high"], 1)
    return f"{points}{ends} (95 % over {pooled['seeds']} seeds)"


def _interval(low: float, high: float, digits: int) -> str:
    written = interval(low, high, lambda value: signed(value, digits))
    return f" {written}" if written else ""


def _unseen(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    rows = with_condition(table[table["reference"] == reference])
    return rows[rows["source"] != rows["target"]]


def _by_target(data: ReportData) -> list[str]:
    """Say NeuRN minus baseline for each unseen target, mean over models."""
    table = _unseen(data.table("transfer_judged"), "baseline")
    table = table[table["condition"] == "neurn"]
    if table.empty:
        return []
    equal = equal_transfers(data)
    listed = table.reindex(table["difference"].abs().sort_values(ascending=False, kind="stable").index)[:_LISTED]
    parts = [
        f"{row.source} → {row.target} {signed(100 * row.difference, 1)}"
        f"{_interval(100 * row.ci_low, 100 * row.ci_high, 1)}"
        + (f", q = {row.q:.3f}" if np.isfinite(row.q) else "")
        + (" (equal by construction)" if (row.source, row.target) in equal else "")
        for row in listed.itertuples()
    ]
    rest = "" if len(table) <= _LISTED else f" (the {_LISTED} largest of {len(table)})"
    models, seeds = int(table["models"].max()), int(table["seeds"].max())
    known = table["q"].notna().any()
    how = (
        f"95 % interval over {seeds} seeds, q over all layers, methods and transfers that can be tested"
        if known
        else str(table["reason"].iloc[0])
    )
    over = f"{models} model{'s' * (models != 1)}" if table["models"].nunique() == 1 else f"up to {models} models"
    sentence = f"NeuRN minus baseline by target, in points{rest}, mean over {over} ({how}): {'; '.join(parts)}."
    if known:
        clear, untested = table["q"] < 0.05, int(table["q"].isna().sum())
        above, below = int((clear & (table["difference"] > 0)).sum()), int((clear & (table["difference"] < 0)).sum())
        undecided = len(table) - above - below - untested
        sentence += (
            f" At q < 0.05 {above} of {len(table)} transfers are higher, {below} lower and {undecided} undecided"
        )
        sentence += f"; {untested} cannot be tested." if untested else "."
    return [sentence]


def _ranking(data: ReportData) -> list[str]:
    """Rank layers and methods over the transfers that all of them were tried on."""
    summary = with_condition(judged(data, transfer_summary(data)))
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
    table = _unseen(data.table("transfer_judged"), "neurn")
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
    # A network's gain is a mean over all its targets: one that must not be judged spoils the mean.
    below = set(cells_below(data).query("source != target")["model"])
    table = gains(data)
    table = table[~table.index.isin(below)]
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
    runs = judged(data, transfer_differences(data))
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
