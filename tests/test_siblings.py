"""A person's file under one of our packages' names: told in one sentence, never imported in our place unnoticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neural_alignment import check_siblings

ROOT = Path(__file__).resolve().parents[1]


def script(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script that lies in a folder, as a person does, with this checkout installed behind that folder."""
    (folder / "script.py").write_text(text, encoding="utf-8")
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    command = [sys.executable, folder / "script.py"]
    return subprocess.run(
        command, cwd=folder, env={**inherited, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("ours", "stranger"), [("pipelines", "cache.py"), ("pipelines", "reports/__init__.py"), ("reports", "alignment.py")]
)
def test_a_stranger_that_ours_would_import_is_named(tmp_path: Path, ours: str, stranger: str) -> None:
    file = tmp_path / stranger
    file.parent.mkdir(exist_ok=True)
    file.write_text("value = 1\n")
    done = script(tmp_path, f"import {ours}")
    last = done.stderr.strip().splitlines()[-1]
    name = stranger.removesuffix("/__init__.py").removesuffix(".py")
    assert done.returncode == 1
    assert last.startswith(
        f"ImportError: '{name}' is {file}, which hides neural-alignment's own package in {ROOT}: rename"
    )
    assert script(tmp_path, f"import {ours}; print({ours}.__file__)", PYTHONSAFEPATH="1").returncode == 0


def test_a_folder_of_a_person_s_own_results_hides_nothing(tmp_path: Path) -> None:
    for name in ("alignment", "cache", "pipelines", "reports"):
        (tmp_path / name).mkdir()
    done = script(tmp_path, "import pipelines.study, cache; print(cache.__file__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(ROOT / "cache" / "__init__.py")


def test_a_stranger_that_is_already_imported_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import cache; sys.path.pop(0); import pipelines"
    done = script(tmp_path, code)
    assert f"'cache' is {tmp_path / 'cache.py'}" in done.stderr


def test_what_is_not_there_at_all_is_named() -> None:
    with pytest.raises(ImportError, match=r"'zz_absent' is not in .*: install neural-alignment again"):
        check_siblings("zz_absent")
