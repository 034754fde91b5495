"""Damaged results in a run: never used, set aside, made again, and told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cache import LostResultError, Store
from neural_alignment import DataError
from pipelines.config import ComputeConfig
from pipelines.execution import execute
from pipelines.run import _lost


def _flip(folder: Path, pattern: str) -> None:
    """Change a bit of the largest such file and let its size and time of change stay, as a disk does."""
    file = max(folder.rglob(pattern), key=lambda path: path.stat().st_size)
    before, data = file.stat(), bytearray(file.read_bytes())
    data[-1] ^= 0x80  # of the last number, the sign
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _words(text: str) -> list[str]:
    return [line for line in text.splitlines() if "has been set aside" in line]


def _scores(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "tables" / "transfer.csv").drop(columns="seconds", errors="ignore")


@pytest.fixture
def again(tiny_copy, nalign) -> Any:
    return lambda: nalign("run", tiny_copy.study, "--cache", tiny_copy.store.root, "--out", tiny_copy.out)


def test_flipped_weights_are_not_evaluated_but_trained_again(tiny_copy, again) -> None:
    store = tiny_copy.store
    before = _scores(tiny_copy.run)
    flipped = store.list("train")[0]
    _flip(flipped.path, "tensors.safetensors")
    evaluations = store.prune(stage="evaluate") + store.prune(stage="report")
    result = again()
    assert result.code == 0, result.err
    (word,) = _words(result.out)
    assert f"train/{flipped.key} was damaged (tensors.safetensors does not have the bytes" in word
    assert word.endswith("It is made again.")
    assert f"tiny: {len(evaluations) + 1} computed" in result.out
    pd.testing.assert_frame_equal(_scores(tiny_copy.run), before)
    assert [path.name[:40] for path in (store.root / ".quarantine" / "train").iterdir()] == [flipped.key]
    assert store.verify().problems == []
    assert _words(again().out) == []


@pytest.mark.parametrize("name", ["report.html", "transfer.csv"])
def test_damaged_pages_are_not_copied_but_written_again(tiny_copy, again, name: str) -> None:
    (report,) = tiny_copy.store.list("report")
    _flip(report.path, name)
    result = again()
    assert result.code == 0 and len(_words(result.out)) == 1 and "tiny: 1 computed" in result.out
    published, kept = (next(folder.rglob(name)).read_bytes() for folder in (tiny_copy.run, report.path))
    assert published == kept and tiny_copy.store.verify().problems == []


def test_what_was_cut_short_is_told_too(tiny_copy, again, light_report) -> None:
    entry = tiny_copy.store.list("evaluate")[0]
    (entry.path / "value.json").write_bytes(b"{")
    tiny_copy.store.prune(stage="report")
    result = again()
    assert result.code == 0 and "tiny: 2 computed" in result.out
    (word,) = _words(result.out)
    assert f"evaluate/{entry.key} was damaged (value.json has 1 bytes" in word


def _harm(store: Store, task: Any) -> None:
    _flip(store.path(task.stage, task.key), "value.json")


def test_who_reads_a_damaged_result_fails_and_says_which_to_make_again(toy, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = toy("first")
    readers = [toy(f"reader{number}", inputs={"first": first}) for number in range(2)]
    top = toy("top", inputs={"one": readers[0], "two": readers[1]})
    inline = ComputeConfig(cluster="inline")
    execute(lambda: ([first], True), store, inline, lambda *event, **details: None)
    _harm(store, first)
    outcomes = execute(lambda: ([top], True), store, inline, lambda *event, **details: None)
    assert {outcome.label: outcome.status for outcome in outcomes} == {
        "first": "hit", "reader0": "failed", "reader1": "failed", "top": "skipped",
    }  # fmt: skip
    lost = _lost(outcomes)  # two met it: one set it aside, the other found it gone
    assert list(lost) == [first.key] and "has been set aside as" in lost[first.key]
    assert not store.has(first.stage, first.key)


def test_workers_check_and_make_again(tiny_copy, nalign, light_report) -> None:
    """Two processes beside this one, each of which reads for the first time."""
    store = tiny_copy.store
    flipped = store.list("train")[0]
    _flip(flipped.path, "tensors.safetensors")
    for stage in ("evaluate", "report"):
        store.prune(stage=stage)
    text = tiny_copy.study.read_text().replace("cluster: inline", "cluster: local")
    study = tiny_copy.out / "study.yaml"
    study.write_text(text)
    result = nalign("run", study, "--cache", store.root, "--out", tiny_copy.out)
    assert result.code == 0, result.err
    assert len(_words(result.out)) == 1 and flipped.key in _words(result.out)[0]
    assert store.verify().problems == []


def test_a_result_that_is_damaged_again_and_again_ends_the_run(tiny_copy, again, light_report, monkeypatch) -> None:
    """A disk that spoils what it is given: said once, tried once more, then an error."""
    key = tiny_copy.store.list("train")[0].key
    tiny_copy.store.prune(stage="evaluate")
    tiny_copy.store.prune(stage="report")
    read = Store.read

    def spoiled(self: Store, stage: str, asked: str, *rest: Any) -> Any:
        if asked == key:
            raise LostResultError(stage, key, "It was damaged and has been set aside.", "Run again.")
        return read(self, stage, asked, *rest)

    monkeypatch.setattr(Store, "read", spoiled)
    result = again()
    assert result.code == 1 and result.out.count("It is made again.") == 1
    assert "It was damaged and has been set aside. Run again." in result.message


def test_a_damaged_simulated_observatory_is_made_again(place_study, nalign, tmp_path: Path, light_report) -> None:
    store = Store(tmp_path / "store")
    run = lambda: nalign("run", place_study, "--cache", store.root, "--out", tmp_path / "runs")  # noqa: E731
    assert run().code == 0
    (entry,) = store.list("observatory")
    _flip(entry.path, "*.json")
    store.prune(stage="report")
    result = run()
    assert result.code == 0, result.err
    assert len(_words(result.out)) == 1 and f"observatory/{entry.key}" in _words(result.out)[0]
    assert store.verify().problems == []


@pytest.fixture
def place_study(write_study, only_brain, tmp_path: Path) -> Path:
    size = {"source": "simulated", "folder": ..., "sessions": 2, "cells": 12, "trials": 2}
    return write_study(tmp_path, **only_brain, observatory=size)


def test_commands_that_make_nothing_again_say_what_to_run(tiny_copy, nalign) -> None:
    entry = tiny_copy.store.list("representations")[0]
    _flip(entry.path, "*.zip")
    ask = ("compare", tiny_copy.run, "--group", "area", "--a", "VISp", "--b", "VISl", "--cache", tiny_copy.store.root)
    result = nalign(*ask)
    assert result.code == DataError.exit_code
    assert "has been set aside" in result.message and "Run the study again" in result.message
