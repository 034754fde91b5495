"""``nalign architectures``: what it says and writes, from the store the second time, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from alignment.models import list_models
from alignment.models.architecture import needleman_wunsch
from alignment.models.symbols import layer_symbols
from cache import Store
from pipelines.cli import main
from pipelines.config import ArchitecturesConfig, Study
from pipelines.plan import make_plan

VGG16, VGG19, VGG11 = "CCMCCMCCCMCCCMCCCMLLL", "CCMCCMCCCCMCCCCMCCCCMLLL", "CRMCRMCRCRMCRCRMCRCRMALRDLRDL"
LAST_ROW = [-42, -39, -39, -36, -33, -33, -30, -27, -27, -24, -24, -21, -18, -18, -15, -15, -14, -13, -13, -10]
LAST_ROW += [-10, -9, -9, -6, -6, -8, -7, -9, -11, -10]
FOUR = ("vgg16", "vgg19", "vgg11", "resnet18")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("architectures")


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """``call(*arguments)`` with the module's store; the code that the command line ends with."""
    monkeypatch.setenv("NALIGN_CACHE", str(folder / "store"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> int:
        out = [] if "--out" in arguments else ["--out", str(folder / "out")]
        return main(["architectures", *arguments, *out])

    return run


def _four(*more: str) -> list[str]:
    return [*(word for name in FOUR for word in ("--models", name)), *more]


def test_the_published_strings_scores_and_last_row_come_out_exactly() -> None:
    assert [layer_symbols(name) for name in ("vgg16", "vgg19", "vgg11")] == [VGG16, VGG19, VGG11]
    assert needleman_wunsch(VGG16, VGG19).score == 15
    found = needleman_wunsch(VGG16, VGG11)
    assert found.score == -10 and found.matrix[-1].tolist() == LAST_ROW


def test_a_comparison_is_told_and_written(call, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*_four("--pair", "vgg16", "vgg11", "--shortlist", "2")) == 0
    said = capsys.readouterr().out
    for words in ("4 networks", "Shortlist: 2", "score -10", "vgg16 – vgg19", "agrees", VGG11, "these over 4"):
        assert words in said
    tables = {path.stem: pd.read_csv(path) for path in (folder / "out" / "tables").glob("*.csv")}
    assert set(tables) == {
        *("score", "correlation", "normalised", "symbols", "shortlist", "blocks", "published", "options", "pair"),
    }
    score = tables["score"].set_index("model")
    assert score.loc["vgg16", "vgg19"] == 15 and score.loc["vgg11", "vgg16"] == -10
    assert tables["symbols"].set_index("model").loc["vgg19", "symbols"] == VGG19
    assert tables["shortlist"]["chosen"].sum() == 2
    assert len(tables["options"]) == 16 and list(tables["published"]["published"]) == [1.0, 0.96]
    assert int(tables["pair"]["equal"].sum()) == sum(a == b for a, b in needleman_wunsch(VGG16, VGG11).pairs)
    for name in ("map", "pair"):
        assert (folder / "out" / "figures" / f"architecture-{name}.svg").read_text().startswith("<?xml")
    record = json.loads((folder / "out" / "provenance.json").read_text())
    assert record["pair"] == ["vgg16", "vgg11"] and Store(folder / "store").has("architectures", record["key"])
    assert all((folder / "out" / name).is_file() for name in record["files"])


def test_the_second_call_reads_the_store_and_draws_nothing(call, folder: Path, monkeypatch, capsys) -> None:
    arguments = _four("--pair", "vgg16", "vgg11", "--shortlist", "2")
    assert call(*arguments) == 0
    first, written = capsys.readouterr().out, (folder / "out" / "figures" / "architecture-map.svg").stat().st_mtime_ns

    def never(*_: object, **__: object) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr("alignment.models.symbols.trace_layers", never)
    assert call(*arguments) == 0
    assert capsys.readouterr().out == first
    assert (folder / "out" / "figures" / "architecture-map.svg").stat().st_mtime_ns == written
    (folder / "out" / "figures" / "architecture-map.svg").unlink()
    assert call(*arguments) == 0 and (folder / "out" / "figures" / "architecture-map.svg").is_file()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--level", "detailed"], ("C3/1w6", 21)),
        (["--level", "types", "--activations", "none", "--no-dropout"], ("CCMCCMCCCMCCCMCCCMLLL", 21)),
        (["--activations", "all"], ("CRCRMCRCRMCRCRCRMCRCRCRMCRCRCRMLRLRL", None)),
        (["--collapse", "--activations", "none", "--no-dropout"], ("CMCMCMCMCML", 11)),
    ],
)
def test_options_reach_the_symbols(call, tmp_path: Path, options: list[str], expected) -> None:
    assert call(*_four(*options, "--out", str(tmp_path))) == 0
    symbols = pd.read_csv(tmp_path / "tables" / "symbols.csv").set_index("model").loc["vgg16"]
    words, length = expected
    written = symbols["symbols"].replace("D", "") if "all" in options else symbols["symbols"]
    assert written.startswith(words) and (length is None or symbols["length"] == length)


def test_scores_can_be_set(call, tmp_path: Path) -> None:
    assert call(*_four("--match", "3", "--mismatch", "-1", "--gap", "-4", "--out", str(tmp_path))) == 0
    score = pd.read_csv(tmp_path / "tables" / "score.csv").set_index("model")
    assert score.loc["vgg16", "vgg19"] == needleman_wunsch(VGG16, VGG19, 3, -1, -4).score


def test_the_zoo_is_listed(call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--list") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in list_models()) and "timm:resnet50" in said and "CORnet-S" in said


OWN = """
import torch
from torch import nn

def straight(num_classes=10):
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head)

class Looks(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
    def forward(self, image):
        found = self.first(image)
        return self.second(found) if float(found.mean()) < 1e9 else found

def looks():
    return Looks()

def silent():
    return nn.Identity()

def broken():
    return nn.Linear(7, 3)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_networks_here.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_own_networks_that_look_at_values_run_on_the_cpu_and_it_is_said(call, own: Path, capsys) -> None:
    names = ["--models", "own_networks_here:straight", "--models", "own_networks_here:looks", "--models", "vgg11"]
    for _ in range(2):  # said again when it comes from the store
        assert call(*names, "--out", str(own / "out")) == 0
        said = capsys.readouterr()
        assert "own_networks_here:looks does not run on the meta device" in said.out and not said.err
    symbols = pd.read_csv(own / "out" / "tables" / "symbols.csv").set_index("model")["symbols"]
    assert symbols["own_networks_here:straight"] == "CRAL" and symbols["own_networks_here:looks"] == "CC"


def test_an_edited_network_is_traced_again(call, own: Path, monkeypatch) -> None:
    import sys

    names = ["--models", "own_networks_here:straight", "--models", "vgg11", "--out", str(own / "out")]
    assert call(*names) == 0
    before = json.loads((own / "out" / "provenance.json").read_text())["key"]
    (own / "own_networks_here.py").write_text(OWN.replace("nn.ReLU(),", "nn.ReLU(), nn.MaxPool2d(2),"))
    monkeypatch.delitem(sys.modules, "own_networks_here")
    assert call(*names) == 0
    assert json.loads((own / "out" / "provenance.json").read_text())["key"] != before
    assert "CRMAL" in (own / "out" / "tables" / "symbols.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--models", "resnet81", "--models", "vgg11"], 2, "Did you mean 'resnet18'"),
        (["--models", "vgg16"], 2, "two or more"),
        (["--models", "vgg16", "--models", "VGG16"], 2, "two or more"),
        (["--models", "vgg16", "--all"], 2, "cannot go together"),
        (["--pair", "vgg16"], 2, "requires 2 arguments"),
        (["--pair", "vgg16", "vgg17"], 2, "Did you mean"),
        (["--level", "paper"], 2, "Did you mean 'papers'"),
        (["--activations", "al"], 2, "'all'"),
        (["--gap", "1"], 2, "gap"),
        (_four("--shortlist", "5"), 2, "between 1 and 4"),
        (["--models", "not_a_module_here:net", "--models", "vgg11"], 2, "Python can import"),
        (["--models", "own_networks_here:absent", "--models", "vgg11"], 2, "absent"),
        (["--models", "own_networks_here:silent", "--models", "vgg11"], 2, "has no sequence"),
        (["--models", "own_networks_here:broken", "--models", "vgg11"], 1, "cannot be run on images"),
    ],
)
def test_what_is_refused_is_told_in_one_message(call, own: Path, capsys, arguments, code: int, words: str) -> None:
    if arguments == ["--pair", "vgg16"]:
        assert main(["architectures", *arguments]) == code
    else:
        assert call(*arguments) == code
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and "inside neural-alignment" not in said


def test_networks_that_do_not_differ_have_scores_and_no_map(call, tmp_path: Path, capsys) -> None:
    arguments = ["--models", "resnet50", "--models", "wide-resnet", "--out", str(tmp_path)]
    assert call(*arguments) == 0
    assert "cannot be correlated" in capsys.readouterr().out
    assert (tmp_path / "tables" / "score.csv").is_file() and not (
        tmp_path / "figures" / "architecture-map.svg"
    ).exists()


def test_an_output_path_that_is_a_file_is_told(call, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert call(*_four("--out", str(tmp_path / "file"))) == 1
    assert "is a file" in capsys.readouterr().err


def _study(architectures: object) -> dict[str, object]:
    return {
        "name": "tiny",
        "title": "Tiny",
        "models": [{"name": "small_cnn", "image_size": 16}, {"name": "resnet18", "label": "r18", "image_size": 32}],
        "transfer": {"sources": ["digits"], "targets": ["digits"], "seeds": [0], "epochs": 1},
        "architectures": architectures,
    }


def test_a_study_compares_its_networks_as_it_uses_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = make_plan(Study.model_validate(_study({})), store)
    (task,) = [task for task in plan.tasks if task.stage == "architectures"]
    assert [(model["label"], model["image_size"]) for model in task.params["models"]] == [
        ("small_cnn", 16),
        ("r18", 32),
    ]
    assert plan.report is not None and plan.report.inputs["architectures"] is task
    papers = make_plan(Study.model_validate(_study({"models": "papers", "level": "types"})), store)
    (task,) = [task for task in papers.tasks if task.stage == "architectures"]
    assert len(task.params["models"]) == 44 and task.params["level"] == "types"
    without = make_plan(Study.model_validate(_study(None)), store)
    assert "architectures" not in {task.stage for task in without.tasks}


@pytest.mark.parametrize("wrong", [{"models": ["vgg11"]}, {"models": ["vgg11", "vgg11"]}, {"level": "x"}, {"gap": 1}])
def test_a_study_refuses_what_cannot_be_compared(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Study.model_validate(_study(wrong))
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ArchitecturesConfig.model_validate(wrong)
    alone = {**_study({}), "models": [{"name": "small_cnn"}]}
    with pytest.raises(ValueError, match="this study has one"):
        Study.model_validate(alone)
