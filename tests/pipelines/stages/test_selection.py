"""The population stage when a study asks for the most central cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alignment.brain import populations, select_cells
from neural_alignment import InputError
from pipelines.stages.brain import population

CELLS = 24


def responses() -> xr.Dataset:
    """Eighteen excitatory cells, five inhibitory ones, and an excitatory one that is constant."""
    values = np.random.default_rng(0).random((CELLS, 6, 4), dtype=np.float32)
    values[3] = 0.5
    inhibitory = np.arange(CELLS) >= 19
    return xr.Dataset(
        {
            "response": (("cell", "scene", "trial"), values),
            "blank": (("cell", "trial"), values[:, 0]),
            "peak": (("cell", "scene"), values.max(axis=2)),
            "time_to_peak": (("cell", "scene"), values.min(axis=2)),
        },
        coords={
            "running_speed": (("scene", "trial"), np.zeros((6, 4), dtype=np.float32)),
            "blank_running_speed": (("trial",), np.zeros(4, dtype=np.float32)),
            "scene": np.arange(6),
            "experiment_id": ("cell", np.full(CELLS, 501498760)),
            "area": ("cell", np.where(np.arange(CELLS) % 2, "VISp", "VISl")),
            "genotype": ("cell", np.where(inhibitory, "Sst-1", "Cux2-1")),
            "neuron_class": ("cell", np.where(inhibitory, "inhibitory", "excitatory")),
            "reliability": ("cell", np.linspace(0, 1, CELLS)),
        },
        attrs={
            "simulated": 1,
            "method": "dff",
            "window": [0.0, 0.5],
            "units": "dF/F",
            "missing_trials": 0,
            "missing_responses": 0,
            "moving_trials": 0,
            "dropped_nan": 0,
            "dropped_constant": 0,
        },
    )


class OneSession(dict[str, Any]):
    def names(self, prefix: str = "") -> list[str]:
        return list(self)


class Silent:
    def tell(self, done: int, total: int, text: str) -> None:
        """Say nothing."""


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``kept(**params)``: the stage's result, with principal components in the place of UMAP's minute."""
    whole = populations.embed_cells
    monkeypatch.setattr(populations, "embed_cells", lambda vectors, method, seed: whole(vectors, "pca", seed))

    def call(**params: Any) -> dict[str, Any]:
        session = {"responses": responses(), "quality": pd.DataFrame({"cells": [CELLS]})}
        wanted = {"min_reliability": None, "select": True, "per_class": 8, "clusters": 2, "seed": 0, **params}
        return population(OneSession(session=session), wanted, Silent())  # type: ignore[arg-type]

    return call


def test_the_embedding_has_a_row_for_each_cell_to_choose_from(kept: Any) -> None:
    result = kept()
    table = result["embedding"]
    assert list(table) == ["x", "y", "area", "genotype", "neuron_class", "cluster", "kept"]
    assert len(table) == CELLS - 1, "the constant cell has no place"
    assert np.isfinite(table[["x", "y"]].to_numpy()).all()
    assert table["kept"].sum() == result["responses"].sizes["cell"] == 8 + 5
    chosen = table[table["kept"]]
    for name in ("area", "genotype", "neuron_class", "cluster"):
        assert chosen[name].tolist() == result["responses"][name].values.tolist()
    assert chosen["x"].to_numpy() == pytest.approx(result["responses"]["embedding_x"].values)


def test_a_short_class_is_told(kept: Any) -> None:
    note = kept()["responses"].attrs["selection_note"]
    assert "8 of 18 excitatory cells;" in note
    assert "5 of 5 inhibitory cells, fewer than the 8 asked for." in note
    assert "fewer" not in kept(per_class=5)["responses"].attrs["selection_note"]


def test_unreliable_cells_are_no_choice(kept: Any) -> None:
    assert len(kept(min_reliability=0.5)["embedding"]) == CELLS // 2


def test_without_selection_nothing_is_drawn(kept: Any) -> None:
    result = kept(select=False)
    assert "embedding" not in result
    assert result["responses"].sizes["cell"] == CELLS


def test_a_plan_for_other_cells_is_refused() -> None:
    data = responses()
    plan = populations.plan_selection(data, per_class=4, clusters=2, embedding="pca")
    assert select_cells(data, plan=plan).identical(select_cells(data, per_class=4, clusters=2, embedding="pca"))
    with pytest.raises(InputError, match="made for the same 5 cells"):
        select_cells(data.isel(cell=slice(5)), plan=plan)
