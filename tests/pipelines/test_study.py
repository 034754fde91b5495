"""A study file: every wrong thing in it is told at once, by place, with what is allowed and what came."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from neural_alignment import InputError
from pipelines.study import STUDIES, load_study, study_yaml

SHIPPED = sorted(path.stem for path in STUDIES.glob("*.yaml"))

WRONG = [
    ({"modles": []}, ["modles: unknown key.", "Did you mean 'models'?"]),
    ({"observatory": {"cell": 3}}, ["observatory.cell: unknown key.", "Did you mean 'cells'?"]),
    ({"transfer": {"epoch": 3}}, ["transfer.epoch: unknown key.", "Did you mean 'epochs'?"]),
    ({"models": [{"name": "small_cnn", "size": 3}]}, ["models.0.size: unknown key.", "image_size"]),
    ({"xyz": 1}, ["xyz: unknown key.", "Allowed: name, title, seed, observatory"]),
    ({"name": ...}, ["name: this key is needed."]),
    ({"models": ...}, ["models: this key is needed."]),
    ({"models": []}, ["models:", "at least 1"]),
    ({"name": "../out"}, ["name:", "pattern", "'../out'"]),
    ({"name": "a/b"}, ["name:", "'a/b'"]),
    ({"seed": -1}, ["seed:", "greater than or equal to 0", "Got -1"]),
    ({"seed": "seven"}, ["seed:", "valid integer", "Got 'seven'"]),
    ({"observatory": {"source": "foldr"}},
     ["observatory.source:", "'simulated' or 'folder'", "Did you mean 'folder'?"]),
    ({"observatory": {"folder": ...}}, ["observatory:", "source: folder needs 'folder'"]),
    ({"observatory": {"source": "simulated"}}, ["observatory:", "write source: folder to read it"]),
    ({"observatory": {"trials": 1}}, ["observatory.trials:", "greater than or equal to 2", "Got 1"]),
    ({"observatory": {"neuron_class": ["excitatry"]}}, ["observatory.neuron_class.0:", "Did you mean 'excitatory'?"]),
    ({"observatory": {"depth_um": [100]}}, ["observatory.depth_um"]),
    ({"responses": {"window": [0.5, 0.0]}}, ["responses:", "start < end"]),
    ({"responses": {"method": "df"}}, ["responses.method:", "'dff'", "Got 'df'"]),
    ({"responses": {"min_reliability": 2}}, ["responses.min_reliability:", "less than or equal to 1", "Got 2"]),
    ({"representations": {"kinds": ["wieghted"]}}, ["representations.kinds.0:", "Did you mean 'weighted'?"]),
    ({"representations": {"grid": [1, 8]}}, ["representations.grid.0:", "greater than or equal to 2", "Got 1"]),
    ({"similarity": {"metrics": ["rmse"]}}, ["similarity.metrics.0:", "'rmse_mean'", "Got 'rmse'"]),
    ({"similarity": {"group_by": ["areas"]}}, ["similarity.group_by.0:", "Did you mean 'area'?"]),
    ({"similarity": {"group_by": ["area+cortical_layr"]}}, ["group_by.0:", "Did you mean 'cortical_layer'?"]),
    ({"similarity": {"group_by": ["area+area"]}}, ["similarity.group_by.0:", "one or two different coordinates"]),
    ({"similarity": {"group_by": [["area", "cre_line", "genotype"]]}}, ["one or two different coordinates"]),
    ({"similarity": {"group_by": ["area", "area"]}}, ["similarity:", "'group_by' lists 'area' twice"]),
    ({"controls": {"shuffled_scenes": -1}}, ["controls.shuffled_scenes:", "greater than or equal to 0", "Got -1"]),
    ({"controls": {"ceiling_splits": 0}}, ["controls.ceiling_splits:", "greater than or equal to 1"]),
    ({"controls": {"random_twins": True}}, ["controls.random_twins: unknown key", "Did you mean 'random_twin'?"]),
    ({"similarity": {"bootstraps": 5}}, ["similarity.bootstraps:", "100", "Got 5"]),
    ({"transfer": {"sources": []}}, ["transfer.sources:", "at least 1"]),
    ({"transfer": {"learning_rate": 0}}, ["transfer.learning_rate:", "greater than 0", "Got 0"]),
    ({"transfer": {"validation": 0.95}}, ["transfer.validation:", "less than 0.9", "Got 0.95"]),
    ({"compute": {"cluster": "slrum"}}, ["compute.cluster:", "Did you mean 'slurm'?"]),
    ({"compute": {"workers": 0}}, ["compute.workers:", "greater than or equal to 1", "Got 0"]),
    ({"models": [{"name": "small_cnn", "width": 0}]}, ["models.0.width:", "greater than 0", "Got 0"]),
    ({"transfer": ...}, ["weights: trained needs a 'transfer' section"]),
    ({"observatory": ..., "transfer": ..., "models": [{"name": "small_cnn"}]}, ["a study needs 'observatory'"]),
    ({"models": [{"name": "small_cnn"}, {"name": "small_cnn"}]}, ["two models are called 'small_cnn'", "'label'"]),
    ({"layer_variants": ["neurn", "neurn"]}, ["'layer_variants' lists a name twice"]),
    ({"layer_variants": ["neurm"]}, ["Unknown layer variant 'neurm'", "Did you mean 'neurn'?"]),
    ({"layer_variants": ["neurn", {"name": "neurn"}]}, ["'layer_variants' lists a name twice"]),
    ({"layer_variants": [{"name": "neurn", "kk": 5}]}, ["layer_variants.0.kk: unknown key.", "Did you mean 'k'?"]),
    ({"layer_variants": [{"k": 5}]}, ["layer_variants.0.name: this key is needed"]),
    ({"layer_variants": [{"name": "neurn", "k": 4}]}, ["The 'k' parameter of NeuRN must be an odd integer", "Got 4"]),
    ({"layer_variants": [{"name": "lrn", "k": 3}]}, ["takes the options 'size'", "Got 'k' as well"]),
    ({"layer_variants": [{"name": "neurn", "scope": "chanel"}]}, ["'scope' parameter", "Did you mean 'channel'?"]),
    ({"layer_variants": [{"name": "neurn", "position": 0}]}, ["layer_variants.0.position", "greater than or equal"]),
    ({"transfer": {"methods": ["randconf"]}}, ["Unknown method 'randconf'", "Did you mean 'randconv'?"]),
    ({"transfer": {"methods": ["no_such_module:Mine"]}}, ["cannot be imported", "Python path"]),
    ({"transfer": {"methods": [{"name": "randconv", "options": {"kepp": 1}}]}}, ["does not take these options"]),
    ({"transfer": {"methods": [{"name": "randconv", "options": {"keep": 2}}]}}, ["'keep' parameter of RandConv"]),
    ({"transfer": {"methods": ["plain", "plain"]}}, ["two 'methods' are called 'plain'", "'label'"]),
    ({"transfer": {"methods": ["randconv"]}, "layer_variants": ["neurn"]}, ["methods train the baseline"]),
    ({"transfer": {"combinations": [["neurm", "plain"]]}}, ["'combinations' names the layer variant 'neurm'"]),
    ({"transfer": {"combinations": [["neurn", "augmix"]]}}, ["'combinations' names the method 'augmix'"]),
    ({"transfer": {"pretrain": {"domain": "cifar72"}}}, ["'cifar72'", "Did you mean 'cifar27'?"]),
    ({"models": [{"name": "resnet81"}]}, ["Unknown model 'resnet81'", "Did you mean 'resnet18'?"]),
    ({"transfer": {"sources": ["digitz"]}}, ["'digitz'", "Did you mean 'digits'?"]),
    ({"transfer": {"targets": ["digits", "digits_inverse"]}}, ["'digits_inverse'", "Did you mean 'digits_inverted'?"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "told"), WRONG, ids=[" ".join(told[:1]) for _, told in WRONG])
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, write_study, nalign, changes: Any, told: list[str]
) -> None:
    path = write_study(tmp_path, **changes)
    result = nalign("run", path, "--cache", tmp_path / "store", "--out", tmp_path / "runs")
    assert result.code == 2
    for words in (str(path), *told):
        assert words in result.message
    assert not (tmp_path / "runs").exists() and not (tmp_path / "store").exists()


def test_all_problems_are_told_at_once(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = write_study(tmp_path, seed=-1, titel="?", compute={"workers": 0})
    with pytest.raises(InputError, match=r"is not a valid study \(3 problems\)") as caught:
        load_study(path)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()[1:]] == [
        "  - seed", "  - compute.workers", "  - titel",
    ]  # fmt: skip


def test_a_long_value_is_shortened(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    with pytest.raises(InputError) as caught:
        load_study(write_study(tmp_path, seed="x" * 5000))
    assert len(str(caught.value)) < 500 and "..." in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- b\n", ["must hold a mapping", "Got list instead"]),
        ("just words\n", ["must hold a mapping", "Got str instead"]),
        ("", ["must hold a mapping", "Got NoneType instead"]),
        ("name: tiny\nmodels: [a, b\n", ["line 3", "not valid YAML"]),
        ("name: 'tiny\n", ["not valid YAML"]),
        ("name: a\n\ttitle: b\n", ["line 2", "not valid YAML"]),
        ("a: !!python/object/apply:os.system ['touch hacked']\n", ["not valid YAML", "could not determine"]),
    ],
)
def test_text_that_is_no_study_is_refused(tmp_path: Path, nalign, text: str, told: list[str]) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    result = nalign("run", path, "--cache", tmp_path / "store", "--out", tmp_path / "runs")
    assert result.code == 2
    for words in (str(path), *told):
        assert words in result.message
    assert not (tmp_path / "hacked").exists() and not Path("hacked").exists()


def test_bytes_that_are_no_text_are_refused(tmp_path: Path, nalign) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    result = nalign("run", path)
    assert result.code == 2 and "not a text file in UTF-8" in result.message


def test_a_study_that_may_not_be_read_is_told_so(tmp_path: Path, nalign, write_study, monkeypatch) -> None:
    path = write_study(tmp_path)

    def refuse(self: Path, *arguments: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", refuse)
    result = nalign("run", path)
    assert result.code == 1
    assert str(path) in result.message and "cannot be read: Permission denied" in result.message


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("dmeo", "Did you mean 'demo'?"),
        ("nowhere/study.yaml", "Studies that ship with the package"),
        (".", "is a folder, not a study file"),
    ],
)
def test_a_missing_study_is_told_with_those_there_are(nalign, name: str, told: str) -> None:
    result = nalign("run", name)
    assert result.code == 2 and told in result.message and repr(name) in result.message


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_studies_are_found_by_name_and_hold(name: str, tmp_path: Path) -> None:
    study = load_study(name)
    assert study.name == name
    copy = tmp_path / "copy.yaml"
    copy.write_text(study_yaml(study))
    assert load_study(copy) == study


def test_a_resolved_study_is_whole(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    study = load_study(write_study(tmp_path))
    text = study_yaml(study)
    again = tmp_path / "again.yaml"
    again.write_text(text)
    assert load_study(again) == study
    assert yaml.safe_load(text)["responses"]["window"] == [0.0, 0.5]  # defaults stand in it


def test_paths_are_relative_to_the_file(tmp_path: Path, write_study: Callable[..., Path], monkeypatch) -> None:
    monkeypatch.delenv("NALIGN_DATA", raising=False)
    models = [{"name": "small_cnn", "weights": "nets/net.safetensors"}]
    path = write_study(tmp_path, observatory={"folder": "brain"}, transfer={"data": "../pictures"}, models=models)
    monkeypatch.chdir("/")
    study = load_study(path)
    assert study.observatory is not None and study.observatory.folder == tmp_path / "brain"
    assert study.transfer is not None and study.transfer.data == tmp_path.parent / "pictures"
    assert study.models[0].weights == str(tmp_path / "nets" / "net.safetensors")


def test_hub_tags_and_kinds_of_weights_stay_words(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    models = [{"name": "small_cnn", "weights": word, "label": word} for word in ("random", "trained", "a1_in1k")]
    assert [model.weights for model in load_study(write_study(tmp_path, models=models)).models] == [
        "random", "trained", "a1_in1k",
    ]  # fmt: skip


def test_the_data_folder_comes_from_the_call_the_environment_or_the_file(tmp_path, write_study, monkeypatch) -> None:
    path = write_study(tmp_path, transfer={"data": "file"})

    def data(**options: Any) -> Any:
        return load_study(path, **options).transfer.data.name

    monkeypatch.delenv("NALIGN_DATA", raising=False)
    assert data() == "file"
    monkeypatch.setenv("NALIGN_DATA", str(tmp_path / "environment"))
    assert data() == "environment"
    assert data(data=tmp_path / "call") == "call"


def test_a_model_from_elsewhere_is_not_looked_up_in_the_zoo(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    study = load_study(write_study(tmp_path, models=[{"name": "timm:resnet10t", "label": "small"}]))
    assert study.models[0].key == "small"


def test_files_of_data_are_beside_the_study_or_in_the_data_folder(
    tmp_path: Path, write_study: Callable[..., Path], monkeypatch
) -> None:
    monkeypatch.delenv("NALIGN_DATA", raising=False)
    for place, names in (("study", ["both.npz", "nets/net.safetensors"]), ("sets", ["both.npz", "scenes.npy"])):
        for name in names:
            file = tmp_path / place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
    models = [{"name": "small_cnn", "weights": "nets/net.safetensors", "init": "none.pt"}]
    rsa = {"matrices": "both.npz", "scenes": "scenes.npy"}
    path = write_study(tmp_path / "study", observatory=..., models=models, rsa=rsa, representations=..., similarity=...)
    study = load_study(path, data=tmp_path / "sets")
    assert study.rsa is not None
    assert study.rsa.matrices == tmp_path / "study" / "both.npz"
    assert study.rsa.scenes == tmp_path / "sets" / "scenes.npy"
    assert study.models[0].weights == str(tmp_path / "study" / "nets" / "net.safetensors")
    assert study.models[0].init == str(tmp_path / "sets" / "none.pt")  # nowhere: told where data sets should be
    without = load_study(path)
    assert without.rsa is not None and without.rsa.scenes == tmp_path / "study" / "scenes.npy"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_studies_name_no_place_of_their_authors(name: str) -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for part in value.values() for text in texts(part)]
        return [text for part in value for text in texts(part)] if isinstance(value, list) else [str(value)]

    found = [text for text in texts(yaml.safe_load((STUDIES / f"{name}.yaml").read_text())) if ".." in text]
    assert found == []


def test_a_shipped_study_without_its_data_says_what_to_give_and_where_it_comes_from(
    nalign, tmp_path: Path, shared_data: Path
) -> None:
    def run(*options: object) -> Any:
        return nalign("run", "mouse_rsms", "--dry-run", "--cache", tmp_path / "store", *options)

    result = run()
    assert result.code == 2 and "--data" in result.message and "docs/transfer.md" in result.message
    sets = tmp_path / "sets"
    sets.mkdir()
    result = run("--data", sets)
    assert result.code == 1 and "github.com/cyizhuo/CIFAR-100-dataset" in result.message
    lacking = {
        "mobilenetv1_025": ("mobilenetv1_025.safetensors", "github.com/biubug6/Pytorch_Retinaface"),
        "allen_scenes": ("scenes_118_31x31.npy", "github.com/psailamul/Allen_Brain_Observatory"),
        "allen_rsms": ("natural_scene_rsms.npz", "github.com/ColinConwell/DeepMouseTrap"),
    }
    (sets / "cifar100").symlink_to(shared_data / "cifar100")
    for folder, (file, source) in lacking.items():
        result = run("--data", sets)
        assert result.code == 1, result.message
        assert str(sets / folder / file) in result.message and source in result.message and "--data" in result.message
        (sets / folder).symlink_to(shared_data / folder)
    result = run("--data", sets)
    assert result.code == 0 and "dissimilarities in cortex" in result.out
