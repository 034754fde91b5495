"""The command line's frame: help, version, and every error one message with its exit code."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from neural_alignment import DataError, InputError, __version__
from pipelines import cli

COMMANDS = ["run", "status", "report", "doctor", "cache", "observatory"]


def test_version(nalign) -> None:
    result = nalign("--version")
    assert (result.code, result.out) == (0, f"neural-alignment {__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(nalign, command: str) -> None:
    assert command in nalign("--help").out
    result = nalign(command, "--help")
    assert result.code == 0 and "Usage: nalign" in result.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rum", "demo"], "No such command 'rum'"),
        (["run"], "Missing argument"),
        (["run", "demo", "--workers", "0"], "--workers"),
        (["run", "demo", "--worker", "2"], "No such option"),
        (["observatory", "list", "--format", "xml"], "'xml'"),
    ],
)
def test_wrong_usage_is_two(nalign, arguments: list[str], told: str) -> None:
    result = nalign(*arguments)
    assert result.code == 2 and told in result.err and "Traceback" not in result.err


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("pipelines.study.load_study", fail)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (InputError("Say something else."), 2, "Say something else."),
        (DataError("[bold]x[/] is broken: [a, b]"), 1, "[bold]x[/] is broken: [a, b]"),
        (KeyboardInterrupt(), 130, "Interrupted. What was finished is kept"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 1, "/a/b cannot be written: No space left"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), 1, "/a/b cannot be written: Read-only file system"),
        (OSError(errno.EFBIG, "File too large"), 1, "a file cannot be written: File too large"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_one_message(nalign, monkeypatch, error: BaseException, code: int, told: str) -> None:
    _raising(monkeypatch, error)
    result = nalign("run", "demo")
    assert result.code == code and told in result.message


@pytest.mark.parametrize("error", [RuntimeError("a [tag] in it"), OSError(errno.EIO, "Input/output error")])
def test_an_error_nobody_foresaw_goes_to_a_file(nalign, monkeypatch, tmp_path: Path, error: Exception) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _raising(monkeypatch, error)
    result = nalign("run", "demo")
    assert result.code == 1 and "An error inside neural-alignment" in result.message and str(error) in result.message
    (log,) = tmp_path.glob("nalign-*.log")
    assert str(log) in result.message
    assert "Traceback (most recent call last)" in log.read_text()


def test_a_reader_that_left_is_no_error_to_tell(monkeypatch, capsys) -> None:
    import io
    import sys

    _raising(monkeypatch, BrokenPipeError())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert cli.main(["run", "demo"]) == 1


def test_workers_override_the_study_and_change_nothing_else(tiny, nalign, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr("pipelines.run.run_study", lambda study, *rest: seen.append(study) or _stop())
    nalign("run", tiny.study, "--workers", 5, "--cache", tiny.store.root)
    (study,) = seen
    assert study.compute.workers == 5 and study.model_copy(update={"compute": None}) == tiny.loaded().model_copy(
        update={"compute": None}
    )


def _stop() -> None:
    raise InputError("enough")


@pytest.mark.parametrize("ok", [True, False])
def test_doctor_ends_by_what_is_missing(nalign, monkeypatch, tmp_path: Path, ok: bool) -> None:
    from pipelines.doctor import Check

    found = Check("store", ok, "found so", "" if ok else "Mend it.")
    monkeypatch.setattr("pipelines.doctor.checks", lambda **options: [found])
    result = nalign("doctor", "--cache", tmp_path)
    assert result.code == (0 if ok else 1)
    assert "found so" in result.out and ("Mend it." in result.out) is not ok
