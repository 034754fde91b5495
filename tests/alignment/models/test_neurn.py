"""NeuRN against numpy in float64, the published figure, and every way torch may run it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment.models import NeuRN
from alignment.models._local_std import BORDERS, local_std, local_std_eager, over_largest
from alignment.models._local_std_cpu import local_std_cpu
from neural_alignment import InputError

PAD = {"reflect": {"mode": "reflect"}, "replicate": {"mode": "edge"}, "zeros": {"mode": "constant"}}
TENTH = 0.1 / 255


def reference(image: np.ndarray, k: int = 3, border: str = "reflect") -> np.ndarray:
    """Two-pass standard deviation of explicit windows in float64."""
    p = k // 2
    wide = np.asarray(image, np.float64)
    for axis in (2, 3):
        width = [(0, 0)] * 4
        width[axis] = (p, p)
        # numpy's reflection of a single pixel is refused in old versions; there it is the pixel itself.
        mode = {"mode": "edge"} if border == "reflect" and wide.shape[axis] == 1 else PAD[border]
        wide = np.pad(wide, width, **mode)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (k, k), axis=(2, 3))
    windows = windows - windows.mean(axis=(4, 5), keepdims=True)
    return np.sqrt((windows**2).mean(axis=(4, 5)))


def hard_images() -> dict[str, np.ndarray]:
    """Images on which E[x²] − E[x]² in float32 fails."""
    rng = np.random.default_rng(0)
    bright = np.full((1, 3, 40, 44), 230, np.float64)
    bright[:, :, 5:30:3, 4:40:4] += 1
    dark = np.zeros((1, 1, 33, 31))
    dark[..., 16:] = 250 + rng.integers(0, 2, (1, 1, 33, 15))
    ramp = np.broadcast_to(np.arange(256), (1, 1, 8, 256))
    noise = rng.integers(0, 256, (2, 3, 24, 20))
    outlier = np.full((1, 1, 15, 15), 200.0)
    outlier[0, 0, 7, 7] = 255
    found = {"bright": bright, "half dark": dark, "ramp": ramp, "noise": noise, "outlier": outlier}
    return {name: (image / 255).astype(np.float32) for name, image in found.items()}


@pytest.mark.parametrize("method", [local_std_cpu, local_std_eager], ids=["compiled", "eager"])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("k", [3, 5, 7, 11])
def test_relative_error_on_hard_images(method, border, k):
    for name, image in hard_images().items():
        exact = reference(image, k, border)
        found = method(torch.from_numpy(image), k, border).numpy()
        seen = exact > TENTH
        error = np.abs(found[seen] - exact[seen]) / exact[seen]
        assert error.max(initial=0) <= 1e-5, name
        # A patch of equal pixels is exactly flat, not a rounding error above it.
        assert (found[exact == 0] == 0).all(), name
        assert (found[exact < 1e-12] == 0).all(), name


@pytest.mark.parametrize("method", [local_std_cpu, local_std_eager], ids=["compiled", "eager"])
@pytest.mark.parametrize("level", [0.0, 1 / 255, 0.1, 77 / 255, 230 / 255, 1.0])
@pytest.mark.parametrize("k", [3, 7, 11])
def test_flat_images_are_exactly_zero(method, level, k):
    flat = torch.full((2, 3, 19, 23), level)
    assert (method(flat, k) == 0).all()
    assert (NeuRN(k)(flat) == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 1), (2, 2), (3, 5), (13, 300), (1024, 1024)])
@pytest.mark.parametrize("k", [3, 11])
@pytest.mark.parametrize("border", BORDERS)
def test_any_size(size, k, border):
    if size[0] == 1024 and (k, border) != (3, "reflect"):
        pytest.skip("one large image is enough")
    image = np.random.default_rng(1).random((1, 2, *size)).astype(np.float32)
    exact = reference(image, k, border)
    for method in (local_std_cpu, local_std_eager):
        np.testing.assert_allclose(method(torch.from_numpy(image), k, border).numpy(), exact, rtol=1e-5, atol=1e-7)


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=9)),
    st.sampled_from([3, 5]),
    st.sampled_from(BORDERS),
)
@settings(max_examples=40, deadline=None)
def test_compiled_and_eager_agree(image, k, border):
    values = torch.from_numpy(image.astype(np.float32) / 255)
    ours, eager = local_std_cpu(values, k, border), local_std_eager(values, k, border)
    torch.testing.assert_close(ours, eager, rtol=1e-6, atol=1e-9)
    assert ((ours == 0) == (eager == 0)).all()


@pytest.mark.parametrize("scope", ["image", "channel"])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("k", [3, 11])
def test_compiled_division_by_the_largest_is_the_eager_one(scope, border, k):
    # A plane of one strip, planes of several, and images smaller than the patch.
    for size in ((9, 40), (70, 33), (1, 3), (2, 1), (400, 90)):
        image = torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(2))
        image[1] = 0.5
        image[2, 1] *= 0.01
        ours, eager = local_std_cpu(image, k, border, scope), over_largest(local_std_eager(image, k, border), scope)
        torch.testing.assert_close(ours, eager, rtol=1e-6, atol=1e-9)
        # The largest is exactly 1, the flat image exactly 0 but where zeros outside of it are seen.
        axes = (1, 2, 3) if scope == "image" else (2, 3)
        assert set(ours.amax(dim=axes).unique().tolist()) <= {0.0, 1.0}
        assert bool((ours[1] == 0).all()) == (border != "zeros")


@given(hnp.arrays(np.uint8, st.just((1, 3, 8, 8))), st.floats(0.1, 0.9), st.floats(0, 0.1))
@settings(max_examples=30, deadline=None)
def test_contrast_is_blind_to_brightness_and_gain(image, gain, offset):
    values = torch.from_numpy(image.astype(np.float32) / 255).double()
    found = NeuRN()(values)
    assert found.min() >= 0
    assert found.max() in (0, 1)
    torch.testing.assert_close(NeuRN()(gain * values + offset), found, rtol=1e-4, atol=1e-6)


def test_published_figure(shared_oracles: Path):
    figure = np.load(shared_oracles / "neurn_figure_digits_0_4.npz")
    original = torch.from_numpy(figure["original"][:, None] / 254).float()
    ours = NeuRN()(original)[:, 0].numpy()
    for digit, panel in zip(ours, figure["neurn"] / 254, strict=True):
        assert np.corrcoef(digit.ravel(), panel.ravel())[0, 1] >= 0.999
        assert np.sqrt(((digit - panel) ** 2).mean()) <= 0.01


@pytest.mark.parametrize("k", [5, 7])
def test_no_other_patch_gives_the_published_figure(shared_oracles: Path, k):
    figure = np.load(shared_oracles / "neurn_figure_digits_0_4.npz")
    ours = NeuRN(k)(torch.from_numpy(figure["original"][:, None] / 254).float())[:, 0].numpy()
    assert np.corrcoef(ours.ravel(), figure["neurn"].ravel())[0, 1] < 0.93


def test_scopes_and_forms():
    image = np.random.default_rng(2).random((3, 2, 9, 8)).astype(np.float32)
    values, sigma = torch.from_numpy(image), reference(image)
    by_image = sigma.max(axis=(1, 2, 3), keepdims=True)
    by_channel = sigma.max(axis=(2, 3), keepdims=True)
    cases = {
        ("image", "contrast"): sigma / by_image,
        ("channel", "contrast"): sigma / by_channel,
        ("none", "contrast"): sigma,
        ("image", "inverse"): 1 / (by_image * sigma),
        ("none", "inverse"): 1 / sigma,
    }
    for (scope, form), wanted in cases.items():
        np.testing.assert_allclose(NeuRN(scope=scope, form=form)(values).numpy(), wanted, rtol=2e-5)


def test_inverse_form_has_a_floor():
    assert torch.allclose(NeuRN(form="inverse")(torch.full((1, 1, 4, 4), 0.3)), torch.tensor(255.0**2))


def test_images_do_not_know_each_other():
    images = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    together = NeuRN()(images)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], NeuRN()(images[i : i + 1]), rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_reaches_what_depends_on_it_and_no_more(value):
    images = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    images[0, 1, 4, 4] = value
    for method in (local_std_cpu, local_std_eager):
        found = method(images)
        assert found[0, 1, 3:6, 3:6].isnan().all()
        assert found.isnan().sum() == 9
    assert NeuRN()(images)[0].isnan().all()
    assert not NeuRN()(images)[1].isnan().any()
    by_channel = NeuRN(scope="channel")(images)
    assert by_channel[0, 1].isnan().all()
    assert not by_channel[0, 0].isnan().any()
    assert NeuRN(scope="none")(images).isnan().sum() == 9


@pytest.mark.parametrize("options", [{}, {"scope": "channel"}, {"scope": "none"}, {"form": "inverse"}, {"k": 5}])
@pytest.mark.parametrize("border", BORDERS)
def test_gradient_through_deviation_and_maximum(options, border):
    image = torch.rand(2, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    assert torch.autograd.gradcheck(NeuRN(border=border, **options), image)


def test_gradient_of_flat_patches_is_zero_not_nan():
    image = torch.full((1, 1, 9, 9), 0.25)
    image[..., 6:] = 0.75
    image.requires_grad_()
    NeuRN(scope="none")(image).sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
    assert (image.grad[..., :4] == 0).all()
    assert image.grad.abs().max() > 0


def test_with_a_gradient_the_values_are_the_same():
    image = torch.rand(2, 3, 17, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(NeuRN()(image.clone().requires_grad_()).detach(), NeuRN()(image), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_float32_statistics(dtype):
    image = torch.from_numpy(hard_images()["noise"]).to(dtype)
    found = NeuRN()(image)
    assert found.dtype == dtype
    wanted = NeuRN()(image.float())
    assert (found.float() - wanted).abs().max() <= torch.finfo(dtype).eps
    with torch.autocast("cpu", dtype=dtype):
        under = NeuRN()(image.float())
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, wanted, rtol=0, atol=0)
    with torch.autocast("cpu", dtype=dtype):
        eager = local_std_eager(image.float())
    torch.testing.assert_close(eager, local_std_cpu(image.float()), rtol=1e-6, atol=1e-9)


def test_channels_last_and_views():
    image = torch.rand(2, 3, 20, 14, generator=torch.Generator().manual_seed(0))
    wanted = NeuRN()(image)
    torch.testing.assert_close(NeuRN()(image.to(memory_format=torch.channels_last)), wanted, rtol=0, atol=0)
    assert (NeuRN()(image.transpose(2, 3)) == NeuRN()(image.transpose(2, 3).contiguous())).all()
    torch.testing.assert_close(NeuRN()(image[:, :, ::2, 1:]), NeuRN()(image[:, :, ::2, 1:].clone()), rtol=0, atol=0)


def test_channels_last_format_is_kept():
    image = torch.rand(2, 3, 20, 14).to(memory_format=torch.channels_last)
    assert NeuRN()(image).is_contiguous(memory_format=torch.channels_last)


def test_traced_graph_gives_the_same():
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(NeuRN(k=5), (image,))
    torch.testing.assert_close(program.module()(image), NeuRN(k=5)(image), rtol=1e-6, atol=1e-7)


def test_compiles_without_graph_breaks():
    explained = torch._dynamo.explain(NeuRN())(torch.rand(2, 3, 16, 16))
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)
    layer = torch.compile(NeuRN(), fullgraph=True, backend="aot_eager")
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(image), NeuRN()(image), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_inductor_gives_the_same():
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    compiled = torch.compile(NeuRN(), fullgraph=True)(image)
    torch.testing.assert_close(compiled, NeuRN()(image), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_exports_to_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    image = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "neurn.onnx"
    torch.onnx.export(NeuRN().eval(), (image,), str(path), dynamo=True)
    found = ReferenceEvaluator(onnx.load(path)).run(None, {onnx.load(path).graph.input[0].name: image.numpy()})[0]
    np.testing.assert_allclose(found, NeuRN()(image).numpy(), rtol=1e-5, atol=1e-6)


def test_vmap_takes_the_eager_path():
    images = torch.rand(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    mapped = torch.func.vmap(local_std)(images)
    torch.testing.assert_close(mapped, torch.stack([local_std(i) for i in images]), rtol=1e-6, atol=1e-9)


def test_threads_share_large_batches(monkeypatch):
    from alignment.models import _local_std_cpu

    image = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    alone = local_std_cpu(image)
    monkeypatch.setattr(_local_std_cpu, "_PIXELS_PER_THREAD", 256)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    torch.testing.assert_close(local_std_cpu(image), alone, rtol=0, atol=0)
    torch.testing.assert_close(local_std_cpu(image, scope="image"), over_largest(alone, "image"), rtol=1e-6, atol=0)


def test_no_weights_and_a_telling_repr():
    layer = NeuRN(k=5, scope="channel")
    assert not layer.state_dict()
    assert not list(layer.parameters())
    assert repr(layer) == "NeuRN(k=5, border='reflect', scope='channel', form='contrast')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 4}, "'k' parameter of NeuRN must be an odd integer ≥ 3. Got 4"),
        ({"k": 1}, "must be an odd integer ≥ 3. Got 1"),
        ({"k": 3.0}, "must be an odd integer ≥ 3. Got 3.0"),
        ({"border": "reflct"}, "Did you mean 'reflect'"),
        ({"scope": "batch"}, "'scope' parameter of NeuRN must be one of 'image', 'channel', 'none'"),
        ({"form": "invers"}, "Did you mean 'inverse'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        NeuRN(**options)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 8, 8), "image\\[None\\]"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "/ 255"),
        (torch.rand(1, 3, 0, 8), "at least one pixel"),
        (np.zeros((1, 3, 8, 8)), "a tensor of shape"),
    ],
)
def test_bad_images(image, message):
    with pytest.raises(InputError, match=message):
        NeuRN()(image)


def test_empty_batch():
    assert NeuRN()(torch.rand(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.gpu
@pytest.mark.parametrize("scope", ["image", "channel"])
def test_neurn_on_cuda_is_neurn_on_the_cpu(scope):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for image in hard_images().values():
        values = torch.from_numpy(image)
        torch.testing.assert_close(NeuRN(scope=scope)(values.cuda()).cpu(), NeuRN(scope=scope)(values))


@pytest.mark.gpu
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("k", [3, 11])
def test_cuda_kernel_is_the_eager_path(border, k):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for image in hard_images().values():
        values = torch.from_numpy(image).cuda()
        found = local_std(values, k, border)
        torch.testing.assert_close(found, local_std_eager(values, k, border), rtol=1e-6, atol=1e-9)
        assert ((found == 0).cpu() == (local_std_cpu(values.cpu(), k, border) == 0)).all()
