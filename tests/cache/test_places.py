"""Temporary folders of a store."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from cache.places import temporary


def test_a_failed_write_is_cleared_of_what_threads_still_put_into_it(tmp_path: Path) -> None:
    """Zarr 3 writes chunks in threads of its own, and some go on after one has failed."""
    started, late = threading.Event(), []

    def write_on(folder: Path) -> None:
        for number in range(10):
            folder.mkdir(exist_ok=True)
            (folder / f"chunk{number}").touch()
            started.set()
            time.sleep(0.02)

    with pytest.raises(OSError, match="full"), temporary(tmp_path, "0123456789abcdef") as folder:
        late.append(threading.Thread(target=write_on, args=(folder,)))
        late[0].start()
        started.wait()
        raise OSError("full")
    late[0].join()
    assert list(tmp_path.iterdir()) == []
