"""Activation extraction beside the bare forward pass, torchvision's extractor and save-everything hooks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from alignment.models import create_model, extract_activations
from alignment.models._libraries import torchvision
from alignment.models.zoo import ImageModel
from benchmarks.harness import Bench


def bench_extraction_vgg11(bench: Bench) -> None:
    """vgg11 (torchvision) with every chosen layer (auto), images of 64 px."""
    _bench(bench, "torchvision:vgg11", 64)


def bench_extraction_resnet18(bench: Bench) -> None:
    """resnet18 with every chosen layer (auto), images of 128 px."""
    _bench(bench, "resnet18", 64 if bench.quick else 128)


def bench_extraction_memory(bench: Bench) -> None:
    """Peak memory of the process, 100 images and 10,000, read from a mapped file."""
    if not Path("/proc/self/status").exists():
        # Elsewhere a child reports its parent's peak where that is higher.
        bench.skip("peak memory", "no /proc to read a process's own peak from")
        return
    few, many = 100, (300 if bench.quick else 10_000)
    peaks = {count: _peak(count) for count in (few, many)}
    for count, peak in peaks.items():
        bench.value(f"peak memory, {count} images", peak, unit="MB")
    images = 4 * 3 * 32 * 32 * (many - few) / 1e6
    rise = peaks[many] - peaks[few]
    bench.note(mapped_images_MB=images, rise_MB=rise)
    bench.value("rise less the mapped images", rise - images, unit="MB", at_most=20)


def _bench(bench: Bench, name: str, size: int) -> None:
    # As many images as there are natural scenes; the digest of the weights is part of the work. Ours and
    # torchvision's extractor end at the last layer that is read, the other two run the classifier as well.
    count, batch = (2, 2) if bench.quick else (118, 32)
    model = create_model(name, num_classes=10, image_size=size)
    images = bench.rng.random((count, 3, size, size)).astype(np.float32)
    layers = list(extract_activations(model, images[:1]))
    bench.note(model=name, images=count, batch=batch, size=size, layers=len(layers))
    tensors = torch.from_numpy(images).split(batch)

    @torch.no_grad()
    def forward() -> None:
        for part in tensors:
            model(part)

    few = {"repeats": 5}
    ours, leaves = "extract_activations", "extract_activations, every leaf module"
    bench.ours(ours, lambda: extract_activations(model, images, layers=layers, batch_size=batch), **few)
    bench.ours(leaves, lambda: extract_activations(model, images, layers="all", batch_size=batch), **few)
    bench.peer("create_feature_extractor, reduced after", _extractor(model, layers, tensors), **few)
    bench.peer("hooks that keep everything", _keeping(model, layers, tensors), **few)
    bench.limit("forward", forward, **few)
    bench.within(ours, of="forward", at_most=None if bench.quick else 1.15)
    bench.within(leaves, of="forward")
    bench.within("create_feature_extractor, reduced after", of="forward")
    bench.within("hooks that keep everything", of="forward")


def _extractor(model: ImageModel, layers: list[str], parts: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    build = torchvision("models.feature_extraction").create_feature_extractor
    net = build(model.net, return_nodes={name: name for name in layers})

    @torch.no_grad()
    def run() -> object:
        found = [net((part - model.mean) / model.std) for part in parts]
        return {n: (torch.cat([f[n].mean(dim=(2, 3)) for f in found]), sum(f[n].sum(0) for f in found)) for n in layers}

    return run


def _keeping(model: ImageModel, layers: list[str], parts: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    @torch.no_grad()
    def run() -> object:
        kept: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
        hooks = [
            model.net.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: kept[name].append(output.clone())
            )
            for name in layers
        ]
        for part in parts:
            model(part)
        for hook in hooks:
            hook.remove()
        whole = {name: torch.cat(maps) for name, maps in kept.items()}
        return {name: (maps.mean(dim=(2, 3)), maps.mean(dim=0)) for name, maps in whole.items()}

    return run


def _peak(count: int) -> float:
    code = (
        "import numpy as np, tempfile;"
        "from alignment.models import create_model, extract_activations;"
        "m = create_model('small_cnn', num_classes=10, image_size=32, width=0.25);"
        f"f = tempfile.NamedTemporaryFile(); f.truncate({count} * 3 * 32 * 32 * 4);"
        f"x = np.memmap(f.name, np.float32, 'r', shape=({count}, 3, 32, 32));"
        "extract_activations(m, x, batch_size=50);"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1e3
