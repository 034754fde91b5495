"""The two readers of Allen NWB files: the same bits from files of every kind, and either alone is enough."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from alignment.brain import trial_responses
from alignment.brain._nwb_check import check_nwb
from alignment.brain.allen import agreement, sdk_reader
from alignment.brain.allen import reader as readers
from alignment.brain.allen.agreement import READS, check_file, compare_readers, same
from alignment.brain.allen.own_reader import OwnReader
from alignment.brain.allen.reader import open_reader, reader_name, whole_pixels
from alignment.brain.observatory import Observatory
from alignment.brain.simulated import Traits, simulate_file
from neural_alignment import DataError, InputError

ROOT = Path(__file__).resolve().parents[4]
BARE = Traits(demixed=False, running=False, genotype="loose", ids="bytes")
KINDS = {
    "pipeline 3.0": Traits(),
    "pipeline 1.0": Traits(pipeline="1.0"),
    "what some lack": BARE,
    "pupil, and ids in bytes, of pipeline 1.0": Traits(pipeline="1.0", pupil=True, ids="bytes", running=False),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One simulated file of each kind; read them only."""
    folder = tmp_path_factory.mktemp("kinds")
    return {name: simulate_file(folder / name, traits, cells=5) for name, traits in KINDS.items()}


# --- The same bits ---


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
def test_every_read_is_the_same_bit_for_bit(kind: str, files: dict[str, Path]) -> None:
    reads = compare_readers(files[kind])
    assert [read.name for read in reads] == list(READS)
    assert [read for read in reads if not read.same] == []
    refused = {read.name.partition(" of some")[0] for read in reads if "not there" in read.own}
    missing = {"running speed"} if not KINDS[kind].running else set()
    assert refused == missing | ({"corrected fluorescence"} if not KINDS[kind].demixed else set())


@pytest.mark.oracle
@pytest.mark.slow
def test_scenes_as_the_institute_writes_them_are_the_same_too(files: dict[str, Path], tmp_path: Path) -> None:
    path = simulate_file(tmp_path, Traits(scenes="float32"), cells=2)
    with h5py.File(path) as file:
        assert file["stimulus/templates/natural_scenes_image_stack/data"].dtype == np.float32
    assert all(read.same for read in compare_readers(path))
    assert same(OwnReader(path).scenes(), OwnReader(files["pipeline 3.0"]).scenes())


@pytest.mark.oracle
@pytest.mark.parametrize("cells", [1, 2, 33])
def test_some_cells_are_the_same_however_many_there_are(cells: int, small_file: Any, tmp_path: Path) -> None:
    path = small_file(cells=cells).write(tmp_path / "file.nwb")
    own, sdk = open_reader(path, "own"), open_reader(path, "allensdk")
    for rows in (slice(0, 1), slice(0, cells), slice(cells - 1, cells), slice(cells // 2, None), slice(0, 99)):
        assert same(own.dff(rows), sdk.dff(rows))
        assert same(own.corrected_fluorescence(rows), sdk.corrected_fluorescence(rows))


@pytest.mark.oracle
@pytest.mark.parametrize(
    "spoil",
    [
        lambda small: setattr(small, "speed", small.speed.astype(np.float32)[:-7]),
        lambda small: setattr(small, "frame", small.frame.astype(np.int16)),
        lambda small: setattr(small, "sweeps", small.sweeps[::-1].astype(np.float64)),
        lambda small: setattr(small, "r", small.r.astype(np.float32)),
        lambda small: setattr(small, "dff", np.where(small.dff > 0.3, np.nan, small.dff)),
        lambda small: setattr(small, "genotype", "Rbp4-Cre; Camk2a-tTA; Ai93(TITL-GCaMP6f)"),
    ],
    ids=["float32 speeds, cut", "int16 frames", "sweeps backwards", "float32 r", "NaN, float64", "loose genotype"],
)
def test_other_types_and_orders_are_read_alike(spoil: Any, small_file: Any, tmp_path: Path) -> None:
    small = small_file()
    spoil(small)
    path = small.write(tmp_path / "file.nwb")
    assert [read for read in compare_readers(path) if not read.same] == []


def test_values_are_those_written(reader: str, small_file: Any, tmp_path: Path) -> None:
    small = small_file()
    found = open_reader(small.write(tmp_path / "file.nwb"), reader)
    np.testing.assert_array_equal(found.dff(slice(1, 3))[1], small.dff[1:3])
    np.testing.assert_array_equal(found.dff()[0], small.timestamps)
    corrected = small.demixed.astype(np.float64) - small.neuropil.astype(np.float64) * small.r[:, None]
    np.testing.assert_array_equal(found.corrected_fluorescence()[1], corrected)
    assert found.session_type() == small.session_type
    assert found.cell_specimen_ids().tolist() == small.ids.tolist()
    metadata = found.metadata()
    assert (metadata["device"], metadata["device_name"]) == ("Nikon A1R", "CAM2P.1")
    assert (metadata["age_days"], metadata["imaging_depth_um"]) == (104, small.depth_um)
    assert metadata["session_start_time"] == pd.Timestamp("2016-02-26T08:24:27Z")


def test_a_reader_travels_to_another_process(reader: str, small_file: Any, tmp_path: Path) -> None:
    found = open_reader(small_file().write(tmp_path / "file.nwb"), reader)
    assert same(pickle.loads(pickle.dumps(found)).dff(), found.dff())


# --- What the survey's files have or lack, as far as the responses ---


@pytest.mark.parametrize("kind", KINDS)
def test_responses_stand_what_files_have_and_lack(kind: str, files: dict[str, Path], reader: Any) -> None:
    path, wanted = files[kind], files["pipeline 3.0"]
    check_nwb(path, int(path.stem))
    session = Observatory(path.parents[1], reader=reader).session(int(path.stem))
    whole = Observatory(wanted.parents[1], reader="own").session(int(wanted.stem))
    np.testing.assert_array_equal(trial_responses(session)["response"], trial_responses(whole)["response"])
    assert np.isnan(trial_responses(session)["running_speed"]).all() == (not KINDS[kind].running)
    if KINDS[kind].demixed:
        measured, known = (trial_responses(one, method="mean_sweep_response") for one in (session, whole))
        np.testing.assert_array_equal(measured["response"], known["response"])
    else:
        with pytest.raises(DataError, match="holds no demixed traces"):
            trial_responses(session, method="mean_sweep_response")


def test_a_loose_genotype_is_labelled_from_the_catalogue_and_left_open_without(
    files: dict[str, Path], tmp_path: Path
) -> None:
    (row,) = Observatory(files["what some lack"].parents[1]).list().itertuples()
    assert "/" not in row.full_genotype and "; " in row.full_genotype
    assert (row.cre_line, row.genotype) == ("Cux2-CreERT2", "Cux2-?")
    (whole,) = Observatory(files["pipeline 3.0"].parents[1]).list().itertuples()
    assert whole.genotype == "Cux2-3"


# --- Which reader ---


def without_allensdk(monkeypatch: pytest.MonkeyPatch, reason: str = "AllenSDK is not installed") -> None:
    monkeypatch.setattr(sdk_reader, "why_not", lambda: reason)
    monkeypatch.setattr(agreement, "why_not", lambda: reason)
    readers._tell_once.cache_clear()


def test_auto_is_our_own_reader_where_allensdk_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_allensdk(monkeypatch)
    with caplog.at_level(logging.INFO):
        session = Observatory(folder).session(501498760)
    assert session.reader.name == "own"
    assert caplog.text == ""  # nothing is amiss
    with pytest.raises(InputError, match=r"'allensdk' cannot be used: AllenSDK is not installed.*'own' or 'auto'"):
        Observatory(folder, reader="allensdk").session(501498760)
    with pytest.raises(InputError, match="AllenSDK is not installed"):
        _ = session.dataset


def test_an_allensdk_that_is_broken_is_told_once(
    monkeypatch: pytest.MonkeyPatch, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_allensdk(monkeypatch, "AllenSDK is installed but does not import (ImportError: six)")
    for _ in range(2):
        assert Observatory(folder).session(501498760).reader.name == "own"
    assert caplog.text.count("does not import (ImportError: six)") == 1


def test_why_not_says_that_it_is_missing_or_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk_reader._why_not.cache_clear()
    try:
        monkeypatch.setattr(sdk_reader.importlib.util, "find_spec", lambda name: None)
        assert sdk_reader.why_not() == "AllenSDK is not installed"
        sdk_reader._why_not.cache_clear()
        monkeypatch.setattr(sdk_reader.importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(sdk_reader, "load", lambda name: 1 / 0)
        assert "does not import (ZeroDivisionError: division by zero)" in sdk_reader.why_not()
    finally:
        sdk_reader._why_not.cache_clear()


@pytest.mark.oracle
def test_auto_is_allensdk_where_it_is_installed(folder: Path) -> None:
    session = Observatory(folder).session(501498760)
    assert (session.reader.name, reader_name()) == ("allensdk", "allensdk")
    assert type(session.dataset).__name__ == "BrainObservatoryNwbDataSet"


@pytest.mark.parametrize("bad", ["sdk", "", None, "Own"])
def test_an_unknown_reader_is_refused(bad: Any, folder: Path) -> None:
    with pytest.raises(InputError, match=r"'reader' parameter of Observatory must be"):
        Observatory(folder, reader=bad).session(501498760)


_WITHOUT = """
import sys
sys.modules["allensdk"] = None  # every import of it fails
from alignment.brain import Observatory, simulate_observatory, trial_responses
found = Observatory(simulate_observatory(sys.argv[1], cells=2, trials=2, sessions=1))
session = found.session(int(found.list()["experiment_id"][0]))
print(session.reader.name, dict(trial_responses(session).sizes), session.scenes().shape)
"""


def test_all_works_in_a_process_that_cannot_import_allensdk(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _WITHOUT, str(tmp_path / "made")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "own {'cell': 2, 'scene': 118, 'trial': 2} (118, 918, 1174)\n", done.stderr


# --- Pixels, and the comparison itself ---


@pytest.mark.parametrize("value", [0.5, 256.0, -1.0, np.nan, np.inf])
def test_pixels_that_are_no_grey_levels_are_refused(value: float, small_file: Any, tmp_path: Path, reader: str) -> None:
    small = small_file()
    small.template = small.template.astype(np.float32)
    small.template[1, 2, 3] = value
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        open_reader(small.write(tmp_path / "file.nwb"), reader).scenes()
    with pytest.raises(ValueError, match="whole numbers"):
        whole_pixels(np.array([value]))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (np.array([1.0]), np.array([1.0], dtype=np.float32)),
        (np.array([1.0, 2.0]), np.array([[1.0, 2.0]])),
        (np.array([0.0]), np.array([-0.0])),
        ((np.arange(3), np.arange(3)), (np.arange(3),)),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": "1"}),
        (KeyError("a"), np.arange(3)),
        (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 3]})),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
    ],
)
def test_what_differs_is_found(ours: Any, theirs: Any) -> None:
    assert same(ours, ours) and same(theirs, theirs)
    assert not same(ours, theirs) and not same(theirs, ours)


class TestCheckFile:
    def test_a_whole_file(self, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        path = files["what some lack"]
        without_allensdk(monkeypatch)
        found = check_file(path)
        assert found.fault == "" and {read.same for read in found.reads} == {None}
        assert "our own reader alone: AllenSDK is not installed (2-clause BSD plus a clause" in found.text
        words = {read.name: read.own for read in found.reads}
        assert words["dF/F of some cells"].startswith("3 x ") and words["dF/F"].startswith("5 x ")
        assert words["running speed"] == "not there (KeyError)"

    @pytest.mark.oracle
    def test_both_readers(self, files: dict[str, Path]) -> None:
        found = check_file(files["pipeline 1.0"])
        assert found.fault == "" and "11 of 11 reads are the same, bit for bit" in found.text

    @pytest.mark.oracle
    def test_a_reader_that_errs_is_named(self, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        right = OwnReader.timestamps
        monkeypatch.setattr(OwnReader, "timestamps", lambda self: np.nextafter(right(self), np.inf))
        found = check_file(files["pipeline 3.0"])
        assert "the readers differ in time stamps." in found.fault and "10 of 11" in found.text

    def test_a_damaged_file(self, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        without_allensdk(monkeypatch)
        path = tmp_path / "5.nwb"
        path.write_bytes(files["pipeline 3.0"].read_bytes())
        with h5py.File(path, "r+") as file:
            del file["stimulus/presentation/natural_scenes_stimulus"]
        assert "natural_scenes_stimulus is missing" in check_file(path).fault
        path.write_bytes(path.read_bytes()[:100_000])
        with pytest.raises(DataError, match="no NWB file of the Allen Brain Observatory"):
            check_file(path)
        with pytest.raises(DataError, match="is missing"):
            check_file(tmp_path / "none.nwb")


def test_traits_put_things_where_such_files_have_them(files: dict[str, Path]) -> None:
    with h5py.File(files["pupil, and ids in bytes, of pipeline 1.0"]) as file:
        processing = file["processing/brain_observatory_pipeline"]
        assert "pupil_size" in processing["PupilTracking"] and "BehavioralTimeSeries" not in processing
        assert set(processing["Fluorescence"]) == {"imaging_plane_1"}
        assert {"neuropil_traces", "r"} <= set(processing["Fluorescence/imaging_plane_1"])
        assert processing["ImageSegmentation/cell_specimen_ids"].dtype.kind == "S"
