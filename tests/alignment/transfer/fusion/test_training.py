from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from alignment.transfer.fusion import (
    FitSettings,
    HeadOptions,
    Tokens,
    Variant,
    attention_maps,
    control_responses,
    evaluate_head,
    train_head,
)
from alignment.transfer.training import DivergenceError
from neural_alignment import DataError, InputError

SMALL = HeadOptions(width=16, depth=1, heads=2, patch=4)
QUICK = FitSettings(epochs=30, batch_size=64, learning_rate=3e-3)
NAMES = ("a", "b", "c")


def problem(
    n: int = 300, seed: int = 0, brain: float = 2.0, image: float = 2.0
) -> tuple[Tokens, np.ndarray, np.ndarray]:
    """Three classes that responses and tokens tell apart with these strengths."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    fixed = np.random.default_rng(99)
    directions, codes = fixed.normal(size=(3, 6)), fixed.normal(size=(3, 10))
    patches = rng.normal(size=(n, 4, 6)) + image * directions[labels][:, None]
    responses = rng.normal(size=(n, 10)) + brain * codes[labels]
    tokens = Tokens(patches.mean(axis=1).astype(np.float32), patches.astype(np.float32), (2, 2), False, "l")
    return tokens, responses.astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("fuse", ["cross_attention", "concatenate", "add", "image", "linear"])
def test_every_head_learns_what_the_image_tells(fuse: str) -> None:
    tokens, responses, labels = problem()
    done = train_head(Variant("v", fuse), tokens, responses, labels, 3, options=SMALL, settings=QUICK, device="cpu")
    test = problem(150, seed=1)
    scored = evaluate_head(done.head, *test, NAMES, device="cpu")
    assert scored.accuracy > 0.9 and scored.n == 150 and scored.classes == NAMES
    assert scored.ci_low < scored.accuracy <= scored.ci_high and 0 <= scored.ece <= 1
    assert done.fit.epochs >= done.fit.best_epoch > 0 and len(done.fit.history) == done.fit.epochs


@pytest.mark.parametrize("fuse", ["concatenate", "add"])
def test_responses_that_tell_the_class_help_where_the_image_does_not(fuse: str) -> None:
    tokens, responses, labels = problem(image=0.0)
    test = problem(150, seed=1, image=0.0)
    settings = replace(QUICK, epochs=60)
    accuracy = {}
    for kind in ("predicted", "shuffled", "random"):
        given, held = (
            control_responses(kind, part[1], part[0], seed=0, draw=draw)
            for draw, part in enumerate(((tokens, responses), test))
        )
        variant = Variant(kind, fuse, kind, 0.0)
        done = train_head(variant, tokens, given, labels, 3, options=SMALL, settings=settings, device="cpu")
        accuracy[kind] = evaluate_head(done.head, test[0], held, test[2], NAMES, device="cpu").accuracy
    assert accuracy["predicted"] > 0.8
    assert max(accuracy["shuffled"], accuracy["random"]) < 0.55


def test_the_linear_head_reaches_what_logistic_regression_does() -> None:
    tokens, responses, labels = problem(image=0.4)
    test = problem(600, seed=1, image=0.4)
    settings = FitSettings(epochs=200, patience=30, learning_rate=0.02, weight_decay=0.0)
    done = train_head(Variant("linear", "linear"), tokens, responses, labels, 3, settings=settings, device="cpu")
    ours = evaluate_head(done.head, *test, NAMES, device="cpu").accuracy
    theirs = LogisticRegression(max_iter=1000).fit(tokens.patches.mean(axis=1), labels)
    assert ours == pytest.approx(theirs.score(test[0].patches.mean(axis=1), test[2]), abs=0.05)


def test_the_correlation_rises_with_lambda() -> None:
    tokens, responses, labels = problem()
    found = {}
    for weight in (0.0, 2.0):
        variant = Variant("v", "concatenate", pearson=weight)
        done = train_head(variant, tokens, responses, labels, 3, options=SMALL, settings=QUICK, device="cpu")
        with torch.no_grad():
            output = done.head(
                torch.from_numpy(tokens.patches), torch.from_numpy(tokens.cls), torch.from_numpy(responses)
            )
        pairs = zip(output.image.T.numpy(), output.brain.T.numpy(), strict=True)
        found[weight] = np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    assert found[2.0] > found[0.0] + 0.3


def test_the_seed_decides_everything_and_the_callers_generator_is_left_alone() -> None:
    tokens, responses, labels = problem()

    def logits(seed: int) -> np.ndarray:
        settings = replace(QUICK, seed=seed, epochs=2)
        done = train_head(Variant("v"), tokens, responses, labels, 3, options=SMALL, settings=settings, device="cpu")
        return evaluate_head(done.head, tokens, responses, labels, NAMES, device="cpu").loss

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert logits(0) == logits(0) != logits(1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    tokens, responses, labels = problem()

    def run(epochs: int, folder: Path | None = None) -> dict[str, torch.Tensor]:
        settings = replace(QUICK, epochs=epochs)
        done = train_head(
            Variant("v"),
            tokens,
            responses,
            labels,
            3,
            options=SMALL,
            settings=settings,
            device="cpu",
            checkpoint=folder,
        )
        return done.head.state_dict()

    run(2, tmp_path)
    resumed, whole = run(5, tmp_path), run(5)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_early_stopping_keeps_the_best_epoch() -> None:
    tokens, responses, labels = problem()
    settings = FitSettings(epochs=100, patience=3, learning_rate=3e-3)
    done = train_head(Variant("v"), tokens, responses, labels, 3, options=SMALL, settings=settings, device="cpu")
    history = done.fit.history
    assert done.fit.epochs < 100 and done.fit.epochs - done.fit.best_epoch == 3
    assert history["validation_score"].idxmax() + 1 == done.fit.best_epoch
    assert not done.head.training


def test_features_in_half_precision_do_as_well() -> None:
    tokens, responses, labels = problem()
    half = Tokens(tokens.cls.astype(np.float16), tokens.patches.astype(np.float16), (2, 2), False, "l")
    done = train_head(Variant("v"), half, responses, labels, 3, options=SMALL, settings=QUICK, device="cpu")
    assert evaluate_head(done.head, half, responses, labels, NAMES, device="cpu").accuracy > 0.9


def test_attention_maps_lie_on_the_grid_and_sum_to_one() -> None:
    tokens, responses, labels = problem(60)
    settings = replace(QUICK, epochs=1)
    done = train_head(Variant("v"), tokens, responses, labels, 3, options=SMALL, settings=settings, device="cpu")
    maps = attention_maps(done.head, tokens, responses, device="cpu")
    assert maps.shape == (60, 2, 2) and (maps >= 0).all()
    assert maps.sum(axis=(1, 2)) == pytest.approx(np.ones(60), abs=1e-4)
    linear = train_head(Variant("l", "linear"), tokens, responses, labels, 3, settings=settings, device="cpu")
    with pytest.raises(DataError, match="classifies by linear has no attention"):
        attention_maps(linear.head, tokens, responses, device="cpu")


def test_controls_keep_the_statistics_and_lose_the_image() -> None:
    tokens, responses, _ = problem(400)
    shuffled = control_responses("shuffled", responses, tokens, seed=0, draw=0)
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(responses, axis=0))
    assert {tuple(row) for row in shuffled.tolist()} == {tuple(row) for row in responses.tolist()}
    assert np.abs(np.diag(np.corrcoef(shuffled.T, responses.T)[:10, 10:])).max() < 0.25
    random = control_responses("random", responses, tokens, seed=0, draw=0)
    assert random.mean(axis=0) == pytest.approx(responses.mean(axis=0), abs=0.6)
    assert random.std(axis=0) == pytest.approx(responses.std(axis=0), rel=0.15)
    assert np.array_equal(control_responses("predicted", responses, tokens, seed=0, draw=0), responses)


def test_a_projection_is_one_linear_readout_for_all_images() -> None:
    tokens, responses, _ = problem(50)
    whole = control_responses("projection", responses, tokens, seed=3, draw=0)
    part = control_responses("projection", responses[:20], tokens.take(np.arange(20)), seed=3, draw=7)
    assert part == pytest.approx(whole[:20], abs=1e-5)
    flat = tokens.patches.reshape(50, -1)
    weights = np.linalg.lstsq(flat, whole, rcond=None)[0]
    assert flat @ weights == pytest.approx(whole, abs=1e-4)
    assert not np.allclose(whole, control_responses("projection", responses, tokens, seed=4, draw=0))


@pytest.mark.parametrize("kind", ["shuffled", "random"])
def test_draws_differ_by_seed_and_by_set(kind: str) -> None:
    tokens, responses, _ = problem(50)
    drawn = [control_responses(kind, responses, tokens, seed=s, draw=d) for s, d in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert np.array_equal(drawn[0], drawn[3])
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_random_responses_take_the_statistics_of_the_training_images() -> None:
    tokens, responses, _ = problem(200)
    drawn = control_responses("random", responses, tokens, seed=0, draw=1, like=100 + 5 * responses)
    assert drawn.mean() == pytest.approx((100 + 5 * responses).mean(), rel=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Variant("v", pearson=-0.1), "'pearson' parameter of Variant must be a finite number ≥ 0. Got -0.1"),
        (lambda: Variant("v", fuse="attention"), "'fuse' parameter of Variant must be one of"),
        (lambda: Variant("v", responses="shufled"), "Did you mean 'shuffled'"),
        (lambda: FitSettings(patience=0), "'patience' parameter of FitSettings"),
        (lambda: FitSettings(validation=1.0), "'validation' parameter"),
        (lambda: FitSettings(weight_decay=-1), "'weight_decay' parameter"),
    ],
)
def test_bad_options_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_data_that_do_not_belong_together_are_refused() -> None:
    tokens, responses, labels = problem(30)
    with pytest.raises(DataError, match=r"of the same images\. Got 30, 29 and 30"):
        train_head(Variant("v"), tokens, responses[:29], labels, 3, device="cpu")
    with pytest.raises(DataError, match="do not belong together"):
        control_responses("random", responses[:3], tokens, seed=0, draw=0)
    done = train_head(
        Variant("l", "linear"), tokens, responses, labels, 3, settings=replace(QUICK, epochs=1), device="cpu"
    )
    with pytest.raises(DataError, match="do not belong together"):
        evaluate_head(done.head, tokens, responses[:3], labels, NAMES, device="cpu")
    few = problem(3)
    with pytest.raises(DataError, match="too few to keep some for early stopping"):
        train_head(Variant("v"), *few, 3, device="cpu")


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    tokens, responses, labels = problem(60)
    bad = responses.copy()
    bad[7, 3] = np.nan
    with pytest.raises(DivergenceError, match="not finite in epoch 1"):
        train_head(Variant("v"), tokens, bad, labels, 3, options=SMALL, settings=QUICK, device="cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("fuse", ["cross_attention", "concatenate"])
def test_mixed_precision_on_a_gpu_learns_as_well(fuse: str) -> None:
    tokens, responses, labels = problem()
    half = Tokens(tokens.cls.astype(np.float16), tokens.patches.astype(np.float16), (2, 2), False, "l")
    done = train_head(Variant("v", fuse), half, responses, labels, 3, options=SMALL, settings=QUICK, device="cuda")
    test = problem(150, seed=1)
    assert done.device.startswith("cuda")
    assert evaluate_head(done.head, *test, NAMES, device="cuda").accuracy > 0.9
