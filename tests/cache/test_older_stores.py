"""A store that AllenSDK's own lock wrote (zarr 2, numpy 1.23, pandas 1.5) is read with whatever is installed.

``python tests/cache/test_older_stores.py`` in that environment wrote ``older_store``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from cache import Store

WRITTEN = Path(__file__).with_name("older_store")
KEY = "0123456789abcdef" * 4


def values() -> dict[str, Any]:
    """One of each kind of value that results are made of."""
    rng = np.random.default_rng(5)
    responses = rng.normal(size=(3, 4, 2)).astype(np.float32)
    responses[0, 1] = np.nan
    dataset = xr.Dataset(
        {
            "response": (("cell", "scene", "trial"), responses),
            "blank": (("cell", "trial"), rng.normal(size=(3, 2))),
            "degenerate": ("cell", np.array([False, True, False])),
            "when": ("trial", np.array(["2019-03-01T12:00", "2019-03-02"], dtype="datetime64[ns]")),
        },
        coords={
            "cell_specimen_id": ("cell", np.array([517425074, 2**53 + 1, 3])),
            "cre_line": ("cell", np.array(["Cux2-CreERT2", "Sst-IRES-Cre", "née"], dtype=object)),
            "scene": np.arange(4),
        },
        attrs={"simulated": True, "seed": 5, "sentence": "größer"},
    )
    table = pd.DataFrame({"model": ["vgg11", None], "value": [0.5, np.nan], "n": [1, 2], "twin": [True, False]})
    return {
        "dataset": dataset,
        "empty": xr.Dataset({"none": ("cell", np.zeros(0))}),
        "table": table,
        "array": rng.normal(size=(2, 3)),
        "plain": {"name": "demo", "list": [1, 2.5, None, "x"]},
    }


def test_every_kind_of_value_reads_as_it_was_written(tmp_path: Path) -> None:
    store = Store(shutil.copytree(WRITTEN, tmp_path / "store"))
    found, wanted = store.read("responses", KEY), values()
    packages = json.loads((store.path("responses", KEY) / "provenance.json").read_text("utf-8"))["packages"]
    assert packages["zarr"].startswith("2.") and packages["numpy"].startswith("1.23")
    assert list(found) == list(wanted)
    for name in ("dataset", "empty"):
        xr.testing.assert_identical(found[name], wanted[name])
        for variable in wanted[name].variables:
            assert found[name][variable].dtype == wanted[name][variable].dtype, variable
    pd.testing.assert_frame_equal(found["table"], wanted["table"])
    np.testing.assert_array_equal(found["array"], wanted["array"])
    assert found["plain"] == wanted["plain"]


if __name__ == "__main__":
    import zarr

    versions = {module.__name__: module.__version__ for module in (np, pd, xr, zarr)}
    Store(WRITTEN).write("responses", KEY, values(), {"packages": versions})
