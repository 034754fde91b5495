"""``python -m benchmarks [NAME ...]``: run the benchmarks, print their tables, keep their figures as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Bench, Line, machine, run_bench
from neural_alignment import NeuralAlignmentError, closest

HERE = Path(__file__).parent


def names() -> list[str]:
    """Return the benchmarks there are: the files ``bench_<name>.py`` beside this one."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def functions(module: Any) -> list[Callable[[Bench], Any]]:
    """Return a file's functions ``bench_<what>`` in the order they stand in it."""
    return [
        value
        for name, value in vars(module).items()
        if name.startswith("bench_") and value.__module__ == module.__name__
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run what is named, or all; return 0, 1 where one broke, 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ours beside peers and the limit.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; by default all: {', '.join(names())}")
    parser.add_argument("--quick", action="store_true", help="small data, few repeats; nothing is kept")
    parser.add_argument("--repeats", type=int, help="samples of each case (15; quick: 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="folder for the JSON (benchmarks/results; quick: none)")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    unknown = [name for name in options.names if name not in names()]
    if unknown:
        hint = closest(unknown[0], names()) or f" There are: {', '.join(names())}."
        console.print(f"There is no benchmark '{unknown[0]}'.{hint}")
        return 2
    broken = 0
    lines: list[Line] = []
    for name in options.names or names():
        try:
            done = _run_file(name, options, console)
        except NeuralAlignmentError as error:
            console.print(f"[red]{name} broke:[/] {error}")
            broken += 1
        except Exception:  # one benchmark's fault must not lose the others' figures
            console.print(f"[red]{name} broke:[/]")
            traceback.print_exc(file=sys.stderr)
            broken += 1
        else:
            lines += [line for bench in done for line in bench.lines]
    missed = [line for line in lines if line.met is False]
    met = sum(line.met is True for line in lines)
    console.print(f"budgets: {met} met, {len(missed)} missed" + (f"; {broken} benchmarks broke" if broken else ""))
    return 1 if broken else 0


def _run_file(name: str, options: argparse.Namespace, console: Console) -> list[Bench]:
    module = importlib.import_module(f"benchmarks.bench_{name}")
    done = []
    for function in functions(module):
        with console.status(f"{name}: {function.__name__.removeprefix('bench_')}"):
            bench = run_bench(function, quick=options.quick, seed=options.seed, repeats=options.repeats)
        show(bench, console)
        done.append(bench)
    folder = options.results or (None if options.quick else HERE / "results")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        record = {"benchmark": name, "machine": machine(), "results": [bench.record() for bench in done]}
        (folder / f"{name}.json").write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
    return done


def show(bench: Bench, console: Console) -> None:
    """Print a benchmark's cases and its budgets."""
    facts = ", ".join(f"{name} {value}" for name, value in bench.notes.items())
    heading = f"{bench.name}: {bench.title}" if bench.title else bench.name
    table = Table(title=heading, caption=facts or None, title_justify="left", caption_justify="left", box=None)
    table.add_column("")
    table.add_column("case")
    table.add_column("median", justify="right")
    table.add_column("IQR", justify="right")
    table.add_column("samples × calls", justify="right")
    for case in bench.cases.values():
        low, middle, high = case.quartiles()
        style = {"ours": "bold", "peer": "", "limit": "dim"}[case.role]
        spread = f"{time_text(low)} – {time_text(high)}"
        table.add_row(
            case.role,
            case.name,
            time_text(middle),
            spread,
            f"{len(case.samples)} × {case.calls}",
            style=style,
        )
    for name, reason in bench.skipped.items():
        table.add_row("", name, "not run", reason, "", style="dim")
    if bench.cases or bench.skipped:
        console.print(table)
    for line in bench.lines:
        console.print("  " + line_text(line), soft_wrap=True)
    console.print()


def line_text(line: Line) -> str:
    """Write a figure, its spread and what became of its budget."""
    figure = f"{line.text}: {line.value:.3g}{line.unit}"
    if line.low != line.high:
        figure += f" ({line.low:.3g} – {line.high:.3g})"
    if line.met is None:
        return figure
    goal = f"≤ {line.at_most:g}" if line.at_most is not None else f"≥ {line.at_least:g}"
    return f"{figure}, budget {goal}{line.unit}: " + ("[green]met[/]" if line.met else "[red]missed[/]")


def time_text(seconds: float) -> str:
    """Write a time with three digits and its unit."""
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


if __name__ == "__main__":
    sys.exit(main())
