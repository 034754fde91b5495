"""The wheel and the source distribution, each installed into an environment of its own, outside of the repository.

The environment borrows the packages of the one that runs the tests, so that no network is needed. With
``NALIGN_DIST_LOCK=requirements.txt`` it stays empty and that lock is installed into it, as ``.ci/run`` does.
"""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.dist

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("alignment", "cache", "pipelines", "reports")
STUDY = {
    "name": "tiny",
    "title": "One network of a person's own, from pixels to digits",
    "models": [{"name": "net:make", "label": "net", "image_size": 32, "weights": "trained"}],
    "layer_variants": ["baseline", "neurn"],
    "transfer": {"sources": ["digits"], "targets": ["digits"], "seeds": [0], "epochs": 1, "batch_size": 256},
    "compute": {"workers": 1},
}
NET = '''"""A person's own network, which writes down where the packages around it came from."""
import json
import os
import sys

import torch


def make(num_classes: int) -> torch.nn.Module:
    import alignment, cache, neural_alignment, pipelines, reports

    found = {module.__name__: module.__file__ for module in (alignment, cache, neural_alignment, pipelines, reports)}
    with open(os.environ["SEEN"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"pid": os.getpid(), "path": sys.path, **found}) + "\\n")
    hidden = (torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 8), torch.nn.ReLU())
    return torch.nn.Sequential(*hidden, torch.nn.Linear(8, num_classes))
'''


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command to its end and return what it printed; this process's Python path and store are not passed on."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("NALIGN_", "PYTHON"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both distributions; the wheel is built from the source distribution, which so holds what a wheel needs."""
    pytest.importorskip("build", reason="'build' (requirements-dev.txt) makes the distributions")
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz"))}


@pytest.fixture(scope="session", params=["wheel", "sdist"])
def installed(request: pytest.FixtureRequest, built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds one of the distributions and what it needs."""
    folder = tmp_path_factory.mktemp(request.param) / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps")
    lock = os.environ.get("NALIGN_DIST_LOCK")
    if lock:
        torch = [line for line in (ROOT / lock).read_text("utf-8").splitlines() if re.match("torch(vision)?==", line)]
        everything = tuple(part for part in pip if part != "--no-deps")
        run(*everything, *torch, "--constraint", ROOT / lock, cwd=folder)  # with what its build for this machine brings
        run(*pip, "-r", ROOT / lock, cwd=folder)
    run(*pip, "--no-build-isolation", built[request.param], cwd=folder, PYTHONPATH=sysconfig.get_path("purelib"))
    if not lock:
        (_site(folder) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def _site(environment: Path) -> Path:
    return next((environment / "lib").glob("python3*")) / "site-packages"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A person's folder: a study, a network beside it, and folders that are called as our packages are."""
    folder = tmp_path / "workplace"
    for name in ("cache", "reports", "pipelines"):
        (folder / name).mkdir(parents=True)
    (folder / "reports" / "__init__.py").write_text("raise SystemExit('a person\\'s own reports')\n", encoding="utf-8")
    (folder / "alignment.py").write_text("raise SystemExit('a person\\'s own alignment')\n", encoding="utf-8")
    (folder / "net.py").write_text(NET, encoding="utf-8")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    return folder


def test_both_hold_everything(built: dict[str, Path]) -> None:
    tracked = run("git", "ls-files", cwd=ROOT).split() if (ROOT / ".git").exists() else []
    with zipfile.ZipFile(built["wheel"]) as wheel:
        inside = set(wheel.namelist())
    code = [path for path in tracked if path.startswith(PACKAGES) or path.startswith("studies/")]
    assert {*code, "neural_alignment.py"} <= inside
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside
    tops = {path.split("/")[0] for path in inside if ".dist-info" not in path}
    assert tops == {*PACKAGES, "studies", "neural_alignment.py"}
    with tarfile.open(built["sdist"]) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    left_out = (".gitignore", "runs/")
    assert {path for path in tracked if not path.startswith(left_out)} <= held
    assert not [path for path in held | inside if "__pycache__" in path]


def test_the_metadata_reads_well_anywhere(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(name))
    description = metadata.get_payload(decode=True).decode("utf-8")
    assert description.startswith("# neural-alignment") and len(description) > 3000
    targets = re.findall(r"\]\(([^)]*)\)", description)
    assert [target for target in targets if not target.startswith("https://")] == []
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert {"allensdk", "cluster", "dev", "report"} <= set(metadata.get_all("Provides-Extra"))
    plain = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]
    assert [text for text in plain if "<" in text or "==" in text] == []  # what holds a resolution back has a reason
    assert not [text for text in plain if text.startswith("allensdk")]


def test_a_study_runs_on_a_worker_from_a_folder_with_our_names(installed: Path, workplace: Path) -> None:
    seen, store = workplace / "seen.json", workplace / "cache"
    said = run(installed / "nalign", "run", "study.yaml", cwd=workplace, NALIGN_CACHE=str(store), SEEN=str(seen))
    assert "tiny:" in said and (workplace / "runs" / "tiny" / "report.html").is_file()
    lines = [json.loads(line) for line in seen.read_text(encoding="utf-8").splitlines()]
    assert len({line["pid"] for line in lines}) >= 1
    for line in lines:
        for name in (*PACKAGES, "neural_alignment"):
            assert Path(line[name]).is_relative_to(_site(installed.parent)), line[name]
        assert line["path"][-1] == str(workplace)


def test_shipped_studies_are_found_and_the_doctor_is_content(installed: Path, workplace: Path) -> None:
    store = str(workplace / "cache")
    assert "to compute" in run(installed / "nalign", "run", "demo", "--dry-run", cwd=workplace, NALIGN_CACHE=store)
    said = run(installed / "nalign", "doctor", "--uri", "http://127.0.0.1:9", cwd=workplace, NALIGN_CACHE=store)
    assert "missing" not in said.replace("\n", " ")
