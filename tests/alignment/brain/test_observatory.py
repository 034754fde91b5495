"""Folders and sessions, read by AllenSDK and by our own reader, and what is said when they are missing or damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from alignment.brain._stored_lists import containers_path
from alignment.brain.catalogue import COLUMNS, experiment_table
from alignment.brain.observatory import Observatory, Session
from neural_alignment import DataError, InputError

EXPERIMENT = 501498760
TRACES = "processing/brain_observatory_pipeline/DfOverF/imaging_plane_1/data"


@pytest.fixture
def nwb(folder: Path) -> Path:
    return folder / "ophys_experiment_data" / f"{EXPERIMENT}.nwb"


def allen_manifest(folder: Path, version: str = "1.3") -> Path:
    """A manifest.json as AllenSDK writes it."""
    paths = {
        "EXPERIMENT_CONTAINERS": "experiment_containers.json",
        "EXPERIMENTS": "ophys_experiments.json",
        "EXPERIMENT_DATA": "ophys_experiment_data/%d.nwb",
    }
    entries: list[dict[str, Any]] = [
        {"type": "manifest_version", "value": version},
        {"key": "BASEDIR", "type": "dir", "spec": "."},
    ]
    entries += [{"key": key, "type": "file", "spec": spec, "parent_key": "BASEDIR"} for key, spec in paths.items()]
    path = folder / "manifest.json"
    path.write_text(json.dumps({"manifest": entries}))
    return path


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, alignment.brain, alignment.brain.observatory as o; o.Observatory('.');"
        "print([m for m in ('allensdk', 'umap', 'sklearn', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there() -> None:
    import alignment.brain

    for name in alignment.brain.__all__:
        assert getattr(alignment.brain, name) is not None
    assert set(dir(alignment.brain)) >= {"trial_responses", "represent"}
    with pytest.raises(AttributeError, match="no attribute 'trail_responses'"):
        _ = alignment.brain.trail_responses


class TestList:
    def test_containers_alone(self, folder: Path) -> None:
        listed = Observatory(folder).list()
        assert tuple(listed.columns) == COLUMNS
        assert listed["experiment_id"].tolist() == [EXPERIMENT, 501498800]
        assert listed["genotype"].tolist() == ["Cux2-3", "Sst-1"]
        assert listed["donor_id"].tolist() == [511510674, 511510707]
        assert listed["cortical_layer"].tolist() == ["L4", "L2/3"]

    def test_real_manifest_alone(self, shared_data: Path) -> None:
        listed = Observatory(shared_data / "allen_manifests").list()
        assert (len(listed), listed["genotype"].nunique(), listed["cre_line"].nunique()) == (456, 22, 13)

    @pytest.mark.oracle
    @pytest.mark.parametrize("base", [".", "lists", "absolute"])
    def test_the_manifest_leads_where_it_leads_allensdk(self, folder: Path, base: str) -> None:
        from allensdk.core.brain_observatory_cache import BrainObservatoryCache

        alone = Observatory(folder).list(include_failed=True)
        manifest = allen_manifest(folder)
        if base != ".":
            inside = folder / "lists"
            inside.mkdir()
            (folder / "experiment_containers.json").rename(inside / "experiment_containers.json")
            text = manifest.read_text().replace('"spec": "."', f'"spec": "{"lists" if base == "lists" else inside}"')
            manifest.write_text(text)
        found = Observatory(folder).list(include_failed=True)
        assert found.equals(alone)
        cache = BrainObservatoryCache(manifest_file=str(manifest), base_uri="http://127.0.0.1:9")
        assert containers_path(folder) == Path(cache.get_cache_path(None, cache.EXPERIMENT_CONTAINERS_KEY)).resolve()
        theirs = experiment_table(cache.get_experiment_containers(include_failed=True, simple=False))
        assert set(found["experiment_id"]) < set(theirs["experiment_id"])  # theirs lists every session type

    def test_a_manifest_that_leads_in_a_circle_is_none(self, folder: Path) -> None:
        manifest = allen_manifest(folder)
        manifest.write_text(manifest.read_text().replace('"spec": "."', '"spec": ".", "parent_key": "BASEDIR"'))
        with pytest.raises(DataError, match=r"manifest.json is not a manifest"):
            Observatory(folder).list()

    @pytest.mark.parametrize("name", ["{}.nwb", "sub/ophys_experiment_{}.nwb"])
    def test_files_without_a_manifest(self, folder: Path, nwb: Path, tmp_path: Path, name: str) -> None:
        flat = tmp_path / "share"
        target = flat / name.format(EXPERIMENT)
        target.parent.mkdir(parents=True)
        shutil.copy(nwb, target)
        row = Observatory(flat).list().iloc[0]
        described = Observatory(folder).list().iloc[0]
        for column in set(COLUMNS) - {"donor_id"}:
            assert row[column] == described[column]
        assert row["donor_id"] == 222426
        assert Observatory(flat).session(EXPERIMENT).path == target

    def test_files_beside_a_manifest_without_containers(self, folder: Path) -> None:
        allen_manifest(folder)
        (folder / "experiment_containers.json").unlink()
        assert Observatory(folder).list()["experiment_id"].tolist() == [EXPERIMENT]

    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"neither experiment_containers.json nor NWB files.*Fetch"):
            Observatory(tmp_path / "none").list()

    def test_a_file_is_no_folder(self, nwb: Path) -> None:
        with pytest.raises(InputError, match="must be a folder"):
            Observatory(nwb)

    @pytest.mark.parametrize("with_manifest", [False, True])
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('[{"id": 1', "cannot be read as JSON.*delete it and fetch"),
            ('"Unexpected error from the server"', "must hold a list of records.*Unexpected error"),
            ('{"success": false, "msg": "no"}', "must hold a list of records"),
            ('[{"id": 1}]', "is not an Allen experiment container"),
        ],
    )
    def test_damaged_containers(self, folder: Path, text: str, message: str, with_manifest: bool) -> None:
        if with_manifest:
            allen_manifest(folder)
        (folder / "experiment_containers.json").write_text(text)
        with pytest.raises(DataError, match=message):
            Observatory(folder).list()

    def test_manifest_of_another_version(self, folder: Path) -> None:
        allen_manifest(folder, version="0.3")
        with pytest.raises(DataError, match=r"is of version '0.3'; '1.3' can be read"):
            Observatory(folder).list()

    @pytest.mark.parametrize("text", ["", "[]", '{"manifest": [{"type": "file"}]}', '{"other": 1}'])
    def test_no_manifest_at_all(self, folder: Path, text: str) -> None:
        (folder / "manifest.json").write_text(text)
        with pytest.raises(DataError, match=r"manifest.json is (not a manifest|of version None)"):
            Observatory(folder).list()

    def test_simulated_folders_say_so(self, folder: Path) -> None:
        assert not Observatory(folder).simulated
        (folder / "SIMULATED.json").write_text("{}")
        assert Observatory(folder).simulated
        assert Observatory(folder).session(EXPERIMENT).simulated

    def test_simulated_files_say_so_by_themselves(self, folder: Path, nwb: Path) -> None:
        with h5py.File(nwb, "r+") as file:
            file["session_description"] = np.bytes_("SIMULATED by neural-alignment: no animal was imaged")
        assert Observatory(folder).simulated
        assert Observatory(folder).session(EXPERIMENT).simulated

    def test_address(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NALIGN_ALLEN_URI", "http://mirror")
        assert Observatory(folder).uri == "http://mirror"
        assert Observatory(folder, uri="http://other").uri == "http://other"
        monkeypatch.delenv("NALIGN_ALLEN_URI")
        assert Observatory(folder).uri is None


class TestFetch:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What the downloads are asked for, in place of asking a server."""
        asked: list[Any] = []

        def manifests(folder: Path, uri: str | None, **options: Any) -> None:
            asked.append((folder, uri, options))

        def experiments(folder: Path, uri: str | None, ids: list[int], **options: Any) -> list[Path]:
            asked.append((ids, options["workers"]))
            return [folder / str(number) for number in ids]

        monkeypatch.setattr("alignment.brain.download.fetch_manifests", manifests)
        monkeypatch.setattr("alignment.brain.download.fetch_experiments", experiments)
        return asked

    @pytest.mark.parametrize("form", [lambda ids: ids, iter, lambda ids: pd.DataFrame({"experiment_id": ids})])
    def test_chosen_experiments(self, folder: Path, asked: list[Any], form: Any) -> None:
        found = Observatory(folder, uri="http://mirror").fetch(form([501498800, EXPERIMENT]), workers=2)
        assert found == [folder / "501498800", folder / str(EXPERIMENT)]
        assert asked[0] == (folder, "http://mirror", {"cells": False, "refresh": False})
        assert asked[1] == ([501498800, EXPERIMENT], 2)

    def test_all_that_passed(self, folder: Path, asked: list[Any]) -> None:
        Observatory(folder).fetch(refresh=True, cells=True)
        assert asked[0][2] == {"cells": True, "refresh": True}
        assert asked[1][0] == [EXPERIMENT, 501498800]

    def test_the_catalogue_alone(self, folder: Path, asked: list[Any]) -> None:
        assert Observatory(folder).fetch([]) == []

    def test_a_new_catalogue_is_read(self, folder: Path, asked: list[Any], monkeypatch: Any) -> None:
        observatory = Observatory(folder)
        assert len(observatory.list()) == 2

        def newer(folder: Path, *_: Any, **__: Any) -> None:
            path = folder / "experiment_containers.json"
            path.write_text(json.dumps(json.loads(path.read_text())[:1]))

        monkeypatch.setattr("alignment.brain.download.fetch_manifests", newer)
        observatory.fetch()
        assert asked == [([EXPERIMENT], 3)]

    @pytest.mark.parametrize("bad", ["../../etc/passwd", -1, 12])
    def test_unknown_experiments_are_not_asked_for(self, folder: Path, asked: list[Any], bad: Any) -> None:
        with pytest.raises(InputError, match=r"Unknown experiment 12|must be an integer ≥ 1"):
            Observatory(folder).fetch([EXPERIMENT, bad])
        assert len(asked) == 1


class TestSimulated:
    """The simulated observatory through the same code as the real one."""

    def test_catalogue_and_files_agree(self, simulated: Observatory, tmp_path: Path) -> None:
        listed = simulated.list()
        assert simulated.simulated
        assert len(listed) == 2
        for source in (simulated.folder / "ophys_experiment_data").glob("*.nwb"):
            shutil.copy(source, tmp_path)
        flat = Observatory(tmp_path)
        assert flat.simulated
        columns = [name for name in COLUMNS if name != "donor_id"]
        assert flat.list()[columns].equals(listed[columns])

    def test_responses_say_simulated(self, simulated: Observatory) -> None:
        from alignment.brain import trial_responses

        number = int(simulated.list()["experiment_id"][0])
        found = trial_responses(simulated.session(number))
        assert found.attrs["simulated"] == 1
        assert dict(found.sizes) == {"cell": 12, "scene": 118, "trial": 30}
        assert np.isfinite(found["response"]).all()
        assert simulated.session(number).scenes().shape == (118, 918, 1174)


class TestSession:
    @pytest.fixture
    def session(self, folder: Path, reader: Any) -> Session:
        return Observatory(folder, reader=reader).session(EXPERIMENT)

    def test_metadata(self, session: Session) -> None:
        expected = {
            "area": "VISp",
            "genotype": "Cux2-3",
            "cre_line": "Cux2-CreERT2",
            "depth_um": 275,
            "cortical_layer": "L4",
            "neuron_class": "excitatory",
            "donor_id": 511510674,
            "indicator": "GCaMP6f",
            "age_days": 104,
            "pipeline_version": "3.0",
        }
        assert {name: session.metadata[name] for name in expected} == expected
        assert repr(session) == f"Session({EXPERIMENT}, VISp, Cux2-3)"

    def test_values_are_those_written(self, session: Session, small_file: Any) -> None:
        written = small_file()
        assert session.cells["cell_specimen_id"].tolist() == written.ids.tolist()
        timestamps, dff = session.dff()
        np.testing.assert_array_equal(timestamps, written.timestamps)
        np.testing.assert_array_equal(dff, written.dff)
        _, corrected = session.corrected_fluorescence()
        np.testing.assert_allclose(corrected, written.demixed - written.neuropil * written.r[:, None])
        np.testing.assert_array_equal(session.scenes(), written.template)
        assert session.scene_count == len(written.template)
        table = session.natural_scenes()
        np.testing.assert_array_equal(table[["start", "end"]], written.sweeps)
        np.testing.assert_array_equal(table["frame"], written.frame)
        clock, speed = session.running_speed()
        np.testing.assert_array_equal(clock, written.timestamps)
        np.testing.assert_array_equal(speed, written.speed)

    @pytest.mark.parametrize("kind", ["dff", "corrected_fluorescence"])
    @pytest.mark.parametrize("cells", [1, 2, 5, 99])
    def test_blocks_are_the_whole(self, session: Session, kind: Any, cells: int) -> None:
        _, whole = session.dff() if kind == "dff" else session.corrected_fluorescence()
        blocks = list(session.trace_blocks(kind, cells))
        np.testing.assert_array_equal(np.concatenate([traces for _, traces in blocks]), whole)
        assert [place.start for place, _ in blocks] == list(range(0, 5, cells))
        assert all(len(traces) == place.stop - place.start <= cells for place, traces in blocks)

    def test_running_speed_that_starts_late_and_ends_early(self, folder: Path, small_file: Any, reader: Any) -> None:
        small = small_file()
        path = small.write(folder / "ophys_experiment_data" / f"{EXPERIMENT}.nwb")
        name = "processing/brain_observatory_pipeline/BehavioralTimeSeries/running_speed"
        with h5py.File(path, "r+") as file:
            del file[name]
            file[f"{name}/data"], file[f"{name}/timestamps"] = small.speed[5:-9], small.timestamps[5:-9]
        _, speed = Observatory(folder, reader=reader).session(EXPERIMENT).running_speed()
        assert np.isnan(speed[:5]).all()
        assert np.isnan(speed[-9:]).all()
        np.testing.assert_array_equal(speed[5:-9], small.speed[5:-9])

    def test_cell_metrics_join_by_cell(self, folder: Path, small_file: Any) -> None:
        ids = small_file().ids
        records = [
            {"cell_specimen_id": int(ids[3]), "p_ns": 0.01, "reliability_ns": 0.4, "area": "VISp"},
            {"cell_specimen_id": 1, "p_ns": 0.5, "reliability_ns": 0.0, "area": "VISl"},
        ]
        (folder / "cell_specimens.json").write_text(json.dumps(records))
        cells = Observatory(folder).session(EXPERIMENT).cells
        assert cells["cell_specimen_id"].tolist() == ids.tolist()
        assert cells["p_ns"].notna().tolist() == [False, False, False, True, False]
        assert cells["reliability_ns"][3] == 0.4

    def test_changed_metrics_are_read_anew(self, folder: Path) -> None:
        path = folder / "cell_specimens.json"
        assert Observatory(folder).cell_metrics() is None
        for value in (0.25, 0.125):
            path.write_text(json.dumps([{"cell_specimen_id": 5, "p_ns": value}]))
            metrics = Observatory(folder).cell_metrics()
            assert metrics is not None
            assert metrics["p_ns"].to_dict() == {5: value}
        path.write_text("[]")
        assert Observatory(folder).cell_metrics() is None

    def test_metrics_of_another_kind(self, folder: Path) -> None:
        (folder / "cell_specimens.json").write_text('[{"id": 1}]')
        with pytest.raises(DataError, match="no cell_specimen_id"):
            Observatory(folder).cell_metrics()

    @pytest.mark.oracle
    def test_allensdk_does_not_keep_scenes_for_ever(self, folder: Path) -> None:
        session = Observatory(folder, reader="allensdk").session(EXPERIMENT)
        before = type(session.dataset).get_stimulus_template.cache_size()
        session.scenes()
        assert type(session.dataset).get_stimulus_template.cache_size() == before


class TestBadSessions:
    @pytest.mark.parametrize("bad", ["../../etc/passwd", -1, 0, 1.5, True, None, "501498760"])
    def test_ids_that_are_none(self, folder: Path, bad: Any) -> None:
        with pytest.raises(InputError, match=r"'experiment_id' parameter of Observatory must be an integer"):
            Observatory(folder).session(bad)

    def test_unknown_id(self, folder: Path) -> None:
        with pytest.raises(InputError, match="Unknown experiment 12: the catalogue"):
            Observatory(folder).session(12)

    def test_missing_file(self, folder: Path) -> None:
        with pytest.raises(DataError, match=r"NWB file of experiment 501498800.*Fetch it"):
            Observatory(folder).session(501498800)

    @pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
    def test_truncated_file(self, folder: Path, nwb: Path, keep: float, reader: Any) -> None:
        content = nwb.read_bytes()
        nwb.write_bytes(content[: int(len(content) * keep)])
        with pytest.raises(DataError, match=rf"{EXPERIMENT}\.nwb.*truncated, damaged.*delete it and fetch"):
            Observatory(folder, reader=reader).session(EXPERIMENT)

    def test_another_kind_of_file(self, folder: Path, nwb: Path, reader: Any) -> None:
        nwb.write_text("<html>503 Service Unavailable</html>")
        with pytest.raises(DataError, match="damaged or no Allen NWB file"):
            Observatory(folder, reader=reader).session(EXPERIMENT)

    def test_file_of_another_experiment(self, folder: Path, nwb: Path, small_file: Any, reader: Any) -> None:
        small_file(experiment_id=7).write(nwb)
        with pytest.raises(DataError, match="named after experiment 501498760 but holds experiment 7"):
            Observatory(folder, reader=reader).session(EXPERIMENT)

    @pytest.mark.parametrize(
        ("gone", "read"),
        [
            (TRACES, "dff"),
            ("processing/brain_observatory_pipeline/Fluorescence", "corrected_fluorescence"),
            ("processing/brain_observatory_pipeline/BehavioralTimeSeries/running_speed/data", "running_speed"),
            ("stimulus/templates", "scenes"),
        ],
    )
    def test_missing_parts(self, folder: Path, nwb: Path, gone: str, read: str, reader: Any) -> None:
        with h5py.File(nwb, "r+") as file:
            del file[gone]
        session = Observatory(folder, reader=reader).session(EXPERIMENT)
        with pytest.raises(DataError, match=rf"Cannot read .*{EXPERIMENT}\.nwb"):
            getattr(session, read)()

    def test_what_some_of_the_surveys_files_lack_is_not_called_damage(
        self, folder: Path, nwb: Path, reader: Any
    ) -> None:
        fluorescence = "processing/brain_observatory_pipeline/Fluorescence/imaging_plane_1"
        with h5py.File(nwb, "r+") as file:
            del file["processing/brain_observatory_pipeline/BehavioralTimeSeries"]
            del file[f"{fluorescence}_demixed_signal"]
        session = Observatory(folder, reader=reader).session(EXPERIMENT)
        with pytest.raises(DataError, match=r"holds no running speed\.$"):
            session.running_speed()
        for read in (session.corrected_fluorescence, lambda: next(session.trace_blocks("corrected_fluorescence"))):
            with pytest.raises(DataError, match=r"holds no demixed traces.*method: dff.*exclude"):
                read()

    def test_session_without_natural_scenes(self, folder: Path, nwb: Path, reader: Any) -> None:
        with h5py.File(nwb, "r+") as file:
            del file["stimulus/presentation/natural_scenes_stimulus"]
        session = Observatory(folder, reader=reader).session(EXPERIMENT)
        with pytest.raises(DataError, match=r"showed no natural scenes.*Choose sessions of type three_session_B"):
            session.natural_scenes()

    def test_damaged_bytes_inside(self, folder: Path, nwb: Path, reader: Any) -> None:
        with h5py.File(nwb, "r+") as file:
            traces = file[TRACES][()]
            del file[TRACES]
            packed = file.create_dataset(TRACES, data=traces, compression="gzip", chunks=(1, traces.shape[1]))
            where = packed.id.get_chunk_info(0)
        with nwb.open("r+b") as raw:
            raw.seek(where.byte_offset)
            raw.write(bytes(min(200, where.size)))
        session = Observatory(folder, reader=reader).session(EXPERIMENT)
        with pytest.raises(DataError, match="Cannot read dff traces"):
            list(session.trace_blocks("dff"))
