from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alignment.transfer import METHODS, Batch, Domain, Method, create_method, evaluate, train
from alignment.transfer.adversarial import DomainAdversarial, classifier_of
from alignment.transfer.augmentations import AugMix, RandAugment, RandConv, _divergence
from alignment.transfer.checkpoints import state_digest
from alignment.transfer.mixstyle import MixStyle, early_stages, mix_styles
from neural_alignment import DataError, InputError

Make = Callable[..., nn.Module]
Blobs = Callable[..., Domain]
FAST = {"batch_size": 32, "learning_rate": 0.01, "device": "cpu"}


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_learns_repeats_resumes_and_leaves_no_hook(
    name: str, network: Make, blobs: Blobs, tmp_path: Path
) -> None:
    domain, target = blobs(n=180), blobs(n=60, seed=5, name="other")
    options = {"method": name, "target": target, "seed": 2, "patience": 30, **FAST}
    model = network()
    whole = train(model, domain, epochs=10, **options)
    assert hooks(model) == 0
    assert evaluate(whole.model, blobs(seed=1), device="cpu").accuracy > 0.6
    assert whole.sees_target == (name == "adversarial")

    class Interrupted(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        if done == 3:
            raise Interrupted

    interrupted = network()
    with pytest.raises(Interrupted):
        train(interrupted, domain, epochs=10, checkpoint=tmp_path, progress=stop, **options)
    assert hooks(interrupted) == 0
    again = train(network(), domain, epochs=10, checkpoint=tmp_path, **options)
    assert state_digest(again.model) == state_digest(whole.model)


def test_a_users_method_in_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Make, blobs: Blobs
) -> None:
    (tmp_path / "my_methods.py").write_text(
        "import torch\n"
        "from alignment.transfer import Method\n\n\n"
        "class Grey(Method):\n"
        "    '''Takes the colours away.'''\n\n"
        "    def __init__(self, weight=1.0):\n"
        "        super().__init__()\n"
        "        self.weight = weight\n\n"
        "    def augment(self, images):\n"
        "        return torch.lerp(images, images.mean(dim=1, keepdim=True), self.weight)\n\n\n"
        "class NoMethod:\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    grey = create_method("my_methods:Grey", weight=0.5)
    assert isinstance(grey, Method) and "weight" in grey.describe()
    images = torch.rand(2, 3, 4, 4)
    assert torch.allclose(grey.augment(images), (images + images.mean(1, keepdim=True)) / 2)
    assert train(network(), blobs(), epochs=1, method="my_methods:Grey", **FAST).epochs == 1
    with pytest.raises(InputError, match="must be a subclass"):
        create_method("my_methods:NoMethod")
    with pytest.raises(InputError, match="cannot be imported"):
        create_method("my_methods:Gray")
    with pytest.raises(InputError, match="does not take these options"):
        create_method("my_methods:Grey", heavy=1)


@pytest.mark.parametrize("name", ["mixtyle", "no_such_package:Class", ":Class"])
def test_unknown_methods_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="method"):
        create_method(name)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RandConv, {"sizes": (2,)}),
        (RandConv, {"keep": 1.5}),
        (AugMix, {"severity": 0}),
        (RandAugment, {"magnitude": 31}),
        (MixStyle, {"alpha": 0}),
        (MixStyle, {"stages": 0}),
        (DomainAdversarial, {"hidden": 0}),
    ],
)
def test_options_beyond_their_limits_are_refused(kind: type[Method], options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"parameter of {kind.__name__} must be"):
        kind(**options)


def test_randconv_keeps_shape_and_scale_and_some_originals() -> None:
    torch.manual_seed(0)
    images, method = torch.rand(8, 3, 16, 16), RandConv(keep=0.5)
    outputs = [method.augment(images) for _ in range(60)]
    kept = sum(output is images for output in outputs)
    assert 15 < kept < 45
    changed = [output for output in outputs if output is not images]
    assert all(output.shape == images.shape for output in changed)
    spread = torch.stack([output.std() for output in changed]).median() / images.std()
    assert 0.3 < spread < 3


def test_randconv_of_size_one_changes_colours_and_keeps_edges() -> None:
    torch.manual_seed(1)
    flat = torch.zeros(1, 3, 8, 8)
    flat[..., 4:] = torch.rand(3, 1, 1)
    output = RandConv(sizes=(1,), keep=0.0).augment(flat)
    assert output[..., :4].std(dim=(2, 3)).max() < 1e-6 and torch.allclose(output[0, :, 0, 4], output[0, :, 7, 7])


@pytest.mark.parametrize("kind", [AugMix, RandAugment])
def test_image_augmentations_stay_images_and_vary(kind: type[Method]) -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 16, 16).repeat(16, 1, 1, 1)
    output = kind(groups=16).augment(images)
    assert output.shape == images.shape and output.dtype == torch.float32
    assert output.min() >= 0 and output.max() <= 1
    assert len({image.numpy().tobytes() for image in output}) > 5


def test_consistency_is_zero_for_equal_predictions_and_at_most_log_three() -> None:
    logits = torch.randn(10, 4)
    assert _divergence([logits, logits, logits]).item() == pytest.approx(0, abs=1e-6)
    apart = [100 * torch.nn.functional.one_hot(torch.full((5,), index), 4).float() for index in range(3)]
    assert _divergence(apart).item() == pytest.approx(np.log(3), rel=1e-4)


def test_consistency_agrees_with_scipy() -> None:
    from scipy.special import softmax
    from scipy.stats import entropy

    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, 6, 4))
    chances = softmax(logits, axis=2)
    expected = np.mean(entropy(chances.mean(axis=0), axis=1) - entropy(chances, axis=2).mean(axis=0))
    assert _divergence(list(torch.from_numpy(logits))).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", [RandConv, AugMix])
def test_without_the_consistency_term_the_loss_is_the_plain_one(kind: type[Method], network: Make) -> None:
    method = kind(consistency=0)
    method.augment = lambda images: images  # type: ignore[method-assign]
    batch = Batch(torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]), None, 0.0)
    model = network()
    assert method.loss(model, batch).item() == pytest.approx(Method().loss(model, batch).item())


def test_mixed_styles_are_between_the_two_and_keep_the_content() -> None:
    torch.manual_seed(0)
    maps = torch.randn(64, 5, 6, 6) * torch.rand(64, 5, 1, 1) + torch.randn(64, 5, 1, 1)
    mixed = mix_styles(maps, alpha=1.0)
    mean, low, high = mixed.mean((2, 3)), maps.mean((2, 3)).amin(0), maps.mean((2, 3)).amax(0)
    assert torch.all((mean >= low - 1e-4) & (mean <= high + 1e-4))
    assert not torch.allclose(mixed, maps)

    def content(values: Tensor) -> Tensor:
        centred = values - values.mean((2, 3), keepdim=True)
        return centred / centred.std((2, 3), keepdim=True)

    assert torch.allclose(content(mixed), content(maps), atol=1e-3)


def test_stages_end_where_the_maps_get_smaller(network: Make) -> None:
    assert early_stages(network(), torch.rand(2, 3, 8, 8), 2) == ["2", "5"]
    one = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    assert early_stages(one, torch.rand(2, 3, 8, 8), 2) == ["1"]  # the pooled image is no feature map
    with pytest.raises(InputError, match="convolutional maps"):
        early_stages(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), torch.rand(2, 3, 8, 8), 2)


@pytest.mark.parametrize(
    ("name", "width", "ends"),
    [("resnet18", 0.25, ["layer1.1.act2", "layer2.1.act2"]), ("vit_tiny", 1.0, ["patch_embed.proj"])],
)
def test_stages_of_networks_of_the_zoo(name: str, width: float, ends: list[str]) -> None:
    from alignment.models import create_model, with_neurn

    model = with_neurn(create_model(name, num_classes=10, image_size=32, width=width))
    found = early_stages(model, torch.rand(2, 3, 32, 32), 2)
    assert len(found) == len(ends)
    assert all(stage.endswith(end) for stage, end in zip(found, ends, strict=True))


def test_mixstyle_acts_in_training_only_and_after_named_modules(network: Make) -> None:
    model, images = network(), torch.rand(6, 3, 8, 8)
    plain = model.eval()(images)
    method = MixStyle(probability=1.0, alpha=5.0, after=["2"])
    method.prepare(model, images, 3)
    assert hooks(model) == 1
    assert torch.equal(model.eval()(images), plain)
    assert not torch.allclose(model.train()(images), plain)
    method.release()
    assert torch.equal(model.train()(images), plain)
    with pytest.raises(InputError, match="no module '22'"):
        MixStyle(after=["22"]).prepare(model, images, 3)


def test_adversarial_reverses_the_gradient_that_reaches_the_features() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2))
    method = DomainAdversarial(strength=1.0)
    example = torch.rand(4, 3, 2, 2)
    method.prepare(model, example, 2)
    labels = torch.tensor([0, 1, 0, 1])

    def gradients(progress: float) -> tuple[Tensor, Tensor]:
        model.zero_grad()
        method.zero_grad()
        batch = Batch(example, labels, 1 - example, progress)
        method.loss(model, batch).backward()
        return model[1].weight.grad.clone(), method.critic[0].weight.grad.clone()

    start, critic_start = gradients(0.0)  # the weight is 0: the critic learns, the features hear nothing of it
    late, critic_late = gradients(1.0)
    assert torch.allclose(critic_start, critic_late)
    assert not torch.allclose(start, late)
    method.strength = -1.0  # the gradient as it is
    forward, _ = gradients(1.0)
    assert torch.allclose(late - start, start - forward, atol=1e-6)
    method.release()
    assert hooks(model) == 0


def test_adversarial_needs_a_linear_classifier() -> None:
    with pytest.raises(InputError, match="a linear layer of 3 outputs"):
        classifier_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), 3)


def test_a_method_with_a_schedule_is_not_resumed_at_another_length(network: Make, blobs: Blobs, tmp_path: Path) -> None:
    options = {"method": "adversarial", "target": blobs(seed=4), "checkpoint": tmp_path, **FAST}
    train(network(), blobs(), epochs=2, **options)
    with pytest.raises(DataError, match=r"different: method"):
        train(network(), blobs(), epochs=3, **options)


def test_adversarial_never_sees_the_targets_labels(network: Make, blobs: Blobs) -> None:
    target = blobs(seed=4)
    other = Domain("blobs", "train", target.images, target.labels[::-1].copy(), target.classes)
    digests = {
        state_digest(train(network(), blobs(), epochs=2, method="adversarial", target=one, **FAST).model)
        for one in (target, other)
    }
    assert len(digests) == 1


def test_the_example_of_a_users_method(monkeypatch: pytest.MonkeyPatch, network: Make, blobs: Blobs) -> None:
    file = Path(__file__).resolve().parents[3] / "examples" / "my_method.py"
    assert len(file.read_text().splitlines()) <= 35
    monkeypatch.syspath_prepend(file.parent)
    method = create_method("my_method:RandomContrast", lowest=0.5)
    images = torch.rand(4, 3, 8, 8)
    changed = method.augment(images)
    assert torch.equal(changed[:, 0], changed[:, 2]), "grey"
    assert torch.allclose(changed.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)), atol=1e-6)
    ratio = changed.std(dim=(1, 2, 3)) / images.mean(dim=1, keepdim=True).expand_as(images).std(dim=(1, 2, 3))
    assert ((ratio >= 0.5) & (ratio <= 1.0)).all()
    result = train(network(), blobs(n=180), epochs=10, method=method, patience=30, **FAST)
    assert evaluate(result.model, blobs(seed=1), device="cpu").accuracy > 0.6
