"""Representations against their definitions, and area averaging against scikit-image and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment.brain.representations import represent, resize_scenes, scale_unit, weighted_images
from neural_alignment import DataError, InputError


def responses_of(values: np.ndarray) -> xr.Dataset:
    cells = len(values)
    return xr.Dataset(
        {"response": (("cell", "scene", "trial"), values.astype(np.float32))},
        coords={
            "area": ("cell", np.full(cells, "VISp")),
            "cell_specimen_id": ("cell", np.arange(cells)),
            "running_speed": (("scene", "trial"), np.zeros(values.shape[1:])),
        },
        attrs={"simulated": 1, "window": [0.0, 0.5]},
    )


@pytest.fixture
def scenes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 30, 44), dtype=np.uint8)


@pytest.fixture
def responses() -> xr.Dataset:
    return responses_of(np.random.default_rng(1).normal(0.2, 1, (5, 12, 6)))


class TestResize:
    @pytest.mark.parametrize(("size", "grid"), [((64, 96), (32, 32)), ((918, 1170), (27, 30)), ((10, 10), (10, 10))])
    def test_whole_blocks_are_scikit_images_local_mean(self, size: tuple[int, int], grid: tuple[int, int]) -> None:
        from skimage.transform import downscale_local_mean

        images = np.random.default_rng(0).integers(0, 256, (2, *size), dtype=np.uint8)
        factors = (1, size[0] // grid[0], size[1] // grid[1])
        expected = downscale_local_mean(images.astype(np.float64) / 255, factors)
        np.testing.assert_allclose(resize_scenes(images, grid), expected, atol=2e-7)

    def test_parts_of_pixels_count_by_their_share(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (2, 7, 11), dtype=np.uint8)
        # Every pixel split into 3 x 4: then the 7 x 11 image is 21 x 44 and divides into 3 x 4 whole blocks.
        fine = np.kron(images, np.ones((1, 3, 4)))
        expected = fine.reshape(2, 3, 7, 4, 11).mean(axis=(2, 4)) / 255
        np.testing.assert_allclose(resize_scenes(images, (3, 4)), expected, atol=2e-7)

    @pytest.mark.parametrize("grid", [(32, 32), (11, 11), (14, 14)])
    def test_the_mean_is_kept(self, grid: tuple[int, int]) -> None:
        images = np.random.default_rng(0).integers(0, 256, (3, 918, 1174), dtype=np.uint8)
        small = resize_scenes(images, grid)
        assert small.dtype == np.float32
        np.testing.assert_allclose(small.mean(axis=(1, 2)), images.mean(axis=(1, 2)) / 255, rtol=1e-6)

    def test_a_flat_scene_stays_flat(self) -> None:
        small = resize_scenes(np.full((1, 918, 1174), 255, dtype=np.uint8))
        np.testing.assert_allclose(small, 1, atol=1e-6)
        assert small.max() <= 1

    def test_grids_finer_than_the_scene(self) -> None:
        images = np.arange(4, dtype=np.uint8).reshape(1, 2, 2)
        np.testing.assert_allclose(resize_scenes(images, (4, 4)) * 255, np.kron(images, np.ones((1, 2, 2))))

    def test_floats_in_range(self, scenes: np.ndarray) -> None:
        np.testing.assert_allclose(resize_scenes(scenes / 255.0), resize_scenes(scenes), atol=1e-6)

    def test_orientation(self) -> None:
        image = np.zeros((1, 8, 8), dtype=np.uint8)
        image[0, :2, 6:] = 255
        small = resize_scenes(image, (4, 4))[0]
        assert small[0, 3] == 1
        assert small.sum() == 1

    @pytest.mark.parametrize(
        ("images", "grid", "message"),
        [
            (np.zeros((4, 4), np.uint8), (2, 2), r"\(scene, height, width\)"),
            (np.full((1, 4, 4), 2.0), (2, 2), "uint8, or floats between 0 and 1"),
            (np.full((1, 4, 4), np.nan), (2, 2), "uint8, or floats between 0 and 1"),
            (np.zeros((1, 4, 4), np.int64), (2, 2), "uint8, or floats"),
            (np.zeros((1, 4, 4), np.uint8), 2, r"a pair \(height, width\)"),
            (np.zeros((1, 4, 4), np.uint8), (2, 0), "'grid' .* ≥ 1"),
        ],
    )
    def test_mistakes(self, images: np.ndarray, grid: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            resize_scenes(images, grid)


class TestWeighted:
    def test_is_the_product_of_the_papers(self) -> None:
        rng = np.random.default_rng(0)
        trials, images = rng.normal(size=(12, 6)), rng.random((12, 5, 4))
        by_trial = trials.T @ images.reshape(12, -1)
        found = weighted_images(trials.mean(axis=1)[None], images)
        np.testing.assert_allclose(found[0].ravel(), by_trial.mean(axis=0), rtol=1e-12)

    @pytest.mark.parametrize(
        ("a", "b", "out"),
        [
            (np.float32, np.float32, np.float32),
            (np.float64, np.float32, np.float64),
            (np.float32, np.float64, np.float64),
        ],
    )
    def test_precision_follows_the_inputs(self, a: Any, b: Any, out: Any) -> None:
        assert weighted_images(np.ones((2, 3), a), np.ones((3, 2, 2), b)).dtype == out

    def test_missing_scenes_add_nothing(self) -> None:
        rng = np.random.default_rng(0)
        weights, images = rng.normal(size=(3, 7)), rng.random((7, 2, 2))
        weights[1, 4] = np.nan
        expected = weighted_images(np.delete(weights, 4, axis=1)[1:2], np.delete(images, 4, axis=0))
        np.testing.assert_allclose(weighted_images(weights, images)[1], expected[0])

    def test_takes_torch_and_xarray(self) -> None:
        import torch

        weights, images = np.random.default_rng(0).random((2, 3)), np.random.default_rng(1).random((3, 2, 2))
        expected = weighted_images(weights, images)
        np.testing.assert_array_equal(weighted_images(torch.as_tensor(weights), xr.DataArray(images)), expected)

    def test_shapes(self) -> None:
        with pytest.raises(InputError, match=r"Got shapes \(2, 3\) and \(4, 2, 2\)"):
            weighted_images(np.ones((2, 3)), np.ones((4, 2, 2)))


class TestScale:
    @settings(max_examples=80, deadline=None)
    @given(hnp.arrays(np.float64, (4, 6), elements=st.floats(-1e6, 1e6)))
    def test_reaches_both_ends_or_is_flagged(self, x: np.ndarray) -> None:
        scaled, degenerate = scale_unit(x)
        assert (scaled[degenerate] == 0).all()
        assert (scaled[~degenerate].min(axis=1, initial=0) == 0).all()
        np.testing.assert_array_equal(scaled[~degenerate].max(axis=1), 1)
        assert (degenerate >= (np.ptp(x, axis=1) == 0)).all()

    @settings(max_examples=40, deadline=None)
    @given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 100))
    def test_scale_and_offset_do_not_matter(self, scale: float, offset: float, seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=(3, 20))
        np.testing.assert_allclose(scale_unit(scale * x + offset)[0], scale_unit(x)[0], atol=1e-8)

    def test_images(self) -> None:
        x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
        scaled, degenerate = scale_unit(x, axis=(-2, -1))
        assert scaled.dtype == np.float32
        assert degenerate.shape == (3,)
        np.testing.assert_array_equal(scaled.reshape(3, -1), scale_unit(x.reshape(3, -1))[0])

    @pytest.mark.parametrize(
        "row",
        [
            [2.0, 2.0, 2.0],
            [0.1 + 0.2, 0.3, 0.3],
            [np.nan, 1.0, 2.0],
            [np.inf, 1.0, 2.0],
            [-1.7e308, 1.7e308, 0.0],
        ],
    )
    def test_degenerate_rows_are_zeros(self, row: list[float]) -> None:
        scaled, degenerate = scale_unit([row, [0.0, 1.0, 2.0]])
        assert degenerate.tolist() == [True, False]
        np.testing.assert_array_equal(scaled, [[0, 0, 0], [0, 0.5, 1]])


class TestRepresent:
    @pytest.mark.parametrize("kind", ["weighted", "matched"])
    def test_images_are_scaled_weighted_sums(self, responses: xr.Dataset, scenes: np.ndarray, kind: Any) -> None:
        found = represent(responses, scenes, kind=kind, grid=(8, 9))
        small = resize_scenes(scenes, (8, 9)).astype(np.float64)
        for cell in range(5):
            raw = sum(
                float(responses["response"][cell, scene].mean().astype(np.float64)) * small[scene]
                for scene in range(12)
            )
            expected = (raw - raw.min()) / (raw.max() - raw.min())
            np.testing.assert_allclose(found["representation"][cell], expected, atol=1e-5)

    def test_tuning_is_the_scaled_mean(self, responses: xr.Dataset) -> None:
        found = represent(responses, kind="tuning")
        mean = responses["response"].mean("trial")
        expected = (mean - mean.min("scene")) / (mean.max("scene") - mean.min("scene"))
        np.testing.assert_allclose(found["representation"], expected, atol=1e-6)
        assert found["representation"].dims == ("cell", "scene")

    def test_what_it_carries(self, responses: xr.Dataset, scenes: np.ndarray) -> None:
        found = represent(responses, scenes)
        assert dict(found.sizes) == {"cell": 5, "y": 32, "x": 32}
        assert {str(name) for name in found.coords} == {"area", "cell_specimen_id", "degenerate", "y", "x"}
        assert found["representation"].dtype == np.float32
        assert found.attrs["simulated"] == 1
        assert found.attrs["kind"] == "weighted"

    def test_degenerate_cells(self, scenes: np.ndarray) -> None:
        values = np.random.default_rng(0).normal(size=(4, 12, 3))
        values[1] = 0
        values[2] = np.nan
        for kind in ("weighted", "matched", "tuning"):
            found = represent(responses_of(values), scenes, kind=kind)  # type: ignore[arg-type]
            assert found["degenerate"].values.tolist() == [False, True, True, False]
            assert (found["representation"].values[1:3] == 0).all()
            assert found.attrs["degenerate_cells"] == 2

    def test_scenes_without_a_trial(self, scenes: np.ndarray) -> None:
        values = np.random.default_rng(0).normal(size=(2, 12, 3))
        values[0, 5] = np.nan
        values[1, 5, 0] = np.nan
        image = represent(responses_of(values), scenes)["representation"].values[0]
        without = represent(responses_of(np.delete(values, 5, axis=1)), np.delete(scenes, 5, axis=0))[
            "representation"
        ].values[0]
        np.testing.assert_allclose(image, without, atol=1e-6)
        tuning = represent(responses_of(values), kind="tuning")["representation"].values
        assert np.isfinite(tuning).all()
        means = np.delete(values[0].mean(axis=1), 5)
        expected = (means.mean() - means.min()) / np.ptp(means)
        assert tuning[0, 5] == pytest.approx(expected, rel=1e-5)

    def test_scenes_already_resized(self, responses: xr.Dataset, scenes: np.ndarray) -> None:
        direct = represent(responses, scenes, grid=(8, 8))
        xr.testing.assert_identical(represent(responses, resize_scenes(scenes, (8, 8)), grid=(8, 8)), direct)

    def test_blocks_change_nothing(
        self, responses: xr.Dataset, scenes: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = represent(responses, scenes)
        monkeypatch.setattr("alignment.brain.representations._BLOCK_VALUES", 1)
        xr.testing.assert_allclose(represent(responses, scenes), whole, rtol=1e-6)

    def test_recovers_a_filter(self) -> None:
        rng = np.random.default_rng(0)
        noise = rng.random((2000, 8, 8)).astype(np.float32)
        wanted = np.zeros((8, 8))
        wanted[2:4, 3:6] = 1
        drive = (noise * wanted).sum(axis=(1, 2)) - (noise * wanted).sum(axis=(1, 2)).mean()
        values = drive[None, :, None] + 0.5 * rng.normal(size=(1, 2000, 4))
        image = represent(responses_of(values), noise, grid=(8, 8))["representation"].values[0]
        assert np.corrcoef(image.ravel(), wanted.ravel())[0, 1] > 0.9

    def test_mistakes(self, responses: xr.Dataset, scenes: np.ndarray) -> None:
        with pytest.raises(InputError, match=r"'kind' parameter of represent must be one of.*Did you mean 'weighted'"):
            represent(responses, scenes, kind="weigthed")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="needs the scenes"):
            represent(responses)
        with pytest.raises(InputError, match=r"an array \(12, height, width\)"):
            represent(responses, scenes[:3])
        with pytest.raises(DataError, match="no cell to represent"):
            represent(responses.isel(cell=[]), scenes)
