"""One task: looked up, computed, kept with its provenance, and every way it can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cache import Store
from neural_alignment import DataError
from pipelines.graph import Task
from pipelines.perform import PACKAGES, Inputs, Outcome, Site, perform


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "store", device="cpu", threads=3)


def test_a_task_is_computed_once(toy: Callable[..., Task], site: Site) -> None:
    calls: list[int] = []

    def count(inputs: Any, params: Any, context: Any) -> Any:
        calls.append(1)
        return {"n": len(calls)}

    task = toy("count", count)
    first, second = perform(task.spec(), site), perform(task.spec(), site)
    assert (first.status, second.status, calls) == ("done", "hit", [1])
    assert first.seconds > 0 and (first.stage, first.key, first.label) == ("toy_count", task.key, "count")
    assert Store(site.store).read(task.stage, task.key) == {"n": 1}


def test_provenance_says_how_it_came_to_be(toy: Callable[..., Task], site: Site) -> None:
    def noted(inputs: Any, params: Any, context: Any) -> Any:
        context.notes["device"] = context.device
        return [1]

    source = toy("source")
    task = toy("noted", noted, {"from": source}, colour="red")
    perform(source.spec(), site)
    perform(task.spec(), site)
    told = Store(site.store).provenance(task.stage, task.key)
    assert told["params"] == {"name": "noted", "colour": "red"} and told["inputs"] == {"from": source.key}
    assert (told["stage"], told["stage_version"], told["label"]) == ("toy_noted", 1, "noted")
    assert told["device"] == "cpu" and told["threads"] == 3 and told["seconds"] >= 0
    assert set(told["packages"]) == set(PACKAGES) and told["packages"]["numpy"] != "not installed"
    assert told["started"].endswith("+00:00") and told["neural_alignment"] and told["python"]
    json.dumps(told)


def test_a_folder_stage_fills_the_result(toy: Callable[..., Task], site: Site) -> None:
    def files(inputs: Any, params: Any, context: Any, folder: Path) -> None:
        (folder / "a.txt").write_text("whole")

    task = toy("files", files, result="folder")
    assert perform(task.spec(), site).status == "done"
    reader = Inputs(Store(site.store), {"files": (task.stage, task.key)})
    assert (reader.folder("files") / "a.txt").read_text() == "whole"


def test_inputs_are_read_by_name(toy: Callable[..., Task], site: Site) -> None:
    tasks = {"b:1": toy("one"), "a": toy("two"), "b:2": toy("three")}
    for task in tasks.values():
        perform(task.spec(), site)
    inputs = Inputs(Store(site.store), {name: (task.stage, task.key) for name, task in tasks.items()})
    assert inputs.names() == ["b:1", "a", "b:2"] and inputs.names("b:") == ["b:1", "b:2"]
    assert inputs["a"]["name"] == "two" and inputs.key("a") == tasks["a"].key
    assert "a" in inputs and "c" not in inputs
    assert inputs.provenance("a")["label"] == "two"


def test_progress_is_told(toy: Callable[..., Task], site: Site) -> None:
    def steps(inputs: Any, params: Any, context: Any) -> Any:
        context.tell(1, 2, "half")
        return 1

    told: list[Any] = []
    perform(toy("steps", steps).spec(), site, tell=lambda event, spec, **details: told.append((event, details)))
    assert told == [("wait", {}), ("start", {}), ("part", {"done": 1, "total": 2, "text": "half"})]


def test_an_error_on_purpose_has_no_trace_and_keeps_nothing(toy: Callable[..., Task], site: Site) -> None:
    def refuse(inputs: Any, params: Any, context: Any) -> Any:
        raise DataError("The file is broken. Fetch it again.")

    task = toy("refuse", refuse)
    outcome = perform(task.spec(), site)
    assert (outcome.status, outcome.message, outcome.trace) == ("failed", "The file is broken. Fetch it again.", "")
    assert not Store(site.store).has(task.stage, task.key)


@pytest.mark.parametrize("result", ["value", "folder"])
def test_an_error_nobody_foresaw_has_a_trace_and_keeps_nothing(toy, site: Site, result: str) -> None:
    def explode(inputs: Any, params: Any, context: Any, *folder: Path) -> Any:
        for place in folder:
            (place / "half.txt").write_text("half")
        raise ZeroDivisionError("no cells")

    task = toy("explode", explode, result=result)
    outcome = perform(task.spec(), site)
    assert outcome.status == "failed"
    assert outcome.message == "an error inside neural-alignment, ZeroDivisionError: no cells"
    assert "Traceback" in outcome.trace and "in explode" in outcome.trace
    assert not Store(site.store).has(task.stage, task.key) and not list(site.store.rglob("half.txt"))


def test_a_value_that_cannot_be_kept_is_a_failure(toy: Callable[..., Task], site: Site) -> None:
    outcome = perform(toy("strange", lambda inputs, params, context: object()).spec(), site)
    assert outcome.status == "failed" and "object" in outcome.message


def test_a_stop_from_outside_goes_through(toy: Callable[..., Task], site: Site) -> None:
    def stop(inputs: Any, params: Any, context: Any) -> Any:
        (context.scratch / "checkpoint").write_text("epoch 1")
        raise KeyboardInterrupt

    task = toy("stop", stop)
    with pytest.raises(KeyboardInterrupt):
        perform(task.spec(), site)
    store = Store(site.store)
    assert not store.has(task.stage, task.key)
    assert (store.scratch(task.stage, task.key) / "checkpoint").read_text() == "epoch 1"  # for the next run


def test_scratch_goes_when_the_task_is_done(toy: Callable[..., Task], site: Site) -> None:
    def work(inputs: Any, params: Any, context: Any) -> Any:
        (context.scratch / "checkpoint").write_text("epoch 1")
        return str(context.scratch)

    task = toy("work", work)
    perform(task.spec(), site)
    assert not Path(Store(site.store).read(task.stage, task.key)).exists()


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_what_needs_a_failed_task_is_skipped(toy: Callable[..., Task], site: Site, status: Any) -> None:
    before = Outcome("toy_a", "0" * 12, "the first", status)
    fine = Outcome("toy_b", "1" * 12, "the second", "done")
    task = toy("last")
    outcome = perform(task.spec(), site, fine, before)
    assert (outcome.status, outcome.message) == ("skipped", "needs the first")
    assert not site.store.exists()


def test_another_process_may_have_been_first(toy: Callable[..., Task], site: Site, monkeypatch) -> None:
    import contextlib

    task, store = toy("slow"), Store(site.store)

    @contextlib.contextmanager
    def lock(self: Store, stage: str, key: str) -> Any:  # while we waited, the other wrote
        store.write(stage, key, "theirs", {})
        yield

    monkeypatch.setattr(Store, "lock", lock)
    assert perform(task.spec(), site).status == "hit"
    assert store.read(task.stage, task.key) == "theirs"


def test_a_store_that_cannot_be_written_is_one_message(toy: Callable[..., Task], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = perform(toy("work").spec(), Site(tmp_path / "file" / "store"))
    assert outcome.status == "failed" and outcome.trace == ""
    assert "cannot be written to the store" in outcome.message and "--cache" in outcome.message
