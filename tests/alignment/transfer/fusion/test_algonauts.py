from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alignment.transfer.fusion import algonauts_files, read_algonauts
from neural_alignment import DataError, InputError

Write = Callable[..., Path]


def fmri(folder: Path, side: str) -> Path:
    return folder / "training_split" / "training_fmri" / f"{side}_training_fmri.npy"


def mask(folder: Path, side: str) -> Path:
    return folder / "roi_masks" / f"{side}.streams_challenge_space.npy"


def test_a_subject_becomes_pairs_of_both_hemispheres(algonauts: Write) -> None:
    folder = algonauts()
    pairs = read_algonauts(folder, image_size=16)
    assert pairs.images.shape == (6, 3, 16, 16)
    assert pairs.images[:, 0, 0, 0].tolist() == [10, 20, 30, 40, 50, 60]  # the order of the names is that of the rows
    assert pairs.rois == ("early", "midventral", "midlateral")
    sides = [np.load(fmri(folder, side)) for side in ("lh", "rh")]
    masks = [np.load(mask(folder, side)) for side in ("lh", "rh")]
    for number, name in enumerate(pairs.rois, start=1):
        expected = np.concatenate([side[:, own == number] for side, own in zip(sides, masks, strict=True)], axis=1)
        assert np.array_equal(pairs.responses[:, pairs.roi == pairs.rois.index(name)], expected)
    assert np.isnan(pairs.ceiling).all() and not pairs.simulated
    assert "5 of 18 vertices belong to no region" in pairs.notes[-1]


def test_the_files_are_listed_for_a_digest(algonauts: Write) -> None:
    names = [path.name for path in algonauts_files(algonauts())]
    assert len(names) == 6 + 4 + 1 and names[-1] == "mapping_streams.npy"
    assert len(algonauts_files(algonauts(mapping="published"))) == 11


def test_a_limit_takes_the_first_images(algonauts: Write) -> None:
    folder = algonauts()
    few = read_algonauts(folder, image_size=16, limit=4)
    assert len(few.images) == len(few.responses) == 4
    assert np.array_equal(few.responses, read_algonauts(folder, image_size=16).responses[:4])


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        (None, ("early", "midventral", "midlateral")),
        ({0: "Unknown", 1: "one", 2: "two", 3: "three"}, ("one", "two", "three")),
        ({1: "one"}, ("one", "midventral", "midlateral")),
        ({1: ["a", "list"]}, ("early", "midventral", "midlateral")),
    ],
)
def test_names_come_from_the_mapping_or_are_the_published_ones(algonauts: Write, mapping: object, names: tuple) -> None:
    assert read_algonauts(algonauts(mapping=mapping), image_size=16).rois == names


def test_a_mapping_that_runs_code_is_not_run(algonauts: Write, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "was-run",))

    folder = algonauts(mapping={1: Runs()})
    assert read_algonauts(folder, image_size=16).rois == ("early", "midventral", "midlateral")
    assert not (tmp_path / "was-run").exists()


def test_vertices_without_a_number_are_left_out_and_told(algonauts: Write) -> None:
    folder = algonauts()
    values = np.load(fmri(folder, "lh"))
    values[2, 1] = np.nan
    np.save(fmri(folder, "lh"), values)
    pairs = read_algonauts(folder, image_size=16)
    assert pairs.units == 12 and "1 vertices without a number" in pairs.notes[0]


def test_what_does_not_fit_is_refused(algonauts: Write) -> None:
    folder = algonauts()
    with pytest.raises(InputError, match=r"Unknown ROI masks 'stream'\. .* Did you mean 'streams'"):
        read_algonauts(folder, atlas="stream")
    good = np.load(mask(folder, "rh"))
    np.save(mask(folder, "rh"), good[:-1])
    with pytest.raises(DataError, match=r"The ROI mask .*rh.streams.* must have a value a vertex: 8. Got \(7,\)"):
        read_algonauts(folder)
    for side in ("lh", "rh"):
        np.save(mask(folder, side), np.zeros(10 if side == "lh" else 8))
    with pytest.raises(DataError, match="mark no vertex"):
        read_algonauts(folder)
    np.save(fmri(folder, "lh"), np.zeros(5))
    with pytest.raises(DataError, match=r"must be \(image, vertex\)"):
        read_algonauts(folder)


def test_more_images_than_rows_are_refused(algonauts: Write) -> None:
    folder = algonauts()
    for path in sorted((folder / "training_split" / "training_images").glob("*.png"))[:2]:
        path.unlink()
    with pytest.raises(DataError, match="has 4 images and 6 and 6 rows of responses"):
        read_algonauts(folder)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("training_split/training_images", "No images in"),
        ("roi_masks", "No ROI masks in"),
        ("training_split/training_fmri/rh_training_fmri.npy", "Both hemispheres are needed"),
    ],
)
def test_a_part_that_is_not_there_is_named(algonauts: Write, gone: str, message: str) -> None:
    folder = algonauts()
    (folder / gone).rename(folder / "elsewhere")
    with pytest.raises(DataError, match=message):
        read_algonauts(folder)


def test_damaged_files_are_named(algonauts: Write) -> None:
    folder = algonauts()
    first = sorted((folder / "training_split" / "training_images").glob("*.png"))[0]
    whole = first.read_bytes()
    first.write_bytes(whole[:30])
    with pytest.raises(DataError, match="not a complete image"):
        read_algonauts(folder)
    first.write_bytes(whole)
    fmri(folder, "lh").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="not a complete array"):
        read_algonauts(folder)
