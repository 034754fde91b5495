"""Damage on the disk: no changed bit is ever used, and what is damaged is set aside, not deleted."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import cache.entry
from cache import LostResultError, Store, make_key

KEY = make_key("stage", "1", {"n": 1}, {})
FLIPS = 60  # of each format


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are digested to check them."""
    read: list[str] = []
    digest = cache.entry.digest_file
    monkeypatch.setattr("cache.entry.digest_file", lambda path: read.append(Path(path).name) or digest(path))
    return read


def _flip(file: Path, bit: int) -> None:
    """Change one bit as a disk does: size and time of change stay."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _quarantine(store: Store) -> list[Path]:
    return sorted((store.root / ".quarantine").glob("*/*"))


def _values() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    torch = pytest.importorskip("torch")
    return {
        "array": rng.random(50),
        "tensor": torch.from_numpy(rng.random(50)),
        "table": pd.DataFrame({"score": rng.random(50), "area": ["VISp", "VISl"] * 25}),
        "dataset": xr.Dataset({"v": ("x", rng.random(50))}),
        "json": {"accuracy": 0.164, "seeds": [0, 1, 2], "of": "digits"},
    }


def _keep(store: Store, kind: str) -> None:
    if kind != "folder":
        store.write("stage", KEY, _values()[kind], {"label": "kept", "seconds": 1.5})
        return
    with store.folder("stage", KEY, {"label": "kept"}) as folder:
        (folder / "report.html").write_text("<p>accuracy 0.164</p>" * 10)
        (folder / "tables").mkdir()
        (folder / "tables" / "scores.csv").write_text("model,score\nvgg11,0.179\n")


@pytest.mark.parametrize("kind", ["array", "tensor", "table", "dataset", "json", "folder"])
def test_no_flipped_bit_is_used(store: Store, tmp_path: Path, kind: str) -> None:
    _keep(store, kind)
    entry, whole = store.path("stage", KEY), tmp_path / "whole"
    shutil.copytree(entry, whole)
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    assert len(files) >= 2  # its own, and the record of how it came to be
    rng = np.random.default_rng(1)
    for number in range(FLIPS):
        shutil.rmtree(entry, ignore_errors=True)
        shutil.copytree(whole, entry)
        name = files[number % len(files)]
        _flip(entry / name, int(rng.integers(8 * (entry / name).stat().st_size)))
        with pytest.raises(LostResultError, match="was damaged"):
            store.read("stage", KEY)
        assert not store.has("stage", KEY) and len(_quarantine(store)) == number + 1
    shutil.copytree(whole, entry)
    store.read("stage", KEY)


def test_a_flip_in_the_provenance_is_told_by_whoever_asks_for_it(store: Store) -> None:
    store.write("stage", KEY, {"a": 1}, {"label": "kept", "seconds": 15})
    file = store.path("stage", KEY) / "provenance.json"
    _flip(file, 8 * file.read_bytes().index(b"15"))  # 15 becomes 05
    assert not store.has("stage", KEY)
    with pytest.raises(LostResultError, match=r"provenance\.json is missing or damaged"):
        store.provenance("stage", KEY)


def test_results_of_the_format_before_are_read(store: Store) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    file = store.path("stage", KEY) / "provenance.json"
    lines = file.read_text().replace('"format": 2', '"format": 1').splitlines()
    file.write_text("\n".join(line for line in lines if '"record"' not in line))
    assert store.has("stage", KEY) and store.read("stage", KEY) == {"a": 1}


def test_bytes_are_read_for_the_check_once_until_the_file_changes(store: Store, reads: list[str]) -> None:
    store.write("stage", KEY, {"a": np.ones(4)}, {})
    reads.clear()
    store.read("stage", KEY)
    assert sorted(reads) == ["arrays.safetensors", "value.json"]
    for ask in (store.read, store.read, store.parts):
        ask("stage", KEY)
    assert len(reads) == 2
    file = store.path("stage", KEY) / "arrays.safetensors"
    os.utime(file, ns=(0, 0))
    store.read("stage", KEY)
    assert len(reads) == 4
    _flip(file, 8 * file.stat().st_size - 1)
    with pytest.raises(LostResultError):
        store.read("stage", KEY)


def test_the_parts_of_a_damaged_result_are_not_told(store: Store) -> None:
    store.write("stage", KEY, {"a": np.ones(4)}, {})
    file = store.path("stage", KEY) / "value.json"
    _flip(file, 8 * file.read_bytes().index(b'"a"') + 8)
    with pytest.raises(LostResultError):
        store.parts("stage", KEY)


def test_what_is_set_aside_stays_whole_until_it_is_asked_to_go(store: Store) -> None:
    store.write("stage", KEY, {"a": np.ones(4)}, {"label": "kept"})
    file = store.path("stage", KEY) / "arrays.safetensors"
    _flip(file, 8 * file.stat().st_size - 1)
    flipped = file.read_bytes()
    with pytest.raises(LostResultError) as caught:
        store.read("stage", KEY)
    (place,) = _quarantine(store)
    assert str(place) in str(caught.value) and "arrays.safetensors does not have the bytes" in str(caught.value)
    assert (place / "arrays.safetensors").read_bytes() == flipped
    store.write("stage", KEY, {"a": np.ones(4)}, {"label": "again"})
    assert store.read("stage", KEY)["a"].sum() == 4
    assert [entry.label for entry in store.list()] == ["again"] and store.verify().problems == []
    assert store.prune(stage="other", damaged=True) == [] == store.prune(max_bytes=10**9)
    assert [entry.key for entry in store.prune(damaged=True, dry_run=True)] == [place.name]
    assert place.exists()
    (gone,) = store.prune(damaged=True)
    assert (gone.stage, gone.label) == ("stage", "damaged, set aside before") and not place.exists()


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(b"{"), Path.unlink], ids=["truncated", "missing"])
def test_who_makes_a_result_again_is_told_what_stood_in_its_place(store: Store, harm: Callable[[Path], object]) -> None:
    assert store.clear("stage", KEY) == ""
    store.write("stage", KEY, {"a": 1}, {})
    assert store.clear("stage", KEY) == "" and store.has("stage", KEY)
    harm(store.path("stage", KEY) / "value.json")
    assert "value.json" in store.clear("stage", KEY) and len(_quarantine(store)) == 1
    assert store.clear("stage", KEY) == ""


def test_a_result_that_another_process_has_made_again_is_not_set_aside(store: Store, monkeypatch) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    _flip(store.path("stage", KEY) / "value.json", 8 * 40)

    def other(folder: Path, record: Any) -> str:
        shutil.move(folder, store.root / "elsewhere")
        store.write("stage", KEY, {"a": 1}, {"label": "again"})
        return "value.json does not have the bytes that were written"

    monkeypatch.setattr("cache.store.check_once", other)
    with pytest.raises(LostResultError):
        store.read("stage", KEY)
    assert store.has("stage", KEY) and store.provenance("stage", KEY)["label"] == "again" and not _quarantine(store)


def test_a_store_that_cannot_be_written_says_that_the_damage_stays(store: Store, monkeypatch) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    _flip(store.path("stage", KEY) / "value.json", 8 * 40)

    def refuse(*args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("cache.store.set_aside", refuse)
    for _ in range(2):
        with pytest.raises(cache.entry.DataError, match=r"could not be set aside \(Read-only file system\)") as caught:
            store.read("stage", KEY)
        assert not isinstance(caught.value, LostResultError)


def test_the_error_crosses_to_another_process_as_it_is() -> None:
    error = pickle.loads(pickle.dumps(LostResultError("stage", KEY, "It is gone.", "Make it again.")))
    assert (error.stage, error.key, str(error)) == ("stage", KEY, "It is gone. Make it again.")


def _read(root: str, queue: Any) -> None:
    try:
        queue.put(float(Store(root).read("stage", KEY)["a"].sum()))
    except LostResultError:
        queue.put("lost")


def test_every_process_looks_for_itself(store: Store) -> None:
    store.write("stage", KEY, {"a": np.ones(4)}, {})
    assert store.read("stage", KEY)["a"].sum() == 4
    file = store.path("stage", KEY) / "arrays.safetensors"
    _flip(file, 8 * file.stat().st_size - 2)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_read, args=(str(store.root), queue))
    process.start()
    assert queue.get(timeout=60) == "lost"
    process.join(60)
