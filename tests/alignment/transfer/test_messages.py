"""What a user can get wrong about domains and trainings, and what is then said: a table of faults."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from alignment.transfer import Batch, DivergenceError, Domain, Method, evaluate, load_domain, train
from alignment.transfer.checkpoints import read_checkpoint, state_digest
from neural_alignment import DataError, InputError, NeuralAlignmentError

FAST = {"batch_size": 16, "learning_rate": 0.01, "device": "cpu"}


@dataclass(frozen=True)
class Bench:
    """What the cases are made from."""

    network: Callable[..., nn.Module]
    blobs: Callable[..., Domain]
    folder: Path

    def pictures(self, *names: str, size: tuple[int, int] = (20, 20)) -> None:
        for name in names:
            path = self.folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size).save(path)


@pytest.fixture
def bench(network: Callable[..., nn.Module], blobs: Callable[..., Domain], tmp_path: Path) -> Bench:
    return Bench(network, blobs, tmp_path)


class Peeking(Method):
    """A method that looks at the target's images."""

    sees_target = True


class TooLarge(Method):
    """Stands for a device whose memory takes ``limit`` images of a training."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if len(batch.images) > self.limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return super().loss(model, batch)


class Narrow(nn.Module):
    """A network on a device whose memory takes ``limit`` images of a pass."""

    def __init__(self, network: nn.Module, limit: int) -> None:
        super().__init__()
        self.network, self.limit = network, limit

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.limit:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return self.network(images)


def empty(shape: tuple[int, ...] = (0, 3, 8, 8)) -> Domain:
    return Domain("none", "test", np.zeros(shape, np.uint8), np.zeros(shape[0], np.int64), ("a",))


def single_pictures(bench: Bench) -> Domain:
    bench.pictures("few/a/0", "few/b/0")  # one image a class: all of them train, none is left to test
    return load_domain("folder.few", "test", data=bench.folder)


def class_without_pictures(bench: Bench) -> Domain:
    bench.pictures("some/a/0", "some/a/1")
    (bench.folder / "some/b").mkdir()
    return load_domain("folder.some", "train", data=bench.folder)


def class_in_test_alone(bench: Bench) -> Domain:
    bench.pictures("parted/train/a/0", "parted/test/a/1", "parted/test/b/0")
    return load_domain("folder.parted", "test", data=bench.folder)


def digits_of_two_sizes(bench: Bench) -> Domain:
    """The published MNIST-M, where one of its files has another size."""
    names = [f"{number:08d}" for number in range(9001)]
    listing = bench.folder / "mnist_m_test_labels.txt"
    listing.write_text("".join(f"{name}.png 1\n" for name in names))
    bench.pictures("mnist_m_test/small", size=(32, 32))
    small = (bench.folder / "mnist_m_test/small.png").rename(bench.folder / "mnist_m_test" / f"{names[0]}.png")
    for name in names[1:]:
        small.with_name(f"{name}.png").hardlink_to(small)
    small.with_name(f"{names[5]}.png").unlink()
    bench.pictures(f"mnist_m_test/{names[5]}", size=(28, 28))
    return load_domain("mnist_m", "test", data=bench.folder)


def other_classes(bench: Bench) -> Any:
    return evaluate(bench.network(), bench.blobs(), device="cpu", classes=("a", "b", "z"))


def other_number_of_classes(bench: Bench) -> Any:
    return train(bench.network(classes=4), bench.blobs(), **FAST)


def other_size(bench: Bench) -> Any:
    larger = Domain("wide", "test", np.zeros((4, 3, 16, 16), np.uint8), np.zeros(4, np.int64), tuple("abc"))
    return evaluate(bench.network(), larger, device="cpu")


def other_size_in_training(bench: Bench) -> Any:
    labels = np.arange(40) % 3
    larger = Domain("wide", "train", np.zeros((40, 3, 16, 16), np.uint8), labels, tuple("abc"))
    return train(bench.network(), larger, **FAST)


def target_of_other_size(bench: Bench) -> Any:
    larger = Domain("wide", "train", np.zeros((4, 3, 16, 16), np.uint8), np.zeros(4, np.int64), tuple("abc"))
    return train(bench.network(), bench.blobs(), method=Peeking(), target=larger, **FAST)


# what is wrong, the call, the error, what the message must hold
CASES: list[tuple[str, Callable[[Bench], Any], type[NeuralAlignmentError], tuple[str, ...]]] = [
    ("label sets differ", other_classes, DataError, ("'blobs'", "not trained on: c", "must name the same classes")),
    ("outputs do not fit", other_number_of_classes, DataError, ("(4,) outputs", "3 classes", "num_classes=3")),
    ("an empty domain", lambda bench: empty(), DataError, ("'none' (test) is empty", "at least one image")),
    ("an empty split", single_pictures, DataError, ("'folder.few' (test) is empty", "at least one image")),
    ("a class without images", class_without_pictures, DataError, ("classes b", "hold no images", "Add some")),
    ("a class in the test split alone", class_in_test_alone, DataError, ("the classes b in test and not in train",)),
    ("published files of two sizes", digits_of_two_sizes, DataError, ("must have one size", "28×28", "32×32")),
    (
        "an array of another shape",
        lambda bench: empty((2, 8, 8, 3)),
        DataError,
        ("needs images (n, 3, y, x) uint8", "(2, 8, 8, 3)"),
    ),
    ("a target of another size", other_size, DataError, ("cannot take the images of the domain 'wide'", "16×16")),
    ("a source of another size", other_size_in_training, DataError, ("domain 'wide', 16×16 pixels", "Load the domain")),
    ("source and target differ", target_of_other_size, InputError, ("one size", "8 pixels of 'blobs'", "16 of 'wide'")),
    (
        "the target's images are missing",
        lambda bench: train(bench.network(), bench.blobs(), method=Peeking(), **FAST),
        InputError,
        ("Peeking looks at unlabelled images of the target", "give target="),
    ),
    (
        "no memory for a training",
        lambda bench: train(bench.network(), bench.blobs(), method=TooLarge(0), **FAST),
        DataError,
        ("memory of cpu is too small", "even with 2 images", "smaller network or image size"),
    ),
    (
        "no memory for an image",
        lambda bench: evaluate(Narrow(bench.network(), 0), bench.blobs(), device="cpu"),
        DataError,
        ("memory of cpu is too small", "a single image", "'blobs'"),
    ),
]


@pytest.mark.parametrize(("what", "call", "error", "said"), CASES, ids=[case[0] for case in CASES])
def test_the_message_names_the_fault(
    what: str, call: Callable[[Bench], Any], error: type[NeuralAlignmentError], said: tuple[str, ...], bench: Bench
) -> None:
    with pytest.raises(error) as caught:
        call(bench)
    message = str(caught.value)
    for words in said:
        assert words in message, f"{what}: {message}"
    assert message.endswith(".") and "\n" not in message and len(message) < 600


# --- what is no error, but must be said -----------------------------------------------------------


def test_classes_missing_in_a_target_are_named_and_count_in_no_mean(bench: Bench) -> None:
    whole = bench.blobs(split="test")
    target = whole.take(np.flatnonzero(whole.labels != 1))
    assert target.missing_classes == ("b",)
    scored = evaluate(bench.network(), target, device="cpu", classes=whole.classes)
    assert scored.missing_classes == ("b",) and np.isnan(scored.recall[1])
    assert scored.balanced_accuracy == pytest.approx(np.mean(scored.recall[[0, 2]]))
    assert scored.confusion[1].sum() == 0 and scored.confusion.sum() == len(target)


def test_images_of_mixed_sizes_in_a_folder_come_at_one_size(bench: Bench) -> None:
    for number, size in enumerate([(20, 30), (64, 64), (31, 17), (200, 90)]):
        bench.pictures(f"mixed/a/{number}", f"mixed/b/{number}", size=size)
    domain = load_domain("folder.mixed", "train", data=bench.folder, image_size=24)
    assert domain.images.shape[1:] == (3, 24, 24)


def test_a_learning_rate_that_diverges_stops_keeps_the_last_good_epoch_and_names_the_step(
    bench: Bench, tmp_path: Path
) -> None:
    good = train(bench.network(), bench.blobs(), epochs=2, checkpoint=tmp_path, **FAST)
    before = read_checkpoint(tmp_path)
    assert before is not None and before[1]["progress"]["epoch"] == 2

    class Exploding(Method):
        """From the second step on, weights as a far too large learning rate leaves them."""

        def loss(self, model: nn.Module, batch: Batch) -> Tensor:
            loss = super().loss(model, batch)
            return loss * float("inf") if batch.progress > 2 / 9 + 0.02 else loss

        def describe(self) -> str:
            return Method().describe()

    fresh = bench.network()
    with pytest.raises(DivergenceError) as caught:
        train(fresh, bench.blobs(), epochs=9, checkpoint=tmp_path / "own", method=Exploding(), **FAST)
    assert caught.value.epoch == 3 and 12 < caught.value.step <= 18
    for words in (f"at step {caught.value.step} (epoch 3)", "the weights of epoch", "holds epoch 2", "below 0.01"):
        assert words in str(caught.value)
    kept = read_checkpoint(tmp_path / "own")
    assert kept is not None and all(torch.isfinite(tensor).all() for tensor in kept[0].values())
    assert state_digest(fresh) == state_digest(good.model)


def test_out_of_memory_in_training_halves_the_batch_and_says_so(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    steps: list[int] = []

    class Counting(TooLarge):
        def loss(self, model: nn.Module, batch: Batch) -> Tensor:
            loss = super().loss(model, batch)
            steps.append(len(batch.images))
            return loss

    with caplog.at_level(logging.WARNING):
        small = train(bench.network(), bench.blobs(), epochs=2, method=Counting(5), **FAST)
    whole = train(bench.network(), bench.blobs(), epochs=2, **FAST)
    assert small.micro_batch == 4 and max(steps) <= 4
    # The effective batch is kept: as many optimiser steps, each on the mean over the whole batch.
    assert small.history["train_loss"].to_numpy() == pytest.approx(whole.history["train_loss"].to_numpy(), rel=2e-2)
    assert "batches of 16: each was put together from parts of 4" in small.notes[0]
    assert small.notes[0] in caplog.text


def test_out_of_memory_in_an_evaluation_halves_the_batch_and_changes_no_score(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    model = bench.network()
    with caplog.at_level(logging.WARNING):
        small = evaluate(Narrow(model, 9), bench.blobs(), batch_size=64, device="cpu")
    assert "goes on with batches of 8" in caplog.text
    whole = evaluate(model, bench.blobs(), device="cpu")
    assert np.array_equal(small.confusion, whole.confusion) and small.loss == pytest.approx(whole.loss, rel=1e-5)
