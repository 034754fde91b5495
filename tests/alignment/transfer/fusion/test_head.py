from __future__ import annotations

import pytest
import torch

from alignment.transfer.fusion import FUSE, BrainTransformer, FusionHead, HeadOptions, RoiDecoder
from neural_alignment import DataError, InputError

SMALL = HeadOptions(width=16, depth=1, heads=2, patch=8, dropout=0.0)


def head(
    fuse: str = "cross_attention", options: HeadOptions = SMALL, has_cls: bool = False, units: int = 20
) -> FusionHead:
    torch.manual_seed(0)
    return FusionHead(6, 9, units, 5, fuse=fuse, options=options, has_cls=has_cls).eval()


def batch(n: int = 4, units: int = 20) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    patches = torch.randn(n, 9, 6, generator=generator)
    return patches, torch.randn(n, 6, generator=generator), torch.randn(n, units, generator=generator)


@pytest.mark.parametrize("has_cls", [False, True])
@pytest.mark.parametrize("fuse", FUSE)
def test_shapes_of_every_fusion(fuse: str, has_cls: bool) -> None:
    output = head(fuse, has_cls=has_cls)(*batch(), attention=True)
    assert output.logits.shape == (4, 5)
    brain = fuse in ("cross_attention", "concatenate", "add")
    assert (output.brain is not None) == brain
    if brain:
        assert output.image.shape == output.brain.shape == (4, 16)
    if fuse in ("cross_attention", "image"):
        assert output.attention.shape == (4, 2, 9)
        total = output.attention.sum(dim=2)
        assert bool((total < 1).all()) if has_cls else torch.allclose(total, torch.ones_like(total), atol=1e-5)


@pytest.mark.parametrize("fuse", FUSE)
def test_without_positions_the_order_of_the_tokens_does_not_matter(fuse: str) -> None:
    model, (patches, cls, responses) = head(fuse), batch()
    order = torch.tensor([3, 0, 8, 1, 7, 2, 6, 5, 4])
    plain = model(patches, cls, responses, attention=True)
    moved = model(patches[:, order], cls, responses, attention=True)
    assert torch.allclose(moved.logits, plain.logits, atol=1e-5)
    assert torch.allclose(moved.image, plain.image, atol=1e-5)
    if plain.attention is not None:
        # The attention moves with the keys.
        assert torch.allclose(moved.attention, plain.attention[:, :, order], atol=1e-5)


def test_with_positions_it_does() -> None:
    options = HeadOptions(width=16, depth=1, heads=2, patch=8, dropout=0.0, positions=True)
    model, (patches, cls, responses) = head(options=options), batch()
    with torch.no_grad():
        model.place.mul_(50)
    moved = model(patches.flip(1), cls, responses).logits
    assert not torch.allclose(moved, model(patches, cls, responses).logits, atol=1e-3)


def test_images_of_a_batch_do_not_know_of_each_other() -> None:
    model, (patches, cls, responses) = head(), batch()
    alone = torch.cat([model(patches[i : i + 1], cls[i : i + 1], responses[i : i + 1]).logits for i in range(4)])
    assert torch.allclose(alone, model(patches, cls, responses).logits, atol=1e-5)


def test_cross_attention_against_its_definition() -> None:
    model, (patches, cls, responses) = head(), batch()
    with torch.no_grad():
        brain = model.brain(responses)
        tokens = model.project(patches)
        weights, bias = model.attention.in_proj_weight, model.attention.in_proj_bias
        q, k, v = (torch.nn.functional.linear(x, weights[16 * i : 16 * i + 16], bias[16 * i : 16 * i + 16])
                   for i, x in enumerate((brain[:, None], tokens, tokens)))  # fmt: skip
        q, k, v = (x.unflatten(2, (2, 8)).transpose(1, 2) for x in (q, k, v))
        looked = (q @ k.transpose(2, 3) / 8**0.5).softmax(dim=3)
        read = model.attention.out_proj((looked @ v).transpose(1, 2).flatten(2))[:, 0]
        expected = model.classify(torch.cat([read, tokens.mean(dim=1)], dim=1))
        found = model(patches, cls, responses, attention=True)
    assert torch.allclose(found.logits, expected, atol=1e-5)
    assert torch.allclose(found.attention, looked[:, :, 0], atol=1e-6)


@pytest.mark.parametrize("fuse", ["cross_attention", "concatenate", "add"])
def test_every_fusion_lets_the_brain_decide_something(fuse: str) -> None:
    model, (patches, cls, responses) = head(fuse), batch()
    changed = model(patches, cls, responses.flip(0)).logits
    assert not torch.allclose(changed, model(patches, cls, responses).logits, atol=1e-4)


@pytest.mark.parametrize("fuse", ["image", "linear"])
def test_heads_without_a_brain_do_not_look_at_responses(fuse: str) -> None:
    model, (patches, cls, responses) = head(fuse), batch()
    assert torch.equal(model(patches, cls, responses).logits, model(patches, cls, None).logits)


@pytest.mark.parametrize("units", [8, 100, 700])
@pytest.mark.parametrize("options", [SMALL, HeadOptions(), HeadOptions(width=32, depth=3, heads=4, patch=4)])
def test_the_image_only_head_has_as_many_weights(units: int, options: HeadOptions) -> None:
    counts = [
        sum(p.numel() for p in head(fuse, options, units=units).parameters()) for fuse in ("cross_attention", "image")
    ]
    assert counts[1] == pytest.approx(counts[0], abs=2 * options.width + 1)


def test_standardising_takes_scale_and_shift_away() -> None:
    patches, cls, responses = batch(64)
    plain, scaled = head(), head()
    plain.standardise(patches, responses)
    scaled.standardise(7 * patches + 3, 0.1 * responses - 2)
    first = plain(patches, cls, responses).logits
    assert torch.allclose(scaled(7 * patches + 3, 7 * cls + 3, 0.1 * responses - 2).logits, first, atol=1e-3)
    with pytest.raises(DataError, match="needs predicted responses"):
        plain.standardise(patches, None)


def test_brain_transformer_patches_and_positions() -> None:
    torch.manual_seed(0)
    brain = BrainTransformer(20, width=16, depth=1, heads=2, patch=8, dropout=0.0).eval()
    assert brain.patches == 3 and brain.place.shape == (1, 4, 16)
    responses = torch.randn(3, 20)
    assert not torch.allclose(brain(responses), brain(responses.flip(1)), atol=1e-4)
    # The convolution is a linear map of each run of 8 units, the last filled with zeros.
    first = brain.cut(torch.nn.functional.pad(responses, (0, 4))[:, None])[:, :, 2]
    weight = brain.cut.weight[:, 0]
    assert torch.allclose(first, responses[:, 16:] @ weight[:, :4].T + brain.cut.bias, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BrainTransformer(0), "'units' parameter of BrainTransformer must be an integer ≥ 1"),
        (lambda: BrainTransformer(5, width=10, heads=4), r"a multiple of heads \(4\)"),
        (lambda: BrainTransformer(5, dropout=1.5), "'dropout' parameter"),
        (lambda: HeadOptions(width=30, heads=4), r"a multiple of heads \(4\)"),
        (lambda: HeadOptions(patch=0), "'patch' parameter of HeadOptions"),
        (lambda: head("crossattention"), "Did you mean 'cross_attention'"),
        (lambda: RoiDecoder(4, 4, [0, 2, 2]), "regions from 0, each with units"),
        (lambda: RoiDecoder(4, 4, [1, 0]), "side by side"),
        (lambda: RoiDecoder(4, 4, [0], width=9, heads=2), r"a multiple of heads \(2\)"),
    ],
)
def test_bad_sizes_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
