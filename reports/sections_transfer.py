"""Sections about domain transfer, and the published numbers beside this study's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from alignment.transfer.summary import FEWEST_SEEDS

from .blocks import Block, Cell, Column, Prose, Section, TableBlock, figure_block, heat_cell, table_block
from .data import ReportData
from .figures_conditions import condition_differences_figure, condition_ranks
from .figures_errors import class_recall, confusion_matrices, reliability_diagram
from .figures_examples import domain_images
from .figures_features import feature_distances_figure
from .figures_link import FEWEST_GAINS, gain_against_gain
from .figures_transfer import transfer_accuracy
from .findings_transfer import say_features
from .floors_transfer import MARK, floor_values, floors_caption, gain_blocks, reference_condition
from .published import alignment_beside_published, transfer_beside_published
from .views import shown_metrics, transfer_summary
from .views_transfer import (
    GAIN_METRICS,
    cells_below,
    condition_labels,
    gains,
    ordered_conditions,
    transfers,
    with_condition,
)
from .words import signed

__all__ = ["link_blocks", "published_section", "transfer_sections", "transfer_table"]

_WIDE = 5
"""Conditions that fit beside each other as columns of a page."""


def transfer_sections(data: ReportData) -> list[Section]:
    """Build the sections on domain transfer: accuracy, what goes wrong, and the insides of the networks."""
    if not data.has("transfer"):
        absent = Prose("Domain transfer was not part of this study.", absent=True)
        return [Section("transfer", "Domain transfer", (absent,))]
    sections = [Section("transfer", "Domain transfer", tuple(_accuracy(data)))]
    errors = _errors(data)
    if errors:
        sections.append(Section("errors", "Classes, confusions and calibration", tuple(errors)))
    inside = _inside(data)
    if inside:
        sections.append(Section("inside", "The domains, and the networks inside", tuple(inside)))
    return sections


def _accuracy(data: ReportData) -> list[Block]:
    blocks: list[Block] = [Prose(data.protocol)] if data.protocol else []
    sees = _sees_target(data)
    if sees:
        blocks.append(Prose(sees))
    blocks += [figure_block(drawing, "") for drawing in transfer_accuracy(data)]
    blocks.append(transfer_table(data))
    blocks += gain_blocks(data)
    differences = condition_differences_figure(data)
    blocks += [figure_block(drawing, "") for drawing in differences]
    if data.has("transfer_paired"):
        blocks += _paired(data)
    elif not differences:
        blocks.append(Prose("Nothing was trained beside the baseline, so there is no difference to test.", absent=True))
    ranks = condition_ranks(data)
    if ranks is not None:
        blocks += [figure_block(ranks, ""), _ranks(data)]
    return blocks


def _sees_target(data: ReportData) -> str:
    labels = [label for label in condition_labels(data).values() if label.endswith("(sees target)")]
    if not labels:
        return ""
    names = ", ".join(label.removesuffix(" (sees target)") for label in labels)
    return (
        f"Marked “sees target”: {names}. These networks were trained with unlabelled training images of the target, so "
        "they answer an easier question than generalising from one source."
    )


def transfer_table(data: ReportData) -> TableBlock:
    """Lay out mean ± standard deviation over seeds: a column a condition, or where these are many a column a model."""
    summary = with_condition(transfer_summary(data))
    conditions = ordered_conditions(summary)
    seeds = "" if summary["sd"].notna().any() else " Each is one seed, so no spread is known."
    caption = (
        "Accuracy (%) on the target's test split, mean ± standard deviation over seeds (none with one "
        f"seed); the colour is the mean, white 0 to teal 100. Rows where source and target agree measure the "
        f"cost within the domain.{seeds} Every run with its 95 % Wilson interval over test images is in the CSV."
        f"{floors_caption(data)}"
    )
    if len(conditions) <= _WIDE:
        return _beside(data, summary, conditions, caption)
    return _with_floors(data, _below(summary, conditions, condition_labels(data), caption, "transfer"), summary)


def _beside(data: ReportData, summary: pd.DataFrame, conditions: list[str], caption: str) -> TableBlock:
    labels, marked = condition_labels(data), _marked(data)
    columns = [Column("source", "source"), Column("target", "target"), Column("model", "model")]
    columns += [Column(name, f"{labels[name]}, %", 1) for name in conditions]
    both = {"baseline", "neurn"} <= set(conditions)
    if both:
        columns.append(Column("gain", "NeuRN − baseline, points", 1, signed=True))
    rows = []
    for (source, target), transfer in summary.groupby(["source", "target"], sort=False):
        for model, part in transfer.groupby("model", sort=False):
            found = part.set_index("condition")
            cells = _words(source, target, model)
            cells += [_spread_cell(found, name, mark=(model, source, target, name) in marked) for name in conditions]
            if both:
                gain = 100 * (found["mean"].get("neurn", np.nan) - found["mean"].get("baseline", np.nan))
                known = bool(np.isfinite(gain))
                cells.append(Cell(signed(gain, 1) if known else "–", repr(gain) if known else "", True))
            rows.append(tuple(cells))
        for floor, values in floor_values(data, source, target).items():
            for name, found in _unlike_models(values).items():
                cells = [*_words(source, target, floor + name), *(_share_cell(found.get(name)) for name in conditions)]
                rows.append((*cells, *([Cell("–", "", True)] if both else [])))
    return TableBlock(tuple(columns), tuple(rows), caption, "transfer")


def _words(*texts: object) -> list[Cell]:
    return [Cell(str(text), str(text).lower()) for text in texts]


def _marked(data: ReportData) -> set[tuple[str, ...]]:
    """Return the model, source, target and condition of every network that lies below a floor."""
    below = cells_below(data)[["model", "source", "target", "layer_variant"]]
    return set(below.itertuples(index=False, name=None))


def _unlike_models(values: dict[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    """Return a floor by layer variant: once where all models have the same, else for each model by its name."""
    by_model: dict[str, dict[str, float]] = {}
    for (model, variant), value in values.items():
        by_model.setdefault(model, {})[variant] = value
    first = next(iter(by_model.values()), {})
    if all(found == first for found in by_model.values()):
        return {"": first} if first else {}
    return {f", {model}": found for model, found in by_model.items()}


def _share_cell(share: float | None) -> Cell:
    if share is None or not np.isfinite(share):
        return Cell("–", "", True)
    return heat_cell(Cell(f"{100 * share:.1f}", repr(100 * share), True), share)


def _with_floors(data: ReportData, block: TableBlock, summary: pd.DataFrame) -> TableBlock:
    """Add the floors' rows to a table with a column per model, and mark the networks below them."""
    labels, marked, reference = condition_labels(data), _marked(data), reference_condition(data)
    models = [str(model) for model in pd.unique(summary["model"])]
    rows: list[tuple[Cell, ...]] = []
    for source, target in transfers(summary):
        for row in block.rows:
            if (row[0].text, row[1].text) != (source, target):
                continue
            own = row[2].text == labels[reference]
            cells = [
                dataclasses.replace(cell, text=f"{cell.text} {MARK}")
                if own and (model, source, target, reference) in marked
                else cell
                for model, cell in zip(models, row[3:], strict=True)
            ]
            rows.append((*row[:3], *cells))
        for floor, values in floor_values(data, source, target).items():
            chosen = ["baseline"] if floor == "chance" else ["baseline", "neurn"]
            for name in (name for name in chosen if any(variant == name for _, variant in values)):
                label = floor if name == "baseline" else f"{floor}, {labels[name]}"
                cells = [_share_cell(values.get((model, name))) for model in models]
                rows.append((*_words(source, target, label), *cells))
    return dataclasses.replace(block, rows=tuple(rows))


def _below(
    summary: pd.DataFrame, conditions: list[str], labels: dict[str, str], caption: str, csv: str, reverse: bool = False
) -> TableBlock:
    """Lay out a row a transfer and condition, a column a model."""
    models = [str(model) for model in pd.unique(summary["model"])]
    columns = [Column("source", "source"), Column("target", "target"), Column("condition", "layer or method")]
    columns += [Column(model, f"{model}, %", 1) for model in models]
    rows = []
    for key, part in summary.groupby(["source", "target"], sort=False):
        for name in conditions:
            found = part[part["condition"] == name].set_index("model")
            if len(found):
                cells = [Cell(str(text), str(text).lower()) for text in (*key, labels[name])]
                cells += [_spread_cell(found, model, reverse) for model in models]
                rows.append(tuple(cells))
    return TableBlock(tuple(columns), tuple(rows), caption, csv)


def _spread_cell(found: pd.DataFrame, name: str, reverse: bool = False, mark: bool = False) -> Cell:
    """Write ``mean`` ± ``sd`` of a row in percent, coloured by the mean unless it is one where less is better."""
    if name not in found.index:
        return Cell("–", "", True)
    mean, spread = 100 * float(found.loc[name, "mean"]), 100 * float(found.loc[name, "sd"])
    text = f"{mean:.1f} ± {spread:.1f}" if np.isfinite(spread) else f"{mean:.1f}"
    cell = Cell(f"{text} {MARK}" if mark else text, repr(mean), True)
    return cell if reverse else heat_cell(cell, mean / 100)


def _paired(data: ReportData) -> list[Block]:
    paired = data.table("transfer_paired")
    chosen = paired[(paired["reference"] == "baseline") & (paired["layer_variant"] == "neurn")]
    chosen = chosen[chosen["method"] == "plain"]
    if chosen.empty:
        return []
    percent = {name: 100 * chosen[name].astype(float) for name in ("difference", "ci_low", "ci_high")}
    table = chosen.assign(**percent)
    table = table.assign(reason=table["reason"].replace("", np.nan))
    tests = int(paired.loc[paired["reference"] == "baseline", "p"].notna().sum())
    none = "" if table["ci_low"].notna().any() else " No row can be tested, so there is no interval, no p and no q."
    columns = [Column("source", "source"), Column("target", "target"), Column("model", "model")]
    columns += [Column("difference", "NeuRN − baseline, points", 1, signed=True)]
    columns += [Column("ci_low", "95 % from", 1, signed=True), Column("ci_high", "to", 1, signed=True)]
    columns += [Column("p", "p", 4), Column("q", "q", 4), Column("seeds", "seeds")]
    columns += [Column("reason", "why there is no test")]
    caption = (
        "NeuRN minus baseline, paired by seed: mean difference (percentage points), 95 % interval and p of Student's t "
        "over seeds, whose spread is taken to be at least the binomial error of the accuracies over the test images; "
        f"q by Benjamini–Hochberg over the {tests} tests against the baseline. Fewer than {FEWEST_SEEDS} seeds are not "
        f"tested. The interval tells how trainings vary on the same images.{none} "
        "All layers and methods, also against NeuRN, are in the CSV."
    )
    return [table_block(table, columns, caption, csv="transfer_paired")]


def _ranks(data: ReportData) -> TableBlock:
    labels = condition_labels(data)
    ranks = with_condition(data.table("transfer_ranks"))
    table = ranks.assign(label=[labels[name] for name in ranks["condition"]])
    columns = [Column("model", "model"), Column("label", "layer or method"), Column("mean_rank", "mean rank", 2)]
    columns += [Column("mean_accuracy", "mean accuracy, %", 1, scale=100), Column("transfers", "transfers")]
    caption = (
        "Every model's layers and methods, best first: mean rank (1 is best) and mean accuracy over the transfers to "
        "another domain that all of them have. A rank says nothing of how far apart two of them are."
    )
    return table_block(table, columns, caption, csv="transfer_ranks", heat=("mean_accuracy",))


def _errors(data: ReportData) -> list[Block]:
    blocks: list[Block] = []
    recall = class_recall(data)
    if recall is not None:
        blocks.append(figure_block(recall, ""))
    blocks += [figure_block(drawing, "") for drawing in confusion_matrices(data)]
    reliability = reliability_diagram(data)
    if reliability is not None:
        blocks.append(figure_block(reliability, ""))
    seeds = with_condition(data.table("transfer_seeds"))
    if seeds["ece"].notna().any():
        summary = seeds.assign(mean=seeds["ece"], sd=seeds["ece_sd"])
        caption = (
            "Expected calibration error (%) on the target's test split, 15 bins of confidence, mean ± standard "
            "deviation over seeds (none with one seed); 0 is calibrated, and a network that is sure and wrong "
            "comes near 100."
        )
        table = _below(
            summary, ordered_conditions(summary), condition_labels(data), caption, "transfer_seeds", reverse=True
        )
        blocks.append(table)
    return blocks


def _inside(data: ReportData) -> list[Block]:
    blocks: list[Block] = []
    if data.has("domains"):
        blocks.append(figure_block(domain_images(data), ""))
    drawing = feature_distances_figure(data)
    if drawing is not None:
        blocks.append(figure_block(drawing, ""))
        blocks += [Prose(sentence) for sentence in say_features(data)]
        blocks.append(_statistics(data))
    return blocks


def _statistics(data: ReportData) -> TableBlock:
    """Lay out what source and target do to the networks, mean over models: at the input, and over all layers."""
    features = data.table("transfer_features")
    features = with_condition(features)
    features = features[features["condition"].isin(["baseline", "neurn"])]
    labels = condition_labels(data)
    names = [f"{name}_{side}" for name in ("active", "sparsity") for side in ("source", "target")]
    numbers = features.assign(**{name: pd.to_numeric(features[name], errors="coerce") for name in names})
    last = numbers.groupby(["model", "condition", "source", "target"])["layer_index"].transform("max")
    where = np.where(
        numbers["layer_index"] == 0, "input", np.where(numbers["layer_index"] == last, "classifier", "layers between")
    )
    numbers = numbers.assign(where=where, label=[labels[name] for name in numbers["condition"]])
    keys = ["source", "target", "where", "label"]
    table = numbers.groupby(keys, sort=False)[["distance", *names]].mean().reset_index()
    columns = [
        Column("source", "source"),
        Column("target", "target"),
        Column("where", "where"),
        Column("label", "layer"),
    ]
    columns.append(Column("distance", "distance", 2))
    for name, said in (("active", "> 0"), ("sparsity", "sparsity")):
        columns += [Column(f"{name}_source", f"{said}, source", 2), Column(f"{name}_target", f"{said}, target", 2)]
    caption = (
        "Distance of the domains, and statistics of the layers' outputs on each, mean over "
        f"n = {features['model'].nunique()} models (first seed): share of values above 0, and "
        "Treves–Rolls sparsity over images (0: a channel responds to all images alike, 1: to a single one). At the "
        "input these are the pixels that the first layer receives. Every layer, with mean and "
        "standard deviation, is in the CSV."
    )
    return table_block(table, columns, caption, csv="transfer_features")


def link_blocks(data: ReportData) -> list[Block]:
    """Build what links the two sides: gain in transfer against gain in alignment, by model."""
    if not (data.has("similarity") and data.has("transfer")):
        return []
    table = gains(data)
    drawing = gain_against_gain(data)
    if drawing is None:
        text = (
            f"Whether networks that gain in alignment also gain in transfer needs at least {FEWEST_GAINS} networks "
            f"that were scored and trained without and with NeuRN; this study has {len(table)}."
        )
        return [Prose(text, absent=True)]
    columns = [Column("model", "model")]
    columns += [Column(metric, label, 4, signed=True) for metric, label in GAIN_METRICS]
    columns.append(Column("transfer", "gain in accuracy, points", 1, signed=True))
    caption = f"The gains of the figure, n = {len(table)} models: NeuRN minus baseline, signed so that + is better."
    return [figure_block(drawing, ""), table_block(table.reset_index(names="model"), columns, caption)]


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
        caption = (
            "Published accuracies (%), of other weights and another protocol, and this study's mean over seeds where "
            "source and target are the same. Whoever compares them compares protocols too."
        )
        blocks.append(table_block(table, _TRANSFER_COLUMNS, caption))
        if table["ours"].isna().all():
            blocks.append(Prose("None of the published source–target pairs is part of this study.", absent=True))
    if "rmse_mean" in shown_metrics(data):
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
