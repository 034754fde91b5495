"""Sentences computed from the tables: what came out, with numbers and intervals, and what it cannot show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from .data import ReportData
from .style import variant_label
from .views import (
    GROUP_NAMES,
    group_scores,
    model_scores,
    ordered_variants,
    paired_groups,
    primary_representation,
    transfer_differences,
    transfer_summary,
)

__all__ = ["interval", "key_findings", "signed", "verdict"]

_GROUPINGS = ("genotype", "cre_line", "area", "neuron_class")


def key_findings(data: ReportData) -> list[tuple[str, str]]:
    """Write the findings.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity``, ``paired``, ``transfer`` and ``notes``; each part only where it is there.

    Returns
    -------
    list of (str, str)
        Sentences, each with a tone: ``"caution"`` or none.
    """
    found: list[tuple[str, str]] = []
    if data.simulated and data.has_neurons:
        found.append(
            (
                "The neurons are simulated. What follows about them describes the simulation and shows that "
                "the analysis runs; it neither confirms nor contradicts any claim about mice.",
                "caution",
            )
        )
    sentences = [*_alignment(data), *_classes(data), *_overlap(data), *_transfer(data), *data.notes]
    return found + [(sentence, "") for sentence in sentences]


def signed(value: float, digits: int = 4) -> str:
    """Write a number with its sign, a true minus included."""
    return f"{value:+.{digits}f}".replace("-", "−")


def interval(low: float, high: float, write: Callable[[float], str] = signed) -> str | None:
    """Write an interval in brackets, or ``None`` where there is none."""
    known = np.isfinite(low) and np.isfinite(high)
    return f"[{write(low)}, {write(high)}]" if known else None


def verdict(low: float, high: float) -> str:
    """Say what a 95 % interval of a difference allows: ``"lower"``, ``"higher"`` or ``"undecided"``."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return "no interval"
    if high < 0:
        return "lower"
    return "higher" if low > 0 else "undecided"


def _where(data: ReportData) -> str:
    return "in this simulation" if data.simulated else "in these data"


def _interval(low: float, high: float, digits: int) -> str:
    written = interval(low, high, lambda value: signed(value, digits))
    return f" {written}" if written else ""


def _alignment(data: ReportData) -> list[str]:
    group_by, scores = _first_grouping(data, "rmse_mean")
    if not len(scores):
        return []
    sentences = []
    whole = paired_groups(data, "all", "rmse_mean")
    if len(whole):
        row = whole.iloc[0]
        sentences.append(
            "RMSE to all cells together changes by "
            f"{signed(row['difference'])}{_interval(row['ci_low'], row['ci_high'], 4)} with NeuRN, mean over "
            f"layers and models ({primary_representation(data.table('paired'))} representations; negative is "
            "closer)."
        )
    lower = int((scores["difference"] < 0).sum())
    name = GROUP_NAMES.get(group_by, group_by)
    least, most = scores["difference"].idxmin(), scores["difference"].idxmax()
    sentences.append(
        f"Lower RMSE with NeuRN, {_where(data)}: {lower} of {len(scores)} groups by {name}, from "
        f"{signed(scores.loc[least, 'difference'])} ({least}) to {signed(scores.loc[most, 'difference'])} "
        f"({most})."
    )
    if scores["ci_low"].notna().any():
        verdicts = pd.Series([verdict(*ends) for ends in scores[["ci_low", "ci_high"]].to_numpy(dtype=float)])
        counts = verdicts.value_counts()
        tests = scores[["n_tests", "n_lower", "n_higher"]].sum().astype(int)
        sentences.append(
            f"By the 95 % interval of the difference, {counts.get('lower', 0)} groups are lower, "
            f"{counts.get('higher', 0)} higher and {counts.get('undecided', 0)} undecided; of "
            f"{tests['n_tests']:,} tests (model × layer × group), {tests['n_lower']:,} are lower and "
            f"{tests['n_higher']:,} higher at q < 0.05 (Benjamini–Hochberg)."
        )
    if "Fezf2" in scores.index:
        row = scores.loc["Fezf2"]
        sentences.append(
            "Fezf2, the published exception (RMSE 0.113 without, 0.114 with NeuRN), here: "
            f"{row['baseline']:.4f} without, {row['variant']:.4f} with, difference "
            f"{signed(row['difference'])}{_interval(row['ci_low'], row['ci_high'], 4)}."
        )
    return sentences


def _first_grouping(data: ReportData, metric: str) -> tuple[str, pd.DataFrame]:
    for group_by in _GROUPINGS:
        scores = group_scores(data, group_by, metric)
        if len(scores):
            return group_by, scores
    return "", pd.DataFrame()


def _classes(data: ReportData) -> list[str]:
    scores = model_scores(data, "neuron_class", "rmse_mean").dropna(subset=["value"])
    scores = scores[scores["layer_variant"] == "baseline"].groupby("group")[["value", "ci_low", "ci_high"]].mean()
    if not {"excitatory", "inhibitory"} <= set(scores.index):
        return []
    first, second = scores.loc["excitatory"], scores.loc["inhibitory"]
    written = [
        f"{row['value']:.4f}" + (f" [{row['ci_low']:.4f}, {row['ci_high']:.4f}]" if np.isfinite(row["ci_low"]) else "")
        for row in (first, second)
    ]
    apart = first["ci_high"] < second["ci_low"] or second["ci_high"] < first["ci_low"]
    known = np.isfinite(first["ci_low"]) and np.isfinite(second["ci_low"])
    tail = (" (intervals apart)" if apart else " (intervals overlap)") if known else ""
    order = "lower for excitatory than for" if first["value"] < second["value"] else "not lower for excitatory than for"
    return [
        f"Without NeuRN, RMSE is {order} inhibitory cells {_where(data)}: {written[0]} against "
        f"{written[1]}{tail}, mean over layers and models."
    ]


def _overlap(data: ReportData) -> list[str]:
    for metric, name in (("kde_iou_population", "Population"), ("kde_iou_unit", "Single-pair")):
        whole = paired_groups(data, "all", metric)
        if len(whole):
            row = whole.iloc[0]
            return [
                f"{name} KDE-IoU to all cells changes by "
                f"{signed(row['difference'], 3)}{_interval(row['ci_low'], row['ci_high'], 3)} with NeuRN "
                "(positive is more alike)."
            ]
    return []


def _transfer(data: ReportData) -> list[str]:
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
    return sentences + _variants(data)


def _over_seeds(runs: pd.DataFrame) -> str:
    """Return a 95 % t interval over the seeds' mean differences: seeds are what was repeated."""
    means = 100 * runs.groupby("seed")["difference"].mean()
    if len(means) < 2:
        return " (one seed, so no interval)"
    from scipy.stats import t

    half = float(t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return f"{_interval(means.mean() - half, means.mean() + half, 1)} (95 % over {len(means)} seeds)"


def _variants(data: ReportData) -> list[str]:
    summary = transfer_summary(data)
    away = summary[summary["source"] != summary["target"]]
    names = ordered_variants(away)
    if len(names) < 3:
        return []
    # Only what every layer was tried on, so that no layer is ahead because it met easier targets.
    wide = away.pivot_table(index=["model", "source", "target"], columns="layer_variant", values="mean").dropna()
    if wide.empty:
        return []
    means = (100 * wide.mean()).sort_values(ascending=False)
    ranked = ", ".join(f"{variant_label(str(name))} {value:.1f} %" for name, value in means.items())
    return [
        f"All layers on unseen domains, mean over the {len(wide)} combinations of model, source and target "
        f"that have them all: {ranked}."
    ]
