from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from alignment.transfer import Domain, activation_statistics, domains_inside, feature_distances
from alignment.transfer.statistics import _channels, _sparsity
from neural_alignment import InputError

Make = Callable[..., nn.Module]
Blobs = Callable[..., Domain]


def test_statistics_agree_with_numpy_on_all_outputs(network: Make, blobs: Blobs) -> None:
    model, domain = network(), blobs()
    table = activation_statistics(model, domain, batch_size=17, device="cpu").set_index("layer")
    assert table.index.tolist() == ["0", "4", "9"]
    with torch.no_grad():
        output = model[0](torch.from_numpy(domain.images).float() / 255).double().numpy()
    assert table.loc["0", "mean"] == pytest.approx(output.mean(), rel=1e-5)
    assert table.loc["0", "sd"] == pytest.approx(output.std(), rel=1e-5)
    assert table.loc["0", "active"] == pytest.approx((output > 0).mean())
    rectified = np.maximum(output, 0).mean(axis=(2, 3))
    expected = [
        (1 - response.mean() ** 2 / (response**2).mean()) / (1 - 1 / len(response))
        for response in rectified.T
        if response.any()
    ]
    assert table.loc["0", "sparsity"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert table["units"].tolist() == [8, 8, 3]


def test_sparsity_at_its_ends() -> None:
    assert _sparsity(np.ones((10, 3))) == pytest.approx(0)
    assert _sparsity(np.eye(10)) == pytest.approx(1)
    assert np.isnan(_sparsity(np.zeros((10, 3)))) and np.isnan(_sparsity(np.ones((1, 3))))
    assert _sparsity(np.c_[np.ones(10), np.zeros(10)]) == pytest.approx(0)  # a silent channel is left out


def test_maps_and_tokens_are_reduced_to_channels() -> None:
    assert _channels(torch.ones(4, 5, 3, 3)).shape == (4, 5)
    assert _channels(torch.ones(4, 7, 5)).shape == (4, 5)
    assert _channels(torch.ones(4, 5)).shape == (4, 5)


def test_distances_are_zero_at_home_and_grow_with_the_shift(network: Make, blobs: Blobs) -> None:
    model, source = network(), blobs()
    darker = [
        Domain("darker", "test", (source.images * factor).astype(np.uint8), source.labels, source.classes)
        for factor in (0.9, 0.5)
    ]
    same, near, far = (feature_distances(model, source, one, device="cpu") for one in (source, *darker))
    assert same["distance"].to_numpy() == pytest.approx(0)
    assert (far["distance"] > near["distance"]).all() and (near["distance"] > 0).all()
    assert near["layer"].tolist() == ["0", "4", "9"]


def test_distance_of_known_features() -> None:
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(1, 1, bias=False)
            nn.init.ones_(self.out.weight)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.out(255 * images.mean(dim=(1, 2, 3))[:, None])

    def domain(values: list[int]) -> Domain:
        images = np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8)
        return Domain("values", "test", images, np.zeros(len(values), np.int64), ("a",))

    table = feature_distances(Features(), domain([10, 20]), domain([40, 50]), device="cpu")
    assert table.loc[0, "distance"] == pytest.approx(30 / 5, rel=1e-5)
    constant = feature_distances(Features(), domain([10, 10]), domain([20, 20]), device="cpu")
    assert constant.loc[0, "distance"] > 1e3  # nothing varies: the means differ by far more than an image does


def test_hooks_are_gone_and_the_mode_is_kept(network: Make, blobs: Blobs) -> None:
    model = network().train()
    activation_statistics(model, blobs(), device="cpu")
    assert model.training and not any(module._forward_hooks for module in model.modules())


def test_networks_without_layers_are_refused(blobs: Blobs) -> None:
    with pytest.raises(InputError, match="convolutions or linear layers"):
        activation_statistics(nn.Flatten(), blobs(), device="cpu")


def test_the_input_row_is_what_the_first_layer_receives(network: Make, blobs: Blobs) -> None:
    class Inverted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(1 - images)

    source, target = blobs(), blobs(seed=1)
    table = activation_statistics(Inverted(), source, batch_size=40, device="cpu", with_input=True)
    assert table["layer"].tolist() == ["input", "network.0", "network.4", "network.9"]
    received = 1 - source.images.astype(float) / 255
    assert table.loc[0, ["mean", "sd"]].tolist() == pytest.approx([received.mean(), received.std()], rel=1e-5)
    apart = feature_distances(Inverted(), source, target, batch_size=40, device="cpu", with_input=True)
    means = [domain.images.mean(axis=(2, 3)) / 255 for domain in (source, target)]
    spread = np.mean([values.var(axis=0).sum() for values in means])
    expected = np.linalg.norm(means[0].mean(axis=0) - means[1].mean(axis=0)) / spread**0.5
    assert apart.loc[0, "distance"] == pytest.approx(expected, rel=1e-4)


def test_a_network_of_one_layer_has_an_input_too(blobs: Blobs) -> None:
    model = nn.Conv2d(3, 3, 8)
    table = activation_statistics(model, blobs(), device="cpu", with_input=True)
    assert table["layer"].tolist() == ["input", ""]
    assert not model._forward_pre_hooks and not model._forward_hooks


def test_both_domains_at_once_give_the_same_numbers(network: Make, blobs: Blobs) -> None:
    model, source, target = network(normalise=True), blobs(), blobs(n=50, seed=1)
    both = domains_inside(model, source, target, batch_size=32, device="cpu").set_index("layer")
    apart = feature_distances(model, source, target, device="cpu", with_input=True).set_index("layer")
    assert both.index.tolist() == ["input", "0", "4", "9"] and both["layer_index"].tolist() == [0, 1, 2, 3]
    assert both["distance"].to_numpy() == pytest.approx(apart["distance"].to_numpy(), rel=1e-5)
    for side, domain in (("source", source), ("target", target)):
        told = activation_statistics(model, domain, device="cpu", with_input=True).set_index("layer")
        for column in ("mean", "sd", "active", "sparsity"):
            assert both[f"{column}_{side}"].to_numpy() == pytest.approx(told[column].to_numpy(), rel=1e-4, abs=1e-9)
    assert both["units"].tolist() == [3, 8, 8, 3]
