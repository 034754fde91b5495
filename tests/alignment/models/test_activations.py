"""Activations against torchvision-style explicit forward passes, on plain and on awkward networks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from torch import nn

from alignment.models import (
    as_images,
    create_model,
    extract_activations,
    preflight,
    scene_digest,
    weights_digest,
    with_neurn,
)
from alignment.models._reduction import resize_maps
from neural_alignment import DataError, InputError


def scenes(count: int = 7, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


class Awkward(nn.Module):
    """In-place and reused ReLUs, tuples, dicts, a layer that never runs, and vectors at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pair = Pair()
        self.named = Named()
        self.unused = nn.Conv2d(3, 3, 1)
        self.linear = nn.Linear(5, 2)

    def forward(self, image):
        x = self.relu(self.conv(image))
        first, _ = self.pair(x)
        out = self.named(self.relu(first - 0.2))["out"]
        return self.linear(out.mean(dim=(2, 3)))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, stride=2)

    def forward(self, x):
        return self.conv(x), x


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 5, 1)

    def forward(self, x):
        return {"out": self.conv(x), "aux": None}


@pytest.fixture
def awkward() -> Awkward:
    torch.manual_seed(0)
    return Awkward().eval()


def test_against_an_explicit_pass(awkward):
    images = scenes()
    with torch.no_grad():
        conv = awkward.conv(images)
        relu = conv.relu()
        pair = awkward.pair.conv(relu)
        second = (pair - 0.2).relu()
        named = awkward.named.conv(second)
    wanted = {
        "conv": conv,
        "relu": relu,
        "pair.conv": pair,
        "pair": pair,
        "relu#2": second,
        "named.conv": named,
    }
    found = extract_activations(awkward, images, layers="*", grid=(6, 6), batch_size=3)
    assert list(found) == ["conv", "relu", "pair.conv", "pair", "relu#2", "named.conv", "named"]
    for name, maps in wanted.items():
        layer = found[name]
        np.testing.assert_allclose(layer["unit_response"], maps.mean(dim=(2, 3)), rtol=1e-5, atol=1e-6)
        mean = nn.functional.adaptive_avg_pool2d(maps.double().mean(dim=0), (6, 6))
        np.testing.assert_allclose(layer["unit_map"], mean, rtol=1e-5, atol=1e-6)
    # The ReLU writes over the convolution's output; what was read is from before.
    assert float(found["conv"]["unit_map"].min()) < 0
    assert json.loads(found["conv"].attrs["skipped"]).keys() == {"linear"}


@pytest.mark.parametrize("batch_size", [2, 7])
def test_maps_of_two_halves_of_the_scenes(awkward, batch_size):
    images, first = scenes(), np.array([True, False, False, True, True, False, True])
    options = {"layers": ["conv", "relu#2"], "grid": (6, 6), "batch_size": batch_size}
    whole, halves = extract_activations(awkward, images, **options), {}
    for half, rows in enumerate((first, ~first)):
        halves[half] = extract_activations(awkward, images[torch.from_numpy(rows)], **options)
    found = extract_activations(awkward, images, halves=first, **options)
    for name, layer in found.items():
        assert layer["unit_map_half"].dims == ("half", "unit", "y", "x")
        for half in (0, 1):
            np.testing.assert_allclose(
                layer["unit_map_half"][half], halves[half][name]["unit_map"], rtol=1e-5, atol=1e-6
            )
        np.testing.assert_allclose(layer["unit_map"], whole[name]["unit_map"], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(layer["unit_response"], whole[name]["unit_response"])
        assert layer["scene_half"].values.tolist() == [0, 1, 1, 0, 0, 1, 0]
    assert "unit_map_half" not in whole["conv"]


@pytest.mark.parametrize("halves", [[True] * 7, [True] * 3 + [False] * 3, [1, 0, 1, 0, 1, 0, 1]])
def test_bad_halves(awkward, halves):
    with pytest.raises(InputError, match=r"'halves' .* must be 7 booleans"):
        extract_activations(awkward, scenes(), halves=halves)


def test_names_globs_and_lists(awkward):
    images = scenes(2)

    def ask(layers):
        return list(extract_activations(awkward, images, layers=layers))

    assert ask("relu") == ["relu", "relu#2"]
    assert ask("relu#2") == ["relu#2"]
    assert ask(["named.conv", "conv"]) == ["conv", "named.conv"]
    assert ask("*.conv") == ["pair.conv", "named.conv"]
    assert ask("all") == ["conv", "relu", "pair.conv", "relu#2", "named.conv"]
    assert ask("blocks") == ["pair", "named"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("unused", "never ran"),
        ("linear", "has no spatial or token shape"),
        ("cnov", "Unknown layer 'cnov'.*Did you mean 'conv'"),
        ("relu#3", "runs 2 times"),
        ("nothing*", "No layer that runs matches"),
        (["lin*"], "None of the layers"),
        ([], "'layers' parameter"),
        ([3], "'layers' parameter"),
    ],
)
def test_bad_layers(awkward, layers, message):
    with pytest.raises(InputError, match=message):
        extract_activations(awkward, scenes(2), layers=layers)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (255 * scenes(3), "must be in \\[0, 1\\].*in image 0 instead. Divide grey levels by 255"),
        (scenes(3) - 0.5, "in image 0"),
        ((255 * scenes(3)).to(torch.uint8), "floating point in \\[0, 1\\]"),
        (scenes(3)[:, :1], "of shape \\(scene, 3, H, W\\)"),
        (scenes(3)[:0], "of shape"),
        ([1, 2], "of shape"),
        (scenes(3, 16), "made for images of 32x32. Got 16x16"),
    ],
)
def test_bad_images(images, message):
    with pytest.raises(InputError, match=message):
        extract_activations(create_model("small_cnn", num_classes=10, image_size=32), images)


def test_bad_image_in_a_later_batch():
    images = scenes(9)
    images[6, 0, 3, 3] = float("nan")
    with pytest.raises(InputError, match="in image 6"):
        extract_activations(create_model("small_cnn", num_classes=10, image_size=32), images, batch_size=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": 8}, "'grid' parameter"),
        ({"grid": (0, 8)}, "'grid' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"device": "gpu0"}, "'device' parameter"),
        ({"amp": "bf16"}, "Did you mean 'bfloat16'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        extract_activations(create_model("small_cnn", num_classes=10, image_size=32), scenes(2), **options)


def test_nan_weights_fail_first():
    model = create_model("small_cnn", num_classes=10, image_size=32)
    with torch.no_grad():
        model.net.conv2.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match=r"small_cnn hold NaN.*conv2\.weight"):
        extract_activations(model, scenes(2))


def test_activations_that_overflow_are_told():
    model = create_model("small_cnn", num_classes=10, image_size=32)
    with torch.no_grad():
        model.net.conv1.weight.mul_(1e30)
        model.net.conv2.weight.mul_(1e30)
    with pytest.raises(DataError, match="'relu2' gives NaN or infinite"):
        extract_activations(model, scenes(2))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_do_not_matter_and_rows_are_scenes(batch_size):
    model = with_neurn(create_model("resnet18", num_classes=10, image_size=32, width=0.25))
    images = scenes()
    one = extract_activations(model, images, batch_size=7)
    other = extract_activations(model, images, batch_size=batch_size)
    for name, layer in one.items():
        xr.testing.assert_allclose(layer, other[name], rtol=1e-4, atol=1e-5)
        assert layer.attrs["scene_digest"] == other[name].attrs["scene_digest"] == scene_digest(images)
    order = [3, 0, 6, 1, 5, 2, 4]
    mixed = extract_activations(model, images[order], batch_size=batch_size)
    name = list(one)[-1]
    np.testing.assert_allclose(mixed[name]["unit_response"], one[name]["unit_response"][order], rtol=1e-4, atol=1e-5)
    assert mixed[name].attrs["scene_digest"] != scene_digest(images)


def test_attributes_say_what_was_run():
    model = create_model("vgg11", num_classes=10, image_size=32, width=0.25, seed=4)
    plain, front = (extract_activations(m, scenes(2)) for m in (model, with_neurn(model, k=5)))
    assert list(plain) == list(front)
    assert len(plain) == 8
    attrs = front["features.4"].attrs
    assert (attrs["model"], attrs["layer_variant"], attrs["neurn"]) == ("vgg11", "neurn", 1)
    assert "k=5" in attrs["front_layer"]
    assert attrs["weights"] == weights_digest(model) == plain["features.4"].attrs["weights"]
    assert plain["features.4"].attrs["neurn"] == 0
    assert attrs["weights_source"] == "random, seed 4"
    assert (attrs["image_size"], attrs["layer"], attrs["layer_index"]) == ("32x32", "features.4", 1)
    assert json.loads(attrs["preprocessing"])["source"] == "timm"
    # Plain values only, so that any store takes them.
    assert all(isinstance(value, (str, int, float)) for value in attrs.values())


def test_tokens_fold_to_the_grid_without_the_class_token():
    model = create_model("vit_tiny", num_classes=10, image_size=32, width=0.25)
    images = scenes(3)
    found = extract_activations(model, images, layers=["blocks.1", "patch_embed.proj"], grid=(8, 8))
    kept = []
    hook = model.net.blocks[1].register_forward_hook(lambda m, i, o: kept.append(o))
    with torch.no_grad():
        model(images)
    hook.remove()
    patches = kept[0][:, 1:].transpose(1, 2).reshape(3, -1, 8, 8)
    layer = found["blocks.1"]
    assert layer.attrs["prefix_tokens"] == 1
    np.testing.assert_allclose(layer["unit_map"], patches.mean(dim=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer["unit_response"], patches.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    assert found["patch_embed.proj"].attrs["native_size"] == "8x8"


def test_attention_is_no_map():
    model = create_model("vit_tiny", num_classes=10, image_size=32, width=0.25)
    found = extract_activations(model, scenes(2), layers="all")
    assert not any("attn_drop" in name or "q_norm" in name for name in found)
    assert all(layer.attrs["native_size"] == "8x8" for layer in found.values())


def test_channels_at_the_end():
    model = create_model("timm:swin_tiny_patch4_window7_224", num_classes=3, image_size=64)
    found = extract_activations(model, scenes(1, 64), layers="blocks")
    sizes = [(layer.attrs["native_size"], layer.sizes["unit"]) for layer in found.values()]
    assert ("16x16", 96) in sizes
    assert ("2x2", 768) in sizes


def test_the_model_goes_back_as_it_came(awkward):
    awkward.train()
    awkward.pair.eval()
    extract_activations(awkward, scenes(2), layers="conv")
    assert awkward.training
    assert not awkward.pair.training
    assert not any(module._forward_hooks for module in awkward.modules())
    with pytest.raises(InputError):
        extract_activations(awkward, scenes(2), layers="unused")
    assert not any(module._forward_hooks for module in awkward.modules())


def test_memory_that_runs_out_halves_the_batch(awkward):
    images, seen = scenes(8), []
    wanted = extract_activations(awkward, images, layers="all")
    forward = awkward.named.conv.forward

    def greedy(x):
        seen.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x)

    awkward.named.conv.forward = greedy
    found = extract_activations(awkward, images, layers="all", batch_size=8)
    assert seen == [1, 8, 4, 2, 2, 2, 2]
    for name, layer in wanted.items():
        xr.testing.assert_allclose(layer, found[name], rtol=1e-5, atol=1e-6)
        assert found[name].attrs["batch_size"] == 2


def test_the_pass_ends_at_the_last_layer_that_is_read(awkward):
    """What comes after it is not run again once the first image has shown the order of the layers."""
    seen = []
    awkward.linear.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    short = extract_activations(awkward, scenes(8), layers="relu", batch_size=4)
    assert seen == [1]
    whole = extract_activations(awkward, scenes(8), layers=["relu", "named"], batch_size=4)
    for name, layer in short.items():
        xr.testing.assert_equal(layer[["unit_response", "unit_map"]], whole[name][["unit_response", "unit_map"]])


@pytest.mark.parametrize("grid", [(6, 6), (32, 32), (40, 50), (31, 8)])
@pytest.mark.parametrize("halves", [None, np.arange(7) % 3 == 0])
def test_maps_resized_once_are_maps_resized_in_every_batch(awkward, grid, halves):
    """Small maps are summed as they are and resized in the end, large ones batch by batch: one and the same."""
    images = scenes()
    found = extract_activations(awkward, images, layers="all", grid=grid, batch_size=3, halves=halves)
    kept = {}
    hooks = [
        awkward.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: kept.setdefault(name, []).append(output.clone())
        )
        for name in ("conv", "pair.conv", "named.conv")
    ]
    with torch.no_grad():
        for part in images.split(3):
            awkward(part)
    for hook in hooks:
        hook.remove()
    for name, parts in kept.items():
        each = [resize_maps(maps.sum(dim=0), grid).double() for maps in parts]
        np.testing.assert_allclose(found[name]["unit_map"], sum(each) / 7, rtol=0, atol=1e-6)
        if halves is not None:
            first = resize_maps(torch.cat(parts)[torch.from_numpy(halves)].mean(dim=0), grid)
            np.testing.assert_allclose(found[name]["unit_map_half"][0], first, rtol=0, atol=1e-6)


def test_memory_that_never_suffices(awkward):
    calls = []

    def greedy(x):
        calls.append(len(x))
        if len(calls) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x)

    forward, awkward.conv.forward = awkward.conv.forward, greedy
    with pytest.raises(DataError, match="Memory runs out on one image"):
        extract_activations(awkward, scenes(4), layers="conv", batch_size=2)


def test_other_errors_are_not_taken_for_memory(awkward):
    calls = []

    def broken(x):
        calls.append(len(x))
        if len(calls) > 1:
            raise RuntimeError("shape mismatch")
        return forward(x)

    forward, awkward.conv.forward = awkward.conv.forward, broken
    with pytest.raises(RuntimeError, match="shape mismatch"):
        extract_activations(awkward, scenes(4), layers="conv")


@pytest.mark.parametrize("options", [{"amp": "bfloat16"}, {"channels_last": True}, {"deterministic": True}])
def test_other_ways_to_run_measure_their_difference(options):
    model = create_model("resnet18", num_classes=10, image_size=32, width=0.25)
    plain = extract_activations(model, scenes())
    asked = extract_activations(model, scenes(), **options)
    difference = asked["layer4.1"].attrs["float32_difference"]
    worst = max(
        float(abs(asked[n]["unit_response"] - plain[n]["unit_response"]).max() / abs(plain[n]["unit_response"]).max())
        for n in plain
    )
    assert difference == pytest.approx(worst, rel=0.05, abs=1e-5)
    assert difference <= 0.1
    assert (difference > 1e-4) == ("amp" in options)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_compiled_models_are_read_too():
    model = create_model("small_cnn", num_classes=10, image_size=32)
    plain, compiled = (extract_activations(model, scenes(), compile=flag) for flag in (False, True))
    for name, layer in plain.items():
        xr.testing.assert_allclose(layer, compiled[name], rtol=1e-3, atol=1e-4)
    assert 0 <= compiled["relu3"].attrs["float32_difference"] < 1e-3


def test_full_maps_on_disk(awkward, tmp_path):
    images = scenes(5)
    extract_activations(awkward, images, layers=["conv", "relu#2"], batch_size=2, save_maps=tmp_path / "maps")
    stored = zarr.open_group(str(tmp_path / "maps"), mode="r")
    with torch.no_grad():
        np.testing.assert_allclose(stored["conv"][:], awkward.conv(images), rtol=1e-5, atol=1e-6)
    assert stored["relu#2"].shape == (5, 6, 15, 15)
    with pytest.raises(InputError, match="exists already"):
        extract_activations(awkward, images, layers="conv", save_maps=tmp_path / "maps")


def test_full_maps_are_refused_before_the_disk_is_full(awkward, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DataError, match=r"GB free. Choose fewer layers"):
        extract_activations(awkward, scenes(5), layers="conv", save_maps=tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_results_that_exceed_the_machine_are_refused(awkward):
    with pytest.raises(DataError, match="Choose fewer layers or a smaller grid"):
        extract_activations(awkward, scenes(2), layers="conv", grid=(200_000, 200_000))


def test_preflight():
    model = create_model("small_cnn", num_classes=10, image_size=32)
    seen = preflight(model, scenes(8), batch_size=4)
    assert seen.layers == ["relu1", "relu2", "relu3"]
    assert seen.parameters == sum(p.numel() for p in model.net.parameters())
    assert seen.result_bytes == (32 + 64 + 128) * (4 * 8 + 8 * 32 * 32)
    # The images, normalised images and the first layer's maps before and after their ReLU.
    assert 4 * 4 * (3 + 32) * 32 * 32 <= seen.batch_bytes <= 4 * 4 * (3 + 3 + 3 * 32) * 32 * 32
    assert 0 < seen.seconds < 60
    with pytest.raises(InputError):
        preflight(model, 255 * scenes(2))


def test_progress_and_memory_maps(tmp_path):
    images = scenes(10).numpy()
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    seen = []
    model = create_model("small_cnn", num_classes=10, image_size=32)
    found = extract_activations(model, mapped, batch_size=4, progress=lambda done, all_: seen.append((done, all_)))
    assert seen == [(4, 10), (8, 10), (10, 10)]
    labelled = xr.DataArray(images, dims=("scene", "channel", "y", "x"))
    xr.testing.assert_equal(found["relu1"], extract_activations(model, labelled, batch_size=4)["relu1"])


@pytest.mark.parametrize(("size", "grid"), [((9, 9), (3, 3)), ((4, 4), (8, 8)), ((4, 12), (6, 6)), ((5, 5), (5, 5))])
def test_resized_maps(size, grid):
    maps = torch.rand(2, *size, generator=torch.Generator().manual_seed(0))
    found = resize_maps(maps, grid)
    assert found.shape == (2, *grid)
    torch.testing.assert_close(found.mean(dim=(1, 2)), maps.mean(dim=(1, 2)), rtol=0.15, atol=0)
    if size == (9, 9):
        torch.testing.assert_close(found, maps.reshape(2, 3, 3, 3, 3).mean(dim=(2, 4)))
    flat = torch.full((1, *size), 0.3)
    torch.testing.assert_close(resize_maps(flat, grid), torch.full((1, *grid), 0.3))


def test_images_from_grey_scenes():
    grey = np.random.default_rng(0).integers(0, 256, (2, 64, 96)).astype(np.uint8)
    images = as_images(grey, 32)
    assert images.dtype == np.float32
    assert images.shape == (2, 3, 32, 32)
    assert (images[:, 0] == images[:, 2]).all()
    np.testing.assert_allclose(images.mean(), grey.mean() / 255, rtol=0.01)
    np.testing.assert_allclose(as_images(grey / np.float32(255), 32), images, atol=1e-6)
    with pytest.raises(InputError, match="'scenes' parameter of as_images"):
        as_images(grey[0], 32)


@pytest.mark.slow
def test_memory_is_that_of_a_batch():
    def peak(count: int) -> int:
        code = (
            "import numpy as np, tempfile;"
            "from alignment.models import create_model, extract_activations;"
            "m = create_model('small_cnn', num_classes=10, image_size=32, width=0.25);"
            f"f = tempfile.NamedTemporaryFile(); f.truncate({count} * 3 * 32 * 32 * 4);"
            f"x = np.memmap(f.name, np.float32, 'r', shape=({count}, 3, 32, 32));"
            "extract_activations(m, x, batch_size=50);"
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return int(done.stdout)

    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to read a process's own peak memory from")
    few, many = peak(100), peak(10_000)
    # The images alone are 123 MB, mapped and so counted while resident; the results 2 MB.
    assert many - few < 160_000


class Moody(nn.Module):
    """Leaves a layer out when a batch holds more than one image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, image):
        maps = self.conv(image)
        return self.relu(maps) if len(image) == 1 else maps


def test_a_layer_that_runs_only_sometimes():
    with pytest.raises(DataError, match="'relu' ran on the first image and not on a batch"):
        extract_activations(Moody(), scenes(4), layers=["conv", "relu"])


def test_the_memory_format_goes_back(awkward):
    extract_activations(awkward, scenes(2), layers="conv", channels_last=True)
    assert awkward.pair.conv.weight.is_contiguous()
