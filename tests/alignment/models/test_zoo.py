"""The zoo: names, sizes, widths, seeds and the libraries behind it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from alignment.models import create_model, extract_activations, list_models, weights_digest
from alignment.models._libraries import prepare_torchvision, torchvision_state
from alignment.models.zoo import entry
from neural_alignment import DataError, InputError

QUICK = ("resnet18", "vgg11", "vit_tiny", "small_cnn")


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_papers_44():
    names = list_models(papers_only=True)
    assert len(names) == len(set(names)) == 44
    assert set(names) < set(list_models())
    families = ("mobilenet", "vgg", "efficientnet", "densenet", "nasnet")
    counts = [sum(n.startswith(f) for n in names) for f in families]
    assert counts == [2, 3, 8, 3, 2]
    assert all(entry(name).source.count(":") == 1 for name in names)


@pytest.mark.parametrize(
    ("asked", "found"),
    [("ResNet18", "resnet18"), ("wide_resnet", "wide-resnet"), ("U-Net", "u-net"), ("CORnet", "cornet"),
     ("inceptionv3", "inceptionv3"), ("inception-v3", "inception_v3"), ("nasnet_mobile", "nasnet-mobile")],
)  # fmt: skip
def test_names_in_any_case(asked, found):
    assert entry(asked).name == found


def test_stand_ins_say_so():
    assert "do not say which" in entry("squeezenet").stand_in
    assert entry("vgg16").stand_in == ""
    assert entry("vit_tiny").small_size == 64


@pytest.mark.parametrize("name", QUICK)
def test_small_images_train(name):
    model = create_model(name, num_classes=10, image_size=32, width=0.25).train()
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loss = nn.functional.cross_entropy(model(images), torch.arange(8))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.parameters())
    assert parameters(model) < 2_000_000


@pytest.mark.parametrize("name", QUICK)
def test_width_scales_and_the_seed_decides(name):
    options = {"num_classes": 10, "image_size": 32}
    narrow = create_model(name, width=0.5, **options)
    assert parameters(narrow) < 0.5 * parameters(create_model(name, **options))
    again = create_model(name, width=0.5, **options)
    other = create_model(name, width=0.5, seed=1, **options)
    assert weights_digest(narrow) == weights_digest(again) != weights_digest(other)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    create_model("small_cnn", image_size=32)
    assert (torch.rand(4) == wanted).all()


def test_small_form_of_resnet18_leaves_maps():
    model = create_model("resnet18", num_classes=10, image_size=32, width=0.25)
    assert "no max-pool" in model.small_form
    found = extract_activations(model, torch.rand(1, 3, 32, 32), layers=["conv1", "layer4.1"])
    assert [layer.attrs["native_size"] for layer in found.values()] == ["32x32", "4x4"]
    large = create_model("resnet18", num_classes=10, image_size=64, width=0.25)
    assert large.small_form == ""
    assert large.net.conv1.kernel_size == (7, 7)


def test_full_width_networks_are_the_published_ones():
    assert parameters(create_model("resnet18")) == 11_689_512
    assert parameters(create_model("proxyless_nas")) == pytest.approx(7.12e6, rel=0.01)
    assert parameters(create_model("cornet")) == pytest.approx(53.4e6, rel=0.01)
    assert parameters(create_model("autoformer_small")) == pytest.approx(22.9e6, rel=0.01)
    assert parameters(create_model("autoformer_base")) == pytest.approx(54e6, rel=0.01)
    assert parameters(create_model("spos_shufflenet")) == pytest.approx(3.4e6, rel=0.01)


@pytest.mark.parametrize(
    ("name", "depth", "width", "heads", "inside"),
    [
        ("autoformer_tiny", 13, 192, "3333333333433", "3.5 3.5 3 3.5 3 3 4 4 3.5 4 3.5 4 3.5"),
        ("autoformer_small", 13, 384, "6657555667767", "3 3.5 3 3.5 4 4 4 4 4 4 4 3.5 4"),
        ("autoformer_base", 14, 576, "99999099090990", "3.5 3.5 4 3.5 4 3.5 3.5 3 4 4 3 4 3 3.5"),
    ],
)
def test_autoformers_are_the_published_subnets(name, depth, width, heads, inside):
    """As the authors' retraining configurations list them, block by block (0 for 10 heads)."""
    blocks = create_model(name, image_size=32).net.blocks
    assert len(blocks) == depth
    assert [b.attn.heads for b in blocks] == [int(h) or 10 for h in heads]
    assert [b.fc1.out_features for b in blocks] == [int(width * float(r)) for r in inside.split()]
    assert {b.fc1.in_features for b in blocks} == {width}


def test_the_published_single_path():
    """Kernels and inner widths as the authors' code lists them; the published 328 million products."""
    net = create_model("spos_shufflenet").net
    products = []

    def count(module, inputs, output):
        where = output[0, 0].numel() if output.dim() == 4 else 1
        products.append(where * module.weight.numel())

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(torch.rand(1, 3, 224, 224))
    assert sum(products) == pytest.approx(328e6, rel=0.001)
    middle = [next(m for m in b.branch_main if isinstance(m, nn.Conv2d) and m.groups == 1) for b in net.features]
    assert [m.out_channels for m in middle[:8]] == [44, 38, 25, 38, 48, 112, 64, 80]


def test_normalisation_is_inside():
    model = create_model("resnet18", num_classes=4, image_size=32, width=0.25)
    assert model.preprocessing["mean"] == (0.485, 0.456, 0.406)
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(model.preprocessing[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    torch.testing.assert_close(model(images), model.net((images - mean) / std))
    assert not any("mean" in name and "." not in name for name in model.state_dict())
    assert create_model("vit_tiny", image_size=32, width=0.25).preprocessing["mean"] == (0.5, 0.5, 0.5)


def test_other_sources():
    by_timm = create_model("timm:resnet10t", num_classes=5, image_size=64)
    assert by_timm(torch.rand(1, 3, 64, 64)).shape == (1, 5)
    by_torchvision = create_model("torchvision:mnasnet0_5", num_classes=5, image_size=64)
    assert by_torchvision(torch.rand(1, 3, 64, 64)).shape == (1, 5)
    mine = create_model("alignment.models.networks.small:small_cnn", num_classes=7, image_size=16, width=0.25)
    assert mine(torch.rand(1, 3, 16, 16)).shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", {}, "Unknown model 'resnet81'.*Did you mean 'resnet18'"),
        ("timm:resnet1881", {}, "timm has no model 'resnet1881'.*Did you mean"),
        ("torchvision:squeezenet1_3", {}, "torchvision has no model.*Did you mean"),
        ("no.such.module:net", {}, "cannot be found.*module.path:function"),
        ("math:pi", {}, "not a function"),
        ("densenet121", {"width": 0.5}, "'width' parameter of create_model cannot be applied to densenet121"),
        ("u-net", {"image_size": 40}, "multiple of 16. Got 40"),
        ("inception_v3", {"image_size": 64}, "at least 75x75"),
        ("resnet18", {"width": 0}, "'width' parameter"),
        ("resnet18", {"num_classes": 0}, "'num_classes' parameter"),
        ("resnet18", {"seed": -1}, "'seed' parameter"),
        ("resnet18", {"weights": 3}, "'weights' parameter"),
        ("u-net", {"weights": "timm"}, "timm has no weights of u-net"),
        ("resnet18", {"weights": "timm:vgg11.tv_in1k"}, "belong to another network"),
        ("resnet18", {"weights": "timm", "image_size": 32}, "do not fit its small form"),
        ("resnet18", {"weights": "timm", "width": 0.5}, "full width"),
    ],
)
def test_bad_requests(name, options, message):
    with pytest.raises(InputError, match=message):
        create_model(name, **{"image_size": 96, **options})


def test_a_function_that_makes_no_module(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def net(num_classes):\n    return num_classes\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"must return a torch module. It gave int"):
        create_model("mine:net")


def test_hub_weights_without_a_network(monkeypatch):
    from alignment.models import _libraries

    timm = _libraries.timm()

    def offline(*args, **kwargs):
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DataError, match=r"could not be fetched.*network connection.*safetensors"):
        create_model("resnet18", weights="timm")


def test_torchvision_stands_beside_this_torch():
    assert "torchvision" in torchvision_state()
    assert prepare_torchvision() in ("cuda", "loaded", "declared")


def test_the_door_works_in_a_fresh_process_and_importing_is_light():
    code = (
        "import sys, json; import alignment.models; "
        "light = [m for m in ('torch', 'timm', 'torchvision') if m in sys.modules]; "
        "from alignment.models import _libraries; _libraries.torchvision('ops'); _libraries.timm('data'); "
        "import torch\n"
        "try:\n    torch.ops.torchvision.nms(torch.rand(1, 4), torch.rand(1), 0.5); ran = True\n"
        "except (NotImplementedError, RuntimeError):\n    ran = False\n"
        "print(json.dumps([light, _libraries.prepare_torchvision(), ran]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    light, state, ran = json.loads(done.stdout)
    assert light == []
    assert ran == (state != "declared")


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_network_gives_activations(name):
    record = entry(name)
    size = max(64, record.minimum_size)
    size += -size % record.size_multiple
    model = create_model(name, num_classes=10, image_size=size)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    layers = extract_activations(model, images, grid=(8, 8))
    assert 3 <= len(layers) <= 12
    for index, layer in enumerate(layers.values()):
        assert layer.attrs["layer_index"] == index
        assert layer["unit_response"].shape == (2, layer.sizes["unit"])
        assert layer["unit_map"].shape == (layer.sizes["unit"], 8, 8)


def test_a_narrowed_vit_starts_from_weights_that_keep_the_signal():
    net = create_model("vit_tiny", num_classes=10, image_size=32, width=0.25).net
    inside = [module for module in net.blocks.modules() if isinstance(module, torch.nn.Linear)]
    for module in inside:
        assert float(module.weight.std()) == pytest.approx(module.in_features**-0.5, rel=0.15)
    full = create_model("vit_tiny", num_classes=10, image_size=32).net
    assert float(full.blocks[0].mlp.fc1.weight.std()) == pytest.approx(0.02, rel=0.05), "timm's own, at full width"
