"""Where stages end, and layers that stand inside of a network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from alignment.models import NeuRN, create_model, extract_activations, with_layer, with_neurn
from alignment.models.stages import stage_ends
from neural_alignment import InputError


def small() -> nn.Module:
    return create_model("small_cnn", num_classes=10, image_size=32, width=0.25)


def images(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("small_cnn", ["net.relu1", "net.relu2"]),
        ("resnet18", ["net.layer1.1.act2", "net.layer2.1.act2", "net.layer3.1.act2"]),
        ("vit_tiny", ["net.patch_embed.proj"]),
    ],
)
def test_stages_end_before_the_maps_get_smaller(name: str, ends: list[str]) -> None:
    model = create_model(name, num_classes=10, image_size=32, width=0.25)
    assert stage_ends(model, images()) == ends
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_convolutions_has_no_stage() -> None:
    assert stage_ends(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), images()) == []


@pytest.mark.parametrize("position", [1, "relu1", "net.relu1"])
def test_a_layer_inside_is_applied_to_the_output_it_stands_after(position: str | int) -> None:
    model = small()
    inner = with_layer(model, "neurn", position=position, k=5)
    net = model.net
    maps = net.relu1(net.conv1((images() - model.mean) / model.std))
    wanted = NeuRN(k=5)(maps)
    for layer in list(net)[2:]:
        wanted = layer(wanted)
    torch.testing.assert_close(inner(images()), wanted, rtol=1e-5, atol=1e-6)


def test_the_shared_network_stays_what_it_is() -> None:
    model = small()
    before = model(images())
    inner, front = with_layer(model, "neurn", position=1), with_neurn(model)
    assert not torch.equal(inner(images()), front(images()))
    assert torch.equal(model(images()), before) and torch.equal(with_layer(model, "baseline")(images()), before)
    assert not any(module._forward_hooks for module in inner.modules())
    front.load_state_dict(inner.state_dict())
    copied = copy.deepcopy(inner)
    torch.testing.assert_close(copied(images()), inner(images()))


def test_a_hook_is_taken_out_where_the_layer_cannot_be_applied() -> None:
    model = small()
    flat = with_layer(model, "neurn", position="flatten")
    with pytest.raises(InputError, match="shape"):
        flat(images())
    assert model(images()).shape == (2, 10)


def test_gradients_pass_a_layer_inside() -> None:
    inner = with_layer(small().train(), "neurn", position=1)
    inner(images()).sum().backward()
    for weight in inner.parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all()


def test_activations_are_read_behind_and_beside_a_layer_inside() -> None:
    model = small()
    plain = extract_activations(model, images().numpy(), grid=(8, 8), device="cpu")
    inner = extract_activations(with_layer(model, "neurn", position=1), images().numpy(), grid=(8, 8), device="cpu")
    assert list(plain) == list(inner)
    same = [name for name in plain if plain[name]["unit_response"].equals(inner[name]["unit_response"])]
    assert 0 < len(same) < len(plain), "what comes before is as it was, what comes after is not"


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (0, "'position' parameter of with_layer"),
        (3, r"has 2 stages .*net.relu1, net.relu2.* Got position 3"),
        ("relu9", "no module 'relu9'.*Did you mean"),
        ("", "no module ''"),
    ],
)
def test_places_that_are_not_there(position: str | int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_layer(small(), "neurn", position=position)
