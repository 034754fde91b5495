"""What an extraction may not depend on, and what it must: batches, the scenes' order, the layers asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from alignment.models import extract_activations, preflight, scene_digest, with_layer
from alignment.models._reduction import resize_maps
from neural_alignment import InputError


class Blocky(nn.Module):
    """Two named stages and a head, all of whose layers run once."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.stage1 = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.stage2 = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.stage2(self.stage1(self.stem(image))).mean(dim=(2, 3)))


CONVOLUTIONS = ["stem.0", "stage1.0", "stage2.0"]
RELUS = ["stem.1", "stage1.2", "stage2.2"]


def scenes(count: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


def read(images, layers=tuple(CONVOLUTIONS + RELUS), model: nn.Module | None = None, **options):
    return extract_activations(model or Blocky(), images, list(layers), (5, 4), device="cpu", **options)


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 9), batch_size=st.integers(1, 12), seed=st.integers(0, 1000))
def test_batches_leave_no_trace(count: int, batch_size: int, seed: int) -> None:
    images = scenes(count, seed)
    whole, parts = read(images, batch_size=64), read(images, batch_size=batch_size)
    assert list(whole) == list(parts)
    for name in whole:
        for variable in ("unit_response", "unit_map"):
            np.testing.assert_allclose(parts[name][variable], whole[name][variable], rtol=1e-4, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_rows_follow_the_scenes_and_maps_do_not(seed: int) -> None:
    images = scenes(7)
    order = np.random.default_rng(seed).permutation(7)
    plain, permuted = read(images), read(images[order], batch_size=3)
    for name in plain:
        np.testing.assert_allclose(
            permuted[name]["unit_response"], plain[name]["unit_response"].values[order], rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(permuted[name]["unit_map"], plain[name]["unit_map"], rtol=1e-4, atol=1e-6)
    same = bool((order == np.arange(7)).all())
    assert (scene_digest(images) == scene_digest(images[order])) is same


def test_the_mean_map_of_two_sets_is_the_weighted_mean_of_theirs() -> None:
    images = scenes(8)
    whole, first, rest = read(images), read(images[:3]), read(images[3:])
    for name, layer in whole.items():
        expected = (3 * first[name]["unit_map"].values + 5 * rest[name]["unit_map"].values) / 8
        np.testing.assert_allclose(layer["unit_map"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", CONVOLUTIONS)
def test_a_mean_map_has_the_mean_of_the_mean_responses(layer: str) -> None:
    """Averaging areas keeps the mean where the grid divides the map."""
    found = extract_activations(Blocky(), scenes(), [layer], (3, 3), device="cpu")[layer]
    np.testing.assert_allclose(found["unit_map"].mean(("y", "x")), found["unit_response"].mean("scene"), atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("stage?.0", ["stage1.0", "stage2.0"]),
        ("*.0", CONVOLUTIONS),
        (["stage2.2", "stem.*"], ["stem.0", "stem.1", "stage2.2"]),
        (["stem.1", "stem.1", "stem.?"], ["stem.0", "stem.1"]),
        (list(reversed(CONVOLUTIONS)), CONVOLUTIONS),
        ("stage[12]", ["stage1", "stage2"]),
        ("auto", RELUS),
    ],
)
def test_globs_choose_and_execution_orders(layers, expected: list[str]) -> None:
    found = extract_activations(Blocky(), scenes(2), layers, (4, 4), device="cpu")
    assert list(found) == expected
    assert preflight(Blocky(), scenes(2), layers, (4, 4), device="cpu").layers == expected
    indices = [layer.attrs["layer_index"] for layer in found.values()]
    assert indices == sorted(indices)


@pytest.mark.parametrize("alone", CONVOLUTIONS + RELUS)
def test_a_layer_reads_alike_whatever_is_read_beside_it(alone: str) -> None:
    images = scenes()
    beside, single = read(images)[alone], read(images, [alone])[alone]
    np.testing.assert_array_equal(single["unit_response"], beside["unit_response"])
    np.testing.assert_array_equal(single["unit_map"], beside["unit_map"])


@pytest.mark.parametrize("variant", ["neurn", "standardise", "sobel"])
def test_a_front_layer_is_the_same_as_images_that_passed_it(variant: str) -> None:
    model = Blocky()
    front = with_layer(model, variant)
    found = read(scenes(), CONVOLUTIONS, front)
    with torch.inference_mode():
        expected = model.eval().stem[0](front.layer(scenes())).mean(dim=(2, 3))
    np.testing.assert_allclose(found["stem.0"]["unit_response"], expected, rtol=1e-4, atol=1e-6)
    assert found["stem.0"].attrs["layer_variant"] == variant


@settings(max_examples=30, deadline=None)
@given(size=st.tuples(st.integers(1, 12), st.integers(1, 12)), grid=st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_resizing_keeps_constants_and_bounds_and_is_linear(size: tuple[int, int], grid: tuple[int, int]) -> None:
    maps = torch.rand(2, *size, generator=torch.Generator().manual_seed(1))
    found = resize_maps(maps, grid)
    assert found.shape == (2, *grid)
    assert found.min() >= maps.min() - 1e-6 and found.max() <= maps.max() + 1e-6
    torch.testing.assert_close(resize_maps(torch.full((1, *size), 0.3), grid), torch.full((1, *grid), 0.3))
    torch.testing.assert_close(
        resize_maps(3 * maps[:1] - maps[1:], grid), 3 * found[:1] - found[1:], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("wrong", ["stage3.*", "stag1", ["stem.0", "nothing"]])
def test_names_that_match_nothing_are_refused(wrong) -> None:
    with pytest.raises(InputError):
        extract_activations(Blocky(), scenes(1), wrong, device="cpu")
