"""Small NWB files in the Allen layout, so that each test knows and can spoil every value in them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from alignment.brain.observatory import Observatory, Session


def _beside(name: str) -> ModuleType:
    """Load a module that lies beside the tests, so that they can import it by its name."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


allen_server, fetch_cases = _beside("allen_server"), _beside("fetch_cases")

PIPELINE = "processing/brain_observatory_pipeline"
SWEEP = 7  # frames in 0.25 s at 30 Hz, as AllenSDK counts them


class SmallFile:
    """One session: `scenes` scenes and the blank, each `trials` times in random order, back to back."""

    def __init__(
        self,
        experiment_id: int = 501498760,
        cells: int = 5,
        scenes: int = 6,
        trials: int = 4,
        seed: int = 0,
        genotype: str = "Cux2-CreERT2/wt;Camk2a-tTA/wt;Ai93(TITL-GCaMP6f)/wt",
        area: str = "VISp",
        depth_um: int = 275,
        session_type: str = "three_session_B",
    ) -> None:
        rng = np.random.default_rng(seed)
        self.experiment_id, self.genotype, self.area, self.depth_um = experiment_id, genotype, area, depth_um
        self.session_type = session_type
        order = rng.permutation(np.repeat(np.arange(-1, scenes), trials))
        starts = 60 + np.arange(len(order)) * SWEEP + np.arange(len(order)) // 2
        self.frame = order.astype(np.int64)
        self.sweeps = np.stack([starts, starts + SWEEP], axis=1).astype(np.int64)
        frames = int(starts[-1]) + 60
        self.timestamps = 10.0 + np.arange(frames) / 30.0
        self.dff = rng.normal(0.1, 0.3, (cells, frames)).astype(np.float32)
        self.demixed = rng.uniform(500, 1500, (cells, frames)).astype(np.float32)
        self.neuropil = rng.uniform(100, 200, (cells, frames)).astype(np.float32)
        self.r = rng.uniform(0.3, 0.9, cells)
        self.speed = rng.normal(0, 2, frames)
        self.ids = 517400000 + rng.permutation(cells).astype(np.int64)
        self.template = rng.integers(0, 256, (scenes, 9, 12), dtype=np.uint8)

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            self._write_metadata(file)
            cells = file.create_group(f"{PIPELINE}/ImageSegmentation")
            cells["cell_specimen_ids"] = self.ids
            cells["roi_ids"] = self.ids + 1
            traces = {
                "DfOverF/imaging_plane_1": self.dff,
                "Fluorescence/imaging_plane_1": self.demixed,
                "Fluorescence/imaging_plane_1_demixed_signal": self.demixed,
                "Fluorescence/imaging_plane_1_neuropil_response": self.neuropil,
            }
            for name, values in traces.items():
                group = file.create_group(f"{PIPELINE}/{name}")
                group["data"], group["timestamps"] = values, self.timestamps
            file[f"{PIPELINE}/Fluorescence/imaging_plane_1_neuropil_response/r"] = self.r
            running = file.create_group(f"{PIPELINE}/BehavioralTimeSeries/running_speed")
            running["data"], running["timestamps"] = self.speed, self.timestamps[: len(self.speed)]
            shown = file.create_group("stimulus/presentation/natural_scenes_stimulus")
            shown["data"], shown["frame_duration"] = self.frame, self.sweeps
            file["stimulus/templates/natural_scenes_image_stack/data"] = self.template
        return path

    def _write_metadata(self, file: h5py.File) -> None:
        values: dict[str, Any] = {
            "general/session_id": str(self.experiment_id),
            "general/experiment_container_id": "511510667",
            "general/session_type": self.session_type,
            "general/specimen_name": "Cux2-CreERT2;Camk2a-tTA;Ai93-222426",
            "general/fov": "400x400 microns (512 x 512 pixels)",
            "general/devices/2-photon microscope": "Nikon A1R. CAM2P.1 Please see the white paper",
            "general/subject/age": "104 days",
            "general/subject/sex": "M",
            "general/subject/genotype": self.genotype,
            "general/optophysiology/imaging_plane_1/imaging depth": f"{self.depth_um} microns",
            "general/optophysiology/imaging_plane_1/location": self.area,
            "general/optophysiology/imaging_plane_1/excitation_lambda": "910 nanometers",
            "general/optophysiology/imaging_plane_1/indicator": "GCaMP6f",
            "session_start_time": "2016-02-26T08:24:27Z",
        }
        for name, value in values.items():
            file[name] = np.bytes_(value)
        file["general/generated_by"] = np.array([b"pipeline", b"version", b"3.0"])


def container(
    container_id: int,
    experiments: dict[int, str],
    *,
    genotype: str,
    area: str,
    depth_um: int,
    failed: bool = False,
) -> dict[str, Any]:
    """An experiment container with what the API's records have that anyone here reads."""
    return {
        "id": container_id,
        "failed": failed,
        "imaging_depth": depth_um,
        "targeted_structure": {"acronym": area},
        "specimen": {"donor": {"id": container_id + 7, "full_genotype": genotype, "transgenic_lines": []}},
        "ophys_experiments": [{"id": key, "stimulus_name": value} for key, value in experiments.items()],
    }


@pytest.fixture(scope="session")
def small_file() -> type[SmallFile]:
    """The class of small files, for tests that change one before writing it."""
    return SmallFile


@pytest.fixture(scope="session")
def make_container() -> Callable[..., dict[str, Any]]:
    return container


@pytest.fixture(params=["own", pytest.param("allensdk", marks=pytest.mark.oracle)])
def reader(request: pytest.FixtureRequest) -> str:
    """Each reader of NWB files; AllenSDK's where it is installed."""
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An observatory in AllenSDK's layout, without manifest.json: one experiment at hand, one only listed."""
    small = SmallFile()
    small.write(tmp_path / "ophys_experiment_data" / f"{small.experiment_id}.nwb")
    containers = [
        container(
            511510667,
            {small.experiment_id: "three_session_B", 501498761: "three_session_A"},
            genotype=small.genotype,
            area="VISp",
            depth_um=275,
        ),
        container(
            511510700,
            {501498800: "three_session_B"},
            genotype="Sst-IRES-Cre/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt",
            area="VISl",
            depth_um=175,
        ),
        container(
            511510800,
            {501498900: "three_session_B"},
            genotype="Vip-IRES-Cre/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt",
            area="VISal",
            depth_um=175,
            failed=True,
        ),
    ]
    (tmp_path / "experiment_containers.json").write_text(json.dumps(containers))
    yield tmp_path


@pytest.fixture
def open_session(tmp_path: Path) -> Callable[[Any], Session]:
    """Write a small file and open it."""

    def write(small: Any) -> Session:
        small.write(tmp_path / "ophys_experiment_data" / f"{small.experiment_id}.nwb")
        return Observatory(tmp_path).session(small.experiment_id)

    return write


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Observatory:
    """A small simulated observatory, written once for all tests; read it, do not change it."""
    from alignment.brain.simulated import simulate_observatory

    folder = tmp_path_factory.mktemp("simulated") / "observatory"
    return Observatory(simulate_observatory(folder, cells=12, trials=30, sessions=2, seed=0))


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Three small NWB files by experiment, compressed so that damage within them shows; read them only."""
    return fetch_cases.write_sources(tmp_path_factory.mktemp("sources"), SmallFile)


@pytest.fixture
def server(sources: dict[int, Path]) -> Iterator[Any]:
    """A server on this machine that serves the three sessions, and breaks answers on demand."""
    with allen_server.AllenServer(fetch_cases.records(), sources) as running:
        running.stall_s = 5.0
        yield running


# The rows of the fault table, in its order.
_FAULTS = (
    "cut short, length announced",
    "cut short, no length announced",
    "503",
    "stall",
    "slow drip",
    "corrupted bytes",
    "another file",
    "redirect loop",
    "connection dropped",
    "connection refused",
    "SIGINT in mid-file",
    "SIGTERM in mid-file",
    "SIGKILL in mid-file",
    "two processes at once",
    "list: no JSON",
    "list: success false",
    "list: 503",
    "list: cut short, length announced",
    "list: cut short, no length announced",
    "list: redirect loop",
)


@pytest.fixture
def note_fault(record_property: Callable[[str, object], None]) -> Callable[[str, str, str], None]:
    """``note_fault(fault, ours, allensdk)`` puts a row into the fault table, see ``tests/conftest.py``."""

    def note(fault: str, ours: str, allensdk: str) -> None:
        # With the test's report the row comes from whichever process of a parallel run it was measured in.
        record_property("fault table", [_FAULTS.index(fault), len(_FAULTS), fault, ours, allensdk])

    return note
