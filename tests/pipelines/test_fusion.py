"""Studies of fusion: what may stand in them, on what each key depends, and a whole one from images to the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from cache import Store
from neural_alignment import InputError
from pipelines.config import FusionConfig, Study
from pipelines.plan import make_plan
from pipelines.stages.gather.fusion import SHIFTED, gather_fusion
from pipelines.study import load_study

FUSION: dict[str, Any] = {
    "source": "digits",
    "corruptions": ["gaussian_noise"],
    "severities": [2, 5],
    "train_limit": 120,
    "test_limit": 60,
    "tokens": {"grid": [2, 2]},
    "brain": {"roi": "neuron_class", "folds": 2},
    "head": {"width": 8, "depth": 1, "heads": 2, "patch": 4},
    "training": {"epochs": 2, "patience": 2},
    "seeds": [0, 1],
    "variants": [
        {"name": "cross_attention"},
        {"name": "add", "fuse": "add", "responses": "projection"},
        {"name": "shuffled", "responses": "shuffled"},
        {"name": "excitatory", "neuron_class": "excitatory"},
        {"name": "image_only", "fuse": "image"},
        {"name": "linear", "fuse": "linear"},
    ],
}


@pytest.fixture
def plan(tmp_path: Path, write_study: Callable[..., Path]) -> Callable[..., dict[tuple[str, str], str]]:
    """``plan(**changes of the fusion)``: the keys of the tiny study's tasks by stage and label."""
    store = Store(tmp_path / "store")

    def keys(**changes: Any) -> dict[tuple[str, str], str]:
        made = make_plan(load_study(write_study(tmp_path, fusion={**FUSION, **changes})), store)
        return {(task.stage, task.label): task.key for task in made.tasks}

    return keys


def changed(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> set[str]:
    assert before.keys() == after.keys()
    return {stage for (stage, label), key in before.items() if after[stage, label] != key}


def test_the_tasks_of_a_fusion(plan: Callable[..., dict[tuple[str, str], str]]) -> None:
    counts = Counter(stage for stage, _ in plan())
    # Tokens of the training split, three test sets and the scenes; one evaluation a head.
    assert {name: counts[name] for name in ("pairs", "brain_encoder", "tokens", "predicted", "fusion", "ood")} == {
        "pairs": 1, "brain_encoder": 1, "tokens": 5, "predicted": 4, "fusion": 12, "ood": 12,
    }  # fmt: skip
    assert counts["attention"] == 4  # every head that has one, first seed


HEADS = {"fusion", "ood", "attention", "report"}


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"pearson": 0.5}, HEADS),
        ({"training": {"epochs": 3, "patience": 2}}, HEADS),
        ({"brain": {"roi": "neuron_class", "folds": 2, "kind": "decoder"}}, {"brain_encoder", "predicted", *HEADS}),
        ({"brain": {"roi": "area", "folds": 2}}, None),
        ({"tokens": {"grid": [2, 2], "dtype": "float32"}}, {"tokens", "brain_encoder", "predicted", *HEADS}),
        ({"tokens": {"grid": [2, 2], "batch_size": 8}}, {"report"}),
        ({"reference": "linear"}, {"report"}),
    ],
)
def test_a_key_changes_with_what_decides_the_result(
    plan: Callable[..., dict[tuple[str, str], str]], changes: dict[str, Any], stages: set[str] | None
) -> None:
    before, after = plan(), plan(**changes)
    if stages is None:  # the grouping is in a label
        kept = {key for (stage, _), key in before.items() if stage == "pairs"}
        assert not kept & set(after.values())
    else:
        assert changed(before, after) == stages


def test_the_name_of_a_variant_is_in_no_heads_key(plan: Callable[..., dict[tuple[str, str], str]]) -> None:
    renamed = [{**FUSION["variants"][0], "name": "mine"}, *FUSION["variants"][1:]]
    before, after = plan(), plan(variants=renamed)
    assert before["fusion", "cross_attention seed 0"] == after["fusion", "mine seed 0"]


def test_the_correlation_does_not_touch_heads_without_a_brain(plan: Callable[..., dict[tuple[str, str], str]]) -> None:
    before, after = plan(), plan(pearson=0.7)
    for name in ("image_only", "linear"):
        assert before["fusion", f"{name} seed 0"] == after["fusion", f"{name} seed 0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pearson": -0.1}, "fusion.pearson: input should be greater than or equal to 0. Got -0.1"),
        ({"variants": [{"name": "a", "pearson": -1}], "reference": "a"}, "greater than or equal to 0"),
        ({"variants": [{"name": "a", "fuse": "ad"}], "reference": "a"}, "Did you mean 'add'"),
        ({"variants": [{"name": "a"}, {"name": "a"}], "reference": "a"}, "'variants' lists one twice"),
        ({"reference": "nothing"}, "'reference' is 'nothing'"),
        ({"encoder": "resnet18"}, "'fusion.encoder' is 'resnet18', and this study has small_cnn"),
        ({"layer_variant": "lrn"}, "'fusion.layer_variant' is 'lrn'"),
        ({"head": {"width": 9, "heads": 2}}, "must be a multiple of 'heads'"),
        ({"corruptions": ["gaussian_nose"]}, "Unknown shift 'gaussian_nose-2'"),
        ({"severities": [6]}, "less than or equal to 5"),
        ({"brain": {"source": "fmri"}}, "source: fmri needs 'folder'"),
        ({"brain": {"folder": "x"}}, "source: fmri needs 'folder'"),
        ({"targets": ["minst"]}, "Did you mean 'mnist'"),
        ({"training": {"validation": 1.0}}, "less than 0.9"),
    ],
)
def test_what_may_not_stand_in_a_study(
    tmp_path: Path, write_study: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        load_study(write_study(tmp_path, fusion={**FUSION, **changes}))
    assert message in str(error.value)


def test_fusion_needs_a_brain() -> None:
    with pytest.raises(ValidationError, match="add 'observatory', or take fmri"):
        Study.model_validate(
            {"name": "a", "title": "b", "models": [{"name": "small_cnn"}], "fusion": {"source": "digits"}}
        )


def test_tested_domains_are_the_source_the_targets_and_every_severity() -> None:
    config = FusionConfig(source="mnist", targets=["usps"], corruptions=["jpeg"], severities=[1, 3])
    assert config.tested() == ["mnist", "usps", "mnist.jpeg-1", "mnist.jpeg-3"]
    names = [variant.name for variant in config.variants]
    assert {"cross_attention", "no_correlation", "shuffled", "random", "image_only", "linear"} <= set(names)


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory, nalign: Callable[..., Any], write_study: Callable[..., Path]
) -> dict[str, Any]:
    """The tiny study with a fusion, run with its real report."""
    folder = tmp_path_factory.mktemp("fusion")
    study = write_study(folder, fusion=FUSION)
    result = nalign("run", study, "--cache", folder / "store", "--out", folder / "runs")
    assert result.code == 0, result.err
    tables = {path.stem: pd.read_csv(path) for path in (folder / "runs" / "tiny" / "tables").glob("fusion*.csv")}
    return {"study": study, "store": Store(folder / "store"), "run": folder / "runs" / "tiny", "tables": tables}


def test_every_head_is_scored_on_every_domain(ran: dict[str, Any]) -> None:
    rows = ran["tables"]["fusion"]
    assert len(rows) == 6 * 2 * (3 + 1)
    assert set(rows["target"]) == {"digits", "digits.gaussian_noise-2", "digits.gaussian_noise-5", SHIFTED}
    assert rows["accuracy"].between(0, 1).all() and (rows["n"][rows["target"] == "digits"] == 60).all()
    alone = rows[rows["target"] != SHIFTED]
    for (variant, seed), part in alone[alone["target"] != "digits"].groupby(["variant", "seed"]):
        mean = rows[(rows["variant"] == variant) & (rows["seed"] == seed) & (rows["target"] == SHIFTED)]
        assert mean["accuracy"].item() == pytest.approx(part["accuracy"].mean())
        assert mean["n"].item() == part["n"].sum()
    named = rows.set_index("target").loc["digits.gaussian_noise-5"]
    assert set(named["shift"]) == {"gaussian_noise"} and set(named["severity"]) == {5.0}


def test_subsets_use_fewer_units_and_the_image_only_head_as_many_weights(ran: dict[str, Any]) -> None:
    rows = ran["tables"]["fusion"].drop_duplicates("variant").set_index("variant")
    assert rows.loc["excitatory", "units"] < rows.loc["cross_attention", "units"]
    assert rows.loc["image_only", "weights"] == pytest.approx(rows.loc["cross_attention", "weights"], abs=17)
    assert rows.loc["linear", "weights"] < rows.loc["cross_attention", "weights"]


def test_differences_are_paired_by_seed_with_q_over_the_heads_of_a_domain(ran: dict[str, Any]) -> None:
    runs, paired = ran["tables"]["fusion"], ran["tables"]["fusion_paired"]
    assert set(paired["reference"]) == {"image_only"} and "image_only" not in set(paired["variant"])
    wide = runs[runs["target"] == "digits"].pivot(index="seed", columns="variant", values="accuracy")
    for _, row in paired[paired["target"] == "digits"].iterrows():
        assert row["difference"] == pytest.approx((wide[row["variant"]] - wide["image_only"]).mean(), abs=1e-7)
        assert row["seeds"] == 2
    known = paired.dropna(subset=["p", "q"])
    assert (known["q"] >= known["p"] - 1e-12).all()


def test_the_encoder_is_told_before_anything_is_fused(ran: dict[str, Any]) -> None:
    table = ran["tables"]["fusion_encoder"]
    assert set(table["roi"]) == {"excitatory", "inhibitory"}
    assert np.isfinite(table["r"]).all() and (table["r"].abs() <= 1).all()
    assert ((table["r2"] < 0) == table["worse_than_mean"]).all()


def test_the_page_has_the_fusion_with_its_figures(ran: dict[str, Any]) -> None:
    page = (ran["run"] / "report.html").read_text()
    assert "Brain-machine fusion" in page
    if (ran["tables"]["fusion_encoder"]["worse_than_mean"]).any():
        assert "worse than the training images" in page
    drawn = {path.stem for path in (ran["run"] / "figures").glob("fusion_*.svg")}
    names = ("design", "encoder", "ablation", "severity", "heat", "attention")
    assert drawn == {f"fusion_{name}" for name in names}


def test_a_second_run_computes_nothing_and_one_more_seed_only_its_heads(
    ran: dict[str, Any], nalign: Callable[..., Any], tmp_path: Path, light_report: list[Any]
) -> None:
    store = ran["store"]
    again = nalign("run", ran["study"], "--cache", store.root, "--out", tmp_path / "runs")
    assert again.code == 0 and "0 computed" in again.out, again.err
    study = yaml.safe_load(Path(ran["study"]).read_text())
    study["fusion"]["seeds"] = [0, 1, 2]
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump(study))
    plan = make_plan(load_study(more), store)
    missing = Counter(task.stage for task in plan.tasks if not store.has(task.stage, task.key))
    assert missing == {"fusion": 6, "ood": 6, "report": 1}


def test_gathering_without_a_fusion_gives_nothing() -> None:
    class Empty:
        def names(self, prefix: str = "") -> list[str]:
            return []

    assert gather_fusion(Empty(), {}) == {}  # type: ignore[arg-type]


def test_fmri_in_the_layout_of_algonauts_and_a_folder_of_another_domain(
    tmp_path: Path, nalign: Callable[..., Any], light_report: list[Any]
) -> None:
    rng = np.random.default_rng(0)
    subject = tmp_path / "subj01"
    for part in ("training_split/training_images", "training_split/training_fmri", "roi_masks"):
        (subject / part).mkdir(parents=True)
    for index in range(12):
        picture = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
        Image.fromarray(picture).save(subject / "training_split/training_images" / f"train-{index:04d}.png")
    for side, vertices in (("lh", 9), ("rh", 6)):
        np.save(subject / f"training_split/training_fmri/{side}_training_fmri.npy", rng.normal(size=(12, vertices)))
        np.save(subject / f"roi_masks/{side}.streams_challenge_space.npy", np.arange(vertices) % 3)
    for name in ("3", "7", "cat"):
        folder = tmp_path / "data" / "sketches" / name
        folder.mkdir(parents=True)
        for index in range(2):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)).save(folder / f"{index}.png")
    fusion = {**FUSION, "brain": {"source": "fmri", "folder": "subj01", "folds": 2}, "corruptions": []}
    fusion |= {"targets": ["folder.sketches"], "data": "data", "seeds": [0]}
    fusion["variants"] = [{"name": "early", "rois": ["early"]}, {"name": "image_only", "fuse": "image"}]
    study = {"name": "human", "title": "t", "models": [{"name": "small_cnn", "image_size": 16}], "fusion": fusion}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**study, "layer_variants": ["baseline"], "compute": {"cluster": "inline"}}))
    result = nalign("run", path, "--cache", tmp_path / "store", "--out", tmp_path / "runs")
    assert result.code == 0, result.err
    (shown,) = light_report
    rows = shown.fusion
    folder = rows[(rows["target"] == "folder.sketches") & (rows["variant"] == "early")].iloc[0]
    assert (folder["n"], folder["left_out"]) == (4, 2)  # all of the folder; the cats are of no class that is known
    assert shown.fusion_encoder["roi"].tolist() == ["early", "midventral"]
    assert shown.fusion_encoder["ceiling"].isna().all() and not shown.fusion_design["simulated"]
    told = json.dumps(yaml.safe_load(shown.study_yaml)["fusion"])
    assert str(tmp_path) not in told


def test_an_roi_that_the_brain_does_not_have_is_named(
    nalign: Callable[..., Any], write_study: Callable[..., Path], tmp_path: Path, ran: dict[str, Any]
) -> None:
    variants = [{"name": "VISam", "rois": ["VISam *"]}, {"name": "image_only", "fuse": "image"}]
    study = write_study(tmp_path, fusion={**FUSION, "variants": variants, "seeds": [0]})
    result = nalign("run", study, "--cache", ran["store"].root, "--out", tmp_path / "runs")
    assert result.code == 1 and "No ROI is called VISam *. There are excitatory, inhibitory" in result.message
