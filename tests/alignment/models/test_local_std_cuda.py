"""The Triton kernel without a GPU: it compiles for the GPUs that are about, computes what it is to, or steps aside."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from alignment.models import NeuRN, _local_std, _local_std_cuda
from alignment.models._local_std import local_std, local_std_eager, over_largest

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")

# Everything that names a driver or sets how Triton runs stays in a process of its own.
COMPILE = """
import sys
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import MockTensor


class Named:
    '''A driver that says which GPU there is, and cannot launch.'''

    capability = 0
    launcher_cls = staticmethod(lambda *args, **kwargs: None)

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return self.capability  # compiled kernels are kept by device

    def get_current_stream(self, device):
        return 0

    def get_device_interface(self):
        return torch.cuda

    def get_active_torch_device(self):
        return torch.device("cuda", 0)

    class utils:
        @staticmethod
        def get_device_properties(device):
            return {"max_shared_mem": 49152, "max_num_regs": 65536, "multiprocessor_count": 40, "warpSize": 32}

        @staticmethod
        def load_binary(*args):
            return 0, 0, 0, 0, 1024


gpu = Named()
driver.set_active(gpu)
from alignment.models._local_std_cuda import _planes

pixels, index = MockTensor(torch.float32), MockTensor(torch.int32)
for gpu.capability in map(int, sys.argv[1:]):
    for k in (3, 11):
        compiled = _planes.warmup(
            pixels, pixels, index, index, 32 * 31, 32, 31, k * k * 7e-15, k=k, block=512, grid=(2, 3)
        )
        assert len(compiled.asm["cubin"]) > 1000
        print(gpu.capability, k, f".target sm_{gpu.capability}" in compiled.asm["ptx"])
"""

# In the interpreter the launch is the real one, on tensors of the CPU. It takes its time by planes and k².
INTERPRET = """
import warnings
import torch
from alignment.models import _local_std_cuda as cuda
from alignment.models._local_std import BORDERS, local_std_eager, over_largest

warnings.simplefilter("error", UserWarning)
generator = torch.Generator().manual_seed(0)
bright = torch.full((1, 1, 20, 30), 230 / 255)  # more pixels than one program takes
bright[:, :, 2:18:3, 1:29:4] += 1 / 255
dark = torch.zeros(1, 1, 11, 14)
dark[..., 7:] = (250 + torch.randint(0, 2, (1, 1, 11, 7), generator=generator)) / 255
noise = torch.rand(2, 1, 13, 9, generator=generator)
holed = torch.rand(1, 2, 13, 9, generator=generator)
holed[0, 0, 4, 4], holed[0, 1, 2, 2] = float("nan"), float("inf")
images = [bright, dark, noise[:, :, ::2, 1:], holed.transpose(2, 3), torch.full((1, 1, 9, 8), 0.1)]
images += [noise[:1, :, :1, :1], noise[:1, :, :1], noise[:0]]
checks = 0
for border, k in [*((border, 3) for border in BORDERS), ("reflect", 11)]:
    for image in images:
        scope = "image" if len(image) else "none"
        found = cuda.local_std_cuda(image, k, border, scope)
        wanted = over_largest(local_std_eager(image, k, border), scope)
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9, equal_nan=True)
        assert torch.equal(found == 0, wanted == 0)
        checks += 1
print(checks)
"""


def python(code: str, *arguments: str, home: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TRITON_CACHE_DIR": str(home), **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@needs_triton
def test_the_kernel_compiles_for_every_generation_of_gpus(tmp_path: Path) -> None:
    capabilities = ("75", "80", "90", "100")
    told = python(COMPILE, *capabilities, home=tmp_path)
    assert [line.split()[:2] for line in told] == [[c, k] for c in capabilities for k in ("3", "11")]
    assert all(line.endswith("True") for line in told), told


@needs_triton
def test_the_kernel_interpreted_is_the_eager_path(tmp_path: Path) -> None:
    assert int(python(INTERPRET, home=tmp_path, TRITON_INTERPRET="1")[-1]) == 4 * 8


@needs_triton
def test_without_a_gpu_to_launch_on_the_eager_path_is_taken(tmp_path: Path) -> None:
    code = (
        "import torch; from alignment.models._local_std_cuda import local_std_cuda\n"
        "print(local_std_cuda(torch.rand(1, 1, 4, 4)))"
    )
    assert python(code, home=tmp_path, CUDA_VISIBLE_DEVICES="") == ["None"]


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Send images of the CPU where those of a GPU go, in a process that has not tried yet."""
    monkeypatch.setattr(_local_std, "_kernel_for", lambda device: _local_std_cuda.local_std_cuda)
    monkeypatch.setattr(_local_std_cuda, "_failure", None)
    monkeypatch.setattr(_local_std_cuda, "_absence", None)
    yield monkeypatch


def image() -> torch.Tensor:
    return torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))


def refuse(*arguments: Any) -> None:
    raise NameError("Cannot access global variable\nat line 3")


@pytest.mark.parametrize("fault", ["compiler", "absence"])
def test_one_warning_says_why_and_the_values_are_the_eager_ones(on_cuda: pytest.MonkeyPatch, fault: str) -> None:
    if fault == "absence":
        on_cuda.setattr(_local_std_cuda, "_absence", "Triton cannot be imported: No module named 'triton'")
    on_cuda.setattr(_local_std_cuda, "_launch", refuse)
    why = "NameError: Cannot access global variable" if fault == "compiler" else "No module named 'triton'"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: local_std(image(), 5, "zeros", "image"), range(8)))
        found.append(local_std(image(), 5, "zeros", "image"))
    assert len(told) == 1
    assert why in str(told[0].message) and "torch's own operators compute the same values" in str(told[0].message)
    assert all(torch.equal(sigma, over_largest(local_std_eager(image(), 5, "zeros"), "image")) for sigma in found)


def test_a_compiler_that_failed_is_not_asked_again(on_cuda: pytest.MonkeyPatch) -> None:
    tries = []
    on_cuda.setattr(_local_std_cuda, "_launch", lambda *arguments: tries.append(True) or refuse())
    with pytest.warns(UserWarning, match="kernel for this GPU cannot be used"):
        NeuRN()(image())
    NeuRN(form="inverse")(image())
    assert len(tries) == 1


def test_memory_that_runs_out_is_no_fault_of_the_kernel(on_cuda: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    on_cuda.setattr(_local_std_cuda, "_launch", full)
    with pytest.raises(torch.OutOfMemoryError):
        local_std(image())
    assert _local_std_cuda._failure is None


def test_triton_that_cannot_be_imported_is_told(tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text("raise OSError('libtriton.so: wrong ELF class')")
    code = (
        "import sys, warnings, torch\n"
        "warnings.simplefilter('always'); sys.path.insert(0, sys.argv[1])\n"
        "from alignment.models._local_std_cuda import local_std_cuda\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    print([local_std_cuda(torch.rand(1, 1, 4, 4)) for _ in range(2)], len(told), told[0].message)\n"
    )
    (line,) = python(code, str(tmp_path), home=tmp_path / "cache")
    assert line.startswith("[None, None] 1 ") and "wrong ELF class" in line
