"""``nalign compare``: two groups of cells of a run beside each other, as a table, a figure and a CSV file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neural_alignment import __version__

if TYPE_CHECKING:
    import pandas as pd

    from alignment.similarity import GroupComparison

__all__ = ["compare"]

_SHOWN = 40  # so many rows are printed; the file holds all
GroupOption = Annotated[
    str, typer.Option("--group", help="What --a and --b name: genotype, area, cre_line, class, layer ...")
]
SideA = Annotated[
    str, typer.Option("--a", help="Fezf2-1, class:excitatory, area:VISp+class:inhibitory, or all.", show_default=False)
]
SideB = Annotated[
    str, typer.Option("--b", help="What it is compared with; cells of both count for the smaller.", show_default=False)
]
ModelOption = Annotated[
    list[str] | None, typer.Option("--model", help="A network of the run; repeat it.", show_default="all")
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option("--metric", help="rmse_mean, rmse_nearest, kde_iou_unit; repeat it.", show_default="all of the run"),
]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--representation", help="weighted, matched, tuning or all; repeat it.", show_default="the run's first"
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="The store of results.", envvar="NALIGN_CACHE", show_default=False),
]


def compare(
    run: Annotated[str, typer.Argument(help="A run folder (runs/demo).")],
    a: SideA,
    b: SideB,
    group: GroupOption = "genotype",
    model: ModelOption = None,
    layer: Annotated[
        str, typer.Option("--layer", help="best (chosen on one half of the scenes), all, or a layer's name.")
    ] = "best",
    metric: MetricOption = None,
    representation: KindOption = None,
    bootstraps: Annotated[
        int | None, typer.Option(min=100, help="Resamples for intervals.", show_default="the study's")
    ] = None,
    permutations: Annotated[
        int | None, typer.Option(min=19, help="Permutations for p.", show_default="the study's")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of both.", show_default="the study's")] = None,
    format: Annotated[str, typer.Option("--format", help="What is printed: table, csv or json.")] = "table",
    cache: CacheOption = None,
) -> None:
    """Compare two groups of cells of a run: scores, difference, interval, p and q for each network."""
    from alignment._validation import check_choice
    from pipelines.compare import compare_run
    from pipelines.run import open_run

    check_choice(format, "format", "nalign compare", ("table", "csv", "json"))
    errors = Console(stderr=True, highlight=False)
    with errors.status("Reading scores") as status:
        found = compare_run(
            run,
            a,
            b,
            group,
            model=model or "all",
            layer=layer,
            metric=metric or "all",
            representation=representation or None,
            bootstraps=bootstraps,
            permutations=permutations,
            seed=seed,
            store=cache,
            tell=lambda done, total, text: status.update(f"Scoring half the scenes: {text} ({done + 1} of {total})"),
        )
    asked = {"group": group, "layer": layer, "model": model, "metric": metric, "representation": representation}
    folder = open_run(run)[1] / "compare" / _slug(a, b, asked)
    written = _write(found, folder)
    if format == "table":
        console = Console(highlight=False)
        _print(console, found)
        for path in written:
            console.print(f"  {path}", markup=False, soft_wrap=True)
        return
    typer.echo(_csv(found.table) if format == "csv" else _json(found), nl=False)


def _slug(a: str, b: str, asked: dict[str, str | list[str] | None]) -> str:
    """Name the folder by what was asked for, so that another question does not write over it."""
    usual = {"group": "genotype", "layer": "best"}
    words = [f"{a}-vs-{b}"]
    for name, value in asked.items():
        if value and value != usual.get(name):
            words.append(f"{name}-{value if isinstance(value, str) else '+'.join(value)}")
    return "_".join(re.sub(r"[^\w.+#=-]+", "-", word).strip("-.") for word in words)[:200]


def _write(found: GroupComparison, folder: Path) -> list[Path]:
    from pipelines.files import write_file, writing
    from reports.figures import compare_figure
    from reports.style import to_svg

    table, written = found.table, []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for kind, metric in table[["representation", "metric"]].drop_duplicates().itertuples(index=False):
            chosen = {"metric": str(metric), "representation": str(kind)}
            simulated = bool(found.parameters["simulated"])
            drawing = compare_figure(table, found.a, found.b, simulated=simulated, **chosen)
            written.append(folder / f"{drawing.name}.svg")
            write_file(written[-1], to_svg(drawing.figure))
        for name, text in (("comparison.csv", _csv(table)), ("provenance.json", _provenance(found))):
            written.append(folder / name)
            write_file(written[-1], text)
    return written


def _csv(table: pd.DataFrame) -> str:
    return str(table.to_csv(index=False, float_format="%.8g", lineterminator="\n"))


def _json(found: GroupComparison) -> str:
    rows = json.loads(found.table.to_json(orient="records", double_precision=10))
    return json.dumps({"a": found.a, "b": found.b, **found.parameters, "rows": rows}, indent=1) + "\n"


def _provenance(found: GroupComparison) -> str:
    record = {"neural_alignment": __version__, "stage": "compare", "a": found.a, "b": found.b, **found.parameters}
    return json.dumps(record, indent=1) + "\n"


def _print(console: Console, found: GroupComparison) -> None:
    from reports.views import METRIC_NAMES

    table, first = found.table, found.table.iloc[0]
    mark = "SIMULATED: " if found.parameters["simulated"] else ""
    chosen = "; layer chosen on one half of the scenes, scored on the other" if found.parameters["selected_on"] else ""
    console.print(f"{mark}{found.a} (a) beside {found.b} (b){chosen}", markup=False, soft_wrap=True)
    for letter, name in (("a", found.a), ("b", found.b)):
        console.print(
            f"  {letter}: {name}, {_counted(first[f'{letter}_cells'], 'cell')} of "
            f"{_counted(first[f'{letter}_donors'], 'donor')}, "
            f"median reliability {first[f'{letter}_reliability']:.2f}",
            markup=False,
            soft_wrap=True,
        )
    for (kind, metric), rows in table.head(_SHOWN).groupby(["representation", "metric"], sort=False):
        console.print(_rows(f"{METRIC_NAMES.get(metric, metric)}; {kind} representations", rows))
    if len(table) > _SHOWN:
        console.print(f"The first {_SHOWN} of {len(table)} rows; comparison.csv holds all.")
    console.print(
        f"RMSE: lower is more alike; KDE-IoU: higher. Permuted: {first['permuted']}; of so many, p is "
        f"at least {first['p_least']:.2g}; q over the rows of one metric.",
        soft_wrap=True,
    )
    if first["reason"]:
        console.print(f"{first['reason']}: neither p nor q.", markup=False, soft_wrap=True)
    for note in dict.fromkeys(filter(None, "; ".join(table["note"].unique()).split("; "))):
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _rate(value: float) -> str:
    return "none" if value != value else f"{value:.3f}"


def _rows(title: str, rows: pd.DataFrame) -> Table:
    """Return the rows of one metric as a table that fits in 80 columns."""
    import pandas as pd

    shown = Table(
        box=None, pad_edge=False, padding=(0, 1), collapse_padding=True, title=f"\n{title}", title_justify="left"
    )
    for name in ("network", "layer"):
        shown.add_column(name, overflow="fold")
    for name in ("a", "b", "a − b", "95 %", "p", "q"):
        shown.add_column(name, justify="right", no_wrap=True)
    for _, row in rows.iterrows():
        values = [f"{row['a_value']:.4f}", f"{row['b_value']:.4f}", f"{row['difference']:+.4f}"]
        span = "none" if pd.isna(row["ci_low"]) else f"{row['ci_low']:+.4f} {row['ci_high']:+.4f}"
        front = "" if row["layer_variant"] == "baseline" else f" {row['layer_variant']}"
        shown.add_row(
            escape(row["model"] + front), escape(row["layer"]), *values, span, _rate(row["p"]), _rate(row["q"])
        )
    return shown
