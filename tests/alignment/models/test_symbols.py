"""Networks as symbols: what runs, in the order it runs, however it is written."""

from __future__ import annotations

import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alignment.models import list_models
from alignment.models.symbols import LEVELS, layer_symbols, trace_layers, write_symbols
from neural_alignment import DataError, InputError

# The papers' strings, read off the published traceback panels.
PUBLISHED = {
    "vgg16": "CCMCCMCCCMCCCMCCCMLLL",
    "vgg19": "CCMCCMCCCCMCCCCMCCCCMLLL",
    "vgg11": "CRMCRMCRCRMCRCRMCRCRMALRDLRDL",
}


class Written(nn.Module):
    """The same network twice: as modules, or as function calls."""

    def __init__(self, functions: bool) -> None:
        super().__init__()
        self.functions = functions
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depth, self.point = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1)
        self.act, self.pool, self.drop = nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5)
        self.mean, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        if self.functions:
            x = F.max_pool2d(F.relu(x), 2)
            x = F.relu_(self.point(self.depth(x)))
            return F.linear(F.dropout(x.mean((2, 3)), 0.5, self.training), self.head.weight)
        x = self.pool(self.act(x))
        x = self.act(self.point(self.depth(x)))
        return self.head(self.drop(self.mean(x).flatten(1)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_strings_are_reproduced(name: str) -> None:
    assert layer_symbols(name) == PUBLISHED[name]


@pytest.mark.parametrize("level", LEVELS)
def test_modules_and_functions_are_the_same_layers(level: str) -> None:
    one, other = (layer_symbols(Written(functions), level, image_size=32) for functions in (False, True))
    assert one == other
    assert {"papers": "CNRMCCRADL", "types": "CBRMWPRVDL"}.get(level, one) == one


def test_the_words_of_the_finest_alphabet() -> None:
    words = layer_symbols(Written(False), "detailed", image_size=32)
    assert words == ("C3/1w3", "B", "R", "M", "W3/1w3", "P1/1w4", "R", "V", "D", "Lw3")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"activations": "all"}, "CNRMCCRADL"),
        ({"activations": "separate"}, "CNRMCCADL"),
        ({"activations": "none"}, "CNMCCADL"),
        ({"normalisations": False}, "CRMCCRADL"),
        ({"dropout": False}, "CNRMCCRAL"),
        ({"collapse": True}, "CNRMCRADL"),
    ],
)
def test_options_say_what_a_layer_is(options: dict[str, object], expected: str) -> None:
    assert layer_symbols(Written(False), image_size=32, **options) == expected


def test_keras_networks_have_their_activations_in_the_convolutions() -> None:
    trace = trace_layers("vgg16")
    assert "R" not in write_symbols(trace)
    assert write_symbols(trace, activations="all").count("R") == 15
    assert layer_symbols("resnet50").startswith("CNRM")  # after a normalisation they are layers of their own


LAYERS = [
    (nn.ConvTranspose2d(3, 8, 2, 2), "T", "T"),
    (nn.Conv2d(3, 6, 3, groups=3), "C", "W"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=2)), "CC", "PG"),
    (nn.Sequential(nn.GELU(), nn.SiLU(inplace=True), nn.Tanh(), nn.Hardswish()), "RRRR", "SSSS"),
    (nn.Sequential(nn.ReLU6(), nn.LeakyReLU(), nn.PReLU()), "RRR", "RRR"),
    (nn.Sequential(nn.Sigmoid(), nn.Hardsigmoid(), nn.Softmax(1)), "RRR", "QQQ"),
    (nn.Sequential(nn.InstanceNorm2d(3), nn.GroupNorm(3, 3), nn.LayerNorm([3, 8, 8])), "NNN", "IHY"),
    (nn.LocalResponseNorm(3), "N", "H"),
    (nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)), "AA", "AV"),
    (nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(2)), "MM", "MM"),
    (nn.Sequential(nn.Dropout2d(0.1), nn.Dropout(0.0), nn.Identity()), "D", "D"),
    (nn.Upsample(scale_factor=2), "U", "U"),
    (nn.PixelShuffle(1), "U", "U"),
]


@pytest.mark.parametrize(("module", "papers", "kinds"), LAYERS, ids=[kinds for _, _, kinds in LAYERS])
def test_every_kind_of_layer_has_its_letter(module: nn.Module, papers: str, kinds: str) -> None:
    assert layer_symbols(module, image_size=8) == papers
    assert layer_symbols(module, "types", image_size=8) == kinds


def test_attention_is_one_layer_whoever_computes_it() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(2).transpose(1, 2)[..., :1].expand(-1, -1, 8)
            x = F.scaled_dot_product_attention(x, x, x)
            return self.heads(x, x, x, need_weights=True)[0]

    assert layer_symbols(Attends(), "types", image_size=4) == "XX"


def test_a_head_written_as_convolutions_is_linear_and_a_gate_is_not() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze, self.head = (
                nn.Conv2d(3, 3, 1),
                nn.Sequential(nn.Conv2d(3, 9, 4), nn.Conv2d(9, 5, 1)),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid())

    assert layer_symbols(Gated(), image_size=4) == "ACRLL"


def test_pooling_a_single_value_is_no_layer() -> None:
    assert (
        layer_symbols(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(1)), image_size=8)
        == "CA"
    )


def test_a_shared_module_counts_each_time_and_keeps_its_place() -> None:
    act = nn.ReLU()
    trace = trace_layers(nn.Sequential(act, nn.Conv2d(3, 3, 1), act), 8)
    assert write_symbols(trace) == "RCR"
    assert [layer.name for layer in trace.layers] == ["0", "1", "0"]


def test_a_module_keeps_its_weights_its_mode_and_no_hooks() -> None:
    model = Written(False).train()
    model.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layer_symbols(model, image_size=32)
    assert model.training and not model.norm.training and model.conv.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert model.conv.weight.device.type == "cpu"


def test_the_package_offers_the_names_that_users_type() -> None:
    import alignment.models as models

    assert models.layer_symbols is layer_symbols
    assert models.needleman_wunsch("CM", "CM").score == 2
    assert {"layer_symbols", "needleman_wunsch", "similarity_matrix"} <= set(models.__all__)


class LooksAtValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return F.relu(x) if x.abs().sum().item() >= 0 else x


def test_a_network_that_looks_at_values_is_run_on_the_cpu_and_says_so() -> None:
    with pytest.warns(UserWarning, match="does not run on the meta device .* on the CPU"):
        trace = trace_layers(LooksAtValues(), 8)
    assert write_symbols(trace) == "CR"
    assert trace.device == "cpu" and "meta" in trace.note


def test_a_network_that_cannot_run_says_why() -> None:
    with pytest.raises(DataError, match=r"cannot be run on images \(1, 3, 8, 8\)"):
        trace_layers(nn.Sequential(nn.Conv2d(4, 4, 3)), 8)
    model = Written(True)
    with pytest.raises(DataError):
        trace_layers(model, 1)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_a_users_own_model_by_module_and_function() -> None:
    module = types.ModuleType("users_models")
    module.mine = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())  # type: ignore[attr-defined]
    sys.modules["users_models"] = module
    try:
        assert layer_symbols("users_models:mine") == "CR"
    finally:
        del sys.modules["users_models"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "vgg61"}, "Did you mean 'vgg1"),
        ({"model": 3}, "takes a model's name or an nn.Module"),
        ({"model": nn.ReLU(), "level": "finest"}, "'level' parameter"),
        ({"model": nn.ReLU(), "activations": "some"}, "'activations' parameter"),
        ({"model": nn.ReLU(), "image_size": 0}, "'image_size' parameter"),
        ({"model": nn.Flatten()}, "has no layer that these options keep"),
        ({"model": nn.ReLU(), "activations": "none"}, "has no layer that these options keep"),
    ],
)
def test_bad_input_is_told(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer_symbols(**{"image_size": 8, **arguments} if "vgg61" not in arguments.values() else arguments)


@pytest.mark.parametrize("name", ["googlenet", "efficientnet_b0", "vit", "u-net", "nasnet-mobile", "shufflenet"])
def test_networks_of_the_zoo_run_without_numbers(name: str) -> None:
    trace = trace_layers(name)
    assert trace.device == "meta" and trace.note == ""
    assert sum(symbol in "CTL" for symbol in write_symbols(trace)) >= 18


@pytest.mark.slow
def test_all_44_run_on_meta() -> None:
    assert {trace_layers(name).device for name in list_models(papers_only=True)} == {"meta"}
