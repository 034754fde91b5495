"""Two groups of cells of a finished run beside each other: to which of them its networks come closer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alignment._validation import check_name
from neural_alignment import DataError, InputError

if TYPE_CHECKING:
    import xarray as xr

    from alignment.similarity import GroupComparison
    from cache import Store
    from pipelines.config import Study
    from pipelines.graph import Task

__all__ = ["compare_run"]

_BY = ("model", "layer_variant", "representation")


def compare_run(
    run: str | Path,
    a: str,
    b: str,
    group: str = "genotype",
    *,
    model: str | Sequence[str] = "all",
    layer: str = "best",
    metric: str | Sequence[str] = "all",
    representation: str | Sequence[str] | None = None,
    bootstraps: int | None = None,
    permutations: int | None = None,
    seed: int | None = None,
    store: Store | str | Path | None = None,
    tell: Callable[[int, int, str], None] | None = None,
) -> GroupComparison:
    """Compare two groups of cells of a run: scores, difference, interval, p and q, for each network.

    Responses, activations and scores come from the store. For ``layer="best"`` the cells are scored on both halves
    of the scenes, which takes seconds and is kept: the layer is chosen on the first half and scored on the second.

    Parameters
    ----------
    run : str or Path
        A run folder, or its name below ``runs``.
    a, b : str
        The cells of each side: a group of ``group`` (``"Fezf2-1"``), of another grouping
        (``"class:excitatory"``), several conditions (``"area:VISp+class:inhibitory"``), or ``"all"``. Cells on
        both sides count for the smaller group alone.
    group : str
        The grouping of names without one: genotype, area, cre_line, cortical_layer, neuron_class ...
    model : str or sequence of str
        Networks of the study, or ``"all"``.
    layer : str
        ``"best"``, ``"all"``, or a layer's name.
    metric : str or sequence of str
        Metrics of the study that each cell has a value of, or ``"all"``. ``kde_iou_population`` has one value a
        group and cannot be chosen.
    representation : str or sequence of str, optional
        Kinds of the study, or ``"all"``; by default its first.
    bootstraps, permutations, seed : int, optional
        By default the study's.
    store : Store or path, optional
        Where the run's results are; by default ``$NALIGN_CACHE`` or the user's cache folder.
    tell : callable, optional
        ``tell(done, total, text)`` while halves of the scenes are scored.

    Returns
    -------
    GroupComparison
        ``table`` (one row a network, layer in front, representation, layer and metric), ``to_xarray()``, and
        ``parameters`` with what the provenance needs. The table also has ``a``, ``b``, ``simulated``, and
        ``a_reliability`` and ``b_reliability``, the medians of the cells' split-half reliabilities: cells that
        repeat themselves less are harder to predict, whatever they see; and ``null_q``, the run's q of the layer's
        score to all cells against shuffled scenes, on all scenes: where it is not small, neither side's score tells
        how alike network and cells are.

    Raises
    ------
    InputError
        No such run; an unknown group, network, layer, metric or representation.
    DataError
        The run has no cells, or its results are not in the store.

    Examples
    --------
    >>> from pipelines import compare_run
    >>> found = compare_run("runs/demo", "Fezf2-1", "class:excitatory")  # doctest: +SKIP
    >>> found.table[["model", "layer", "difference", "ci_low", "ci_high", "q"]]  # doctest: +SKIP
    """
    from alignment.similarity import compare_groups
    from cache import Store
    from pipelines.run import open_run
    from pipelines.selectors import choose_cells, grouping

    kept = store if isinstance(store, Store) else Store(store)
    study, folder = open_run(run)
    if study.observatory is None:
        raise DataError(f"The run {folder} has no cells to compare: its study has no observatory.")
    names, metrics, kinds = _asked(study, model, metric, representation)
    tasks = _tasks(study, kept, folder)
    cells = kept.read(tasks[f"representations:{kinds[0]}"].stage, tasks[f"representations:{kinds[0]}"].key)
    sides = [choose_cells(side, cells, grouping(group, cells)) for side in (a, b)]
    if np.array_equal(sides[0].cells, sides[1].cells):
        raise InputError(f"{a!r} and {b!r} are the same {len(sides[0].cells)} cells. Name two groups that differ.")
    variants = [part.key for part in study.layer_variants]
    wanted = [(name, variant, kind) for name in names for variant in variants for kind in kinds]
    if layer == "best":
        table, selection, keys = _halves(study, tasks, kept, folder, wanted, tell)
    else:
        (table, keys), selection = _whole(tasks, kept, wanted), None
    if layer not in ("best", "all"):
        _some(layer, list(dict.fromkeys(table["layer"])), "layer of this run")
    found = compare_groups(
        table,
        {side.name: side.cells for side in sides},
        a,
        b,
        cells["donor_id"].values,
        layer=layer,
        selection=selection,
        by=_BY,
        metrics=metrics,
        bootstraps=study.similarity.bootstraps if bootstraps is None else bootstraps,
        permutations=study.similarity.permutations if permutations is None else permutations,
        seed=study.seed if seed is None else seed,
    )
    _complete(found, cells)
    _add_null(found, tasks, kept)
    found.parameters.update(run=study.name, group=group, simulated=int(bool(cells.attrs["simulated"])), keys=keys)
    return found


def _asked(
    study: Study, model: str | Sequence[str], metric: str | Sequence[str], kind: str | Sequence[str] | None
) -> tuple[list[str], list[str], list[str]]:
    """Return the networks, metrics and representations that are meant, each checked against the study."""
    from alignment.similarity import CELL_METRICS

    assert study.similarity is not None and study.representations is not None
    names = _some(model, [part.key for part in study.models], "model of this run")
    own = [name for name in study.similarity.metrics if name in CELL_METRICS]
    if "kde_iou_population" in ([metric] if isinstance(metric, str) else metric):
        raise InputError(
            "kde_iou_population has one value for a whole group and none for a cell, so two groups cannot be compared "
            f"by permuting cells. Choose among {', '.join(own)}; the report's tables hold it for every group."
        )
    if not own:
        raise DataError(f"The study has no metric of single cells ({', '.join(CELL_METRICS)}): add one and run it.")
    kinds = list(study.representations.kinds)
    chosen = kinds[:1] if kind is None else _some(kind, kinds, "representation of this run")
    return names, _some(metric, own, "metric of this run"), chosen


def _some(asked: str | Sequence[str], known: list[str], what: str) -> list[str]:
    listed = [asked] if isinstance(asked, str) else list(dict.fromkeys(asked))
    if "all" in listed:
        return known
    if not listed:
        raise InputError(f"Name at least one {what}, or 'all'. It has {', '.join(known)}.")
    try:
        return [check_name(name, what, known) for name in listed]
    except InputError as error:
        raise InputError(f"{error} It has {', '.join(known)}.") from None


def _tasks(study: Study, store: Store, folder: Path) -> dict[str, Task]:
    """Return what the run's report was made of, if the store has it."""
    from pipelines.plan import make_plan

    plan = make_plan(study, store)
    tasks = {} if plan.report is None else dict(plan.report.inputs)
    prefixes = ("population", "scenes", "representations:", "activations:", "similarity:")
    needed = [task for name, task in tasks.items() if name.startswith(prefixes)]
    if not needed or not all(store.has(task.stage, task.key) for task in needed):
        raise DataError(
            f"The comparison needs results of {folder} that are not in the store {store.root}. "
            f"Compute them: nalign run {folder / 'study.yaml'} --out {folder.parent}"
        )
    return tasks


def _whole(
    tasks: dict[str, Task], store: Store, wanted: Iterable[tuple[str, str, str]]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the cells' scores on all scenes, as the run computed them."""
    found = [tasks[f"similarity:{name}:{variant}:{kind}"] for name, variant, kind in wanted]
    parts = [store.read(task.stage, task.key)["cells"] for task in found]
    return pd.concat(parts, ignore_index=True), [task.key for task in found]


def _halves(
    study: Study,
    tasks: dict[str, Task],
    store: Store,
    folder: Path,
    wanted: list[tuple[str, str, str]],
    tell: Callable[[int, int, str], None] | None,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the cells' scores on the second half of the scenes, and on the first; compute what is missing."""
    from alignment.similarity import CELL_METRICS
    from pipelines.graph import Task
    from pipelines.perform import Site, complete

    assert study.similarity is not None and study.representations is not None
    parts, keys = [], []
    for done, (name, variant, kind) in enumerate(wanted):
        if tell is not None:
            tell(done, len(wanted), f"{name} {variant} {kind}")
        params = {
            "model": name,
            "layer_variant": variant,
            "kind": kind,
            "grid": list(study.representations.grid),
            "metrics": [metric for metric in study.similarity.metrics if metric in CELL_METRICS],
            "seed": study.seed,
        }
        inputs = {key: tasks[key] for key in ("population", "scenes")}
        inputs["activations"] = tasks[f"activations:{name}:{variant}"]
        task = Task("halves", params, inputs, f"{name} {variant} {kind}")
        if not store.has(task.stage, task.key):
            complete(task.spec(), Site(store.root))
        parts.append(store.read(task.stage, task.key))
        keys.append(task.key)
    table = pd.concat(parts, ignore_index=True)
    return table[table["half"] == 1], table[table["half"] == 0], keys


def _add_null(found: GroupComparison, tasks: dict[str, Task], store: Store) -> None:
    """Add to each row the run's q of its layer's score to all cells against shuffled scenes, and what that means."""
    table = found.table
    chosen = [
        tasks.get(f"null:{name}:{variant}:{kind}") for name, variant, kind in zip(*map(table.get, _BY), strict=True)
    ]
    known = {task.key: task for task in chosen if task is not None and store.has(task.stage, task.key)}
    parts = [store.read(task.stage, task.key) for task in known.values()]
    if not parts:
        table["null_q"] = np.nan
        text = "the run shuffled no scenes, so whether these scores tell of the cells is unknown"
    else:
        null = pd.concat(parts, ignore_index=True)
        keys = [*_BY, "layer", "metric"]
        null = null[null["group_by"] == "all"].drop_duplicates(keys).set_index(keys)["q"]
        table["null_q"] = null.reindex(pd.MultiIndex.from_frame(table[keys])).to_numpy()
        clear, held = int((table["null_q"] < 0.05).sum()), int(table["null_q"].notna().sum())
        text = f"{clear} of {held} rows' layers are closer to all cells than with the scenes shuffled (q < 0.05)"
        text += "" if clear == held else ": the others' differences tell nothing of likeness"
    table["note"] = [f"{note}; {text}" if note else text for note in table["note"]]


def _complete(found: GroupComparison, cells: xr.Dataset) -> None:
    """Add to the table what only the run knows."""
    table = found.table
    table.insert(0, "a", found.a)
    table.insert(1, "b", found.b)
    for letter, side in zip("ab", found.sides, strict=True):
        values = cells["reliability"].values[side]
        known = values[np.isfinite(values)]
        table[f"{letter}_reliability"] = float(np.median(known)) if len(known) else np.nan
    table["simulated"] = bool(cells.attrs["simulated"])
