"""``nalign observatory``: list what a catalogue holds, fetch it, check a file, or simulate an observatory."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from neural_alignment import DataError, InputError
from pipelines.commands._choice import Choice, with_choice

if TYPE_CHECKING:
    import pandas as pd

    from alignment.brain.observatory import Observatory

__all__ = ["app"]

RESPONSIVE_BELOW = 0.05

app = typer.Typer(help="Mouse visual cortex: list, fetch, check or simulate experiments.", no_args_is_help=True)


class ReaderChoice(enum.StrEnum):
    """Who reads NWB files."""

    auto = "auto"
    allensdk = "allensdk"
    own = "own"


class Form(enum.StrEnum):
    """How a listing is printed."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command("list")
@with_choice
def list_experiments(
    choice: Choice,
    form: Annotated[Form, typer.Option("--format", help="How to print.")] = Form.table,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch the catalogue first.")] = False,
    reader: Annotated[
        ReaderChoice, typer.Option("--reader", help="Who reads NWB files where there is no catalogue.")
    ] = ReaderChoice.auto,
) -> None:
    """List experiments, one row each, with counts by group; from the catalogue in the folder, without network."""
    from alignment.brain.observatory import Observatory

    if refresh:
        _fetch_catalogue(choice, refresh=True)
    source = Observatory(choice.place, uri=choice.uri, reader=reader.value)
    listed = source.list(**choice.filters)
    if form is Form.json:
        typer.echo(json.dumps(json.loads(listed.to_json(orient="records")), indent=1))
    elif form is Form.csv:
        typer.echo(listed.to_csv(index=False), nl=False)
    else:
        _print_table(listed, source)


@app.command()
@with_choice
def fetch(
    choice: Choice,
    experiment: Annotated[
        list[str] | None, typer.Option("--experiment", help="These experiments, not a filter; may be repeated.")
    ] = None,
    cells: Annotated[bool, typer.Option("--cells", help="Also the API's metrics of all cells.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch the catalogue again.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Files at once.")] = 3,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="The catalogue alone: say what is missing and what it needs, and stop.")
    ] = False,
) -> None:
    """Fetch the catalogue and the NWB files of experiments; goes on where an interrupted fetch stopped."""
    from alignment.brain.download import fetch_experiments
    from alignment.brain.observatory import Observatory
    from pipelines.commands._fetching import Arrivals, preflight

    asked = [_number(text) for text in experiment or []]
    if asked and choice.filters:
        raise InputError(
            "The options --experiment and the filters (--area, --cre-line, --session, ...) exclude each other. "
            "Name experiments, or filter."
        )
    target = choice.place
    ids = None if refresh else _chosen_at_hand(Observatory(target), choice, asked)
    if ids is None or not dry_run:
        _fetch_catalogue(choice, cells=cells, refresh=refresh)
        ids = _chosen(Observatory(target), choice, asked)
    console = Console(highlight=False, soft_wrap=True)
    plan = preflight(target, ids)
    console.print(plan.text, markup=False)
    if dry_run:
        return
    plan.refuse_or_ask(yes)
    arrivals = Arrivals(plan)
    try:
        with arrivals:
            fetch_experiments(target, choice.uri, ids, workers=workers, progress=arrivals.tell)
    except DataError:
        console.print(arrivals.summary(), markup=False)
        raise
    console.print(arrivals.summary(), markup=False)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="An NWB file of the Allen Brain Observatory.")],
) -> None:
    """Read an NWB file by our own reader and by AllenSDK, where it is installed, and say whether they agree."""
    from alignment.brain.allen.agreement import check_file

    found = check_file(file)
    table = Table(box=None, pad_edge=False)
    for name in ("read", "our own reader", "AllenSDK", "same, bit for bit"):
        table.add_column(name, no_wrap=True)
    for read in found.reads:
        table.add_row(read.name, read.own, read.allensdk, {True: "yes", False: "NO", None: "-"}[read.same])
    Console(highlight=False, width=max(160, Console().width)).print(table)
    typer.echo(found.text)
    if found.fault:
        raise DataError(found.fault)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    cells: Annotated[int, typer.Option(min=1, help="Cells a session.")] = 12,
    trials: Annotated[int, typer.Option(min=1, help="Presentations of each scene.")] = 20,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions (experiments).")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same data.")] = 0,
) -> None:
    """Write a simulated observatory in the Allen Institute's file formats."""
    from alignment.brain.simulated import simulate_observatory

    with _progress() as progress:
        bar = progress.add_task("simulating", total=sessions)

        def tell(done: int, total: int, text: str = "") -> None:
            progress.update(bar, completed=done, total=total)

        simulate_observatory(folder, cells=cells, trials=trials, sessions=sessions, seed=seed, progress=tell)
    Console(highlight=False).print(f"{sessions} simulated sessions in {folder}", markup=False, soft_wrap=True)


def _number(text: str) -> int:
    """Read an experiment's number as it was typed."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InputError(
            "The '--experiment' option must be an experiment's number, an integer ≥ 1 as 'nalign observatory list' "
            f"shows it. Got {text!r} instead."
        )
    return int(text)


def _chosen(source: Observatory, choice: Choice, asked: list[int]) -> list[int]:
    if asked:
        return source.check_ids(asked)
    return [int(number) for number in source.list(**choice.filters)["experiment_id"]]


def _fetch_catalogue(choice: Choice, *, cells: bool = False, refresh: bool = False) -> None:
    from alignment.brain.download import fetch_manifests

    with _progress() as progress:
        bar = progress.add_task("catalogue", total=3 + cells)

        def tell(done: int, total: int, text: str) -> None:
            progress.update(bar, completed=done, total=total, description=text)

        fetch_manifests(choice.place, choice.uri, cells=cells, refresh=refresh, progress=tell)


def _chosen_at_hand(source: Observatory, choice: Choice, asked: list[int]) -> list[int] | None:
    """Choose from the catalogue at hand, and so refuse what it does not know before the server is asked."""
    try:
        return _chosen(source, choice, asked) if source.has_catalogue else None
    except DataError:
        return None  # a damaged one, which is fetched anew


def _progress() -> Progress:
    console = Console(stderr=True, highlight=False)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _print_table(listed: pd.DataFrame, source: Observatory) -> None:
    from alignment.brain.catalogue import EXPERIMENT_COORDINATES, GROUPINGS

    columns = ["experiment_id", *(name for name in EXPERIMENT_COORDINATES if name != "full_genotype")]
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True)
    for row in listed[columns].itertuples(index=False):
        table.add_row(*(str(value) for value in row))
    # Wide enough for every column: a table cut at a terminal's width is of no use to grep.
    console = Console(highlight=False, width=max(160, Console().width), soft_wrap=True)
    console.print(table, soft_wrap=False)
    for name in GROUPINGS:
        counts = listed[name].value_counts().sort_index()
        text = ", ".join(f"{group} {count}" for group, count in counts.items())
        console.print(f"{name} ({len(counts)}): {text}", markup=False)
    cells = _count_cells(listed, source)
    if cells:
        console.print(cells, markup=False)
    here = sum(source.path(number) is not None for number in listed["experiment_id"])
    noun = "experiment" if len(listed) == 1 else "experiments"
    console.print(f"{len(listed)} {noun}, {here} with their NWB file in the folder", markup=False)


def _count_cells(listed: pd.DataFrame, source: Observatory) -> str:
    """Say how many cells the API's metrics know of these experiments' containers; nothing without metrics."""
    import pandas as pd

    metrics = source.cell_metrics()
    if metrics is None or not {"experiment_container_id", "p_ns"} <= set(metrics.columns):
        return ""
    mine = metrics[metrics["experiment_container_id"].isin(listed["experiment_container_id"])]
    p = pd.to_numeric(mine["p_ns"])
    return (
        f"cells ({len(mine):,}, by the API's metrics): {p.notna().sum():,} saw natural scenes, "
        f"{(p < RESPONSIVE_BELOW).sum():,} of them with p_ns < {RESPONSIVE_BELOW}"
    )
