"""One model in several threads: the hooks and the mode of one call are not another's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from alignment.models import create_model, extract_activations, layer_features, layer_symbols, preflight, with_layer
from alignment.models.stages import stage_ends
from neural_alignment import DataError

ROUNDS = 3


@pytest.fixture(autouse=True)
def _eager_switching() -> Iterator[None]:
    """Let threads take turns so often that passes through a small network overlap."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


class Network(nn.Module):
    """Convolutions, and dropout and batch normalisation that show which mode they ran in."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.last = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.mean = nn.AdaptiveAvgPool2d(2)
        self.linear = nn.Linear(8 * 2 * 2, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.last(self.second(self.pool(self.relu(self.norm(self.first(image))))))
        return self.linear(self.mean(self.dropout(maps)).flatten(1))


def network() -> nn.Module:
    torch.manual_seed(0)
    return Network().eval()


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def forward(model: nn.Module) -> list[np.ndarray]:
    return [model(images()).numpy()]


def extraction(model: nn.Module) -> list[np.ndarray]:
    found = extract_activations(model, images(), "all", grid=(4, 4), batch_size=2, device="cpu")
    return [layer[name].values for layer in found.values() for name in ("unit_response", "unit_map")]


def whole_layers(model: nn.Module) -> list[np.ndarray]:
    return [layer.values for layer in layer_features(model, images(), "all", 2, "cpu", max_bytes=20_000)]


def stages(model: nn.Module) -> list[np.ndarray]:
    return [np.array(stage_ends(model, images(1)))]


def measured(model: nn.Module) -> list[np.ndarray]:
    return [np.array(preflight(model, images(), "all", grid=(4, 4), batch_size=2, device="cpu").layers)]


def wrong(work: list[tuple[Callable[..., list[np.ndarray]], nn.Module]]) -> list[str]:
    """Do all of this at once, a thread each, and name what comes out otherwise than alone."""
    alone = [do(model) for do, model in work]
    together = threading.Barrier(len(work))

    def repeat(index: int) -> list[str]:
        do, model = work[index]
        faults = []
        together.wait()
        for _ in range(ROUNDS):
            try:
                found = do(model)
            except BaseException as error:  # what ends a pass is no Exception
                faults.append(f"{do.__name__}: {type(error).__name__}")
                continue
            if len(found) != len(alone[index]) or not all(map(np.array_equal, found, alone[index])):
                faults.append(f"{do.__name__}: other values")
        return faults

    with ThreadPoolExecutor(len(work)) as threads:
        return [fault for faults in threads.map(repeat, range(len(work))) for fault in faults]


def test_a_layer_inside_is_there_for_its_own_thread_only() -> None:
    model = network()
    inner, sobel = with_layer(model, "neurn", position=1), with_layer(model, "sobel", position="relu")
    assert wrong([(forward, model), (forward, inner), (forward, sobel), (forward, model)] * 2) == []
    assert not any(module._forward_hooks for module in model.modules())


def test_extractions_and_forward_passes_of_one_model() -> None:
    model = network()
    inner = with_layer(model, "neurn", position=1)
    work: list[Any] = [(extraction, model), (forward, model), (whole_layers, model), (forward, inner)]
    work += [(extraction, inner), (forward, model), (stages, model), (measured, model)]
    assert wrong(work) == []
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("other", [extraction, whole_layers, stages, measured])
def test_extractions_of_a_model_in_training_mode(other: Callable[..., list[np.ndarray]]) -> None:
    model = network().train()
    model.norm.eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert wrong([(extraction, model), (other, model)] * 2) == []
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_layers_handed_over_leave_the_model_free() -> None:
    model = network().train()
    layers = layer_features(model, images(), "all", device="cpu", max_bytes=20_000)
    next(layers)
    assert all(module.training for module in model.modules())
    with ThreadPoolExecutor(1) as thread:
        assert len(thread.submit(extraction, model).result(timeout=60)) > 0
    assert len(list(layers)) > 0


def test_symbols_are_those_of_ones_own_pass() -> None:
    model = create_model("small_cnn", num_classes=10, image_size=32)

    def symbols(which: nn.Module) -> list[np.ndarray]:
        return [np.array([layer_symbols(which, "detailed", image_size=32)])]

    assert wrong([(symbols, model)] * 4) == []


class Elsewhere(nn.Module):
    """Runs its network in a thread of its own, as data-parallel wrappers do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self.net, image).result()


def test_a_layer_that_no_output_passed_is_told() -> None:
    inner = with_layer(Elsewhere(), "neurn", position="net.relu")
    with pytest.raises(DataError, match=r"module 'net\.relu'.* did not run .*neurn"):
        inner(images())
