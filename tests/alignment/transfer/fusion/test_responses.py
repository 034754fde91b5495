from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alignment.transfer.fusion import ResponsePairs, choose_rois, pairs_from_cells
from neural_alignment import DataError, InputError

LABELS = {
    "area": ["VISp", "VISl", "VISp", "VISp"],
    "cre_line": ["Cux2-CreERT2", "Sst-IRES-Cre", "Sst-IRES-Cre", "Cux2-CreERT2"],
    "neuron_class": ["excitatory", "inhibitory", "inhibitory", "excitatory"],
}


def cells(n: int = 4, scenes: int = 7, trials: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, scenes, trials)).astype(np.float32)


def images(n: int = 7) -> np.ndarray:
    return np.zeros((n, 3, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("by", "rois", "counts"),
    [
        ("area_cre_line", ("VISl Sst", "VISp Cux2", "VISp Sst"), [1, 2, 1]),
        ("area", ("VISl", "VISp"), [1, 3]),
        ("cre_line", ("Cux2", "Sst"), [2, 2]),
        ("neuron_class", ("excitatory", "inhibitory"), [2, 2]),
    ],
)
def test_cells_are_sorted_by_roi(by: str, rois: tuple[str, ...], counts: list[int]) -> None:
    values = cells()
    pairs = pairs_from_cells(images(), values, LABELS, by=by, reliability=np.array([0.25, 0.81, -0.2, np.nan]))
    assert pairs.rois == rois and np.bincount(pairs.roi).tolist() == counts
    assert (np.diff(pairs.roi) >= 0).all()
    means = values.mean(axis=2)
    ceilings = {0: 0.5, 1: 0.9, 2: 0.0, 3: np.nan}
    for unit in range(4):
        cell = int(np.argmin(np.abs(means - pairs.responses[:, unit]).sum(axis=1)))
        assert pairs.responses[:, unit] == pytest.approx(means[cell], abs=1e-6)
        assert pairs.ceiling[unit] == pytest.approx(ceilings[cell], nan_ok=True)
    if by == "area":
        assert pairs.classes == ("inhibitory", "")


def test_missing_trials_count_in_no_mean_and_unusable_cells_are_told() -> None:
    values = cells()
    values[0, :, 2] = np.nan
    values[1, 3] = np.nan  # a scene that was never measured
    values[2] = 0.5  # the same to all
    pairs = pairs_from_cells(images(), values, LABELS, by="area", simulated=True)
    assert pairs.units == 2 and pairs.rois == ("VISp",) and pairs.simulated
    assert "2 cells" in pairs.notes[0]
    assert pairs.responses[:, 0] == pytest.approx(np.nanmean(values[0], axis=1), abs=1e-6)
    assert np.isnan(pairs.ceiling).all()
    values[:] = np.nan
    with pytest.raises(DataError, match="No cell of the observatory has a response to every scene"):
        pairs_from_cells(images(), values, LABELS)


def test_means_can_be_given_instead_of_trials() -> None:
    values = cells()
    by_trials = pairs_from_cells(images(), values, LABELS)
    assert pairs_from_cells(images(), values.mean(axis=2), LABELS).responses == pytest.approx(
        by_trials.responses, abs=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": images(6)}, "must have a row of responses an image. Got 6 images and responses"),
        ({"roi": np.zeros(3, np.int64)}, r"The ROI mask of .* must have a value a unit: 4. Got \(3,\)"),
        ({"ceiling": np.zeros(5)}, "The noise ceiling of .* must have a value a unit"),
        ({"rois": ("a", "b", "c")}, "The ROI c of .* has no cell or voxel"),
        ({"roi": np.array([0, 0, 1, 2])}, "must hold positions 0 to 1"),
        ({"roi": np.array([0, 0, 1, -1])}, "must hold positions 0 to 1"),
        ({"classes": ("",)}, "2 ROIs and 1 classes"),
        ({"responses": np.full((7, 4), np.nan, np.float32)}, "4 units of .* not finite"),
    ],
)
def test_pairs_that_do_not_belong_together_are_refused(changes: dict, message: str) -> None:
    good = ResponsePairs(
        images(), np.zeros((7, 4), np.float32), np.array([0, 0, 1, 1]), ("a", "b"), ("", ""), np.zeros(4), "a test"
    )
    with pytest.raises(DataError, match=message):
        replace(good, **changes)


def test_pairs_go_to_a_store_and_back() -> None:
    pairs = pairs_from_cells(images(), cells(), LABELS, simulated=True)
    back = ResponsePairs.from_parts(pairs.to_parts())
    for name in ("images", "responses", "roi", "ceiling"):
        assert np.array_equal(getattr(back, name), getattr(pairs, name), equal_nan=name == "ceiling")
    assert (back.rois, back.classes, back.name, back.simulated) == (pairs.rois, pairs.classes, pairs.name, True)


def test_labels_of_another_length_and_unknown_groupings_are_refused() -> None:
    with pytest.raises(InputError, match=r"one area a cell \(4\)"):
        pairs_from_cells(images(), cells(), {**LABELS, "area": ["VISp"]})
    with pytest.raises(InputError, match="'by' parameter of pairs_from_cells"):
        pairs_from_cells(images(), cells(), LABELS, by="areas")


def test_rois_by_name_glob_and_class() -> None:
    rois, classes = ["VISl Sst", "VISp Cux2", "VISp Sst"], ["inhibitory", "excitatory", "inhibitory"]
    assert choose_rois(rois, classes, None).tolist() == [0, 1, 2]
    assert choose_rois(rois, classes, ["VISp *"]).tolist() == [1, 2]
    assert choose_rois(rois, classes, ["VISp *"], "inhibitory").tolist() == [2]
    assert choose_rois(rois, classes, ["VISp Sst", "VISl *"]).tolist() == [0, 2]
    with pytest.raises(InputError, match="No ROI is called VISam"):
        choose_rois(rois, classes, ["VISam *"])
    with pytest.raises(InputError, match="of the class 'excitatory' among VISl"):
        choose_rois(rois, classes, ["VISl *"], "excitatory")
