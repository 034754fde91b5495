"""The simulated observatory: genuine files, the survey's shape, and cells that do what the model says."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.stats import f_oneway

from alignment.brain import _allen_layout as layout
from alignment.brain import _scenes, simulated
from alignment.brain._allen_records import identity
from alignment.brain._donors import AREAS, SURVEY, place_of
from alignment.brain._neuron_model import draw_cells, gabor_filters, scene_outputs
from alignment.brain._recording import (
    draw_session,
    draw_traces,
    expected_dff,
    kernel_of,
    mean_sweep_response,
    natural_scene_metrics,
)
from alignment.brain._scenes import SCENE_COUNT, SCENE_SHAPE, VIEW_SHAPE, scene_set
from alignment.brain.allen.sdk_reader import load
from alignment.brain.simulated import RELIABILITY_RANGE, ground_truth, resemblance, simulate_observatory
from neural_alignment import DataError, InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions (Cux2, Sst, Rorb) of four cells."""
    return simulate_observatory(tmp_path_factory.mktemp("simulated"), cells=4, trials=4, sessions=3, seed=7)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*") if path.is_file()}


# --- The survey ---


def test_the_survey_is_the_real_ones(shared_data: Path) -> None:
    containers = json.loads((shared_data / "allen_manifests" / layout.CONTAINERS).read_text())
    passed = [record for record in containers if not record["failed"]]
    places = {
        (
            record["specimen"]["donor"]["full_genotype"],
            record["targeted_structure"]["acronym"],
            record["imaging_depth"],
        )
        for record in passed
    }  # fmt: skip
    assert {genotype.full for genotype in SURVEY} == {place[0] for place in places}
    assert {(genotype.full, *place) for genotype in SURVEY for place in genotype.places} <= places
    assert {record["targeted_structure"]["acronym"]: record["targeted_structure"]["id"] for record in passed} == {
        area: number for area, (number, _) in AREAS.items()
    }
    lines = {
        record["specimen"]["donor"]["full_genotype"]: {
            (line["name"], line["transgenic_line_type_name"])
            for line in record["specimen"]["donor"]["transgenic_lines"]
        }
        for record in passed
    }
    for genotype in SURVEY:
        assert set(genotype.lines) <= lines[genotype.full]
    ids = {experiment["id"] for record in containers for experiment in record["ophys_experiments"]}
    assert max(ids) < identity(0, place_of(0)).experiment, "no simulated experiment can be taken for a real one"


def test_few_sessions_cover_much_of_the_survey() -> None:
    assert {place_of(number).area for number in range(6)} == set(AREAS)
    assert len({place_of(number).genotype.cre_line for number in range(13)}) == 13
    assert len({place_of(number).genotype.full for number in range(22)}) == 22
    assert {place_of(number).inhibitory for number in range(2)} == {True, False}
    assert all(place_of(number).inhibitory for number in (22, 23, 24))


def test_records_have_the_keys_of_the_real_ones(folder: Path, shared_data: Path) -> None:
    real = json.loads((shared_data / "allen_manifests" / layout.CONTAINERS).read_text())[0]
    ours = json.loads((folder / layout.CONTAINERS).read_text())[0]
    assert set(ours) == set(real)
    assert set(ours["ophys_experiments"][0]) == set(real["ophys_experiments"][0])
    for part in ("specimen", "targeted_structure", "isi_experiment"):
        assert set(ours[part]) <= set(real[part])
    assert set(ours["specimen"]["donor"]) <= set(real["specimen"]["donor"])
    mappings = json.loads((shared_data / "allen_manifests" / layout.MAPPINGS).read_text())
    assert all(record in mappings for record in json.loads((folder / layout.MAPPINGS).read_text()))


# --- Read back through AllenSDK ---


@pytest.mark.oracle
def test_allensdk_lists_and_reads_it_offline(folder: Path) -> None:
    cache_module = load("allensdk.core.brain_observatory_cache")
    cache = cache_module.BrainObservatoryCache(
        manifest_file=str(folder / layout.MANIFEST), base_uri="http://127.0.0.1:9"
    )
    containers = cache.get_experiment_containers()
    assert [record["cre_line"] for record in containers] == ["Cux2-CreERT2", "Sst-IRES-Cre", "Rorb-IRES2-Cre"]
    assert cache.get_all_targeted_structures() == ["VISal", "VISl", "VISp"]
    assert len(cache.get_cell_specimens()) == 12
    experiments = json.loads((folder / layout.EXPERIMENTS).read_text())
    chosen = cache.api.filter_ophys_experiments(
        experiments, cre_lines=["Sst-IRES-Cre"], stimuli=["natural_scenes"], simple=True
    )
    assert [record["session_type"] for record in chosen] == ["three_session_B"]
    dataset = cache.get_ophys_experiment_data(chosen[0]["id"])
    metadata = dataset.get_metadata()
    assert metadata["ophys_experiment_id"] == chosen[0]["id"]
    assert metadata["cre_line"].startswith("Sst-IRES-Cre")
    assert metadata["imaging_depth_um"] == 275
    assert metadata["pipeline_version"] == "3.0"
    assert metadata["age_days"] == chosen[0]["acquisition_age_days"]
    assert "Simulated" in metadata["device"]


@pytest.mark.oracle
def test_every_getter_of_allensdk_answers(folder: Path) -> None:
    reader = load("allensdk.core.brain_observatory_nwb_data_set")
    experiment = identity(0, place_of(0)).experiment
    data = reader.BrainObservatoryNwbDataSet(str(layout.nwb_path(folder, experiment)))
    ids = data.get_cell_specimen_ids()
    timestamps, dff = data.get_dff_traces()
    assert dff.shape == (4, len(timestamps))
    assert np.allclose(np.diff(timestamps), 1 / 30)
    _, corrected = data.get_corrected_fluorescence_traces(ids[1:3])
    baseline = ground_truth(folder)["baseline"][1:3]
    bleaching = 1 - 0.08 * np.arange(len(timestamps)) / len(timestamps)
    assert np.allclose(corrected / baseline[:, None] / bleaching - 1, dff[1:3], atol=1e-4)
    masks = data.get_roi_mask_array()
    assert masks.shape == (4, 512, 512)
    assert ((masks.sum((1, 2)) > 30) & (masks.sum((1, 2)) < 300)).all()
    assert data.get_max_projection().shape == (512, 512)
    assert len(data.get_roi_ids()) == 4
    speed, times = data.get_running_speed()
    assert len(speed) == len(times) == len(timestamps)
    assert data.get_motion_correction().shape == (len(timestamps), 3)
    assert data.get_stimulus_template("natural_scenes").shape == (SCENE_COUNT, *SCENE_SHAPE)
    assert list(data.get_stimulus_epoch_table()["stimulus"]) == ["spontaneous", "natural_scenes"] * 3


@pytest.mark.oracle
def test_the_stimulus_table_is_that_of_the_survey(folder: Path) -> None:
    reader = load("allensdk.core.brain_observatory_nwb_data_set")
    experiment = identity(1, place_of(1)).experiment
    data = reader.BrainObservatoryNwbDataSet(str(layout.nwb_path(folder, experiment)))
    table = data.get_stimulus_table("natural_scenes")
    assert (table["frame"].value_counts().sort_index().to_dict()) == dict.fromkeys(range(-1, SCENE_COUNT), 4)
    assert (table["end"] - table["start"] == 7).all()
    gaps = table["start"].to_numpy()[1:] - table["end"].to_numpy()[:-1]
    assert sorted(set(gaps[gaps < 100])) == [0, 1], "no gap but the half frame that 0.25 s has over 7 frames"
    assert (gaps >= 100).sum() == 2, "three stretches"
    assert table["frame"].is_monotonic_increasing is False


@pytest.mark.oracle
def test_allensdks_own_analysis_agrees(folder: Path) -> None:
    analysis = load("allensdk.brain_observatory.natural_scenes")
    reader = load("allensdk.core.brain_observatory_nwb_data_set")
    who = identity(0, place_of(0))
    data = reader.BrainObservatoryNwbDataSet(str(layout.nwb_path(folder, who.experiment)))
    theirs = analysis.NaturalScenes(data)
    _, corrected = data.get_corrected_fluorescence_traces()
    table = data.get_stimulus_table("natural_scenes")
    ours = mean_sweep_response(corrected, table["start"].to_numpy())
    expected = theirs.mean_sweep_response[[str(cell) for cell in range(4)]].to_numpy(dtype=float)
    assert np.allclose(ours.T, expected, rtol=1e-6, atol=1e-6)
    metrics = natural_scene_metrics(table["frame"].to_numpy(), table["start"].to_numpy(), corrected)
    stored = json.loads((folder / layout.CELLS).read_text())[:4]
    for cell, found in enumerate(metrics):
        groups = [ours[cell, table["frame"] == scene] for scene in range(-1, SCENE_COUNT)]
        assert found["p_ns"] == pytest.approx(f_oneway(*groups).pvalue)
        assert found["pref_image_ns"] == int(np.argmax([group.mean() for group in groups[1:]]))
        assert {name: stored[cell][name] for name in found} == found


def test_every_file_says_simulated(folder: Path) -> None:
    assert json.loads((folder / layout.SIMULATED).read_text())["simulated"] is True
    for path in (folder / layout.NWB_FOLDER).glob("*.nwb"):
        with h5py.File(path) as file:
            assert b"SIMULATED" in file["session_description"][()]
            assert b"SIMULATED" in file["general/generated_by"][0]
            assert b"SIM" in file["general/specimen_name"][()]
    assert "simulated" in (folder / layout.CONTAINERS).read_text()


# --- The same again ---


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = simulate_observatory(tmp_path / "again", cells=4, trials=4, sessions=3, seed=7)
    assert _files(again) == _files(folder)


def test_sessions_do_not_depend_on_how_many_there_are_but_on_the_seed(folder: Path, tmp_path: Path) -> None:
    fewer = _files(simulate_observatory(tmp_path / "fewer", cells=4, trials=4, sessions=1, seed=7))
    other = _files(simulate_observatory(tmp_path / "other", cells=4, trials=4, sessions=1, seed=8))
    name = f"{layout.NWB_FOLDER}/{identity(0, place_of(0)).experiment}.nwb"
    assert fewer[name] == _files(folder)[name] != other[name]


def test_a_finished_simulation_is_not_made_again(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.glob("**/*")}
    simulate_observatory(folder, cells=4, trials=4, sessions=3, seed=7)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("**/*")} == before


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    simulate_observatory(tmp_path / "new", cells=1, trials=1, sessions=2, progress=lambda *news: told.append(news))
    assert [news[:2] for news in told] == [(0, 2), (1, 2), (2, 2)]
    assert "Sst-IRES-Cre in VISl" in told[-1][2]


# --- Broken off ---


def _simulate(folder: Path) -> None:
    simulate_observatory(folder, cells=2, trials=2, sessions=8)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_killed_simulation_never_reads_as_complete_and_is_completed(number: signal.Signals, tmp_path: Path) -> None:
    scene_set()  # the child inherits them
    target = tmp_path / "killed"
    child = multiprocessing.get_context("fork").Process(target=_simulate, args=(target,))
    child.start()
    deadline = time.monotonic() + 60
    while not list(target.glob("*/*.nwb")):
        assert child.is_alive() and time.monotonic() < deadline
        time.sleep(0.002)
    assert child.pid is not None
    os.kill(child.pid, number)
    child.join(30)
    assert not (target / layout.SIMULATED).exists()
    assert not (target / layout.MANIFEST).exists()
    with pytest.raises(InputError, match=r"holds another simulation .*sessions 8"):
        simulate_observatory(target, cells=2, trials=2, sessions=2)
    first = next((target / layout.NWB_FOLDER).glob("*.nwb"))
    written = first.stat().st_mtime_ns
    (target / layout.NWB_FOLDER / ".9400000001.nwb.1.tmp").write_bytes(b"half")
    _simulate(target)
    assert first.stat().st_mtime_ns == written, "what was complete is kept"
    whole = tmp_path / "whole"
    _simulate(whole)
    assert _files(target) == _files(whole)
    shutil.rmtree(tmp_path)


def test_two_processes_that_want_one_simulation_make_it_together(tmp_path: Path) -> None:
    scene_set()
    target = tmp_path / "shared"
    children = [multiprocessing.get_context("fork").Process(target=_simulate, args=(target,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert len(list(target.glob("*/*.nwb"))) == 8
    assert not list(target.glob("**/.*"))
    shutil.rmtree(tmp_path)


def test_a_session_that_breaks_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        Path(arguments[0]).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(simulated, "write_session", full)
    with pytest.raises(DataError, match=r"No space left.*goes on where this one stopped"):
        simulate_observatory(tmp_path / "full", cells=1, trials=1, sessions=1)
    assert list((tmp_path / "full" / layout.NWB_FOLDER).iterdir()) == []
    monkeypatch.undo()
    simulate_observatory(tmp_path / "full", cells=1, trials=1, sessions=1)
    assert (tmp_path / "full" / layout.SIMULATED).is_file()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cells", 0),
        ("cells", 1.5),
        ("cells", True),
        ("trials", 0),
        ("sessions", -1),
        ("seed", -1),
        ("seed", "a"),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"'{name}' parameter of simulate_observatory"):
        simulate_observatory(tmp_path / "new", **{name: value})
    assert not (tmp_path / "new").exists()


def test_a_folder_with_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty and holds no simulation"):
        simulate_observatory(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        simulate_observatory(tmp_path / "mine.txt")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / layout.SIMULATED).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        simulate_observatory(tmp_path / "damaged")
    with pytest.raises(DataError, match="no simulated observatory"):
        ground_truth(tmp_path)


# --- The scenes ---


def test_the_scenes_have_the_form_of_the_real_ones(folder: Path) -> None:
    scenes = scene_set()
    assert len(scenes.chunks) == len(scenes.sources) == SCENE_COUNT
    assert scenes.views.shape == (SCENE_COUNT, *VIEW_SHAPE)
    assert 20e6 < sum(map(len, scenes.chunks)) < 28e6, "a session file stays below 30 MB"
    flat = scenes.views.reshape(SCENE_COUNT, -1)
    assert (flat.std(1) > 0.05).all(), "no scene is empty"
    correlation = np.corrcoef(flat)
    assert correlation[np.triu_indices(SCENE_COUNT, 1)].max() < 0.999, "no scene is there twice"
    path = next((folder / layout.NWB_FOLDER).glob("*.nwb"))
    with h5py.File(path) as file:
        stack = file["stimulus/templates/natural_scenes_image_stack/data"]
        assert stack.shape == (SCENE_COUNT, *SCENE_SHAPE)
        assert stack.dtype == np.uint8
        for scene in (0, 60, 117):
            assert (stack[scene] == scenes.pixels(scene)).all()
            pooled = stack[scene][:, :1170].reshape(102, 9, 130, 9).mean((1, 3)) / 255
            assert np.corrcoef(pooled.ravel(), scenes.views[scene].ravel())[0, 1] > 0.95


def test_a_missing_photograph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scenes, "_SOURCES", (("skimage", "data/none.png", 118),))
    with pytest.raises(DataError, match=r"none.png of the package skimage"):
        _scenes.photographs()


# --- The neurons ---


def test_filters_are_local_unit_length_and_blind_to_uniform_light() -> None:
    cells = draw_cells(40, place_of(0), np.random.default_rng(0))
    filters = gabor_filters(cells)
    assert np.allclose((filters**2).sum((1, 2)), 1, atol=1e-4)
    assert np.abs(filters.sum((1, 2))).max() < 1e-3
    rows, columns = np.indices(VIEW_SHAPE)
    weight = filters**2
    assert np.allclose((weight * columns).sum((1, 2)) / VIEW_SHAPE[1], cells.x, atol=0.06)
    assert np.allclose((weight * rows).sum((1, 2)) / VIEW_SHAPE[0], cells.y, atol=0.06)


def test_a_cell_prefers_its_own_orientation_and_frequency() -> None:
    cells = draw_cells(12, place_of(0), np.random.default_rng(3))
    filters = gabor_filters(cells)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(filters, s=(256, 256)), axes=(1, 2)))
    frequency = np.fft.fftshift(np.fft.fftfreq(256)) / (120 / VIEW_SHAPE[1])
    for cell, plane in enumerate(spectrum):
        row, column = np.unravel_index(plane.argmax(), plane.shape)
        found = np.hypot(frequency[row], frequency[column])
        assert found == pytest.approx(cells.frequency[cell], rel=0.35)
        angle = np.arctan2(frequency[row], frequency[column]) % np.pi
        turned = abs(angle - cells.orientation[cell])
        assert min(turned, np.pi - turned) < 0.3


def test_excitatory_cells_are_sparse_and_inhibitory_ones_broad() -> None:
    views = scene_set().views
    share = {}
    for number in (0, 1):
        place = place_of(number)
        cells = draw_cells(60, place, np.random.default_rng(1))
        outputs = scene_outputs(cells, views, place.inhibitory)
        assert outputs.shape == (60, SCENE_COUNT)
        assert ((outputs >= 0) & (outputs <= 1)).all()
        assert np.allclose(outputs.max(1), 1)
        share[place.inhibitory] = np.median((outputs > 0.25).mean(1))
    assert share[False] < 0.1 < 0.3 < share[True]


def test_inhibitory_cells_follow_contrast() -> None:
    place = place_of(1)
    views = scene_set().views
    cells = draw_cells(60, place, np.random.default_rng(2))
    contrast = views.reshape(SCENE_COUNT, -1).std(1)
    outputs = scene_outputs(cells, views, True)
    r = [np.corrcoef(row, contrast)[0, 1] for row in outputs]
    assert np.median(r) > 0.2


def test_simple_cells_answer_to_one_phase_and_complex_cells_to_both() -> None:
    cells = draw_cells(8, place_of(0), np.random.default_rng(5))
    own = gabor_filters(cells)
    for complexity, same in ((0.0, False), (1.0, True)):
        altered = type(cells)(**{**vars(cells), "complexity": np.full(8, complexity), "sparseness": np.zeros(8)})
        for cell in range(8):
            probes = np.stack([own[cell], -own[cell], np.zeros(VIEW_SHAPE)]).astype(np.float32)
            outputs = scene_outputs(altered[cell : cell + 1], 0.5 + 0.5 * probes / np.abs(probes).max(), False)[0]
            assert outputs[0] == pytest.approx(1)
            assert bool(outputs[1] == pytest.approx(1)) is same
            assert outputs[2] == 0


def test_areas_differ_in_scale() -> None:
    medians = {}
    for number in range(6):
        place = place_of(number)
        excitatory = place._replace(genotype=SURVEY[0])
        cells = draw_cells(4000, excitatory, np.random.default_rng(0))
        medians[place.area] = np.median(cells.frequency)
    assert min(medians["VISp"], medians["VISpm"]) > 1.5 * max(medians["VISal"], medians["VISrl"])


def test_drawn_responses_have_the_expected_mean() -> None:
    """The noise-free response is what the average over many trials comes to."""
    place = place_of(0)
    rng = np.random.default_rng(0)
    cells = draw_cells(3, place, rng)
    cells = type(cells)(**{**vars(cells), "gain": np.full(3, 6.0), "noise": np.full(3, 0.01)})
    outputs = np.zeros((3, SCENE_COUNT))
    outputs[:, ::4] = 1.0
    session = draw_session(60, rng)
    kernel = kernel_of("GCaMP6f")
    traces = draw_traces(cells, outputs, session, kernel, rng)
    expected, blank = expected_dff(cells, outputs, kernel)
    assert (blank == 0).all()
    onset = session.sweeps[:, 0]
    window = np.stack([traces.dff[:, onset + frame] for frame in range(15)]).mean(0)
    # The decay of one scene runs into the next: the difference between scenes is what is left untouched.
    driven = window[:, np.isin(session.frame, np.arange(0, SCENE_COUNT, 4))].mean(1)
    others = window[:, np.isin(session.frame, np.arange(1, SCENE_COUNT, 4))].mean(1)
    gain = session.gain.mean()
    assert np.allclose(driven - others, expected[:, 0] * gain, rtol=0.15)


def test_the_analysis_recovers_the_ground_truth(tmp_path: Path) -> None:
    from alignment.brain.observatory import Observatory
    from alignment.brain.responses import trial_responses

    folder = simulate_observatory(tmp_path / "truth", cells=30, trials=30, sessions=1, seed=1)
    truth = ground_truth(folder)
    observatory = Observatory(folder)
    assert observatory.simulated
    listed = observatory.list()
    data = trial_responses(observatory.session(int(listed["experiment_id"].iloc[0])))
    assert (data["cell_specimen_id"].to_numpy() == truth["cell_specimen_id"]).all()
    mean = data["response"].mean("trial").to_numpy()
    strong = truth["response"].max(1) > 0.1
    r = np.array([np.corrcoef(found, known)[0, 1] for found, known in zip(mean, truth["response"], strict=True)])
    assert strong.sum() >= 5
    assert np.median(r[strong]) > 0.6
    assert np.median(r[strong]) > np.median(r[~strong])


def test_marginals_resemble_the_real_ones(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = np.load(shared_data / "allen_scenes" / "marginal_dff_900x212.npy")
    folder = simulate_observatory(tmp_path / "marginals", cells=150, trials=20, sessions=1, seed=0)
    table = resemblance(folder, real)
    with capsys.disabled():
        print("\n" + table.round(2).to_string(index=False))
    both = table.set_index(["statistic", "quantile"])
    for statistic, quantile, tolerance in (
        ("response", 0.05, 1.6), ("response", 0.25, 1.6), ("response", 0.75, 1.6), ("response", 0.95, 1.8),
        ("response", 0.99, 2.0), ("response", 0.999, 2.0), ("deviation", 0.5, 1.6), ("deviation", 0.05, 1.6),
        ("deviation", 0.95, 2.0), ("robust deviation", 0.5, 1.5), ("robust deviation", 0.95, 1.6),
        ("excess kurtosis", 0.5, 2.5),
    ):  # fmt: skip
        row = both.loc[(statistic, quantile)]
        ratio = row["simulated"] / row["real"]
        assert 1 / tolerance < ratio < tolerance, (statistic, quantile, ratio)
    low, high = RELIABILITY_RANGE
    assert low < both.loc[("split-half reliability", 0.5), "simulated"] < high


@pytest.mark.parametrize("real", [np.zeros(5), np.zeros((0, 3)), np.full((3, 3), np.nan)])
def test_resemblance_refuses_what_is_no_table(real: np.ndarray, folder: Path) -> None:
    with pytest.raises(InputError, match="must be a"):
        resemblance(folder, real)


def test_resemblance_needs_simulated_excitatory_cells(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no simulated excitatory"):
        resemblance(tmp_path, np.ones((3, 3)))
    only = tmp_path / "only"
    shutil.copytree(folder, only)
    for number in (0, 2):
        layout.nwb_path(only, identity(number, place_of(number)).experiment).unlink()
    with pytest.raises(DataError, match="no simulated excitatory"):
        resemblance(only, np.ones((3, 3)))


@pytest.mark.slow
def test_a_large_session_streams(tmp_path: Path) -> None:
    """400 cells and 50 trials: memory stays far below the session's 900 MB of traces."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    simulate_observatory(tmp_path / "large", cells=400, trials=50, sessions=1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"400 cells x 50 trials: memory grew by {grown:.0f} MB")
    assert grown < 600
