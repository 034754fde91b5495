"""Sentences computed from the tables: what came out, with numbers and intervals, and what it cannot show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .data import ReportData
from .findings_rsa import rsa_findings
from .findings_transfer import transfer_findings
from .views import GROUP_NAMES, group_scores, model_scores, paired_groups, primary_representation
from .words import interval, signed, verdict

__all__ = ["interval", "key_findings", "signed", "verdict"]

_GROUPINGS = ("genotype", "cre_line", "area", "neuron_class")


def key_findings(data: ReportData) -> list[tuple[str, str]]:
    """Write the findings.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity``, ``paired``, the tables of ``transfer`` and ``notes``; each part only where it is there.

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
    sentences = [*_alignment(data), *_classes(data), *_overlap(data), *rsa_findings(data)]
    sentences += [*transfer_findings(data), *data.notes]
    return found + [(sentence, "") for sentence in sentences]


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
        whole = group_scores(data, "all", metric)
        if len(whole):
            row = whole.iloc[0]
            return [
                f"{name} KDE-IoU to all cells changes by "
                f"{signed(row['difference'], 3)}{_interval(row['ci_low'], row['ci_high'], 3)} with NeuRN "
                "(positive is more alike)."
            ]
    return []
