"""Summaries of controls and ceilings that their figure and tables share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .data import ReportData
from .views import ordered_groups, ordered_variants, primary_representation

__all__ = ["claim_rows", "condition_scores", "group_ceilings", "group_directions", "null_counts", "null_sentence"]

_NUMBERS = ["value", "ci_low", "ci_high", "ceiling", "normalised", "null_mean", "null_low", "null_high", "n_cells"]
_ORDER = ("all", "neuron_class", "area", "cortical_layer", "cre_line", "genotype")


def condition_scores(data: ReportData, metric: str) -> pd.DataFrame:
    """Average a metric to all cells over the layers of every network, trained and not, with each layer in front.

    Returns
    -------
    pandas.DataFrame
        model, layer_variant, twin, value, ci_low, ci_high, ceiling, normalised, null_mean, null_low, null_high,
        n_cells, n_layers, n_clear (layers with q < 0.05 against shuffled scenes; NaN where nothing was shuffled).
        Intervals and null limits are means of the layers', which share their cells.
    """
    table = data.table("similarity")
    table = table[(table["metric"] == metric) & (table["group_by"] == "all")]
    table = table[table["representation"] == primary_representation(data.table("similarity"))]
    if table.empty:
        return pd.DataFrame(columns=["model", "layer_variant", "twin", *_NUMBERS, "n_layers", "n_clear"])
    table = table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in (*_NUMBERS, "q")})
    table["n_clear"] = np.where(table["q"].notna(), (table["q"] < 0.05).astype(float), np.nan)
    grouped = table.groupby(["model", "layer_variant", "twin"], sort=False)
    frame = grouped[_NUMBERS].mean()
    frame["n_layers"] = grouped.size()
    frame["n_clear"] = grouped["n_clear"].sum(min_count=1)
    frame = frame.reset_index()
    order = {name: place for place, name in enumerate(ordered_variants(frame))}
    models = {name: place for place, name in enumerate(pd.unique(frame["model"]))}
    ranks = frame.assign(_model=frame["model"].map(models), _layer=frame["layer_variant"].map(order))
    return ranks.sort_values(["_model", "twin", "_layer"], kind="stable", ignore_index=True).drop(
        columns=["_model", "_layer"]
    )


def null_counts(data: ReportData, metric: str) -> tuple[int, int]:
    """Return how many layers, without and with NeuRN, are closer to all cells than with the scenes shuffled.

    Returns
    -------
    (int, int)
        Layers with q < 0.05, and layers that were held against shuffled scenes.
    """
    frame = condition_scores(data, metric)
    frame = frame[~frame["twin"].astype(bool) & frame["layer_variant"].isin(("baseline", "neurn"))]
    frame = frame[frame["n_clear"].notna()]
    return int(frame["n_clear"].sum()), int(frame["n_layers"].sum())


def null_sentence(data: ReportData, metric: str) -> str:
    """Say what the shuffled scenes leave of a metric's scores to all cells, and of their change with NeuRN."""
    clear, layers = null_counts(data, metric)
    if not layers:
        return "The scenes were not shuffled for it, so whether it says anything of these cells is unknown."
    counted = f"{clear} of {layers} layers are closer to the cells than with the scenes shuffled (q < 0.05)"
    if clear:
        return f"Against shuffled scenes: {counted}."
    return f"Against shuffled scenes: {counted}, so neither score nor change tells how alike network and cells are."


def group_directions(data: ReportData, group_by: str) -> pd.DataFrame:
    """Return which way RMSE moves with NeuRN for each group, over all models, where null and donors allow to say so.

    Returns
    -------
    pandas.DataFrame
        The rows of the claims, indexed by group, with ``direction`` ("lower", "higher", "undecided", "cannot tell")
        and ``reason``.
    """
    groups, _ = claim_rows(data)
    return groups[groups["group_by"] == group_by].set_index("group")


def group_ceilings(data: ReportData, metric: str) -> pd.DataFrame:
    """Return the ceiling of every group of one coordinate beside its scores, mean over layers, then models.

    Returns
    -------
    pandas.DataFrame
        group_by, group, n_cells, ceiling, ci_low, ci_high, correlation (Spearman–Brown corrected), for the baseline
        and NeuRN ``baseline``, ``neurn`` and, as parts of the ceiling, ``baseline_part``, ``neurn_part``; and reason.
    """
    ceilings = data.table("ceilings")
    primary = primary_representation(ceilings)
    ceilings = ceilings[
        (ceilings["representation"] == primary) & ~ceilings["group_by"].astype(str).str.contains("+", regex=False)
    ]
    own = ceilings[ceilings["metric"] == metric]
    if own.empty:
        return own
    keys = ["group_by", "group"]
    reliability = ceilings[ceilings["metric"] == "correlation"].set_index(keys)["ceiling"]
    frame = own.set_index(keys)[["n_cells", "ceiling", "ci_low", "ci_high", "reason"]]
    frame = frame.join(reliability.rename("correlation"))
    scores = data.table("similarity")
    scores = scores[(scores["metric"] == metric) & (scores["representation"] == primary) & ~scores["twin"].astype(bool)]
    for variant in ("baseline", "neurn"):
        chosen = scores[scores["layer_variant"] == variant]
        by_model = chosen.groupby([*keys, "model"])[["value", "normalised"]].mean()
        means = by_model.groupby(level=keys).mean()
        frame = frame.join(means.rename(columns={"value": variant, "normalised": f"{variant}_part"}))
    return _in_order(frame.reset_index())


def claim_rows(data: ReportData) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the verdicts of every group over all models, and those on the two classes by model.

    Groups of two coordinates stay in the table beside the page.
    """
    claims = data.table("claims")
    if claims.empty:
        return claims, claims
    metrics = set(claims["metric"])
    metric = "rmse_mean" if "rmse_mean" in metrics else sorted(metrics)[0]
    claims = claims[(claims["metric"] == metric) & (claims["representation"] == primary_representation(claims))]
    classes = claims["group"].astype(str).str.contains(" − ", regex=False)
    models = list(pd.unique(claims["model"]))
    overall = next((name for name in models if name == "all models"), models[0])
    own = claims[
        ~classes & (claims["model"] == overall) & ~claims["group_by"].astype(str).str.contains("+", regex=False)
    ]
    return _in_order(own), claims[classes].reset_index(drop=True)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows of groups as a reader expects them: all cells, classes, areas, layers, lines, genotypes."""
    groups = {name: place for place, name in enumerate(ordered_groups(list(dict.fromkeys(frame["group"].astype(str)))))}
    ranks = {name: place for place, name in enumerate(_ORDER)}
    keyed = frame.assign(
        _by=frame["group_by"].map(lambda by: ranks.get(by, 99)), _group=frame["group"].astype(str).map(groups)
    )
    return keyed.sort_values(["_by", "group_by", "_group"], kind="stable", ignore_index=True).drop(
        columns=["_by", "_group"]
    )
