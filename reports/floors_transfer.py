"""What stands beside accuracies: chance and nearest neighbours, and the targets that a layer makes equal."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alignment.transfer import EQUAL_SHARE

from .blocks import Block, Column, Prose, table_block
from .data import ReportData
from .views_transfer import cells_below, condition_labels, equal_transfers, in_transfers, transfers, with_condition

__all__ = ["MARK", "floor_values", "floors_caption", "gain_blocks", "reference_condition", "share_text"]

MARK = "†"
"""Stands behind the accuracy of a network that lies below a floor."""

_LAYERS = ("neurn", "sobel")
_NEIGHBOUR = "1-nearest neighbour"


def reference_condition(data: ReportData) -> str:
    """Return the condition whose accuracy is compared with the floors; empty where the study has no floors."""
    floors = data.table("transfer_floors")
    names = floors.loc[floors["reference"].eq(True), "layer_variant"]
    return str(names.iloc[0]) if len(names) else ""


def floor_values(data: ReportData, source: str, target: str) -> dict[str, dict[tuple[str, str], float]]:
    """Return the floors of one source and target by name, for every (model, layer variant), in [0, 1]."""
    floors = in_transfers(data.table("transfer_floors"), source, target)
    places = list(zip(floors["model"].astype(str), floors["layer_variant"].astype(str), strict=True))
    columns = {"chance": floors["chance"], _NEIGHBOUR: floors["nearest_neighbour"]}
    return {name: dict(zip(places, values.astype(float), strict=True)) for name, values in columns.items()}


def floors_caption(data: ReportData) -> str:
    """Explain the rows of the floors, and the mark of a network below one."""
    floors = data.table("transfer_floors")
    if floors.empty:
        return ""
    side = int(floors["pixels"].iloc[0])
    said = (
        f" Chance is one over the number of classes; {_NEIGHBOUR} takes the class of the nearest training image, on "
        f"{side}×{side} grey pixels of the same training and test images, as they are and behind the layer."
    )
    if len(cells_below(data)):
        said += (
            f" {MARK}: below chance or below {_NEIGHBOUR} on the pixels as they are; nothing is concluded about layers "
            "from such a network."
        )
    return said


def share_text(share: float) -> str:
    """Write the distance behind a layer as a percentage of that before it."""
    return "below 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def gain_blocks(data: ReportData) -> list[Block]:
    """Print NeuRN's and Sobel's gain by target, with and without the targets that NeuRN makes equal by construction."""
    table = data.table("transfer_invariance")
    if not (table["layer_variant"] == "neurn").any():
        return []
    if table["share"].isna().all():
        text = "No target is a shift of the source's own images, so a layer makes none equal to it by construction."
        return [Prose(text, absent=True)]
    gains = with_condition(data.table("transfer_overall").query("reference == 'baseline'"))
    rows = [_gain_row(data, gains, pair) for pair in transfers(table)]
    frame = pd.DataFrame(rows)
    equal = frame["pair"].isin(equal_transfers(data))
    groups = [(f"mean of all {len(frame)}", frame)]
    if equal.any():
        groups += [
            (f"mean of the {int(equal.sum())} that NeuRN makes equal", frame[equal]),
            (f"mean of the other {int((~equal).sum())}", frame[~equal]),
        ]
    means = [{"transfer": name, **part.filter(like="gain").mean().to_dict()} for name, part in groups if len(part)]
    shown, labels = pd.concat([frame, pd.DataFrame(means)], ignore_index=True), condition_labels(data)
    columns = [Column("transfer", "source → target")]
    columns += [Column(f"share_{name}", f"behind {labels[name]}, %", 1, scale=100) for name in _LAYERS]
    columns += [Column(f"gain_{name}", f"gain, {labels[name]}", 1, signed=True) for name in _LAYERS]
    images = int(table["images"].max())
    caption = (
        "Gain in accuracy on unseen targets (percentage points, mean over models and seeds, networks below a floor "
        f"included) beside the distance of paired images, a source image and its shifted copy (n = {images}), behind a "
        "layer, in % of their distance before it. Up to "
        f"{100 * EQUAL_SHARE:g} % the layer makes the target equal to the source by construction: a gain there shows "
        "that the layer undoes this shift, and nothing about other ones. –: not a shift of the source's own images."
    )
    return [table_block(shown, columns, caption, csv="transfer_invariance")]


def _gain_row(data: ReportData, gains: pd.DataFrame, pair: tuple[str, str]) -> dict[str, object]:
    table, row = in_transfers(data.table("transfer_invariance"), *pair), {"pair": pair, "transfer": " → ".join(pair)}
    own = in_transfers(gains, *pair)
    for name in _LAYERS:
        row[f"share_{name}"] = table.loc[table["layer_variant"] == name, "share"].astype(float).max()
        difference = own.loc[own["condition"] == name, "difference"].astype(float)
        row[f"gain_{name}"] = 100 * float(difference.iloc[0]) if len(difference) else np.nan
    return row
