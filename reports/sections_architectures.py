"""The section on how alike the networks are built, and whether those that are alike gain alike from NeuRN."""

from __future__ import annotations

from alignment.models.architecture import needleman_wunsch
from alignment.models.families import BLOCKS, compare_blocks, compare_published, predict_gains
from neural_alignment import InputError

from .architecture_figures import architecture_heatmap, architecture_pair
from .blocks import Block, Column, Prose, Section, figure_block, table_block
from .data import ReportData
from .views import transfer_differences

__all__ = ["architecture_section"]

_FEWEST = 4  # networks for a Mantel test: of three, p cannot fall below 1/6


def architecture_section(data: ReportData) -> Section:
    """Build the section: heat map with its tree, the published values beside ours, the Mantel test of gains."""
    blocks: list[Block] = [figure_block(architecture_heatmap(data), "Architectures were not compared in this study.")]
    similarity = data.architectures
    if similarity is not None and not similarity["correlation"].isnull().any():
        blocks += _published(data)
        blocks += _closest_pair(data)
        blocks.append(Prose(_gains(data)))
    elif similarity is not None:
        blocks.append(
            Prose("A network has the same score with all, so the rows of the score matrix cannot be correlated.")
        )
    return Section("architectures", "Architectural likeness of the networks", tuple(blocks))


def _published(data: ReportData) -> list[Block]:
    assert data.architectures is not None
    blocks: list[Block] = []
    pairs = compare_published(data.architectures)
    count = data.architectures.sizes["model"]
    if len(pairs):
        columns = [Column("model", "model"), Column("other", "other"), Column("published", "published", 2)]
        columns += [Column("ours", "ours", 2), Column("difference", "difference", 2)]
        caption = (
            f"Correlations read off the published heat map of 44 networks beside ours over n = {count}. The published "
            "networks come from two libraries that list different things as layers, and a correlation depends on "
            "every other network compared."
        )
        blocks.append(table_block(pairs, columns, caption))
    families = compare_blocks(data.architectures)
    if len(families):
        columns = [Column("block", "block"), Column("n", "networks"), Column("within", "within", 2)]
        columns += [Column("outside", "with the others", 2)]
        caption = f"Median correlation in the blocks that stand out in the published heat map ({', '.join(BLOCKS)})."
        blocks.append(table_block(families, columns, caption))
    return blocks


def _closest_pair(data: ReportData) -> list[Block]:
    """Draw the two networks that are most alike but not the same, layer opposite layer."""
    assert data.architectures is not None
    symbols = data.architectures.attrs.get("symbols")
    if not symbols:
        return []
    names = [str(name) for name in data.architectures["model"].values]
    sequences = [symbols[name].split() if " " in symbols[name] else symbols[name] for name in names]
    correlation = data.architectures["correlation"].values
    pairs = [(i, j) for i in range(len(names)) for j in range(i) if sequences[i] != sequences[j]]
    if not pairs:
        return []
    one, other = max(pairs, key=lambda pair: correlation[pair])
    scoring = {name: int(data.architectures.attrs[name]) for name in ("match", "mismatch", "gap")}
    alignment = needleman_wunsch(sequences[one], sequences[other], **scoring)
    return [figure_block(architecture_pair((names[one], names[other]), alignment), "")]


def _gains(data: ReportData) -> str:
    """Say whether like architectures gain alike from NeuRN (Mantel test), and how much such a test can tell."""
    assert data.architectures is not None
    gains = transfer_differences(data).groupby("model")["difference"].mean()
    here = [str(name) for name in data.architectures["model"].values if name in gains.index]
    question = "Do networks built alike gain alike from NeuRN? "
    if len(here) < _FEWEST:
        return (
            f"{question}This study has {len(here)} networks with both an architecture here and an accuracy with and "
            f"without NeuRN; a Mantel test needs at least {_FEWEST}."
        )
    try:
        found = predict_gains(data.architectures, {name: float(gains[name]) for name in here})
    except InputError as error:
        return f"{question}The test cannot be made: {error}"
    return (
        f"{question}Mantel test of n = {found.n} networks: rank correlation {found.correlation:.2f} between the "
        "correlation of two architectures and how alike their mean gains in accuracy are, one-sided "
        f"p = {found.p_value:.3f}. {found.note[0].upper()}{found.note[1:]}."
    )
