"""The stages behind a report, near and far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cache import Store
from pipelines.graph import Task
from pipelines.perform import Inputs, Site, complete
from pipelines.stages.gather.provenance import gather_provenance


def test_every_stage_is_there_once_with_its_seeds(toy: Callable[..., Task], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sources = [toy("source", seed=seed) for seed in (3, 1)]
    middle = [toy("middle", inputs={"from": source}, network={"seed": 7, "width": 1}) for source in sources]
    both = toy("both", inputs={"first": middle[0], "second": middle[1], "again": sources[0]})
    for task in (*sources, *middle, both):
        complete(task.spec(), Site(tmp_path / "store"))
    inputs = Inputs(store, {"both": (both.stage, both.key), "too": (middle[0].stage, middle[0].key)})
    rows = {row["stage"]: row for row in gather_provenance(inputs)}
    assert list(rows) == ["toy_source", "toy_middle", "toy_both"]  # sources first
    assert {name: row["results"] for name, row in rows.items()} == {"toy_source": 2, "toy_middle": 2, "toy_both": 1}
    assert (
        rows["toy_source"]["seed"] == "1, 3" and rows["toy_middle"]["seed"] == "7" and rows["toy_both"]["seed"] is None
    )
    assert rows["toy_both"]["key"] == both.key and rows["toy_source"]["key"] is None
    assert all(row["device"] == "cpu" and "numpy" in row["packages"] for row in rows.values())


def test_what_was_removed_from_the_store_is_left_out(toy: Callable[..., Task], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    source = toy("gone")
    task = toy("kept", inputs={"from": source})
    for made in (source, task):
        complete(made.spec(), Site(tmp_path / "store"))
    store.remove(source.stage, source.key)
    inputs = Inputs(store, {"kept": (task.stage, task.key)})
    assert [row["stage"] for row in gather_provenance(inputs)] == ["toy_kept"]


def test_the_whole_plan_of_a_study_is_told(tiny: Any) -> None:
    from pipelines.plan import make_plan

    plan = make_plan(tiny.loaded(), tiny.store)
    assert plan.report is not None
    inputs = Inputs(tiny.store, {name: (task.stage, task.key) for name, task in plan.report.inputs.items()})
    told = {row["stage"]: row["results"] for row in gather_provenance(inputs)}
    planned: dict[str, int] = {}
    for task in plan.tasks:
        planned[task.stage] = planned.get(task.stage, 0) + 1
    assert told == {stage: count for stage, count in planned.items() if stage != "report"}
