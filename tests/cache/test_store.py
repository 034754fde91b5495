"""The store: whole results or none, whatever happens to processes and disks."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cache import Store, digest_folder, make_key
from neural_alignment import DataError, InputError

KEY = make_key("stage", "1", {"n": 1}, {})
OTHER = make_key("stage", "1", {"n": 2}, {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _visible(store: Store) -> list[str]:
    """Everything under the stage's folder that is not named as a temporary thing."""
    return [path.name for path in (store.root / "stage").glob("*") if not path.name.startswith(".tmp-")]


def test_a_written_value_is_found_and_says_how_it_came_to_be(store: Store) -> None:
    assert not store.has("stage", KEY)
    store.write("stage", KEY, {"a": np.arange(3)}, {"label": "three", "seconds": np.float32(1.5), "at": Path("x")})
    assert store.has("stage", KEY)
    np.testing.assert_array_equal(store.read("stage", KEY)["a"], [0, 1, 2])
    provenance = store.provenance("stage", KEY)
    assert (provenance["label"], provenance["seconds"], provenance["at"]) == ("three", 1.5, "x")
    assert provenance["store"]["stage"] == "stage" and provenance["store"]["size"] > 0
    assert store.parts("stage", KEY) == ["a"]


def test_the_layout_is_stage_and_key(store: Store) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    assert store.path("stage", KEY) == store.root / "stage" / KEY
    record = json.loads((store.root / "stage" / KEY / "provenance.json").read_text())
    assert set(record["store"]["files"]) == {"value.json"}
    assert not list((store.root / "stage").glob(".tmp-*"))


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "A", "a b", "a\n", "x" * 65, "1a", None, 3])
def test_stage_names_that_could_lead_elsewhere_are_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="stage's name must be"):
        store.path(name, KEY)
    with pytest.raises(InputError), store.lock(name, KEY):
        pass


@pytest.mark.parametrize("key", ["", "..", "abc", "../../etc", "A" * 40, "g" * 40, "a" * 65, KEY + "\n", None])
def test_keys_that_are_not_digests_are_refused(store: Store, key: str) -> None:
    with pytest.raises(InputError, match="hexadecimal"):
        store.has("stage", key)


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        Store(tmp_path / "file")


def test_the_root_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NALIGN_CACHE", str(tmp_path / "chosen"))
    assert Store().root == tmp_path / "chosen"
    monkeypatch.delenv("NALIGN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Store().root.name == "neural-alignment"
    assert not (tmp_path / "chosen").exists()  # nothing is made before something is written


def test_importing_the_store_imports_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from cache import Store, make_key; "
        f"s = Store({str(tmp_path)!r}); k = make_key('s', '1', {{'a': [1.0, None]}}, {{}}); "
        "s.has('s', k); s.path('s', k); s.list(); s.write('s', k, {'a': 1}, {}); s.read('s', k); "
        "print([m for m in ('torch', 'xarray', 'zarr', 'pandas', 'numpy', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_missing_results_say_what_to_do(store: Store) -> None:
    for ask in (store.read, store.provenance, store.parts):
        with pytest.raises(DataError, match=r"is not in the store .* Run the study"):
            ask("stage", KEY)


# Folders


def test_a_folder_becomes_the_result_without_copying(store: Store) -> None:
    with store.folder("stage", KEY, lambda: {"label": "made", "seconds": 2}) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file.bin").write_bytes(b"x" * 1000)
        inode = (folder / "deep" / "file.bin").stat().st_ino
        assert not store.has("stage", KEY)
    path = store.read("stage", KEY)
    assert path == store.path("stage", KEY)
    assert (path / "deep" / "file.bin").stat().st_ino == inode
    assert store.provenance("stage", KEY)["label"] == "made"
    assert store.parts("stage", KEY) == []


def test_an_error_inside_a_folder_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.folder("stage", KEY, {}) as folder:
        (folder / "half").write_text("half")
        raise ZeroDivisionError
    assert not store.has("stage", KEY)
    assert list((store.root / "stage").iterdir()) == []


def test_the_first_of_two_equal_results_stays(store: Store) -> None:
    with store.folder("stage", KEY, {"label": "slow"}) as folder:
        (folder / "file").write_text("slow")
        store.write("stage", KEY, {"a": 1}, {"label": "fast"})
    assert store.provenance("stage", KEY)["label"] == "fast"
    assert store.read("stage", KEY) == {"a": 1}
    assert not list((store.root / "stage").glob(".tmp-*"))


# Damage


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["value.json", "arrays.safetensors", "table.parquet", "set.zarr"])
@pytest.mark.parametrize("harm", [_truncate, Path.unlink], ids=["truncated", "missing"])
def test_a_truncated_or_missing_file_counts_as_absent_and_is_made_again(store: Store, file: str, harm) -> None:
    value = {"array": np.ones(4), "table": pd.DataFrame({"a": [1]}), "set": xr.Dataset({"v": ("x", [1.0])})}
    store.write("stage", KEY, value, {})
    name = {"set.zarr": "datasets.zarr.zip"}.get(file, file)
    harm(store.path("stage", KEY) / name)
    assert not store.has("stage", KEY)
    assert [problem.key for problem in store.verify().problems] == [KEY]
    store.write("stage", KEY, value, {"label": "again"})
    assert store.has("stage", KEY)
    assert store.provenance("stage", KEY)["label"] == "again"
    assert store.verify().problems == []


def test_reading_a_damaged_result_says_so_once_and_clears_the_way(store: Store) -> None:
    store.write("stage", KEY, {"a": np.ones(4)}, {})
    _truncate(store.path("stage", KEY) / "arrays.safetensors")
    with pytest.raises(DataError, match=r"damaged \(arrays.safetensors has \d+ bytes, not the .* set aside"):
        store.read("stage", KEY)
    with pytest.raises(DataError, match="is not in the store"):
        store.read("stage", KEY)


def test_changed_bytes_of_the_right_size_are_found_by_verify_and_pruned(store: Store) -> None:
    store.write("stage", KEY, {"a": np.ones(400)}, {})
    store.write("stage", OTHER, {"a": np.ones(400)}, {})
    _flip(store.path("stage", KEY) / "arrays.safetensors")
    assert store.has("stage", KEY)
    found = store.verify()
    assert found.checked == 2
    assert [(problem.stage, problem.key) for problem in found.problems] == [("stage", KEY)]
    assert "arrays.safetensors" in found.problems[0].what
    assert [entry.key for entry in store.prune(damaged=True)] == [KEY]
    assert not store.has("stage", KEY) and store.has("stage", OTHER)


@pytest.mark.parametrize(
    "value",
    [{"d": xr.Dataset({"v": ("x", np.arange(5000.0))})}, pd.DataFrame({"a": range(2000)})],
    ids=["zarr", "parquet"],
)
def test_bytes_that_cannot_be_decoded_are_reported_as_damage(store: Store, value) -> None:
    store.write("stage", KEY, value, {})
    file = max(store.path("stage", KEY).iterdir(), key=lambda path: path.stat().st_size)
    size = file.stat().st_size
    file.write_bytes(b"\0" * size)
    with pytest.raises(DataError, match="does not have the bytes that were written"):
        store.read("stage", KEY)


def test_whole_files_that_cannot_be_read_are_not_called_damaged(store: Store, monkeypatch) -> None:
    store.write("stage", KEY, {"a": np.ones(4)}, {})

    def fail(*args: object) -> None:
        raise ValueError("unknown codec")

    monkeypatch.setattr("cache.formats.read_arrays", fail)
    with pytest.raises(DataError, match="whole but cannot be read here: unknown codec"):
        store.read("stage", KEY)
    assert store.has("stage", KEY)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"store": {"stage": "other", "key": "0", "files": {}}}'])
def test_a_broken_provenance_is_damage(store: Store, text: str) -> None:
    store.write("stage", KEY, {"a": 1}, {"label": "x"})
    (store.path("stage", KEY) / "provenance.json").write_text(text)
    assert not store.has("stage", KEY)
    assert [entry.label for entry in store.list()] == ["damaged"]
    assert len(store.verify().problems) == 1
    with pytest.raises(DataError, match="damaged"):
        store.read("stage", KEY)
    assert not store.path("stage", KEY).exists()


def test_a_file_put_beside_is_no_damage(store: Store) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    (store.path("stage", KEY) / ".DS_Store").write_text("x")
    assert store.has("stage", KEY)
    assert store.verify().problems == []


# Disks


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_disk_that_cannot_be_written_gives_one_clear_error(store: Store, monkeypatch, number: int) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("cache.formats.write_arrays", refuse)
    with pytest.raises(DataError) as caught:
        store.write("stage", KEY, {"a": np.ones(2)}, {})
    message = str(caught.value)
    assert os.strerror(number) in message and str(store.root) in message and "nalign cache prune" in message
    assert _visible(store) == []
    with pytest.raises(DataError, match="cannot be written to the store"), store.folder("stage", KEY, {}):
        refuse()


LIMITED = """
import resource, sys
import numpy as np, pandas as pd, torch, xarray as xr
from cache import Store
from neural_alignment import DataError
many = np.random.default_rng(0).random(200_000)
values = {{
    "array": many, "tensor": torch.from_numpy(many), "table": pd.DataFrame({{"v": many}}),
    "dataset": xr.Dataset({{"v": ("x", many)}}), "json": many.tolist(),
}}
store = Store({root!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for name, value in values.items():
    try:
        store.write("stage", {key!r}, value, {{}})
    except DataError as error:
        print(name, "File too large. Free space there" in str(error))
store.write("stage", {key!r}, {{"a": 1}}, {{}})
print(store.read("stage", {key!r}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes to set")
def test_a_disk_that_takes_no_more_is_told_alike_by_every_format_and_leaves_nothing(store: Store) -> None:
    pytest.importorskip("torch")
    code = LIMITED.format(root=str(store.root), key=KEY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    told = done.stdout.splitlines()
    assert told == [f"{name} True" for name in ("array", "tensor", "table", "dataset", "json")] + ["{'a': 1}"]
    assert [path.name for path in (store.root / "stage").iterdir()] == [KEY]


def test_other_errors_of_the_system_keep_their_kind(store: Store) -> None:
    with pytest.raises(FileNotFoundError), store.folder("stage", KEY, {}) as folder:
        (folder / "nothing").read_text()


def _unprivileged() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() != 0


@pytest.mark.skipif(not _unprivileged(), reason="root writes everywhere")
def test_a_read_only_store_is_read_but_not_written(store: Store) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    folders = [store.root, *(path for path in store.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert store.has("stage", KEY) and store.read("stage", KEY) == {"a": 1}
        with pytest.raises(DataError, match="cannot be written to the store"):
            store.write("stage", OTHER, {"a": 1}, {})
    finally:
        for folder in folders:
            folder.chmod(stat.S_IRWXU)


def test_a_hit_needs_no_right_to_write(store: Store, monkeypatch) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    file = store.path("stage", KEY) / "provenance.json"
    os.utime(file, (time.time() - 1000,) * 2)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(os, "utime", refuse)
    assert store.has("stage", KEY)
    assert store.read("stage", KEY) == {"a": 1}


def test_a_root_below_a_file_gives_the_same_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = Store(tmp_path / "file" / "store")
    with pytest.raises(DataError, match="cannot be written to the store"):
        below.write("stage", KEY, {"a": 1}, {})
    with pytest.raises(DataError, match="cannot be written to the store"), below.lock("stage", KEY):
        pass
    with pytest.raises(DataError, match="cannot be written to the store"):
        below.scratch("stage", KEY)
    assert not below.has("stage", KEY) and below.list() == []


# Processes

CHILD = """
import sys, time
from cache import Store
store = Store({root!r})
with store.folder("stage", {key!r}, {{}}) as folder:
    (folder / "half").write_bytes(b"x" * 100000)
    print("writing", flush=True)
    time.sleep(60)
"""


def _start(store: Store) -> subprocess.Popen[str]:
    code = CHILD.format(root=str(store.root), key=KEY)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "writing\n"
    return child


def test_a_process_killed_while_writing_leaves_nothing_to_be_seen_and_prune_clears_up(store: Store) -> None:
    child = _start(store)
    try:
        assert not store.has("stage", KEY)
        assert store.prune() == []  # it lives: its half-written folder is not touched
        assert len(list((store.root / "stage").glob(".tmp-*/half"))) == 1
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not store.has("stage", KEY) and store.list() == [] and store.verify().checked == 0
    assert _visible(store) == []
    assert [entry.size for entry in store.prune(dry_run=True)] == [100000]
    gone = store.prune()
    assert [entry.size for entry in gone] == [100000] and "interrupted" in gone[0].label
    assert list((store.root / "stage").iterdir()) == []
    store.write("stage", KEY, {"a": 1}, {})
    assert store.has("stage", KEY)


def test_ctrl_c_while_writing_leaves_nothing_at_all(store: Store) -> None:
    child = _start(store)
    child.send_signal(signal.SIGINT)
    assert child.wait() != 0
    assert list((store.root / "stage").iterdir()) == []


def _compute_once(root: str, barrier, log) -> None:
    store = Store(root)
    barrier.wait()
    with store.lock("stage", KEY):
        if not store.has("stage", KEY):
            log.put(os.getpid())
            time.sleep(0.05)
            store.write("stage", KEY, {"by": os.getpid()}, {})


def test_several_processes_compute_a_thing_once(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, log = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_compute_once, args=(str(store.root), barrier, log)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert store.read("stage", KEY) == {"by": log.get(timeout=5)}
    assert log.empty()


def _write_many(root: str, barrier) -> None:
    store = Store(root)
    barrier.wait()
    for number in range(8):
        key = make_key("stage", "1", {"number": number}, {})
        store.write("stage", key, {"a": np.full(1000, number)}, {})
        assert store.read("stage", key)["a"][0] == number


def test_writers_without_a_lock_never_see_half_a_result(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_write_many, args=(str(store.root), barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert store.verify().checked == 8 and store.verify().problems == []
    assert not list((store.root / "stage").glob(".tmp-*"))


# Upkeep


def _age(store: Store, key: str, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(store.path("stage", key) / "provenance.json", (then, then))


def test_the_list_has_sizes_ages_and_labels(store: Store) -> None:
    store.write("stage", KEY, {"a": np.zeros(1000)}, {"label": "zeros"})
    store.write("other", KEY, {"a": 1}, {})
    _age(store, KEY, 3)
    other, entry = store.list()
    assert (other.stage, entry.stage, entry.key, entry.label) == ("other", "stage", KEY, "zeros")
    assert 8000 < entry.size < 9000
    assert 0 <= entry.age < 60 and 2.9 * 86400 < entry.unused < 3.1 * 86400
    assert [found.stage for found in store.list("stage")] == ["stage"]


def test_use_makes_a_result_young_again(store: Store) -> None:
    for use in (lambda: store.has("stage", KEY), lambda: store.read("stage", KEY)):
        store.write("stage", KEY, {"a": 1}, {})
        _age(store, KEY, 40)
        use()
        assert store.list()[0].unused < 60
        assert store.prune(older_than=timedelta(days=30)) == []


def test_prune_by_age_size_and_stage(store: Store) -> None:
    keys = [make_key("stage", "1", {"n": n}, {}) for n in range(4)]
    for days, key in enumerate(keys):
        store.write("stage", key, {"a": np.zeros(1000)}, {})
        _age(store, key, 10 * days)
    store.write("other", KEY, {"a": 1}, {})
    assert {entry.key for entry in store.prune(older_than=timedelta(days=15), dry_run=True)} == set(keys[2:])
    assert len(store.list()) == 5
    assert [entry.key for entry in store.prune(older_than=timedelta(days=25))] == [keys[3]]
    size = sum(entry.size for entry in store.list("stage"))
    assert [entry.key for entry in store.prune(stage="stage", max_bytes=size - 1)] == [keys[2]]
    assert {entry.key for entry in store.prune(stage="stage")} == set(keys[:2])
    assert [entry.stage for entry in store.list()] == ["other"]
    assert store.prune() == []


def test_prune_leaves_what_is_being_made_and_what_is_not_its_own(store: Store) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    stranger = store.root / "stage" / "notes"
    stranger.mkdir()
    (stranger / "provenance.json").write_text("{}")
    (store.root / "Documents" / KEY).mkdir(parents=True)
    (store.root / "Documents" / KEY / "provenance.json").write_text("{}")
    with store.lock("stage", KEY):
        assert store.prune(max_bytes=0) == []
    assert [entry.key for entry in store.prune(max_bytes=0)] == [KEY]
    assert stranger.exists() and (store.root / "Documents" / KEY / "provenance.json").exists()


def test_remove_takes_one_result_and_asks_no_questions(store: Store) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    store.remove("stage", KEY)
    store.remove("stage", KEY)
    assert not store.has("stage", KEY) and list((store.root / "stage").iterdir()) == []


def test_scratch_outlives_an_error_and_is_cleared_by_name(store: Store) -> None:
    (store.scratch("stage", KEY) / "checkpoint").write_text("half")
    assert (store.scratch("stage", KEY) / "checkpoint").read_text() == "half"
    assert store.list() == []
    store.clear_scratch("stage", KEY)
    store.clear_scratch("stage", KEY)
    assert list(store.scratch("stage", KEY).iterdir()) == []


# Remembered digests


def test_digests_of_files_are_remembered_until_the_file_changes(store: Store, tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"a" * 100)
    os.utime(file, (1_000_000, 1_000_000))
    first = store.digest_file(file)
    read: list[object] = []
    whole = __import__("cache.keys", fromlist=["digest_file"]).digest_file
    monkeypatch.setattr("cache.keys.digest_file", lambda path: read.append(path) or whole(path))
    assert store.digest_file(file) == first and read == []
    file.write_bytes(b"b" * 100)
    second = store.digest_file(file)
    assert second != first and len(read) == 1
    store.digest_file(file)
    assert len(read) == 2  # changed a moment ago: not remembered yet, it could change again unseen
    with pytest.raises(DataError, match="cannot be read"):
        store.digest_file(tmp_path / "missing")


def test_a_folders_digest_is_remembered_file_by_file(store: Store, tmp_path: Path, monkeypatch) -> None:
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (data / name).write_text(name)
        os.utime(data / name, (1_000_000, 1_000_000))
    expected = digest_folder(data)
    assert store.digest_folder(data) == expected

    def refuse(path: object) -> str:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr("cache.keys.digest_file", refuse)
    assert store.digest_folder(data) == expected


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stamp": 3}'])
def test_a_damaged_memory_of_a_digest_is_not_believed(store: Store, tmp_path: Path, text: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    os.utime(file, (1_000_000, 1_000_000))
    digest = store.digest_file(file)
    (memory,) = (store.root / ".digests").rglob("*.json")
    memory.write_text(text)
    assert store.digest_file(file) == digest
    assert json.loads(memory.read_text())["digest"] == digest


def test_only_some_parts_are_read_from_the_store(store: Store) -> None:
    store.write("stage", KEY, {"a": np.ones(2), "t": pd.DataFrame({"x": [1]})}, {})
    assert list(store.read("stage", KEY, only=["t"])) == ["t"]
    with pytest.raises(InputError, match="no part 'z'"):
        store.read("stage", KEY, only=["z"])
    assert store.has("stage", KEY)  # a wrong question does no damage


def test_verify_and_leftovers_keep_to_the_stage_that_is_asked_for(store: Store) -> None:
    for stage in ("one", "two"):
        store.write(stage, KEY, {"a": 1}, {})
        (store.path(stage, KEY) / "value.json").write_text("")
    assert [problem.stage for problem in store.verify("one").problems] == ["one"]
    assert [entry.stage for entry in store.prune(stage="two", damaged=True)] == ["two"]
    assert [entry.stage for entry in store.list()] == ["one"]


def _hold(root: str, held) -> None:
    with Store(root).lock("stage", KEY):
        held.set()
        time.sleep(60)


def test_a_dead_process_holds_no_lock(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    owner = context.Process(target=_hold, args=(str(store.root), held))
    owner.start()
    assert held.wait(60)
    owner.kill()
    owner.join()
    with store.lock("stage", KEY):
        store.write("stage", KEY, {"a": 1}, {})
    assert store.has("stage", KEY)


def test_a_provenance_that_fails_leaves_nothing(store: Store) -> None:
    def fails() -> dict[str, object]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write("stage", KEY, {"a": 1}, fails)
    assert not store.has("stage", KEY) and list((store.root / "stage").iterdir()) == []


def test_the_store_tells_backups_that_it_can_be_made_again(store: Store) -> None:
    store.write("stage", KEY, {"a": 1}, {})
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert repr(store) == f"Store({str(store.root)!r})"
