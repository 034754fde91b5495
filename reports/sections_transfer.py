"""Sections about domain transfer, and the published numbers beside this study's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .blocks import Block, Cell, Column, Prose, Section, TableBlock, figure_block, heat_cell, table_block
from .data import ReportData
from .figures_examples import domain_images
from .figures_transfer import transfer_accuracy
from .published import alignment_beside_published, transfer_beside_published
from .style import variant_label
from .views import ordered_variants, transfer_summary

__all__ = ["published_section", "transfer_section", "transfer_table"]


def transfer_section(data: ReportData) -> Section:
    """Build the section on accuracies: every run, and the means as a heat table."""
    if not data.has("transfer"):
        absent = Prose("Domain transfer was not part of this study.", absent=True)
        return Section("transfer", "Domain transfer", (absent,))
    blocks: list[Block] = [figure_block(drawing, "") for drawing in transfer_accuracy(data)]
    blocks.append(transfer_table(data))
    if data.has("domains"):
        blocks.append(figure_block(domain_images(data), ""))
    return Section("transfer", "Domain transfer", tuple(blocks))


def transfer_table(data: ReportData) -> TableBlock:
    """Lay out mean ± standard deviation over seeds, a column a layer variant."""
    summary = transfer_summary(data)
    variants = ordered_variants(summary)
    columns = [Column("source", "source"), Column("target", "target"), Column("model", "model")]
    columns += [Column(name, f"{variant_label(name)}, %", 1) for name in variants]
    both = {"baseline", "neurn"} <= set(variants)
    if both:
        columns.append(Column("gain", "NeuRN − baseline, points", 1, signed=True))
    rows = []
    for key, part in summary.groupby(["source", "target", "model"], sort=False):
        found = part.set_index("layer_variant")
        cells = [Cell(str(name), str(name).lower()) for name in key]
        cells += [_accuracy_cell(found, name) for name in variants]
        if both:
            gain = 100 * (found["mean"].get("neurn", np.nan) - found["mean"].get("baseline", np.nan))
            known = bool(np.isfinite(gain))
            cells.append(Cell(f"{gain:+.1f}".replace("-", "−") if known else "–", repr(gain) if known else "", True))
        rows.append(tuple(cells))
    caption = (
        "Accuracy (%) on the target's test split, mean ± standard deviation over seeds (none with one "
        "seed); the colour is the mean, white 0 to teal 100. Rows where source and target agree measure the "
        "cost within the domain."
    )
    return TableBlock(tuple(columns), tuple(rows), caption, "transfer")


def _accuracy_cell(found: pd.DataFrame, variant: str) -> Cell:
    if variant not in found.index:
        return Cell("–", "", True)
    mean, spread = 100 * float(found.loc[variant, "mean"]), 100 * float(found.loc[variant, "sd"])
    text = f"{mean:.1f} ± {spread:.1f}" if np.isfinite(spread) else f"{mean:.1f}"
    return heat_cell(Cell(text, repr(mean), True), mean / 100)


def published_section(data: ReportData) -> Section:
    """Build the section with published numbers beside this study's, as far as they compare."""
    blocks: list[Block] = [
        Prose(
            "The published numbers come from other weights, other training protocols and, for alignment, "
            "from recorded neurons. They stand here for orientation; nothing was tuned to them."
        )
    ]
    if data.has("transfer"):
        table = transfer_beside_published(data)
        caption = "Published accuracies (%) and this study's mean over seeds where source and target are the same."
        blocks.append(table_block(table, _TRANSFER_COLUMNS, caption))
        if table["ours"].isna().all():
            blocks.append(Prose("None of the published source–target pairs is part of this study.", absent=True))
    if data.has("similarity"):
        own = "simulated neurons" if data.simulated else "this study's neurons"
        caption = (
            f"Published RMSE (mean over 13 models, read off a figure, ±0.001) beside RMSE to {own}, mean "
            "over layers and models. Which genotype a published suffix (-1, -2, -3) stands for is not known."
        )
        blocks.append(table_block(alignment_beside_published(data), _alignment_columns(data), caption))
    return Section("published", "Published numbers beside ours", tuple(blocks))


_TRANSFER_COLUMNS = [
    Column("source", "source"),
    Column("target", "target"),
    Column("model", "published model"),
    Column("baseline", "published without, %", 1),
    Column("neurn", "published with NeuRN, %", 1),
    Column("reference", "published in"),
    Column("ours", "our model"),
    Column("ours_baseline", "ours without, %", 1),
    Column("ours_neurn", "ours with NeuRN, %", 1),
]


def _alignment_columns(data: ReportData) -> Sequence[Column]:
    ours = "simulated" if data.simulated else "ours"
    return [
        Column("group", "group"),
        Column("baseline", "published without", 3),
        Column("neurn", "published with NeuRN", 3),
        Column("ours_baseline", f"{ours} without", 3),
        Column("ours_neurn", f"{ours} with NeuRN", 3),
        Column("n_cells", "our cells"),
    ]
