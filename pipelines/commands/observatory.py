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

from neural_alignment import InputError

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

    listed = Observatory(_folder(folder), uri=uri).list(
        area=area, cre_line=cre_line, genotype=genotype, depth_um=depth, neuron_class=neuron_class,
        session_type=session, include_failed=include_failed,
    )  # fmt: skip
    if form is Form.json:
        typer.echo(json.dumps(json.loads(listed.to_json(orient="records")), indent=1))
    elif form is Form.csv:
        typer.echo(listed.to_csv(index=False), nl=False)
    else:
        _print_table(listed)


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
        simulate_observatory(
            folder, cells=cells, trials=trials, sessions=sessions, seed=seed,
            progress=lambda done, total, text="": progress.update(bar, completed=done, total=total),
        )  # fmt: skip
    Console(highlight=False).print(f"{sessions} simulated sessions in {folder}", markup=False, soft_wrap=True)


def _folder(folder: Path | None) -> Path:
    if folder is None:
        raise InputError(
            "Which observatory? Give --folder DIR or set NALIGN_OBSERVATORY to an Allen cache folder "
            "or a folder of NWB files. 'nalign observatory simulate DIR' makes one."
        )
    return folder


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        transient=True,
    )


def _print_table(listed: Any) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
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
    for name in columns:
        table.add_column(name, no_wrap=True)
    for row in listed[list(columns)].itertuples(index=False):
        table.add_row(*(str(value) for value in row))
    console.print(table)
    for name in ("area", "cre_line", "genotype", "neuron_class"):
        counts = listed[name].value_counts().sort_index()
        text = ", ".join(f"{group} {count}" for group, count in counts.items())
        console.print(f"{name} ({len(counts)}): {text}", markup=False)
    console.print(f"{len(listed)} experiments")
