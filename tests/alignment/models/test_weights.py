"""Weights from files: what is loaded, what is refused, and the digest."""

from __future__ import annotations

import gzip
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from alignment.models import create_model, load_weights, weights_digest, with_neurn
from alignment.models.weights import _tensors
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


class EvilCommand(Evil):
    """Leaves it by a command of the system, whose module torch blocks by name."""

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


@pytest.mark.parametrize("kind", [Evil, EvilCommand])
@pytest.mark.parametrize("how", ["zip", "legacy", 0, 1, 2, 3, 4, 5])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_malicious_pickles_are_refused_with_the_way_out(tmp_path, how, kind):
    mark, path = tmp_path / "mark", tmp_path / "evil.pt"
    if isinstance(how, str):
        content = {"state_dict": small().net.state_dict(), "extra": kind(mark)}
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    else:
        path.write_bytes(pickle.dumps({"state_dict": kind(mark)}, protocol=how))
    with pytest.raises(DataError, match=r"needs code to load \(it calls for .*safetensors\.torch\.save_file") as told:
        small(weights=path)
    assert not mark.exists()
    assert "`False`" not in str(told.value), "nobody is told how to load it unsafely"


PAGES = [
    "<!DOCTYPE html>\n<title>404</title>",
    "\n  <html lang='en'>",
    '<?xml version="1.0"?><Error>AccessDenied</Error>',
]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("page", PAGES)
def test_web_pages_are_called_so(tmp_path, page, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_text(page)
    with pytest.raises(DataError, match="is a web page, not a file of weights"):
        small(weights=path)


@pytest.mark.parametrize(
    "content",
    [
        b"these are not weights",
        b'{"error": "not found"}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        gzip.compress(bytes(1000)),
        bytes(1000),
    ],
)
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read.*another kind of file") as told:
        small(weights=path)
    assert "`False`" not in str(told.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_checkpoints(tmp_path, legacy):
    path = tmp_path / "damaged.pt"
    torch.save(small().net.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    content = bytearray(path.read_bytes())
    for share in (0.02, 0.3, 0.7):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match="truncated, damaged"):
            small(weights=path)
    content[: len(content) : 7] = bytes(byte ^ 0x5A for byte in content[::7])
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated, damaged"):
        small(weights=path)


@pytest.mark.parametrize("place", ["beside", "around", "elsewhere"])
def test_tensors_beside_the_weights_are_not_the_weights(tmp_path, place):
    other = small(seed=7)
    state = {f"module.{name}": tensor for name, tensor in other.net.state_dict().items()}
    content: dict = {"epoch": 90, "arch": "resnet18", "state_dict": state, "best_acc1": torch.tensor(70.4)}
    content["optimizer"] = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []}
    if place == "around":
        content = {"best_acc1": torch.tensor(70.4), "model": content}
    if place == "elsewhere":  # a description of the network where others keep the network
        content = {"model": {"width": 1}, "weights": state, "best_acc1": torch.tensor(70.4)}
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    model = small(weights=tmp_path / "checkpoint.pth.tar")
    assert weights_digest(model) == weights_digest(other)


def test_a_checkpoint_that_holds_itself_ends(tmp_path):
    cycle: dict = {}
    cycle["state_dict"] = cycle["model"] = cycle
    weights: dict = dict(small(seed=7).net.state_dict())
    weights["state_dict"] = weights
    paths = [str(tmp_path / name) for name in ("cycle.pt", "weights.pt")]
    torch.save(cycle, paths[0])
    torch.save(weights, paths[1])
    # In a process of its own: what hangs is ended.
    code = (
        "import sys; from alignment.models import create_model\n"
        "for path in sys.argv[1:]:\n"
        "    try: create_model('small_cnn', num_classes=10, image_size=32, weights=path); print('loaded')\n"
        "    except Exception as error: print(type(error).__name__, str(error).removeprefix(path))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True, timeout=120)
    nothing = "DataError  holds no named tensors. Save the network's state_dict() in it."
    assert done.stdout.splitlines() == [nothing, "loaded"]


def test_mappings_without_end_are_given_up():
    chain: dict = {}
    for _ in range(5000):
        chain = {"state_dict": chain, "net": chain, "model": {"net": chain}}
    assert _tensors(chain) == {}


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
    with pytest.raises(DataError, match=r"truncated, damaged"):
        small(weights=path)


def test_other_files(tmp_path):
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
