"""A simulated Brain Observatory: genuine Allen-format files from documented model neurons.

What the demo and the tests read in place of the real data, through the very code that reads those: manifests
as the API serves them, and one NWB file a session. Every file says that it is simulated, and what each model
cell does is saved beside (``ground_truth.npz``), so that an analysis can be asked whether it recovers it. The
model is described in `alignment.brain._neuron_model` and `alignment.brain._recording`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from alignment._validation import check_integer
from alignment.brain import _allen_layout as layout
from alignment.brain._allen_files import Traits, read_metrics, write_session
from alignment.brain._allen_records import (
    CELLS_PER_SESSION,
    cell_record,
    container_record,
    experiment_record,
    identity,
    stimulus_mappings,
)
from alignment.brain._donors import place_of
from alignment.brain._neuron_model import Cells, draw_cells, gabor_filters, scene_outputs
from alignment.brain._recording import (
    Session,
    Traces,
    draw_session,
    draw_traces,
    expected_dff,
    kernel_of,
)
from alignment.brain._resemblance import RELIABILITY_RANGE, resemblance
from alignment.brain._scenes import SceneSet, scene_set
from neural_alignment import DataError, InputError, __version__

__all__ = [
    "GENERATOR", "RELIABILITY_RANGE", "Traits", "ground_truth", "resemblance", "simulate_file", "simulate_observatory",
]  # fmt: skip

GENERATOR = 2  # rises whenever the same parameters would give other data
TRUTH = "ground_truth.npz"
_UNFINISHED = "SIMULATION-UNFINISHED.json"
_LOCK = ".simulation.lock"
_BLOCK = 32  # cells whose traces are in memory at once
_FILTER_GRID = (32, 32)

Progress = Callable[[int, int, str], object]


def simulate_observatory(
    folder: str | os.PathLike[str],
    *,
    cells: int = 12,
    trials: int = 20,
    sessions: int = 24,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Write a simulated observatory.

    Parameters
    ----------
    folder : str or path
        A new or empty folder. One with the same simulation, finished or broken off, is completed; any other
        content is refused.
    cells : int
        Cells in each session.
    trials : int
        Presentations of each of the 118 scenes and of the blank.
    sessions : int
        Experiments, each of another mouse. The first six cover the six areas, the first thirteen the Cre
        lines, the first twenty-two the genotypes.
    seed : int
        The same seed gives the same bytes. A session does not depend on how many there are.
    progress : callable, optional
        Called as ``progress(done, total, text)`` after each session.

    Returns
    -------
    pathlib.Path
        The folder: AllenSDK's cache layout, ``ground_truth.npz`` and, written last, ``SIMULATED.json``.

    Raises
    ------
    InputError
        For values out of range, and for a folder with anything else in it.
    DataError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = simulate_observatory(tempfile.mkdtemp(), cells=2, trials=2, sessions=1)
    >>> sorted(path.name for path in folder.iterdir())
    ['SIMULATED.json', 'cell_specimens.json', 'experiment_containers.json', 'ground_truth.npz',
     'manifest.json', 'ophys_experiment_data', 'ophys_experiments.json', 'stimulus_mappings.json']
    """
    owner = "simulate_observatory"
    parameters = {
        "cells": check_integer(cells, "cells", owner, low=1, high=CELLS_PER_SESSION),
        "trials": check_integer(trials, "trials", owner, low=1, high=1000),
        "sessions": check_integer(sessions, "sessions", owner, low=1, high=10_000),
        "seed": check_integer(seed, "seed", owner, low=0),
        "generator": GENERATOR,
    }
    target = Path(folder).expanduser()
    try:
        if _is_finished(target, parameters):
            return target
        target.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target / _LOCK)
        with lock:
            # Another process may have finished it while this one waited.
            if not _is_finished(target, parameters):
                _begin(target, parameters)
                _write(target, parameters, progress or (lambda done, total, text: None))
                _tidy(target)
            (target / _LOCK).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"The simulated observatory could not be written to {target}: {error}. Free space or choose "
            "another folder; the same command goes on where this one stopped."
        ) from error
    return target


def simulate_file(
    folder: str | os.PathLike[str], traits: Traits, *, cells: int = 4, trials: int = 2, number: int = 0, seed: int = 0
) -> Path:
    """Write one session's NWB file alone, with traits that some of the survey's files have.

    Parameters
    ----------
    folder : str or path
        Where ``ophys_experiment_data/ID.nwb`` comes to lie.
    traits : alignment.brain._allen_files.Traits
    cells, trials, seed : int
        As in `simulate_observatory`.
    number : int
        Which of its sessions.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = layout.nwb_path(Path(folder), identity(number, place_of(number)).experiment)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_session(Path(folder), number, {"cells": cells, "trials": trials, "seed": seed}, scene_set(), traits)
    return path


def ground_truth(folder: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read what the model cells of a simulated observatory do.

    Parameters
    ----------
    folder : str or path

    Returns
    -------
    dict of arrays
        Over cells: ``cell_specimen_id``, ``experiment_id``, every parameter of
        `alignment.brain._neuron_model.Cells`, ``inhibitory``; ``filter`` (cell, 32, 32), the Gabor filter;
        ``response`` (cell, 118), the noise-free mean dF/F over 0 to 0.5 s above the level without a
        stimulus, and ``blank`` (cell,), the same for the blank.

    Raises
    ------
    DataError
        If the folder holds no simulated observatory.
    """
    path = Path(folder) / TRUTH
    if not path.is_file():
        raise DataError(
            f"{path} is missing: {folder} is no simulated observatory. Make one with simulate_observatory or "
            "'nalign observatory simulate'."
        )
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _is_finished(folder: Path, parameters: dict[str, Any]) -> bool:
    """Whether the folder holds this very simulation; raise if it holds anything but a part of it."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file. Give a new or empty folder for the simulated observatory.")
    for name in (layout.SIMULATED, _UNFINISHED):
        marker = folder / name
        if marker.is_file():
            held = _read_parameters(marker)
            if held != parameters:
                raise InputError(
                    f"{folder} holds another simulation ({_told(held)}). Choose another folder for "
                    f"{_told(parameters)}, or delete that one first."
                )
            return name == layout.SIMULATED
    if folder.is_dir() and any(path.name != _LOCK for path in folder.iterdir()):
        raise InputError(
            f"{folder} is not empty and holds no simulation. Give a new or empty folder, so that simulated "
            "and other data never mix."
        )
    return False


def _begin(folder: Path, parameters: dict[str, Any]) -> None:
    """Mark the folder as an unfinished simulation, before anything else is in it."""
    layout.write_json(folder / _UNFINISHED, {"parameters": parameters})
    (folder / layout.NWB_FOLDER).mkdir(exist_ok=True)


def _tidy(folder: Path) -> None:
    """Remove what processes that were killed left under temporary names; the lock keeps others out."""
    for leftover in [*folder.glob(".*.tmp*"), *(folder / layout.NWB_FOLDER).glob(".*.tmp")]:
        leftover.unlink()
    (folder / _UNFINISHED).unlink(missing_ok=True)


def _read_parameters(marker: Path) -> dict[str, Any]:
    try:
        held = json.loads(marker.read_text(encoding="utf-8"))["parameters"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{marker} is damaged. Delete the folder {marker.parent} and simulate again.") from error
    return dict(held)


def _told(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def _write(folder: Path, parameters: dict[str, Any], progress: Progress) -> None:
    total = parameters["sessions"]
    progress(0, total, "preparing 118 scenes")
    scenes = scene_set()
    records: dict[str, list[dict[str, Any]]] = {"containers": [], "experiments": [], "cells": []}
    truth: list[dict[str, npt.NDArray[Any]]] = []
    for number in range(total):
        place = place_of(number)
        who = identity(number, place)
        truth.append(_write_session(folder, number, parameters, scenes))
        metrics = read_metrics(layout.nwb_path(folder, who.experiment), _BLOCK)
        records["containers"].append(container_record(who, place))
        records["experiments"].append(experiment_record(who, place))
        records["cells"] += [cell_record(who, place, cell, found) for cell, found in enumerate(metrics)]
        progress(number + 1, total, f"{place.genotype.cre_line} in {place.area}")
    joined: dict[str, Any] = {name: np.concatenate([part[name] for part in truth]) for name in truth[0]}
    temporary = folder / f".{TRUTH}.{os.getpid()}.tmp.npz"
    np.savez(temporary, **joined)
    temporary.replace(folder / TRUTH)
    layout.write_json(folder / layout.MAPPINGS, stimulus_mappings())
    layout.write_json(folder / layout.CELLS, records["cells"])
    layout.write_json(folder / layout.EXPERIMENTS, records["experiments"])
    layout.write_json(folder / layout.CONTAINERS, records["containers"])
    layout.write_json(folder / layout.MANIFEST, layout.manifest())
    layout.write_json(
        folder / layout.SIMULATED,
        {
            "simulated": True,
            "what": "Model neurons in the Allen Institute's file formats: no animal was imaged.",
            "parameters": parameters,
            "neural_alignment": __version__,
            "scenes": list(scenes.sources),
        },
    )


def _write_session(
    folder: Path, number: int, parameters: dict[str, Any], scenes: SceneSet, traits: Traits | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Write one session's file, unless it is there, and return its cells' ground truth."""
    place = place_of(number)
    who = identity(number, place)
    seed = [parameters["seed"], number]
    cells = draw_cells(parameters["cells"], place, np.random.default_rng([*seed, 0]))
    outputs = scene_outputs(cells, scenes.views, place.inhibitory)
    path = layout.nwb_path(folder, who.experiment)
    if not path.is_file():
        session = draw_session(parameters["trials"], np.random.default_rng([*seed, 1]))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            blocks = _blocks(cells, outputs, session, place.genotype.indicator, seed)
            rng = np.random.default_rng([*seed, 2])
            write_session(temporary, who, place, session, cells.neuropil_r, blocks, scenes, rng, traits)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    response, blank = expected_dff(cells, outputs, kernel_of(place.genotype.indicator))
    count = len(cells)
    return {
        "cell_specimen_id": np.array([who.cell_specimen_id(cell) for cell in range(count)], np.int64),
        "experiment_id": np.full(count, who.experiment, np.int64),
        "inhibitory": np.full(count, place.inhibitory),
        **asdict(cells),
        "filter": gabor_filters(cells, _FILTER_GRID),
        "response": response.astype(np.float32),
        "blank": blank.astype(np.float32),
    }


def _blocks(
    cells: Cells, outputs: npt.NDArray[np.float64], session: Session, indicator: str, seed: list[int]
) -> Iterator[tuple[slice, Traces]]:
    """Draw the traces, some cells at a time, each block from a generator of its own."""
    for first in range(0, len(cells), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(cells)))
        rng = np.random.default_rng([*seed, 3, first])
        yield block, draw_traces(cells[block], outputs[block], session, kernel_of(indicator), rng)
