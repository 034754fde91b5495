"""Show a run as it goes: a live table on a terminal, a line for each finished task elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from pipelines.graph import STAGES, Task, TaskSpec, in_order

__all__ = ["Progress"]


@dataclass
class _Row:
    keys: set[str] = field(default_factory=set)
    hits: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    parts: dict[str, tuple[float, str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def finished(self) -> int:
        return len(self.hits) + len(self.done) + len(self.failed)


class Progress:
    """Listens to an execution; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, _Row] = {}
        self._started = time.monotonic()
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, event: str, spec: TaskSpec | None, **details: Any) -> None:
        """Take one event of an execution."""
        if event == "plan":
            self._plan(details["tasks"])
        elif event == "waiting":
            self._print(details["text"])
        if spec is None:
            return
        row = self._rows.setdefault(spec.stage, _Row())
        row.keys.add(spec.key)
        if event == "damaged":
            self._console.print(f"{details['text']} It is made again.", markup=False, soft_wrap=True)
        elif event == "start":
            row.parts[spec.key] = (0.0, spec.label)
        elif event == "part":
            share = details["done"] / max(details["total"], 1)
            row.parts[spec.key] = (share, f"{spec.label} {details.get('text', '')}".strip())
        elif event in ("hit", "done", "failed", "skipped"):
            row.parts.pop(spec.key, None)
            self._end(row, event, spec, details.get("outcome"))

    def _plan(self, tasks: list[Task]) -> None:
        for task in in_order(tasks):
            self._rows.setdefault(task.stage, _Row()).keys.add(task.key)

    def _end(self, row: _Row, event: str, spec: TaskSpec, outcome: Any) -> None:
        {"hit": row.hits, "done": row.done}.get(event, row.failed).add(spec.key)
        if outcome is not None:
            row.seconds += outcome.seconds
        if not self._console.is_terminal and event == "done":
            label = f"{STAGES[spec.stage].says}: {spec.label}" if spec.label else STAGES[spec.stage].says
            self._print(f"{label} ({outcome.seconds:.1f} s)")

    def _print(self, text: str) -> None:
        elapsed = time.monotonic() - self._started
        self._console.print(f"[{elapsed:6.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, expand=False)
        table.add_column("stage", min_width=28)
        table.add_column("", width=20)
        for name in ("done", "kept", "seconds"):
            table.add_column(name, justify="right")
        table.add_column("now", overflow="ellipsis", no_wrap=True, max_width=48)
        for name in STAGES:
            row = self._rows.get(name)
            if row is None:
                continue
            running = sum(share for share, _ in row.parts.values())
            bar = ProgressBar(total=max(len(row.keys), 1), completed=row.finished + running, width=20)
            now = escape("; ".join(text for _, text in row.parts.values()))
            done = f"{row.finished}/{len(row.keys)}" + (f" [red]{len(row.failed)} failed[/]" if row.failed else "")
            table.add_row(STAGES[name].says, bar, done, str(len(row.hits)), f"{row.seconds:.1f}", now)
        table.caption = f"{time.monotonic() - self._started:.0f} s"
        return table
