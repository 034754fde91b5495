"""From a study to tasks: what is asked for, and on what each key depends."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cache import Store
from neural_alignment import DataError, InputError
from pipelines.graph import Task
from pipelines.plan import Plan, make_plan
from pipelines.study import load_study

FIRST = 501498760


@pytest.fixture
def plan(tmp_path: Path, write_study: Callable[..., Path]) -> Callable[..., Plan]:
    """``plan(**changes)``: the tiny study's plan with changes."""
    store = Store(tmp_path / "store")
    return lambda **changes: make_plan(load_study(write_study(tmp_path, **changes)), store)


def keys(plan: Plan) -> dict[tuple[str, str], str]:
    """Every task's key by stage and label."""
    found = {(task.stage, task.label): task.key for task in plan.tasks}
    assert len(found) == len(plan.tasks)
    return found


def changed(before: Plan, after: Plan) -> set[str]:
    """The stages of which a key differs."""
    old, new = keys(before), keys(after)
    assert old.keys() == new.keys()
    return {stage for (stage, label), key in old.items() if new[stage, label] != key}


NETWORKS = {"domain", "train", "evaluate", "features", "floors", "invariance"}
READERS = {"similarity", "paired", "claims", "report"}  # of anything on either side
EVERYTHING = {"responses", "population", "representations", "ceiling", "scenes", "activations", *NETWORKS, *READERS}


def test_the_tasks_of_a_study(plan: Callable[..., Plan]) -> None:
    made = plan()
    assert made.complete and made.report is not None and made.wanted == [made.report]
    assert Counter(task.stage for task in made.tasks) == {
        "responses": 2, "scenes": 1, "population": 1, "representations": 1, "domain": 3, "train": 2, "evaluate": 4,
        "features": 2, "floors": 2, "invariance": 1, "activations": 4, "similarity": 4,
        "paired": 1, "ceiling": 1, "claims": 1, "report": 1,
    }  # fmt: skip


def test_numbers_of_tasks_follow_the_study(plan: Callable[..., Plan], study_values: dict[str, Any]) -> None:
    models = [{**study_values["models"][0], "label": name} for name in "ab"]
    made = plan(
        models=models,
        layer_variants=["baseline", "neurn", "lrn"],
        representations={"kinds": ["weighted", "tuning"]},
        transfer={"seeds": [0, 1, 2]},
    )
    counts = Counter(task.stage for task in made.tasks)
    # Two labels of one architecture are trained once: the label is no part of what training is.
    assert counts["train"] == 3 * 3 and counts["evaluate"] == 2 * 3 * 3 * 2
    assert counts["features"] == 2 * 3  # of the first seed, on the one target that is not the source
    assert counts["similarity"] == 2 * (2 * 3 * 2) and counts["paired"] == 2 * 2 * 2  # each network and its twin
    assert counts["ceiling"] == counts["claims"] == 2
    assert counts["representations"] == 2 and counts["responses"] == 2


def test_inputs_come_before_their_readers(plan: Callable[..., Plan]) -> None:
    seen: set[str] = set()
    for task in plan().tasks:
        assert {needed.key for needed in task.inputs.values()} <= seen
        seen.add(task.key)


def test_without_a_baseline_nothing_is_paired(plan: Callable[..., Plan]) -> None:
    assert "paired" not in {task.stage for task in plan(layer_variants=["neurn", "lrn"]).tasks}


def test_half_studies(plan: Callable[..., Plan], only_transfer: dict[str, Any], only_brain: dict[str, Any]) -> None:
    assert {task.stage for task in plan(**only_transfer).tasks} == {*NETWORKS, "report"}
    assert {task.stage for task in plan(**only_brain).tasks} == EVERYTHING - NETWORKS - {"paired", "claims"}


def test_the_same_study_has_the_same_keys(plan: Callable[..., Plan]) -> None:
    assert keys(plan()) == keys(plan())


def test_where_the_work_runs_is_in_no_key(plan: Callable[..., Plan]) -> None:
    compute = {"cluster": "slurm", "workers": 7, "threads": 3, "device": "cuda", "options": {"queue": "long"}}
    assert keys(plan(compute=compute)) == keys(plan())


def test_who_reads_the_files_is_in_no_key_but_goes_to_the_tasks(plan: Callable[..., Plan]) -> None:
    own = plan(observatory={"reader": "own"})
    assert keys(own) == keys(plan())
    assert {task.where["reader"] for task in own.tasks if task.stage in ("responses", "scenes")} == {"own"}


def test_a_reader_that_is_not_installed_is_refused_before_anything_runs(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignment.brain.allen.sdk_reader.why_not", lambda: "AllenSDK is not installed")
    with pytest.raises(InputError, match="'allensdk' cannot be used: AllenSDK is not installed"):
        plan(observatory={"reader": "allensdk"})
    assert plan(observatory={"reader": "auto"}).complete


def test_where_the_data_lie_is_in_no_key(plan, observatory: Path, tmp_path: Path) -> None:
    shutil.copytree(observatory, tmp_path / "elsewhere")
    assert keys(plan(observatory={"folder": str(tmp_path / "elsewhere")})) == keys(plan())


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"title": "Another"}, {"report"}),
        ({"responses": {"window": [0.0, 0.25]}}, {"responses", "population", "representations", "ceiling", *READERS}),
        ({"responses": {"stationary_below": 1.5}}, {"responses", "population", "representations", "ceiling", *READERS}),
        ({"responses": {"unusable": "raise"}}, {"responses", "population", "representations", "ceiling", *READERS}),
        ({"responses": {"min_reliability": -0.5}}, {"population", "representations", "ceiling", *READERS}),
        ({"responses": {"per_class": 3}}, {"report"}),  # without select it decides nothing but the page
        ({"representations": {"grid": [9, 9]}}, {"representations", "ceiling", "scenes", "activations", *READERS}),
        ({"similarity": {"bootstraps": 101}}, {"ceiling", *READERS}),
        ({"similarity": {"permutations": 100}}, {"paired", "claims", "report"}),
        ({"activations": {"layers": ["net.0"]}}, {"activations", *READERS}),
        ({"transfer": {"epochs": 2}}, {"train", "evaluate", "features", "activations", *READERS}),
        ({"transfer": {"test_limit": 40}}, {"domain", "evaluate", "features", "floors", "invariance", "report"}),
        ({"transfer": {"train_limit": 90}},
         {"domain", "train", "evaluate", "features", "floors", "activations", *READERS}),
        ({"seed": 1}, EVERYTHING - {"scenes"}),
        ({"models": [{"name": "small_cnn", "image_size": 16, "weights": "trained", "width": 2.0}]},
         {"train", "evaluate", "features", "activations", *READERS}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "stages",  # a set's order differs by process
)  # fmt: skip
def test_a_change_changes_the_keys_of_what_it_decides(
    plan: Callable[..., Plan], changes: Any, stages: set[str]
) -> None:
    assert changed(plan(), plan(**changes)) == stages


def test_a_second_seed_of_training_adds_tasks_and_changes_none(plan: Callable[..., Plan]) -> None:
    before, after = keys(plan()), keys(plan(transfer={"seeds": [0, 1]}))
    assert {place for place, key in before.items() if after[place] != key} == {("report", "tiny")}
    assert len(after) == len(before) + 6


def test_the_content_of_a_session_is_in_its_key(plan: Callable[..., Plan], write_observatory, tmp_path: Path) -> None:
    folder = write_observatory(tmp_path / "observatory")
    before = plan(observatory={"folder": str(folder)})
    file = folder / "ophys_experiment_data" / f"{FIRST}.nwb"
    import h5py

    with h5py.File(file, "r+") as opened:
        opened["processing/brain_observatory_pipeline/DfOverF/imaging_plane_1/data"][2, 100] += 1
    after = plan(observatory={"folder": str(folder)})
    old, new = keys(before), keys(after)
    assert {label for stage, label in old if stage == "responses" and old[stage, label] != new[stage, label]} == {
        f"{FIRST} VISp Cux2-3"
    }


def test_the_content_of_weights_is_in_the_key(plan: Callable[..., Plan], tmp_path: Path, only_brain) -> None:
    file = tmp_path / "net.safetensors"
    changes = {**only_brain, "models": [{"name": "small_cnn", "image_size": 16, "weights": "net.safetensors"}]}
    save_file({"w": torch.zeros(3)}, file)
    first = plan(**changes)
    file.touch()
    assert keys(plan(**changes)) == keys(first)
    save_file({"w": torch.ones(4)}, file)
    assert changed(first, plan(**changes)) == {"activations", "similarity", "report"}
    assert {task.where.get("weights") for task in first.tasks if task.stage == "activations"} == {str(file), None}


def test_weights_that_are_not_there_are_told(tmp_path: Path, write_study, nalign, only_brain) -> None:
    models = [{"name": "small_cnn", "weights": "gone.safetensors"}]
    path = write_study(tmp_path, **{**only_brain, "models": models})
    result = nalign("run", path, "--cache", tmp_path / "store", "--out", tmp_path / "runs")
    assert result.code == 1 and "file of weights of model 'small_cnn' is not there" in result.message
    assert str(tmp_path / "gone.safetensors") in result.message and "mend the path" in result.message


def test_no_key_and_no_report_holds_a_path_of_this_machine(plan: Callable[..., Plan], tmp_path: Path) -> None:
    for task in plan().tasks:
        assert str(tmp_path.parents[1]) not in repr(task.params)


@pytest.mark.parametrize(
    ("filters", "error", "told"),
    [
        ({"area": ["VISpp"]}, InputError, "Did you mean 'VISp'"),
        ({"area": ["VISam"]}, DataError, "VISam"),
        ({"depth_um": [600, 700]}, DataError, "600"),
    ],
)
def test_filters_that_leave_nothing_are_told(plan: Callable[..., Plan], filters: Any, error: Any, told: str) -> None:
    with pytest.raises(error) as caught:
        plan(observatory=filters)
    assert told in str(caught.value)


@pytest.mark.parametrize("area", [["VISp"], "VISp"])
def test_filters_choose_sessions(area: Any, plan: Callable[..., Plan]) -> None:
    made = plan(observatory={"area": area})
    assert [task.label for task in made.tasks if task.stage == "responses"] == [f"{FIRST} VISp Cux2-3"]


SIMULATED = {"source": "simulated", "folder": ..., "cells": 2, "trials": 2, "sessions": 1}


def test_a_simulated_observatory_is_known_once_it_is_written(plan: Callable[..., Plan]) -> None:
    made = plan(observatory=SIMULATED)
    assert not made.complete and made.report is None
    first, *others = made.wanted
    assert (first.stage, dict(first.params)) == ("observatory", {"cells": 2, "trials": 2, "sessions": 1, "seed": 0})
    # What needs no brain need not wait.
    assert {task.stage for task in others} == {"domain", "evaluate", "features", "floors", "invariance"}


def test_a_written_simulated_observatory_completes_the_plan(
    tmp_path: Path, write_study: Callable[..., Path], observatory: Path
) -> None:
    store, study = Store(tmp_path / "store"), load_study(write_study(tmp_path, observatory=SIMULATED))
    task = make_plan(study, store).wanted[0]
    with store.folder("observatory", task.key, {}) as folder:
        shutil.copytree(observatory, folder, dirs_exist_ok=True)
    made = make_plan(study, store)
    assert made.complete and made.report is not None
    sessions = [found for found in made.tasks if found.stage == "responses"]
    assert len(sessions) == 2
    for session in sessions:  # keyed by how it was made, not by the bytes
        assert session.inputs["observatory"].key == task.key and "content" not in session.params


def test_data_sets_that_are_not_there_are_told(tmp_path: Path, write_study, nalign, only_transfer) -> None:
    for data, told in ((..., ["mnist", "--data"]), (str(tmp_path / "nothing"), [str(tmp_path / "nothing"), "Give"])):
        path = write_study(tmp_path, **{**only_transfer, "transfer": {"sources": ["mnist"], "data": data}})
        result = nalign("run", path, "--cache", tmp_path / "store", "--out", tmp_path / "runs")
        assert result.code in (1, 2)
        assert [words for words in told if words not in result.message] == []


def test_a_trained_network_is_the_one_of_the_first_source_and_seed(plan: Callable[..., Plan]) -> None:
    made = plan(transfer={"seeds": [3, 4], "sources": ["digits_m", "digits"]})

    def trained(task: Task) -> Any:
        return task.inputs["trained"].inputs["domain"].params["name"], task.inputs["trained"].params["seed"]

    read = [task for task in made.tasks if task.stage == "activations"]
    assert {trained(task) for task in read if "trained" in task.inputs} == {("digits_m", 3)}


def test_a_twin_is_the_same_network_and_needs_no_training(plan: Callable[..., Plan]) -> None:
    read = {task.label: task for task in plan().tasks if task.stage == "activations"}
    assert set(read) == {f"small_cnn {layer}{twin}" for layer in ("baseline", "neurn") for twin in ("", " twin")}
    for layer in ("baseline", "neurn"):
        own, twin = read[f"small_cnn {layer}"], read[f"small_cnn {layer} twin"]
        assert own.params == twin.params and set(twin.inputs) == {"scenes", "classes"}
        assert own.inputs["trained"].inputs["domain"].key == twin.inputs["classes"].key
    assert "small_cnn baseline twin" not in {task.label for task in plan(controls={"random_twin": False}).tasks}
    fresh = plan(models=[{"name": "small_cnn", "image_size": 16}])  # random already
    assert not [task for task in fresh.tasks if task.label.endswith("twin")]


def test_sobel_can_be_trained_for_the_transfer_half_alone(plan: Callable[..., Plan]) -> None:
    before, after = keys(plan()), keys(plan(transfer={"sobel": True}))
    added = {stage for stage, label in after if "sobel" in label}
    assert added == {"train", "evaluate", "features"}
    assert {"similarity", "activations"} & {stage for stage, _ in before}
    listed = keys(plan(transfer={"sobel": True}, layer_variants=["baseline", "sobel"]))
    assert len([1 for stage, label in listed if stage == "train" and "sobel" in label]) == 1


def test_floors_and_shifts_are_of_the_images_that_networks_are_trained_and_tested_on(plan: Callable[..., Plan]) -> None:
    made = plan(transfer={"targets": ["digits", "digits_m", "digits_inverted"]})
    trained = {task.inputs["domain"].key for task in made.tasks if task.stage == "train"}
    tested = {task.inputs["domain"].key for task in made.tasks if task.stage == "evaluate"}
    floors = [task for task in made.tasks if task.stage == "floors"]
    assert {task.inputs["source"].key for task in floors} == trained
    assert {task.inputs["target"].key for task in floors} == tested
    (shift,) = (task for task in made.tasks if task.stage == "invariance")
    assert shift.params["target"] == "digits_inverted" and shift.params["shift"] == ["inversion", None]


def test_sobel_is_trained_and_compared_as_neurn_is_but_not_transferred(plan: Callable[..., Plan]) -> None:
    before, after = keys(plan()), keys(plan(controls={"sobel": True}))
    assert {place for place, key in before.items() if after[place] != key} == {("report", "tiny")}
    assert Counter(stage for stage, label in after if "sobel" in label) == {
        "train": 1, "activations": 2, "similarity": 2, "paired": 2,
    }  # fmt: skip
    assert ("paired", "small_cnn neurn weighted less sobel") in after
    listed = plan(controls={"sobel": True}, layer_variants=["baseline", "sobel"])
    assert {task.label for task in listed.tasks if task.stage == "paired"} == {"small_cnn sobel weighted"}


def test_shuffled_scenes_are_a_task_a_score_table(plan: Callable[..., Plan]) -> None:
    before, after = keys(plan()), keys(plan(controls={"shuffled_scenes": 19}))
    assert {place for place in after if place not in before} == {
        ("null", "small_cnn baseline weighted"), ("null", "small_cnn neurn weighted"),
    }  # fmt: skip
    more = keys(plan(controls={"shuffled_scenes": 20}))
    assert {stage for (stage, label), key in after.items() if more[stage, label] != key} == {"null", "claims", "report"}


def test_every_group_of_the_sessions_is_known_to_what_scores_groups(plan: Callable[..., Plan]) -> None:
    made = plan(similarity={"group_by": ["area", ["area", "neuron_class"]]}, controls={"shuffled_scenes": 1})
    told = [task.params["groups"] for task in made.tasks if "groups" in task.params]
    assert {task.stage for task in made.tasks if "groups" in task.params} == {
        "similarity", "paired", "ceiling", "claims", "null",
    }  # fmt: skip
    assert all(groups == told[0] for groups in told)
    assert told[0] == {
        "area": ["VISl", "VISp"], "area+neuron_class": ["VISl × inhibitory", "VISp × excitatory"],
    }  # fmt: skip


def test_claims_are_of_the_study_s_neurn_against_its_baseline(plan: Callable[..., Plan]) -> None:
    def claims(**changes: Any) -> list[Task]:
        return [task for task in plan(**changes).tasks if task.stage == "claims"]

    wide = {"name": "neurn", "k": 5}
    assert [task.params["variant"] for task in claims(layer_variants=["baseline", wide, "neurn"])] == ["neurn"]
    assert [task.params["variant"] for task in claims(layer_variants=["baseline", wide])] == ["neurn-k5"]
    assert not claims(layer_variants=["baseline", "lrn"]) and not claims(layer_variants=["neurn"])
    assert not claims(similarity={"metrics": ["kde_iou_unit"]})


def by_label(plan: Plan, stage: str) -> dict[str, Task]:
    return {task.label: task for task in plan.tasks if task.stage == stage}


def test_methods_are_trained_on_the_baseline_and_each_layer_plainly(plan: Callable[..., Plan]) -> None:
    made = plan(transfer={"methods": ["plain", {"name": "randconv", "options": {"keep": 0.2}}]})
    trained = by_label(made, "train")
    who = ("baseline", "baseline randconv", "neurn")
    assert sorted(trained) == [f"small_cnn {name} on digits seed 0" for name in who]
    method = trained["small_cnn baseline randconv on digits seed 0"].params["method"]
    assert method == {"name": "randconv", "options": {"keep": 0.2}}
    rows = by_label(made, "evaluate")
    assert rows["small_cnn baseline randconv digits to digits seed 0"].params["method"] == "randconv"
    # Plain trainings, and so the networks beside the brain, are what they are without methods.
    before = keys(plan())
    assert {place: key for place, key in keys(made).items() if place in before and place[0] != "report"} == {
        place: key for place, key in before.items() if place[0] != "report"
    }


def test_a_method_that_sees_the_target_is_trained_for_each(plan: Callable[..., Plan]) -> None:
    targets = ["digits", "digits_inverted", "digits_m"]
    made = plan(transfer={"methods": ["adversarial"], "targets": targets})
    trained = {name: task for name, task in by_label(made, "train").items() if "adversarial" in name}
    assert [task.inputs["target"].params["name"] for task in trained.values()] == targets[1:]
    assert {task.inputs["target"].params["split"] for task in trained.values()} == {"train"}
    rows = {name: task for name, task in by_label(made, "evaluate").items() if "adversarial" in name}
    assert {task.params["target"] for task in rows.values()} == set(targets[1:])
    for task in rows.values():
        assert task.params["sees_target"] is True
        assert task.inputs["trained"].inputs["target"].params["name"] == task.params["target"]


def test_layers_with_options_have_keys_of_their_own_and_labels_have_none(plan: Callable[..., Plan]) -> None:
    def trained(*layers: Any) -> list[str]:
        return [task.key for task in plan(layer_variants=list(layers)).tasks if task.stage == "train"]

    plain, wide, inner = trained("neurn", {"name": "neurn", "k": 5}, {"name": "neurn", "position": 1})
    assert len({plain, wide, inner}) == 3
    assert trained({"name": "neurn", "label": "mine"}) == [plain]
    assert trained({"name": "neurn", "label": "mine", "k": 5}) == [wide]


def test_a_label_does_not_hide_that_a_layer_is_neurn(plan: Callable[..., Plan]) -> None:
    made = plan(layer_variants=["baseline", {"name": "neurn", "label": "mine", "k": 5}])
    flags = {task.params["layer_variant"]: task.params.get("neurn") for task in by_label(made, "similarity").values()}
    assert flags["mine"] is True and not flags["baseline"]


def test_a_first_training_is_read_by_those_on_the_sources(plan: Callable[..., Plan]) -> None:
    made = plan(transfer={"pretrain": {"domain": "digits_m", "epochs": 3, "train_limit": 80}})
    first = {name: task for name, task in by_label(made, "train").items() if "first" in name}
    assert list(first) == [f"small_cnn {layer} first on digits_m seed 0" for layer in ("baseline", "neurn")]
    for task in first.values():
        assert task.params["epochs"] == 3
        assert (task.inputs["domain"].params["name"], task.inputs["domain"].params["limit"]) == ("digits_m", 80)
    then = {name: task for name, task in by_label(made, "train").items() if "first" not in name}
    assert {task.inputs["start"].key for task in then.values()} == {task.key for task in first.values()}


def test_what_training_starts_from_is_in_its_key_and_not_in_others(plan: Callable[..., Plan], tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    save_file({"w": torch.zeros(3)}, file)
    models = [{"name": "small_cnn", "image_size": 16, "weights": "trained", "init": "start.safetensors"}]
    made = plan(models=models)
    for task in by_label(made, "train").values():
        assert task.where["weights"] == str(file) and len(task.params["weights"]) == 64
    assert made.report is not None and str(tmp_path) not in repr(made.report.params)
    save_file({"w": torch.ones(3)}, file)
    assert {"train", "evaluate"} <= changed(made, plan(models=models))
    models[0]["init"] = "gone.safetensors"
    with pytest.raises(DataError, match="is not there"):
        plan(models=models)


def test_an_edited_class_of_the_user_is_another_training(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "methods_of_a_user.py"
    text = "from alignment.transfer import Method\n\n\nclass Mine(Method):\n    pass\n"
    file.write_text(text)
    changes = {"transfer": {"methods": ["methods_of_a_user:Mine"]}}
    before = plan(**changes)
    file.write_text(f"{text}# edited\n")
    after = plan(**changes)
    old, new = keys(before), keys(after)
    assert {label for stage, label in old if stage == "train" and old[stage, label] != new[stage, label]} == {
        "small_cnn baseline Mine on digits seed 0"
    }


@pytest.mark.parametrize("name", ["digits", "ablations", "cifar_shifts"])
def test_shipped_studies_plan_on_the_shared_data(name: str, shared_data: Path, tmp_path: Path) -> None:
    made = make_plan(load_study(name, data=shared_data), Store(tmp_path / "store"))
    counts = Counter(task.stage for task in made.tasks)
    assert counts["train"] == {"digits": 180, "ablations": 28, "cifar_shifts": 18}[name]


def test_the_papers_study_says_what_it_lacks(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="SVHN"):
        make_plan(load_study("paper", data=shared_data), Store(tmp_path / "store"))
