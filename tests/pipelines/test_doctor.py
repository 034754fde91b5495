"""``nalign doctor``: each thing that can be missing is told with its remedy, and hides nothing else."""

from __future__ import annotations

import builtins
import importlib.metadata
import importlib.util
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipelines import doctor
from pipelines.doctor import Check

NAMES = ["Python", "our files", "packages", "torch", "torchvision", "AllenSDK", "PDF", "store", "Allen API"]
DEAD = "http://127.0.0.1:9"  # the discard port: nobody listens


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, int]]]:
    answer = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(b'{"success": true, "msg": []}')

        def log_message(self, *arguments: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}", answer
    listening.shutdown()
    listening.server_close()


def test_here_all_is_well_even_offline(tmp_path: Path) -> None:
    found = doctor.checks(store=tmp_path / "store", uri=DEAD)
    assert [check.name for check in found] == NAMES
    assert {check.name: check.found for check in found if not check.ok} == {}
    assert all(check.remedy == "" for check in found)
    assert not (tmp_path / "store").exists()  # looking makes nothing


def test_what_breaks_unforeseen_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode() -> Check:
        raise RuntimeError("bad luck")

    monkeypatch.setattr(doctor, "_torchvision", explode)
    found = {check.name: check for check in doctor.checks(store=tmp_path, uri=DEAD)}
    assert list(found) == NAMES
    assert not found["torchvision"].ok and "bad luck" in found["torchvision"].found
    assert found["torchvision"].remedy and found["store"].ok


def test_an_older_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    check = doctor._python()
    assert not check.ok and "Python 3.11 or newer" in check.remedy


def test_missing_and_unfit_packages_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "timm":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "rich" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    check = doctor._packages()
    assert not check.ok
    assert "needs timm>=1.0.9, it is missing" in check.found
    assert "needs rich>=13.7, 1.0 is installed" in check.found
    assert "numpy" not in check.found and {"'rich>=13.7'", "'timm>=1.0.9'"} <= set(check.remedy.split())


def test_a_stranger_under_one_of_our_names_is_told_with_its_place(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "cache.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cache")
    check = doctor._our_files()
    assert not check.ok and f"cache is {tmp_path / 'cache.py'}, not in" in check.found
    assert "Rename" in check.remedy


def test_torchvision_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from alignment.models import _libraries

    monkeypatch.setattr(_libraries, "torchvision_state", lambda: "torchvision is not installed: pip install")
    check = doctor._torchvision()
    assert not check.ok and check.remedy


@pytest.mark.oracle
def test_an_allensdk_that_does_not_import_is_told_with_the_reason(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "ALLENSDK", "allensdk.no_such_module")
    found = {check.name: check for check in doctor.checks(store=tmp_path, uri=DEAD)}
    assert not found["AllenSDK"].ok and found["AllenSDK"].remedy
    assert "No module named 'allensdk.no_such_module'" in found["AllenSDK"].found


def test_allensdk_is_not_needed_and_its_licence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check = doctor._allensdk()
    assert check.ok and check.remedy == ""
    assert "not installed and not needed" in check.found
    assert "2-clause BSD plus a clause that prohibits redistribution for commercial purposes" in check.found


@pytest.mark.parametrize(
    ("system", "remedy"),
    [("Linux", "apt install libpango"), ("Darwin", "brew install pango"), ("Windows", "MSYS2")],
)
def test_missing_pango_has_the_remedy_of_the_system(monkeypatch, system: str, remedy: str) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object, **options: object) -> object:
        if name == "weasyprint":
            raise OSError("cannot load library 'libpango-1.0-0'\nand many more lines")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(doctor.platform, "system", lambda: system)
    check = doctor._pdf()
    assert not check.ok and remedy in check.remedy
    assert "libpango" in check.found and "many more" not in check.found


def test_a_pdf_without_fonts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    weasyprint = pytest.importorskip("weasyprint")
    monkeypatch.setattr(weasyprint.HTML, "write_pdf", lambda self, **options: b"%PDF-1.7 nothing")
    check = doctor._pdf()
    assert not check.ok and "font" in check.found


def test_a_store_that_is_a_file_or_cannot_be_written_is_told(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    check = doctor._store(tmp_path / "file")
    assert not check.ok and "is a file" in check.found and "NALIGN_CACHE" in check.remedy

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refuse)
    check = doctor._store(tmp_path / "store")
    assert not check.ok and "Permission denied" in check.found and "--cache" in check.remedy


def test_a_nearly_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**8))
    check = doctor._store(tmp_path)
    assert not check.ok and "0.1 GB free" in check.found and "Free at least 2 GB" in check.remedy


def test_the_api_is_reported_but_never_a_failure(server: tuple[str, dict[str, int]]) -> None:
    uri, answer = server
    assert "answers in" in doctor._api(uri).found
    answer["status"] = 503
    refused = doctor._api(uri + "/")
    assert refused.ok and "status 503" in refused.found
    away = doctor._api(DEAD)
    assert away.ok and "not reachable" in away.found and "need no network" in away.found


def test_the_api_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(doctor, "_api", lambda uri: tried.append(uri) or Check("Allen API", True, uri))
    monkeypatch.setenv("NALIGN_ALLEN_URI", DEAD)
    doctor.checks(store=tmp_path)
    doctor.checks(store=tmp_path, uri="http://127.0.0.1:8")
    assert tried == [DEAD, "http://127.0.0.1:8"]
