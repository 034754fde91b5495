"""Tokens and responses made by a known readout, so that an encoder has something to find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignment.transfer.fusion import ResponsePairs, Tokens

ROIS = ("V1", "V2", "V3")
CLASSES = ("excitatory", "inhibitory", "excitatory")


def make_tokens(
    n: int, grid: tuple[int, int] = (2, 2), features: int = 6, seed: int = 0, has_cls: bool = False
) -> Tokens:
    rng = np.random.default_rng([seed, n])
    patches = rng.normal(size=(n, grid[0] * grid[1], features)).astype(np.float32)
    return Tokens(patches.mean(axis=1), patches, grid, has_cls, "layer")


def make_pairs(tokens: Tokens, noise: float = 0.5, units: int = 4, seed: int = 0) -> ResponsePairs:
    """``units`` cells in each of three ROIs, linear in the tokens, with noise of this share of their spread."""
    rng = np.random.default_rng([seed, 1])
    flat = tokens.patches.reshape(len(tokens), -1)
    clean = flat @ rng.normal(size=(flat.shape[1], 3 * units)) / np.sqrt(flat.shape[1])
    responses = 3 + 2 * clean + noise * rng.normal(size=clean.shape)
    images = np.zeros((len(tokens), 3, 8, 8), np.uint8)
    ceiling = np.full(3 * units, np.sqrt(4 / (4 + noise**2)))
    roi = np.repeat(np.arange(3), units)
    return ResponsePairs(images, responses.astype(np.float32), roi, ROIS, CLASSES, ceiling, "a known readout", True)


@pytest.fixture
def tokens() -> Tokens:
    return make_tokens(120)


@pytest.fixture
def pairs(tokens: Tokens) -> ResponsePairs:
    return make_pairs(tokens)


@pytest.fixture
def algonauts(tmp_path: Path) -> Callable[..., Path]:
    """``algonauts(images=, vertices=, mapping=)``: a subject's folder in the layout of the 2023 challenge."""

    def write(images: int = 6, vertices: tuple[int, int] = (10, 8), mapping: object = "published") -> Path:
        rng = np.random.default_rng(0)
        folder = tmp_path / "subj01"
        pictures = folder / "training_split" / "training_images"
        fmri, masks = folder / "training_split" / "training_fmri", folder / "roi_masks"
        for made in (pictures, fmri, masks):
            made.mkdir(parents=True, exist_ok=True)
        for index in range(images):
            picture = np.full((20, 20, 3), 10 * (index + 1), np.uint8)
            Image.fromarray(picture).save(pictures / f"train-{index + 1:04d}_nsd-{7 * index:05d}.png")
        for side, count in zip(("lh", "rh"), vertices, strict=True):
            np.save(fmri / f"{side}_training_fmri.npy", rng.normal(size=(images, count)).astype(np.float32))
            np.save(masks / f"{side}.streams_challenge_space.npy", (np.arange(count) % 4).astype(np.float32))
        if mapping == "published":
            names = {0: "Unknown", 1: "early", 2: "midventral", 3: "midlateral"}
            np.save(masks / "mapping_streams.npy", np.array(names, dtype=object), allow_pickle=True)
        elif mapping is not None:
            np.save(masks / "mapping_streams.npy", np.array(mapping, dtype=object), allow_pickle=True)
        return folder

    return write
