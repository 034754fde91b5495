"""Reliability and responsiveness: against plain formulas, on data whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alignment.brain.quality import (
    quality_by_cell,
    quality_table,
    responsiveness,
    split_half_reliability,
)
from neural_alignment import InputError


def simulate(cells: int, scenes: int = 60, trials: int = 20, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """Responses of unit tuning variance and given trial noise."""
    rng = np.random.default_rng(seed)
    tuning = rng.normal(size=(cells, scenes, 1))
    return (tuning + noise * rng.normal(size=(cells, scenes, trials))).astype(np.float32)


def dataset(response: np.ndarray, blank: np.ndarray, **attrs: Any) -> xr.Dataset:
    cells = len(response)
    coordinates: dict[str, Any] = {
        "cell_specimen_id": np.arange(cells) + 100,
        "experiment_id": np.full(cells, 7),
        "area": np.full(cells, "VISp"),
        "genotype": np.full(cells, "Sst-1"),
        "depth_um": np.full(cells, 275),
    }
    return xr.Dataset(
        {"response": (("cell", "scene", "trial"), response), "blank": (("cell", "trial"), blank)},
        coords={name: ("cell", values) for name, values in coordinates.items()},
        attrs=attrs,
    )


class TestSplitHalf:
    def test_is_the_plain_formula(self) -> None:
        data = simulate(6, trials=11, noise=2.0)
        found = split_half_reliability(data, seed=3, splits=7)
        rng = np.random.default_rng(3)
        correlations = []
        for _ in range(7):
            order = rng.permutation(11)
            halves = [data[:, :, order[part]].astype(np.float64).mean(axis=2) for part in (slice(5), slice(5, 10))]
            correlations.append([stats.pearsonr(a, b)[0] for a, b in zip(*halves, strict=True)])
        mean = np.mean(correlations, axis=0)
        np.testing.assert_allclose(found, 2 * mean / (1 + mean), rtol=1e-10)

    def test_missing_trials_are_left_out_of_their_half(self) -> None:
        data = simulate(4, trials=10)
        data[1, 5, [0, 3, 4]] = np.nan
        data[2, 9] = np.nan
        found = split_half_reliability(data, seed=1, splits=5)
        rng = np.random.default_rng(1)
        expected = []
        for _ in range(5):
            order = rng.permutation(10)
            a, b = (np.nanmean(np.delete(data[2], 9, axis=0)[:, part], axis=1) for part in (order[:5], order[5:]))
            expected.append(stats.pearsonr(a.astype(np.float64), b.astype(np.float64))[0])
        assert found[2] == pytest.approx(2 * np.mean(expected) / (1 + np.mean(expected)), rel=1e-6)
        whole = split_half_reliability(simulate(4, trials=10), seed=1, splits=5)
        np.testing.assert_allclose(found[[0, 3]], whole[[0, 3]], rtol=1e-12)

    @pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
    def test_estimates_the_reliability_of_the_mean(self, noise: float) -> None:
        data = simulate(200, scenes=118, trials=20, noise=noise)
        expected = 1 / (1 + noise**2 / 20)
        assert np.median(split_half_reliability(data)) == pytest.approx(expected, abs=0.02)

    def test_no_tuning_no_reliability(self) -> None:
        noise = np.random.default_rng(0).normal(size=(300, 118, 20))
        assert abs(np.median(split_half_reliability(noise))) < 0.05

    def test_constant_cells_have_none(self) -> None:
        data = simulate(4)
        data[1] = 0.3
        data[2] = np.float32(0.1) * np.arange(1, data.shape[2] + 1, dtype=np.float32)
        data[3] = np.nan
        assert np.isnan(split_half_reliability(data)).tolist() == [False, True, True, True]

    def test_seeded(self) -> None:
        data = simulate(3, noise=4)
        np.testing.assert_array_equal(split_half_reliability(data, seed=5), split_half_reliability(data, seed=5))
        assert (split_half_reliability(data, seed=5, splits=2) != split_half_reliability(data, seed=6, splits=2)).all()

    def test_blocks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = simulate(9)
        whole = split_half_reliability(data)
        monkeypatch.setattr("alignment.brain.quality._BLOCK_VALUES", 1)
        np.testing.assert_allclose(split_half_reliability(data), whole, rtol=1e-12)

    @settings(max_examples=25, deadline=None)
    @given(st.floats(0.01, 100), st.floats(-50, 50), st.integers(0, 5))
    def test_scale_and_offset_do_not_matter(self, scale: float, offset: float, seed: int) -> None:
        data = simulate(3, scenes=12, trials=6, seed=seed).astype(np.float64)
        np.testing.assert_allclose(
            split_half_reliability(data, splits=5),
            split_half_reliability(scale * data + offset, splits=5),
            atol=1e-6,
        )

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 1000), st.integers(3, 9), st.integers(2, 7))
    def test_is_never_out_of_range(self, seed: int, scenes: int, trials: int) -> None:
        data = np.random.default_rng(seed).normal(size=(5, scenes, trials))
        found = split_half_reliability(data, splits=3)
        assert (np.abs(found) <= 1).all()

    def test_takes_labelled_and_torch_arrays(self) -> None:
        import torch

        data = simulate(3)
        expected = split_half_reliability(data)
        labelled = xr.DataArray(data, dims=("cell", "scene", "trial"))
        for given_as in (
            labelled,
            labelled.transpose("trial", "cell", "scene"),
            labelled.to_dataset(name="response"),
            torch.as_tensor(data),
        ):
            np.testing.assert_allclose(split_half_reliability(given_as), expected, rtol=1e-12)

    @pytest.mark.parametrize(
        ("data", "options", "message"),
        [
            (np.zeros((3, 4)), {}, r"an array \(cell, scene, trial\)"),
            (np.zeros((3, 4, 1)), {}, "at least 2 trials"),
            (np.zeros((3, 4, 5)), {"splits": 0}, "'splits' .* ≥ 1"),
        ],
    )
    def test_mistakes(self, data: np.ndarray, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            split_half_reliability(data, **options)


class TestResponsiveness:
    def test_is_calibrated_without_a_response(self) -> None:
        rng = np.random.default_rng(0)
        data = dataset(rng.gamma(0.5, 1, (400, 20, 10)), rng.gamma(0.5, 1, (400, 10)))
        p = responsiveness(data, permutations=99, seed=1)
        assert stats.kstest(p, "uniform").pvalue > 0.01

    def test_finds_one_strong_scene(self) -> None:
        rng = np.random.default_rng(1)
        response, blank = rng.normal(size=(10, 30, 15)), rng.normal(size=(10, 15))
        response[:5, 7] += 3
        p = responsiveness(dataset(response, blank), permutations=199)
        assert (p[:5] == 1 / 200).all()
        assert (p[5:] > 0.005).all()

    def test_is_the_plain_formula(self) -> None:
        rng = np.random.default_rng(2)
        response, blank = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 5))
        response[1, 2, 3] = np.nan
        found = responsiveness(dataset(response, blank), permutations=50, seed=9)
        sweeps = np.concatenate([response.reshape(2, -1), blank], axis=1)
        labels = np.repeat(np.arange(5), 5)

        def statistic(values: np.ndarray) -> float:
            means = [np.nanmean(values[labels == label]) for label in range(5)]
            return float(max(means[:4]) - means[4])

        rng = np.random.default_rng(9)
        shuffles = [rng.permutation(25) for _ in range(50)]
        for cell in range(2):
            observed = statistic(sweeps[cell])
            reached = sum(statistic(sweeps[cell][order]) >= observed - 1e-9 for order in shuffles)
            assert found[cell] == pytest.approx((reached + 1) / 51)

    def test_moving_trials_missing_in_all_cells(self) -> None:
        rng = np.random.default_rng(3)
        response, blank = rng.normal(size=(4, 10, 8)), rng.normal(size=(4, 8))
        response[:, rng.random((10, 8)) < 0.4] = np.nan
        response[0, 5] += 5
        p = responsiveness(dataset(response, blank), permutations=99)
        assert p[0] == 0.01
        assert np.isfinite(p).all()

    def test_a_constant_cell_does_not_respond(self) -> None:
        data = dataset(np.full((2, 9, 7), 0.1, np.float32), np.full((2, 7), 0.1, np.float32))
        assert (responsiveness(data, permutations=49) == 1).all()

    def test_nothing_to_compare_with(self) -> None:
        response, blank = simulate(3, scenes=5, trials=4), np.full((3, 4), np.nan, dtype=np.float32)
        assert np.isnan(responsiveness(dataset(response, blank), permutations=9)).all()
        blank = np.zeros((3, 4), dtype=np.float32)
        response[1] = np.nan
        assert np.isnan(responsiveness(dataset(response, blank), permutations=9)).tolist() == [
            False,
            True,
            False,
        ]


class TestTables:
    @pytest.fixture
    def data(self) -> xr.Dataset:
        response = simulate(4, trials=6, noise=0.5)
        response[1] = 2.0
        response[2] = np.nan
        response[3, 0, 0] = np.nan
        response[0, 5] += 10.0
        response[3, 5] += 10.0
        blank = np.full((4, 6), 2.0, dtype=np.float32)
        return dataset(response, blank, dropped_nan=2, dropped_constant=1, missing_trials=361, moving_trials=0)

    def test_reasons_by_cell(self, data: xr.Dataset) -> None:
        table = quality_by_cell(data, permutations=19)
        assert table["reason"].tolist() == ["", "constant tuning", "too few trials", ""]
        assert table["reliability"].isna().tolist() == [False, True, True, False]
        assert table["missing_trials"].tolist() == [0, 0, 360, 1]
        assert table["cell_specimen_id"].tolist() == [100, 101, 102, 103]
        assert table["responsive_p"][0] == pytest.approx(1 / 20)

    def test_counts_by_session(self, data: xr.Dataset) -> None:
        row = quality_table(data, min_reliability=0.5).iloc[0]
        expected = {
            "experiment_id": 7, "area": "VISp", "genotype": "Sst-1", "cells": 4, "reliable_cells": 2,
            "unreliable_cells": 0, "without_reliability": 2, "dropped_nan": 2, "dropped_constant": 1,
            "missing_trials": 361, "moving_trials": 0,
        }  # fmt: skip
        assert {name: row[name] for name in expected} == expected
        assert row["median_reliability"] > 0.9

    def test_known_reliability_is_used(self, data: xr.Dataset) -> None:
        marked = data.assign_coords(reliability=("cell", [0.1, 0.2, np.nan, 0.9]))
        assert quality_by_cell(marked)["reliability"].tolist()[:2] == [0.1, 0.2]
        row = quality_table(marked, min_reliability=0.15).iloc[0]
        assert (row["reliable_cells"], row["unreliable_cells"], row["without_reliability"]) == (2, 1, 1)

    def test_responsive_cells_are_counted_where_tested(self, data: xr.Dataset) -> None:
        table = quality_by_cell(data, permutations=99)
        assert quality_table(data, table)["responsive_cells"][0] == (table["responsive_p"] < 0.05).sum() == 2
        assert "responsive_cells" not in quality_table(data)
