"""Do the published statements hold in this data? A verdict for each group, with its interval and q."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alignment._validation import check_number, fail

from ._arrays import Array

__all__ = ["published_claims"]

_COLUMNS = ("group", "metric", "difference", "ci_low", "ci_high", "q")


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
    lower for excitatory than for inhibitory cells.

    Parameters
    ----------
    paired : pandas.DataFrame
        NeuRN less baseline by group, as :func:`paired_differences` gives it; rows of metrics other than RMSE
        are left out, other columns (layer, model ...) are kept.
    classes : pandas.DataFrame, optional
        Excitatory (a) less inhibitory (b), the table of :func:`compare_groups`.
    exceptions : sequence of str
        Groups whose name, or a part of it (``"VISp × Fezf2-1"``), begins with one of these are expected not to
        fall.
    level : float
        The false discovery rate below which a difference counts.
    simulated : bool
        Whether the cells are simulated; every row then says that this cannot confirm the statement.

    Returns
    -------
    pandas.DataFrame
        The rows' own columns and ``claim``, ``expected`` ("lower" or "higher"), ``verdict``: "holds" (the
        expected sign, q below ``level``, interval without 0), "contradicted" (the other sign, likewise),
        "undecided", or "not testable" (no interval or no q); and ``caution``.

    Raises
    ------
    InputError
        A table lacks a column.

    Examples
    --------
    >>> row = dict(metric="rmse_mean", difference=-0.01, ci_low=-0.02, ci_high=-0.005, q=0.01)
    >>> paired = pd.DataFrame([{"group": "VISp", **row}, {"group": "Fezf2-1", **row}])
    >>> published_claims(paired)[["group", "expected", "verdict"]]
         group expected       verdict
    0     VISp    lower         holds
    1  Fezf2-1   higher  contradicted
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
            # A group of two coordinates is named "VISp × Fezf2-1".
            parts = rows["group"].astype(str).str.split(" × ")
            rises = np.array([any(part.startswith(tuple(exceptions)) for part in names) for names in parts], dtype=bool)
            claim = np.where(rises, "RMSE is not lower with NeuRN", "RMSE is lower with NeuRN")
        else:
            rises = np.zeros(len(rows), dtype=bool)
            rows = rows.assign(group="excitatory − inhibitory")
            claim = np.full(len(rows), "RMSE is lower for excitatory than for inhibitory cells")
        expected = np.where(rises, "higher", "lower")
        tables.append(rows.assign(claim=claim, expected=expected, verdict=_verdicts(rows, rises, level)))
    caution = "simulated cells cannot confirm it" if simulated else ""
    return pd.concat(tables, ignore_index=True).assign(caution=caution)


def _verdicts(rows: pd.DataFrame, rises: Array, level: float) -> Array:
    difference, low, high, q = (rows[name].to_numpy(float) for name in _COLUMNS[2:])
    testable = np.isfinite(difference) & np.isfinite(low) & np.isfinite(high) & np.isfinite(q)
    clear = testable & (q < level) & ((low > 0) | (high < 0))
    agrees = np.where(rises, difference > 0, difference < 0)
    verdict = np.where(clear, np.where(agrees, "holds", "contradicted"), "undecided")
    return np.where(testable, verdict, "not testable")
