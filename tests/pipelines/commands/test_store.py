"""``nalign cache``: what is there, whether it is whole, and making room."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.commands.store import _bytes, _duration, age_text, size_text


def test_path_is_the_option_or_the_environment(nalign, tmp_path: Path) -> None:
    assert nalign("cache", "path", "--cache", tmp_path / "a").out == f"{tmp_path / 'a'}\n"
    assert nalign("cache", "path", env={"NALIGN_CACHE": str(tmp_path / "b")}).out == f"{tmp_path / 'b'}\n"
    assert not (tmp_path / "a").exists()


def test_list_names_every_result(tiny, nalign) -> None:
    result = nalign("cache", "list", "--cache", tiny.store.root)
    assert result.code == 0 and f"{tiny.tasks} results, " in result.out
    for entry in tiny.store.list():
        assert f"{entry.key[:16]}" in result.out
    assert "small_cnn neurn on digits seed 0" in result.out


def test_list_of_one_stage(tiny, nalign) -> None:
    result = nalign("cache", "list", "--stage", "train", "--cache", tiny.store.root)
    assert "2 results, " in result.out and "evaluate" not in result.out


def test_an_empty_store_is_no_error(nalign, tmp_path: Path) -> None:
    for command, told in (("list", "0 results, 0 B"), ("verify", "0 results read, 0 damaged"), ("prune", "0 removed")):
        result = nalign("cache", command, "--cache", tmp_path / "store")
        assert result.code == 0 and told in result.out
    assert not (tmp_path / "store").exists()


def test_a_store_that_is_a_file_is_told(nalign, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in ("path", "list", "verify", "prune"):
        result = nalign("cache", command, "--cache", tmp_path / "file")
        assert result.code == 2 and "is a file" in result.message and "--cache" in result.message


def test_damage_is_found_and_removed_and_made_again(tiny_copy, nalign, light_report) -> None:
    store = tiny_copy.store
    entry = store.list("evaluate")[0]
    file = next(path for path in sorted(entry.path.rglob("*")) if path.is_file() and path.name != "provenance.json")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    found = nalign("cache", "verify", "--cache", store.root)
    assert found.code == 1
    assert f"evaluate/{entry.key}: " in found.out and f"{tiny_copy.tasks} results read, 1 damaged" in found.out
    assert "nalign cache prune --damaged" in found.out
    removed = nalign("cache", "prune", "--damaged", "--cache", store.root)
    assert removed.code == 0 and entry.key[:16] in removed.out and "1 removed" in removed.out
    assert nalign("cache", "verify", "--cache", store.root).code == 0
    store.prune(stage="report")
    again = nalign("run", tiny_copy.study, "--cache", store.root, "--out", tiny_copy.out)
    assert again.code == 0 and "tiny: 2 computed" in again.out


def test_verify_one_stage(tiny, nalign) -> None:
    result = nalign("cache", "verify", "--stage", "train", "--cache", tiny.store.root)
    assert (result.code, result.out) == (0, "2 results read, 0 damaged\n")


def test_prune_without_a_reason_removes_no_result(tiny_copy, nalign) -> None:
    assert "0 removed, 0 B" in nalign("cache", "prune", "--cache", tiny_copy.store.root).out
    assert len(tiny_copy.store.list()) == tiny_copy.tasks


def test_prune_says_what_would_go_first(tiny_copy, nalign) -> None:
    before = len(tiny_copy.store.list())
    said = nalign("cache", "prune", "--stage", "train", "--dry-run", "--cache", tiny_copy.store.root)
    assert "2 would be removed" in said.out and len(tiny_copy.store.list("train")) == 2
    done = nalign("cache", "prune", "--stage", "train", "--cache", tiny_copy.store.root)
    assert "2 removed" in done.out and tiny_copy.store.list("train") == []
    assert len(tiny_copy.store.list()) == before - 2


def test_prune_to_a_size_and_by_age(tiny_copy, nalign) -> None:
    store = tiny_copy.store
    assert "0 removed" in nalign("cache", "prune", "--older-than", "1h", "--cache", store.root).out
    nalign("cache", "prune", "--to-size", "100kB", "--cache", store.root)
    assert sum(entry.size for entry in store.list()) <= 100_000
    nalign("cache", "prune", "--older-than", "0h", "--cache", store.root)
    assert store.list() == []


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        (
            "--older-than",
            "soon",
            "--older-than must be a whole number and h, d or w, such as 12h, 30d or 8w. Got 'soon'",
        ),
        ("--older-than", "3", "Got '3'"),
        ("--older-than", "-3d", "Got '-3d'"),
        ("--to-size", "20", "--to-size must be a number and B, kB, MB, GB or TB, such as 20GB. Got '20'"),
        ("--to-size", "lots", "Got 'lots'"),
    ],
)
def test_a_wrong_limit_is_told_and_removes_nothing(tiny, nalign, option: str, value: str, told: str) -> None:
    result = nalign("cache", "prune", f"{option}={value}", "--cache", tiny.store.root)
    assert result.code == 2 and told in result.message
    assert len(tiny.store.list()) == tiny.tasks


def test_a_wrong_stage_is_told(tiny, nalign) -> None:
    result = nalign("cache", "prune", "--stage", "../..", "--cache", tiny.store.root)
    assert result.code == 2 and "'../..'" in result.message


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12 kB"), (9_990_000, "10.0 MB"),
     (3e9, "3.0 GB"), (5e12, "5.0 TB")],
)  # fmt: skip
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (259200, "3 d")])
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("30d", 720), (" 8 w ", 1344)])
def test_durations(text: str, hours: int) -> None:
    assert _duration(text).total_seconds() == hours * 3600


@pytest.mark.parametrize(("text", "size"), [("7B", 7), ("1.5kB", 1500), ("20GB", 20 * 10**9), ("2 TB", 2 * 10**12)])
def test_limits_of_size(text: str, size: int) -> None:
    assert _bytes(text) == size
