"""A whole run: once and again, what stops it and how it goes on, and the run folder."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest

from cache import Store
from pipelines import files
from pipelines import run as runs
from pipelines.plan import make_plan
from pipelines.study import load_study

FIRST, SECOND = 501498760, 501498761
PIPELINE = "processing/brain_observatory_pipeline"


def unfinished(root: Path) -> list[Path]:
    return [path for path in root.rglob(".tmp-*") if path.is_dir()]


class Place:
    """A store and a run folder of a test's own."""

    def __init__(self, folder: Path, nalign: Callable[..., Any]) -> None:
        self.folder, self.nalign, self.store = folder, nalign, Store(folder / "store")
        self.run_folder = folder / "runs" / "tiny"

    def run(self, study: Path, *more: object) -> Any:
        return self.nalign("run", study, "--cache", self.store.root, "--out", self.folder / "runs", *more)

    def kept(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for entry in self.store.list():
            counts[entry.stage] = counts.get(entry.stage, 0) + 1
        return counts

    def check_whole(self) -> None:
        assert unfinished(self.store.root) == []
        assert self.store.verify().problems == []


@pytest.fixture
def place(tmp_path: Path, nalign: Callable[..., Any]) -> Place:
    return Place(tmp_path, nalign)


# -- once, and again ------------------------------------------------------------------------------------------------


def test_the_run_folder_holds_what_is_promised(tiny) -> None:
    assert (tiny.run / "report.pdf").read_bytes().startswith(b"%PDF")
    page = (tiny.run / "report.html").read_text()
    assert "A network as small as can be" in page
    for table in ("similarity", "transfer", "cells", "sessions"):
        assert len(pd.read_csv(tiny.run / "tables" / f"{table}.csv")) > 0
    assert list((tiny.run / "figures").glob("*.svg"))
    assert load_study(tiny.run / "study.yaml") == tiny.loaded()
    told = json.loads((tiny.run / "provenance.json").read_text())
    assert len(told["tasks"]) == tiny.tasks and told["study"] == "tiny"
    assert {task["stage"] for task in told["tasks"]} >= {"responses", "train", "report"}
    assert not [path for path in tiny.run.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.browser
def test_no_table_of_a_report_hides_a_column(tiny, measure_tables) -> None:
    found = measure_tables((tiny.run / "report.html").read_text(encoding="utf-8"), (1280, 1440))
    for measured in found.values():
        assert len(measured["tables"]) >= 8
        assert not [table for table in measured["tables"] if table[1] > 0 or table[2] > 0]


def test_dropped_cells_are_told_in_the_report(tiny) -> None:
    sessions = pd.read_csv(tiny.run / "tables" / "sessions.csv").set_index("experiment_id")
    assert sessions.loc[FIRST, ["cells", "dropped_nan", "dropped_constant"]].tolist() == [4, 1, 0]
    assert sessions.loc[SECOND, ["cells", "dropped_nan", "dropped_constant"]].tolist() == [4, 0, 1]
    page = (tiny.run / "report.html").read_text()
    assert "left out because the trace holds no numbers" in page
    assert "left out because the trace is flat" in page
    assert len(pd.read_csv(tiny.run / "tables" / "cells.csv")) == 8


def test_the_second_run_computes_nothing(tiny, nalign, monkeypatch) -> None:
    assert f"tiny: {tiny.tasks} computed, 0 kept from before" in tiny.first.out
    plan = make_plan(tiny.loaded(), tiny.store)
    before = {task.key: tiny.store.provenance(task.stage, task.key) for task in plan.tasks}
    assert all(tiny.store.has(task.stage, task.key) for task in plan.tasks)
    monkeypatch.setattr("pipelines.execution.perform", None)  # whoever computes fails
    again = nalign("run", tiny.study, "--cache", tiny.store.root, "--out", tiny.out)
    assert again.code == 0 and f"tiny: 0 computed, {tiny.tasks} kept from before" in again.out
    assert {task.key: tiny.store.provenance(task.stage, task.key) for task in plan.tasks} == before


def test_a_pruned_intermediate_is_not_computed_again(tiny_copy, nalign) -> None:
    removed = tiny_copy.store.prune(stage="responses") + tiny_copy.store.prune(stage="train")
    assert len(removed) == 4
    again = nalign("run", tiny_copy.study, "--cache", tiny_copy.store.root, "--out", tiny_copy.out)
    assert again.code == 0 and "tiny: 0 computed" in again.out
    assert tiny_copy.store.list("train") == []


def test_only_what_a_missing_result_needs_is_computed(tiny_copy, nalign, light_report) -> None:
    for stage in ("similarity", "paired", "report", "domain", "train"):
        tiny_copy.store.prune(stage=stage)
    result = nalign("run", tiny_copy.study, "--cache", tiny_copy.store.root, "--out", tiny_copy.out)
    # Evaluations and activations are there, so that no network is trained again; the page shows the targets' images.
    assert result.code == 0 and f"tiny: 8 computed, {tiny_copy.tasks - 8} kept" in result.out
    assert tiny_copy.store.list("train") == [] and len(tiny_copy.store.list("domain")) == 2


def test_a_run_folder_that_was_removed_is_laid_out_again(tiny_copy, nalign) -> None:
    shutil.rmtree(tiny_copy.run)
    result = nalign("run", tiny_copy.study, "--cache", tiny_copy.store.root, "--out", tiny_copy.out)
    assert result.code == 0 and (tiny_copy.run / "report.html").is_file()


def test_a_damaged_result_is_made_again(tiny_copy, nalign, light_report) -> None:
    entry = tiny_copy.store.list("similarity")[0]
    next(path for path in entry.path.rglob("*.parquet")).write_bytes(b"PAR1")
    result = nalign("run", tiny_copy.study, "--cache", tiny_copy.store.root, "--out", tiny_copy.out)
    assert result.code == 0
    tiny_copy.store.prune(stage="report")
    result = nalign("run", tiny_copy.study, "--cache", tiny_copy.store.root, "--out", tiny_copy.out)
    assert result.code == 0 and tiny_copy.store.verify().problems == []


# -- a machine without Pango ----------------------------------------------------------------------------------------


def test_without_pango_all_but_the_pdf_is_kept_and_a_later_run_adds_it(
    place: Place, write_study, only_brain, without_pango
) -> None:
    study = write_study(place.folder, **only_brain)
    with without_pango():
        first = place.run(study)
        again = place.run(study)
    assert first.code == 0, first.err
    assert first.err.count("warning:") == 1 and "report.pdf was not written" in first.err
    assert "libgobject" in first.err and "many more lines" not in first.err and "nstall Pango" in first.err
    assert "report.html" in first.out and "report.pdf" not in first.out
    assert (place.run_folder / "report.html").is_file() and not (place.run_folder / "report.pdf").exists()
    assert list((place.run_folder / "figures").glob("*.svg")) and list((place.run_folder / "tables").glob("*.csv"))
    assert again.code == 0 and "tiny: 0 computed" in again.out, "without Pango nothing would change"
    assert again.err == first.err
    page = (place.run_folder / "report.html").read_text()
    later = place.run(study)
    assert later.code == 0 and "tiny: 1 computed" in later.out and later.err == ""
    assert (place.run_folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "<h1" in page and "pdf_obstacle" not in (place.run_folder / "provenance.json").read_text()
    place.check_whole()


def test_an_earlier_pdf_does_not_stand_beside_a_later_page(tiny_copy, nalign, without_pango) -> None:
    assert (tiny_copy.run / "report.pdf").is_file()
    with without_pango():
        result = nalign("report", tiny_copy.run, "--cache", tiny_copy.store.root)
    assert result.code == 0 and "warning: report.pdf was not written" in result.err
    assert (tiny_copy.run / "report.html").is_file() and not (tiny_copy.run / "report.pdf").exists()
    assert "report.pdf" not in result.out


# -- bad data -------------------------------------------------------------------------------------------------------


def test_a_folder_without_an_observatory_is_told(place: Place, write_study) -> None:
    (place.folder / "empty").mkdir()
    for name in ("empty", "gone"):
        result = place.run(write_study(place.folder, observatory={"folder": str(place.folder / name)}))
        assert result.code == 1
        assert str(place.folder / name) in result.message and "nalign observatory list --refresh" in result.message


def test_a_missing_session_is_told_and_the_next_run_goes_on(
    place: Place, write_study, write_observatory, only_brain, light_report
) -> None:
    folder = write_observatory(place.folder / "observatory", catalogue=True)
    file = folder / "ophys_experiment_data" / f"{SECOND}.nwb"
    file.rename(place.folder / "away.nwb")
    study = write_study(place.folder, **only_brain, observatory={"folder": str(folder)})
    result = place.run(study)
    assert result.code == 1
    assert str(SECOND) in result.message and "nalign observatory fetch" in result.message
    (place.folder / "away.nwb").rename(file)
    assert place.run(study).code == 0


@pytest.mark.parametrize("catalogue", [True, False])
def test_a_truncated_session_is_told_and_the_next_run_goes_on(
    place: Place, write_study, write_observatory, only_brain, light_report, catalogue: bool
) -> None:
    folder = write_observatory(place.folder / "observatory", catalogue=catalogue)
    file = folder / "ophys_experiment_data" / f"{SECOND}.nwb"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    study = write_study(place.folder, **only_brain, observatory={"folder": str(folder)})
    result = place.run(study)
    assert result.code == 1
    assert str(file) in result.message and "truncated" in result.message
    assert "delete it and fetch it again" in result.message
    if catalogue:  # the catalogue lists it, so that the others are computed
        assert "1 of" in result.message and "skipped" in result.message
        assert place.kept() == {"responses": 1, "scenes": 1, "activations": 1}
        assert not (place.run_folder / "errors.log").exists()  # a broken file is no error of the program
    place.check_whole()
    file.write_bytes(whole)
    kept = sum(place.kept().values())
    again = place.run(study)
    assert again.code == 0 and f"tiny: {9 - kept} computed, {kept} kept from before" in again.out


def test_a_session_without_natural_scenes_is_told(place: Place, write_study, write_observatory, only_brain) -> None:
    folder = write_observatory(place.folder / "observatory")
    with h5py.File(folder / "ophys_experiment_data" / f"{SECOND}.nwb", "r+") as file:
        del file["stimulus/presentation/natural_scenes_stimulus"]
    result = place.run(write_study(place.folder, **only_brain, observatory={"folder": str(folder)}))
    assert result.code == 1
    assert str(SECOND) in result.message and "showed no natural scenes" in result.message
    assert place.kept()["responses"] == 1


@pytest.mark.parametrize("value", [float("nan"), 0.25])
def test_a_session_without_one_usable_cell_is_told(
    place: Place, write_study, write_observatory, only_brain, value
) -> None:
    folder = write_observatory(place.folder / "observatory")
    with h5py.File(folder / "ophys_experiment_data" / f"{FIRST}.nwb", "r+") as file:
        file[f"{PIPELINE}/DfOverF/imaging_plane_1/data"][:] = value
    result = place.run(write_study(place.folder, **only_brain, observatory={"folder": str(folder)}))
    assert result.code == 1 and str(FIRST) in result.message


def test_a_threshold_that_no_cell_meets_is_told(place: Place, write_study, only_brain) -> None:
    result = place.run(write_study(place.folder, **only_brain, responses={"min_reliability": 1.0}))
    assert result.code == 1
    assert "None of 8 cells" in result.message and "Lower responses.min_reliability" in result.message


# -- bad disks ------------------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_written_is_told(place: Place, write_study, only_transfer) -> None:
    (place.folder / "file").write_text("")
    study = write_study(place.folder, **only_transfer)
    result = place.nalign("run", study, "--cache", place.folder / "file" / "x", "--out", place.folder / "runs")
    assert result.code == 1
    assert "cannot be written to the store" in result.message and "--cache" in result.message
    whole = place.nalign("run", study, "--cache", place.folder / "file", "--out", place.folder / "runs")
    assert whole.code == 2 and "is a file" in whole.message


def test_a_read_only_store_with_everything_in_it_serves(tiny, place: Place, monkeypatch) -> None:
    real = Path.mkdir

    def mkdir(self: Path, *arguments: Any, **options: Any) -> None:
        if tiny.store.root in self.parents and not self.exists():
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        real(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    result = place.nalign("run", tiny.study, "--cache", tiny.store.root, "--out", place.folder / "runs")
    assert result.code == 0 and (place.run_folder / "report.html").is_file()


def test_a_read_only_store_is_told(place: Place, write_study, only_transfer, light_report, monkeypatch) -> None:
    real = Path.mkdir

    def mkdir(self: Path, *arguments: Any, **options: Any) -> None:
        if self == place.store.root or place.store.root in self.parents:
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        real(self, *arguments, **options)

    study = write_study(place.folder, **only_transfer)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)
        result = place.run(study)
    assert result.code == 1
    assert "Read-only file system" in result.message and str(place.store.root) in result.message
    assert place.run(study).code == 0


def test_a_full_disk_is_told_and_the_next_run_goes_on(
    place: Place, write_study, only_transfer, light_report, small_disk
) -> None:
    study = write_study(place.folder, **only_transfer)
    with small_disk(6000):
        result = place.run(study)
    assert result.code == 1
    assert "cannot be written to the store" in result.message and "Free space there" in result.message
    place.check_whole()
    kept = sum(place.kept().values())
    again = place.run(study)
    assert again.code == 0 and f", {kept} kept from before" in again.out
    place.check_whole()


def test_a_run_folder_that_cannot_be_written_is_told(place: Place, write_study, only_transfer) -> None:
    (place.folder / "file").write_text("")
    study = write_study(place.folder, **only_transfer)
    result = place.nalign("run", study, "--cache", place.store.root, "--out", place.folder / "file" / "runs")
    assert result.code == 1
    assert "The run folder" in result.message and "cannot be written" in result.message and "--out" in result.message
    assert not place.store.root.exists()  # told before any work


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_while_the_run_folder_is_laid_out(tiny, place: Place, monkeypatch, number: int) -> None:
    def copyfile(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(number, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "copyfile", copyfile)
        result = place.nalign("run", tiny.study, "--cache", tiny.store.root, "--out", place.folder / "runs")
    assert result.code == 1
    assert "cannot be written" in result.message and str(place.run_folder) in result.message
    assert not list(place.run_folder.rglob("*.html"))
    again = place.nalign("run", tiny.study, "--cache", tiny.store.root, "--out", place.folder / "runs")
    assert again.code == 0 and (place.run_folder / "report.html").stat().st_size > 1000
    assert not list(place.run_folder.rglob(".*.tmp"))


# -- errors and stops -----------------------------------------------------------------------------------------------


def test_one_failing_task_stops_only_what_needs_it(tiny, place: Place, write_study, light_report) -> None:
    study = write_study(place.folder)
    from pipelines.stages import networks

    real = networks.train

    def train(inputs: Any, params: Any, context: Any) -> Any:
        if params["layer_variant"] == "neurn":
            raise RuntimeError("no such kernel\nand a second line")
        return real(inputs, params, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "train", train)
        result = place.run(study)
    assert result.code == 1
    # Two evaluations, the features, the activations, their comparison, the pair, the claims and the report need it.
    assert f"1 of {tiny.tasks} tasks failed, 8 that need them were skipped" in result.message
    assert "train small_cnn neurn on digits seed 0: " in result.message
    assert "RuntimeError: no such kernel" in result.message and "the next run goes on from there" in result.message
    log = place.run_folder / "errors.log"
    assert str(log) in result.message
    assert "Traceback" in log.read_text() and "no such kernel" in log.read_text()
    place.check_whole()
    assert sum(place.kept().values()) == tiny.tasks - 9
    again = place.run(study)
    assert again.code == 0 and f"tiny: 9 computed, {tiny.tasks - 9} kept from before" in again.out
    assert not log.exists()


def test_many_failures_are_listed_shortly(tmp_path: Path) -> None:
    from neural_alignment import DataError
    from pipelines.perform import Outcome

    outcomes = [Outcome("train", f"{n:012d}", f"number {n}", "failed", message=f"bad {n}") for n in range(25)]
    with pytest.raises(DataError, match="25 of 25 tasks failed") as caught:
        runs._raise_failures(outcomes, tmp_path)
    assert len(str(caught.value).splitlines()) == 12 and str(caught.value).endswith("... and 15 more")


def test_a_reason_that_fails_many_is_told_once(tmp_path: Path) -> None:
    from neural_alignment import DataError
    from pipelines.perform import Outcome

    outcomes = [Outcome("train", f"{n:012d}", f"number {n}", "failed", message="the disk is full") for n in range(5)]
    with pytest.raises(DataError) as caught:
        runs._raise_failures(outcomes, tmp_path)
    line = "  - train number 0, train number 1, train number 2 and 2 more: the disk is full"
    assert str(caught.value).splitlines()[1:] == [line]


def test_ctrl_c_in_a_task(place: Place, write_study, only_transfer, light_report) -> None:
    study = write_study(place.folder, **only_transfer)

    def stop(inputs: Any, params: Any, context: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.stages.networks.train", stop)
        result = place.run(study)
    assert result.code == 130
    assert "Interrupted. What was finished is kept" in result.message
    place.check_whole()
    kept = sum(place.kept().values())
    again = place.run(study)
    assert kept > 0 and again.code == 0 and f"{kept} kept from before" in again.out


# -- report, status and dry runs ------------------------------------------------------------------------------------


def test_a_report_is_rendered_again_and_nothing_else(tiny_copy, nalign, light_report) -> None:
    before = {entry.key: entry.created for entry in tiny_copy.store.list()}
    result = nalign("report", tiny_copy.run, "--cache", tiny_copy.store.root)
    assert result.code == 0 and str(tiny_copy.run / "report.html") in result.out
    assert (tiny_copy.run / "report.html").read_text() == "A network as small as can be"
    after = {entry.key: entry.created for entry in tiny_copy.store.list()}
    assert after.keys() == before.keys()
    assert {entry.stage for entry in tiny_copy.store.list() if after[entry.key] != before[entry.key]} <= {"report"}
    assert len(light_report) == 1


def test_a_report_without_its_results_says_how_to_get_them(tiny_copy, nalign) -> None:
    tiny_copy.store.prune(stage="similarity")
    kept = tiny_copy.store.list("report")
    result = nalign("report", tiny_copy.run, "--cache", tiny_copy.store.root)
    assert result.code == 1
    assert "needs results that are not in the store" in result.message
    assert f"nalign run {tiny_copy.run / 'study.yaml'} --out {tiny_copy.out}" in result.message
    assert [entry.key for entry in tiny_copy.store.list("report")] == [entry.key for entry in kept]


@pytest.mark.parametrize("command", ["report", "status"])
def test_a_folder_that_is_no_run_is_told(tmp_path: Path, nalign, monkeypatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = nalign(command, tmp_path / "nothing", "--cache", tmp_path / "store")
    assert result.code == 2
    assert "has no study.yaml" in result.message and "Make one with 'nalign run demo'" in result.message
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "study.yaml").write_text("")
    assert "Runs here: mine." in nalign(command, "yours", "--cache", tmp_path / "store").message


def test_a_run_is_found_by_its_name(tiny, nalign, monkeypatch) -> None:
    monkeypatch.chdir(tiny.out.parent)
    result = nalign("status", "tiny", "--cache", tiny.store.root)
    assert result.code == 0 and "write the report" in result.out


def test_status_counts_by_stage(tiny_copy, nalign) -> None:
    tiny_copy.store.prune(stage="train")
    result = nalign("status", tiny_copy.run, "--cache", tiny_copy.store.root)
    rows = {line[:26].strip(): line.split()[-2:] for line in result.out.splitlines()}
    assert result.code == 0
    assert rows["train networks"] == ["0", "2"] and rows["trial responses"] == ["2", "0"]
    assert not tiny_copy.store.list("train")


def test_a_dry_run_computes_nothing(place: Place, write_study) -> None:
    result = place.run(write_study(place.folder), "--dry-run")
    assert result.code == 0
    assert any(line.split() == ["train", "networks", "0", "2"] for line in result.out.splitlines())
    assert place.store.list() == [] and not place.run_folder.exists()


def test_a_dry_run_says_what_it_cannot_know_yet(place: Place, write_study) -> None:
    simulated = {"source": "simulated", "folder": ..., "sessions": 1}
    result = place.run(write_study(place.folder, observatory=simulated), "--dry-run")
    assert result.code == 0 and "once the simulated observatory is written" in " ".join(result.out.split())
    assert "write the report" not in result.out
