"""Similarity matrices that come without cells."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignment.brain.precomputed import read_rsms, read_scenes
from neural_alignment import DataError, InputError


def similarity(rows: int, seed: int = 0) -> np.ndarray:
    return np.corrcoef(np.random.default_rng(seed).normal(size=(rows, 40)))


def test_the_real_matrices(shared_data: Path) -> None:
    path = shared_data / "allen_rsms" / "natural_scene_rsms.npz"
    found = read_rsms(path)
    assert dict(found.sizes) == {"population": 11, "scene": 118, "scene_b": 118}
    assert found["population"].values.tolist()[:5] == [
        "VISp L2/3",
        "VISp L4",
        "VISp L5",
        "VISp L6",
        "VISl L2/3",
    ]
    assert (found["n_cells"] == 0).all()
    with np.load(path) as archive:
        raw = archive["VISal__layer4"]
    one = found.sel(population="VISal L4")
    np.testing.assert_array_equal(one["rsm"], raw[:118, :118].astype(np.float64))
    np.testing.assert_array_equal(one["blank"], raw[118, :118].astype(np.float64))
    assert one["area"] == "VISal"
    assert one["cortical_layer"] == "L4"
    assert found["rsm"].dtype == np.float64
    assert found.attrs == {
        "simulated": 0,
        "similarity": "Pearson correlation",
        "source": path.name,
        "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert set(found.coords) == {"population", "area", "cortical_layer", "n_cells", "scene", "scene_b"}
    np.testing.assert_array_equal(found["rsm"].values, found["rsm"].transpose("population", "scene_b", "scene"))


def test_without_the_blank(tmp_path: Path) -> None:
    np.savez(tmp_path / "rsms.npz", VISrl__layer6=similarity(10), VISp__layer5=similarity(10, 1))
    found = read_rsms(tmp_path / "rsms.npz", scenes=10)
    assert found["population"].values.tolist() == ["VISp L5", "VISrl L6"]
    assert "blank" not in found
    np.testing.assert_array_equal(found["rsm"][1], similarity(10))


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ("VISpp__layer4", InputError, "Unknown area in .*Did you mean 'VISp'"),
        ("VISp__layer7", InputError, "Unknown layer in .*Did you mean 'layer"),
        ("VISp", DataError, "keys must read AREA__LAYER"),
    ],
)
def test_keys(tmp_path: Path, key: str, error: type[Exception], message: str) -> None:
    np.savez(tmp_path / "rsms.npz", **{key: similarity(10)})
    with pytest.raises(error, match=message):
        read_rsms(tmp_path / "rsms.npz", scenes=10)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (similarity(9), r"shape \(9, 9\); a similarity matrix of 10 scenes has 10 or"),
        (similarity(10)[:, :9], "has shape"),
        (np.zeros(10), "has shape"),
        (np.where(np.eye(10) > 0, np.nan, similarity(10)), "no correlations"),
        (3 * similarity(10), "no correlations"),
        (np.tril(similarity(10)), "not symmetric with ones on its diagonal"),
        (1 - similarity(10), "no correlations|not symmetric with ones"),
    ],
)
def test_matrices_of_another_kind(tmp_path: Path, matrix: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "rsms.npz", VISp__layer4=matrix)
    with pytest.raises(DataError, match=message):
        read_rsms(tmp_path / "rsms.npz", scenes=10)


def test_a_blank_in_some_matrices_alone_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rsms.npz", VISp__layer4=similarity(11), VISl__layer5=similarity(10))
    with pytest.raises(DataError, match=r"a row for the blank in some of its matrices, but none in VISl L5"):
        read_rsms(tmp_path / "rsms.npz", scenes=10)


@pytest.mark.parametrize("scenes", [0, 1, -118, 118.5, "118", None, True])
def test_numbers_of_scenes_that_are_none(scenes: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "rsms.npz", VISp__layer4=similarity(10))
    with pytest.raises(InputError, match="'scenes' parameter of read_rsms must be an integer ≥ 2"):
        read_rsms(tmp_path / "rsms.npz", scenes=scenes)


@pytest.mark.parametrize("matrix", [similarity(10) + 0j, np.full((10, 10), "a"), np.eye(10, dtype=bool)])
def test_values_that_are_no_real_numbers(matrix: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "rsms.npz", VISp__layer4=matrix)
    with pytest.raises(DataError, match="VISp__layer4 holds"):
        read_rsms(tmp_path / "rsms.npz", scenes=10)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_within_a_file_is_found(save: Any, tmp_path: Path) -> None:
    path = tmp_path / "rsms.npz"
    save(path, VISp__layer4=similarity(60))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as an .npz file"):
        read_rsms(path, scenes=60)


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "rsms.npy", similarity(10))
    with pytest.raises(DataError, match=r"cannot be read as an .npz file"):
        read_rsms(tmp_path / "rsms.npy", scenes=10)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rsms.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as an .npz file"):
        read_rsms(path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rsms.npz", VISp__layer4=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"cannot be read as an .npz file of numbers"):
        read_rsms(tmp_path / "rsms.npz")


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        read_rsms(tmp_path / "none.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(DataError, match="holds no matrix"):
        read_rsms(tmp_path / "empty.npz")


class TestScenes:
    """Scenes from a file, as grey levels in [0, 1]."""

    @pytest.mark.parametrize("shape", [(4, 6, 6), (4, 36)], ids=["pictures", "flat"])
    @pytest.mark.parametrize("scale", [1, 255], ids=["0 to 1", "grey levels"])
    def test_every_form_is_the_same_scenes(self, tmp_path: Path, shape: tuple[int, ...], scale: int) -> None:
        scenes = np.random.default_rng(0).random((4, 6, 6))
        scenes[0, 0, 0] = 1.0
        np.save(tmp_path / "scenes.npy", (scenes * scale).reshape(shape))
        found = read_scenes(tmp_path / "scenes.npy")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, scenes, atol=1e-6)

    def test_bytes_are_grey_levels_even_where_all_are_dark(self, tmp_path: Path) -> None:
        scenes = np.random.default_rng(1).integers(0, 2, (3, 4, 5)).astype(np.uint8)
        np.save(tmp_path / "scenes.npy", scenes)
        np.testing.assert_allclose(read_scenes(tmp_path / "scenes.npy"), scenes / 255, atol=1e-7)

    def test_the_real_scenes(self, shared_data: Path) -> None:
        found = read_scenes(shared_data / "allen_scenes" / "scenes_118_31x31.npy")
        assert found.shape == (118, 31, 31) and found.min() == 0 and found.max() == 1

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda s: np.where(np.arange(4)[:, None, None] == 2, np.nan, s), "scene 2 holds NaN"),
            (lambda s: np.where(np.arange(4)[:, None, None] >= 1, 7.0, s), "scene 1, 2, 3 holds one grey level"),
            (lambda s: s - 300, "scene 0, 1, 2, 3 holds NaN, or values outside"),
            (lambda s: s * 3, "values outside of 0 to 255"),
            (lambda s: s.reshape(4, 6, 6, 1), "must hold scenes"),
            (lambda s: s.reshape(4, 36)[:, :35], "35 values, which make no square"),
            (lambda s: s.astype("U"), "must hold scenes"),
        ],
        ids=["NaN", "blank", "negative", "too bright", "4-D", "not square", "text"],
    )
    def test_scenes_that_are_none_are_named(self, tmp_path: Path, change: Any, words: str) -> None:
        scenes = np.random.default_rng(2).random((4, 6, 6)) * 255
        scenes[:, 0, 0] = 255
        np.save(tmp_path / "scenes.npy", change(scenes))
        with pytest.raises(DataError, match=words):
            read_scenes(tmp_path / "scenes.npy")

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="is missing"):
            read_scenes(tmp_path / "none.npy")
        (tmp_path / "text.npy").write_text("scenes")
        with pytest.raises(DataError, match="cannot be read"):
            read_scenes(tmp_path / "text.npy")
