"""The scripts of ``examples/`` on a small simulated study, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STUDY = {
    "name": "small",
    "title": "One small network beside few simulated cells",
    "observatory": {"source": "simulated", "sessions": 24, "cells": 3, "trials": 4},
    "representations": {"kinds": ["weighted"], "grid": [16, 16]},
    "models": [{"name": "small_cnn", "image_size": 32}],
    "layer_variants": ["baseline", "neurn"],
    "similarity": {"group_by": ["genotype"], "bootstraps": 100, "permutations": 99},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, nalign: Callable[..., Any]) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    result = nalign("run", folder / "study.yaml", "--cache", folder / "store", "--out", folder / "runs")
    assert result.code == 0, result.err
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "said", "picture"),
    [
        ("compare_genotypes", ("Sst-1", "class:excitatory"), "SIMULATED neurons", "example_Sst-1_class-excitatory"),
        ("compare_genotypes", (), "rmse_nearest", "example_Sst-1_Vip-1"),
        ("inhibition_by_area", (), "VISam: No cell is area:VISam and class:inhibitory", "example_inhibition_by_area"),
        ("neurn_gain_by_genotype", (), "Fezf2-1", "example_neurn_gain_by_genotype"),
    ],
)
def test_a_script_prints_and_draws(place: Path, script: str, arguments: tuple, said: str, picture: str) -> None:
    run = place / "runs" / "small"
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{script}.py", run, *arguments],
        env={**os.environ, "NALIGN_CACHE": str(place / "store"), "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert (run / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_the_scripts_are_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in ("compare_genotypes", "inhibition_by_area", "neurn_gain_by_genotype"):
        assert (EXAMPLES / f"{name}.py").is_file()
        assert f"`{name}.py " in listed
