"""Labels cover neither each other nor the points, and stay in the frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.labels import label_points, place_boxes
from reports.style import new_figure, style

FRAME = (0.0, 0.0, 400.0, 400.0)


def overlap(a: np.ndarray, b: np.ndarray, size: np.ndarray) -> float:
    return float(np.prod(np.maximum(size - np.abs(a - b), 0)))


def test_nothing_to_place() -> None:
    assert place_boxes(np.empty((0, 2)), np.empty((0, 2)), FRAME).shape == (0, 2)


def test_a_lonely_label_stands_close_to_its_point() -> None:
    centre = place_boxes(np.array([[200.0, 200.0]]), np.array([[40.0, 10.0]]), FRAME)[0]
    assert np.abs(centre - 200).max() < 40


def test_a_label_at_the_edge_turns_inwards() -> None:
    centre = place_boxes(np.array([[398.0, 200.0]]), np.array([[40.0, 10.0]]), FRAME)[0]
    assert centre[0] + 20 <= 400


def test_a_label_keeps_off_obstacles() -> None:
    points, sizes = np.array([[200.0, 200.0]]), np.array([[40.0, 10.0]])
    free = place_boxes(points, sizes, FRAME)[0]
    obstacles = free + np.random.default_rng(0).uniform(-1, 1, (30, 2)) * (18, 4)
    moved = place_boxes(points, sizes, FRAME, obstacles=obstacles)[0]
    assert not (np.abs(obstacles - moved) < sizes[0] / 2).all(axis=1).any()


def test_twenty_two_labels_along_a_crowded_diagonal_stay_apart() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(200, 45, 22)
    points = np.column_stack([x, x - 25 + rng.normal(0, 6, 22)])
    size = np.array([46.0, 10.0])
    centres = place_boxes(points, np.tile(size, (22, 1)), FRAME)
    covered = [overlap(centres[i], centres[j], size) for i in range(22) for j in range(i)]
    assert max(covered) == 0
    assert (centres - size / 2 >= -1e-9).all() and (centres + size / 2 <= 400 + 1e-9).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(60, 340), st.floats(60, 340)), min_size=2, max_size=8, unique=True))
def test_a_few_labels_always_find_free_places(where: list[tuple[float, float]]) -> None:
    points, size = np.array(where), np.array([36.0, 9.0])
    centres = place_boxes(points, np.tile(size, (len(points), 1)), FRAME)
    assert np.isfinite(centres).all()
    assert max(overlap(a, b, size) for i, a in enumerate(centres) for b in centres[:i]) == 0


@pytest.mark.parametrize("names", [["VISp", "VISl"], ["$x_1$", "a & <b>"]])
def test_every_name_is_written_as_it_is(names: list[str]) -> None:
    with style():
        figure = new_figure("labels", 4, 3)
        axes = figure.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        figure.draw_without_rendering()
        label_points(axes, np.array([0.3, 0.31]), np.array([0.5, 0.5]), names)
    assert [text.get_text() for text in axes.texts] == names
    assert not any(text.get_parse_math() for text in axes.texts)
