"""What every front layer keeps and what it is blind to: batches, channels, mirrors, brightness, gain."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.models import LAYER_VARIANTS, NeuRN, create_layer
from alignment.models._local_std import BORDERS

# Layers that look at a pixel's surroundings, and so at what lies outside of the image.
BORDERED = [name for name in LAYER_VARIANTS if name not in ("baseline", "lrn", "standardise")]
IN_UNIT_RANGE = ("baseline", "neurn", "neurn_raw", "sobel")

sizes = st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(9, 16), st.integers(9, 16))
seeds = st.integers(0, 2**31)


def picture(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def extremes() -> dict[str, torch.Tensor]:
    checks = torch.arange(12)[:, None] + torch.arange(12)
    half, dot = torch.zeros(12, 12), torch.zeros(12, 12)
    half[:, 6:], dot[5, 5] = 1.0, 1.0
    flat = {"black": torch.zeros(12, 12), "grey": torch.full((12, 12), 0.5), "white": torch.ones(12, 12)}
    patterns = {"checkerboard": (checks % 2).float(), "edge": half, "dot": dot, "faint dot": dot * 1e-6}
    return {name: image.expand(1, 3, 12, 12).clone() for name, image in (flat | patterns).items()}


@pytest.mark.parametrize("name", LAYER_VARIANTS)
@pytest.mark.parametrize("image", list(extremes()))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_extreme_images_stay_finite_and_keep_their_form(name: str, image: str, dtype: torch.dtype) -> None:
    given_image = extremes()[image].to(dtype)
    found = create_layer(name)(given_image)
    assert found.shape == given_image.shape
    assert found.dtype == dtype
    assert torch.isfinite(found).all()
    if name in IN_UNIT_RANGE:
        assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("name", ["neurn", "sobel"])
@pytest.mark.parametrize("image", ["checkerboard", "edge", "dot"])
def test_a_layer_that_is_relative_to_its_maximum_reaches_one(name: str, image: str) -> None:
    # A checkerboard's Sobel gradient vanishes: what lies two pixels apart is equal.
    expected = 0.0 if (name, image) == ("sobel", "checkerboard") else 1.0
    assert create_layer(name)(extremes()[image]).max().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", LAYER_VARIANTS)
@settings(max_examples=12, deadline=None)
@given(size=sizes, seed=seeds)
def test_an_image_does_not_know_its_batch(name: str, size: tuple[int, ...], seed: int) -> None:
    images = picture(seed, *size)
    layer = create_layer(name)
    together = layer(torch.cat([images, torch.ones_like(images[:1]), 100 * images]))
    torch.testing.assert_close(together[: len(images)], layer(images), rtol=1e-9, atol=1e-12)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(layer(images[order]), layer(images)[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LAYER_VARIANTS)
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_no_colour_is_treated_apart(name: str, order: tuple[int, ...]) -> None:
    images = picture(1, 2, 3, 13, 11)
    layer = create_layer(name)
    torch.testing.assert_close(layer(images[:, order]), layer(images)[:, order], rtol=1e-9, atol=1e-12)


MIRRORS = {
    "left and right": lambda x: x.flip(3),
    "top and bottom": lambda x: x.flip(2),
    "half a turn": lambda x: x.flip(2, 3),
    "transposed": lambda x: x.transpose(2, 3),
    "quarter turn": lambda x: x.rot90(1, (2, 3)),
}


@pytest.mark.parametrize("mirror", list(MIRRORS))
@pytest.mark.parametrize(
    ("name", "border"),
    [(name, border) for name in LAYER_VARIANTS for border in (BORDERS if name in BORDERED else ["none"])],
)
def test_a_mirrored_image_gives_a_mirrored_result(name: str, mirror: str, border: str) -> None:
    layer = create_layer(name, **({"border": border} if name in BORDERED else {}))
    images = picture(2, 2, 3, 14, 17)
    turn = MIRRORS[mirror]
    torch.testing.assert_close(layer(turn(images)), turn(layer(images)), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", BORDERED)
def test_a_moved_image_gives_a_moved_result_inside(name: str) -> None:
    """Away from borders, and where the maximum and mean stay those of the same pixels."""
    wide = torch.zeros(1, 3, 40, 40, dtype=torch.float64)
    wide[..., 14:22, 14:22] = picture(3, 1, 3, 8, 8)
    layer = create_layer(name)
    moved = layer(wide.roll((3, 2), (2, 3)))
    torch.testing.assert_close(moved, layer(wide).roll((3, 2), (2, 3)), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["neurn", "sobel", "standardise"])
@settings(max_examples=20, deadline=None)
@given(seed=seeds, gain=st.floats(0.1, 50), offset=st.floats(-3, 3))
def test_brightness_and_gain_do_not_pass(name: str, seed: int, gain: float, offset: float) -> None:
    image = picture(seed, 1, 3, 10, 12)
    layer = create_layer(name)
    torch.testing.assert_close(layer(gain * image + offset), layer(image), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["lcn", "neurn_raw"])
@settings(max_examples=20, deadline=None)
@given(seed=seeds, gain=st.floats(0.1, 50), offset=st.floats(-3, 3))
def test_gain_passes_where_nothing_divides(name: str, seed: int, gain: float, offset: float) -> None:
    image = picture(seed, 1, 3, 10, 12)
    layer = create_layer(name)
    torch.testing.assert_close(layer(gain * image + offset), gain * layer(image), rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, gain=st.floats(1.0, 50), offset=st.floats(-3, 3))
def test_divisive_normalisation_takes_the_gain_out(seed: int, gain: float, offset: float) -> None:
    """Down to its floor of one grey level, which pixels of this much noise stay far above."""
    image = picture(seed, 1, 3, 12, 12)
    layer = create_layer("lcn_divisive")
    # The window's weights are float32, and sum to 1 as nearly as those can.
    torch.testing.assert_close(layer(gain * image + offset), layer(image), rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, scope=st.sampled_from(["image", "channel"]), border=st.sampled_from(["reflect", "replicate"]))
def test_neurn_of_neurn_is_in_range_and_reaches_it(seed: int, scope: str, border: str) -> None:
    image = picture(seed, 2, 3, 11, 9)
    found = NeuRN(border=border, scope=scope)(image)
    axes = (1, 2, 3) if scope == "image" else (2, 3)
    torch.testing.assert_close(found.amax(axes), torch.ones_like(found.amax(axes)))
    assert found.min() >= 0
    again = NeuRN(border=border, scope=scope)(found)
    torch.testing.assert_close(again.amax(axes), torch.ones_like(again.amax(axes)))


@settings(max_examples=20, deadline=None)
@given(seed=seeds, gains=st.tuples(*[st.floats(0.2, 20)] * 3))
def test_scope_says_whether_a_colours_own_gain_passes(seed: int, gains: tuple[float, ...]) -> None:
    image = picture(seed, 1, 3, 9, 10)
    tinted = image * torch.tensor(gains, dtype=torch.float64).view(1, 3, 1, 1)
    by_channel, raw = NeuRN(scope="channel"), NeuRN(scope="none")
    torch.testing.assert_close(by_channel(tinted), by_channel(image), rtol=1e-6, atol=1e-8)
    sigma = raw(image) * torch.tensor(gains, dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(NeuRN()(tinted), sigma / sigma.max(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("k", [3, 5, 9])
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_deviation_is_bounded_by_half_the_range(k: int, seed: int) -> None:
    """Popoviciu's inequality: no σ of values in [0, 1] exceeds a half, and a wider patch sees no less range."""
    image = (picture(seed, 1, 3, 12, 12) > 0.5).double()
    sigma = NeuRN(k=k, scope="none")(image)
    assert sigma.max() <= 0.5 + 1e-12
    share = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(image, (k // 2,) * 4, mode="reflect"), k, 1)
    # Of black and white pixels: the binomial's deviation.
    torch.testing.assert_close(sigma, (share * (1 - share)).clamp_min(0).sqrt(), rtol=1e-6, atol=1e-7)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, beta=st.floats(0.1, 1.0), alpha=st.floats(0.01, 10.0))
def test_response_normalisation_shrinks_and_keeps_order(seed: int, beta: float, alpha: float) -> None:
    image = picture(seed, 1, 3, 6, 6)
    found = create_layer("lrn", alpha=alpha, beta=beta, bias=1.0)(image)
    assert (found <= image + 1e-12).all() and (found >= 0).all()
    # One pixel's channels share their divisor (five neighbours hold all three), so their ratios stay.
    torch.testing.assert_close(found[:, 0] * image[:, 1], found[:, 1] * image[:, 0], rtol=1e-6, atol=1e-9)
