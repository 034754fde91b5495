"""The store: what finding and opening a result costs beside reading its bytes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks.harness import Bench
from cache import Store, make_key
from cache.values import read_value, write_value


def bench_hit(bench: Bench) -> None:
    """Find a result, see that it is whole and read it, beside the read alone."""
    layers, units = (4, 64) if bench.quick else (30, 512)
    value = {
        f"layer{number}": xr.Dataset(
            {
                "unit_response": (("scene", "unit"), bench.rng.random((118, units), dtype=np.float32)),
                "unit_map": (("unit", "y", "x"), bench.rng.random((units, 32, 32), dtype=np.float32)),
            },
            coords={"channel": ("unit", np.arange(units))},
        )
        for number in range(layers)
    }
    folder = Path(tempfile.mkdtemp(prefix="nalign-bench-"))
    store, key = Store(folder / "store"), make_key("activations", "1", {"layers": layers}, {})
    store.write("activations", key, value, {"label": "bench"})
    size = store.list()[0].size
    bench.note(layers=layers, megabytes=round(size / 1e6, 1))
    entry = store.path("activations", key)
    files = [path for path in entry.iterdir() if path.is_file()]

    def ask_and_read() -> None:
        if store.has("activations", key):
            store.read("activations", key)

    bench.ours("hit: has, then read", ask_and_read)
    bench.limit("the read alone", lambda: read_value(entry))
    bench.limit("the bytes alone", lambda: [path.read_bytes() for path in files])
    bench.ours("has", lambda: store.has("activations", key))
    bench.ours("key", lambda: make_key("activations", "1", {"layers": layers, "grid": [32, 32]}, {"weights": key}))
    bench.beside("hit: has, then read", of="the read alone", at_most=0.05)
    bench.within("hit: has, then read", of="the read alone")
    bench.seconds("has", at_most=0.05)
    _tidy_later(bench, folder)


def bench_write(bench: Bench) -> None:
    """Keep an array whole or not at all, beside writing its bytes."""
    array = bench.rng.random(100_000 if bench.quick else 4_000_000)
    folder = Path(tempfile.mkdtemp(prefix="nalign-bench-"))
    store, key = Store(folder / "store"), make_key("array", "1", {}, {})
    bench.note(megabytes=round(array.nbytes / 1e6, 1))

    def plain() -> None:
        inside = folder / "plain"
        inside.mkdir(exist_ok=True)
        for path in inside.iterdir():
            path.unlink()
        write_value(array, inside)

    bench.ours(
        "write: digest, sync, rename",
        lambda: store.write("array", key, array, {}),
        before=lambda: store.remove("array", key),
    )
    bench.limit("the files alone, not synced", plain)
    bench.within("write: digest, sync, rename", of="the files alone, not synced")
    _tidy_later(bench, folder)


def _tidy_later(bench: Bench, folder: Path) -> None:
    bench.after(lambda: shutil.rmtree(folder, ignore_errors=True))
