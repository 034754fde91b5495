from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from alignment.transfer import Batch, DivergenceError, Domain, Method, evaluate, load_domain, train
from alignment.transfer.checkpoints import CHECKPOINT_NAME, read_checkpoint, state_digest
from alignment.transfer.images import stratified_split
from alignment.transfer.loop import Loop
from neural_alignment import DataError, InputError

Make = Callable[..., nn.Module]
Blobs = Callable[..., Domain]
FAST = {"batch_size": 16, "learning_rate": 0.01, "device": "cpu"}


def numbers(history: pd.DataFrame) -> pd.DataFrame:
    return history.drop(columns="seconds")


def test_it_learns_and_generalises_to_the_test_split(network: Make, blobs: Blobs) -> None:
    result = train(network(), blobs(), epochs=12, **FAST)
    assert evaluate(result.model, blobs(seed=1, split="test"), device="cpu").accuracy > 0.95
    assert result.history["train_loss"].iloc[-1] < result.history["train_loss"].iloc[0] / 2
    assert not result.model.training and not result.sees_target
    assert result.device == "cpu" and result.classes == ("a", "b", "c") and result.micro_batch == 16
    assert result.seconds == pytest.approx(result.history["seconds"].sum())
    assert result.epochs == len(result.history) and result.history["epoch"].tolist() == list(
        range(1, result.epochs + 1)
    )


def test_the_step_is_adam_on_the_mean_cross_entropy(network: Make, blobs: Blobs) -> None:
    """One epoch of one step, against torch's own Adam on the same images."""
    domain, model, twin = blobs(), network(), network()
    kept, _ = stratified_split(domain.labels, 0.1, 0)
    train(model, domain, epochs=1, batch_size=100, learning_rate=0.01, device="cpu")
    optimiser = torch.optim.Adam(twin.parameters(), lr=0.01)
    twin.train()
    images = torch.from_numpy(domain.images[kept]).float() / 255
    functional.cross_entropy(twin(images), torch.from_numpy(domain.labels[kept])).backward()
    optimiser.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        # Adam's first step is the gradient's sign: a gradient of rounding size may take either.
        assert torch.isclose(ours, theirs, atol=1e-5).float().mean() > 0.99


def test_the_same_seed_gives_the_same_weights_and_another_does_not(network: Make, blobs: Blobs) -> None:
    digests = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(digests))  # the caller's state must not matter
        model = network(dropout=0.3)
        digests.append(state_digest(train(model, blobs(), seed=seed, epochs=3, **FAST).model))
    assert digests[0] == digests[1] != digests[2]


def test_the_callers_random_state_is_left_alone(network: Make, blobs: Blobs) -> None:
    model = network(dropout=0.5)
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(model, blobs(), epochs=1, **FAST)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_the_best_validation_epoch_is_restored(network: Make, blobs: Blobs) -> None:
    domain = blobs()
    result = train(network(), domain, epochs=10, patience=10, batch_size=16, learning_rate=0.03, device="cpu")
    history = result.history
    order = history.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True], kind="stable")
    assert result.best_epoch == order["epoch"].iloc[0]
    _, held = stratified_split(domain.labels, 0.1, 0)
    again = evaluate(result.model, domain.take(held), device="cpu")
    best = history.set_index("epoch").loc[result.best_epoch]
    assert again.accuracy == pytest.approx(best["validation_accuracy"])
    assert again.loss == pytest.approx(best["validation_loss"], rel=1e-4)


def test_early_stopping_waits_for_patience_epochs(network: Make, blobs: Blobs) -> None:
    class Frozen(Method):
        def loss(self, model: nn.Module, batch: Batch) -> Tensor:
            return super().loss(model, batch) * 0  # nothing is ever learnt

    result = train(network(), blobs(), epochs=50, patience=4, method=Frozen(), **FAST)
    assert result.best_epoch == 1 and result.epochs == 5


def test_progress_is_told_after_every_epoch(network: Make, blobs: Blobs) -> None:
    told: list[tuple[int, int, str]] = []
    train(network(), blobs(), epochs=3, progress=lambda *step: told.append(step), **FAST)
    assert [step[:2] for step in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[0][2].startswith("epoch 1: validation ")


def test_no_step_is_too_small_for_batch_statistics(network: Make, blobs: Blobs) -> None:
    domain = blobs(n=73)
    kept, _ = stratified_split(domain.labels, 0.1, 0)
    assert len(kept) % 16 == 1 or len(kept) % 2 == 1
    sizes: list[int] = []

    class Watch(Method):
        def loss(self, model: nn.Module, batch: Batch) -> Tensor:
            sizes.append(len(batch.images))
            return super().loss(model, batch)

    train(network(normalise=True), domain, epochs=1, batch_size=len(kept) - 1, device="cpu", method=Watch())
    assert sum(sizes) == len(kept) and max(sizes) - min(sizes) <= 1


# --- checkpoints ----------------------------------------------------------------------------------


def test_an_interrupted_training_ends_with_the_same_numbers(network: Make, blobs: Blobs, tmp_path: Path) -> None:
    options = {"patience": 20, "seed": 3, **FAST}
    whole = train(network(dropout=0.3, normalise=True), blobs(), epochs=6, **options)

    class Interrupted(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        if done == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(
            network(dropout=0.3, normalise=True),
            blobs(),
            epochs=6,
            checkpoint=tmp_path,
            progress=stop,
            **options,
        )
    assert read_checkpoint(tmp_path)[1]["progress"]["epoch"] == 4  # type: ignore[index]
    rest: list[int] = []
    again = train(
        network(dropout=0.3, normalise=True),
        blobs(),
        epochs=6,
        checkpoint=tmp_path,
        progress=lambda done, total, text: rest.append(done),
        **options,
    )
    assert rest == [5, 6]
    assert state_digest(again.model) == state_digest(whole.model)
    pd.testing.assert_frame_equal(numbers(again.history), numbers(whole.history), check_exact=True)
    assert again.best_epoch == whole.best_epoch


def test_a_finished_training_is_not_run_again(network: Make, blobs: Blobs, tmp_path: Path) -> None:
    first = train(network(), blobs(), epochs=2, checkpoint=tmp_path, **FAST)
    told: list[int] = []
    second = train(
        network(), blobs(), epochs=2, checkpoint=tmp_path, progress=lambda done, *_: told.append(done), **FAST
    )
    assert told == [] and state_digest(first.model) == state_digest(second.model)
    assert second.history.equals(first.history)


KILLED = """
import sys, numpy, torch
from torch import nn
from alignment.transfer import Domain, train
from alignment.transfer.checkpoints import state_digest
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 36, 10))
images = numpy.random.default_rng(0).integers(0, 256, (600, 3, 8, 8)).astype("uint8")
source = Domain("noise", "train", images, numpy.arange(600) % 10, tuple("0123456789"))
slow = len(sys.argv) > 2
def tell(done, total, text):
    print(done, flush=True)
    if slow:
        import time; time.sleep(0.05)
options = dict(epochs=8, patience=20, batch_size=64, device="cpu", checkpoint=sys.argv[1])
result = train(model, source, progress=tell, **options)
print(state_digest(result.model), result.history["validation_loss"].sum().hex(), flush=True)
"""


def test_kill_nine_and_run_again_ends_with_the_same_numbers(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(textwrap.dedent(KILLED))
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}

    def run(folder: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(tmp_path / folder), *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    whole, killed = run("whole"), run("killed", "slow")
    assert killed.stdout is not None
    while killed.stdout.readline().strip() != "3":
        pass
    time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    told = whole.communicate(timeout=120)[0].split()
    assert whole.returncode == 0 and told[:8] == [str(epoch) for epoch in range(1, 9)]
    again = run("killed")
    rest = again.communicate(timeout=120)[0].split()
    assert rest[-2:] == told[-2:]
    assert 1 <= len(rest) - 2 <= 5  # at most the epochs after the third


def test_a_checkpoint_of_another_training_is_refused(network: Make, blobs: Blobs, tmp_path: Path) -> None:
    train(network(), blobs(), epochs=1, checkpoint=tmp_path, **FAST)
    for model, domain, changes, what in (
        (network(seed=1), blobs(), {}, "weights"),
        (network(), blobs(seed=1), {}, "domain"),
        (network(), blobs(), {"seed": 1}, "seed"),
        (network(), blobs(), {"batch_size": 8, "learning_rate": 0.1}, "batch_size, learning_rate"),
        (network(), blobs(), {"method": "randconv"}, "method"),
    ):
        with pytest.raises(DataError, match=rf"belongs to another training \(different: {what}\)"):
            train(model, domain, epochs=1, checkpoint=tmp_path, **{**FAST, **changes})
    longer = train(network(), blobs(), epochs=3, checkpoint=tmp_path, **FAST)
    assert longer.epochs == 3


def test_damaged_checkpoints_are_refused(network: Make, blobs: Blobs, tmp_path: Path) -> None:
    train(network(), blobs(), epochs=1, checkpoint=tmp_path, **FAST)
    path = tmp_path / CHECKPOINT_NAME
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors cannot be read: .* Remove it"):
        train(network(), blobs(), epochs=1, checkpoint=tmp_path, **FAST)


def test_a_checkpoint_that_cannot_be_written_is_said(network: Make, blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="cannot be written"):
        train(network(), blobs(), epochs=1, checkpoint=tmp_path / "file", **FAST)


def test_no_half_written_checkpoint_stays(network: Make, blobs: Blobs, tmp_path: Path, monkeypatch) -> None:
    train(network(), blobs(), epochs=1, checkpoint=tmp_path, **FAST)
    before = (tmp_path / CHECKPOINT_NAME).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        train(network(), blobs(), epochs=2, checkpoint=tmp_path, **FAST)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]
    assert (tmp_path / CHECKPOINT_NAME).read_bytes() == before


def test_a_checkpoint_holds_tensors_and_json_only(network: Make, blobs: Blobs, tmp_path: Path) -> None:
    train(network(), blobs(), epochs=2, checkpoint=tmp_path, **FAST)
    tensors, told = read_checkpoint(tmp_path)  # type: ignore[misc]
    assert {name.split("/")[0] for name in tensors} == {"model", "best", "optimiser"}
    assert json.loads(json.dumps(told)) == told
    assert told["progress"]["epoch"] == 2


# --- faults ---------------------------------------------------------------------------------------


class Diverging(Method):
    """The loss turns NaN at one step of one epoch."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at, self._step = at, 0

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        self._step += 1
        loss = super().loss(model, batch)
        return loss * float("nan") if self._step == self._at else loss


def test_a_nan_loss_stops_names_the_step_and_keeps_the_last_good_weights(
    network: Make, blobs: Blobs, tmp_path: Path
) -> None:
    steps = -(-81 // 16)
    good = train(network(), blobs(), epochs=2, **FAST)
    model = network()
    with pytest.raises(DivergenceError, match=rf"at step {2 * steps + 3} \(epoch 3\)") as caught:
        train(model, blobs(), epochs=9, checkpoint=tmp_path, method=Diverging(2 * steps + 3), **FAST)
    assert (caught.value.step, caught.value.epoch) == (2 * steps + 3, 3)
    assert f"The checkpoint in {tmp_path} holds epoch 2" in str(caught.value)
    assert "below 0.01" in str(caught.value)
    assert state_digest(model) == state_digest(good.model)
    tensors, told = read_checkpoint(tmp_path)  # type: ignore[misc]
    assert told["progress"]["epoch"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_a_learning_rate_that_diverges(network: Make, blobs: Blobs) -> None:
    model = network()
    before = state_digest(model)
    with pytest.raises(DivergenceError, match="its initial weights again"):
        train(model, blobs(), epochs=3, batch_size=16, learning_rate=1e38, device="cpu")
    assert state_digest(model) == before


class TooLarge(Method):
    """Stands for a device whose memory takes ``limit`` images."""

    def __init__(self, limit: int, message: str | None = None) -> None:
        super().__init__()
        self.limit, self._message = limit, message

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if len(batch.images) > self.limit:
            if self._message is None:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            raise RuntimeError(self._message)
        return super().loss(model, batch)


@pytest.mark.parametrize("message", [None, "[enforce fail] DefaultCPUAllocator: can't allocate memory"])
def test_out_of_memory_halves_the_batch_and_keeps_the_step(network: Make, blobs: Blobs, message: str | None) -> None:
    small = train(network(), blobs(), epochs=3, method=TooLarge(5, message), **FAST)
    whole = train(network(), blobs(), epochs=3, **FAST)
    assert small.micro_batch == 4 and "parts of 4" in small.notes[0]
    assert whole.micro_batch == 16 and whole.notes == ()
    for column in ("train_loss", "validation_loss"):
        assert small.history[column].to_numpy() == pytest.approx(whole.history[column].to_numpy(), rel=2e-2)


def test_memory_too_small_for_anything_and_other_errors(network: Make, blobs: Blobs) -> None:
    with pytest.raises(DataError, match="too small for this network even with 2 images"):
        train(network(), blobs(), epochs=1, method=TooLarge(0), **FAST)
    with pytest.raises(RuntimeError, match="something else"):
        train(network(), blobs(), epochs=1, method=TooLarge(0, "something else"), **FAST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "'epochs' parameter of train"),
        ({"batch_size": 1}, "'batch_size' parameter of train"),
        ({"learning_rate": 0.0}, "'learning_rate' parameter of train"),
        ({"learning_rate": float("nan")}, "'learning_rate' parameter of train"),
        ({"patience": 0}, "'patience' parameter of train"),
        ({"validation": 0.0}, "'validation' parameter of train"),
        ({"seed": -1}, "'seed' parameter of train"),
        ({"device": "tpu9"}, "cannot be used"),
        ({"method": "randcomv"}, "Did you mean 'randconv'"),
        ({"method": "adversarial"}, "give target="),
    ],
)
def test_wrong_parameters_are_refused(network: Make, blobs: Blobs, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(network(), blobs(), **{"device": "cpu", **options})  # type: ignore[arg-type]


def test_networks_that_do_not_fit_are_refused(network: Make, blobs: Blobs) -> None:
    with pytest.raises(DataError, match=r"Make it with num_classes=3"):
        train(network(classes=5), blobs(), device="cpu")
    frozen = network()
    for weight in frozen.parameters():
        weight.requires_grad_(False)
    with pytest.raises(DataError, match="all of them are frozen"):
        train(frozen, blobs(), device="cpu")
    with pytest.raises(DataError, match="too few images"):
        train(network(), blobs(n=3), device="cpu")


def test_frozen_layers_stay_as_they_are(network: Make, blobs: Blobs) -> None:
    model = network()
    first = model[0]
    for weight in first.parameters():
        weight.requires_grad_(False)
    before = state_digest(first)
    train(model, blobs(), epochs=2, **FAST)
    assert state_digest(first) == before


def test_the_images_stay_bytes_on_the_device(network: Make, blobs: Blobs) -> None:
    from alignment.transfer.loop import Settings

    loop = Loop(network(), blobs(), Settings(0, 1, 16, 0.01, 5, 0.1), Method(), torch.device("cpu"), None)
    assert loop.images.dtype == torch.uint8 and loop.held_images.dtype == torch.uint8
    assert len(loop.images) + len(loop.held_images) == 90


@pytest.mark.slow
def test_neurn_lifts_mnist_to_mnist_m(shared_data: Path) -> None:
    from alignment.models import with_layer

    source = load_domain("mnist", "train", data=shared_data, limit=6000)
    target = load_domain("mnist_m", "test", data=shared_data, limit=2000)
    accuracy = {}
    for variant in ("baseline", "neurn"):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for channels in ((3, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(*channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))
        result = train(with_layer(model, variant), source, epochs=4, device="cpu")
        accuracy[variant] = evaluate(result.model, target, device="cpu").accuracy
    assert accuracy["neurn"] - accuracy["baseline"] >= 0.2


@pytest.mark.gpu
def test_training_on_cuda_learns_and_stays_on_the_device(network: Make, blobs: Blobs) -> None:
    result = train(network(), blobs(), epochs=12, batch_size=16, learning_rate=0.01, device="cuda")
    assert result.device == "cuda" and next(result.model.parameters()).is_cuda
    assert evaluate(result.model, blobs(seed=1), device="cuda").accuracy > 0.9
