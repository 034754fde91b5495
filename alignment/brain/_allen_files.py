"""Write a simulated recording as an NWB 1.0 file in the layout that AllenSDK's reader expects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from alignment.brain._allen_layout import DEMIXED, PIPELINE
from alignment.brain._allen_records import Identity
from alignment.brain._donors import Place
from alignment.brain._recording import Session, Traces, natural_scene_metrics
from alignment.brain._scenes import SCENE_COUNT, SCENE_SHAPE, SceneSet
from alignment.brain.catalogue import NATURAL_SCENE_SESSION
from neural_alignment import __version__

__all__ = ["Traits", "read_metrics", "write_session"]

_FIELD = 512  # pixels across the imaged field
_PLANE = "imaging_plane_1"


@dataclass(frozen=True)
class Traits:
    """In what the survey's files differ from one another; by default a file is as most are, and small.

    Attributes
    ----------
    pipeline : {"3.0", "1.0"}
        The version of the Institute's pipeline. Before 2.0 nothing was demixed, and the neuropil lay beside the raw
        traces.
    scenes : {"uint8", "float32"}
        The Institute's files hold the scenes as float32; so written they take twice the space and time.
    demixed, running, pupil : bool
        Whether there are demixed traces, a running speed, and the pupil's place and size.
    genotype : {"full", "loose"}
        ``Rbp4-Cre_KL100/wt;Camk2a-tTA/wt;...``, or the lines alone, with blanks: ``Rbp4-Cre_KL100; Camk2a-tTA; ...``.
    ids : {"numbers", "bytes"}
        How the ids of cells and regions are written.
    """

    pipeline: Literal["3.0", "1.0"] = "3.0"
    scenes: Literal["uint8", "float32"] = "uint8"
    demixed: bool = True
    running: bool = True
    pupil: bool = False
    genotype: Literal["full", "loose"] = "full"
    ids: Literal["numbers", "bytes"] = "numbers"


def write_session(
    path: Path,
    who: Identity,
    place: Place,
    session: Session,
    neuropil_r: npt.NDArray[np.float64],
    blocks: Iterable[tuple[slice, Traces]],
    scenes: SceneSet,
    rng: np.random.Generator,
    traits: Traits | None = None,
) -> None:
    """Write one session; ``blocks`` yields some cells' traces at a time, so memory stays bounded."""
    count, traits = len(neuropil_r), traits or Traits()
    # No times are tracked and the stack is copied as it was compressed: the same data give the same bytes.
    with h5py.File(path, "w") as file:
        _write_metadata(file, who, place, traits)
        _write_stimulus(file, session)
        _write_scenes(file, scenes, traits)
        _write_rois(file, who, count, rng)
        _write_behaviour(file, session, rng)
        _write_traces(file, session, neuropil_r, blocks)
        _apply(traits, file, session)


def read_metrics(path: Path, block: int) -> list[dict[str, float | int]]:
    """Work out the API's metrics of the cells in a file of `write_session`, ``block`` cells at a time."""
    found: list[dict[str, float | int]] = []
    with h5py.File(path, "r") as file:
        shown = file["stimulus/presentation/natural_scenes_stimulus"]
        frame, onsets = shown["data"][()], shown["frame_duration"][:, 0]
        demixed = file[f"{PIPELINE}/Fluorescence/{_PLANE}/data"]  # raw and demixed are one
        neuropil = file[f"{PIPELINE}/Fluorescence/{_PLANE}_neuropil_response"]
        for first in range(0, len(demixed), block):
            cells = slice(first, first + block)
            corrected = demixed[cells] - neuropil["r"][cells][:, None] * neuropil["data"][cells]
            found += natural_scene_metrics(frame, onsets, corrected)
    return found


def _write_metadata(file: h5py.File, who: Identity, place: Place, traits: Traits) -> None:
    plane = f"general/optophysiology/{_PLANE}"
    loose = "; ".join(line for line, _ in place.genotype.lines)
    values = {
        "nwb_version": "NWB-1.0.5",
        "identifier": f"simulated {who.experiment}",
        "session_description": "SIMULATED by neural-alignment: no animal was imaged",
        "session_start_time": who.acquired.strftime("%a %b %d %H:%M:%S %Y"),
        "general/session_id": str(who.experiment),
        "general/ophys_experiment_id": str(who.experiment),
        "general/ophys_experiment_name": f"{who.acquired:%Y%m%d}_{who.donor_name}_simulated",
        "general/experiment_container_id": str(who.container),
        "general/session_type": NATURAL_SCENE_SESSION,
        "general/specimen_name": who.specimen_name,
        "general/fov": f"400x400 microns ({_FIELD} x {_FIELD} pixels)",
        "general/institution": "none (simulated)",
        "general/devices/2-photon microscope": "Simulated. SIM2P Please note: no animal was imaged.",
        "general/subject/age": f"{who.age_days} days",
        "general/subject/sex": {"M": "male", "F": "female"}[who.sex],
        "general/subject/genotype": place.genotype.full if traits.genotype == "full" else loose,
        "general/subject/species": "Mus musculus (simulated)",
        "general/subject/subject_id": who.donor_name,
        f"{plane}/imaging depth": f"{place.depth_um} microns",
        f"{plane}/location": place.area,
        f"{plane}/excitation_lambda": "910.0",
        f"{plane}/indicator": place.genotype.indicator,
        f"{plane}/imaging_rate": "30.0",
    }
    for name, value in values.items():
        file[name] = np.bytes_(value)
    # AllenSDK takes the last entry for the version of its pipeline and reads accordingly.
    file["general/generated_by"] = np.array(
        [b"SIMULATED by neural-alignment", __version__.encode(), b"pipeline", traits.pipeline.encode()]
    )


def _write_stimulus(file: h5py.File, session: Session) -> None:
    shown = file.create_group("stimulus/presentation/natural_scenes_stimulus")
    shown["data"], shown["frame_duration"] = session.frame, session.sweeps
    shown["num_samples"] = len(session.frame)
    shown["timestamps"] = session.timestamps[session.sweeps[:, 0]]
    grey = file.create_group("stimulus/presentation/spontaneous_stimulus")
    # One event at the start (1) and one at the end (-1) of each interval, each with its frame.
    grey["data"] = np.tile(np.array([1, -1]), len(session.grey))
    grey["frame_duration"] = np.repeat(session.grey.reshape(-1, 1), 2, axis=1)


def _write_scenes(file: h5py.File, scenes: SceneSet, traits: Traits) -> None:
    stack = file.create_dataset(
        "stimulus/templates/natural_scenes_image_stack/data",
        shape=(SCENE_COUNT, *SCENE_SHAPE),
        dtype=traits.scenes,
        chunks=(1, *SCENE_SHAPE),
        compression="gzip",
    )
    for scene, chunk in enumerate(scenes.chunks):
        if traits.scenes == "uint8":
            stack.id.write_direct_chunk((scene, 0, 0), chunk)
        else:
            stack[scene] = scenes.pixels(scene)


def _write_rois(file: h5py.File, who: Identity, count: int, rng: np.random.Generator) -> None:
    cells = file.create_group(f"{PIPELINE}/ImageSegmentation")
    cells["cell_specimen_ids"] = np.array([who.cell_specimen_id(cell) for cell in range(count)], np.int64)
    cells["roi_ids"] = np.array([who.roi_id(cell) for cell in range(count)], np.int64)
    plane = cells.create_group(_PLANE)
    names = [f"roi_{cell:05d}" for cell in range(count)]
    plane["roi_list"] = np.array(names, dtype=bytes)
    centres = rng.uniform(20, _FIELD - 20, (count, 2))
    radii = rng.uniform(4.0, 8.0, (count, 2))
    projection = np.full((_FIELD, _FIELD), 20, dtype=np.uint8)
    for name, centre, radius in zip(names, centres, radii, strict=True):
        mask, box = _ellipse(centre, radius)
        projection[box] = np.maximum(projection[box], mask * 200)
        full = np.zeros((_FIELD, _FIELD), dtype=np.uint8)
        full[box] = mask
        plane.create_dataset(f"{name}/img_mask", data=full, compression="gzip", compression_opts=1)
    image = plane.create_group("reference_images/maximum_intensity_projection_image")
    image.create_dataset("data", data=projection, compression="gzip", compression_opts=1)


def _ellipse(
    centre: npt.NDArray[np.float64], radius: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.uint8], tuple[slice, slice]]:
    low = np.floor(centre - radius).astype(int)
    high = np.ceil(centre + radius).astype(int) + 1
    y, x = np.mgrid[low[0] : high[0], low[1] : high[1]]
    inside = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 <= 1.0
    return inside.astype(np.uint8), (slice(low[0], high[0]), slice(low[1], high[1]))


def _write_behaviour(file: h5py.File, session: Session, rng: np.random.Generator) -> None:
    running = file.create_group(f"{PIPELINE}/BehavioralTimeSeries/running_speed")
    running["data"], running["timestamps"] = session.running, session.timestamps
    motion = file.create_group(f"{PIPELINE}/MotionCorrection/2p_image_series/xy_translation")
    shifts = rng.integers(-2, 3, (len(session.timestamps), 2)).astype(np.int8)
    motion.create_dataset("data", data=shifts, compression="gzip", compression_opts=1)
    motion["timestamps"] = session.timestamps
    motion["feature_description"] = np.array([b"x_motion", b"y_motion"])


def _write_traces(
    file: h5py.File,
    session: Session,
    neuropil_r: npt.NDArray[np.float64],
    blocks: Iterable[tuple[slice, Traces]],
) -> None:
    shape = (len(neuropil_r), len(session.timestamps))
    dff = _series(file, f"DfOverF/{_PLANE}", shape)
    demixed = _series(file, f"Fluorescence/{_PLANE}_demixed_signal", shape)
    neuropil = _series(file, f"Fluorescence/{_PLANE}_neuropil_response", shape)
    neuropil.parent["r"] = neuropil_r
    for block, traces in blocks:
        dff[block], demixed[block], neuropil[block] = traces.dff, traces.demixed, traces.neuropil
    # No regions overlap, so demixing changes nothing: raw and demixed are one dataset under two names.
    raw = file.create_group(f"{PIPELINE}/Fluorescence/{_PLANE}")
    raw["data"] = demixed
    times = raw.create_dataset("timestamps", data=session.timestamps)
    for series in (dff, demixed, neuropil):
        series.parent["timestamps"] = times


def _apply(traits: Traits, file: h5py.File, session: Session) -> None:
    """Take out of a whole file what one with these traits lacks, and move what it has elsewhere."""
    raw = f"{PIPELINE}/Fluorescence/{_PLANE}"
    if traits.pipeline == "1.0":
        file.move(f"{raw}_neuropil_response/data", f"{raw}/neuropil_traces")
        file.move(f"{raw}_neuropil_response/r", f"{raw}/r")
        del file[f"{raw}_neuropil_response"]
    if traits.pipeline == "1.0" or not traits.demixed:
        del file[DEMIXED]
    if not traits.running:
        del file[f"{PIPELINE}/BehavioralTimeSeries"]
    if traits.pupil:
        at = session.timestamps
        for name, shape in (("EyeTracking/pupil_location", (len(at), 2)), ("PupilTracking/pupil_size", (len(at),))):
            file[f"{PIPELINE}/{name}/data"], file[f"{PIPELINE}/{name}/timestamps"] = np.full(shape, np.nan), at
    if traits.ids == "bytes":
        for name in ("cell_specimen_ids", "roi_ids"):
            place = f"{PIPELINE}/ImageSegmentation/{name}"
            ids = file[place][()].astype("S")
            del file[place]
            file[place] = ids


def _series(file: h5py.File, name: str, shape: tuple[int, int]) -> Any:
    return file.create_dataset(f"{PIPELINE}/{name}/data", shape=shape, dtype=np.float32)
