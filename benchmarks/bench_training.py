"""Training steps on digits: ours beside bare steps on resident tensors, and beside DataLoader loops.

The peers are the loop that a user of torchvision writes: data set items as PIL images (28×28 grey, as its MNIST gives
them), made 32×32 colour float tensors by transforms, batched by a shuffling DataLoader, with the loss read for the log
at every step. Beside it stands the same loop over images that have the right size and colours already, which leaves
only the conversion to normalised tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from alignment.models import create_layer, create_model
from alignment.models._libraries import torchvision
from alignment.transfer import Domain, Method
from alignment.transfer.device import resolve_device
from alignment.transfer.images import stratified_split
from alignment.transfer.loop import Loop, Settings
from benchmarks.harness import Bench

BATCH = 256


def bench_training_step(bench: Bench) -> None:
    """Train on batches of 256 digits at 32 pixels: the small network of the digits study."""
    _bench(bench, "baseline")


def bench_training_step_neurn(bench: Bench) -> None:
    """Train the same network with NeuRN in front."""
    _bench(bench, "neurn")


def _network(layer: str) -> nn.Module:
    """Return the network behind a layer; it takes images in [0, 1] and normalises them itself."""
    return nn.Sequential(create_layer(layer), create_model("small_cnn", num_classes=10, image_size=32, width=0.5))


def _bench(bench: Bench, layer: str) -> None:
    device = resolve_device("auto")
    steps = 1 if bench.quick else (40 if device.type == "cuda" else 4)
    n = _with_validation(steps * BATCH)
    images = bench.rng.integers(0, 256, (n, 3, 32, 32)).astype(np.uint8)
    labels = np.arange(n) % 10
    domain = Domain("noise", "train", images, labels, tuple("0123456789"))
    settings = Settings(bench.seed, 1, BATCH, 1e-3, 5, 0.1)
    loop = Loop(_network(layer), domain, settings, Method(), device, None)
    bench.note(images=len(loop.images), steps=loop.steps, device=str(device), threads=torch.get_num_threads())
    bench.note(precision=str(loop.precision or torch.float32))
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    bench.ours("ours", lambda: loop.train(0), sync=wait)
    bench.limit("bare", _bare(_network(layer), loop), sync=wait)
    workers = 8 if device.type == "cuda" else 2
    grey = loop.images[:, 0, 2:30, 2:30].cpu().numpy()
    colour = loop.images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    for name, pictures, number in (
        ("DataLoader", grey, 0),
        (f"DataLoader, {workers} workers", grey, workers),
        ("DataLoader, no resizing", colour, 0),
        (f"DataLoader, no resizing, {workers} workers", colour, workers),
    ):
        bench.peer(name, _loader(_network(layer), loop, pictures, number, bare_colours=layer == "baseline"), sync=wait)
        bench.faster("ours", than=name, at_least=1.5 if pictures is grey else None)
    bench.within("ours", of="bare", at_most=1.1)


def _with_validation(kept: int) -> int:
    """Return how many images leave ``kept`` of them for training, so that all steps are whole batches."""
    n = kept
    while stratified_split(np.arange(n) % 10, 0.1, 0)[0].size < kept:
        n += 1
    return n


def _bare(model: nn.Module, loop: Loop) -> Callable[[], None]:
    """Return steps on float batches that lie on the device already: no order, no conversion."""
    layout = torch.channels_last
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
    """Images as torchvision's data sets give them: a PIL image and its transforms, one at a time."""

    def __init__(self, images: Any, labels: Tensor, normalise: bool) -> None:
        self.images, self.labels = images, labels.numpy()
        transforms = torchvision("transforms")
        steps: list[Any] = []
        if images.ndim == 3:
            steps += [transforms.Resize((32, 32)), transforms.Grayscale(num_output_channels=3)]
        steps.append(transforms.ToTensor())
        if normalise:
            steps.append(transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def _loader(model: Any, loop: Loop, pictures: Any, workers: int, bare_colours: bool) -> Callable[[], None]:
    """Return the usual loop: shuffling DataLoader, transfer, step, and the loss read for the log.

    With ``bare_colours`` the data set normalises and the bare network trains; NeuRN needs the pixels as they are, so
    that network goes on normalising behind it.
    """
    model = (model[1].net if bare_colours else model).to(loop.device)
    cuda = loop.device.type == "cuda"
    data = _Digits(pictures, loop.labels.cpu(), bare_colours)
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": True} if workers else {}
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, pin_memory=cuda, **options)
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
