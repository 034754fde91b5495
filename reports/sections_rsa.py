"""The section on representational similarity: networks, their random twins and pixels beside populations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .blocks import Block, Column, Prose, Section, figure_block, table_block
from .data import ReportData
from .figures_rsa import rsa_depth, rsa_differences, rsa_glance, rsa_map
from .findings_rsa import interval_of, rsa_sentences
from .views_rsa import headline, model_names, row_label, shown_groups, spearman, twin_scores

__all__ = ["rsa_sections"]

_BEST = [
    Column("network", "network"),
    Column("layer", "best layer"),
    Column("value", "Spearman", 3),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("half_value", "on other scenes", 3),
    Column("twins", "random twins (range)", sort_by="twin_mean"),
    Column("null_high", "shuffled", 3),
    Column("p", "p", 4),
    Column("normalised", "of the ceiling", 2),
    Column("cka", "CKA, best", 3),
]
_DIFFERENCES = [
    Column("network", "network"),
    Column("baseline_value", "without", 3),
    Column("variant_value", "with", 3),
    Column("difference", "difference", 3, signed=True),
    Column("interval", "95 % interval", sort_by="ci_low"),
    Column("p", "p", 4),
    Column("half_difference", "on other scenes", 3, signed=True),
    Column("counts", "q < 0.05: higher, lower", sort_by="higher"),
]


def rsa_sections(data: ReportData) -> list[Section]:
    """Build the section; none for a study that compared no dissimilarities.

    Parameters
    ----------
    data : ReportData
        Uses ``rsa``, ``rsa_best``, ``rsa_differences`` and ``rsa_twins``.

    Returns
    -------
    list of Section
        One, or none.
    """
    if not data.has("rsa_best"):
        return []
    blocks: list[Block] = [Prose(" ".join(rsa_sentences(data)))]
    blocks.append(figure_block(rsa_glance(data), "No network was compared, only the pixels."))
    blocks += _best_table(data)
    blocks.append(figure_block(rsa_map(data), "No population could be compared."))
    blocks.append(figure_block(rsa_differences(data), "No layer variant stands beside a baseline in this study."))
    blocks += _difference_table(data)
    blocks += [figure_block(drawing, "") for drawing in rsa_depth(data)]
    blocks.append(Prose(_caution(data)))
    return [Section("rsa", "Dissimilarities of scenes in networks and cortex (RSA)", tuple(blocks))]


def _best_table(data: ReportData) -> list[Block]:
    by, group = headline(data)
    best = spearman(data, "rsa_best")
    best = best[(best["group_by"] == by) & (best["group"] == group)]
    keys = ["model", "layer_variant"]
    twins = twin_scores(data)
    twins = twins[(twins["group_by"] == by) & (twins["group"] == group)]
    grouped = twins.groupby(keys)["value"].agg(["mean", "min", "max"])
    rsa = data.table("rsa")
    cka = rsa[(rsa["metric"] == "cka") & (rsa["group_by"] == by) & (rsa["group"] == group)]
    rows = best.join(grouped, on=keys).join(cka.groupby(keys)["value"].max().rename("cka"), on=keys)
    rows = rows.assign(
        network=[row_label(*pair) for pair in zip(rows["model"], rows["layer_variant"], strict=True)],
        interval=[interval_of(row, 3).strip("()") for _, row in rows.iterrows()],
        twin_mean=rows["mean"],
        twins=[_range(row) for _, row in rows.iterrows()],
    )
    over = f"mean over {len(shown_groups(data, summary=False))} populations" if by == "mean" else "all cells"
    caption = (
        f"Best layers, {over}. Intervals by bootstrap over scenes, the layer held. On other scenes: the layer chosen "
        "on half of the scenes, scored on the other half. Shuffled: 95th percentile of the best of all layers with the "
        "scenes shuffled, which p compares with."
        + (" CKA is unbiased and linear, of its own best layer." if len(cka) else "")
    )
    return [table_block(rows, _BEST, caption, csv="rsa_best")]


def _range(row: pd.Series) -> str | None:
    if not np.isfinite(row["mean"]):
        return None
    return f"{row['mean']:.3f} ({row['min']:.3f} to {row['max']:.3f})".replace("-", "−")


def _difference_table(data: ReportData) -> list[Block]:
    by, group = headline(data)
    table = spearman(data, "rsa_differences")
    best = table[table["layer"] == "best"]
    rows = best[(best["group_by"] == by) & (best["group"] == group)]
    if rows.empty:
        return []
    others = best[(best["group_by"] != by) | (best["group"] != group)]
    clear = others[others["q"] < 0.05]
    keys = ["model", "layer_variant"]
    higher = clear[clear["difference"] > 0].groupby(keys).size().rename("higher")
    lower = clear[clear["difference"] < 0].groupby(keys).size().rename("lower")
    rows = rows.join(higher, on=keys).join(lower, on=keys).fillna({"higher": 0, "lower": 0})
    totals = others.groupby(keys).size()
    rows = rows.assign(
        network=[row_label(*pair) for pair in zip(rows["model"], rows["layer_variant"], strict=True)],
        interval=[interval_of(row, 3).strip("()") for _, row in rows.iterrows()],
        counts=[
            f"{int(row['higher'])}, {int(row['lower'])} of {int(totals.get((row['model'], row['layer_variant']), 0))}"
            for _, row in rows.iterrows()
        ],
    )
    caption = (
        "With a layer in front less without, between best layers; trained networks were trained with the layer in "
        "front. Two-sided bootstrap p over the same resamples of scenes on both sides; last, how many populations' own "
        "best layers score higher and lower."
    )
    return [table_block(rows, _DIFFERENCES, caption, csv="rsa_differences")]


def _caution(data: ReportData) -> str:
    models = model_names(data)
    said = (
        "Intervals and tests here are over scenes: they say what other scenes would give with these populations and "
        "these networks, not what other animals or other trainings would. "
    )
    if headline(data) == ("mean", "mean"):
        said += (
            "Of these populations only the matrices are known: no noise ceiling can be computed, and how much of a "
            "population's matrix any model could explain stays unknown. "
        )
    return (
        said + f"The best of several layers is a choice among {'their' if len(models) > 1 else 'its'} layers, paid "
        "for in p and in the column of layers chosen on other scenes, not in the intervals."
    )
