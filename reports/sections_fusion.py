"""The section about brain-machine fusion: what was built, how well the brain is predicted, and what it is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alignment.transfer.summary import FEWEST_SEEDS

from .blocks import Block, Cell, Column, Findings, Section, TableBlock, figure_block, heat_cell, table_block
from .data import ReportData
from .figures_fusion import attention_figure, design_figure, encoder_figure, numbers
from .figures_fusion_scores import SHIFTED, ablation_figure, heat_figure, rows_of, severity_figure, variant_kind
from .findings import signed

__all__ = ["ablation_tables", "fusion_findings", "fusion_sections"]

_CONTROLS = ("shuffled", "random", "projection")
_MAIN = 6


def fusion_sections(data: ReportData) -> list[Section]:
    """Build the section; none for a study without fusion."""
    if not data.has("fusion"):
        return []
    blocks: list[Block] = [Findings(fusion_findings(data)), figure_block(design_figure(data), "")]
    blocks += [figure_block(encoder_figure(data), ""), encoder_table(data)]
    blocks += [figure_block(ablation_figure(data), ""), *ablation_tables(data)]
    for drawing in (severity_figure(data), heat_figure(data), attention_figure(data)):
        if drawing is not None:
            blocks.append(figure_block(drawing, ""))
    blocks.insert(-1 if data.attention else len(blocks), domain_table(data))
    return [Section("fusion", "Brain-machine fusion", tuple(blocks))]


def fusion_findings(data: ReportData) -> list[tuple[str, str]]:
    """Say in sentences what came out, controls beside it; warnings first."""
    design = data.fusion_design or {}
    found: list[tuple[str, str]] = []
    if design.get("simulated"):
        said = "The brain of this fusion is SIMULATED: what it is worth here says nothing about a real one."
        found.append((said, "caution"))
    encoder = data.table("fusion_encoder")
    worse = encoder[encoder["worse_than_mean"].astype(bool)]
    if len(worse):
        names = ", ".join(worse["roi"].head(6)) + (", ..." if len(worse) > 6 else "")
        found.append(
            (
                f"In {len(worse)} of {len(encoder)} regions the encoder predicts held-out images worse than the "
                f"training images' mean does ({names}): their predicted responses carry noise.",
                "caution",
            )
        )
    if len(encoder):
        weights = encoder["units"].to_numpy(float)
        r = float(np.average(encoder["r"].to_numpy(float), weights=weights))
        ceiling = numbers(encoder, "ceiling")
        known = ceiling.notna().to_numpy()
        beside = ""
        if known.any():
            beside = (
                f", where a noiseless prediction could reach {np.average(ceiling[known], weights=weights[known]):.2f}"
            )
        found.append((f"The encoder's mean held-out correlation over all units is {r:.2f}{beside}.", ""))
    for target in (design.get("source"), SHIFTED):
        sentence = _verdict(data, str(target))
        if sentence:
            found.append((sentence, ""))
    return found + [(str(note), "") for note in design.get("notes", ())]


def _verdict(data: ReportData, target: str) -> str:
    """Compare the full fusion with the reference and with its controls on one target."""
    seeds = rows_of(data, "fusion_seeds", target)
    paired = rows_of(data, "fusion_paired", target).set_index("variant")
    own = seeds[(seeds["fuse"] == "cross_attention") & (seeds["responses"] == "predicted")]
    reference = (data.fusion_design or {}).get("reference")
    if own.empty or reference not in set(seeds["variant"]) or own.iloc[0]["variant"] not in paired.index:
        return ""
    row, base = own.iloc[0], seeds[seeds["variant"] == reference].iloc[0]
    tested = paired.loc[row["variant"]]
    where = "Over all shifted domains" if target == SHIFTED else f"On {target} as it is"
    said = (
        f"{where}, {_word(row['variant'])} with predicted responses reaches {100 * row['mean']:.1f} % and "
        f"{_word(reference)} {100 * base['mean']:.1f} %: {signed(100 * tested['difference'], 1)} points"
    )
    if np.isfinite(tested["ci_low"]):
        said += f" [{signed(100 * tested['ci_low'], 1)}, {signed(100 * tested['ci_high'], 1)}], q = {tested['q']:.2f}"
    elif isinstance(tested["reason"], str) and tested["reason"]:
        said += f" ({tested['reason']})"
    same = seeds[(seeds["fuse"] == row["fuse"]) & seeds["responses"].isin(_CONTROLS)]
    beside = [f"{_word(name)} {100 * mean:.1f} %" for name, mean in zip(same["variant"], same["mean"], strict=True)]
    return said + (f". Controls: {', '.join(beside)}." if beside else ".")


def encoder_table(data: ReportData) -> TableBlock:
    """Lay out the held-out scores of every region."""
    table = data.table("fusion_encoder").assign(ceiling=lambda frame: numbers(frame, "ceiling"))
    columns = [
        Column("roi", "region"),
        Column("neuron_class", "class"),
        Column("units", "units"),
        Column("r", "held-out r", 3, signed=True),
        Column("r_sd", "± over units", 3),
        Column("ceiling", "noise ceiling", 3),
        Column("r2", "variance explained, %", 1, scale=100, signed=True),
        Column("worse_than_mean", "worse than the mean"),
    ]
    design = data.fusion_design or {}
    caption = f"The brain encoder by region, {design.get('folds', '')}-fold: before anything is fused."
    return table_block(table, columns, caption, csv="fusion_encoder")


def ablation_tables(data: ReportData) -> list[TableBlock]:
    """Lay out every head within the domain and over the shifted ones, with its difference to the reference."""
    design = data.fusion_design or {}
    present = set(data.table("fusion_seeds")["target"])
    places = [(str(design.get("source")), f"on {design.get('source')} as it is"), (SHIFTED, "over all shifted domains")]
    return [_ablation(data, target, words) for target, words in places if target in present]


def _ablation(data: ReportData, target: str, words: str) -> TableBlock:
    reference = (data.fusion_design or {}).get("reference")
    paired = rows_of(data, "fusion_paired", target).set_index("variant")
    rows = []
    for _, own in rows_of(data, "fusion_seeds", target).iterrows():
        name, blind = own["variant"], own["fuse"] in ("image", "linear")
        row = {"variant": _word(name) + (" (reference)" if name == reference else ""), "given": _given(own)}
        row |= {"pearson": np.nan if blind else own["pearson"], "units": np.nan if blind else own["units"]}
        row |= {"weights": own["weights"], "accuracy": _spread(own), "mean": own["mean"], "ece": own["ece"]}
        if name in paired.index:
            tested = paired.loc[name]
            row |= {"difference": _difference(tested), "sort": tested["difference"], "q": tested["q"]}
            row |= {"reason": tested["reason"] or np.nan}
        rows.append(row)
    columns = [
        Column("variant", "head"),
        Column("given", "is given"),
        Column("pearson", "λ", 2),
        Column("units", "units"),
        Column("weights", "weights"),
        Column("accuracy", "accuracy, %", sort_by="mean"),
        Column("difference", "− reference, points", sort_by="sort"),
        Column("q", "q", 2),
        Column("reason", "why there is no test"),
        Column("ece", "ECE", 3),
    ]
    caption = (
        f"Heads {words}: accuracy, mean ± standard deviation over seeds; the difference to {_word(reference)} paired "
        "by seed with its 95 % interval (Student's t; the spread over seeds is taken to be at least the binomial "
        f"error over test images, and fewer than {FEWEST_SEEDS} seeds are not tested), q by Benjamini-Hochberg over "
        "the heads that are tested; ECE is the expected calibration error. Shuffled, random and projected responses "
        "say nothing of a brain: a head must pass them, "
        "not only the image, for the brain to be what helps."
    )
    return table_block(pd.DataFrame(rows), columns, caption, csv="fusion_paired")


def domain_table(data: ReportData) -> TableBlock:
    """Lay out accuracy on every domain for the main heads."""
    seeds = data.table("fusion_seeds")
    subset = seeds[seeds["units"] == seeds["units"].max()]
    whole = list(dict.fromkeys(subset["variant"]))
    reference = (data.fusion_design or {}).get("reference")
    chosen = whole[:_MAIN]
    if reference in whole and reference not in chosen:
        chosen = [*whole[: _MAIN - 1], reference]
    columns = [Column("target", "domain")] + [Column(name, _word(name), 1) for name in chosen]
    rows = []
    for target in dict.fromkeys(seeds["target"]):
        own = seeds[seeds["target"] == target].set_index("variant")
        cells = [Cell(str(target), str(target))]
        for name in chosen:
            mean = float(own.loc[name, "mean"])
            cells.append(heat_cell(Cell(_spread(own.loc[name]), repr(mean), True), mean))
        rows.append(tuple(cells))
    caption = (
        "Accuracy (%) on every domain, mean ± standard deviation over seeds, of the first heads that use all "
        "regions; the CSV has every head with its Wilson interval and calibration."
    )
    return TableBlock(tuple(columns), tuple(rows), caption, "fusion")


def _spread(row: pd.Series) -> str:
    mean, sd = 100 * float(row["mean"]), 100 * float(row["sd"])
    return f"{mean:.1f} ± {sd:.1f}" if np.isfinite(sd) else f"{mean:.1f}"


def _difference(row: pd.Series) -> str:
    text = signed(100 * float(row["difference"]), 1)
    low, high = 100 * float(row["ci_low"]), 100 * float(row["ci_high"])
    return f"{text} [{signed(low, 1)}, {signed(high, 1)}]" if np.isfinite(low) else text


def _given(row: pd.Series) -> str:
    kind = variant_kind(row)
    words = {"predicted": "predicted responses", "image": "the image alone", "projection": "random projection"}
    return words.get(kind, f"{kind} responses")


def _word(name: object) -> str:
    return str(name).replace("_", " ")
