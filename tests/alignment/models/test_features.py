"""Whole activations layer by layer: against torch's own hooks, in any number of passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from alignment.models import create_model, extract_activations, layer_features, with_layer
from neural_alignment import DataError, InputError

IMAGES = torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return create_model("small_cnn", num_classes=10, image_size=32, width=0.5)


def test_layers_are_those_of_the_activations_and_their_means_agree(model: nn.Module) -> None:
    found = list(layer_features(model, IMAGES, batch_size=3))
    reduced = extract_activations(model, IMAGES, grid=(8, 8))
    assert [layer.name for layer in found] == list(reduced)
    assert [layer.index for layer in found] == list(range(len(reduced)))
    for layer in found:
        means = layer.values.reshape(len(IMAGES), layer.units, -1).mean(axis=2)
        np.testing.assert_allclose(means, reduced[layer.name]["unit_response"].values, atol=1e-5)
        assert layer.values.dtype == np.float32


@pytest.mark.parametrize("max_bytes", [1, 500_000, 2**30])
@pytest.mark.parametrize("batch_size", [2, 100])
def test_passes_and_batches_change_nothing(model: nn.Module, max_bytes: int, batch_size: int) -> None:
    whole = list(layer_features(model, IMAGES))
    parts = list(layer_features(model, IMAGES, max_bytes=max_bytes, batch_size=batch_size))
    assert [(one.name, one.index) for one in whole] == [(one.name, one.index) for one in parts]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-4)


def test_values_are_taken_before_a_later_step_works_in_place() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    found = {layer.name: layer.values for layer in layer_features(net, IMAGES, layers=["0", "1"])}
    with torch.no_grad():
        expected = net[0](IMAGES).flatten(1).numpy()
    assert (found["0"] < 0).any() and (found["1"] >= 0).all()
    np.testing.assert_allclose(found["0"], expected, atol=1e-6)


def test_tokens_fold_without_the_class_token() -> None:
    vit = create_model("vit_tiny", num_classes=10, image_size=32, width=0.25)
    layer = next(iter(layer_features(vit, IMAGES, layers="blocks")))
    side = extract_activations(vit, IMAGES, layers=[layer.name])[layer.name].attrs["native_size"]
    height, width = map(int, side.split("x"))
    assert layer.values.shape == (len(IMAGES), layer.units * height * width)


def test_a_layer_in_front_is_seen_and_the_model_goes_back_as_it_came(model: nn.Module) -> None:
    model.train()
    plain = next(iter(layer_features(model, IMAGES))).values
    assert model.training
    model.eval()
    seen = next(iter(layer_features(with_layer(model, "neurn"), IMAGES))).values
    assert np.abs(seen - plain).max() > 0.01
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_go_when_the_reader_stops_early(model: nn.Module) -> None:
    features = layer_features(model, IMAGES)
    next(features)
    features.close()
    assert not any(module._forward_hooks for module in model.modules())


def test_progress_counts_layers(model: nn.Module) -> None:
    told: list[tuple[int, int]] = []
    list(layer_features(model, IMAGES, progress=lambda done, of: told.append((done, of))))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"layers": "relu9"}, "relu9"),
        ({"device": "gpu"}, "device"),
        ({"images": torch.rand(2, 1, 32, 32)}, "images"),
    ],
)
def test_wrong_arguments_are_named(model: nn.Module, change: dict, words: str) -> None:
    arguments = {"images": IMAGES, **change}
    with pytest.raises(InputError, match=words):
        list(layer_features(model, arguments.pop("images"), **arguments))


def test_activations_that_are_no_numbers_name_the_layer() -> None:
    class Broken(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image / 0.0 * 0.0

    with pytest.raises(DataError, match="'1' gives NaN"):
        list(layer_features(nn.Sequential(nn.Conv2d(3, 2, 1), Broken()), IMAGES, layers=["0", "1"]))
