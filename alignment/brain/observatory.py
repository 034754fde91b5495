"""The door to the Allen Brain Observatory: catalogue and sessions.

A folder is a source as it is: AllenSDK's cache layout (``manifest.json``, ``experiment_containers.json``,
``ophys_experiment_data/ID.nwb``), the list of containers alone (for listing), or NWB files at hand with no list. A
simulated observatory is read by the same code. Files are read by AllenSDK where it is installed, else by a reader of
our own (`alignment.brain.allen`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from alignment._validation import check_choice, check_integer
from alignment.brain import _allen_layout as layout
from alignment.brain._stored_lists import Records, cell_metrics, containers_path, read_records
from alignment.brain.allen.reader import MissingScenes, Reader, ReaderName, TimedTraces, open_reader, reader_name
from alignment.brain.catalogue import (
    CELL_METRICS,
    NATURAL_SCENE_SESSION,
    complete_table,
    experiment_table,
)
from alignment.brain.filters import filter_experiments
from neural_alignment import DataError, InputError

if TYPE_CHECKING:
    from alignment.brain.download import Transfer

__all__ = ["Observatory", "Session"]

TraceKind = Literal["dff", "corrected_fluorescence"]
Paths = list[Path]
Ids = list[int]
Names = str | Sequence[str] | None


class Observatory:
    """A folder with Allen Visual Coding data, real or simulated.

    Parameters
    ----------
    folder : str or path
        The folder. It need not exist yet when data are to be fetched into it.
    uri : str, optional
        Base address of an Allen API, a mirror or a bucket (``s3://...``); by default the environment variable
        ``NALIGN_ALLEN_URI``, else the Institute's public bucket and its API, over https.
    reader : {"auto", "allensdk", "own"}
        Who reads the NWB files: ``auto`` is AllenSDK where it is installed, else our own reader. Both give the same
        values.

    Raises
    ------
    InputError
        For a folder that is a file, and for a reader that is unknown or not installed.

    Examples
    --------
    >>> from alignment.brain.observatory import Observatory
    >>> Observatory("observatory").simulated
    False
    """

    def __init__(self, folder: str | os.PathLike[str], uri: str | None = None, reader: ReaderName = "auto") -> None:
        self.folder = Path(folder).expanduser()
        self.reader = reader
        self.uri = uri or os.environ.get("NALIGN_ALLEN_URI") or None
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(
                f"The observatory must be a folder, but {self.folder} is a file. Give the folder it lies in."
            )

    def __repr__(self) -> str:
        return f"Observatory({str(self.folder)!r})"

    @property
    def simulated(self) -> bool:
        """Whether the folder says that it is simulated, or the first of its NWB files does."""
        if (self.folder / layout.SIMULATED).is_file():
            return True
        first = next(iter(self._files.values()), None)
        return first is not None and _says_simulated(first)

    @cached_property
    def experiments(self) -> pd.DataFrame:
        """Every experiment, all session types, failed ones included (columns `catalogue.COLUMNS`)."""
        containers = self._containers()
        if containers is not None:
            return experiment_table(containers, str(self.folder / layout.CONTAINERS))
        if not self._files:
            raise DataError(
                f"{self.folder} holds neither {layout.CONTAINERS} nor NWB files. Fetch the catalogue with "
                f"'nalign observatory list --refresh --folder {self.folder}', or give the folder that holds the data."
            )
        return complete_table([_row_of_file(_open(path, self.reader)) for path in self._files.values()])

    def list(
        self,
        area: Names = None,
        cre_line: Names = None,
        genotype: Names = None,
        depth_um: float | tuple[float, float] | None = None,
        neuron_class: Names = None,
        session_type: Names = NATURAL_SCENE_SESSION,
        include_failed: bool = False,
    ) -> pd.DataFrame:
        """List the experiments that meet every filter, without asking the server.

        Parameters
        ----------
        area, cre_line, genotype, neuron_class, session_type : str or sequence of str, optional
            Names to keep; see `alignment.brain.filters.filter_experiments`.
        depth_um : float or (float, float), optional
            Imaging depth in µm, or the lowest and highest to keep.
        include_failed : bool
            Whether to keep containers that failed quality control.

        Returns
        -------
        pandas.DataFrame
            One row per experiment, columns `alignment.brain.catalogue.COLUMNS`.

        Raises
        ------
        InputError
            For unknown names and filters that exclude each other.
        DataError
            If the folder has no readable catalogue or holds nothing of what is asked for.
        """
        return filter_experiments(
            self.experiments,
            area=area,
            cre_line=cre_line,
            genotype=genotype,
            depth_um=depth_um,
            neuron_class=neuron_class,
            session_type=session_type,
            include_failed=include_failed,
            source=str(self.folder),
        )

    def session(self, experiment_id: int) -> Session:
        """Open one experiment.

        Parameters
        ----------
        experiment_id : int
            As in the table of `list`.

        Returns
        -------
        Session

        Raises
        ------
        InputError
            If the id is not one of the catalogue.
        DataError
            If its file is missing, damaged or of another experiment.
        """
        number = self._known(experiment_id)
        rows = self.experiments[self.experiments["experiment_id"] == number]
        path = self.path(number)
        if path is None:
            raise DataError(
                f"The NWB file of experiment {number} is neither in {self.folder / layout.NWB_FOLDER} "
                f"nor elsewhere in {self.folder}. Fetch it with 'nalign observatory fetch --folder "
                f"{self.folder}'."
            )
        row: dict[str, Any] = {str(name): value for name, value in rows.iloc[0].items()}
        reader = _open(path, self.reader)
        return Session(path, row, simulated=self.simulated, metrics=self.cell_metrics(), reader=reader)

    def fetch(
        self,
        experiments: pd.DataFrame | Iterable[int] | None = None,
        *,
        cells: bool = False,
        refresh: bool = False,
        workers: int = 3,
        progress: Callable[[Transfer], object] | None = None,
    ) -> Paths:
        """Fetch the catalogue, where it is not at hand, and the NWB files of experiments.

        Parameters
        ----------
        experiments : pandas.DataFrame or iterable of int, optional
            From `list`, or experiment ids; by default all natural-scene experiments that passed (some 456
            files of 100 to 400 MB). An empty list fetches the catalogue alone.
        cells : bool
            Also the API's metrics of all cells.
        refresh : bool
            Fetch the catalogue again although it is at hand.
        workers : int
            Files at once.
        progress : callable, optional
            Called with a `alignment.brain.download.Transfer`.

        Returns
        -------
        list of pathlib.Path
            The NWB files.

        Raises
        ------
        InputError
            For experiments that the catalogue does not hold, or a simulated observatory.
        DataError
            If the server cannot be reached or what it gives is not whole.
        """
        from alignment.brain.download import fetch_experiments, fetch_manifests

        fetch_manifests(self.folder, self.uri, cells=cells, refresh=refresh)
        for kept in ("experiments", "_files"):
            self.__dict__.pop(kept, None)
        if experiments is None:
            experiments = self.list()
        ids = experiments["experiment_id"] if isinstance(experiments, pd.DataFrame) else experiments
        numbers = self.check_ids(ids)
        return fetch_experiments(self.folder, self.uri, numbers, workers=workers, progress=progress)

    def check_ids(self, ids: Iterable[int]) -> Ids:
        """Return experiment ids, each once, if the catalogue holds them all.

        Raises
        ------
        InputError
            For one that it does not hold.
        """
        return [*dict.fromkeys(self._known(number) for number in ids)]

    def _known(self, experiment_id: Any) -> int:
        """Return an experiment's id if the catalogue holds it."""
        number = check_integer(experiment_id, "experiment_id", "Observatory", low=1)
        if not (self.experiments["experiment_id"] == number).any():
            raise InputError(
                f"Unknown experiment {number}: the catalogue in {self.folder} does not hold it. "
                "See 'nalign observatory list' for those it holds."
            )
        return number

    def path(self, experiment_id: int) -> Path | None:
        """Return the NWB file of an experiment, or None where it is not at hand."""
        expected = layout.nwb_path(self.folder, int(experiment_id))
        return expected if expected.is_file() else self._files.get(int(experiment_id))

    @property
    def has_catalogue(self) -> bool:
        """Whether the list of all containers is at hand, and not only files that speak for themselves."""
        return (self.folder / layout.CONTAINERS).is_file()

    @property
    def metrics_path(self) -> Path | None:
        """The file of the API's metrics of cells, or None where it is not at hand."""
        path = self.folder / layout.CELLS
        return path if path.is_file() else None

    def cell_metrics(self) -> pd.DataFrame | None:
        """Return the API's natural-scene metrics of cells (``p_ns`` ...), or None where not at hand.

        Returns
        -------
        pandas.DataFrame or None
            Indexed by cell_specimen_id: experiment_container_id, where the file has it, and those of
            `catalogue.CELL_METRICS` that it has, NaN where a cell was not imaged in the session.

        Raises
        ------
        DataError
            If the file of cell metrics is damaged.
        """
        path = self.metrics_path
        if path is None:
            return None
        status = path.stat()
        return cell_metrics(path.resolve(), status.st_mtime_ns, status.st_size)

    @cached_property
    def _files(self) -> dict[int, Path]:
        """NWB files in the folder by the number in their name (``ID.nwb``, ``ophys_experiment_ID.nwb``)."""
        found: dict[int, Path] = {}
        for pattern in ("*.nwb", "*/*.nwb"):
            for path in sorted(self.folder.glob(pattern)):
                numbers = re.findall(r"\d+", path.stem)
                if numbers and not path.name.startswith("."):
                    found.setdefault(int(numbers[-1]), path)
        return found

    def _containers(self) -> Records | None:
        """Read the experiment containers from where the manifest says they lie; None without them."""
        path = containers_path(self.folder)
        return read_records(path) if path.is_file() else None


class Session:
    """One experiment of the observatory.

    Attributes
    ----------
    experiment_id : int
    path : pathlib.Path
        The NWB file.
    simulated : bool
        Whether the folder or the file says that no animal was imaged.
    metadata : dict
        The catalogue's row (area, cre_line, genotype, full_genotype, depth_um, cortical_layer, neuron_class,
        donor_id ...) and what the file says of itself (age_days, sex, indicator, pipeline_version ...).
    reader : alignment.brain.allen.reader.Reader
        Who reads the file.
    """

    def __init__(
        self,
        path: Path,
        row: Mapping[str, Any],
        *,
        simulated: bool = False,
        metrics: pd.DataFrame | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.path = path
        self.reader = reader or _open(path, "auto")
        self.simulated = simulated or _says_simulated(path)
        self.experiment_id = int(row["experiment_id"])
        self._metrics = metrics
        with _reading(path, "its metadata"):
            found = self.reader.metadata()
        written = found.get("ophys_experiment_id")
        if written is not None and int(written) != self.experiment_id:
            raise DataError(
                f"{path} is named after experiment {self.experiment_id} but holds experiment {written}. "
                "Delete it and fetch it again."
            )
        self.metadata: dict[str, Any] = {**found, **row}

    def __repr__(self) -> str:
        return f"Session({self.experiment_id}, {self.metadata['area']}, {self.metadata['genotype']})"

    @property
    def dataset(self) -> Any:
        """AllenSDK's own object of this file, for what is not read here; it needs AllenSDK."""
        return _open(self.path, "allensdk").dataset  # type: ignore[attr-defined]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The cells in the file's order: cell_specimen_id, and the API's metrics where at hand."""
        with _reading(self.path, "its cells"):
            ids = self.reader.cell_specimen_ids()
        cells = pd.DataFrame({"cell_specimen_id": ids})
        if self._metrics is None:
            return cells
        return cells.join(self._metrics.filter(items=list(CELL_METRICS)), on="cell_specimen_id")

    def dff(self) -> TimedTraces:
        """Return time stamps (frame,) in s and dF/F (cell, frame)."""
        return self._traces("dff")

    def corrected_fluorescence(self) -> TimedTraces:
        """Return time stamps (frame,) in s and demixed, neuropil-corrected fluorescence (cell, frame).

        Raises
        ------
        DataError
            If the file holds no demixed traces, as some of the survey's do, or it cannot be read.
        """
        return self._traces("corrected_fluorescence")

    def timestamps(self) -> npt.NDArray[np.float64]:
        """Return the time stamps (frame,) of the traces in s."""
        with _reading(self.path, "time stamps"):
            return self.reader.timestamps()

    def trace_blocks(self, kind: TraceKind = "dff", cells: int = 32) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        """Stream the traces, some cells at a time, so that memory does not grow with the number of cells.

        Parameters
        ----------
        kind : {"dff", "corrected_fluorescence"}
        cells : int
            Cells in a block.

        Yields
        ------
        (slice, (cell, frame) array)
            Which cells of the file, and their traces.
        """
        check_choice(kind, "kind", "Session.trace_blocks", ("dff", "corrected_fluorescence"))
        step = check_integer(cells, "cells", "Session.trace_blocks", low=1)
        count = len(self.cells)
        for first in range(0, count, step):
            block = slice(first, min(first + step, count))
            yield block, self._traces(kind, block)[1]

    def natural_scenes(self) -> pd.DataFrame:
        """Return the sweeps: frame (-1 the blank, 0..117 the scene), start and end (indices into the traces).

        Raises
        ------
        DataError
            If the session showed no natural scenes.
        """
        try:
            with _reading(self.path, "its natural scenes table"):
                return self.reader.stimulus_table()
        except MissingScenes as error:
            raise DataError(
                f"Experiment {self.experiment_id} ({self.path}) showed no natural scenes: its session type is "
                f"{self.metadata.get('session_type', 'unknown')}. Choose sessions of type {NATURAL_SCENE_SESSION}."
            ) from error

    @cached_property
    def scene_count(self) -> int:
        """How many natural scenes the file's template holds (118)."""
        with _reading(self.path, "the natural scenes"), h5py.File(self.path, "r") as file:
            return int(file["stimulus/templates/natural_scenes_image_stack/data"].shape[0])

    def scenes(self) -> npt.NDArray[np.uint8]:
        """Return the natural scenes, uint8 (118, 918, 1174)."""
        with _reading(self.path, "the natural scenes"):
            return self.reader.scenes()

    def running_speed(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return time stamps (frame,) in s and running speed in cm/s, NaN where it was not recorded.

        Raises
        ------
        DataError
            If the file holds no running speed, as some of the survey's do, or it cannot be read.
        """
        with _reading(self.path, "running speed"):
            if not self._holds(f"{layout.PIPELINE}/BehavioralTimeSeries/running_speed"):
                raise DataError(f"Experiment {self.experiment_id} ({self.path}) holds no running speed.")
            return self.reader.running_speed()

    def _traces(self, kind: TraceKind, cells: slice | None = None) -> TimedTraces:
        with _reading(self.path, f"{kind} traces"):
            if kind == "dff":
                return self.reader.dff(cells)
            try:
                return self.reader.corrected_fluorescence(cells)
            except KeyError as error:
                if not self._holds(f"{layout.PIPELINE}/Fluorescence") or self._holds(layout.DEMIXED):
                    raise
                raise DataError(
                    f"Experiment {self.experiment_id} ({self.path}) holds no demixed traces, of which corrected "
                    "fluorescence is made; some of the survey's files lack them. Read its dF/F (responses: method: "
                    "dff), or leave the session out (observatory: exclude)."
                ) from error

    def _holds(self, name: str) -> bool:
        with h5py.File(self.path, "r") as file:
            return name in file


def _says_simulated(path: Path) -> bool:
    """Whether an NWB file describes itself as simulated; a file that cannot be opened says nothing."""
    try:
        with h5py.File(path, "r") as file:
            words = file["session_description"][()]
    except (OSError, KeyError, RuntimeError):
        return False
    return "simulated" in str(words).lower()


def _open(path: Path, reader: ReaderName) -> Reader:
    if not path.is_file():
        raise DataError(f"The NWB file {path} is missing. Fetch it with 'nalign observatory fetch'.")
    name = reader_name(reader)
    with _reading(path, "its metadata"):
        return open_reader(path, name)


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Turn what h5py and AllenSDK raise on a damaged file into one message that says what to do."""
    try:
        yield
    except (OSError, KeyError, ValueError, IndexError, RuntimeError, TypeError, AttributeError) as error:
        size = f"{path.stat().st_size:,} bytes" if path.is_file() else "no longer there"
        raise DataError(
            f"Cannot read {what} from {path} ({size}): {error}. The file is truncated, damaged or no Allen NWB file: "
            "delete it and fetch it again with 'nalign observatory fetch'."
        ) from error


def _row_of_file(reader: Reader) -> dict[str, Any]:
    """Describe an NWB file at hand by what it says of itself, for a folder without a manifest."""
    with _reading(reader.path, "its metadata"):
        found = reader.metadata()
        # The donor is the number at the end of the specimen's name: the manifest's donor id is not in the
        # file.
        donor = re.search(r"(\d+)\s*$", str(found["specimen_name"]))
        return {
            "experiment_id": int(found["ophys_experiment_id"]),
            "experiment_container_id": int(found["experiment_container_id"]),
            "donor_id": int(donor.group(1)) if donor else int(found["experiment_container_id"]),
            "area": str(found["targeted_structure"]),
            "full_genotype": str(found["genotype"]),
            "depth_um": int(found["imaging_depth_um"]),
            "session_type": str(found["session_type"]),
            "failed": False,
        }
