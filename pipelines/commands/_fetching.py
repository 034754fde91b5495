"""What ``nalign observatory fetch`` says: the need of disk before, how far it is, and what came."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn

from neural_alignment import DataError

if TYPE_CHECKING:
    from alignment.brain.download import Transfer

__all__ = ["Arrivals", "Plan", "preflight"]


@dataclass(frozen=True)
class Plan:
    """What a fetch has before it.

    Attributes
    ----------
    folder : Path
    ids : list of int
        The experiments chosen.
    files : int
        Those whose files are missing.
    least, reckoned, free : int
        Bytes: if every file is small, as files are on the average, and free on the disk.
    """

    folder: Path
    ids: list[int]
    files: int
    least: int
    reckoned: int
    free: int

    @property
    def text(self) -> str:
        """What to expect, in a line or two."""
        held = len(self.ids) - self.files
        chosen = f"{_experiments(len(self.ids))} chosen, {held} of them in {self.folder} already."
        if not self.files:
            return chosen
        return (
            f"{chosen}\nTo fetch: {_files(self.files)} of 100 to 400 MB, about {_size(self.reckoned)} together. "
            f"Free on the disk: {_size(self.free)}."
        )

    def refuse_or_ask(self, yes: bool) -> None:
        """Refuse what cannot fit, and ask on a terminal before many files are fetched.

        Raises
        ------
        DataError
            If the disk is too small; between the least and the usual size only without ``yes``.
        typer.Exit
            If the answer is no.
        """
        if self.files and self.reckoned > self.free and not (yes and self.least <= self.free):
            message = (
                f"The disk of {self.folder} is too small: {_files(self.files)} need about {_size(self.reckoned)}, and "
                f"{_size(self.free)} are free. Choose fewer experiments (--area, --cre-line, --experiment, ...) or "
                "another --folder."
            )
            if self.least <= self.free:
                message += " If files are smaller than usual they may fit: --yes tries, and keeps what came."
            raise DataError(message)
        if self.files > 1 and not yes and sys.stdin.isatty() and not typer.confirm("Fetch them?", default=True):
            typer.echo("Nothing was fetched.")
            raise typer.Exit(1)


def preflight(folder: Path, ids: list[int]) -> Plan:
    """Reckon what a fetch of these experiments needs."""
    from alignment.brain.download import BYTES_PER_EXPERIMENT, disk_need

    files, reckoned, free = disk_need(folder, ids)
    return Plan(folder, ids, files, files * BYTES_PER_EXPERIMENT[0], reckoned, free)


class Arrivals:
    """Shows a fetch: a bar on a terminal, a line for each file in a log; use it in a ``with`` statement."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._start = plan, time.monotonic()
        self._files = self._bytes = 0
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.fields[files]}"),
            BarColumn(),
            TextColumn("{task.fields[size]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, files="connecting", size="")

    def __enter__(self) -> Arrivals:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def tell(self, transfer: Transfer) -> None:
        """Take in how far the fetch is."""
        self._bytes = transfer.bytes_done
        files = f"{transfer.files_done}/{transfer.files_total} files"
        size = f"{_size(transfer.bytes_done)} of {_size(transfer.bytes_total)}, {_size(int(transfer.rate))}/s"
        if transfer.seconds_left is not None:
            size += f", {timedelta(seconds=round(transfer.seconds_left))} left"
        self._bar.update(
            self._task, completed=transfer.bytes_done, total=transfer.bytes_total or None, files=files, size=size
        )
        if transfer.text.endswith(" fetched"):
            self._files += 1
            if not self._console.is_terminal:
                self._console.print(f"{transfer.text} ({files}, {size})", markup=False)

    def summary(self) -> str:
        """Say what came and what is there now."""
        now = preflight(self._plan.folder, self._plan.ids)
        spent = timedelta(seconds=round(time.monotonic() - self._start))
        came = f"Fetched {_files(self._files)} ({_size(self._bytes)}) in {spent}" if self._files else "Nothing fetched"
        there = len(now.ids) - now.files
        return f"{came}; {there} of {_experiments(len(now.ids))} in {self._plan.folder}"


def _size(count: int) -> str:
    return decimal(count)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _experiments(count: int) -> str:
    return "1 experiment" if count == 1 else f"{count:,} experiments"
