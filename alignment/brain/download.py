"""Fetch manifests and NWB files of the Allen Brain Observatory, once, over a bad network.

AllenSDK neither retries nor checks, and writes straight to the final name, so a transfer that breaks can
leave a file that fails for ever. Here every transfer goes to a temporary name, is retried, resumed and
checked, and only then renamed into AllenSDK's cache layout, where AllenSDK finds it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import requests
from filelock import FileLock, Timeout

from alignment._validation import check_integer
from alignment.brain import _allen_layout as layout
from alignment.brain._api_lists import LISTS, ask, fetch_list, file_query, is_valid
from alignment.brain._network import (
    DEFAULT_URI,
    Cancelled,
    Network,
    Transient,
    Unreachable,
    attempt,
    doors,
    download,
    open_session,
)
from alignment.brain._nwb_check import check_nwb
from alignment.brain.allen.bucket import is_bucket
from neural_alignment import DataError, InputError

__all__ = [
    "BYTES_PER_EXPERIMENT",
    "DEFAULT_URI",
    "Network",
    "Transfer",
    "disk_need",
    "fetch_experiments",
    "fetch_manifests",
]

# NWB files of the survey have about 100 to 400 MB: the least a file needs, and what to reckon with.
BYTES_PER_EXPERIMENT = (100_000_000, 300_000_000)

_FAILURES_IN_A_ROW = 3

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Transfer(NamedTuple):
    """How far a fetch is.

    Attributes
    ----------
    files_done, files_total : int
    bytes_done, bytes_total : int
        Of this call; the total counts files of unknown length at the mean of the known ones.
    rate : float
        Bytes per second since the start.
    seconds_left : float or None
        None while nothing has arrived.
    text : str
        What happened last.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    rate: float
    seconds_left: float | None
    text: str


Progress = Callable[[Transfer], object]


def fetch_manifests(
    folder: str | os.PathLike[str],
    uri: str | None = None,
    *,
    cells: bool = False,
    refresh: bool = False,
    network: Network | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> list[Path]:
    """Fetch the survey's lists: containers, experiments, stimulus mappings and, if asked, cell metrics.

    Parameters
    ----------
    folder : str or path
        Created if need be. Lists already there are kept if they are valid, unless ``refresh``.
    uri : str, optional
        Base address of an API, a mirror or a bucket (``s3://...``); by default the Institute's public bucket and,
        for what it does not give, its API, both over https.
    cells : bool
        Also the metrics of about 63,000 cells, in pages of 2,000.
    refresh : bool
        Fetch again what is there. A good list is replaced only by a valid one.
    network : Network, optional
        How patient to be.
    progress : callable, optional
        Called as ``progress(done, total, text)``.

    Returns
    -------
    list of Path
        The lists, in AllenSDK's cache layout.

    Raises
    ------
    InputError
        For an address that is none, and a folder with a simulated observatory.
    DataError
        If a list cannot be had or is not valid; one that is there is left as it was.
    """
    ways, target = _Doors(uri), _prepare(folder)
    patience, stop = network or Network(), threading.Event()
    names = [name for name in LISTS if cells or name != layout.CELLS]
    with _guarded(target), open_session() as session:
        for number, name in enumerate(names):
            path = target / name
            with _locked(target, name, stop):
                if refresh or not is_valid(path, name):
                    records = ways.ask(lambda base, name=name: fetch_list(session, base, name, patience, stop))  # type: ignore[misc]
                    layout.write_json(path, records)
            if progress is not None:
                progress(number + 1, len(names), name)
        if not _reads_as_json(target / layout.MANIFEST):
            layout.write_json(target / layout.MANIFEST, layout.manifest())
    return [target / name for name in names]


def disk_need(folder: str | os.PathLike[str], ids: Iterable[int]) -> tuple[int, int, int]:
    """Say what a fetch will need before it starts.

    Parameters
    ----------
    folder : str or path
    ids : iterable of int

    Returns
    -------
    (int, int, int)
        Files still to fetch, the bytes to reckon with (300 MB each), and the bytes free on the folder's disk.
    """
    target = Path(folder).expanduser()
    missing = sum(not layout.nwb_path(target, number).is_file() for number in _checked(ids))
    place = next(parent for parent in (target, *target.absolute().parents) if parent.exists())
    return missing, missing * BYTES_PER_EXPERIMENT[1], shutil.disk_usage(place).free


def fetch_experiments(
    folder: str | os.PathLike[str],
    uri: str | None,
    ids: Iterable[int],
    *,
    workers: int = 3,
    network: Network | None = None,
    progress: Progress | None = None,
    bytes_per_file: int = BYTES_PER_EXPERIMENT[0],
) -> list[Path]:
    """Fetch experiments' NWB files, a few at once; what is there and whole is not fetched again.

    Parameters
    ----------
    folder : str or path
    uri : str or None
        As in `fetch_manifests`.
    ids : iterable of int
        Experiments. Two processes that want the same one fetch it once.
    workers : int
        Files at once.
    network : Network, optional
        How patient to be.
    progress : callable, optional
        Called with a `Transfer` several times a second at most.
    bytes_per_file : int
        The least that a missing file needs; the fetch does not start if the disk cannot hold that.

    Returns
    -------
    list of Path
        The files in the order of ``ids``.

    Raises
    ------
    InputError
        For ids that are no positive integers or that the server does not know.
    DataError
        If files cannot be had after all attempts, or the disk is too small. Complete files stay, and parts
        lie under hidden names from which the next call goes on.
    """
    numbers = _checked(ids)
    ways, target = _Doors(uri), _prepare(folder)
    check_integer(workers, "workers", "fetch_experiments", low=1, high=16)
    _preflight(target, numbers, bytes_per_file)
    (target / layout.NWB_FOLDER).mkdir(exist_ok=True)
    job = _Job(target, ways, network or Network(), _Meter(len(numbers), progress))
    with _guarded(target):
        job.run(numbers, workers)
    return [layout.nwb_path(target, number) for number in numbers]


class _Meter:
    """Adds up what several files' transfers report and passes it on, not more than five times a second."""

    def __init__(self, files: int, progress: Progress | None) -> None:
        self._lock = threading.Lock()
        self._progress, self._files, self._done = progress, files, 0
        self._sizes: dict[int, int] = {}
        self._arrived: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._start, self._told = time.monotonic(), 0.0

    def report(self, number: int, done: int, total: int | None) -> None:
        with self._lock:
            self._first[number] = min(self._first.get(number, done), done)
            self._arrived[number] = done
            if total is not None:
                self._sizes[number] = total
            if self._progress is not None and time.monotonic() - self._told >= 0.2:
                self._tell(f"experiment {number}")

    def finish(self, number: int, text: str) -> None:
        with self._lock:
            self._done += 1
            if number not in self._arrived:
                self._sizes[number] = 0
            if self._progress is not None:
                self._tell(f"experiment {number} {text}")

    def _tell(self, text: str) -> None:
        self._told = time.monotonic()
        done = sum(self._arrived.values())
        moved = done - sum(self._first.values())
        fetched = [size for size in self._sizes.values() if size]
        unknown = self._files - len(self._sizes)
        total = sum(fetched) + (unknown * sum(fetched) // len(fetched) if fetched else 0)
        rate = moved / max(self._told - self._start, 1e-6)
        left = (total - done) / rate if rate > 0 else None
        assert self._progress is not None
        self._progress(Transfer(self._done, self._files, done, max(total, done), rate, left, text))


class _Doors:
    """The addresses that are asked, one after another; one that could not be reached is not asked again."""

    def __init__(self, uri: str | None) -> None:
        self._open = list(doors(uri))

    def ask(self, once: Callable[[str], T]) -> T:
        """Return the answer of the first address that has one; raise what the last said, and what those before it."""
        faults: list[str] = []
        for base in (waiting := list(self._open)):
            try:
                return once(base)
            except DataError as error:
                if base == waiting[-1]:
                    if faults:
                        raise DataError(f"{error} Asked before: {' '.join(faults)}") from error
                    raise
                faults.append(str(error))
                lost = isinstance(error, Unreachable) and base in self._open
                if lost:
                    self._open.remove(base)
                following = waiting[waiting.index(base) + 1]
                _log.log(logging.WARNING if lost else logging.INFO, "%s Asking %s.", error, following)
        raise AssertionError("unreachable: there is always a door")


class _Job:
    """One call's transfers."""

    def __init__(self, folder: Path, ways: _Doors, network: Network, meter: _Meter) -> None:
        self.folder, self.ways, self.network, self.meter = folder, ways, network, meter
        self.stop = threading.Event()

    def run(self, numbers: list[int], workers: int) -> None:
        """Fetch all; a file that cannot be had does not stop the others, unless several fail in a row."""
        failures: list[DataError] = []
        in_a_row = 0
        with ThreadPoolExecutor(max_workers=min(workers, max(1, len(numbers)))) as pool:
            waiting: set[Future[None]] = {pool.submit(self._fetch, number) for number in numbers}
            try:
                while waiting:
                    # A short wait, so that Ctrl-C is heard at once.
                    finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in finished:
                        try:
                            future.result()
                            in_a_row = 0
                        except DataError as error:
                            failures.append(error)
                            in_a_row += 1
                    if in_a_row >= _FAILURES_IN_A_ROW:
                        break
            except BaseException:
                self.stop.set()
                raise
            finally:
                if waiting:
                    self.stop.set()
                    pool.shutdown(wait=True, cancel_futures=True)
        if len(failures) == 1 and not waiting:
            raise failures[0]
        if failures:
            raise DataError(
                f"{len(failures)} of {len(numbers)} experiments could not be fetched, and "
                f"{len(waiting)} were not tried to the end. The first: {failures[0]}"
            ) from failures[0]

    def _fetch(self, number: int) -> None:
        path = layout.nwb_path(self.folder, number)
        with _locked(self.folder, f"{number}.nwb", self.stop):
            if path.is_file() and _is_whole(path, number):
                self.meter.finish(number, "was there")
                return
            part = path.with_name(f".{path.name}.part")
            with open_session() as session:
                self.ways.ask(lambda base: self._transfer(session, base, part, number))
            part.replace(path)
            part.with_name(part.name + ".json").unlink(missing_ok=True)
        self.meter.finish(number, "fetched")

    def _transfer(self, session: requests.Session, base: str, part: Path, number: int) -> None:
        url = f"{base}/{layout.NWB_FOLDER}/{number}.nwb" if is_bucket(base) else self._link(session, base, number)
        what = f"experiment {number}"
        attempt(what, url, self.network, self.stop, lambda: self._once(session, url, part, number))

    def _once(self, session: requests.Session, url: str, part: Path, number: int) -> None:
        def report(done: int, total: int | None) -> None:
            self.meter.report(number, done, total)

        download(session, url, part, self.network, self.stop, report)
        try:
            check_nwb(part, number)
        except DataError as error:
            # All bytes that were announced came, and they are no NWB file: begin anew.
            part.unlink()
            raise Transient(f"what came cannot be read: {error}") from error

    def _link(self, session: requests.Session, base: str, number: int) -> str:
        what = f"the address of experiment {number}"
        records = ask(session, base, file_query(number), what, self.network, self.stop)
        if not records:
            raise InputError(
                f"Unknown experiment {number}: {base} has no NWB file of it. See "
                "'nalign observatory list' for those there are."
            )
        link = records[0].get("download_link") if isinstance(records[0], dict) else None
        if not isinstance(link, str) or not link.startswith("/") or link.startswith("//"):
            raise DataError(
                f"{base} gives no address for experiment {number} (download_link {link!r}). Is it an "
                "Allen API? Check NALIGN_ALLEN_URI."
            )
        return base + link


def _reads_as_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def _is_whole(path: Path, number: int) -> bool:
    try:
        check_nwb(path, number, read=False)
    except DataError:
        return False
    return True


def _checked(ids: Iterable[int]) -> list[int]:
    if isinstance(ids, str | bytes):
        raise InputError(f"The 'ids' parameter must be experiment numbers in a list. Got {ids!r} instead.")
    numbers = [check_integer(number, "ids", "fetch_experiments", low=1, high=10**15) for number in ids]
    return list(dict.fromkeys(numbers))


def _prepare(folder: str | os.PathLike[str]) -> Path:
    target = Path(folder).expanduser()
    if (target / layout.SIMULATED).exists():
        raise InputError(
            f"{target} holds a simulated observatory. Fetch real data into a folder of their own, so that "
            "the two never mix."
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {target} cannot be made: {error}. Choose another one.") from error
    return target


def _preflight(folder: Path, numbers: list[int], least: int) -> None:
    missing, _, free = disk_need(folder, numbers)
    if missing * least > free:
        raise DataError(
            f"{missing} files of at least {least / 1e6:,.0f} MB need "
            f"{missing * least / 1e9:,.1f} GB, and the disk of {folder} has {free / 1e9:,.1f} GB free. "
            "Choose fewer experiments or another folder."
        )


@contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Turn a disk's errors into one message."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Writing to {folder} failed: {error}. Free space or choose a folder that can be written to, "
            "then run the same command: it goes on from here."
        ) from error


@contextmanager
def _locked(folder: Path, name: str, stop: threading.Event) -> Iterator[None]:
    """Let one process or thread at a time fetch a file; a lock whose holder was killed is free again."""
    locks = folder / ".locks"
    locks.mkdir(exist_ok=True)
    lock = FileLock(locks / f"{name}.lock", thread_local=False)
    while True:
        try:
            lock.acquire(timeout=0.5, poll_interval=0.1)
            break
        except Timeout:
            if stop.is_set():
                raise Cancelled from None
    try:
        yield
    finally:
        lock.release()
