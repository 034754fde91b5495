from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from alignment.transfer.fusion import (
    BrainEncoder,
    EncoderOptions,
    FitSettings,
    ResponsePairs,
    Tokens,
    fit_encoder,
    score_encoder,
)
from neural_alignment import DataError, InputError

_spec = importlib.util.spec_from_file_location("fusion_fixtures", Path(__file__).with_name("conftest.py"))
assert _spec is not None and _spec.loader is not None
_made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_made)
make_pairs, make_tokens = _made.make_pairs, _made.make_tokens

DECODER = EncoderOptions("decoder", width=32, depth=1, heads=4, fit=FitSettings(epochs=60, batch_size=64, patience=60))


def test_ridge_predictions_are_scikit_learns_on_scaled_tokens(tokens: Tokens, pairs: ResponsePairs) -> None:
    encoder = fit_encoder(tokens, pairs, device="cpu")
    x = tokens.patches.astype(float)
    x = ((x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1))).reshape(len(x), -1)
    y = (pairs.responses - pairs.responses.mean(axis=0)) / pairs.responses.std(axis=0)
    for number in range(3):
        own = pairs.roi == number
        theirs = RidgeCV(encoder.options.lambdas).fit(x, y[:, own])
        assert encoder.ridge is not None
        assert encoder.ridge.penalty[number] == pytest.approx(theirs.alpha_)
        assert encoder.predict(tokens)[:, own] == pytest.approx(theirs.predict(x), abs=2e-3)


def test_a_readout_that_is_there_is_found_near_its_ceiling(tokens: Tokens, pairs: ResponsePairs) -> None:
    table = score_encoder(tokens, pairs, device="cpu")
    assert table["roi"].tolist() == ["V1", "V2", "V3"] and table["units"].tolist() == [4, 4, 4]
    assert (table["r"] > 0.9 * table["ceiling"]).all() and (table["r"] <= 1).all()
    assert (table["r2"] > 0.8).all() and not table["worse_than_mean"].any()
    assert table["neuron_class"].tolist() == ["excitatory", "inhibitory", "excitatory"]


def test_responses_without_information_score_nothing_and_are_called_worse_than_the_mean(tokens: Tokens) -> None:
    noise = np.random.default_rng(5).normal(size=(120, 12)).astype(np.float32)
    pairs = replace(make_pairs(tokens), responses=noise)
    weak = EncoderOptions(lambdas=(0.01,))  # no shrinkage: it fits the noise
    table = score_encoder(tokens, pairs, weak, device="cpu")
    assert table["r"].abs().max() < 0.25
    assert table["worse_than_mean"].all() and (table["r2"] < 0).all()
    chosen = score_encoder(tokens, pairs, device="cpu")
    assert (chosen["r2"] > table["r2"]).all()


def test_held_out_images_stay_held_out(tokens: Tokens, pairs: ResponsePairs) -> None:
    # Tokens that number the images, so that only an image that was fitted can be known.
    unique = np.random.default_rng(0).normal(size=(120, 4, 400)).astype(np.float32)
    leaked = Tokens(unique.mean(axis=1), unique, (2, 2), False, "layer")
    noise = replace(pairs, responses=np.random.default_rng(1).normal(size=(120, 12)).astype(np.float32))
    assert score_encoder(leaked, noise, EncoderOptions(lambdas=(0.01,)), device="cpu")["r"].abs().max() < 0.25
    inside = fit_encoder(leaked, noise, EncoderOptions(lambdas=(0.01,)), device="cpu").predict(leaked)
    assert np.corrcoef(inside[:, 0], noise.responses[:, 0])[0, 1] > 0.99


def test_the_decoder_learns_the_readout_and_repeats(tokens: Tokens, pairs: ResponsePairs) -> None:
    many = make_tokens(1000)
    table = score_encoder(many, make_pairs(many), DECODER, folds=2, device="cpu")
    assert (table["r"] > 0.6).all() and not table["worse_than_mean"].any()
    few = replace(DECODER, fit=replace(DECODER.fit, epochs=2))
    first, second = (fit_encoder(tokens, pairs, few, device="cpu").predict(tokens, device="cpu") for _ in range(2))
    assert np.array_equal(first, second)
    other = replace(few, fit=replace(few.fit, seed=1))
    assert not np.allclose(first, fit_encoder(tokens, pairs, other, device="cpu").predict(tokens, device="cpu"))


def test_an_interrupted_decoder_goes_on(tokens: Tokens, pairs: ResponsePairs, tmp_path: Path) -> None:
    def options(epochs: int) -> EncoderOptions:
        return replace(DECODER, fit=replace(DECODER.fit, epochs=epochs))

    fit_encoder(tokens, pairs, options(2), device="cpu", checkpoint=tmp_path)
    resumed = fit_encoder(tokens, pairs, options(4), device="cpu", checkpoint=tmp_path).predict(tokens, device="cpu")
    assert np.array_equal(resumed, fit_encoder(tokens, pairs, options(4), device="cpu").predict(tokens, device="cpu"))
    with pytest.raises(DataError, match="belongs to another training"):
        fit_encoder(tokens, pairs, replace(options(4), width=16), device="cpu", checkpoint=tmp_path)


@pytest.mark.parametrize("options", [EncoderOptions(), replace(DECODER, fit=replace(DECODER.fit, epochs=1))])
def test_an_encoder_goes_to_a_store_and_back(tokens: Tokens, pairs: ResponsePairs, options: EncoderOptions) -> None:
    encoder = fit_encoder(tokens, pairs, options, device="cpu")
    back = BrainEncoder.from_parts(encoder.to_parts())
    assert np.array_equal(back.predict(tokens, device="cpu"), encoder.predict(tokens, device="cpu"))
    assert (back.rois, back.classes) == (pairs.rois, pairs.classes)


def test_predictions_do_not_depend_on_the_batch(tokens: Tokens, pairs: ResponsePairs) -> None:
    encoder = fit_encoder(tokens, pairs, device="cpu")
    assert encoder.predict(tokens, batch_size=7) == pytest.approx(encoder.predict(tokens), abs=1e-5)


def test_a_unit_that_is_silent_in_the_training_part_counts_zero(tokens: Tokens, pairs: ResponsePairs) -> None:
    responses = pairs.responses.copy()
    responses[:, 0] = 0
    responses[5, 0] = 1  # varies in one fold only
    table = score_encoder(tokens, replace(pairs, responses=responses), device="cpu")
    assert np.isfinite(table["r"]).all() and table["r"][0] < table["r"][1]


def test_what_does_not_fit_is_refused(tokens: Tokens, pairs: ResponsePairs) -> None:
    with pytest.raises(DataError, match=r"tokens of the 120 images .* Got tokens of 119"):
        fit_encoder(tokens.take(np.arange(119)), pairs)
    flat = pairs.responses.copy()
    flat[:, 2] = 4
    with pytest.raises(DataError, match="1 units of a known readout respond to all images alike"):
        fit_encoder(tokens, replace(pairs, responses=flat))
    with pytest.raises(InputError, match="'folds' parameter of score_encoder"):
        score_encoder(tokens, pairs, folds=1)
    with pytest.raises(InputError, match="Did you mean 'decoder'"):
        EncoderOptions("decoders")
    with pytest.raises(InputError, match="'lambdas'"):
        fit_encoder(tokens, pairs, EncoderOptions(lambdas=(-1.0,)))
