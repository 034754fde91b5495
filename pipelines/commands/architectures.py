"""``nalign architectures``: networks as sequences of layers, aligned pair by pair, beside the published heat map."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from neural_alignment import DataError, InputError, __version__
from pipelines.files import write_file
from pipelines.modules import append_modules

if TYPE_CHECKING:
    import pandas as pd

    from alignment.models.architecture import Alignment
    from cache import Store
    from pipelines.graph import Task
    from reports.style import Drawing

__all__ = ["architectures"]

_SHORTLIST = 13  # as many as the papers took
_SHOWN = 12  # up to so many networks the scores themselves are printed
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--models", help="A zoo name, timm:NAME, torchvision:NAME or module.path:function; repeat it."),
]
PairOption = Annotated[tuple[str, str] | None, typer.Option("--pair", help="Two networks to show layer by layer.")]
ActivationsOption = Annotated[
    str | None,
    typer.Option("--activations", help="Which are layers: all, separate or none.", show_default="as published"),
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="The store of results.", envvar="NALIGN_CACHE", show_default=False),
]


def architectures(
    models: ModelsOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every network of the zoo, not only the papers' 44.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Print the zoo and stop.")] = False,
    pair: PairOption = None,
    level: Annotated[str, typer.Option(help="Alphabet of layers: papers, types or detailed.")] = "papers",
    match: Annotated[int, typer.Option(help="Score of two equal layers.")] = 1,
    mismatch: Annotated[int, typer.Option(help="Score of two different layers.")] = -2,
    gap: Annotated[int, typer.Option(help="Score of a layer opposite nothing.")] = -2,
    activations: ActivationsOption = None,
    norms: Annotated[bool, typer.Option("--norms/--no-norms", help="Normalisations are layers.")] = True,
    dropout: Annotated[bool, typer.Option("--dropout/--no-dropout", help="Dropouts are layers.")] = True,
    collapse: Annotated[bool, typer.Option("--collapse", help="Write a run of equal layers once.")] = False,
    shortlist: Annotated[
        int | None, typer.Option(min=1, help="How many networks stand for all.", show_default="13")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of figures and tables.")] = Path("runs/architectures"),
    cache: CacheOption = None,
) -> None:
    """Compare networks by their sequences of layers (Needleman–Wunsch), by default the papers' 44."""
    console = Console(highlight=False)
    if listing:
        console.print(_zoo())
        return
    from alignment.models import entry
    from cache import Store
    from pipelines.planning.architectures import architectures_task

    if any(":" in name for name in (*(models or ()), *(pair or ()))):
        append_modules(Path.cwd())  # where a person keeps a network of their own
    names = _chosen(models, every, pair)
    scoring = {"match": match, "mismatch": mismatch, "gap": gap}
    symbols = {"activations": activations, "normalisations": norms, "dropout": dropout, "collapse": collapse}
    _check(level, scoring, activations)
    store = Store(cache)
    listed = [{"label": name, "name": name} for name in names]
    task = architectures_task(listed, store, level=level, scoring=scoring, symbols=symbols)
    found = _Found(_result(task, store, console), shortlist, None if pair is None else _pair_of(pair, entry))
    _print(console, found, level)
    _write(console, out, found, task)


class _Found:
    """What a comparison gave, with what follows from it."""

    def __init__(self, result: Mapping[str, Any], shortlist: int | None, pair: tuple[str, str] | None) -> None:
        from alignment.models import families
        from alignment.models.architecture import needleman_wunsch

        self.similarity, self.sequences = result["similarity"], result["sequences"]
        self.published, self.options, self.notes = result["published"], result["options"], list(result["notes"])
        self.score_length: float | None = result["score_length"]
        self.names = [str(name) for name in self.similarity["model"].values]
        self.scoring = {name: int(self.similarity.attrs[name]) for name in ("match", "mismatch", "gap")}
        self.clustering: families.Clustering | None = None
        self.shortlist: pd.DataFrame | None = None
        self.blocks: pd.DataFrame | None = None
        self.k = min(_SHORTLIST, len(self.names)) if shortlist is None else shortlist
        if self.similarity["correlation"].isnull().any():
            self.notes.append(
                "A network has the same score with all, so rows cannot be correlated: no heat map, tree or shortlist. "
                "Add networks that differ, or a finer --level."
            )
        else:
            self.clustering = families.cluster(self.similarity)
            self.shortlist = families.shortlist(self.similarity, self.k)
            self.blocks = families.compare_blocks(self.similarity)
        self.pair = pair
        self.alignment: Alignment | None = None
        if pair is not None:
            self.alignment = needleman_wunsch(*(self.sequences[name] for name in pair), **self.scoring)

    @property
    def chosen(self) -> list[str]:
        """The shortlist's names; all of them in bold would say nothing."""
        if self.shortlist is None or self.k >= len(self.names):
            return []
        return [str(name) for name in self.shortlist.loc[self.shortlist["chosen"], "model"]]


def _chosen(models: Sequence[str] | None, every: bool, pair: tuple[str, str] | None) -> list[str]:
    """Return the networks to compare by their proper names, each once."""
    from alignment.models import entry, list_models

    if models and every:
        raise InputError("--models and --all cannot go together. Give one of them.")
    wanted = [*(models or list_models(papers_only=not every)), *(pair or ())]
    names = list(dict.fromkeys(entry(name).name for name in wanted))
    if len(names) < 2:
        raise InputError(f"Architectures are compared with each other: give two or more. Got {names[0]!r} only.")
    return names


def _pair_of(pair: tuple[str, str], entry: Any) -> tuple[str, str]:
    return str(entry(pair[0]).name), str(entry(pair[1]).name)


def _check(level: str, scoring: Mapping[str, int], activations: str | None) -> None:
    """Refuse wrong options before anything is traced."""
    from alignment._validation import check_choice, check_integer

    check_choice(level, "level", "nalign architectures", ("papers", "types", "detailed"))
    check_integer(scoring["gap"], "gap", "nalign architectures", high=0)
    if activations is not None:
        check_choice(activations, "activations", "nalign architectures", ("separate", "all", "none"))


def _result(task: Task, store: Store, console: Console) -> dict[str, Any]:
    from pipelines.perform import Site, complete

    if not store.has(task.stage, task.key):
        with console.status("Tracing networks") as status:

            def tell(event: str, spec: Any, **told: Any) -> None:
                del spec
                if event == "part":
                    status.update(f"Tracing {told['text']} ({told['done'] + 1} of {told['total']})")

            complete(task.spec(), Site(store.root), tell)
    return dict(store.read(task.stage, task.key))


def _zoo() -> Table:
    from alignment.models import entry, list_models

    papers = list_models(papers_only=True)

    title = "Networks by name. Any other: timm:NAME, torchvision:NAME or module.path:function."
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for name in ("name", "papers'", "where from", "beside the published network"):
        table.add_column(name, overflow="fold")
    for name in list_models():
        record = entry(name)
        source = record.source.removeprefix("alignment.models.networks.")
        table.add_row(name, "yes" if name in papers else "", source, record.stand_in or "the same")
    return table


def _print(console: Console, found: _Found, level: str) -> None:
    lengths = found.similarity["length"].values
    scoring = ", ".join(f"{name} {value}" for name, value in found.scoring.items())
    console.print(
        f"{len(found.names)} networks as sequences of {lengths.min()} to {lengths.max()} layers (alphabet {level}); "
        f"{scoring}"
    )
    for note in found.notes:
        console.print(f"[yellow]note:[/] {note}", soft_wrap=True)
    if len(found.names) <= _SHOWN:
        console.print(_scores(found))
    if found.score_length is not None:
        console.print(
            f"\nScores follow minus the difference in length with r = {found.score_length:.2f} over all pairs.",
            soft_wrap=True,
        )
    if found.shortlist is not None:
        console.print(_families(found))
    if found.blocks is not None and len(found.blocks):
        console.print(_table("Published blocks: median correlation within and with the others", found.blocks))
    if len(found.published):
        console.print(_table("Correlations beside those read off the published heat map", _beside(found.published)))
        console.print(_why(found), soft_wrap=True)
    if found.alignment is not None and found.pair is not None:
        _print_pair(console, found.pair, found.alignment)


def _beside(published: pd.DataFrame) -> pd.DataFrame:
    shown = published[["published", "ours", "verdict"]].copy()
    shown.insert(0, "networks", published["model"] + " – " + published["other"])
    span = zip(published["lowest"], published["highest"], strict=True)
    shown.insert(3, "range", [f"{low:.2f} to {high:.2f}" for low, high in span])
    return shown


def _scores(found: _Found) -> Table:
    table = Table(box=None, pad_edge=False, title="\nScores", title_justify="left")
    table.add_column("")
    for name in found.names:
        table.add_column(name, justify="right")
    for name in found.names:
        row = found.similarity["score"].sel(model=name).values
        table.add_row(name, *(str(int(value)) for value in row))
    return table


def _families(found: _Found) -> Table:
    assert found.shortlist is not None
    title = f"\nShortlist: {int(found.shortlist['chosen'].sum())} that stand for {len(found.names)}"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column("network")
    table.add_column("stands for", justify="right")
    table.add_column("reason", overflow="fold")
    for row in found.shortlist[found.shortlist["chosen"]].itertuples():
        table.add_row(row.model, str(int((found.shortlist["medoid"] == row.model).sum())), row.reason)
    return table


def _table(title: str, frame: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, title=f"\n{title}", title_justify="left")
    for name in frame.columns:
        text = frame[name].dtype == object
        table.add_column(str(name).replace("_", " "), justify="left" if text else "right")
    for row in frame.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.2f}"
    return {"True": "yes", "False": "no"}.get(str(value), str(value))


def _why(found: _Found) -> str:
    agree = int((found.published["verdict"] == "agrees").sum())
    said = (
        f"{agree} of {len(found.published)} agree within 0.05. The range is over {len(found.options)} choices of what "
        "counts as a layer. The published networks come from two libraries that list different things as "
        "layers, some with a size that is not told (ViT, MiDaS); a correlation also depends on every other network "
        "compared, the longest most of all (docs/architectures.md)."
    )
    if len(found.names) != 44:
        said += f" The published values are over 44 networks, these over {len(found.names)}."
    return said


def _print_pair(console: Console, pair: tuple[str, str], alignment: Alignment) -> None:
    different = sum(one != other for one, other in alignment.pairs)
    console.print(
        f"\n{pair[0]} ({len(alignment.a)}) and {pair[1]} ({len(alignment.b)}): score {alignment.score}, "
        f"{different} of {len(alignment.pairs)} columns differ"
    )
    one, other = alignment.aligned
    wide = max(map(len, pair)) + 2
    room = max(20, min(console.width, 120) - wide)
    for start in range(0, len(one), room):
        for name, text in zip(pair, (one, other), strict=True):
            console.print(f"{name:<{wide}}{text[start : start + room]}", markup=False, soft_wrap=True)
        console.print()


def _write(console: Console, out: Path, found: _Found, task: Task) -> None:
    """Write figures, tables and provenance; what is there from the same comparison stays."""
    names = [f"tables/{name}.csv" for name in _tables(found)]
    names += ["figures/architecture-map.svg"] * (found.clustering is not None)
    names += ["figures/architecture-pair.svg"] * (found.pair is not None)
    record = {
        "neural_alignment": __version__,
        "stage": task.stage,
        "key": task.key,
        "params": dict(task.params),
        "shortlist": found.k,
        "pair": None if found.pair is None else list(found.pair),
        "files": names,
    }
    told = json.dumps(record, indent=1) + "\n"
    marker = out / "provenance.json"
    try:
        same = marker.is_file() and marker.read_text(encoding="utf-8") == told
        if not (same and all((out / name).is_file() for name in names)):
            _fill(out, found)
            write_file(marker, told.encode())
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{out} cannot hold the results: it, or a part of its path, is a file. Choose --out.") from None
    for name in (*(name for name in names if name.endswith(".svg")), "tables", "provenance.json"):
        console.print(f"  {out / name}", markup=False, soft_wrap=True)


def _fill(out: Path, found: _Found) -> None:
    from reports.style import to_svg

    for folder in ("figures", "tables"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for drawing in _drawings(found):
        write_file(out / "figures" / f"{drawing.name}.svg", to_svg(drawing.figure))
    for name, table in _tables(found).items():
        text = table.to_csv(index=False, float_format="%.8g", lineterminator="\n")
        write_file(out / "tables" / f"{name}.csv", text.encode())


def _drawings(found: _Found) -> list[Drawing]:
    from reports.figures import architecture_map, architecture_pair

    drawings = []
    if found.clustering is not None:
        drawings.append(architecture_map(found.similarity, found.clustering, found.chosen))
    if found.pair is not None and found.alignment is not None:
        drawings.append(architecture_pair(found.pair, found.alignment))
    return drawings


def _tables(found: _Found) -> dict[str, pd.DataFrame]:
    import pandas as pd

    order = found.names if found.clustering is None else list(found.clustering.order)
    matrices = {
        name: found.similarity[name].sel(model=order, other=order).to_pandas().rename_axis("model").reset_index()
        for name in ("score", "correlation", "normalised")
    }
    written = found.similarity.attrs["symbols"]
    rows = [(name, len(found.sequences[name]), written[name]) for name in found.names]
    tables = {**matrices, "symbols": pd.DataFrame(rows, columns=["model", "length", "symbols"])}
    if found.shortlist is not None:
        tables["shortlist"] = found.shortlist
    if found.blocks is not None and len(found.blocks):
        tables["blocks"] = found.blocks
    if len(found.published):
        tables |= {"published": found.published, "options": found.options}
    if found.alignment is not None:
        pairs = [(one or "", other or "", one == other) for one, other in found.alignment.pairs]
        tables["pair"] = pd.DataFrame(pairs, columns=[*_columns(found.pair), "equal"])
    return tables


def _columns(pair: tuple[str, str] | None) -> list[str]:
    assert pair is not None
    return list(pair) if pair[0] != pair[1] else [pair[0], f"{pair[1]} (again)"]
