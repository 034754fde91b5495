"""Training heads on stored tokens: the fusion, the image-only heads and a bare linear layer, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from alignment.transfer.device import resolve_device
from alignment.transfer.fusion import FitSettings, HeadOptions, Tokens, Variant, fit_ridge, train_head
from alignment.transfer.images import stratified_split
from benchmarks.harness import Bench

EPOCHS, CLASSES, UNITS = 5, 20, 288


def bench_fusion_head(bench: Bench) -> None:
    """Train heads for 5 epochs on 16 tokens of 128 features and 288 responses an image, set-up included."""
    n = 400 if bench.quick else 2000
    device = resolve_device("auto")
    patches = bench.rng.normal(size=(n, 16, 128)).astype(np.float16)
    tokens = Tokens(patches.mean(axis=1), patches, (4, 4), False, "noise")
    responses = bench.rng.normal(size=(n, UNITS)).astype(np.float32)
    labels = np.arange(n) % CLASSES
    settings = FitSettings(bench.seed, EPOCHS, EPOCHS)
    bench.note(images=n, epochs=EPOCHS, batch=settings.batch_size, device=str(device), threads=torch.get_num_threads())
    wait = torch.cuda.synchronize if device.type == "cuda" else None

    def head(fuse: str, options: HeadOptions) -> Callable[[], object]:
        variant = Variant(fuse, fuse)
        return lambda: train_head(
            variant, tokens, responses, labels, CLASSES, options=options, settings=settings, device=device
        )

    small = HeadOptions(width=32, depth=1, heads=4, patch=24)
    repeats = None if device.type == "cuda" else 7
    bench.ours("fusion, width 64", head("cross_attention", HeadOptions()), sync=wait, repeats=repeats)
    bench.ours("fusion, width 32", head("cross_attention", small), sync=wait, repeats=repeats)
    bench.ours("image only, width 32", head("image", small), sync=wait, repeats=repeats)
    bench.ours("linear head", head("linear", small), sync=wait)
    bench.limit("bare linear", _bare(tokens, labels, settings, device), sync=wait)
    bench.within("linear head", of="bare linear", at_most=2.5)
    for name in ("image only, width 32", "fusion, width 32", "fusion, width 64"):
        bench.within(name, of="bare linear")
    bench.seconds("fusion, width 32", at_most=3.0)


def bench_ridge(bench: Bench) -> None:
    """Fit a ridge of 288 units from 2,048 features on 118 images, one λ of 21 in each of 24 regions."""
    from sklearn.linear_model import RidgeCV

    from alignment.transfer.fusion import LAMBDAS

    n, features = 118, 256 if bench.quick else 2048
    x = bench.rng.normal(size=(n, features))
    y = x[:, :20] @ bench.rng.normal(size=(20, UNITS)) + bench.rng.normal(size=(n, UNITS))
    regions = np.repeat(np.arange(24), UNITS // 24)

    def theirs() -> list[RidgeCV]:
        return [RidgeCV(LAMBDAS).fit(x, y[:, regions == region]) for region in range(24)]

    bench.note(images=n, features=features, units=UNITS, regions=24, penalties=len(LAMBDAS))
    bench.ours("ours", lambda: fit_ridge(x, y, regions))
    bench.peer("scikit-learn", theirs, repeats=3)
    bench.faster("ours", than="scikit-learn", at_least=5)
    ours = fit_ridge(x, y, regions)
    same = [float(found.alpha_) for found in theirs()]
    bench.value("regions with another λ", float(np.sum(~np.isclose(ours.penalty, same))), at_most=0)


def _bare(tokens: Tokens, labels: np.ndarray, settings: FitSettings, device: torch.device) -> Callable[[], None]:
    """Return as many epochs of a linear layer on means that lie on the device already, with validation."""
    kept, held = stratified_split(labels, settings.validation, settings.seed)
    features = torch.from_numpy(tokens.patches.mean(axis=1, dtype=np.float32)).to(device)
    truth = torch.from_numpy(labels).to(device)
    x, y, held_x, held_y = features[kept], truth[kept], features[held], truth[held]
    steps = -(-len(x) // settings.batch_size)

    def run() -> None:
        model = nn.Linear(x.shape[1], CLASSES).to(device)
        optimiser = torch.optim.AdamW(model.parameters(), fused=True)
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(x), device=device).tensor_split(steps):
                optimiser.zero_grad(set_to_none=True)
                functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimiser.step()
            with torch.inference_mode():
                functional.cross_entropy(model(held_x), held_y).item()

    return run
