"""Stages for tests of workers: loaded by a worker as it starts (Dask's preload), and by the test itself."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pipelines.graph import STAGES, Stage


def draw(inputs: Any, params: Any, context: Any) -> Any:
    """Draw from torch's own generator, as training does, for some time."""
    import torch

    torch.manual_seed(params["seed"])
    drawn = []
    for _ in range(30):
        drawn.append(torch.rand(()).item())
        time.sleep(0.003)
    return {"drawn": drawn, "threads": torch.get_num_threads()}


def wait(inputs: Any, params: Any, context: Any) -> Any:
    time.sleep(params["seconds"])
    return {"process": os.getpid(), "safe": os.environ.get("PYTHONSAFEPATH"), "omp": os.environ.get("OMP_NUM_THREADS")}


def die(inputs: Any, params: Any, context: Any) -> Any:
    """Kill the worker, as the system does when memory runs out; with ``once``, only the first time."""
    once = Path(params["once"]) if params.get("once") else None
    if once is None or not once.exists():
        if once is not None:
            once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def fail(inputs: Any, params: Any, context: Any) -> Any:
    raise ValueError("a failure of its own")


def borrow(inputs: Any, params: Any, context: Any) -> Any:
    """Import a person's own module, and say where the path ends."""
    module = importlib.import_module(params["module"])
    return {"value": module.VALUE, "last": sys.path[-1]}


NAMES = ("draw", "wait", "die", "fail", "borrow")
MADE = {f"worker_{name}": Stage(f"worker_{name}", 1, f"worker_stages:{name}", name) for name in NAMES}
STAGES.update(MADE)
