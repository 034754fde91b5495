"""What a run shows: lines where it is not a terminal, a table where it is."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipelines.graph import Task
from pipelines.perform import Outcome
from pipelines.progress import Progress


@pytest.fixture
def task() -> Task:
    return Task("train", {"seed": 0}, {"domain": Task("domain", {}, label="digits")}, label="net [a] on digits")


def outcome(task: Task, status: Any, seconds: float = 0.0) -> Outcome:
    return Outcome(task.stage, task.key, task.label, status, seconds)


def shown(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=160, legacy_windows=False)
    console.print(progress._table())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_line_for_each_task_that_was_computed(task: Task) -> None:
    out = io.StringIO()
    with Progress(Console(file=out, width=40)) as progress:
        progress("plan", None, tasks=[task])
        progress("hit", task.inputs["domain"].spec())
        progress("start", task.spec())
        progress("done", task.spec(), outcome=outcome(task, "done", 2.34))
    (line,) = out.getvalue().splitlines()
    assert line.endswith("train networks: net [a] on digits (2.3 s)")


def test_a_terminal_gets_a_table_that_goes(task: Task) -> None:
    out = io.StringIO()
    with Progress(Console(file=out, force_terminal=True, width=120)) as progress:
        progress("plan", None, tasks=[task])
        progress("done", task.spec(), outcome=outcome(task, "done", 1.0))
    assert "train networks" in out.getvalue() and "(1.0 s)" not in out.getvalue()


def test_the_table_counts(task: Task) -> None:
    progress = Progress(Console(file=io.StringIO()))
    other = Task("train", {"seed": 1}, label="other")
    progress("plan", None, tasks=[task, other])
    progress("hit", task.inputs["domain"].spec())
    progress("start", task.spec())
    progress("part", task.spec(), done=3, total=12, text="epoch 3")
    text = shown(progress)
    assert "0/2" in text and "1/1" in text and "net [a] on digits epoch 3" in text
    progress("done", task.spec(), outcome=outcome(task, "done", 4.5))
    progress("failed", other.spec(), outcome=outcome(other, "failed", 0.5))
    text = shown(progress)
    assert "2/2 1 failed" in text and "5.0" in text and "epoch 3" not in text


def test_a_part_without_a_total_is_no_division(task: Task) -> None:
    progress = Progress(Console(file=io.StringIO()))
    progress("part", task.spec(), done=0, total=0)
    assert "net [a] on digits" in shown(progress)


def test_what_is_waited_for_is_said_off_a_terminal_too() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, width=40)) as progress:
        progress("waiting", None, text="waiting for workers: 0 of 4 (job 7 PENDING)")
    assert out.getvalue().endswith(" s] waiting for workers: 0 of 4 (job 7 PENDING)\n")
