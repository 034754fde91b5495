"""``nalign cache``: what the store holds, whether it is whole, and making room in it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from neural_alignment import InputError

__all__ = ["app"]

app = typer.Typer(help="The store of results: list, verify, prune, path.", no_args_is_help=True)

CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="The store of results.", envvar="NALIGN_CACHE", show_default=False),
]
StageOption = Annotated[str | None, typer.Option("--stage", help="Only this stage's results.")]


@app.command("path")
def path(cache: CacheOption = None) -> None:
    """Print where the store is."""
    from cache import Store

    typer.echo(Store(cache).root)


@app.command("list")
def list_entries(cache: CacheOption = None, stage: StageOption = None) -> None:
    """List results: stage, key, size, age and what each is."""
    from cache import Store

    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("stage", "left"),
        ("key", "left"),
        ("size", "right"),
        ("age", "right"),
        ("what", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=name != "what")  # type: ignore[arg-type]
    entries = [entry for entry in Store(cache).list() if stage in (None, entry.stage)]
    for entry in entries:
        table.add_row(entry.stage, entry.key[:16], size_text(entry.size), age_text(entry.age), entry.label)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{len(entries)} results, {size_text(sum(entry.size for entry in entries))}")


@app.command("verify")
def verify(cache: CacheOption = None, stage: StageOption = None) -> None:
    """Read every file of every result and compare it with the digest taken when it was written."""
    from cache import Store

    console = Console(highlight=False)
    report = Store(cache).verify(stage=stage)
    for problem in report.problems:
        console.print(f"{problem.stage}/{problem.key}: {problem.what}", markup=False, soft_wrap=True)
    console.print(f"{report.checked} results read, {len(report.problems)} damaged")
    if report.problems:
        console.print("Remove the damaged ones with 'nalign cache prune --damaged'; the next run makes them again.")
        raise typer.Exit(1)


@app.command("prune")
def prune(
    cache: CacheOption = None,
    stage: StageOption = None,
    older_than: Annotated[str | None, typer.Option(help="Not used for this long: 12h, 30d, 8w.")] = None,
    to_size: Annotated[
        str | None, typer.Option(help="Longest unused first, until the store is this small: 20GB.")
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Results that do not match their digests, and those set aside.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")] = False,
) -> None:
    """Remove results (they can be computed again) and what interrupted runs left behind."""
    from cache import Store

    removed = Store(cache).prune(
        stage=stage,
        older_than=None if older_than is None else _duration(older_than),
        max_bytes=None if to_size is None else _bytes(to_size),
        damaged=damaged,
        dry_run=dry_run,
    )
    console = Console(highlight=False)
    for entry in removed:
        console.print(f"{entry.stage}/{entry.key[:16]}  {size_text(entry.size)}  {entry.label}", markup=False)
    word = "would be removed" if dry_run else "removed"
    console.print(f"{len(removed)} {word}, {size_text(sum(entry.size for entry in removed))}")


def size_text(size: float) -> str:
    """Write a number of bytes with a decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def age_text(seconds: float) -> str:
    """Write an age with its largest fitting unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)\s*([hdw])", text.strip())
    if match is None:
        raise InputError(f"--older-than must be a whole number and h, d or w, such as 12h, 30d or 8w. Got {text!r}.")
    hours = {"h": 1, "d": 24, "w": 168}[match[2]]
    return timedelta(hours=int(match[1]) * hours)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B", text.strip())
    if match is None:
        raise InputError(f"--to-size must be a number and B, kB, MB, GB or TB, such as 20GB. Got {text!r}.")
    return int(float(match[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[match[2]])
