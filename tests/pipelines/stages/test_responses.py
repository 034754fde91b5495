"""From a study's words about responses and cells to what its report tells of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignment.brain import trial_responses
from alignment.brain.observatory import Observatory

FIRST, SECOND = 501498760, 501498761

Shown = Callable[..., Any]


@pytest.fixture
def shown(nalign: Any, write_study: Any, only_brain: Any, light_report: list[Any], tmp_path: Path) -> Shown:
    """``shown(**changes)``: what the report of the tiny study, the half with the brain, is asked to show."""

    def run(**changes: Any) -> Any:
        study = write_study(tmp_path, **only_brain, **changes)
        result = nalign("run", study, "--cache", tmp_path / "store", "--out", tmp_path / "runs")
        assert result.code == 0, result.err
        return light_report[-1]

    return run


@pytest.fixture
def refused(nalign: Any, write_study: Any, only_brain: Any, tmp_path: Path) -> Shown:
    """``refused(**changes)``: exit code and message of a study that cannot be run."""

    def run(**changes: Any) -> Any:
        study = write_study(tmp_path, **only_brain, **changes)
        result = nalign("run", study, "--cache", tmp_path / "store", "--out", tmp_path / "runs")
        assert result.code != 0 and "Traceback (most" not in result.err
        return result

    return run


def test_only_trials_of_a_resting_mouse_count_and_the_report_says_how_many_do_not(
    shown: Shown, observatory: Path
) -> None:
    still = shown(responses={"stationary_below": 0.4})
    moved = {}
    for number in (FIRST, SECOND):
        found = trial_responses(Observatory(observatory).session(number), stationary_below=0.4)
        moved[number] = found.attrs["moving_trials"]
    assert all(0 < count < 24 for count in moved.values())
    assert still.sessions.set_index("experiment_id")["moving_trials"].to_dict() == moved
    assert f"{sum(moved.values()):,} presentations were left out because the mouse moved" in " ".join(still.notes)


def test_without_the_filter_the_report_says_nothing_of_running(shown: Shown) -> None:
    every = shown()
    assert "moving_trials" not in every.sessions
    assert "mouse moved" not in " ".join(every.notes)


def test_a_limit_below_every_speed_is_told_with_what_to_do(refused: Shown) -> None:
    result = refused(responses={"stationary_below": 1e-6})
    assert result.code == 1
    assert "No trial has a running speed below 1e-06 cm/s. Raise 'stationary_below'" in result.err


@pytest.mark.parametrize("limit", [0, -1, "slow", float("nan")])
def test_a_limit_that_is_none_is_refused_with_the_study(limit: Any, refused: Shown) -> None:
    result = refused(responses={"stationary_below": limit})
    assert result.code == 2
    assert "stationary_below" in result.message


def test_cells_without_a_response_are_dropped_and_told_or_refused(shown: Shown, refused: Shown) -> None:
    dropped = shown()
    assert dropped.sessions[["dropped_nan", "dropped_constant"]].to_numpy().tolist() == [[1, 0], [0, 1]]
    assert [note for note in dropped.notes if "left out" in note] == [
        "1 cell was left out because the trace holds no numbers.",
        "1 cell was left out because the trace is flat.",
    ]
    result = refused(responses={"unusable": "raise"})
    assert result.code == 1
    assert f"Experiment {FIRST} (" in result.err
    assert "has 1 cell without a finite value and no cell with a constant trace. Fetch the file again" in result.err


def test_sessions_can_be_left_out(shown: Shown, refused: Shown) -> None:
    assert shown(observatory={"exclude": [SECOND]}).sessions["experiment_id"].tolist() == [FIRST]
    every = refused(observatory={"exclude": [FIRST, SECOND]})
    assert every.code == 2 and "leaves none of the 2 experiments" in every.message
    unknown = refused(observatory={"exclude": [7]})
    assert unknown.code == 2 and "Unknown experiment 7" in unknown.message


def test_the_apis_metrics_of_cells_reach_the_table_of_cells(shown: Shown, observatory: Path, tmp_path: Path) -> None:
    assert "p_ns" not in shown().cells
    folder = tmp_path / "with_metrics"
    shutil.copytree(observatory, folder)
    ids = Observatory(observatory).session(FIRST).cells["cell_specimen_id"]
    records = [
        {"cell_specimen_id": int(number), "experiment_container_id": FIRST + 1000, "p_ns": 0.01 * place,
         "reliability_ns": 0.5, "image_sel_ns": 0.25, "run_mod_ns": None, "tld1_id": 3}
        for place, number in enumerate(ids)
    ]  # fmt: skip
    (folder / "cell_specimens.json").write_text(json.dumps(records))
    # The same files as before: that the metrics have come is enough for the responses to be read anew.
    table = shown(observatory={"folder": str(folder)}).cells.set_index("cell_specimen_id")
    known = table[table["experiment_id"] == FIRST]
    wanted = {int(number): 0.01 * place for place, number in enumerate(ids)}
    np.testing.assert_allclose(known["p_ns"], [wanted[number] for number in known.index], rtol=1e-6)
    assert (known["reliability_ns"] == 0.5).all() and (known["image_sel_ns"] == 0.25).all()
    assert "run_mod_ns" not in table and "tld1_id" not in table and "experiment_container_id" not in table
