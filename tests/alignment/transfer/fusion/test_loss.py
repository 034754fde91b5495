from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.transfer.fusion import fusion_loss, pearson
from neural_alignment import InputError


def features(seed: int, n: int = 12, width: int = 5, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, width, generator=generator, dtype=dtype, requires_grad=True) for _ in range(2))


def reference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The mean of torch's own correlation coefficients, feature by feature."""
    return torch.stack([torch.corrcoef(torch.stack([a[:, i], b[:, i]]))[0, 1] for i in range(a.shape[1])]).mean()


@pytest.mark.parametrize("seed", range(5))
def test_value_and_gradient_against_autograd_of_a_reference(seed: int) -> None:
    a, b = features(seed)
    assert pearson(a, b).item() == pytest.approx(reference(a, b).item(), abs=1e-12)
    ours = torch.autograd.grad(pearson(a, b), (a, b))
    theirs = torch.autograd.grad(reference(a, b), (a, b))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_gradient_against_finite_differences() -> None:
    assert torch.autograd.gradcheck(pearson, features(3, n=6, width=3))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_it_knows_neither_scale_nor_shift_and_is_odd_and_symmetric(seed: int, scale: float, shift: float) -> None:
    a, b = features(seed)
    r = pearson(a, b).item()
    assert -1 <= r <= 1
    assert pearson(scale * a + shift, b).item() == pytest.approx(r, abs=1e-6)
    assert pearson(-a, b).item() == pytest.approx(-r, abs=1e-9)
    assert pearson(b, a).item() == pytest.approx(r, abs=1e-12)
    assert pearson(a, 3 * a + 1).item() == pytest.approx(1, abs=1e-9)


def test_a_constant_feature_counts_nothing_and_has_no_gradient() -> None:
    a, b = features(0)
    with torch.no_grad():
        a[:, 2] = 4.25
    r = pearson(a, b)
    grad, _ = torch.autograd.grad(r, (a, b))
    assert torch.isfinite(grad).all() and grad[:, 2].abs().max() == 0
    keep = [0, 1, 3, 4]
    assert r.item() == pytest.approx(reference(a[:, keep], b[:, keep]).item() * 4 / 5)
    assert pearson(torch.ones(4, 2), torch.rand(4, 2)).item() == 0


def test_half_precision_is_summed_in_float32() -> None:
    a, b = features(1, n=200, dtype=torch.float32)
    large = (300 * a + 200).half()
    assert pearson(large, b.half()).item() == pytest.approx(pearson(a, b).item(), abs=0.01)


def test_the_loss_is_cross_entropy_minus_the_weighted_correlation() -> None:
    a, b = features(2)
    logits = torch.randn(12, 3, dtype=torch.float64)
    labels = torch.arange(12) % 3
    plain = torch.nn.functional.cross_entropy(logits, labels)
    assert fusion_loss(logits, labels, a, b, 0.3).item() == pytest.approx((plain - 0.3 * pearson(a, b)).item())
    assert fusion_loss(logits, labels, a, b, 0).item() == plain.item()
    assert fusion_loss(logits, labels, a, None, 0.3).item() == plain.item()


@pytest.mark.parametrize("weight", [-0.1, float("nan"), True])
def test_a_lambda_that_is_no_weight_is_refused(weight: float) -> None:
    a, b = features(0)
    with pytest.raises(InputError, match="'weight' parameter of fusion_loss must be a finite number ≥ 0"):
        fusion_loss(torch.zeros(12, 2), torch.zeros(12, dtype=torch.int64), a, b, weight)


@pytest.mark.parametrize("shapes", [((4, 3), (4, 2)), ((4, 3), (5, 3)), ((4,), (4,))])
def test_features_of_different_shapes_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(InputError, match="of one shape from both modalities"):
        pearson(*(torch.zeros(shape) for shape in shapes))


def test_the_correlation_is_over_images_not_over_features() -> None:
    a, b = features(4)
    order = np.random.default_rng(0).permutation(12)
    assert pearson(a[order], b[order]).item() == pytest.approx(pearson(a, b).item(), abs=1e-12)
    columns = [3, 1, 0, 4, 2]
    assert pearson(a[:, columns], b[:, columns]).item() == pytest.approx(pearson(a, b).item(), abs=1e-12)
