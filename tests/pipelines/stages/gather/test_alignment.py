"""What a report is handed of neurons: scores beside ceilings and nulls, cells, sessions and notes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipelines.stages.gather.alignment import _cells, _marginals, _notes, _sessions, _similarity

PLACES = {"representation": "weighted", "group_by": "area", "group": "VISp"}


class Given(dict[str, Any]):
    """Results by name, as a stage reads them."""

    def names(self, prefix: str = "") -> list[str]:
        return [name for name in self if name.startswith(prefix)]


def scores(**changes: Any) -> pd.DataFrame:
    rows = []
    for twin in (False, True):
        for metric, value in (("rmse_mean", 0.2), ("kde_iou_unit", 0.4)):
            for group, known in (("VISp", True), ("VISl", False)):
                rows.append(
                    {
                        "model": "net", "layer_variant": "neurn", "neurn": True, "twin": twin, "layer": "conv",
                        "layer_index": 0, **PLACES, "group": group, "metric": metric,
                        "value": value if known else np.nan, "ci_low": 0.1, "ci_high": 0.3,
                        "n_cells": 4 if known else 0, "n_donors": 2, "n_units": 9, "resampled": "cells",
                        "reason": "" if known else "no cells in this group", "note": "",
                    }
                )  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def ceilings() -> dict[str, Any]:
    rows = [
        {**PLACES, "group": group, "metric": metric, "ceiling": ceiling if group == "VISp" else np.nan,
         "reason": "one cell: no interval" if group == "VISp" else "no cells in this group"}
        for metric, ceiling in (("rmse_mean", 0.1), ("kde_iou_unit", 0.8), ("correlation", 0.5))
        for group in ("VISp", "VISl")
    ]  # fmt: skip
    return {"groups": pd.DataFrame(rows)}


def null() -> pd.DataFrame:
    own = scores()[lambda table: ~table["twin"]]
    keys = own[["model", "layer_variant", "neurn", "twin", "layer", "layer_index", *PLACES, "metric"]]
    missing = own["value"].isna().to_numpy()
    numbers = {"null_mean": 0.3, "null_low": 0.25, "null_high": 0.35, "p": 0.05, "q": 0.1}
    numbers = {name: np.where(missing, np.nan, value) for name, value in numbers.items()}
    return keys.assign(**numbers, n_shuffles=19, null_reason="")


def test_scores_stand_beside_their_ceilings() -> None:
    table = _similarity(scores(), Given({"ceiling:weighted": ceilings()}))
    own = table[~table["twin"]].set_index(["metric", "group"])
    assert own.loc[("rmse_mean", "VISp"), "normalised"] == pytest.approx(0.5)  # ceiling / score
    assert own.loc[("kde_iou_unit", "VISp"), "normalised"] == pytest.approx(0.5)  # score / ceiling
    assert own.loc[("rmse_mean", "VISp"), "ceiling_reason"] == ""
    assert own.loc[("rmse_mean", "VISl"), "ceiling_reason"] == "no cells in this group"
    assert np.isnan(own.loc[("rmse_mean", "VISl"), "normalised"])
    assert len(table) == 8 and list(table.columns[-6:]) == [
        "n_cells", "n_donors", "n_units", "resampled", "reason", "note",
    ]  # fmt: skip


def test_without_shuffles_the_null_is_missing_and_says_so() -> None:
    table = _similarity(scores(), Given({"ceiling:weighted": ceilings()}))
    assert table[["null_mean", "p", "q"]].isna().all(axis=None) and (table["n_shuffles"] == 0).all()
    assert table["null_reason"].str.contains("controls.shuffled_scenes").all()


def test_the_null_stands_beside_what_was_shuffled_and_twins_say_why_not() -> None:
    table = _similarity(scores(), Given({"ceiling:weighted": ceilings(), "null:net:neurn:weighted": null()}))
    own, twins = table[~table["twin"]], table[table["twin"]]
    known = own[own["group"] == "VISp"]
    assert (known["null_mean"] == 0.3).all() and (known["p"] == 0.05).all() and (known["null_reason"] == "").all()
    assert (own.loc[own["group"] == "VISl", "null_reason"] == "no cells in this group").all()
    assert twins["p"].isna().all() and (twins["null_reason"] == "shuffled for the trained network alone").all()
    assert len(table) == 8


def test_a_doubled_ceiling_is_an_error_and_not_doubled_rows() -> None:
    twice = {"groups": pd.concat([ceilings()["groups"]] * 2)}
    with pytest.raises(pd.errors.MergeError):
        _similarity(scores(), Given({"ceiling:weighted": twice}))


@pytest.fixture
def responses() -> xr.Dataset:
    peaks = np.array([[0.1, 0.4, 0.2], [np.nan, 0.3, 0.5]])
    return xr.Dataset(
        {"peak": (("cell", "scene"), peaks), "time_to_peak": (("cell", "scene"), peaks * 2)},
        coords={"cell_specimen_id": ("cell", [7, 8]), "area": ("cell", ["VISp", "VISl"])},
        attrs={"units": "dF/F"},
    )


@pytest.mark.parametrize(("units", "factor"), [("dF/F", 100.0), ("%", 1.0)])
def test_cells_have_their_best_scene_s_peak_in_percent(responses: xr.Dataset, units: str, factor: float) -> None:
    represented = xr.Dataset(coords={"degenerate": ("cell", [False, True])})
    table = _cells(responses.assign_attrs(units=units), represented)
    assert table["preferred_scene"].tolist() == [1, 2]
    np.testing.assert_allclose(table["peak"], [0.4 * factor, 0.5 * factor])
    np.testing.assert_allclose(table["time_to_peak"], [0.8, 1.0])
    assert table["degenerate"].tolist() == [False, True] and table["cell_specimen_id"].tolist() == [7, 8]
    assert "genotype" not in table


def quality(**changes: Any) -> pd.DataFrame:
    row = {
        "experiment_id": 1, "area": "VISp", "genotype": "Sst-1", "depth_um": 200, "cells": 5, "reliable_cells": 3,
        "responsive_cells": 4, "median_reliability": 0.5, "missing_trials": 0, "dropped_nan": 0, "dropped_constant": 0,
        "moving_trials": 0, "without_reliability": 0,
    }  # fmt: skip
    return pd.DataFrame([row | changes, row])


@pytest.mark.parametrize(
    ("changes", "attrs", "said"),
    [
        ({}, {}, []),
        ({"dropped_nan": 1}, {}, ["1 cell was left out because the trace holds no numbers."]),
        ({"dropped_constant": 3}, {}, ["3 cells were left out because the trace is flat."]),
        ({"missing_trials": 1200}, {}, ["1,200 trials of a cell have no value and count in no mean."]),
        ({}, {"selection_note": "Kept."}, ["Kept."]),
    ],
)
def test_notes_tell_what_is_missing(changes: dict[str, int], attrs: dict[str, str], said: list[str]) -> None:
    assert _notes(xr.Dataset(attrs=attrs), quality(**changes)) == said


def test_sessions_show_the_columns_that_say_something() -> None:
    plain = _sessions(quality())
    assert "dropped_nan" not in plain and "cells" in plain and len(plain) == 2
    assert _sessions(quality(dropped_nan=2))["dropped_nan"].tolist() == [2, 0]


def test_marginals_are_those_that_real_cells_have_too() -> None:
    table = pd.DataFrame({"statistic": ["response", "reliability"], "simulated": [1.0, 2.0], "real": [1.5, np.nan]})
    found = _marginals(table)
    assert found["quantity"].tolist() == ["response, %"] and "statistic" not in found
