"""Sentences computed from the tables: what came out, with numbers and intervals, and what it cannot show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .controls import claim_rows, group_directions, null_sentence
from .data import ReportData
from .findings_rsa import rsa_findings
from .findings_transfer import transfer_findings
from .views import GROUP_NAMES, group_scores, model_scores, paired_groups, primary_representation
from .words import CANNOT_TELL, interval, signed, verdict

__all__ = ["interval", "key_findings", "signed", "verdict"]

_EXCEPTION = "Fezf2"
_GROUPINGS = ("genotype", "cre_line", "area", "neuron_class")


def key_findings(data: ReportData) -> list[tuple[str, str]]:
    """Write the findings.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity``, ``paired``, ``claims``, the tables of ``transfer`` and ``notes``; each part only where
        it is there.

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
    change = "RMSE, of which lower is more alike"
    if len(whole):
        row = whole.iloc[0]
        change = (
            f"RMSE to all cells together changes by {signed(row['difference'])}"
            f"{_interval(row['ci_low'], row['ci_high'], 4)} with NeuRN, mean over layers and models "
            f"({primary_representation(data.table('paired'))} representations; lower is more alike)"
        )
    sentences.append(f"{change}. {null_sentence(data, 'rmse_mean')}")
    name = GROUP_NAMES.get(group_by, group_by)
    least, most = scores["difference"].idxmin(), scores["difference"].idxmax()
    sentences.append(
        f"By {name}, {_where(data)}, RMSE changes with NeuRN by {signed(scores.loc[least, 'difference'])} ({least}) to "
        f"{signed(scores.loc[most, 'difference'])} ({most}). {_directions(data, group_by, list(scores.index))}"
    )
    return sentences + _exceptions(data)


def _directions(data: ReportData, group_by: str, groups: list[str]) -> str:
    """Count the groups by what may be said of them, and say why nothing may be said of the rest."""
    rows = group_directions(data, group_by).reindex(groups)
    counts = rows["direction"].fillna(CANNOT_TELL).value_counts()
    told = [f"{counts[word]} {word}" for word in ("lower", "higher", "undecided") if word in counts]
    withheld = int(counts.get(CANNOT_TELL, 0))
    if withheld:
        silent = rows[rows["direction"] == CANNOT_TELL]
        few, null = silent["q"].isna(), ~(pd.to_numeric(silent["n_clear"]) > 0)
        why = [
            f"{int(part.sum())} {words}"
            for part, words in (
                (few, "for want of donors"),
                (null, "because no layer is known to be closer than with the scenes shuffled"),
            )
            if part.any()
        ]
        told.append(f"{withheld} cannot tell" + (f" ({', '.join(why)})" if why else ""))
    rule = "by q < 0.05 (Benjamini–Hochberg) and the 95 % interval"
    return f"Of {len(groups)} groups, {rule}: {', '.join(told)}."


def _exceptions(data: ReportData) -> list[str]:
    """Say what the published exception does, beside the other genotypes: the statement is about the contrast."""
    rows = group_directions(data, "genotype")
    sentences = []
    for group in [name for name in rows.index if str(name).startswith(_EXCEPTION)]:
        row = rows.loc[group]
        said = (
            f"{group}, the published exception (RMSE 0.113 without, 0.114 with NeuRN), here: "
            f"{row['baseline_value']:.4f} without, {row['variant_value']:.4f} with, difference "
            f"{signed(row['difference'])}{_interval(row['ci_low'], row['ci_high'], 4)}"
        )
        if np.isfinite(row["contrast"]):
            said += (
                f"; less that of the other genotypes ({signed(row['others'])}): {signed(row['contrast'])}"
                f"{_interval(row['contrast_low'], row['contrast_high'], 4)}"
            )
            said += f", q = {row['contrast_q']:.3f}" if np.isfinite(row["contrast_q"]) else ""
        sentences.append(f"{said}. That it rises against the others: {_verdict(row)}.")
    return sentences


def _verdict(row: pd.Series) -> str:
    reason = row["reason"] if isinstance(row["reason"], str) else ""
    return f"{row['verdict']} ({reason})" if row["verdict"] == CANNOT_TELL and reason else str(row["verdict"])


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
    written = [
        f"{row['value']:.4f}" + (f" [{row['ci_low']:.4f}, {row['ci_high']:.4f}]" if np.isfinite(row["ci_low"]) else "")
        for row in (scores.loc["excitatory"], scores.loc["inhibitory"])
    ]
    said = (
        f"Without NeuRN, {_where(data)}, RMSE is {written[0]} to excitatory and {written[1]} to inhibitory cells, mean "
        "over layers and models"
    )
    _, classes = claim_rows(data)
    classes = classes[classes["layer_variant"] == "baseline"]
    if classes.empty:
        return [f"{said}."]
    row = classes.iloc[0]
    over = "" if row["model"] == "all models" else f" ({row['model']})"
    return [
        f"{said}; difference{over} {signed(row['difference'])}{_interval(row['ci_low'], row['ci_high'], 4)}. That it "
        f"is lower for excitatory cells: {_verdict(row)}."
    ]


def _overlap(data: ReportData) -> list[str]:
    for metric, name in (("kde_iou_population", "Population"), ("kde_iou_unit", "Single-pair")):
        whole = group_scores(data, "all", metric)
        if len(whole):
            row = whole.iloc[0]
            return [
                f"{name} KDE-IoU to all cells changes by "
                f"{signed(row['difference'], 3)}{_interval(row['ci_low'], row['ci_high'], 3)} with NeuRN "
                f"(higher is more alike). {null_sentence(data, metric)}"
            ]
    return []
