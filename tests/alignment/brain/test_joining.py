"""Sessions joined into one population."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from alignment.brain.joining import join_sessions
from alignment.brain.observatory import Session
from alignment.brain.responses import trial_responses
from neural_alignment import InputError


class TestJoin:
    @pytest.fixture
    def two(self, open_session: Callable[[Any], Session], small_file: Any) -> tuple[xr.Dataset, xr.Dataset]:
        first = trial_responses(open_session(small_file(cells=3, trials=4)))
        other = small_file(experiment_id=501498999, cells=2, trials=5, seed=1, area="VISl")
        other.dff[0] = 1.0
        return first, trial_responses(open_session(other))

    def test_cells_follow_one_another(self, two: tuple[xr.Dataset, xr.Dataset]) -> None:
        joined = join_sessions(two)
        assert dict(joined.sizes) == {"cell": 4, "scene": 6, "trial": 5, "session": 2}
        assert joined["area"].values.tolist() == ["VISp"] * 3 + ["VISl"]
        assert joined["session"].values.tolist() == [501498760, 501498999]
        np.testing.assert_array_equal(joined["response"].values[:3, :, :4], two[0]["response"])
        assert np.isnan(joined["response"].values[:3, :, 4]).all()
        np.testing.assert_array_equal(joined["response"].values[3:], two[1]["response"])
        np.testing.assert_array_equal(joined["running_speed"].values[1], two[1]["running_speed"])
        assert joined["dropped_constant"].values.tolist() == [0, 1]
        assert joined.attrs["dropped_constant"] == 1

    def test_joining_joined_ones(self, two: tuple[xr.Dataset, xr.Dataset]) -> None:
        xr.testing.assert_identical(join_sessions([join_sessions([two[0]]), two[1]]), join_sessions(two))

    def test_coordinates_added_to_cells_are_kept(self, two: tuple[xr.Dataset, xr.Dataset]) -> None:
        marked = [part.assign_coords(reliability=("cell", np.arange(part.sizes["cell"]))) for part in two]
        assert join_sessions(marked)["reliability"].values.tolist() == [0, 1, 2, 0]

    @pytest.mark.parametrize("name", ["method", "window", "simulated"])
    def test_different_parameters(self, two: tuple[xr.Dataset, xr.Dataset], name: str) -> None:
        with pytest.raises(InputError, match=f"differ in {name}"):
            join_sessions([two[0], two[1].assign_attrs({name: "other"})])

    def test_different_scenes_or_none(self, two: tuple[xr.Dataset, xr.Dataset]) -> None:
        with pytest.raises(InputError, match="number of scenes"):
            join_sessions([two[0], two[1].isel(scene=slice(3))])
        with pytest.raises(InputError, match="at least one session"):
            join_sessions([])

    def test_parts_with_different_coordinates(self, two: tuple[xr.Dataset, xr.Dataset]) -> None:
        with pytest.raises(InputError, match="lack the coordinate reliability"):
            join_sessions([two[0].assign_coords(reliability=("cell", [0.0, 1.0, 2.0])), two[1]])

    def test_survives_a_store(self, two: tuple[xr.Dataset, xr.Dataset], tmp_path: Path) -> None:
        joined = join_sessions(two)
        joined.to_zarr(tmp_path / "joined.zarr")
        with xr.open_zarr(tmp_path / "joined.zarr") as read:
            xr.testing.assert_equal(read.load(), joined)
            assert read.attrs == joined.attrs
