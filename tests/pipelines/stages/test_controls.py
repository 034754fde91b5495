"""Ceilings, the shuffled-scene null and the claims of the tiny study, checked against what they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from alignment.brain import represent
from alignment.similarity import shuffled_scenes, split_halves
from pipelines.perform import Context
from pipelines.stages.comparison import similarity, unit_vectors
from pipelines.stages.controls import SAME_VALUES, ceiling, claims, null

SCENES, CELLS = 9, 12


class Given(dict[str, Any]):
    """Results by name, as a stage reads them."""

    def names(self, prefix: str) -> list[str]:
        return [name for name in self if name.startswith(prefix)]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context("cpu", {}, lambda done, total, text="": None, tmp_path)


@pytest.fixture(scope="module")
def brain() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    tuning = rng.normal(size=(CELLS, SCENES, 1))
    trials = (tuning + 0.3 * rng.normal(size=(CELLS, SCENES, 6))).astype(np.float32)
    trials[0, 2, 1] = np.nan
    classes = np.repeat(["excitatory", "inhibitory"], [8, 4])
    responses = xr.Dataset(
        {"response": (("cell", "scene", "trial"), trials)},
        coords={
            "donor_id": ("cell", np.arange(CELLS)),
            "neuron_class": ("cell", classes),
            "genotype": ("cell", np.repeat(["Cux2-1", "Fezf2-1", "Sst-1"], 4)),
        },
        attrs={"simulated": 1},
    )
    images = rng.random((SCENES, 5, 5)).astype(np.float32)
    layers = {
        f"{index:03d}": xr.Dataset(
            {
                "unit_map": (("unit", "y", "x"), rng.random((4 + index, 5, 5))),
                "unit_response": (("scene", "unit"), rng.random((SCENES, 4 + index))),
            },
            attrs={"layer": f"conv{index}"},
        )
        for index in range(2)
    }
    scenes = xr.Dataset({"scenes_5x5": (("scene", "y", "x"), images)})
    return {"population": {"responses": responses}, "scenes": scenes, "activations": layers}


def params(kind: str = "weighted", **more: Any) -> dict[str, Any]:
    return {
        "kind": kind, "grid": [5, 5], "metrics": ["rmse_mean", "kde_iou_population"], "group_by": ["neuron_class"],
        "groups": {"neuron_class": ["excitatory", "inhibitory"]}, "bootstraps": 100, "permutations": 99, "seed": 0,
        "model": "net", "layer_variant": "baseline", **more,
    }  # fmt: skip


def read(brain: Mapping[str, Any], kind: str = "weighted") -> Given:
    images = brain["scenes"]["scenes_5x5"].values
    return Given(brain, representations=represent(brain["population"]["responses"], images, kind=kind, grid=(5, 5)))


@pytest.mark.parametrize("kind", ["weighted", "tuning"])
def test_a_ceiling_is_half_of_the_trials_against_all(brain: dict[str, Any], context: Context, kind: str) -> None:
    inputs = read(brain, kind)
    found = ceiling(inputs, params(kind, splits=3), context)  # type: ignore[arg-type]
    responses = brain["population"]["responses"]
    whole = inputs["representations"]["representation"].values.reshape(CELLS, -1)
    distances = []
    for halves in split_halves(responses["response"].values, 3, 0):
        for half in halves:
            single = xr.Dataset({"response": (("cell", "scene", "trial"), half[:, :, None])})
            made = represent(single, brain["scenes"]["scenes_5x5"].values, kind=kind, grid=(5, 5))
            vectors = made["representation"].values.reshape(CELLS, -1)
            distances.append(np.sqrt(((vectors - whole) ** 2).mean(axis=1)))
    expected = np.mean(distances, axis=0)
    np.testing.assert_allclose(found["cells"]["rmse"], expected, rtol=1e-5)
    table = found["groups"].set_index(["metric", "group"])
    assert table.loc[("rmse_mean", "inhibitory"), "ceiling"] == pytest.approx(expected[8:].mean(), rel=1e-5)
    assert set(table["representation"]) == {kind} and found["parameters"]["splits"] == 3


def test_one_trial_has_no_ceiling_and_says_so(brain: dict[str, Any], context: Context) -> None:
    one = Given(read(brain), population={"responses": brain["population"]["responses"].isel(trial=[0])})
    table = ceiling(one, params(splits=3), context)["groups"]  # type: ignore[arg-type]
    assert table["ceiling"].isna().all() and table["reason"].str.contains("cannot be halved").all()


@pytest.mark.parametrize("kind", ["weighted", "matched", "tuning"])
def test_the_null_scores_cells_of_other_scenes(brain: dict[str, Any], context: Context, kind: str) -> None:
    inputs = read(brain, kind)
    inputs["scores"] = similarity(inputs, params(kind), context)  # type: ignore[arg-type]
    table = null(inputs, params(kind, shuffles=4), context)  # type: ignore[arg-type]
    assert len(table) == len(inputs["scores"]["scores"]) == 2 * 3 * 2
    rmse = table[(table["metric"] == "rmse_mean") & (table["group"] == "excitatory") & (table["layer_index"] == 1)]
    means = np.nanmean(brain["population"]["responses"]["response"].values, axis=2)
    units = unit_vectors(brain["activations"]["001"], kind, brain["scenes"])
    drawn = []
    for order in shuffled_scenes(SCENES, 4, 0):
        dealt = xr.Dataset({"response": (("cell", "scene", "trial"), means[:, order, None])})
        made = represent(dealt, brain["scenes"]["scenes_5x5"].values, kind=kind, grid=(5, 5))
        cells = made["representation"].values.reshape(CELLS, -1)[:8]
        drawn.append(np.sqrt(((cells[:, None] - units[None]) ** 2).mean(axis=2)).mean())
    assert rmse["null_mean"].item() == pytest.approx(np.mean(drawn), rel=1e-5)
    assert table["p"].dropna().between(0.2, 1).all() and table["q"].dropna().le(1).all()
    overlap = table[table["metric"] == "kde_iou_population"]
    if kind == "tuning":
        assert overlap["p"].isna().all() and (overlap["null_reason"] == SAME_VALUES).all()
    else:
        assert overlap["p"].notna().all() and (overlap["null_reason"] == "").all()
    assert (table["layer"] == "conv" + table["layer_index"].astype(str)).all()


def scores(brain: dict[str, Any], context: Context, shift: float, model: str = "net") -> dict[str, Any]:
    groups = {"group_by": ["neuron_class", "genotype"], "groups": {}}
    made = similarity(read(brain), params(model=model, **groups), context)  # type: ignore[arg-type]
    made["cells"]["rmse_mean"] += shift * (1 + 0.01 * np.arange(len(made["cells"])))
    return made


def claimed(brain: dict[str, Any], context: Context, models: list[str], clear: int = 1, **changes: Any) -> pd.DataFrame:
    inputs = read(brain)
    for name in models:
        inputs[f"baseline:{name}"] = scores(brain, context, 0.0, name)
        inputs[f"variant:{name}"] = scores(brain, context, -0.05, name)
        for side, layer in (("baseline", "baseline"), ("variant", "neurn")):
            table = inputs[f"{side}:{name}"]["scores"]
            q = np.where(table["layer_index"] < clear, 0.01, 0.6)
            inputs[f"null:{name}:{layer}"] = table.assign(layer_variant=layer, q=q)
    inputs |= changes
    more = {"group_by": ["neuron_class", "genotype"]}
    found = claims(inputs, params(models=models, variant="neurn", metrics=["rmse_mean"], **more), context)  # type: ignore[arg-type]
    table: pd.DataFrame = found["claims"]
    return table


def test_claims_are_judged_on_means_over_layers_and_models(brain: dict[str, Any], context: Context) -> None:
    table = claimed(brain, context, ["a", "b"])
    assert set(table["model"]) == {"all models", "a", "b"} and set(table["layer_variant"]) == {"neurn", "baseline"}
    row = table[(table["model"] == "all models") & (table["group"] == "all")].iloc[0]
    assert row["difference"] == pytest.approx(-0.05 * (1 + 0.01 * (2 * CELLS - 1) / 2), rel=1e-6)
    assert row["verdict"] == "holds" and row["caution"] == "simulated cells cannot confirm it"
    assert row["variant_value"] - row["baseline_value"] == pytest.approx(row["difference"])
    classes = table[table["group"] == "excitatory − inhibitory"]
    assert len(classes) == 3 * 2 and classes["difference"].notna().all()
    assert classes["p"].between(1 / 495, 1).all() and (classes["p_least"] == 1 / 495).all()
    assert (classes[classes["model"] == "all models"]["n_clear"] == 2).all()
    assert (row["n_clear"], row["n_layers"]) == (4, 8), "one of two layers of both networks, without and with NeuRN"
    few = table[(table["model"] == "all models") & (table["group"] == "Sst-1")].iloc[0]
    assert few["verdict"] == "cannot tell" and few["reason"].startswith("not testable: with 4 donors")
    assert np.isnan([few["p"], few["q"]]).all() and np.isfinite([few["difference"], few["ci_low"]]).all()


def test_the_exception_is_held_against_the_other_genotypes(brain: dict[str, Any], context: Context) -> None:
    table = claimed(brain, context, ["a"])
    (row,) = table[table["group"] == "Fezf2-1"].to_dict("records")
    shifts = -0.05 * (1 + 0.01 * np.arange(2 * CELLS).reshape(2, CELLS)).mean(axis=0)
    own, rest = shifts[4:8].mean(), np.delete(shifts, range(4, 8)).mean()
    assert (row["others"], row["contrast"]) == pytest.approx((rest, own - rest))
    assert row["contrast_p_least"] == 1 / 495
    assert row["verdict"] == "undecided" and row["direction"] == "cannot tell"
    assert table["contrast"].notna().sum() == 1


def test_no_verdict_where_no_layer_beats_the_shuffled_scenes(brain: dict[str, Any], context: Context) -> None:
    table = claimed(brain, context, ["a", "b"], clear=0)
    assert (table["verdict"] == "cannot tell").all() and (table["direction"] == "cannot tell").all()
    whole = table[(table["model"] == "all models") & (table["group"] == "all")].iloc[0]
    assert whole["reason"] == "0 of 8 layers are closer to these cells than with the scenes shuffled"
    assert whole["q"] < 0.05 and whole["ci_high"] < 0, "the difference itself stays as it is"


def test_one_model_needs_no_mean_over_models(brain: dict[str, Any], context: Context) -> None:
    assert set(claimed(brain, context, ["a"])["model"]) == {"a"}


def test_without_a_class_its_claim_is_not_testable(brain: dict[str, Any], context: Context) -> None:
    neurons = read(brain)["representations"]
    alone = neurons.assign_coords(neuron_class=("cell", np.repeat("excitatory", CELLS)))
    table = claimed(brain, context, ["a"], representations=alone)
    classes = table[table["group"] == "excitatory − inhibitory"]
    assert (classes["verdict"] == "cannot tell").all()
    assert classes["reason"].str.startswith("no inhibitory cells").all()
    empty = table[table["group"] == "inhibitory"]
    assert empty["reason"].str.startswith("no cells in this group").all() and (empty["verdict"] == "cannot tell").all()


def test_twins_are_scored_as_their_networks(tiny: Any) -> None:
    table = pd.read_parquet(tiny.run / "tables" / "similarity.parquet")
    twins, own = table[table["twin"]], table[~table["twin"]]
    keys = ["layer_variant", "layer", "group_by", "group", "metric"]
    both = twins.merge(own, on=keys, suffixes=("_twin", ""))
    assert len(both) == len(twins) == len(own) > 0
    assert (both["value"] != both["value_twin"]).any()
    assert (table["ceiling"].notna() == (table["ceiling_reason"] == "")).all()
    assert table["null_reason"].str.contains("controls.shuffled_scenes").all() and table["p"].isna().all()
