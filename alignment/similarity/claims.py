"""Do the published statements hold in this data? A verdict for each group, with its interval and q."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from alignment._validation import check_number, fail

from ._arrays import Array
from ._remarks import NO_CELLS
from .compare import compare_groups
from .groups import check_groups
from .inference import benjamini_hochberg

__all__ = ["CANNOT_TELL", "exception_contrasts", "published_claims"]

CANNOT_TELL: Final = "cannot tell"
"""The verdict where the null or the donors allow none; the column ``reason`` says why."""

_COLUMNS = ("group", "metric", "difference", "ci_low", "ci_high", "q")
_CONTRAST = ("contrast", "contrast_low", "contrast_high", "contrast_q")
_BETWEEN = " × "  # between the parts of a group of two coordinates: "VISp × Fezf2-1"
_NO_NULL = "no scores with the scenes shuffled to hold these against"
_NO_CONTRAST = "the group was not compared with the others"


def exception_contrasts(
    baseline: pd.DataFrame,
    variant: pd.DataFrame,
    groupings: Mapping[str, Mapping[str, Any]],
    donors: Any = None,
    *,
    exceptions: Sequence[str] = ("Fezf2",),
    by: Sequence[str] = (),
    metrics: Sequence[str] = ("rmse_mean",),
    bootstraps: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Change of each exceptional group less that of the other groups of its kind (the interaction), over donors.

    Parameters
    ----------
    baseline, variant : pandas.DataFrame
        Cells' scores with the columns ``cell``, those of ``by``, and metrics.
    groupings : mapping of str to (mapping of str to index array or boolean mask)
        The cells of each group, by what they are grouped by. ``"VISp × Fezf2-1"`` is held against the other
        groups of VISp.
    donors : (cell,) array, optional
        Each cell's donor; donors are permuted between the group and the others, as by :func:`compare_groups`.
    exceptions : sequence of str
        Groups whose name, or a part of it, begins with one of these.
    by, metrics : sequence of str
        Columns that tell comparisons apart, and those to compare.
    bootstraps, permutations, seed : int
        As of :func:`compare_groups`.

    Returns
    -------
    pandas.DataFrame
        One row per comparison, exceptional group and metric: ``by`` columns, ``group_by``, ``group``, ``metric``,
        ``others`` (the others' mean change), ``contrast`` (the group's less theirs) with ``contrast_low`` and
        ``contrast_high``, ``contrast_p``, ``contrast_p_least``, ``contrast_q`` (Benjamini–Hochberg over the
        exceptional groups of a comparison and metric) and ``contrast_reason``, why one of these is missing.

    Raises
    ------
    InputError
        As of :func:`compare_groups`.

    Examples
    --------
    >>> before = pd.DataFrame({"cell": range(4), "rmse_mean": 0.2})
    >>> after = before.assign(rmse_mean=[0.2, 0.2, 0.1, 0.1])
    >>> groupings = {"genotype": {"Fezf2-1": [0, 1], "Sst-1": [2, 3]}}
    >>> exception_contrasts(before, after, groupings)[["group", "others", "contrast"]].round(3)
         group  others  contrast
    0  Fezf2-1    -0.1       0.1
    """
    keys = [*by, "cell"]
    both = baseline[[*keys, *metrics]].merge(variant[[*keys, *metrics]], on=keys, suffixes=("", "_variant"))
    changes = both[keys].assign(layer="mean", **{name: both[f"{name}_variant"] - both[name] for name in metrics})
    known = changes.assign(known=changes[list(metrics)].notna().all(axis=1)).groupby("cell")["known"].all().to_numpy()
    size: dict[str, Any] = {"bootstraps": bootstraps, "permutations": permutations, "seed": seed}
    tables = []
    for group_by, groups in groupings.items():
        members = check_groups(groups, len(known), "exception_contrasts")
        for group in members:
            others = _others(group, list(members), exceptions)
            if others is None:
                continue
            cells = {group: members[group], "others": np.concatenate([np.empty(0, int), *map(members.get, others)])}
            if all(known[index].any() for index in cells.values()):
                table = compare_groups(
                    changes, cells, group, "others", donors, layer="all", by=by, metrics=metrics, **size
                ).table
                table["reason"] = np.where(
                    table["ci_low"].isna() & (table["reason"] == ""), "one cell: no interval", table["reason"]
                )
            else:
                table = pd.DataFrame({"metric": list(metrics)})
                table = changes[list(by)].drop_duplicates().merge(table, "cross") if by else table
                table = table.assign(**dict.fromkeys(("b_value", "difference", "ci_low", "ci_high", "p"), np.nan))
                empty = NO_CELLS if not known[cells[group]].any() else "there are no other groups of its kind"
                table = table.assign(p_least=1.0, reason=empty)
            tables.append(table.assign(group_by=group_by, group=group))
    names = ["others", "contrast", "contrast_low", "contrast_high", "contrast_p", "contrast_p_least"]
    columns = [*by, "group_by", "group", "metric", *names, "contrast_q", "contrast_reason"]
    if not tables:
        return pd.DataFrame(columns=columns)
    found = pd.concat(tables, ignore_index=True).rename(
        columns=dict(zip(("b_value", "difference", "ci_low", "ci_high", "p", "p_least"), names, strict=True))
    )
    families = found.groupby([*by, "metric"], sort=False)["contrast_p"]
    found["contrast_q"] = families.transform(lambda p: benjamini_hochberg(p.to_numpy(float)))
    return found.rename(columns={"reason": "contrast_reason"})[columns]


def published_claims(
    paired: pd.DataFrame,
    classes: pd.DataFrame | None = None,
    *,
    exceptions: Sequence[str] = ("Fezf2",),
    level: float = 0.05,
    simulated: bool = False,
) -> pd.DataFrame:
    """Judge the three published statements on RMSE (NeuRN, section 4; Mice to Machines, section 4).

    With NeuRN in front, RMSE is lower for every group of cells, except Fezf2, where it is not; and RMSE is
    lower for excitatory than for inhibitory cells. A score that no layer brings closer to the cells than with
    the scenes shuffled says nothing of these cells, and neither does its change: then the verdict is withheld,
    as it is where the donors are too few for a test.

    Parameters
    ----------
    paired : pandas.DataFrame
        NeuRN less baseline by group, as :func:`paired_differences` gives it; rows of metrics other than RMSE
        are left out, other columns (layer, model ...) are kept. ``n_clear`` of ``n_layers``: how many of the
        layers behind a row are closer to its cells than with the scenes shuffled; without these columns no
        row has a verdict. The exceptions are judged by the columns of :func:`exception_contrasts`.
    classes : pandas.DataFrame, optional
        Excitatory (a) less inhibitory (b), the table of :func:`compare_groups`, with ``n_clear`` and
        ``n_layers``, of the class that has fewer.
    exceptions : sequence of str
        Groups whose name, or a part of it (``"VISp × Fezf2-1"``), begins with one of these are expected to
        rise against the others.
    level : float
        The false discovery rate below which a difference counts.
    simulated : bool
        Whether the cells are simulated; every row then says that this cannot confirm the statement.

    Returns
    -------
    pandas.DataFrame
        The rows' own columns and ``claim``, ``expected`` ("lower", or "higher than the others"), ``direction``
        of the row's own difference ("lower", "higher", "undecided" or "cannot tell"), ``verdict``: "holds" (the
        expected sign, q below ``level``, interval without 0), "contradicted" (the other sign, likewise),
        "undecided", or "cannot tell"; ``reason``, why the verdict cannot tell; and ``caution``.

    Raises
    ------
    InputError
        A table lacks a column.

    Examples
    --------
    >>> row = dict(metric="rmse_mean", difference=-0.01, ci_low=-0.02, ci_high=-0.005, q=0.01)
    >>> paired = pd.DataFrame([{"group": "VISp", **row}, {"group": "VISl", **row}])
    >>> published_claims(paired.assign(n_layers=8, n_clear=[3, 0]))[["group", "verdict", "reason"]]
      group      verdict                                             reason
    0  VISp        holds
    1  VISl  cannot tell  0 of 8 layers are closer to these cells than w...
    """
    check_number(level, "level", "published_claims", low=0, high=1, open_low=True)
    tables = []
    for table, parameter in ((paired, "paired"), (classes, "classes")):
        if table is None:
            continue
        needed = [name for name in _COLUMNS if parameter == "paired" or name != "group"]
        missing = [name for name in needed if name not in table.columns]
        if missing:
            allowed = f"a table with the columns {', '.join(needed)}"
            raise fail(parameter, "published_claims", allowed, f"a table without {', '.join(missing)}")
        rows = table[table["metric"].astype(str).str.startswith("rmse")].reset_index(drop=True)
        if parameter == "paired":
            rises = np.array([_is_exception(name, exceptions) for name in rows["group"].astype(str)], dtype=bool)
            claim = np.where(rises, "RMSE rises with NeuRN against the other groups", "RMSE is lower with NeuRN")
        else:
            rises = np.zeros(len(rows), dtype=bool)
            rows = rows.assign(group="excitatory − inhibitory")
            claim = np.full(len(rows), "RMSE is lower for excitatory than for inhibitory cells")
        expected = np.where(rises, "higher than the others", "lower")
        tables.append(_judged(rows, rises, level).assign(claim=claim, expected=expected))
    caution = "simulated cells cannot confirm it" if simulated else ""
    return pd.concat(tables, ignore_index=True).assign(caution=caution)


def _judged(rows: pd.DataFrame, rises: Array, level: float) -> pd.DataFrame:
    """Add direction, verdict and reason to rows of one kind; ``rises`` marks the exceptions."""
    withheld = _null_reasons(rows)
    own, own_reason = _signs(rows, _COLUMNS[2:], "reason", level)
    contrast = rows.reindex(columns=[*rows.columns, *(name for name in _CONTRAST if name not in rows)])
    other, other_reason = _signs(contrast, _CONTRAST, "contrast_reason", level)
    words = {1: "higher", -1: "lower", 0: "undecided"}
    direction, verdict, reasons = [], [], []
    for place in range(len(rows)):
        sign = None if withheld[place] else own[place]
        judged = None if withheld[place] else other[place] if rises[place] else own[place]
        direction.append(CANNOT_TELL if sign is None else words[sign])
        agrees = 1 if rises[place] else -1
        verdict.append(
            CANNOT_TELL if judged is None else "undecided" if judged == 0 else
            "holds" if judged == agrees else "contradicted"
        )  # fmt: skip
        untested = other_reason[place] if rises[place] else own_reason[place]
        reasons.append("; ".join(filter(None, (untested, withheld[place]))))
    return rows.assign(direction=direction, verdict=verdict, reason=reasons)


def _signs(rows: pd.DataFrame, names: Sequence[str], reason: str, level: float) -> tuple[list[int | None], list[str]]:
    """Return the clear sign of a difference (0: undecided, None: not testable), and why it is not testable."""
    difference, low, high, q = (pd.to_numeric(rows[name], errors="coerce").to_numpy(float) for name in names)
    testable = np.isfinite(difference) & np.isfinite(low) & np.isfinite(high) & np.isfinite(q)
    clear = testable & (q < level) & ((low > 0) | (high < 0))
    signs = [int(np.sign(d)) if sure else 0 if can else None
             for d, sure, can in zip(difference, clear, testable, strict=True)]  # fmt: skip
    said = rows[reason].fillna("").astype(str) if reason in rows else [""] * len(rows)
    unsaid = _NO_CONTRAST if reason == "contrast_reason" else "no interval, or no q"
    reasons = ["" if can else told or unsaid for told, can in zip(said, testable, strict=True)]
    return signs, reasons


def _null_reasons(rows: pd.DataFrame) -> list[str]:
    """Return, for every row, why its scores tell nothing of the cells; empty where they do."""
    if "n_clear" not in rows or "n_layers" not in rows:
        return [_NO_NULL] * len(rows)
    counts = rows[["n_clear", "n_layers"]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    reasons = []
    for clear, layers in counts:
        if not layers > 0:
            reasons.append(_NO_NULL)
        else:
            known = f"0 of {layers:.0f} layers are closer to these cells than with the scenes shuffled"
            reasons.append("" if clear > 0 else known)
    return reasons


def _is_exception(name: str, exceptions: Sequence[str]) -> bool:
    return any(part.startswith(tuple(exceptions)) for part in name.split(_BETWEEN))


def _others(group: str, names: Sequence[str], exceptions: Sequence[str]) -> list[str] | None:
    """Return the groups that an exception is held against: alike in its other parts; None if it is no exception."""
    parts = group.split(_BETWEEN)
    special = [part.startswith(tuple(exceptions)) for part in parts]
    if not any(special):
        return None
    found = []
    for name in names:
        own = name.split(_BETWEEN)
        alike = len(own) == len(parts) and all(
            (not mine.startswith(tuple(exceptions))) if apart else mine == theirs
            for mine, theirs, apart in zip(own, parts, special, strict=True)
        )
        if alike:
            found.append(name)
    return found
