"""One small harness for all benchmarks: interleaved repeats, median and IQR, budgets met or missed.

A benchmark is a file ``benchmarks/bench_<name>.py`` with one or more functions ``bench_<what>(bench)``. Each
prepares its data, names the things to time, and states its budgets; the harness times them and prints them::

    def bench_sum(bench):
        values = bench.rng.random(1000 if bench.quick else 1_000_000)
        bench.note(values=values.size)
        bench.ours("numpy", lambda: values.sum())
        bench.peer("python", lambda: sum(values), repeats=3)
        bench.limit("copy", lambda: values.copy())
        bench.faster("numpy", than="python", at_least=10)
        bench.within("numpy", of="copy", at_most=5)
        exact = math.fsum(values)
        bench.value("relative error", abs(values.sum() - exact) / exact, at_most=1e-12)

Budgets are goals: a missed one is printed as missed and does not fail the run.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neural_alignment import __version__

__all__ = ["Bench", "Case", "Line", "machine", "run_bench"]

Role = Literal["ours", "peer", "limit"]
SHORTEST = 2e-3  # seconds: a sample is at least this long, of as many calls as it takes
PACKAGES = (
    "allensdk", "biopython", "kdepy", "numba", "numpy", "pandas", "parasail", "scikit-learn", "scipy",
    "timm", "torch", "torchvision", "xarray", "zarr",
)  # fmt: skip


@dataclass
class Case:
    """One thing that is timed.

    Attributes
    ----------
    name, role
        What it is, and whether it is ours, a peer or a limit.
    call : callable
        Does the work once.
    repeats : int, optional
        Fewer than the others', for what takes long.
    before : callable, optional
        Called, untimed, before every sample (then of one call): provides what the work uses up.
    sync : callable, optional
        Waits for the device; inside the timed part.
    calls : int
        Calls in one sample.
    samples : list of float
        Seconds a call.
    """

    name: str
    role: Role
    call: Callable[[], Any]
    repeats: int | None = None
    before: Callable[[], Any] | None = None
    sync: Callable[[], Any] | None = None
    calls: int = 1
    samples: list[float] = field(default_factory=list)

    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the samples, in seconds a call."""
        return quartiles(self.samples)

    def warm(self) -> None:
        """Call once untimed, then find how many calls make a sample long enough to time."""
        self.sample()
        if self.before is not None:
            return
        once = self.sample()
        if once < SHORTEST:
            self.calls = min(100_000, max(1, round(SHORTEST / max(once, 1e-9))))

    def sample(self) -> float:
        """Return the seconds of one call, averaged over :attr:`calls` of them."""
        if self.before is not None:
            self.before()
        if self.sync is not None:
            self.sync()
        call = self.call
        start = time.perf_counter()
        for _ in range(self.calls):
            call()
        if self.sync is not None:
            self.sync()
        return (time.perf_counter() - start) / self.calls


@dataclass
class Line:
    """One figure with its budget.

    Attributes
    ----------
    text, unit : str
        What it is; ``×`` for a ratio.
    value, low, high : float
        Median and quartiles; equal for a figure that was not timed.
    at_most, at_least : float, optional
        The budget.
    """

    text: str
    unit: str
    value: float
    low: float
    high: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the budget is met; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


class Bench:
    """What a benchmark function is given: takes the things to time and the budgets.

    Attributes
    ----------
    quick : bool
        Take small data: the run only has to show that it works.
    seed : int
        Of everything random.
    rng : numpy.random.Generator
        Made from the seed.
    """

    def __init__(self, name: str, title: str = "", *, quick: bool = False, seed: int = 0, repeats: int = 15) -> None:
        self.name, self.title, self.quick, self.seed, self.repeats = name, title, quick, seed, repeats
        self.rng = np.random.default_rng(seed)
        self.cases: dict[str, Case] = {}
        self.lines: list[Line] = []
        self.notes: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}
        self._ratios: list[tuple[str, str, str, float | None, float | None]] = []
        self._times: list[tuple[str, str | None, float | None]] = []
        self._after: list[Callable[[], Any]] = []

    def ours(self, name: str, call: Callable[[], Any], **options: Any) -> None:
        """Time this project's own code; ``options`` are :class:`Case`'s ``repeats``, ``before``, ``sync``."""
        self._add(Case(name, "ours", call, **options))

    def peer(self, name: str, call: Callable[[], Any], **options: Any) -> None:
        """Time what others would use for the same work."""
        self._add(Case(name, "peer", call, **options))

    def limit(self, name: str, call: Callable[[], Any], **options: Any) -> None:
        """Time what nothing can be faster than: a copy, a bare matrix product, an empty loop."""
        self._add(Case(name, "limit", call, **options))

    def skip(self, name: str, reason: str) -> None:
        """Say that something is not timed here, and why."""
        self.skipped[name] = reason

    def note(self, **facts: Any) -> None:
        """Record sizes and settings beside the results."""
        self.notes.update(facts)

    def within(self, name: str, of: str, at_most: float | None = None) -> None:
        """State that a case takes at most so many times as long as another."""
        self._ratios.append((f"{name} / {of}", name, of, at_most, None))

    def faster(self, name: str, than: str, at_least: float | None = None) -> None:
        """State that a case is at least so many times as fast as another."""
        self._ratios.append((f"{name} faster than {than}", than, name, None, at_least))

    def seconds(self, name: str, at_most: float | None = None) -> None:
        """State that a case takes at most so many seconds."""
        self._times.append((name, None, at_most))

    def beside(self, name: str, of: str, at_most: float | None = None) -> None:
        """State that a case takes at most so many seconds more than another."""
        self._times.append((name, of, at_most))

    def value(
        self,
        text: str,
        value: float,
        *,
        unit: str = "",
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """State a figure that is not a time of a case: an error, a size, an accuracy."""
        self.lines.append(Line(text, unit, float(value), float(value), float(value), at_most, at_least))

    def after(self, call: Callable[[], Any]) -> None:
        """Name what is to be done when all is measured, or has failed: folders to remove, servers to stop."""
        self._after.append(call)

    def close(self) -> None:
        """Do what :meth:`after` was given, the last first."""
        while self._after:
            self._after.pop()()

    def measure(self) -> None:
        """Time all cases in turns, so that what else the machine does hits them alike; judge the budgets."""
        cases = list(self.cases.values())
        for case in cases:
            case.warm()
        collecting = gc.isenabled()
        gc.disable()
        try:
            for turn in range(self.repeats):
                shift = turn % len(cases) if cases else 0
                for case in cases[shift:] + cases[:shift]:
                    if turn < min(self.repeats, case.repeats or self.repeats):
                        case.samples.append(case.sample())
                gc.collect()
        finally:
            if collecting:
                gc.enable()
        for text, over, under, at_most, at_least in self._ratios:
            self._know(over, under)
            if over in self.cases and under in self.cases:
                low, middle, high = self._ratio(over, under)
                self.lines.append(Line(text, "×", middle, low, high, at_most, at_least))
        for name, of, at_most in self._times:
            self._know(name, of)
            if name in self.cases and (of is None or of in self.cases):
                self.lines.append(self._time_line(name, of, at_most))

    def record(self) -> dict[str, Any]:
        """Return everything measured, for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "quick": self.quick,
            "seed": self.seed,
            "notes": self.notes,
            "skipped": self.skipped,
            "cases": [
                {
                    "name": case.name,
                    "role": case.role,
                    "calls": case.calls,
                    **dict(zip(("q25", "median", "q75"), case.quartiles(), strict=True)),
                    "samples": case.samples,
                }
                for case in self.cases.values()
            ],
            "lines": [{**asdict(line), "met": line.met} for line in self.lines],
        }

    def _add(self, case: Case) -> None:
        if case.name in self.cases:
            raise ValueError(f"Two cases of {self.name} are called '{case.name}'.")
        self.cases[case.name] = case

    def _know(self, *names: str | None) -> None:
        for name in names:
            if name is not None and name not in self.cases and name not in self.skipped:
                raise ValueError(f"A budget names '{name}', which is none of {list(self.cases)}.")

    def _time_line(self, name: str, of: str | None, at_most: float | None) -> Line:
        samples = self.cases[name].samples
        if of is None:
            low, middle, high = quartiles(samples)
            return Line(name, "s", middle, low, high, at_most)
        others = self.cases[of].samples
        low, middle, high = quartiles([a - b for a, b in zip(samples, others, strict=False)])
        return Line(f"{name} beside {of}", "s", middle, low, high, at_most)

    def _ratio(self, over: str, under: str) -> tuple[float, float, float]:
        above, below = self.cases[over].samples, self.cases[under].samples
        if len(above) == len(below):  # taken in the same turns: what disturbed one turn disturbed both
            return quartiles([a / b for a, b in zip(above, below, strict=True)])
        low, middle, high = quartiles(above)
        other = statistics.median(below) if len(below) > 1 else below[0]
        if len(above) >= len(below):
            return low / other, middle / other, high / other
        low, other, high = quartiles(below)
        return middle / high, middle / other, middle / low


def run_bench(
    function: Callable[[Bench], Any], *, quick: bool = False, seed: int = 0, repeats: int | None = None
) -> Bench:
    """Run one benchmark function and return what it measured.

    Examples
    --------
    >>> def bench_sort(bench):
    ...     values = bench.rng.random(100)
    ...     bench.ours("numpy", lambda: np.sort(values))
    ...     bench.peer("python", lambda: sorted(values))
    ...     bench.faster("numpy", than="python", at_least=0.001)
    >>> done = run_bench(bench_sort, quick=True)
    >>> [(case.name, case.role, len(case.samples)) for case in done.cases.values()], done.lines[0].met
    ([('numpy', 'ours', 3), ('python', 'peer', 3)], True)
    """
    title = (function.__doc__ or "").strip().partition("\n")[0]
    name = function.__name__.removeprefix("bench_")
    bench = Bench(name, title, quick=quick, seed=seed, repeats=repeats or (3 if quick else 15))
    try:
        function(bench)
        bench.measure()
    finally:
        bench.close()
    return bench


def quartiles(samples: list[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile."""
    low, middle, high = np.percentile(samples, [25, 50, 75])
    return float(low), float(middle), float(high)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on and with."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "gpu": _gpu(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "neural_alignment": __version__,
        "commit": _commit(),
        "packages": versions,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _commit() -> str:
    folder = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
