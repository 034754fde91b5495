"""The door to the Allen Brain Observatory: catalogue and sessions, read through AllenSDK's own classes.

The only module that imports AllenSDK, and only when a file is opened. A folder is a source as it is:
AllenSDK's cache layout (``manifest.json``, ``experiment_containers.json``, ``ophys_experiment_data/ID.nwb``),
the manifest file alone (for listing), or NWB files at hand with no manifest. A simulated observatory is read
by the same code.
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
from alignment.brain._stored_lists import Records, cell_metrics, read_records
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
        Base address of the Allen API or of a mirror; by default the environment variable
        ``NALIGN_ALLEN_URI``, else AllenSDK's own.

    Examples
    --------
    >>> from alignment.brain.observatory import Observatory
    >>> Observatory("observatory").simulated
    False
    """

    def __init__(self, folder: str | os.PathLike[str], uri: str | None = None) -> None:
        self.folder = Path(folder).expanduser()
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
        return complete_table([_row_of_file(path) for path in self._files.values()])

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
        return Session(path, row, simulated=self.simulated, metrics=self.cell_metrics())

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
        """Read the experiment containers, through AllenSDK where it has a manifest; None without them."""
        manifest = self.folder / layout.MANIFEST
        if not manifest.is_file():
            path = self.folder / layout.CONTAINERS
            return read_records(path) if path.is_file() else None
        from allensdk.config.manifest import ManifestVersionError
        from allensdk.core.brain_observatory_cache import BrainObservatoryCache

        try:
            cache = BrainObservatoryCache(manifest_file=str(manifest.resolve()), base_uri=self.uri)
            path = Path(cache.get_cache_path(None, cache.EXPERIMENT_CONTAINERS_KEY))
        except ManifestVersionError as error:
            raise DataError(
                f"{manifest} is of version {error.found_version!r}; this AllenSDK reads {error.version!r}. "
                "Move it away and fetch the manifests again; NWB files beside it are kept. If the folder is not yours, "
                f"link its {layout.NWB_FOLDER} and {layout.CONTAINERS} into one of your own."
            ) from error
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise DataError(
                f"{manifest} is not a manifest of AllenSDK ({type(error).__name__}: {error}). "
                "Move it away and fetch the manifests again; NWB files beside it are kept."
            ) from error
        if not path.is_file():
            return None
        # AllenSDK would ask the server for a file that is missing and take an error text for a list: look
        # first.
        read_records(path)
        containers: Records = cache.get_experiment_containers(include_failed=True, simple=False)
        return containers


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
    dataset : allensdk.core.brain_observatory_nwb_data_set.BrainObservatoryNwbDataSet
        AllenSDK's own reader of the file.
    """

    def __init__(
        self,
        path: Path,
        row: Mapping[str, Any],
        *,
        simulated: bool = False,
        metrics: pd.DataFrame | None = None,
    ) -> None:
        self.path = path
        self.simulated = simulated or _says_simulated(path)
        self.experiment_id = int(row["experiment_id"])
        self._metrics = metrics
        self.dataset = _open(path)
        with _reading(path, "its metadata"):
            found = self.dataset.get_metadata()
        written = found.get("ophys_experiment_id")
        if written is not None and int(written) != self.experiment_id:
            raise DataError(
                f"{path} is named after experiment {self.experiment_id} but holds experiment {written}. "
                "Delete it and fetch it again."
            )
        self.metadata: dict[str, Any] = {**found, **row}

    def __repr__(self) -> str:
        return f"Session({self.experiment_id}, {self.metadata['area']}, {self.metadata['genotype']})"

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The cells in the file's order: cell_specimen_id, and the API's metrics where at hand."""
        with _reading(self.path, "its cells"):
            ids = np.asarray(self.dataset.get_cell_specimen_ids(), dtype=np.int64)
        cells = pd.DataFrame({"cell_specimen_id": ids})
        if self._metrics is None:
            return cells
        return cells.join(self._metrics.filter(items=list(CELL_METRICS)), on="cell_specimen_id")

    def dff(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """Return time stamps (frame,) in s and dF/F (cell, frame)."""
        with _reading(self.path, "dF/F traces"):
            timestamps, traces = self.dataset.get_dff_traces()
        return np.asarray(timestamps), np.asarray(traces)

    def corrected_fluorescence(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """Return time stamps (frame,) in s and demixed, neuropil-corrected fluorescence (cell, frame)."""
        with _reading(self.path, "corrected fluorescence"):
            timestamps, traces = self.dataset.get_corrected_fluorescence_traces()
        return np.asarray(timestamps), np.asarray(traces)

    def timestamps(self) -> npt.NDArray[np.float64]:
        """Return the time stamps (frame,) of the traces in s."""
        with _reading(self.path, "time stamps"):
            return np.asarray(self.dataset.get_fluorescence_timestamps())

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
        ids = self.cells["cell_specimen_id"].to_numpy()
        reader = self.dataset.get_dff_traces if kind == "dff" else self.dataset.get_corrected_fluorescence_traces
        for first in range(0, len(ids), step):
            block = slice(first, min(first + step, len(ids)))
            with _reading(self.path, f"{kind} traces"):
                # In the file's order: AllenSDK cannot read ids in another one.
                _, traces = reader(cell_specimen_ids=ids[block])
            yield block, np.asarray(traces)

    def natural_scenes(self) -> pd.DataFrame:
        """Return the sweeps: frame (-1 the blank, 0..117 the scene), start and end (indices into the traces).

        Raises
        ------
        DataError
            If the session showed no natural scenes.
        """
        from allensdk.brain_observatory.brain_observatory_exceptions import MissingStimulusException

        try:
            with _reading(self.path, "its natural scenes table"):
                table: pd.DataFrame = self.dataset.get_stimulus_table("natural_scenes")
        except MissingStimulusException as error:
            raise DataError(
                f"Experiment {self.experiment_id} ({self.path}) showed no natural scenes: its session type is "
                f"{self.metadata.get('session_type', 'unknown')}. Choose sessions of type {NATURAL_SCENE_SESSION}."
            ) from error
        return table.reset_index(drop=True)

    @cached_property
    def scene_count(self) -> int:
        """How many natural scenes the file's template holds (118)."""
        with _reading(self.path, "the natural scenes"), h5py.File(self.path, "r") as file:
            return int(file["stimulus/templates/natural_scenes_image_stack/data"].shape[0])

    def scenes(self) -> npt.NDArray[np.uint8]:
        """Return the natural scenes, uint8 (118, 918, 1174)."""
        # AllenSDK memoises this call for the life of the process (127 MB a session); the undecorated one does
        # not.
        with _reading(self.path, "the natural scenes"):
            template = type(self.dataset).get_stimulus_template.__wrapped__(self.dataset, "natural_scenes")
        return np.asarray(template, dtype=np.uint8)

    def running_speed(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return time stamps (frame,) in s and running speed in cm/s, NaN where it was not recorded."""
        with _reading(self.path, "running speed"):
            speed, timestamps = self.dataset.get_running_speed()
        return np.asarray(timestamps), np.asarray(speed, dtype=np.float64)


def _says_simulated(path: Path) -> bool:
    """Whether an NWB file describes itself as simulated; a file that cannot be opened says nothing."""
    try:
        with h5py.File(path, "r") as file:
            words = file["session_description"][()]
    except (OSError, KeyError, RuntimeError):
        return False
    return "simulated" in str(words).lower()


def _open(path: Path) -> Any:
    from allensdk.core.brain_observatory_nwb_data_set import BrainObservatoryNwbDataSet

    if not path.is_file():
        raise DataError(f"The NWB file {path} is missing. Fetch it with 'nalign observatory fetch'.")
    with _reading(path, "its metadata"):
        return BrainObservatoryNwbDataSet(str(path))


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


def _row_of_file(path: Path) -> dict[str, Any]:
    """Describe an NWB file at hand by what it says of itself, for a folder without a manifest."""
    dataset = _open(path)
    with _reading(path, "its metadata"):
        found = dataset.get_metadata()
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
