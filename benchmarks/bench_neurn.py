"""NeuRN's local deviation: every method that was tried, its time beside a plain copy and its error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from alignment.models import NeuRN
from alignment.models._local_std import local_std_eager
from alignment.models._local_std_cpu import local_std_cpu
from benchmarks.harness import Bench


def bench_neurn_small(bench: Bench) -> None:
    """NeuRN k=3 on 256 small colour images (256, 3, 32, 32)."""
    _bench(bench, (8 if bench.quick else 256, 3, 32, 32))


def bench_neurn_large(bench: Bench) -> None:
    """NeuRN k=3 on 16 large colour images (16, 3, 224, 224)."""
    _bench(bench, (1 if bench.quick else 16, 3, 224, 224))


def _bench(bench: Bench, shape: tuple[int, ...]) -> None:
    grey = bench.rng.integers(0, 256, shape)
    images = torch.from_numpy((grey / 255).astype(np.float32))
    # Half of every image is bright and all but flat: there most methods fail.
    bright = 230 + bench.rng.integers(0, 2, shape)
    images[..., shape[-1] // 2 :] = torch.from_numpy((bright / 255).astype(np.float32))[..., shape[-1] // 2 :]
    methods = _methods()
    exact = _two_pass(images.double())
    seen = exact > 0.1 / 255
    bench.note(shape=str(shape), threads=torch.get_num_threads())
    layer = NeuRN()
    bench.ours("NeuRN", lambda: layer(images))
    for k in (7, 11):
        wide = NeuRN(k)
        bench.ours(f"NeuRN k={k}", lambda wide=wide: wide(images), repeats=5)
    for name, method in methods.items():
        add = bench.ours if name.startswith("ours") else bench.peer
        add(name, lambda method=method: method(images), repeats=7)
        error = (method(images).double() - exact).abs() / exact
        goal = 1e-5 if name.startswith("ours") else None
        bench.value(f"relative error, {name}", float(error[seen].nan_to_num(1.0).max()), at_most=goal)
    try:
        compiled = torch.compile(local_std_eager)
        compiled(images)
        bench.peer("eager float64, torch.compile", lambda: compiled(images), repeats=7)
    except RuntimeError as error:
        bench.skip("eager float64, torch.compile", str(error).splitlines()[0])
    with torch.enable_grad():
        leaf = images.clone().requires_grad_()
        bench.ours("NeuRN, forward and backward", lambda: layer(leaf).sum().backward(), repeats=5)
    bench.peer("avg_pool2d once", lambda: functional.avg_pool2d(images, 3, 1, 1))
    try:
        from kornia.filters import box_blur

        bench.peer("kornia box_blur once", lambda: box_blur(images, (3, 3)))
    except ImportError as error:
        bench.skip("kornia box_blur once", str(error))
    bench.limit("copy", images.clone)
    bench.within("NeuRN", of="copy", at_most=None if bench.quick else 20)
    for name in methods:
        bench.within(name, of="copy")
    if torch.cuda.is_available():
        device = images.cuda()
        bench.ours("NeuRN on CUDA", lambda: layer(device), sync=torch.cuda.synchronize)
        bench.limit("copy on CUDA", device.clone, sync=torch.cuda.synchronize)
        bench.within("NeuRN on CUDA", of="copy on CUDA", at_most=3)
    else:
        bench.skip("NeuRN on CUDA", "no CUDA device")


def _methods() -> dict[str, Callable[[Tensor], Tensor]]:
    return {
        "ours, compiled float64 strips": local_std_cpu,
        "ours, eager separable float64": local_std_eager,
        "two-pass shifts float32": _two_pass,
        "centred shifts float32": _centred,
        "unfold and std": _unfold,
        "avg_pool2d of x and x2, float32": _pooled,
        "avg_pool2d of x and x2, float64": lambda x: _pooled(x.double()).float(),
    }


def _shifts(x: Tensor) -> list[Tensor]:
    padded = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    height, width = x.shape[-2:]
    return [padded[..., i : i + height, j : j + width] for i in range(3) for j in range(3)]


def _two_pass(x: Tensor) -> Tensor:
    shifts = _shifts(x)
    mean = sum(shifts) / 9
    return (sum((s - mean).square() for s in shifts) / 9).sqrt()


def _centred(x: Tensor) -> Tensor:
    total, squares, difference = torch.zeros_like(x), torch.zeros_like(x), torch.empty_like(x)
    for shift in _shifts(x):
        torch.sub(shift, x, out=difference)
        total += difference
        squares.addcmul_(difference, difference)
    return squares.mul_(9).addcmul_(total, total, value=-1).clamp_min_(0).sqrt_().div_(9)


def _unfold(x: Tensor) -> Tensor:
    padded = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    return padded.unfold(2, 3, 1).unfold(3, 3, 1).std(dim=(-2, -1), correction=0)


def _pooled(x: Tensor) -> Tensor:
    padded = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    mean = functional.avg_pool2d(padded, 3, 1)
    return (functional.avg_pool2d(padded * padded, 3, 1) - mean * mean).clamp_min(0).sqrt()
