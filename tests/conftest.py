"""Fixtures that several parts' tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the folder {folder} with {name} is not here")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the project (MNIST, USPS, Allen manifests, ...); the test skips where it is missing."""
    return _folder("data")


@pytest.fixture(scope="session")
def shared_oracles() -> Path:
    """Values read off published figures; the test skips where they are missing."""
    return _folder("oracles")
