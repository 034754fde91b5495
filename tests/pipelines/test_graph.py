"""Tasks and their keys: equal work has equal keys, and every stage can be loaded."""

from __future__ import annotations

import pickle

import pytest

from pipelines.graph import STAGES, Task, in_order


@pytest.mark.parametrize("name", list(STAGES))
def test_every_stage_loads_its_function(name: str) -> None:
    stage = STAGES[name]
    assert stage.name == name and stage.says and callable(stage.load())


def test_the_key_is_of_stage_parameters_and_inputs() -> None:
    source = Task("domain", {"name": "digits"})
    base = Task("train", {"seed": 0}, {"domain": source})
    same = Task("train", {"seed": 0}, {"domain": Task("domain", {"name": "digits"})})
    others = [
        Task("evaluate", {"seed": 0}, {"domain": source}),
        Task("train", {"seed": 1}, {"domain": source}),
        Task("train", {"seed": 0}, {"other": source}),
        Task("train", {"seed": 0}, {"domain": Task("domain", {"name": "digits_m"})}),
        Task("train", {"seed": 0}),
    ]
    assert base.key == same.key
    assert len({base.key, *(other.key for other in others)}) == 6


def test_label_and_place_are_not_part_of_the_key() -> None:
    assert Task("domain", {"a": 1}, label="x", where={"data": "/a"}).key == Task("domain", {"a": 1}).key


def test_order_of_parameters_is_not_part_of_the_key() -> None:
    assert Task("domain", {"a": 1, "b": 2}).key == Task("domain", {"b": 2, "a": 1}).key


def test_a_higher_version_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    before, reader = Task("domain", {}).key, Task("train", {}, {"domain": Task("domain", {})}).key
    monkeypatch.setitem(STAGES, "domain", replace(STAGES["domain"], version=STAGES["domain"].version + 1))
    assert Task("domain", {}).key != before
    assert Task("train", {}, {"domain": Task("domain", {})}).key != reader


def test_tasks_come_after_what_they_read_and_once() -> None:
    shared = Task("domain", {"name": "digits"})
    left, right = (Task("train", {"seed": seed}, {"domain": shared}) for seed in (0, 1))
    top = Task("report", {}, {"left": left, "right": right})
    assert in_order([top, left]) == [shared, left, right, top]
    twin = Task("train", {"seed": 0}, {"domain": Task("domain", {"name": "digits"})})
    assert [task.key for task in in_order([left, twin])] == [shared.key, left.key]


def test_a_specification_travels_to_a_worker() -> None:
    task = Task("train", {"seed": 0}, {"domain": Task("domain", {"name": "digits"})}, "a label", {"data": "/a"})
    spec = pickle.loads(pickle.dumps(task.spec()))
    assert spec == task.spec()
    assert spec.inputs == {"domain": ("domain", task.inputs["domain"].key)}
    assert (spec.stage, spec.key, spec.label, spec.where) == ("train", task.key, "a label", {"data": "/a"})
