"""``nalign compare`` and ``compare_run`` on the tiny study: what is printed, written, kept and refused."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipelines
from alignment.brain import represent
from alignment.similarity import rmse
from cache import Store
from neural_alignment import DataError, InputError
from pipelines import compare_run
from pipelines.plan import make_plan
from pipelines.stages.comparison import unit_vectors

SIDES = ("--a", "VISp", "--b", "VISl", "--group", "area")
METRICS = {"rmse_mean", "rmse_nearest", "kde_iou_unit"}


@pytest.fixture(scope="module")
def tiny(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tiny study with a store of its own, which comparisons add their results to."""
    store = tmp_path_factory.mktemp("compare") / "store"
    shutil.copytree(tiny.store.root, store)
    return dataclasses.replace(tiny, store=Store(store))


@pytest.fixture(scope="module")
def run(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of the tiny study to write comparisons into."""
    folder = tmp_path_factory.mktemp("compare") / "tiny"
    folder.mkdir()
    (folder / "study.yaml").write_text((tiny.run / "study.yaml").read_text())
    return folder


@pytest.fixture
def call(nalign: Callable[..., Any], tiny: Any, run: Path) -> Callable[..., Any]:
    return lambda *arguments: nalign("compare", run, *arguments, "--cache", tiny.store.root)


def _results(tiny: Any) -> dict[str, Any]:
    plan = make_plan(tiny.loaded(), tiny.store)
    return {name: tiny.store.read(task.stage, task.key) for name, task in plan.report.inputs.items()}


def test_a_table_is_printed_and_a_figure_and_csv_are_written(call: Callable[..., Any], run: Path) -> None:
    result = call(*SIDES)
    assert result.code == 0, result.err
    for words in ("VISp (a) beside VISl (b)", "layer chosen on one half", "a: VISp, 4 cells of 1 donor", "q over"):
        assert words in result.out
    assert "SIMULATED" not in result.out
    folder = run / "compare" / "VISp-vs-VISl_group-area"
    table = pd.read_csv(folder / "comparison.csv")
    assert set(table["metric"]) == METRICS
    assert set(table["layer_variant"]) == {"baseline", "neurn"}
    assert len(table) == 6  # one layer a variant and metric
    assert table[["p", "q"]].isna().all(axis=None) and (table["p_least"] == 1).all()
    assert (table["reason"].str.startswith("not testable: 1 against 1 donor (1 in both groups)")).all()
    assert table["null_q"].isna().all() and table["note"].str.contains("the run shuffled no scenes").all()
    assert (table[["a_cells", "b_cells"]] == 4).all(axis=None)
    assert not table["simulated"].any()
    for metric in METRICS:
        assert b"<svg" in (folder / f"compare_weighted_{metric}.svg").read_bytes()
    told = json.loads((folder / "provenance.json").read_text())
    assert (told["a"], told["layer"], told["run"], len(told["keys"])) == ("VISp", "best", "tiny", 2)


def test_the_same_from_the_store_and_byte_for_byte(call: Callable[..., Any], run: Path, tiny: Any) -> None:
    assert call(*SIDES).code == 0
    folder = run / "compare" / "VISp-vs-VISl_group-area"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    kept = sorted(entry.key for entry in tiny.store.list() if entry.stage == "halves")
    assert call(*SIDES).code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(entry.key for entry in tiny.store.list() if entry.stage == "halves") == kept


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_for_machines(call: Callable[..., Any], kind: str) -> None:
    result = call(*SIDES, "--format", kind, "--metric", "rmse_mean")
    assert result.code == 0, result.err
    rows = pd.read_csv(io.StringIO(result.out)) if kind == "csv" else pd.DataFrame(json.loads(result.out)["rows"])
    assert rows["metric"].unique().tolist() == ["rmse_mean"]
    np.testing.assert_allclose(rows["difference"], rows["a_value"] - rows["b_value"], atol=1e-6)


def test_the_best_layer_is_of_the_first_half_and_its_score_of_the_second(tiny: Any, run: Path) -> None:
    """From responses and activations once more, with :func:`rmse` alone."""
    found = compare_run(run, "VISp", "VISl", "area", metric="rmse_mean", store=tiny.store)
    results = _results(tiny)
    responses, scenes = results["population"]["responses"], results["scenes"]
    cells = {area: np.flatnonzero(responses["area"].values == area) for area in ("VISp", "VISl")}
    for row in found.table.itertuples():
        layers = results[f"activations:{row.model}:{row.layer_variant}"]
        halves = next(iter(layers.values()))["scene_half"].values
        assert sorted(np.bincount(halves)) == [3, 3]
        scores: dict[int, dict[str, np.ndarray]] = {0: {}, 1: {}}
        for half in (0, 1):
            rows = np.flatnonzero(halves == half)
            images = scenes["scenes_8x8"].values[rows]
            neurons = represent(responses.isel(scene=rows), images, grid=(8, 8))["representation"].values
            for layer in layers.values():
                units = layer.assign(unit_map=layer["unit_map_half"].isel(half=half))
                pairs = rmse(neurons, unit_vectors(units, "weighted", scenes), reduce=None)
                scores[half][layer.attrs["layer"]] = pairs.mean(axis=1)
        assert row.layer == min(scores[0], key=lambda name: float(scores[0][name].mean()))
        means = [scores[1][row.layer][cells[area]].mean() for area in ("VISp", "VISl")]
        assert (row.a_value, row.b_value) == pytest.approx(means, rel=1e-5)


@pytest.mark.parametrize("layer", ["all", "relu2"])
def test_all_layers_and_a_named_one_are_scored_on_all_scenes(tiny: Any, run: Path, layer: str) -> None:
    found = compare_run(run, "VISp", "VISl", "area", layer=layer, metric=["rmse_mean"], store=tiny.store.root).table
    assert set(found["layer"]) == ({"relu1", "relu2", "relu3"} if layer == "all" else {"relu2"})
    scored = pd.concat([part["scores"] for name, part in _results(tiny).items() if name.startswith("similarity:")])
    by_group = scored[(scored["group_by"] == "area") & (scored["metric"] == "rmse_mean")]
    for row in found.itertuples():
        own = by_group[(by_group["layer_variant"] == row.layer_variant) & (by_group["layer"] == row.layer)]
        values = own.set_index("group")["value"]
        assert (row.a_value, row.b_value) == pytest.approx((values["VISp"], values["VISl"]))


def test_overlap_counts_for_the_smaller_and_reliability_is_of_the_cells_compared(tiny: Any, run: Path) -> None:
    found = compare_run(run, "area:VISp", "all", layer="relu1", store=tiny.store)
    assert (found.table["a_cells"] == 4).all() and (found.table["b_cells"] == 4).all()
    assert "4 cells of both groups count for area:VISp alone" in found.table["note"].iloc[0]
    reliability = _results(tiny)["population"]["responses"]["reliability"].values
    expected = [np.nanmedian(reliability[side]) for side in found.sides]
    assert found.table[["a_reliability", "b_reliability"]].iloc[0].tolist() == pytest.approx(expected)
    labelled = found.to_xarray()
    assert labelled.attrs["run"] == "tiny" and labelled.attrs["simulated"] == 0
    assert set(labelled["model"].values) == {"small_cnn"}


def test_simulated_neurons_are_called_so(
    call: Callable[..., Any], run: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = type(tiny.store).read

    def simulated(store: Any, stage: str, key: str) -> Any:
        found = read(store, stage, key)
        return found.assign_attrs(simulated=1) if stage == "representations" else found

    monkeypatch.setattr(type(tiny.store), "read", simulated)
    result = call(*SIDES, "--layer", "relu3", "--metric", "rmse_mean")
    assert result.out.startswith("SIMULATED: VISp (a) beside VISl (b)")
    folder = run / "compare" / "VISp-vs-VISl_group-area_layer-relu3_metric-rmse_mean"
    assert pd.read_csv(folder / "comparison.csv")["simulated"].all()
    assert json.loads((folder / "provenance.json").read_text())["simulated"] == 1
    from reports import figures_compare

    said: list[bool] = []
    draw = figures_compare.new_figure

    def listened(*arguments: Any, mark: str | None) -> Any:
        said.append(mark == "SIMULATED")
        return draw(*arguments, mark=mark)

    monkeypatch.setattr(figures_compare, "new_figure", listened)
    call(*SIDES, "--layer", "relu3", "--metric", "rmse_mean")
    assert said == [True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--a", "VISq", "--b", "VISl", "--group", "area"),
            "Did you mean 'VISp'? There are (cells): VISl (4), VISp (4).",
        ),
        (("--a", "VISp", "--b", "VISl"), "No cell has the genotype 'VISp'. Did you mean 'area:VISp'?"),
        (("--a", "VISp", "--b", "VISl", "--group", "areas"), "Unknown grouping of cells 'areas'"),
        ((*SIDES, "--model", "small"), "Did you mean 'small_cnn'? It has small_cnn."),
        ((*SIDES, "--layer", "relu4"), "It has relu1, relu2, relu3."),
        ((*SIDES, "--metric", "rmse"), "It has rmse_mean, rmse_nearest, kde_iou_unit."),
        ((*SIDES, "--metric", "kde_iou_population"), "has one value for a whole group and none for a cell"),
        ((*SIDES, "--representation", "tuning"), "It has weighted."),
        ((*SIDES, "--format", "xml"), "must be one of 'table', 'csv', 'json'"),
        (("--a", "VISp", "--b", "area:VISp", "--group", "area"), "are the same 4 cells"),
        (("--a", "area:VISp+area:VISl", "--b", "all"), "No cell is area:VISp and area:VISl at once"),
    ],
)
def test_refused(call: Callable[..., Any], arguments: tuple[str, ...], message: str) -> None:
    result = call(*arguments)
    assert result.code == 2
    assert message in result.message


def test_results_that_are_gone_are_named_with_the_command_that_makes_them(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"are not in the store .*nalign run .*study\.yaml --out"):
        compare_run(run, "VISp", "VISl", "area", store=tmp_path / "empty")


def test_a_run_without_cells(tmp_path: Path, write_study: Callable[..., Path], only_transfer: dict[str, Any]) -> None:
    write_study(tmp_path, **only_transfer)
    with pytest.raises(DataError, match="has no cells to compare"):
        compare_run(tmp_path, "VISp", "VISl", "area", store=tmp_path / "store")


def test_no_run_there(tiny: Any) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        compare_run("nowhere", "a", "b", store=tiny.store)


def test_a_disk_that_is_full(
    call: Callable[..., Any], run: Path, small_disk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(*SIDES, "--layer", "all", "--metric", "rmse_nearest").code == 0  # imports and scores are there
    written = run / "compare" / "VISp-vs-VISl_group-area_layer-all_metric-rmse_nearest"
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    with small_disk(1000):
        result = call(*SIDES, "--layer", "all", "--metric", "rmse_nearest")
    assert result.code == 1 and "cannot be written" in result.message
    assert {path.name: path.read_bytes() for path in written.iterdir()} == before


def test_from_python() -> None:
    assert "compare_run" in pipelines.__all__
    with pytest.raises(AttributeError, match="no attribute 'compare_runs'"):
        pipelines.compare_runs  # noqa: B018
