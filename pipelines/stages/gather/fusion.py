"""What a report shows of brain-machine fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipelines.perform import Inputs

__all__ = ["SHIFTED", "gather_fusion"]

SHIFTED = "all shifted"
"""The target that stands for the mean over every domain but the source's own test split."""

_PLACE = ["variant", "target"]


def gather_fusion(inputs: Inputs, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report's parts that are about fusion, by the names of its fields; none without a head.

    Parameters
    ----------
    inputs : Inputs
        ``ood:`` results of every head, ``attention:`` of some, and ``brain_encoder``.
    study : mapping
        The study as resolved.

    Returns
    -------
    dict
        ``fusion`` (a row a head and domain, with a mean over the shifted ones), ``fusion_seeds`` (means over seeds),
        ``fusion_paired`` (differences to the reference, paired by seed), ``fusion_encoder`` (a row a region),
        ``fusion_design`` (what was built, in numbers) and ``attention``.
    """
    names = inputs.names("ood:")
    if not names:
        return {}
    rows = pd.concat([inputs[name] for name in names], ignore_index=True)
    rows = _with_mean(rows)
    chosen, encoder = study["fusion"], inputs["brain_encoder"]
    return {
        "fusion": rows,
        "fusion_seeds": _seeds(rows),
        "fusion_paired": _paired(rows, chosen["reference"]),
        "fusion_encoder": encoder["scores"],
        "fusion_design": _design(rows, chosen, encoder["told"], len(encoder["scores"])),
        "attention": _attention(inputs),
    }


def _with_mean(rows: pd.DataFrame) -> pd.DataFrame:
    """Name shift and severity of every target, and add each head's mean over all but the source."""
    parts = [_shift(target, source) for target, source in zip(rows["target"], rows["source"], strict=True)]
    rows = rows.assign(shift=[shift for shift, _ in parts], severity=[level for _, level in parts])
    shifted = rows[rows["target"] != rows["source"]]
    if shifted.empty:
        return rows
    same = [column for column in rows.columns if rows.groupby(["variant", "seed"])[column].nunique().le(1).all()]
    first = shifted.groupby(["variant", "seed"], sort=False)[[c for c in same if c not in ("variant", "seed")]].first()
    means = shifted.groupby(["variant", "seed"], sort=False)[["accuracy", "ece", "loss", "balanced_accuracy"]].mean()
    counts = shifted.groupby(["variant", "seed"], sort=False)[["n", "left_out"]].sum()
    overall = pd.concat([first.drop(columns=[*means, *counts], errors="ignore"), means, counts], axis=1).reset_index()
    overall = overall.assign(target=SHIFTED, shift=SHIFTED, severity=np.nan, ci_low=np.nan, ci_high=np.nan)
    return pd.concat([rows, overall[[c for c in rows.columns if c in overall]]], ignore_index=True)


def _shift(target: str, source: str) -> tuple[str, float]:
    if target == source:
        return "none", np.nan
    name = target.removeprefix(f"{source}.")
    shift, dash, level = name.rpartition("-")
    return (shift, float(level)) if dash and level.isdecimal() else (name, np.nan)


def _seeds(rows: pd.DataFrame) -> pd.DataFrame:
    grouped = rows.groupby(_PLACE, sort=False)
    table = pd.DataFrame({"mean": grouped["accuracy"].mean(), "sd": grouped["accuracy"].std()})
    table["ece"], table["ece_sd"] = grouped["ece"].mean(), grouped["ece"].std()
    table["seeds"], table["n"] = grouped["seed"].nunique(), grouped["n"].first()
    told = grouped[["fuse", "responses", "pearson", "units", "weights", "shift", "severity"]].first()
    return table.join(told).join(grouped["seconds"].mean()).reset_index()


def _paired(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Compare every variant with the reference on every target, q over the variants of a target."""
    from alignment.similarity import benjamini_hochberg
    from alignment.transfer import condition_differences

    table = rows.assign(layer_variant=rows["variant"], model="head")
    # The mean over shifted domains has no more images than the smallest of them: they are shifts of one set.
    shifted = rows.loc[~rows["target"].isin([SHIFTED, rows["source"].iloc[0]]), "n"]
    table["n"] = table["n"].mask(table["target"] == SHIFTED, shifted.min())
    compared = condition_differences(table, variant=reference)
    compared = compared.rename(columns={"layer_variant": "variant"}).drop(columns=["method", "model"])
    # One question a target: which heads differ from the reference there.
    compared["q"] = compared.groupby("target")["p"].transform(lambda p: benjamini_hochberg(p.to_numpy(float)))
    return compared.assign(reference=reference)


def _design(rows: pd.DataFrame, chosen: Mapping[str, Any], told: Mapping[str, Any], rois: int) -> dict[str, Any]:
    own = rows[rows["target"] == chosen["source"]].iloc[0]
    return {
        **{name: told[name] for name in ("name", "images", "units", "kind", "folds", "features", "grid", "layer")},
        "has_cls": told["has_cls"],
        "simulated": bool(told["simulated"]),
        "notes": list(told["notes"]),
        "rois": rois,
        "encoder": str(own["model"]),
        "classes": int(own["classes"]),
        "source": chosen["source"],
        "reference": chosen["reference"],
        "pearson": chosen["pearson"],
        "seeds": len(chosen["seeds"]),
        **{name: chosen["head"][name] for name in ("width", "depth", "heads", "patch")},
    }


def _attention(inputs: Inputs) -> list[Any]:
    from reports import AttentionMaps

    found = []
    for name in inputs.names("attention:"):
        data = inputs[name]
        images = data["images"].transpose(0, 2, 3, 1)
        found.append(AttentionMaps(name.partition(":")[2], images, data["maps"], list(data["labels"])))
    return found
