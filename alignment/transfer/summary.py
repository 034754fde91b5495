"""Summaries of a transfer table: spread over seeds, paired differences, means over transfers with ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alignment._validation import check_choice, check_number
from neural_alignment import DataError

__all__ = ["condition_differences", "paired_differences", "pooled_difference", "rank_variants", "summarise_seeds"]

FEWEST_SEEDS = 3
"""Seeds below which a difference gets neither interval nor p."""

_FEW_SEEDS = "not testable: {seeds} seed{s}, and a test needs at least {fewest}"
_NO_IMAGES = "not testable: the number of test images is not known"

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
        As for :func:`summarise_seeds`, with ``n``, the number of test images of each row.
    variant, reference : str, optional
        The layer variants to compare; only seeds that both have are used.
    level : float, optional
        Coverage of the interval.

    Returns
    -------
    pandas.DataFrame
        One row per model, source and target: ``difference`` (mean over seeds), ``ci_low``, ``ci_high``
        (Student's t), ``p`` (two-sided paired t test), ``q`` (Benjamini-Hochberg over the rows that can be
        tested), ``seeds`` and ``reason``. With fewer than three seeds, or without ``n``, the interval, p and q
        are NaN, and ``reason`` says why; it is empty where there is a test.

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

    Accuracies are multiples of 1/n, so a few seeds often agree by chance. Their standard deviation is therefore
    taken to be at least the binomial error of the difference, the root of the two accuracies' variances
    p (1 - p) / n, each with two successes and two failures added (Agresti and Coull 1998), so that it is above
    zero for accuracies of 0 and 1 too. Images that both variants get right or wrong together make the true error
    smaller: the floor is on the safe side.
    """
    place = [name for name in _check(table) if name != "layer_variant"]
    check_number(level, "level", "paired_differences", low=0, high=1, open_low=True)
    present = list(dict.fromkeys(table["layer_variant"]))
    check_choice(variant, "variant", "paired_differences", present)
    check_choice(reference, "reference", "paired_differences", present)
    columns, table = [*place, "seed"], _with_images(table)
    left, right = (
        table.loc[table["layer_variant"] == name, [*columns, "accuracy", "n"]] for name in (variant, reference)
    )
    paired = left.merge(right, on=columns, suffixes=("", "_reference"))
    if paired.empty:
        raise DataError(f"No model, transfer and seed has both '{variant}' and '{reference}': nothing to compare.")
    return _student(_subtracted(paired), place, level)


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
        As for :func:`paired_differences`; without a ``method`` column all trainings are ``plain``.
    variant, method : str, optional
        The layer variant and the method that the others are compared with.
    over_models : bool, optional
        Average the differences over models first, seed by seed, over the seeds that all of them have.
    level : float, optional
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row per model, layer variant, method, source and target: ``difference``, ``ci_low``, ``ci_high``,
        ``p``, ``q``, ``seeds`` and ``reason`` as of :func:`paired_differences`, q over all rows that can be
        tested. With ``over_models`` no ``model``, but ``models``, their number; the models share their test
        images, so the floor of the spread is the mean of theirs. No rows where nothing can be paired.

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
    pairing, table = ["model", "source", "target", "seed"], _with_images(table)
    against = table.loc[chosen, [*pairing, "accuracy", "n"]]
    others = table.loc[~chosen, [*place, "seed", "accuracy", "n"]]
    paired = _subtracted(others.merge(against, on=pairing, suffixes=("", "_reference")))
    if not over_models:
        return _student(paired, place, level)
    place.remove("model")
    models = paired.groupby(place, sort=False)["model"].nunique().rename("models").reset_index()
    by_seed = _by_seed(paired, place).merge(models, on=place).query("count == models")
    return _student(by_seed, place, level).merge(models, on=place)


def pooled_difference(
    table: pd.DataFrame, variant: str = "neurn", reference: str = "baseline", level: float = 0.95
) -> pd.Series[Any]:
    """Accuracy with a layer minus without it as one number over all models, sources and targets of a table.

    Parameters
    ----------
    table : pandas.DataFrame
        As for :func:`paired_differences`.
    variant, reference : str, optional
        The layer variants to compare.
    level : float, optional
        Coverage of the interval.

    Returns
    -------
    pandas.Series
        ``difference``, ``ci_low``, ``ci_high``, ``p``, ``seeds`` and ``reason`` as of
        :func:`paired_differences`, averaged seed by seed, over the seeds that have the most combinations of model,
        source and target.

    Raises
    ------
    InputError
        A variant that the table does not have.
    DataError
        Columns are missing, or no seed has both variants.

    Examples
    --------
    >>> rows = [("vit", "baseline", 0.5), ("vit", "neurn", 0.75), ("cnn", "baseline", 0.5), ("cnn", "neurn", 0.5)]
    >>> table = pd.DataFrame(rows, columns=["model", "layer_variant", "accuracy"])
    >>> pooled = pooled_difference(table.assign(source="mnist", target="usps", seed=0, n=100))
    >>> float(pooled["difference"]), pooled["reason"]
    (0.125, 'not testable: 1 seed, and a test needs at least 3')
    """
    check_number(level, "level", "pooled_difference", low=0, high=1, open_low=True)
    place = [name for name in _check(table) if name != "layer_variant"]
    present = list(dict.fromkeys(table["layer_variant"]))
    check_choice(variant, "variant", "pooled_difference", present)
    check_choice(reference, "reference", "pooled_difference", present)
    table = _with_images(table)
    left, right = (
        table.loc[table["layer_variant"] == name, [*place, "seed", "accuracy", "n"]] for name in (variant, reference)
    )
    paired = _subtracted(left.merge(right, on=[*place, "seed"], suffixes=("", "_reference"))).assign(all="all")
    if paired.empty:
        raise DataError(f"No model, transfer and seed has both '{variant}' and '{reference}': nothing to compare.")
    by_seed = _by_seed(paired, ["all"])
    whole = by_seed[by_seed["count"] == by_seed["count"].max()]
    return _student(whole, ["all"], level).iloc[0].drop(["all", "q"])


def _with_images(table: pd.DataFrame) -> pd.DataFrame:
    return table if "n" in table.columns else table.assign(n=np.nan)


def _subtracted(paired: pd.DataFrame) -> pd.DataFrame:
    """Add the ``difference`` of each row's two accuracies, and its binomial ``error`` over test images."""
    variance = sum(_binomial_variance(paired[f"accuracy{side}"], paired[f"n{side}"]) for side in ("", "_reference"))
    return paired.assign(difference=paired["accuracy"] - paired["accuracy_reference"], error=np.sqrt(variance))


def _binomial_variance(accuracy: pd.Series[Any], images: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Return Agresti and Coull's variance of a share, which is above zero for shares of 0 and 1 too."""
    n = pd.to_numeric(images, errors="coerce").to_numpy(float)
    share = (pd.to_numeric(accuracy).to_numpy(float) * n + 2) / (n + 4)
    return np.asarray(share * (1 - share) / (n + 4))


def _by_seed(paired: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """Average the differences of each place and seed; all share their images, so errors are averaged too."""
    grouped = paired.groupby([*place, "seed"], sort=False)
    means = grouped[["difference", "error"]].mean()
    return means.assign(count=grouped["difference"].count()).reset_index()


def _student(paired: pd.DataFrame, place: list[str], level: float) -> pd.DataFrame:
    """Return mean, t interval, p and q of the differences of each place, with one row of ``paired`` per seed."""
    from scipy.special import stdtr, stdtrit

    grouped = paired.groupby(place, sort=False)
    columns = {"difference": grouped["difference"].mean(), "sd": grouped["difference"].std()}
    columns |= {"floor": grouped["error"].mean(), "seeds": grouped["difference"].count()}
    result = pd.DataFrame(columns).reset_index()
    seeds, floor = result["seeds"].to_numpy(int), result["floor"].to_numpy(float)
    # NaN where there is no test: too few seeds, or a floor that is not known.
    freedom = np.where(seeds >= FEWEST_SEEDS, seeds - 1.0, np.nan)
    spread = np.where(np.isnan(floor), np.nan, np.maximum(result["sd"].to_numpy(float), floor))
    error = spread / np.sqrt(seeds)
    mean = result["difference"].to_numpy(float)
    half = stdtrit(freedom, 0.5 + level / 2) * error
    result = result.assign(ci_low=mean - half, ci_high=mean + half, p=2 * stdtr(freedom, -np.abs(mean) / error))
    result["q"] = _adjusted(result["p"].to_numpy(float))
    result["reason"] = [_reason(count, low) for count, low in zip(seeds, floor, strict=True)]
    return result[[*place, "difference", "ci_low", "ci_high", "p", "q", "seeds", "reason"]]


def _reason(seeds: int, floor: float) -> str:
    """Say why a difference cannot be tested; nothing where it can."""
    if seeds < FEWEST_SEEDS:
        return _FEW_SEEDS.format(seeds=seeds, s="" if seeds == 1 else "s", fewest=FEWEST_SEEDS)
    return _NO_IMAGES if np.isnan(floor) else ""


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
