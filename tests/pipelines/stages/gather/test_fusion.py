"""Heads of fusion that tie over a few seeds prove nothing, and shifts of one set of images are not more images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.stages.gather.fusion import SHIFTED, _paired


def heads(seeds: int) -> pd.DataFrame:
    rows = [
        (variant, "own", target, seed, right / 100, n)
        for variant, right in (("image_only", 50), ("l1", 51))
        for target, n in (("own", 100), ("own.jpeg-1", 100), ("own.jpeg-5", 100), (SHIFTED, 200))
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["variant", "source", "target", "seed", "accuracy", "n"])


def test_two_seeds_that_agree_are_not_tested() -> None:
    paired = _paired(heads(2), "image_only")
    assert paired["difference"].to_numpy() == pytest.approx(0.01)
    assert paired[["ci_low", "ci_high", "p", "q"]].isna().all(axis=None)
    assert (paired["reason"] == "not testable: 2 seeds, and a test needs at least 3").all()


def test_the_mean_over_shifts_has_the_images_of_one_of_them() -> None:
    paired = _paired(heads(3), "image_only").set_index("target")
    width = (paired["ci_high"] - paired["ci_low"]).to_dict()
    assert width[SHIFTED] == pytest.approx(width["own"]) and width["own"] > 0.1
    assert (paired["q"] > 0.5).all() and np.isfinite(paired["q"]).all()
