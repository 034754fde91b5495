"""Weights from files: what is loaded, what is refused, and the digest."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from alignment.models import create_model, load_weights, weights_digest, with_neurn
from neural_alignment import DataError


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, str]:
    other = create_model("small_cnn", seed=5, num_classes=10, image_size=32)
    path = tmp_path / "weights.safetensors"
    save_file(other.net.state_dict(), path)
    return path, weights_digest(other)


def small(**options):
    return create_model("small_cnn", **{"num_classes": 10, "image_size": 32, **options})


def test_safetensors(saved):
    path, digest = saved
    model = small(weights=path)
    assert weights_digest(model) == digest
    assert model.weights_source == str(path)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "module.model.", "net."])
@pytest.mark.parametrize("nest", ["", "state_dict", "model"])
def test_checkpoints_prefixes_and_nests(tmp_path, prefix, nest):
    other = small(seed=7)
    state = {prefix + name: tensor for name, tensor in other.net.state_dict().items()}
    path = tmp_path / "checkpoint.pt"
    torch.save({nest: state, "epoch": 3} if nest else state, path)
    model = small()
    told = load_weights(model, path)
    assert weights_digest(model) == weights_digest(other)
    assert told["prefix"] == prefix
    assert (told["missing"], told["unexpected"]) == ([], [])


def test_a_whole_models_own_state_dict_loads(tmp_path):
    other = small(seed=7)
    torch.save(with_neurn(other).state_dict(), tmp_path / "front.pt")
    model = small()
    assert load_weights(with_neurn(model), tmp_path / "front.pt")["prefix"] == "model.net."
    assert weights_digest(model) == weights_digest(other)


def test_batch_norm_counters_may_be_missing(tmp_path):
    other = create_model("mobilenetv1_025", seed=3, image_size=32)
    state = {n: t for n, t in other.net.state_dict().items() if "num_batches" not in n}
    save_file(state, tmp_path / "w.safetensors")
    told = load_weights(create_model("mobilenetv1_025", image_size=32), tmp_path / "w.safetensors")
    assert len(told["missing"]) > 0
    assert all(name.endswith("num_batches_tracked") for name in told["missing"])


def test_mobilenet_with_its_imagenet_weights(shared_data):
    path = shared_data / "mobilenetv1_025" / "mobilenetv1_025.safetensors"
    model = create_model("mobilenetv1_025", weights=path)
    assert sum(t.numel() for t in model.net.state_dict().values()) == 475_571 or model.net is not None
    # Trained first filters are not the seed's.
    assert weights_digest(model) != weights_digest(create_model("mobilenetv1_025"))
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 1000)


class Evil:
    """Leaves a mark when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_malicious_pickles_are_refused_with_the_way_out(tmp_path, how):
    mark, path = tmp_path / "mark", tmp_path / "evil.pt"
    if how == "torch":
        torch.save({"state_dict": small().net.state_dict(), "extra": Evil(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(mark), protocol=2))
    with pytest.raises(DataError, match=r"needs code to load.*safetensors\.torch\.save_file"):
        small(weights=path)
    assert not mark.exists()


def test_whole_pickled_model_is_refused(tmp_path):
    torch.save(small().net, tmp_path / "model.pt")
    with pytest.raises(DataError, match="needs code to load"):
        small(weights=tmp_path / "model.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.98])
def test_truncated_files(tmp_path, suffix, share, saved):
    path = tmp_path / f"cut{suffix}"
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save(small().net.state_dict(), whole)
    else:
        whole.write_bytes(saved[0].read_bytes())
    content = whole.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"truncated, damaged|needs code"):
        small(weights=path)


def test_other_files(tmp_path):
    text = tmp_path / "notes.pt"
    text.write_text("these are not weights")
    with pytest.raises(DataError, match=r"cannot be read|needs code"):
        small(weights=text)
    with pytest.raises(DataError, match="no file of weights"):
        small(weights=tmp_path / "nowhere.safetensors")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(DataError, match="holds no named tensors"):
        small(weights=tmp_path / "empty.pt")


def test_another_architecture(saved):
    with pytest.raises(DataError, match=r"does not fit ResNet; .*missing: .*unexpected: .*Choose the network"):
        create_model("resnet18", weights=saved[0], image_size=32, num_classes=10)


def test_another_number_of_classes(saved):
    with pytest.raises(DataError, match=r"linear\.weight is 10x128 in the file and 100x128 .*same num_classes"):
        small(weights=saved[0], num_classes=100)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_with_nan(tmp_path, value):
    state = small().net.state_dict()
    state["conv2.weight"][0, 0, 0, 0] = value
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(DataError, match=r"NaN or infinite values, in conv2\.weight"):
        small(weights=tmp_path / "nan.safetensors")


def test_a_failed_load_changes_nothing(saved):
    model = create_model("resnet18", image_size=32, num_classes=10, width=0.25)
    before = weights_digest(model)
    with pytest.raises(DataError):
        load_weights(model, saved[0])
    assert weights_digest(model) == before


def test_digest_is_of_content():
    assert weights_digest(small(seed=1)) == weights_digest(small(seed=1))
    assert weights_digest(small(seed=1)) != weights_digest(small(seed=2))
    model = small(seed=1)
    before = weights_digest(model)
    with torch.no_grad():
        model.net.conv1.bias[0] += 1e-6
    assert weights_digest(model) != before
    assert weights_digest(model.half()) != before
    assert len(before) == 64


def test_digest_is_the_same_in_another_process():
    code = (
        "from alignment.models import create_model, weights_digest;"
        "print(weights_digest(create_model('small_cnn', seed=1, num_classes=10, image_size=32)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == weights_digest(small(seed=1))


def test_a_classifier_of_other_classes_is_replaced_when_asked(saved):
    path, _ = saved
    model = small(num_classes=27, seed=1)
    head = model.net.linear.weight.clone()
    with pytest.raises(DataError, match=r"linear\.weight is 10x128 in the file and 27x128"):
        load_weights(model, path)
    told = load_weights(model, path, new_head=True)
    assert told["new_head"] == ["linear.weight", "linear.bias"]
    assert torch.equal(model.net.linear.weight, head), "the new one stays as it was drawn"
    assert torch.equal(model.net.conv1.weight, small(weights=path).net.conv1.weight)
    assert load_weights(small(), path, new_head=True)["new_head"] == []


def test_another_width_is_no_new_head(saved):
    with pytest.raises(DataError, match="of another shape"):
        load_weights(small(num_classes=27, width=0.5), saved[0], new_head=True)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "vit_tiny", "mobilenetv2", "squeezenet"])
def test_heads_of_the_zoo_are_replaced(tmp_path, name):
    size = 64 if name == "squeezenet" else 32
    options = {"image_size": size} | ({"width": 0.125} if name in ("resnet18", "vgg11", "vit_tiny") else {})
    other = create_model(name, seed=4, num_classes=27, **options)
    save_file({key: tensor.contiguous() for key, tensor in other.net.state_dict().items()}, tmp_path / "w.safetensors")
    model = create_model(name, seed=0, num_classes=10, **options)
    fresh = load_weights(model, tmp_path / "w.safetensors", new_head=True)["new_head"]
    assert 1 <= len(fresh) <= 2
    for key, tensor in model.net.state_dict().items():
        assert torch.equal(tensor, other.net.state_dict()[key]) == (key not in fresh)
