"""The stages that train and evaluate, called as a worker calls them, on embedded digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file

from alignment.models import create_model
from alignment.transfer import load_domain
from neural_alignment import DataError, InputError
from pipelines.stages import networks

NETWORK = {"name": "small_cnn", "image_size": 16, "width": 0.25, "seed": 3}
PARAMS = {
    "network": NETWORK, "layer_variant": "baseline", "seed": 3, "epochs": 1, "batch_size": 64, "learning_rate": 1e-3,
    "patience": 5, "validation": 0.1,
}  # fmt: skip
ROW = {"model": "cnn", "layer_variant": "baseline", "method": "plain", "sees_target": False, "network": NETWORK}
ROW |= {"source": "digits", "target": "digits_m", "seed": 3}


class Surroundings:
    """What a stage asks of its context."""

    device = "cpu"

    def __init__(self, scratch: Path, **where: str) -> None:
        self.scratch, self.where, self.notes = scratch, where, {}

    def tell(self, done: int, total: int, text: str = "") -> None:
        """Say nothing."""


class Read(dict[str, Any]):
    """Results by name, as :class:`pipelines.perform.Inputs` gives them."""


def digits(name: str = "digits", split: str = "train", limit: int = 150) -> xr.Dataset:
    return load_domain(name, split, image_size=16, limit=limit).to_dataset()


@pytest.fixture
def trained(tmp_path: Path) -> Any:
    """``trained(inputs, where, **params)``: a training's result; inputs are added to the source."""
    torch.set_num_threads(1)
    runs = iter(range(100))

    def run(inputs: dict[str, Any] | None = None, where: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
        scratch = tmp_path / f"scratch{next(runs)}"
        scratch.mkdir()
        read = Read({"domain": digits(), **(inputs or {})})
        return networks.train(read, {**PARAMS, **params}, Surroundings(scratch, **(where or {})))  # type: ignore[arg-type]

    return run


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(a["weights"][name], tensor) for name, tensor in b["weights"].items())


def test_a_method_and_its_options_reach_the_training(trained: Any) -> None:
    plain = trained()
    assert same(plain, trained())
    never = {"name": "randconv", "options": {"keep": 1.0, "consistency": 0.0}}
    assert same(plain, trained(method=never)), "with every image kept it is plain training"
    assert not same(plain, trained(method={"name": "randconv", "options": {"keep": 0.0, "consistency": 0.0}}))


def test_a_method_that_sees_the_target_is_given_its_images(trained: Any) -> None:
    method = {"name": "adversarial", "options": {}}
    with pytest.raises(InputError, match="give target="):
        trained(method=method)
    one = trained({"target": digits("digits_m")}, method=method)
    other = trained({"target": digits("digits_inverted")}, method=method)
    assert not same(one, other), "which target it saw matters"
    assert set(one["weights"]) == set(trained()["weights"]), "the domain classifier is no part of the network"


def test_a_layer_with_options_and_a_place_is_built_and_built_again(trained: Any, tmp_path: Path) -> None:
    layer = {"name": "neurn", "k": 5, "position": 1}
    result = trained(layer=layer)
    model = networks._trained({"network": NETWORK, "layer_variant": "inner", "layer": layer}, result)
    assert (model.layer.k, model.layer_variant, model.after) == (5, "neurn", "net.relu1")
    assert not same(result, trained()) and not same(result, trained(layer={"name": "neurn", "k": 5}))


def test_a_training_goes_on_from_one_with_other_classes(trained: Any) -> None:
    before = trained({"domain": _three_classes()})
    assert len(before["summary"]["classes"]) == 3
    result = trained({"start": before}, epochs=1, learning_rate=1e-9)
    kept = [name for name in result["weights"] if "linear" not in name]
    for name in kept:
        assert torch.allclose(result["weights"][name], before["weights"][name], atol=1e-6), name
    assert result["weights"]["model.net.linear.weight"].shape[0] == 10
    assert result["summary"]["notes"] == [
        "Each network was first trained on another domain of 3 classes, its classifier, of other classes, replaced."
    ]


def test_a_training_starts_from_a_file_of_other_classes(trained: Any, tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    stored = create_model("small_cnn", seed=9, num_classes=27, image_size=16, width=0.25)
    save_file(stored.net.state_dict(), file)
    result = trained(where={"weights": str(file)}, learning_rate=1e-9)
    assert torch.allclose(result["weights"]["model.net.conv1.weight"], stored.net.conv1.weight, atol=1e-6)
    assert "start.safetensors, its classifier, of other classes, replaced" in result["summary"]["notes"][0]
    save_file(create_model("small_cnn", num_classes=27, image_size=16).net.state_dict(), file)
    with pytest.raises(DataError, match="of another shape"):
        trained(where={"weights": str(file)})


def test_an_evaluation_is_a_row_with_its_method(trained: Any, tmp_path: Path) -> None:
    read = Read(trained=trained(), domain=digits("digits_m", "test", 60))
    found = networks.evaluate(read, {**ROW, "method": "dann", "sees_target": True}, Surroundings(tmp_path))  # type: ignore[arg-type]
    row = found["row"].iloc[0]
    assert (row["method"], bool(row["sees_target"]), row["n"]) == ("dann", True, 60)
    assert found["confusion"]["n"].sum() == 60
    assert found["calibration"]["right"].sum() == round(row["accuracy"] * 60)
    assert row["ci_low"] <= row["accuracy"] <= row["ci_high"]


def test_an_evaluation_is_of_the_best_weights(trained: Any, tmp_path: Path) -> None:
    result = trained(epochs=3)
    history = result["history"]
    best = max(history.itertuples(), key=lambda row: (row.validation_accuracy, -row.validation_loss)).epoch
    assert result["summary"]["best_epoch"] == best and result["summary"]["epochs"] == 3
    read = Read(trained=result, domain=digits("digits", "test", 60))
    row = networks.evaluate(read, {**ROW, "target": "digits"}, Surroundings(tmp_path))["row"].iloc[0]  # type: ignore[arg-type]
    model = networks._trained(ROW, result)
    images = torch.from_numpy(digits("digits", "test", 60)["images"].values).float() / 255
    with torch.no_grad():
        guessed = model.eval()(images).argmax(dim=1).numpy()
    assert row["accuracy"] == pytest.approx((guessed == digits("digits", "test", 60)["labels"].values).mean())


def _three_classes() -> xr.Dataset:
    domain = load_domain("digits", "train", image_size=16, limit=300)
    kept = domain.take(np.flatnonzero(domain.labels < 3))
    return kept.to_dataset().assign_attrs(classes=["a", "b", "c"])
