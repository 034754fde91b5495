"""Training steps on digits: ours beside bare steps on resident tensors, and beside a DataLoader loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from alignment.models import create_layer
from alignment.models._libraries import torchvision
from alignment.transfer import Domain, Method
from alignment.transfer.device import resolve_device
from alignment.transfer.images import stratified_split
from alignment.transfer.loop import Loop, Settings
from benchmarks.harness import Bench

BATCH = 256


def bench_training_step(bench: Bench) -> None:
    """Train on batches of 256 digits at 32 pixels: a network of three convolutions and a linear layer."""
    _bench(bench, _network)


def bench_training_step_neurn(bench: Bench) -> None:
    """Train the same network with NeuRN in front."""
    _bench(bench, lambda: nn.Sequential(create_layer("neurn"), _network()))


def _network() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def _bench(bench: Bench, make: Callable[[], nn.Module]) -> None:
    device = resolve_device("auto")
    steps = 1 if bench.quick else (40 if device.type == "cuda" else 4)
    n = _with_validation(steps * BATCH)
    images = bench.rng.integers(0, 256, (n, 3, 32, 32)).astype(np.uint8)
    labels = np.arange(n) % 10
    domain = Domain("noise", "train", images, labels, tuple("0123456789"))
    settings = Settings(bench.seed, 1, BATCH, 1e-3, 5, 0.1)
    loop = Loop(make(), domain, settings, Method(), device, None)
    bench.note(images=len(loop.images), steps=loop.steps, device=str(device), threads=torch.get_num_threads())
    bench.note(precision=str(loop.precision or torch.float32))
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    bench.ours("ours", lambda: loop.train(0), sync=wait)
    bench.limit("bare", _bare(make(), loop), sync=wait)
    bench.peer("DataLoader", _loader(make(), loop), sync=wait)
    bench.within("ours", of="bare", at_most=1.1)
    bench.faster("ours", than="DataLoader", at_least=1.5)


def _with_validation(kept: int) -> int:
    """Return how many images leave ``kept`` of them for training, so that all steps are whole batches."""
    n = kept
    while stratified_split(np.arange(n) % 10, 0.1, 0)[0].size < kept:
        n += 1
    return n


def _bare(model: nn.Module, loop: Loop) -> Callable[[], None]:
    """Return steps on float batches that lie on the device already: no order, no conversion."""
    layout = torch.channels_last if loop.device.type == "cuda" else torch.contiguous_format
    model = model.to(loop.device, memory_format=layout)  # type: ignore[call-overload]
    batches = [
        (images.to(torch.float32, memory_format=layout) / 255, labels)
        for images, labels in zip(
            loop.images.tensor_split(loop.steps), loop.labels.tensor_split(loop.steps), strict=True
        )
    ]
    optimiser = torch.optim.Adam(model.parameters(), fused=True)

    def run() -> None:
        model.train()
        for images, labels in batches:
            _step(model, optimiser, images, labels, loop)

    return run


class _Digits(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's data sets give them: a PIL image made a float tensor, one at a time."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.permute(0, 2, 3, 1).contiguous().numpy(), labels.numpy()
        self.transform = torchvision("transforms").ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def _loader(model: nn.Module, loop: Loop) -> Callable[[], None]:
    """Return the usual loop: shuffling DataLoader, transfer, step, and the loss read for the log."""
    model = model.to(loop.device)
    cuda = loop.device.type == "cuda"
    data = _Digits(loop.images.cpu(), loop.labels.cpu())
    workers = {"num_workers": 8, "persistent_workers": True} if cuda else {}
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, pin_memory=cuda, **workers)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(model.parameters())

    def run() -> None:
        model.train()
        for images, labels in loader:
            images, labels = images.to(loop.device), labels.to(loop.device)
            _step(model, optimiser, images, labels, loop).item()

    return run


def _step(model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor, loop: Loop) -> Tensor:
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(loop.device.type, dtype=loop.precision, enabled=loop.precision is not None):
        loss = functional.cross_entropy(model(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.detach()
