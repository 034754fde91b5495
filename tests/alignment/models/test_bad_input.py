"""Everything that may be wrong with what a user hands to the networks, in one table: the error says what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from alignment.models import create_model, extract_activations, with_neurn
from neural_alignment import DataError, InputError


class Runs:
    """A pickle that leaves a mark when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def small(**options: Any) -> Any:
    return create_model("small_cnn", **{"num_classes": 10, "image_size": 32, **options})


def read(images: Any = None, model: Any = None, **options: Any) -> Any:
    images = torch.rand(3, 3, 32, 32) if images is None else images
    return extract_activations(small() if model is None else model, images, device="cpu", **options)


def with_idle_layer(folder: Path) -> Any:
    del folder
    model = small()
    model.net.relu1.add_module("spare", torch.nn.Conv2d(3, 3, 1))
    return read(model=model, layers="relu1.spare")


def one_broken_weight() -> Any:
    model = small()
    with torch.no_grad():
        model.net.conv2.weight[0, 0, 0, 0] = float("nan")
    return model


def saved(folder: Path, name: str = "weights.safetensors", share: float = 1.0, **options: Any) -> Path:
    path, state = folder / name, small(**options).net.state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def malicious(folder: Path, raw: bool) -> Path:
    path = folder / "weights.pt"
    if raw:
        path.write_bytes(pickle.dumps(Runs(folder / "mark"), protocol=2))
    else:
        torch.save({"state_dict": small().net.state_dict(), "then": Runs(folder / "mark")}, path)
    return path


def broken_tensors(folder: Path) -> Path:
    path, state = folder / "nan.safetensors", small().net.state_dict()
    state["conv1.weight"][0] = float("inf")
    save_file(state, path)
    return path


BAD: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "unknown model": (lambda f: create_model("resnet81"), InputError, "Did you mean 'resnet18'"),
    "unknown model of a library": (lambda f: create_model("timm:resnet1881"), InputError, "Did you mean"),
    "unknown layer": (lambda f: read(layers="cnov1"), InputError, "Unknown layer 'cnov1'.*Did you mean 'conv1'"),
    "layer that never ran": (with_idle_layer, InputError, "'relu1.spare' never ran.*Choose one like"),
    "layer without a shape in space": (
        lambda f: read(layers="linear"),
        InputError,
        "'linear' has no spatial or token shape.*Choose an earlier one",
    ),
    "grey levels as images": (
        lambda f: read(255 * torch.rand(3, 3, 32, 32)),
        InputError,
        r"must be in \[0, 1\].*in image 0 instead. Divide grey levels by 255",
    ),
    "bytes as images": (
        lambda f: read(torch.zeros(3, 3, 32, 32, dtype=torch.uint8)),
        InputError,
        "floating point.*Divide grey levels by 255, or make the images with as_images",
    ),
    "bytes for NeuRN": (
        lambda f: with_neurn(small())(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)),
        InputError,
        "Convert grey levels with image.float",
    ),
    "standardised images": (lambda f: read(torch.randn(3, 3, 32, 32)), InputError, r"must be in \[0, 1\]"),
    "an image with a NaN": (
        lambda f: read(torch.rand(3, 3, 32, 32).index_fill(0, torch.tensor([1]), float("nan"))),
        InputError,
        "in image 1",
    ),
    "grey images": (lambda f: read(torch.rand(3, 1, 32, 32)), InputError, "Make them from grey scenes with as_images"),
    "images of another size": (lambda f: read(torch.rand(3, 3, 16, 16)), InputError, "for images of 32x32. Got 16x16"),
    "NaN weights": (lambda f: read(model=one_broken_weight()), DataError, r"NaN or infinite values, in conv2\.weight"),
    "NaN weights in a file": (lambda f: small(weights=broken_tensors(f)), DataError, r"in conv1\.weight"),
    "no such file": (lambda f: small(weights=f / "no.pt"), DataError, "no file of weights.*Give a .safetensors file"),
    "weights of another network": (
        lambda f: create_model("resnet18", weights=saved(f), image_size=32, num_classes=10),
        DataError,
        "does not fit ResNet.*missing.*unexpected.*Choose the network that the file was saved from",
    ),
    "weights of another width": (
        lambda f: small(weights=saved(f, width=0.5)),
        DataError,
        "same num_classes.*and width",
    ),
    "half a checkpoint": (
        lambda f: small(weights=saved(f, "w.pt", 0.5)),
        DataError,
        "truncated.*Fetch or save it again",
    ),
    "half a safetensors file": (lambda f: small(weights=saved(f, share=0.5)), DataError, "truncated.*Fetch or save it"),
    "a checkpoint that runs code": (
        lambda f: small(weights=malicious(f, raw=False)),
        DataError,
        r"needs code to load.*safetensors\.torch\.save_file",
    ),
    "a pickle that runs code": (
        lambda f: small(weights=malicious(f, raw=True)),
        DataError,
        r"needs code to load.*safetensors\.torch\.save_file",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_way_out(case: str, tmp_path: Path) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message) as caught:
        call(tmp_path)
    assert str(caught.value).endswith((".", "?", ")"))
    assert not (tmp_path / "mark").exists(), "code of a file was run"
