"""The command line, ``nalign``: every error one message, exit code 2 for usage and 1 for failure."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from neural_alignment import NeuralAlignmentError, __version__
from pipelines.commands import observatory, store
from pipelines.commands.architectures import architectures
from pipelines.commands.compare import compare

__all__ = ["app", "main"]

_INTERRUPTED = 130  # 128 and the number of the signal, as shells have it

app = typer.Typer(
    name="nalign",
    help="Compare networks with mouse visual cortex, and ask whether a cortex-inspired layer makes them generalise.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(store.app, name="cache")
app.add_typer(observatory.app, name="observatory")
app.command("architectures")(architectures)
app.command("compare")(compare)

# Typer carries a copy of click of its own in some versions: its base error, whichever it is.
ClickError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="The store of results.", envvar="NALIGN_CACHE", show_default=False),
]
OutOption = Annotated[Path, typer.Option("--out", help="Run folders go here.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of data sets (MNIST, USPS, ...); or $NALIGN_DATA.")
]


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        typer.echo(f"neural-alignment {__version__}")
        raise typer.Exit


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="A study file, or the name of one that ships with the package (demo).")],
    out: OutOption = Path("runs"),
    cache: CacheOption = None,
    data: DataOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; overrides the study's compute.workers.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be computed, and stop.")] = False,
) -> None:
    """Compute what is missing of a study and write its report."""
    from cache import Store
    from pipelines.plan import make_plan
    from pipelines.run import run_study, stage_counts
    from pipelines.study import load_study

    console = Console(highlight=False)
    loaded = load_study(study, data=data)
    if workers is not None:
        loaded = loaded.model_copy(update={"compute": loaded.compute.model_copy(update={"workers": workers})})
    kept = Store(cache)
    if dry_run:
        plan = make_plan(loaded, kept)
        console.print(_counts_table(stage_counts(plan, kept), plan.complete))
        return
    summary = run_study(loaded, kept, out, console)
    console.print(
        f"{loaded.name}: {summary.computed} computed, {summary.kept} kept from before, {summary.seconds:.1f} s",
        markup=False,
    )
    _say_report(console, summary.folder, summary.warning, "  ")


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="A run folder (runs/demo).")],
    cache: CacheOption = None,
) -> None:
    """Say, stage by stage, how much of a run is done."""
    from cache import Store
    from pipelines.plan import make_plan
    from pipelines.run import open_run, stage_counts

    study, _ = open_run(run)
    kept = Store(cache)
    plan = make_plan(study, kept)
    Console().print(_counts_table(stage_counts(plan, kept), plan.complete))


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="A run folder (runs/demo).")],
    cache: CacheOption = None,
) -> None:
    """Write a run's report again from the results in the store, computing nothing else."""
    from cache import Store
    from pipelines.run import rewrite_report

    folder, warning = rewrite_report(run, Store(cache))
    _say_report(Console(highlight=False), folder, warning)


@app.command()
def doctor(
    cache: CacheOption = None,
    uri: Annotated[str | None, typer.Option(help="Allen API to try.", envvar="NALIGN_ALLEN_URI")] = None,
) -> None:
    """Look at everything a run needs, and say how to mend what is missing (exit code 1)."""
    from pipelines.doctor import checks

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("", "check", "found"):
        table.add_column(name, overflow="fold")
    found = checks(store=cache, uri=uri)
    for check in found:
        mark = "[green]ok[/]" if check.ok else "[red]missing[/]"
        table.add_row(mark, check.name, check.found)
    console.print(table)
    missing = [check for check in found if not check.ok]
    for check in missing:
        console.print(f"[red]{check.name}[/]: {check.remedy}", soft_wrap=True)
    if missing:
        raise typer.Exit(1)


def _say_report(console: Console, folder: Path, warning: str, indent: str = "") -> None:
    """Name the report's files, and on stderr what is missing of them."""
    for name in ("report.html",) if warning else ("report.html", "report.pdf"):
        console.print(f"{indent}{folder / name}", markup=False, soft_wrap=True)
    if warning:
        errors = Console(stderr=True, highlight=False)
        errors.print("[bold yellow]warning:[/] ", end="")
        errors.print(warning, markup=False, soft_wrap=True)


def _counts_table(counts: dict[str, tuple[int, int]], complete: bool) -> Table:
    from pipelines.graph import STAGES

    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("kept", justify="right")
    table.add_column("to compute", justify="right")
    for name, stage in STAGES.items():
        if name in counts:
            kept, known = counts[name]
            table.add_row(stage.says, str(kept), str(known - kept))
    if not complete:
        table.caption = "The rest is known once the simulated observatory is written."
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; ``sys.argv`` by default.
    """
    errors = Console(stderr=True, highlight=False)
    _quiet()
    try:
        result = app(args=arguments, prog_name="nalign", standalone_mode=False)
        if result == _INTERRUPTED:  # typer turns Ctrl-C into this code, without a word
            return _interrupted(errors)
        return result if isinstance(result, int) else 0
    except NeuralAlignmentError as error:
        return _say(errors, str(error), error.exit_code)
    except typer.Abort:
        return _interrupted(errors)
    except ClickError as error:
        return _usage(error)
    except KeyboardInterrupt:
        return _interrupted(errors)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG):
            place = error.filename or "a file"
            return _say(
                errors,
                f"{place} cannot be written: {error.strerror}. Free space or choose another folder.",
                1,
            )
        return _internal(errors)
    except Exception:
        return _internal(errors)


def _quiet() -> None:
    """Leave out two warnings of others that no user can act on, here and in the processes started from here.

    AllenSDK imports pkg_resources (the lock holds the setuptools that has it), and after Ctrl-C Python's resource
    tracker counts semaphores that it then frees itself.
    """
    about = ("pkg_resources is deprecated", "resource_tracker")
    for message in about:
        warnings.filterwarnings("ignore", message=message, category=UserWarning)
    own = [os.environ["PYTHONWARNINGS"]] if os.environ.get("PYTHONWARNINGS") else []
    asked = [f"ignore:{message}:UserWarning" for message in about]
    os.environ["PYTHONWARNINGS"] = ",".join([*own, *(filter_ for filter_ in asked if filter_ not in ",".join(own))])


def _say(errors: Console, message: str, code: int) -> int:
    errors.print("[bold red]error:[/] ", end="")
    errors.print(message, markup=False, soft_wrap=True)
    return code


def _usage(error: Any) -> int:
    error.show()
    return int(error.exit_code)


def _interrupted(errors: Console) -> int:
    return _say(errors, "Interrupted. What was finished is kept; the same command goes on from there.", _INTERRUPTED)


def _internal(errors: Console) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="nalign-", suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exc(file=log)
    last = traceback.format_exc().strip().splitlines()[-1]
    return _say(errors, f"An error inside neural-alignment: {last}\nThe traceback, for a bug report: {log.name}", 1)


if __name__ == "__main__":
    sys.exit(main())
