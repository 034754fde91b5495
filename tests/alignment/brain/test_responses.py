"""Trial responses against plain loops and against AllenSDK's own analysis on the same file."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from alignment.brain.joining import join_sessions
from alignment.brain.observatory import Observatory
from alignment.brain.quality import split_half_reliability
from alignment.brain.responses import CELL_COORDINATES, trial_responses
from neural_alignment import DataError, InputError

RATE = 30.0


def plain_loops(small: Any, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean dF/F of every sweep in the window, placed by scene and trial, one at a time."""
    scenes, cells = len(small.template), len(small.dff)
    trials = int(np.bincount(small.frame + 1).max())
    response = np.full((cells, scenes, trials), np.nan)
    blank = np.full((cells, trials), np.nan)
    shown: dict[int, int] = {}
    for frame, (start, _) in zip(small.frame.tolist(), small.sweeps.tolist(), strict=True):
        trial = shown.get(frame, 0)
        shown[frame] = trial + 1
        for cell in range(cells):
            part = small.dff[cell, start + first : start + last].astype(np.float64)
            value = part.mean() if start + first >= 0 and len(part) == last - first else np.nan
            if frame < 0:
                blank[cell, trial] = value
            else:
                response[cell, frame, trial] = value
    return response, blank


class TestValues:
    @pytest.mark.parametrize("window", [(0.0, 0.5), (0.0, 0.25), (0.1, 0.6), (-0.5, 0.0), (0.0, 1 / RATE)])
    @pytest.mark.parametrize("block", [1, 2, 64])
    def test_mean_dff_is_that_of_plain_loops(
        self, open_session: Any, small_file: Any, window: tuple[float, float], block: int
    ) -> None:
        small = small_file()
        found = trial_responses(open_session(small), window=window, block=block)
        response, blank = plain_loops(small, round(window[0] * RATE), round(window[1] * RATE))
        np.testing.assert_allclose(found["response"], response, rtol=2e-6, atol=1e-7)
        np.testing.assert_allclose(found["blank"], blank, rtol=2e-6, atol=1e-7)

    @pytest.mark.oracle
    def test_mean_sweep_response_is_allensdks(self, open_session: Any, small_file: Any) -> None:
        from allensdk.brain_observatory.natural_scenes import NaturalScenes

        session = open_session(small_file(cells=4, scenes=7, trials=5))
        found = trial_responses(session, method="mean_sweep_response")
        with warnings.catch_warnings():
            # AllenSDK writes to columns in a way that pandas warns about.
            warnings.simplefilter("ignore")
            analysis = NaturalScenes(session.dataset)
            sweeps, table = analysis.mean_sweep_response, analysis.stim_table
            means = analysis.response[1:, :4, 0]
        for cell in range(4):
            values = sweeps[str(cell)].to_numpy(dtype=np.float64)
            for scene in range(7):
                theirs = values[(table["frame"] == scene).to_numpy()]
                np.testing.assert_allclose(found["response"][cell, scene], theirs, rtol=1e-6)
            theirs = values[(table["frame"] == -1).to_numpy()]
            np.testing.assert_allclose(found["blank"][cell], theirs, rtol=1e-6)
        np.testing.assert_allclose(found["response"].mean("trial").T, means, rtol=1e-5)
        assert found.attrs["window"] == pytest.approx([0.0, 14 / RATE])
        assert found.attrs["units"].startswith("%")

    @pytest.mark.parametrize("method", ["dff", "mean_sweep_response"])
    def test_peaks_are_those_of_the_mean_trace(self, open_session: Any, small_file: Any, method: Any) -> None:
        small = small_file()
        found = trial_responses(open_session(small), method=method, peak_window=(0.1, 0.8))
        traces = small.dff if method == "dff" else small.demixed - small.neuropil * small.r[:, None]
        for cell in range(len(traces)):
            for scene in range(len(small.template)):
                mean = np.zeros(21)
                for start in small.sweeps[small.frame == scene, 0]:
                    part = traces[cell, start + 3 : start + 24].astype(np.float64)
                    if method != "dff":
                        part = 100 * (part / traces[cell, start - 28 : start].mean(dtype=np.float64) - 1)
                    mean += part / 4
                assert found["peak"].values[cell, scene] == pytest.approx(mean.max(), rel=1e-5)
                expected = (3 + mean.argmax()) / RATE
                assert found["time_to_peak"].values[cell, scene] == pytest.approx(expected)

    def test_a_known_transient_is_found(self, open_session: Any, small_file: Any) -> None:
        small = small_file(cells=2)
        small.dff[:] = np.random.default_rng(0).normal(0, 1e-3, small.dff.shape)
        for start in small.sweeps[small.frame == 3, 0]:
            small.dff[0, start + 9] += 1.0
        found = trial_responses(open_session(small))
        assert found["peak"].values[0].argmax() == 3
        assert found["peak"].values[0, 3] == pytest.approx(1, abs=0.01)
        assert found["time_to_peak"].values[0, 3] == pytest.approx(9 / RATE)
        assert found["response"].mean("trial").values[0].argmax() == 3

    def test_order_in_the_file_does_not_matter(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        before = trial_responses(open_session(small))
        shuffle = np.random.default_rng(3).permutation(len(small.frame))
        small.frame, small.sweeps = small.frame[shuffle], small.sweeps[shuffle]
        xr.testing.assert_identical(before, trial_responses(open_session(small)))

    def test_what_it_carries(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        found = trial_responses(open_session(small))
        assert dict(found.sizes) == {"cell": 5, "scene": 6, "trial": 4}
        assert {str(name) for name in found.coords} == {
            *CELL_COORDINATES, "scene", "trial", "running_speed", "blank_running_speed",
        }  # fmt: skip
        assert found["response"].dtype == np.float32
        assert found["cell_specimen_id"].values.tolist() == small.ids.tolist()
        assert set(found["genotype"].values) == {"Cux2-3"}
        assert found.attrs["simulated"] == 0
        assert found.attrs["window"] == [0.0, 0.5]
        assert found.attrs["frame_rate_hz"] == pytest.approx(30)

    def test_the_apis_metrics_come_along(self, open_session: Any, small_file: Any, tmp_path: Path) -> None:
        small = small_file()
        small.dff[0] = 0
        records = [{"cell_specimen_id": int(small.ids[2]), "p_ns": 0.01, "reliability_ns": None, "tld1_id": 4}]
        (tmp_path / "cell_specimens.json").write_text(json.dumps(records))
        found = trial_responses(open_session(small))
        np.testing.assert_allclose(found["p_ns"], [np.nan, 0.01, np.nan, np.nan])
        assert np.isnan(found["reliability_ns"]).all()
        assert found["p_ns"].dtype == np.float32
        assert "roi" not in found.coords


@pytest.fixture(scope="module")
def both(simulated: Observatory) -> tuple[xr.Dataset, dict[str, np.ndarray]]:
    """The responses of simulated cells, joined, and the truth behind them."""
    from alignment.brain.simulated import ground_truth

    ids = simulated.list()["experiment_id"]
    found = join_sessions([trial_responses(simulated.session(int(number))) for number in ids])
    truth = ground_truth(simulated.folder)
    assert found["cell_specimen_id"].values.tolist() == truth["cell_specimen_id"].tolist()
    return found, truth


class TestSimulatedTruth:
    """Model cells whose noise-free responses are known."""

    def test_means_follow_the_truth(self, both: tuple[xr.Dataset, dict[str, np.ndarray]]) -> None:
        found, truth = both
        means = found["response"].mean("trial").values
        wanted = truth["response"]
        pairs = zip(means, wanted, strict=True)
        agreement = np.array([np.corrcoef(mean, expected)[0, 1] for mean, expected in pairs])
        reliable = split_half_reliability(found) > 0.5
        assert reliable.sum() >= 3
        assert agreement[reliable].min() > 0.65
        # The truth is the response above the level without a stimulus, which noise and drift move by little.
        offset = np.median(means - wanted, axis=1)
        assert np.abs(offset).max() < 0.15

    def test_reliability_foretells_the_agreement(self, both: tuple[xr.Dataset, dict[str, np.ndarray]]) -> None:
        found, truth = both
        reliability = split_half_reliability(found)
        pairs = zip(found["response"].mean("trial").values, truth["response"], strict=True)
        agreement = np.array([np.corrcoef(mean, expected)[0, 1] for mean, expected in pairs])
        # The mean of all trials correlates with the truth by the square root of its reliability.
        good = reliability > 0.4
        np.testing.assert_allclose(agreement[good], np.sqrt(reliability[good]), atol=0.15)

    def test_strong_responses_peak_after_the_onset(self, both: tuple[xr.Dataset, dict[str, np.ndarray]]) -> None:
        found, truth = both
        best = truth["response"].argmax(axis=1)
        strong = split_half_reliability(found) > 0.5
        times = found["time_to_peak"].values[np.arange(len(best)), best][strong]
        assert ((times >= 0.15) & (times <= 0.6)).all()


class TestMissing:
    def test_windows_off_the_recording(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        cut = small.sweeps[-1, 0] + 10
        small.dff, small.timestamps = small.dff[:, :cut], small.timestamps[:cut]
        small.demixed, small.neuropil = small.demixed[:, :cut], small.neuropil[:, :cut]
        small.speed = small.speed[:cut]
        found = trial_responses(open_session(small))
        response, blank = plain_loops(small, 0, 15)
        np.testing.assert_array_equal(np.isnan(found["response"]), np.isnan(response))
        np.testing.assert_array_equal(np.isnan(found["blank"]), np.isnan(blank))
        assert np.isnan(response).any() or np.isnan(blank).any()
        assert found.attrs["missing_trials"] == np.isnan(response).sum()

    def test_gaps_in_a_trace(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        where = int(small.sweeps[10, 0])
        small.dff[2, where + 3] = np.nan
        small.dff[4, where : where + 200] = np.inf
        found = trial_responses(open_session(small))
        clean = small_file()
        response, _ = plain_loops(clean, 0, 15)
        gone = np.isnan(found["response"].values)
        assert not gone[[0, 1, 3]].any()
        assert 1 <= gone[2].sum() <= 3
        assert gone[4].sum() > gone[2].sum()
        np.testing.assert_allclose(found["response"].values[~gone], response[~gone], rtol=2e-6, atol=1e-7)
        assert found.attrs["missing_trials"] == gone.sum()
        assert np.isfinite(found["peak"].values[:4]).all()
        assert not np.isfinite(found["peak"].values[4]).all()

    def test_unequal_numbers_of_trials(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        keep = np.ones(len(small.frame), dtype=bool)
        keep[np.flatnonzero(small.frame == 2)[-2:]] = False
        small.frame, small.sweeps = small.frame[keep], small.sweeps[keep]
        found = trial_responses(open_session(small))
        gone = np.isnan(found["response"].values)
        assert gone[:, 2, 2:].all()
        assert gone.sum() == 5 * 2
        assert found.attrs["missing_trials"] == 0

    def test_cells_that_cannot_be_used(
        self, open_session: Any, small_file: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        small = small_file()
        small.dff[1] = np.nan
        small.dff[3] = 0.25
        session = open_session(small)
        with caplog.at_level(logging.WARNING):
            found = trial_responses(session, block=2)
        assert found["cell_specimen_id"].values.tolist() == small.ids[[0, 2, 4]].tolist()
        assert (found.attrs["dropped_nan"], found.attrs["dropped_constant"]) == (1, 1)
        assert "501498760" in caplog.text
        assert "1 cell with a constant trace: they are left out" in caplog.text
        response, _ = plain_loops(small, 0, 15)
        np.testing.assert_allclose(found["response"], response[[0, 2, 4]], rtol=2e-6, atol=1e-7)
        with pytest.raises(DataError, match="1 cell without a finite value and 1 cell with a constant trace"):
            trial_responses(session, unusable="raise")

    def test_no_usable_cell(self, open_session: Any, small_file: Any) -> None:
        small = small_file(cells=2)
        small.dff[:] = np.nan
        with pytest.raises(DataError, match=r"501498760.*and no other cell. Leave this session out"):
            trial_responses(open_session(small))

    def test_traces_and_time_stamps_of_different_length(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        small.dff = small.dff[:, :-5]
        with pytest.raises(DataError, match=r"frames of traces for .* time stamps"):
            trial_responses(open_session(small))

    @pytest.mark.parametrize("stamps", ["constant", "nan"])
    def test_time_stamps_that_do_not_rise(self, open_session: Any, small_file: Any, stamps: str) -> None:
        small = small_file()
        small.timestamps[100] = small.timestamps[99] if stamps == "constant" else np.nan
        with pytest.raises(DataError, match=r"time stamps of .* do not rise"):
            trial_responses(open_session(small))

    def test_frames_beyond_the_template(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        small.frame[0] = 99
        with pytest.raises(DataError, match=r"shows frames .*99, but the template holds 6 scenes"):
            trial_responses(open_session(small))


class TestRunning:
    def test_speed_is_a_coordinate(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        found = trial_responses(open_session(small))
        for scene in range(6):
            for trial, start in enumerate(small.sweeps[small.frame == scene, 0]):
                expected = small.speed[start : start + 15].mean()
                assert found["running_speed"].values[scene, trial] == pytest.approx(expected, rel=1e-5)

    def test_stationary_trials_alone(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        session = open_session(small)
        everything = trial_responses(session)
        still = trial_responses(session, stationary_below=0.5)
        slow = np.abs(everything["running_speed"].values) < 0.5
        assert 0 < slow.sum() < slow.size
        np.testing.assert_array_equal(np.isfinite(still["response"].values[0]), slow)
        kept = np.where(slow, everything["response"].values, np.nan)
        np.testing.assert_array_equal(still["response"].values, kept)
        assert still.attrs["moving_trials"] == (~slow).sum()
        assert still.attrs["missing_trials"] == 0
        gone = ~slow.any(axis=1)
        np.testing.assert_array_equal(np.isnan(still["peak"].values[0]), gone)

    def test_a_mouse_that_never_stops(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        small.speed[:] = 30.0
        with pytest.raises(DataError, match=r"No trial has a running speed below 1.0 cm/s"):
            trial_responses(open_session(small), stationary_below=1)

    def test_gaps_in_the_speed(self, open_session: Any, small_file: Any) -> None:
        small = small_file()
        small.speed[:] = 2.0
        small.speed[::2] = np.nan
        small.speed[small.sweeps[5, 0] : small.sweeps[5, 0] + 15] = np.nan
        found = trial_responses(open_session(small))
        speeds = np.append(found["running_speed"].values.ravel(), found["blank_running_speed"].values)
        assert np.isnan(speeds).sum() == 1
        assert np.nanmin(speeds) == np.nanmax(speeds) == 2.0

    def test_a_session_without_speed(
        self,
        open_session: Any,
        small_file: Any,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        session = open_session(small_file())

        def none() -> None:
            raise DataError("no running speed here")

        monkeypatch.setattr(session, "running_speed", none)
        found = trial_responses(session)
        assert np.isnan(found["running_speed"]).all()
        assert "taken as unknown: no running speed here" in caplog.text
        with pytest.raises(DataError, match="No trial has a running speed"):
            trial_responses(session, stationary_below=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "df"},
            "'method' parameter of trial_responses must be one of 'dff', 'mean_sweep_response'",
        ),
        ({"window": (0.5, 0.0)}, "'window' .* at least one frame"),
        ({"window": (0.0, 0.001)}, "at least one frame"),
        ({"window": 0.5}, "a pair of seconds"),
        ({"window": (0, float("nan"))}, "'window' .* finite number"),
        ({"window": (0, 60)}, "between -10 and 10"),
        ({"peak_window": (1,)}, "'peak_window' .* a pair of seconds"),
        ({"stationary_below": 0}, "'stationary_below' .* > 0"),
        ({"unusable": "keep"}, "'unusable' .* one of 'drop', 'raise'"),
        ({"block": 0}, "≥ 1"),
    ],
)
def test_parameters(open_session: Any, small_file: Any, options: dict[str, Any], message: str) -> None:
    session = open_session(small_file())
    with pytest.raises(InputError, match=message):
        trial_responses(session, **options)
