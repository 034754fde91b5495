"""Summaries of a transfer table: spread over seeds, paired differences, means over transfers with ranks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from alignment._validation import check_choice, check_number
from neural_alignment import DataError

__all__ = ["condition_differences", "paired_differences", "rank_variants", "summarise_seeds"]

_NEEDED = ("model", "layer_variant", "source", "target", "seed", "accuracy")
_PLACE = ["model", "layer_variant", "source", "target"]


def summarise_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread of the accuracy over seeds.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``model``, ``layer_variant``, ``source``, ``target``, ``seed`` and ``accuracy``, one row a
        training and target; a ``method`` column, where there is one, keeps methods apart.

    Returns
    -------
    pandas.DataFrame
        A row a model, variant, source and target: ``mean``, ``sd`` (of one seed: NaN), ``low``, ``high``
        (the lowest and highest seed) and ``seeds``.

    Raises
    ------
    DataError
        Columns are missing, the table is empty, or a seed occurs twice.

    Examples
    --------
    >>> rows = [("cnn", "neurn", "mnist", "usps", seed, value) for seed, value in enumerate([0.5, 0.7])]
    >>> table = pd.DataFrame(rows, columns=["model", "layer_variant", "source", "target", "seed", "accuracy"])
    >>> summarise_seeds(table)["mean"].tolist()
    [0.6]
    """
    place = _check(table)
    grouped = table.groupby(place, sort=False)["accuracy"]
    columns = {"mean": grouped.mean(), "sd": grouped.std(), "low": grouped.min(), "high": grouped.max()}
    return pd.DataFrame({**columns, "seeds": grouped.count()}).reset_index()


def paired_differences(
    table: pd.DataFrame, variant: str = "neurn", reference: str = "baseline", level: float = 0.95
) -> pd.DataFrame:
    """Accuracy with a layer minus without it, paired by seed.

    Parameters
    ----------
    table : pandas.DataFrame
        As for :func:`summarise_seeds`.
    variant, reference : str, optional
        The layer variants to compare; only seeds that both have are used.
    level : float, optional
        Coverage of the interval.

    Returns
    -------
    pandas.DataFrame
        A row a model, source and target: ``difference`` (mean over seeds), ``ci_low``, ``ci_high``
        (Student's t), ``p`` (two-sided paired t test), ``q`` (Benjamini-Hochberg over the rows) and
        ``seeds``. With one seed the interval, p and q are NaN: a difference of one pair says nothing of its
        spread.

    Raises
    ------
    InputError
        A variant that the table does not have.
    DataError
        Columns are missing, or no seed has both variants.

    Notes
    -----
    The spread is over trainings on the same images. With three seeds a sign-flip test could not go below p =
    0.25, so the t test is used; it takes the differences to be about normal.
    """
    place = [name for name in _check(table) if name != "layer_variant"]
    check_number(level, "level", "paired_differences", low=0, high=1, open_low=True)
    present = list(dict.fromkeys(table["layer_variant"]))
    check_choice(variant, "variant", "paired_differences", present)
    check_choice(reference, "reference", "paired_differences", present)
    columns = [*place, "seed"]
    left, right = (table.loc[table["layer_variant"] == name, [*columns, "accuracy"]] for name in (variant, reference))
    paired = left.merge(right, on=columns, suffixes=("", "_reference"))
    if paired.empty:
        raise DataError(f"No model, transfer and seed has both '{variant}' and '{reference}': nothing to compare.")
    paired["difference"] = paired["accuracy"] - paired["accuracy_reference"]
    return _student(paired, place, level)


def condition_differences(
    table: pd.DataFrame,
    variant: str = "baseline",
    method: str = "plain",
    *,
    over_models: bool = False,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy of every layer and method minus that of one of them, paired by seed.

    Parameters
    ----------
    table : pandas.DataFrame
        As for :func:`summarise_seeds`; without a ``method`` column all trainings are ``plain``.
    variant, method : str, optional
        The layer variant and the method that the others are compared with.
    over_models : bool, optional
        Average the differences over models first, seed by seed, over the seeds that all of them have.
    level : float, optional
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        A row a model, layer variant, method, source and target: ``difference``, ``ci_low``, ``ci_high``,
        ``p``, ``q`` and ``seeds`` as of :func:`paired_differences`, q over all the rows. With
        ``over_models`` no ``model``, but ``models``, their number. No rows where nothing can be paired.

    Raises
    ------
    InputError
        A layer variant or method that the table does not have.
    DataError
        Columns are missing, or a seed occurs twice.

    Examples
    --------
    >>> rows = [("cnn", "baseline", 0.5), ("cnn", "neurn", 0.75), ("cnn", "lrn", 0.25)]
    >>> table = pd.DataFrame(rows, columns=["model", "layer_variant", "accuracy"])
    >>> table = table.assign(source="mnist", target="usps", seed=0)
    >>> condition_differences(table)[["layer_variant", "difference"]].values.tolist()
    [['neurn', 0.25], ['lrn', -0.25]]
    """
    if "method" not in table.columns:
        table = table.assign(method="plain")
    check_number(level, "level", "condition_differences", low=0, high=1, open_low=True)
    place = _check(table)
    check_choice(variant, "variant", "condition_differences", list(dict.fromkeys(table["layer_variant"])))
    check_choice(method, "method", "condition_differences", list(dict.fromkeys(table["method"])))
    chosen = (table["layer_variant"] == variant) & (table["method"] == method)
    pairing = ["model", "source", "target", "seed"]
    against = table.loc[chosen, [*pairing, "accuracy"]]
    paired = table.loc[~chosen, [*place, "seed", "accuracy"]].merge(against, on=pairing, suffixes=("", "_reference"))
    paired = paired.assign(difference=paired["accuracy"] - paired["accuracy_reference"])
    if not over_models:
        return _student(paired, place, level)
    place.remove("model")
    models = paired.groupby(place, sort=False)["model"].nunique().rename("models").reset_index()
    by_seed = paired.groupby([*place, "seed"], sort=False)["difference"].agg(["mean", "count"]).reset_index()
    by_seed = by_seed.merge(models, on=place).query("count == models").rename(columns={"mean": "difference"})
    return _student(by_seed, place, level).merge(models, on=place)


def _student(paired: pd.DataFrame, place: list[str], level: float) -> pd.DataFrame:
    """Return mean, t interval, p and q of the differences of each place, a row of ``paired`` a seed."""
    from scipy.special import stdtr, stdtrit

    grouped = paired.groupby(place, sort=False)["difference"]
    columns_of = {"difference": grouped.mean(), "sd": grouped.std(), "seeds": grouped.count()}
    result = pd.DataFrame(columns_of).reset_index()
    count = result["seeds"].to_numpy(float)
    freedom = np.where(count > 1, count - 1, np.nan)
    error = result["sd"].to_numpy(float) / np.sqrt(count)
    mean = result["difference"].to_numpy(float)
    half = stdtrit(freedom, 0.5 + level / 2) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / error
    result = result.assign(ci_low=mean - half, ci_high=mean + half, p=2 * stdtr(freedom, -t))
    result["q"] = _adjusted(result["p"].to_numpy(float))
    return result[[*place, "difference", "ci_low", "ci_high", "p", "q", "seeds"]]


def rank_variants(table: pd.DataFrame, include_same: bool = False) -> pd.DataFrame:
    """Mean accuracy of each layer variant over transfers, with its mean rank.

    Parameters
    ----------
    table : pandas.DataFrame
        As for :func:`summarise_seeds`.
    include_same : bool, optional
        Count source = target as well.

    Returns
    -------
    pandas.DataFrame
        A row a model and variant (and method): ``mean_accuracy`` over the transfers that all variants of the
        model have, ``mean_rank`` among them (1 is best, ties share), ``transfers``; best first.

    Raises
    ------
    DataError
        Columns are missing, or no transfer that all variants have.
    """
    place = _check(table)
    who = [name for name in place if name not in ("source", "target")]
    means = summarise_seeds(table)
    if not include_same:
        means = means[means["source"] != means["target"]]
    parts = []
    for _, part in means.groupby("model", sort=False):
        wide = part.pivot_table(index=who, columns=["source", "target"], values="mean").dropna(axis=1)
        if wide.shape[1] == 0:
            continue
        ranks = wide.rank(axis=0, ascending=False)
        summary = pd.DataFrame({"mean_accuracy": wide.mean(axis=1), "mean_rank": ranks.mean(axis=1)})
        parts.append(summary.assign(transfers=wide.shape[1]).sort_values("mean_rank").reset_index())
    if not parts:
        raise DataError("No transfer that all variants of a model have: there is nothing to rank.")
    return pd.concat(parts, ignore_index=True)


def _check(table: pd.DataFrame) -> list[str]:
    lacking = [name for name in _NEEDED if name not in table.columns]
    if lacking:
        raise DataError(f"A transfer table needs the columns {', '.join(_NEEDED)}. It lacks {', '.join(lacking)}.")
    if table.empty:
        raise DataError("The transfer table is empty: there is nothing to summarise.")
    place = [*_PLACE, *(["method"] if "method" in table.columns else [])]
    doubled = table.duplicated([*place, "seed"])
    if doubled.any():
        first = table.loc[doubled, [*place, "seed"]].iloc[0].to_dict()
        raise DataError(f"A seed occurs twice in the transfer table: {first}. Keep one row of each.")
    return place


def _adjusted(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Benjamini-Hochberg q values; NaN stays NaN and is not counted."""
    from statsmodels.stats.multitest import multipletests

    q = np.full(values.shape, np.nan)
    told = np.isfinite(values)
    if told.any():
        q[told] = multipletests(values[told], method="fdr_bh")[1]
    return q
