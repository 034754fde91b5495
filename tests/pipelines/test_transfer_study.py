"""A study with everything that transfer knows, from the file to the table: methods, layers inside, a first training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LAYERS = ["baseline", "neurn", {"label": "inner", "name": "neurn", "k": 5, "position": 1}]


@pytest.fixture
def study(tmp_path: Path, write_study: Callable[..., Path], only_transfer: dict[str, Any]) -> Path:
    transfer = {
        "targets": ["digits", "digits_m", "digits.blur-5"],
        "methods": ["mixstyle", {"name": "adversarial", "label": "dann"}],
        "pretrain": {"domain": "digits_inverted", "epochs": 1, "train_limit": 60},
        "train_limit": 60,
        "test_limit": 30,
    }
    return write_study(tmp_path, **only_transfer, layer_variants=LAYERS, **{"transfer": transfer})


@pytest.mark.usefixtures("light_report")
def test_every_condition_is_a_row_and_marked(tmp_path: Path, study: Path, nalign, light_report: list[Any]) -> None:
    place = ("--cache", tmp_path / "store", "--out", tmp_path / "runs")
    result = nalign("run", study, *place)
    assert result.code == 0, result.err
    table = light_report[0].transfer
    counts = table.groupby(["layer_variant", "method"]).size().to_dict()
    assert counts == {
        ("baseline", "plain"): 3, ("neurn", "plain"): 3, ("inner", "plain"): 3, ("baseline", "mixstyle"): 3,
        ("baseline", "dann"): 2,
    }  # fmt: skip
    assert set(table.loc[table["sees_target"], "method"]) == {"dann"}
    assert set(table.loc[table["sees_target"], "target"]) == {"digits_m", "digits.blur-5"}
    assert any(
        "first trained on another domain of 10 classes, its classifier kept" in note for note in light_report[0].notes
    )
    again = nalign("run", study, *place)
    assert again.code == 0 and " 0 computed" in again.out
