"""A study so small that it runs in seconds, the command line in this process, and a disk that can be full."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import resource
import shutil
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from cache import Store
from pipelines.cli import main
from pipelines.config import Study
from pipelines.graph import STAGES, Stage, Task
from pipelines.plan import make_plan
from pipelines.study import load_study

FIRST, SECOND = 501498760, 501498761  # the experiments of the tiny observatory


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What stands on stderr, checked: one message, no traceback."""
        assert "Traceback (most" not in self.err and 'File "' not in self.err
        assert self.err.count("error:") == 1, self.err
        return self.err


@dataclass(frozen=True)
class Tiny:
    """A study that has run."""

    study: Path
    store: Store
    out: Path
    first: Result

    @property
    def run(self) -> Path:
        return self.out / "tiny"

    def loaded(self) -> Study:
        return load_study(self.study)

    @property
    def tasks(self) -> int:
        """How many results the study needs: a stage more must not change every test."""
        return len(make_plan(self.loaded(), self.store).tasks)


def _call(*arguments: object, env: Mapping[str, str] | None = None, columns: int = 200) -> Result:
    out, err = io.StringIO(), io.StringIO()
    outside = {name: value for name, value in os.environ.items() if not name.startswith("NALIGN_")}
    outside |= {"COLUMNS": str(columns), "OMP_NUM_THREADS": "1", **(env or {})}
    with (
        mock.patch.dict(os.environ, outside, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def _small_file() -> Any:
    """The writer of small NWB files that the tests of ``alignment.brain`` use."""
    path = Path(__file__).resolve().parents[1] / "alignment" / "brain" / "conftest.py"
    spec = importlib.util.spec_from_file_location("small_nwb_files", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both else value
    return {name: value for name, value in merged.items() if value is not ...}


@pytest.fixture(scope="session")
def nalign() -> Callable[..., Result]:
    """``nalign(*arguments, env=...)`` in this process, without any NALIGN_* variable from outside."""
    return _call


@pytest.fixture(scope="session")
def write_observatory() -> Callable[..., Path]:
    """``write_observatory(folder, catalogue=False)``: two sessions; a cell of the first has no values, one of the
    second is constant."""
    writer = _small_file()

    def write(folder: Path, *, catalogue: bool = False) -> Path:
        sst = "Sst-IRES-Cre/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt"
        first = writer.SmallFile(FIRST, cells=5, scenes=6, trials=4, seed=0)
        second = writer.SmallFile(SECOND, cells=5, scenes=6, trials=4, seed=1, genotype=sst, area="VISl")
        first.dff[0] = float("nan")
        second.dff[1] = 0.5
        containers = []
        for small in (first, second):
            small.write(folder / "ophys_experiment_data" / f"{small.experiment_id}.nwb")
            containers.append(
                writer.container(
                    small.experiment_id + 1000, {small.experiment_id: "three_session_B"}, genotype=small.genotype,
                    area=small.area, depth_um=small.depth_um,
                )
            )  # fmt: skip
        if catalogue:
            (folder / "experiment_containers.json").write_text(json.dumps(containers))
        return folder

    return write


@pytest.fixture(scope="session")
def observatory(tmp_path_factory: pytest.TempPathFactory, write_observatory: Callable[..., Path]) -> Path:
    """The tiny observatory, written once; read it, do not change it."""
    return write_observatory(tmp_path_factory.mktemp("pipelines") / "observatory")


@pytest.fixture(scope="session")
def study_values(observatory: Path) -> dict[str, Any]:
    """The tiny study: both halves of the pipeline, every stage but the simulation."""
    return {
        "name": "tiny",
        "title": "A network as small as can be",
        "observatory": {"source": "folder", "folder": str(observatory)},
        "representations": {"kinds": ["weighted"], "grid": [8, 8]},
        "models": [{"name": "small_cnn", "image_size": 16, "weights": "trained"}],
        "similarity": {"group_by": ["area", "neuron_class"], "bootstraps": 100, "permutations": 99},
        "controls": {"shuffled_scenes": 0},
        "transfer": {
            "sources": ["digits"],
            "targets": ["digits", "digits_inverted"],
            "seeds": [0],
            "epochs": 1,
            "train_limit": 100,
            "test_limit": 50,
        },
        "compute": {"cluster": "inline"},
    }


@pytest.fixture(scope="session")
def write_study(study_values: dict[str, Any]) -> Callable[..., Path]:
    """``write_study(folder, **changes)``: the tiny study with changes merged in (``...`` removes a key)."""

    def write(folder: Path, **changes: Any) -> Path:
        path = folder / "study.yaml"
        path.write_text(yaml.safe_dump(_merge(study_values, changes)), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def only_transfer() -> dict[str, Any]:
    """Changes that leave of the tiny study the half without a brain."""
    return {"observatory": ..., "representations": ..., "similarity": ..., "controls": ...}


@pytest.fixture(scope="session")
def only_brain() -> dict[str, Any]:
    """Changes that leave of the tiny study a fresh network beside the brain, no training, no pair."""
    models = [{"name": "small_cnn", "image_size": 16}]
    return {"transfer": ..., "models": models, "layer_variants": ["baseline"]}


@pytest.fixture(scope="session")
def tiny(
    tmp_path_factory: pytest.TempPathFactory, nalign: Callable[..., Result], write_study: Callable[..., Path]
) -> Tiny:
    """The tiny study, run once with its real report; read the store and the run folder, do not change them."""
    folder = tmp_path_factory.mktemp("tiny")
    study = write_study(folder)
    result = nalign("run", study, "--cache", folder / "store", "--out", folder / "runs")
    assert result.code == 0, result.err
    return Tiny(study, Store(folder / "store"), folder / "runs", result)


@pytest.fixture
def tiny_copy(tiny: Tiny, tmp_path: Path) -> Tiny:
    """The tiny study's own copy of store and run folder, to damage."""
    shutil.copytree(tiny.store.root, tmp_path / "store")
    shutil.copytree(tiny.out, tmp_path / "runs")
    return Tiny(tiny.study, Store(tmp_path / "store"), tmp_path / "runs", tiny.first)


@pytest.fixture
def light_report(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the pages, which take seconds, by two lines; returns what the pages were asked to show."""
    import reports

    shown: list[Any] = []

    def write_report(data: Any, folder: Path, *, pdf: bool = True) -> None:
        shown.append(data)
        for name in ("report.html", "report.pdf"):
            (folder / name).write_text(data.title)

    monkeypatch.setattr(reports, "write_report", write_report)
    return shown


@pytest.fixture
def small_disk() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """``with small_disk(4096)``: no file of this process may grow beyond that many bytes."""

    @contextlib.contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    """``toy(name, function=..., inputs=..., result=...)``: a task of a stage made for the test.

    Without a function it returns its label and what it read.
    """
    module = types.ModuleType("toy_stages")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def tell(inputs: Any, params: Any, context: Any) -> Any:
        return {"name": params["name"], "read": [inputs[name] for name in inputs.names()]}

    def make(
        name: str,
        function: Callable[..., Any] = tell,
        inputs: Mapping[str, Task] | None = None,
        result: Any = "value",
        **params: Any,
    ) -> Task:
        setattr(module, name, function)
        monkeypatch.setitem(STAGES, f"toy_{name}", Stage(f"toy_{name}", 1, f"toy_stages:{name}", name, result))
        return Task(f"toy_{name}", {"name": name, **params}, inputs or {}, label=name)

    return make
