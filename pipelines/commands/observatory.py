"""``nalign observatory``: list what a catalogue holds, fetch it, or simulate one."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from neural_alignment import DataError, InputError

__all__ = ["app"]

app = typer.Typer(help="Mouse visual cortex: list, fetch or simulate experiments.", no_args_is_help=True)

FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", envvar="NALIGN_OBSERVATORY", help="Allen cache folder, or a folder of NWB files."),
]
UriOption = Annotated[
    str | None, typer.Option(envvar="NALIGN_ALLEN_URI", help="Base address of the Allen API or a mirror.")
]
AreaOption = Annotated[list[str] | None, typer.Option("--area", help="VISp, VISl, ...; may be repeated.")]
CreOption = Annotated[list[str] | None, typer.Option("--cre-line", help="Cux2-CreERT2 or Cux2; may be repeated.")]
GenotypeOption = Annotated[list[str] | None, typer.Option("--genotype", help="Label such as Cux2-1; may be repeated.")]
DepthOption = Annotated[tuple[float, float] | None, typer.Option("--depth", help="From, to, in micrometres.")]
ClassOption = Annotated[str | None, typer.Option("--class", help="excitatory or inhibitory.")]
SessionOption = Annotated[str, typer.Option("--session", help="Session type; natural scenes are in three_session_B.")]
FailedOption = Annotated[bool, typer.Option("--include-failed", help="Also containers that failed quality control.")]


class Form(enum.StrEnum):
    """How a listing is printed."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command("list")
def list_experiments(
    folder: FolderOption = None,
    area: AreaOption = None,
    cre_line: CreOption = None,
    genotype: GenotypeOption = None,
    depth: DepthOption = None,
    neuron_class: ClassOption = None,
    session: SessionOption = "three_session_B",
    include_failed: FailedOption = False,
    uri: UriOption = None,
    form: Annotated[Form, typer.Option("--format", help="How to print.")] = Form.table,
) -> None:
    """List experiments, one row each, with counts by group."""
    from alignment.brain.observatory import Observatory

    source = Observatory(_folder(folder), uri=uri)
    listed = source.list(
        area=area, cre_line=cre_line, genotype=genotype, depth_um=depth, neuron_class=neuron_class,
        session_type=session, include_failed=include_failed,
    )  # fmt: skip
    if form is Form.json:
        typer.echo(json.dumps(json.loads(listed.to_json(orient="records")), indent=1))
    elif form is Form.csv:
        typer.echo(listed.to_csv(index=False), nl=False)
    else:
        here = sum(source.path(number) is not None for number in listed["experiment_id"])
        _print_table(listed, here)


@app.command()
def fetch(
    folder: FolderOption = None,
    area: AreaOption = None,
    cre_line: CreOption = None,
    genotype: GenotypeOption = None,
    depth: DepthOption = None,
    neuron_class: ClassOption = None,
    session: SessionOption = "three_session_B",
    include_failed: FailedOption = False,
    experiment: Annotated[
        list[int] | None, typer.Option("--experiment", help="These experiments, not a filter; may be repeated.")
    ] = None,
    uri: UriOption = None,
    cells: Annotated[bool, typer.Option("--cells", help="Also the API's metrics of all cells.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch the catalogue again.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Files at once.")] = 3,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="The catalogue alone: say what is missing and what it needs, and stop.")
    ] = False,
) -> None:
    """Fetch the catalogue and the NWB files of experiments; goes on where an interrupted fetch stopped."""
    from alignment.brain.download import fetch_experiments, fetch_manifests
    from alignment.brain.observatory import Observatory
    from pipelines.commands._fetching import Arrivals, preflight

    filters: dict[str, Any] = {
        "area": area, "cre_line": cre_line, "genotype": genotype, "depth_um": depth, "neuron_class": neuron_class,
    }  # fmt: skip
    if experiment and any(value is not None for value in filters.values()):
        raise InputError(
            "The options --experiment and the filters (--area, --cre-line, ...) exclude each other. Name experiments, "
            "or filter."
        )
    target = _folder(folder)
    with _progress() as progress:
        bar = progress.add_task("catalogue", total=3 + cells)

        def tell(done: int, total: int, text: str) -> None:
            progress.update(bar, completed=done, total=total, description=text)

        fetch_manifests(target, uri, cells=cells, refresh=refresh, progress=tell)
    source = Observatory(target, uri=uri)
    if experiment:
        ids = source.check_ids(experiment)
    else:
        listed = source.list(**filters, session_type=session, include_failed=include_failed)
        ids = [int(number) for number in listed["experiment_id"]]
    console = Console(highlight=False, soft_wrap=True)
    plan = preflight(target, ids)
    console.print(plan.text, markup=False)
    if dry_run:
        return
    plan.refuse_or_ask(yes)
    arrivals = Arrivals(plan)
    try:
        with arrivals:
            fetch_experiments(target, uri, ids, workers=workers, progress=arrivals.tell)
    except DataError:
        console.print(arrivals.summary(), markup=False)
        raise
    console.print(arrivals.summary(), markup=False)


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


def _folder(folder: Path | None) -> Path:
    if folder is None:
        raise InputError(
            "Which observatory? Give --folder DIR or set NALIGN_OBSERVATORY to an Allen cache folder "
            "or a folder of NWB files. 'nalign observatory simulate DIR' makes one."
        )
    return folder


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


def _print_table(listed: Any, here: int) -> None:
    columns = (
        "experiment_id",
        "area",
        "cre_line",
        "genotype",
        "depth_um",
        "cortical_layer",
        "neuron_class",
        "donor_id",
    )
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True)
    for row in listed[list(columns)].itertuples(index=False):
        table.add_row(*(str(value) for value in row))
    # Wide enough for every column: a table cut at a terminal's width is of no use to grep.
    console = Console(highlight=False, width=max(160, Console().width), soft_wrap=True)
    console.print(table, soft_wrap=False)
    for name in ("area", "cre_line", "genotype", "cortical_layer", "neuron_class"):
        counts = listed[name].value_counts().sort_index()
        text = ", ".join(f"{group} {count}" for group, count in counts.items())
        console.print(f"{name} ({len(counts)}): {text}", markup=False)
    noun = "experiment" if len(listed) == 1 else "experiments"
    console.print(f"{len(listed)} {noun}, {here} with their NWB file in the folder", markup=False)
