"""The front layers beside NeuRN, against scipy and torch, and the way they are put before a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from alignment.models import (
    LAYER_VARIANTS,
    NeuRN,
    create_layer,
    create_model,
    weights_digest,
    with_layer,
    with_neurn,
)
from alignment.models.layers import LocalContrast, LocalResponse, Sobel, Standardise
from neural_alignment import InputError


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 17, 14, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LAYER_VARIANTS)
def test_one_interface(name, images):
    layer = create_layer(name)
    assert layer(images).shape == images.shape
    assert not layer.state_dict()
    assert not list(layer.parameters())
    alone = torch.cat([layer(image[None]) for image in images])
    torch.testing.assert_close(layer(images), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYER_VARIANTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_types_are_kept(name, dtype, images):
    assert create_layer(name)(images.to(dtype)).dtype == dtype


@pytest.mark.parametrize("name", LAYER_VARIANTS)
def test_gradients(name):
    image = torch.rand(1, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    options = {"k": 3} if "lcn" in name else {}
    assert torch.autograd.gradcheck(create_layer(name, **options), image)


@pytest.mark.parametrize("name", [n for n in LAYER_VARIANTS if n not in ("baseline", "lrn")])
def test_flat_images_give_nothing(name):
    found = create_layer(name)(torch.full((1, 3, 12, 12), 0.7))
    assert found.abs().max() < 1e-4
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", ["lrn", "lcn", "lcn_divisive", "sobel", "neurn"])
def test_autocast_leaves_the_statistics_alone(name, images):
    layer = create_layer(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = layer(images)
    torch.testing.assert_close(under, layer(images), rtol=0, atol=0)


def test_local_response_is_alexnets_on_grey_levels(images):
    grey = 255 * images
    wanted = grey / (2 + 1e-4 * (grey**2).sum(1, keepdim=True)) ** 0.75
    # Three channels lie within the five that the sum spans.
    torch.testing.assert_close(255 * LocalResponse()(images), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("border", ["reflect", "replicate", "zeros"])
def test_local_contrast_against_scipy(border, images):
    mode = {"reflect": "mirror", "replicate": "nearest", "zeros": "constant"}[border]
    window = np.exp(-0.5 * ((np.arange(9) - 4) / 2.25) ** 2)
    window /= window.sum()

    def blur(x: np.ndarray) -> np.ndarray:
        for axis in (2, 3):
            x = ndimage.correlate1d(x, window, axis=axis, mode=mode)
        return x

    exact = images.double().numpy()
    centred = exact - blur(exact)
    np.testing.assert_allclose(LocalContrast(border=border)(images).numpy(), centred, atol=1e-6)
    sigma = np.sqrt(blur(centred**2).sum(1, keepdims=True))
    divided = centred / np.maximum(sigma, sigma.mean(axis=(2, 3), keepdims=True))
    found = LocalContrast(border=border, divisive=True)(images).numpy()
    np.testing.assert_allclose(found, divided, rtol=1e-4, atol=1e-5)


def test_standardise(images):
    found = Standardise()(images)
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.std(dim=(1, 2, 3), correction=0), torch.ones(2), rtol=1e-5, atol=0)


def test_sobel_against_scipy(images):
    exact = images.double().numpy()
    power = np.empty_like(exact)
    for i, j in np.ndindex(exact.shape[:2]):
        power[i, j] = sum(ndimage.sobel(exact[i, j], axis=axis, mode="mirror") ** 2 for axis in (0, 1))
    magnitude = np.sqrt(power)
    wanted = magnitude / magnitude.max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(Sobel()(images).numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_raw_is_neurn_without_c(images):
    torch.testing.assert_close(create_layer("neurn_raw")(images), NeuRN(scope="none")(images), rtol=0, atol=0)


def test_neurn_sees_raw_pixels_before_the_models_colours():
    model = create_model("small_cnn", num_classes=10, image_size=32)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wanted = model.net((NeuRN()(images) - model.mean) / model.std)
    torch.testing.assert_close(with_neurn(model)(images), wanted, rtol=0, atol=0)


def test_what_is_put_before_a_model_looks_like_the_model():
    model = create_model("small_cnn", num_classes=10, image_size=32)
    front = with_layer(model, "sobel")
    assert (front.name, front.image_size, front.net) == ("small_cnn", 32, model.net)
    assert front.preprocessing == model.preprocessing
    assert front.layer_variant == "sobel"
    assert weights_digest(front) == weights_digest(model)
    with pytest.raises(AttributeError, match="colour"):
        _ = front.colour
    baseline = with_layer(model, "baseline")
    images = torch.rand(1, 3, 32, 32)
    assert (baseline(images) == model(images)).all()
    # The weights of one variant load into another.
    front.load_state_dict(baseline.state_dict())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("neurm", {}, "Did you mean 'neurn'"),
        ("lrn", {"k": 3}, "takes the options 'size', 'alpha', 'beta', 'bias'. Got 'k'"),
        ("standardise", {"k": 3}, "takes the options none"),
        ("neurn_raw", {"scope": "image"}, "Got 'scope'"),
        ("lcn", {"k": 2}, "must be an odd integer"),
    ],
)
def test_bad_layers(name, options, message):
    with pytest.raises(InputError, match=message):
        create_layer(name, **options)


def test_a_layer_goes_before_a_module():
    with pytest.raises(InputError, match="takes a torch module"):
        with_neurn("vgg16")
