"""What the Institute's files have or lack where a simulated one differs: the reader and the check must not mind.

Named after AllenSDK's own reader (``BrainObservatoryNwbDataSet``) and the releases of the data set.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from alignment.brain import trial_responses
from alignment.brain._nwb_check import check_nwb
from alignment.brain.allen.agreement import compare_readers
from alignment.brain.observatory import Observatory, Session
from neural_alignment import DataError

PIPELINE = "processing/brain_observatory_pipeline"
FLUORESCENCE = f"{PIPELINE}/Fluorescence/imaging_plane_1"
RUNNING = f"{PIPELINE}/BehavioralTimeSeries/running_speed"
SCENES = "stimulus/presentation/natural_scenes_stimulus"

Change = Callable[[h5py.File], object]


def without(*names: str) -> Change:
    return lambda file: [file.__delitem__(name) for name in names]


def old_neuropil(file: h5py.File) -> None:
    """Before version 2.0 of the pipeline nothing was demixed and the neuropil lay beside the raw traces."""
    file.move(f"{FLUORESCENCE}_neuropil_response/data", f"{FLUORESCENCE}/neuropil_traces")
    file.move(f"{FLUORESCENCE}_neuropil_response/r", f"{FLUORESCENCE}/r")
    del file[f"{FLUORESCENCE}_neuropil_response"], file[f"{FLUORESCENCE}_demixed_signal"]
    del file["general/generated_by"]
    file["general/generated_by"] = np.array([b"pipeline", b"version", b"1.0"])


def nested_scenes(file: h5py.File) -> None:
    file.move(f"{SCENES}/data", f"{SCENES}/indexed_timeseries/data")


def column_of_speeds(file: h5py.File) -> None:
    """Version 0.9 stored speeds as a column."""
    speed = file[f"{RUNNING}/data"][()]
    del file[f"{RUNNING}/data"]
    file[f"{RUNNING}/data"] = speed[:, None]


def one_time_line(file: h5py.File) -> None:
    """The traces' time stamps are one data set under several names."""
    for name in ("_demixed_signal", "_neuropil_response"):
        del file[f"{FLUORESCENCE}{name}/timestamps"]
        file[f"{FLUORESCENCE}{name}/timestamps"] = h5py.SoftLink(f"/{FLUORESCENCE}/timestamps")


def ids_as_text(file: h5py.File) -> None:
    name = f"{PIPELINE}/ImageSegmentation/cell_specimen_ids"
    ids = file[name][()].astype("S")
    del file[name]
    file[name] = ids


def scenes_as_float(file: h5py.File) -> None:
    """The Institute's files hold the scenes as float32, whole numbers all."""
    name = "stimulus/templates/natural_scenes_image_stack/data"
    scenes = file[name][()].astype(np.float32)
    del file[name]
    file[name] = scenes


def date_in_words(file: h5py.File) -> None:
    del file["session_start_time"]
    file["session_start_time"] = np.bytes_("Tue Mar 01 10:00:00 2016")


def more_than_we_read(file: h5py.File) -> None:
    """Eye tracking, ROI masks in pixels, other stimuli, and analyses that AllenSDK stores in the file."""
    file[f"{PIPELINE}/EyeTracking/pupil_location/data"] = np.full((10, 2), np.nan)
    file[f"{PIPELINE}/ImageSegmentation/imaging_plane_1/roi_0001/pix_mask"] = np.zeros((5, 2), np.int64)
    file["stimulus/presentation/natural_movie_one_stimulus/data"] = np.arange(20)
    file["stimulus/presentation/static_gratings_stimulus/features"] = np.array([b"Orientation"])
    file["analysis/roi_snapshot"] = np.zeros(3)


HARMLESS: dict[str, Change] = {
    "no image masks or projection": lambda file: file.pop(f"{PIPELINE}/ImageSegmentation/imaging_plane_1", None),
    "no roi_ids": without(f"{PIPELINE}/ImageSegmentation/roi_ids"),
    "no spontaneous epoch": lambda file: file.pop("stimulus/presentation/spontaneous_stimulus", None),
    "the stimulus under its bare name": lambda file: file.move(SCENES, SCENES.removesuffix("_stimulus")),
    "scenes deeper in their group": nested_scenes,
    "one time line": one_time_line,
    "speeds in a column": column_of_speeds,
    "ids as text": ids_as_text,
    "scenes as float32": scenes_as_float,
    "the date in words": date_in_words,
    "no demixed traces": without(f"{FLUORESCENCE}_demixed_signal"),
    "more than we read": more_than_we_read,
    "no motion correction": lambda file: file.pop(f"{PIPELINE}/MotionCorrection", None),
    "no excitation wavelength": without("general/optophysiology/imaging_plane_1/excitation_lambda"),
}


@pytest.fixture
def small(small_file: Any) -> Any:
    return small_file(cells=4)


@pytest.fixture
def changed(small: Any, tmp_path: Path, reader: Any) -> Callable[[Change], Session]:
    """``changed(change)``: the small file's session after a change of the file, which the check still passes."""

    def write(change: Change) -> Session:
        path = small.write(tmp_path / "ophys_experiment_data" / f"{small.experiment_id}.nwb")
        with h5py.File(path, "r+") as file:
            change(file)
        check_nwb(path, small.experiment_id)
        return Observatory(tmp_path, reader=reader).session(small.experiment_id)

    return write


@pytest.mark.parametrize("change", HARMLESS.values(), ids=list(HARMLESS))
def test_what_is_not_needed_may_be_missing_or_elsewhere(
    change: Change, changed: Any, small: Any, open_session: Any
) -> None:
    wanted = trial_responses(open_session(small))
    found = trial_responses(changed(change))
    np.testing.assert_array_equal(found["response"], wanted["response"])
    np.testing.assert_array_equal(found["running_speed"], wanted["running_speed"])


@pytest.mark.oracle
@pytest.mark.parametrize(
    "change",
    [*HARMLESS.values(), old_neuropil, without(RUNNING), without("general/generated_by"), without(SCENES)],
    ids=[*HARMLESS, "an older pipeline", "no speeds", "no version", "no scenes shown"],
)
def test_both_readers_return_the_same_bits(change: Change, small: Any, tmp_path: Path) -> None:
    path = small.write(tmp_path / "file.nwb")
    with h5py.File(path, "r+") as file:
        change(file)
    assert [read for read in compare_readers(path) if not read.same] == []


def test_files_of_an_older_pipeline(changed: Any, small: Any) -> None:
    session = changed(old_neuropil)
    assert session.metadata["pipeline_version"] == "1.0"
    _, corrected = session.corrected_fluorescence()
    np.testing.assert_allclose(corrected, small.demixed - small.neuropil * small.r[:, None])
    found = trial_responses(session, method="mean_sweep_response")
    assert np.isfinite(found["response"]).all()


@pytest.mark.parametrize(
    "change",
    [without(RUNNING), without(f"{RUNNING}/timestamps"), without(f"{PIPELINE}/BehavioralTimeSeries")],
    ids=["no speeds", "no time stamps", "no behaviour"],
)
def test_a_session_in_which_running_was_not_recorded(
    change: Change, changed: Any, small: Any, open_session: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = trial_responses(open_session(small))
    found = trial_responses(changed(change))
    np.testing.assert_array_equal(found["response"], wanted["response"])
    assert np.isnan(found["running_speed"]).all()
    assert "Running speed is taken as unknown" in caplog.text


def test_speeds_whose_time_line_fits_no_frame_are_unknown(changed: Any, caplog: pytest.LogCaptureFixture) -> None:
    def shift(file: h5py.File) -> None:
        file[f"{RUNNING}/timestamps"][...] += 0.0123

    assert np.isnan(trial_responses(changed(shift))["running_speed"]).all()
    assert "Running speed is taken as unknown" in caplog.text


def test_speeds_with_gaps_and_cells_without_a_number(changed: Any, small: Any) -> None:
    small.speed[20:80] = np.nan
    small.dff[1] = np.nan
    small.dff[2, 100:110] = np.nan
    found = trial_responses(changed(lambda file: None))
    assert found["cell_specimen_id"].values.tolist() == small.ids[[0, 2, 3]].tolist()
    assert found.attrs["dropped_nan"] == 1 and found.attrs["missing_trials"] > 0


def test_a_whole_session_has_5950_sweeps_of_seven_frames_in_three_epochs(
    small_file: Any, open_session: Any, tmp_path: Path
) -> None:
    whole = small_file(cells=2, scenes=118, trials=50)
    session = open_session(whole)
    table = session.natural_scenes()
    assert len(table) == 5950
    assert (table["frame"].value_counts() == 50).all() and set(table["frame"]) == set(range(-1, 118))
    found = trial_responses(session)
    assert found["response"].shape == (2, 118, 50)
    assert np.isfinite(found["response"]).all()
    with h5py.File(session.path, "r+") as file:  # the recording of a session that was broken off after two epochs
        for name in ("data", "frame_duration"):
            values = file[f"{SCENES}/{name}"][:4000]
            del file[f"{SCENES}/{name}"]
            file[f"{SCENES}/{name}"] = values
    cut = trial_responses(Observatory(tmp_path).session(whole.experiment_id))
    assert cut.sizes["scene"] == 118 and 30 < cut.sizes["trial"] < 50
    shown = np.bincount(whole.frame[:4000][whole.frame[:4000] >= 0], minlength=118)
    np.testing.assert_array_equal(np.isfinite(cut["response"].values[0]).sum(axis=1), shown)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without(SCENES), "natural_scenes_stimulus is missing"),
        (without(f"{SCENES}/frame_duration"), "natural_scenes_stimulus/frame_duration is missing"),
        (without(f"{FLUORESCENCE}_demixed_signal", f"{FLUORESCENCE}/data"), "demixed_signal/data is missing"),
        (without(f"{FLUORESCENCE}_neuropil_response/r"), "neuropil_response/r is missing"),
    ],
)
def test_what_is_needed_is_named_where_it_is_missing(change: Change, said: str, changed: Any) -> None:
    with pytest.raises(DataError, match=said):
        changed(change)


@pytest.mark.parametrize("text", ["Cux2-CreERT2;Camk2a-tTA;Ai93-222426", "Mäuschen-5"])
def test_text_of_another_kind_is_read_or_called_damage_but_no_crash(
    text: str, small: Any, tmp_path: Path, reader: Any
) -> None:
    path = small.write(tmp_path / "ophys_experiment_data" / f"{small.experiment_id}.nwb")
    with h5py.File(path, "r+") as file:
        del file["general/specimen_name"]
        file["general/specimen_name"] = text  # of no fixed length, which AllenSDK cannot read
    source = Observatory(tmp_path, reader=reader)
    if reader == "own":
        assert source.list()["donor_id"].tolist() == [int(text.rpartition("-")[2])]
        return
    with pytest.raises(DataError, match="Cannot read its metadata"):
        source.list()
