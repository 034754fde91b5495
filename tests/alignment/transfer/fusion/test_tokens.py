from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from alignment.models import create_model, with_layer
from alignment.transfer import Domain
from alignment.transfer.fusion import Tokens, extract_tokens
from neural_alignment import DataError, InputError


def images(n: int = 5, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, size, size)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "options", "layer", "grid", "features"),
    [
        ("small_cnn", {}, "relu3", (8, 8), 128),
        ("resnet18", {"width": 0.125}, "layer4", (4, 4), 64),
        ("vgg11", {"width": 0.125}, None, (2, 2), 64),
    ],
)
def test_a_convolutional_network_gives_its_last_map(
    name: str, options: dict, layer: str | None, grid: tuple[int, int], features: int
) -> None:
    model = create_model(name, num_classes=10, image_size=32, **options)
    tokens = extract_tokens(model, images(), device="cpu", dtype="float32")
    assert tokens.grid == grid and tokens.patches.shape == (5, grid[0] * grid[1], features)
    assert not tokens.has_cls and tokens.cls == pytest.approx(tokens.patches.mean(axis=1), abs=1e-5)
    if layer is not None:
        assert tokens.layer == layer


def test_values_are_those_of_the_layer() -> None:
    model = create_model("small_cnn", num_classes=10, image_size=32)
    with torch.no_grad():
        x = (torch.from_numpy(images()).float() / 255 - model.mean) / model.std
        expected = model.net[:8](x)
    tokens = extract_tokens(model, images(), device="cpu", dtype="float32", batch_size=2)
    assert tokens.patches == pytest.approx(expected.flatten(2).transpose(1, 2).numpy(), abs=1e-4)
    coarse = extract_tokens(model, images(), grid=(2, 4), device="cpu", dtype="float32")
    pooled = nn.functional.adaptive_avg_pool2d(expected, (2, 4)).flatten(2).transpose(1, 2)
    assert coarse.grid == (2, 4) and coarse.patches == pytest.approx(pooled.numpy(), abs=1e-4)


def test_a_transformer_gives_its_own_cls_and_patches() -> None:
    model = create_model("vit_tiny", num_classes=10, image_size=32, width=0.25)
    tokens = extract_tokens(model, images(), device="cpu", dtype="float32")
    with torch.no_grad():
        x = (torch.from_numpy(images()).float() / 255 - model.mean) / model.std
        expected = model.net.forward_features(x).numpy()
    assert tokens.has_cls and tokens.grid == (8, 8)
    assert tokens.cls == pytest.approx(expected[:, 0], abs=1e-4)
    assert tokens.patches == pytest.approx(expected[:, 1:], abs=1e-4)


@pytest.mark.slow
def test_dinov2_by_name_gives_its_grid_without_registers() -> None:
    model = create_model("timm:vit_small_patch14_reg4_dinov2", num_classes=0 + 1, image_size=56)
    tokens = extract_tokens(model, images(2, 56), device="cpu")
    assert tokens.has_cls and tokens.grid == (4, 4) and tokens.features == 384


def test_float16_is_close_and_refused_where_it_overflows() -> None:
    model = create_model("small_cnn", num_classes=10, image_size=32)
    half, full = (extract_tokens(model, images(), device="cpu", dtype=dtype) for dtype in ("float16", "float32"))
    assert half.patches.dtype == np.float16
    assert half.patches.astype(np.float32) == pytest.approx(full.patches, rel=2e-3, abs=1e-4)
    with torch.no_grad():
        model.net.conv3.weight.mul_(1e7)
    with pytest.raises(DataError, match=r"float16 cannot hold\. Take dtype='float32'"):
        extract_tokens(model, images(), device="cpu")


def test_domains_layers_by_name_and_layers_in_front() -> None:
    domain = Domain("d", "test", images(), np.zeros(5, np.int64), ("a",))
    plain = create_model("small_cnn", num_classes=10, image_size=32)
    told: list[tuple[int, int, str]] = []
    named = extract_tokens(plain, domain, layer="relu2", device="cpu", batch_size=3, progress=lambda *a: told.append(a))
    assert named.grid == (16, 16) and [part[:2] for part in told] == [(3, 5), (5, 5)]
    fronted = extract_tokens(with_layer(plain, "neurn"), domain, device="cpu")
    assert fronted.layer == "relu3"
    assert not np.allclose(fronted.patches, extract_tokens(plain, domain, device="cpu").patches)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": (9, 4)}, "must not be finer than the tokens of 'relu3', 8x8. Got 9x4"),
        ({"grid": (0, 4)}, "'grid' parameter"),
        ({"dtype": "float64"}, "'dtype' parameter of extract_tokens"),
        ({"layer": "relu9"}, "Unknown layer 'relu9'"),
        ({"layer": "linear"}, "no spatial or token shape"),
        ({"batch_size": 0}, "'batch_size' parameter"),
    ],
)
def test_bad_input_is_refused(changes: dict, message: str) -> None:
    model = create_model("small_cnn", num_classes=10, image_size=32)
    with pytest.raises(InputError, match=message):
        extract_tokens(model, images(2), device="cpu", **changes)


def test_a_network_without_places_is_refused() -> None:
    with pytest.raises(InputError, match="gives no patch tokens"):
        extract_tokens(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)), images(2), device="cpu")


def test_tokens_go_to_a_store_and_back_and_must_fit() -> None:
    tokens = Tokens(np.zeros((2, 3)), np.ones((2, 4, 3)), (2, 2), True, "l")
    back = Tokens.from_parts(tokens.to_parts())
    assert np.array_equal(back.patches, tokens.patches) and (back.grid, back.has_cls, back.layer) == ((2, 2), True, "l")
    assert len(tokens.take(np.array([1]))) == 1 and tokens.features == 3
    with pytest.raises(DataError, match="does not hold 4"):
        Tokens(np.zeros((2, 3)), np.ones((2, 4, 3)), (2, 3), True, "l")
    with pytest.raises(DataError, match="Tokens need"):
        Tokens(np.zeros((3, 3)), np.ones((2, 4, 3)), (2, 2), True, "l")
