"""Every choice of metrics that a study may make runs to a report that says nothing false of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

METRICS = ("rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit")
QUICK = {("kde_iou_population",), ("kde_iou_unit",)}
CHOICES = [*((one,) for one in METRICS), *itertools.combinations(METRICS, 2), METRICS]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics") / "store"


@pytest.mark.parametrize(
    "metrics",
    [pytest.param(one, id="+".join(one), marks=() if one in QUICK else pytest.mark.slow) for one in CHOICES],
)
def test_a_study_of_any_metrics_runs_to_a_report(
    metrics: tuple[str, ...],
    store: Path,
    tmp_path: Path,
    nalign: Callable[..., Any],
    write_study: Callable[..., Path],
    only_brain: dict[str, Any],
) -> None:
    changes = only_brain | {"layer_variants": ["baseline", "neurn"], "controls": {"shuffled_scenes": 3}}
    changes["similarity"] = {"metrics": list(metrics), "group_by": ["neuron_class"]}
    result = nalign("run", write_study(tmp_path, **changes), "--cache", store, "--out", tmp_path / "runs")
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "tiny"
    assert set(pd.read_csv(run / "tables" / "similarity.csv")["metric"]) == set(metrics)
    of_cells = set(metrics) - {"kde_iou_population"}
    paired = run / "tables" / "paired.csv"
    assert (set(pd.read_csv(paired)["metric"]) if paired.exists() else set()) == of_cells
    page = (run / "report.html").read_text()
    for false in ("nothing to compare", "compared no network", '<p class="absent"></p>'):
        assert false not in page, false
    first = page.split('id="findings"')[1].split("</section>")[0]
    assert ("RMSE" in first) == ("rmse_mean" in metrics)
    if any(name.startswith("kde") for name in metrics):
        assert "KDE-IoU to all cells changes by" in first
