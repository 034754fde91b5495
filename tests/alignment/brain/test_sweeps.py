"""Means over windows against slices, and the numbering of sweeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment.brain.sweeps import sweep_table, window_means
from neural_alignment import DataError, InputError


class TestWindowMeans:
    @settings(max_examples=60, deadline=None)
    @given(
        hnp.arrays(np.float64, (3, 40), elements=st.floats(-1e3, 1e3) | st.just(float("nan"))),
        st.lists(st.integers(-10, 50), min_size=1, max_size=8),
        st.integers(-5, 5),
        st.integers(1, 12),
    )
    def test_against_slices(self, traces: np.ndarray, starts: list[int], first: int, length: int) -> None:
        found = window_means(traces, starts, first, first + length)
        for cell in range(3):
            for sweep, start in enumerate(starts):
                begin, end = start + first, start + first + length
                expected = traces[cell, begin:end].mean() if begin >= 0 and end <= 40 else np.nan
                np.testing.assert_allclose(found[cell, sweep], expected, rtol=1e-9, atol=1e-9)

    def test_empty_window(self) -> None:
        with pytest.raises(InputError, match="greater than 'first'"):
            window_means(np.zeros((1, 5)), [0], 2, 2)

    def test_long_recordings_keep_their_digits(self) -> None:
        traces = np.random.default_rng(0).normal(1000, 1, (1, 200_000)).astype(np.float32)
        starts = np.arange(0, 199_900, 97)
        exact = np.stack([traces[0, s : s + 15].astype(np.float64).mean() for s in starts])
        np.testing.assert_allclose(window_means(traces, starts, 0, 15)[0], exact, rtol=1e-12)


class TestSweepTable:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(-1, 5), min_size=1, max_size=40).filter(lambda frames: max(frames) >= 0))
    def test_every_presentation_has_a_place_of_its_own(self, frames: list[int]) -> None:
        starts = np.arange(len(frames)) * 8
        shuffle = np.random.default_rng(len(frames)).permutation(len(frames))
        table = pd.DataFrame({"frame": np.array(frames)[shuffle], "start": starts[shuffle], "end": starts[shuffle] + 7})
        sweeps = sweep_table(table)
        assert sweeps.start.tolist() == starts.tolist()
        assert sweeps.frame.tolist() == frames
        assert [frames[:place].count(frame) for place, frame in enumerate(frames)] == sweeps.trial.tolist()
        assert sweeps.trials == max(frames.count(frame) for frame in frames)
        assert sweeps.length == 7

    def test_blanks_alone(self) -> None:
        with pytest.raises(DataError, match="shows no scene"):
            sweep_table(pd.DataFrame({"frame": [-1, -1], "start": [0, 7], "end": [7, 14]}))
