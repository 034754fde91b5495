"""Do one task: look in the store, and only if it is not there compute it and put it in."""

from __future__ import annotations

import importlib.metadata
import platform
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from cache import LostResultError, Store
from neural_alignment import NeuralAlignmentError, __version__
from pipelines.graph import STAGES, TaskSpec
from pipelines.modules import append_modules

__all__ = ["ONE_TASK", "Context", "Inputs", "Outcome", "Site", "complete", "perform", "skipped"]

# One task at a time in a process: torch's random numbers and number of threads belong to the process, and a task that
# seeds them while another draws gives both other results. Workers may have been started with any number of threads.
ONE_TASK = threading.RLock()

PACKAGES = (
    "allensdk", "dask", "h5py", "matplotlib", "numpy", "pandas", "scikit-learn", "scipy", "statsmodels", "timm",
    "torch", "torchvision", "umap-learn", "xarray", "zarr",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Where and with what a task runs; decides speed, never results."""

    store: Path
    device: str = "auto"
    threads: int = 1
    modules: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    ``lost`` is the key of a result that it should have read and that was damaged or gone, and what happened to it.
    """

    stage: str
    key: str
    label: str
    status: Literal["done", "hit", "failed", "skipped"]
    seconds: float = 0.0
    message: str = ""
    trace: str = ""
    lost: tuple[str, str] | None = None


@dataclass
class Context:
    """What a stage function may ask about its surroundings.

    Attributes
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, for torch.
    where : mapping
        Folders of data on this machine.
    tell : callable
        ``tell(done, total, text)`` shows progress inside the task.
    scratch : Path
        The task's own folder that survives an interrupted run (checkpoints); removed once the task is done.
    """

    device: str
    where: Mapping[str, str]
    tell: Callable[[int, int, str], None]
    scratch: Path
    notes: dict[str, Any] = field(default_factory=dict)


class Inputs:
    """The results a task reads, by name; each is loaded when asked for."""

    def __init__(self, store: Store, keys: Mapping[str, tuple[str, str]]) -> None:
        self._store, self._keys = store, keys

    def __getitem__(self, name: str) -> Any:
        return self._store.read(*self._keys[name])

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def names(self, prefix: str = "") -> list[str]:
        """Return the inputs' names that begin with a prefix, in the order they were given."""
        return [name for name in self._keys if name.startswith(prefix)]

    def key(self, name: str) -> str:
        """Return a result's key."""
        return self._keys[name][1]

    def folder(self, name: str) -> Path:
        """Return the folder of a result that is files."""
        return Path(self._store.read(*self._keys[name]))

    def provenance(self, name: str) -> dict[str, Any]:
        """Return how a result came to be."""
        return dict(self._store.provenance(*self._keys[name]))

    def lineage(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield key and provenance of every result behind these inputs, and theirs, each once, sources first.

        What has been removed from the store since it was read is left out, with what only it was made from.
        """
        seen: set[str] = set()

        def visit(stage: str, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
            if key in seen or not self._store.has(stage, key):
                return
            seen.add(key)
            told = dict(self._store.provenance(stage, key))
            for needed in told["inputs"].values():
                for made_by in STAGES:  # a key does not tell its stage, and no two stages share one
                    if self._store.path(made_by, needed).is_dir():
                        yield from visit(made_by, needed)
            yield key, told

        for stage, key in self._keys.values():
            yield from visit(stage, key)


def perform(spec: TaskSpec, site: Site, *needed: Outcome, tell: Callable[..., None] | None = None) -> Outcome:
    """Do one task and return how it ended; only a stop from outside is raised.

    Parameters
    ----------
    spec : TaskSpec
        The task.
    site : Site
        The store and the device.
    *needed : Outcome
        How the tasks it reads ended; one that failed makes this one ``skipped``.
    tell : callable, optional
        ``tell(event, spec, **details)``, for the progress display.
    """
    passed_over = skipped(spec, needed)
    if passed_over is not None:
        return passed_over
    try:
        with ONE_TASK:
            return complete(spec, site, tell)
    except LostResultError as error:
        return Outcome(spec.stage, spec.key, spec.label, "failed", message=str(error), lost=(error.key, error.what))
    except NeuralAlignmentError as error:
        return Outcome(spec.stage, spec.key, spec.label, "failed", message=str(error))
    except Exception as error:
        message = f"an error inside neural-alignment, {type(error).__name__}: {error}"
        return Outcome(spec.stage, spec.key, spec.label, "failed", message=message, trace=traceback.format_exc())


def skipped(spec: TaskSpec, needed: Iterable[Outcome]) -> Outcome | None:
    """Return the outcome of a task that reads one that failed, or None if none of ``needed`` did."""
    failed = next((outcome for outcome in needed if outcome.status in ("failed", "skipped")), None)
    if failed is None:
        return None
    return Outcome(spec.stage, spec.key, spec.label, "skipped", message=f"needs {failed.label}")


def complete(spec: TaskSpec, site: Site, tell: Callable[..., None] | None = None) -> Outcome:
    """Do one task as :func:`perform` does, but raise its error: for commands that do just one."""
    store, stage, tell = Store(site.store), STAGES[spec.stage], tell or _silent
    if store.has(spec.stage, spec.key):
        return Outcome(spec.stage, spec.key, spec.label, "hit")
    tell("wait", spec)
    with store.lock(spec.stage, spec.key):
        if store.has(spec.stage, spec.key):  # another process computed it while we waited
            return Outcome(spec.stage, spec.key, spec.label, "hit")
        damage = store.clear(spec.stage, spec.key)
        if damage:
            tell("damaged", spec, text=damage)
        tell("start", spec)
        started, clock = datetime.now(UTC), time.perf_counter()
        context = Context(
            device=site.device,
            where=spec.where,
            tell=lambda done, total, text="": tell("part", spec, done=done, total=total, text=text),
            scratch=store.scratch(spec.stage, spec.key),
        )
        inputs = Inputs(store, spec.inputs)
        append_modules(site.modules)
        function = stage.load()

        def provenance() -> dict[str, Any]:
            return {
                **_surroundings(),
                "stage": spec.stage,
                "stage_version": stage.version,
                "label": spec.label,
                "params": dict(spec.params),
                "inputs": {name: key for name, (_, key) in spec.inputs.items()},
                "started": started.isoformat(timespec="seconds"),
                "seconds": round(time.perf_counter() - clock, 3),
                "threads": site.threads,
                **context.notes,
            }

        if stage.result == "folder":
            with store.folder(spec.stage, spec.key, provenance) as folder:
                function(inputs, spec.params, context, folder)
        else:
            store.write(spec.stage, spec.key, function(inputs, spec.params, context), provenance())
        store.clear_scratch(spec.stage, spec.key)
    return Outcome(spec.stage, spec.key, spec.label, "done", time.perf_counter() - clock)


@lru_cache(maxsize=1)
def _surroundings() -> dict[str, Any]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "neural_alignment": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
    }


def _silent(event: str, spec: TaskSpec, **details: Any) -> None:
    del event, spec, details
