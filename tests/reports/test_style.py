"""The look: the same bytes every time, whatever a user's own settings are, and the mark where it is due."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from reports.style import (
    AREA_COLOURS,
    CLASS_COLOURS,
    VARIANT_COLOURS,
    class_colour,
    new_figure,
    style,
    to_png,
    to_svg,
    variant_colour,
    variant_label,
)


def draw(mark: str | None = "SIMULATED") -> bytes:
    with style():
        figure = new_figure("A title", 3, 2, mark=mark)
        figure.subplots().plot([0, 1], [1, 0])
    return to_svg(figure)


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert draw() == draw()


def test_the_bytes_do_not_depend_on_a_users_settings() -> None:
    plain = draw()
    with matplotlib.rc_context({"font.size": 21, "lines.linewidth": 9, "svg.fonttype": "none"}):
        assert draw() == plain
        assert matplotlib.rcParams["font.size"] == 21, "a user's settings were changed"


def test_no_date_is_written() -> None:
    assert b"<dc:date>" not in draw()


@pytest.mark.parametrize("mark", ["SIMULATED", None])
def test_the_mark_is_drawn_only_where_it_is_due(mark: str | None) -> None:
    with style():
        figure = new_figure("A title", 3, 2, mark=mark)
    assert [text.get_text() for text in figure.texts] == ["A title", *([mark] if mark else [])]
    assert (b"SIMULATED" in draw(mark)) == (mark is not None)


def test_a_mark_stays_inside_the_figure_and_off_the_axes() -> None:
    with style():
        figure = new_figure("A title", 3, 2, mark="SIMULATED")
        axes = figure.subplots()
        figure.draw_without_rendering()
    title, badge = (text.get_window_extent() for text in figure.texts)
    patch = figure.texts[1].get_bbox_patch()
    assert patch is not None and patch.get_window_extent().x1 <= figure.bbox.x1
    assert title.x1 < badge.x0
    assert axes.get_tightbbox().y1 <= badge.y0


def test_png_has_the_size_asked_for() -> None:
    with style():
        figure = new_figure("A title", 3, 2)
    png = to_png(figure, dpi=100)
    assert png.startswith(b"\x89PNG") and int.from_bytes(png[16:20], "big") == 300


def luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*CLASS_COLOURS.values(), *AREA_COLOURS.values(), *VARIANT_COLOURS.values()])
def test_every_colour_stands_out_on_white(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 2.0


def test_colours_are_one_to_one() -> None:
    for palette in (CLASS_COLOURS, AREA_COLOURS, VARIANT_COLOURS):
        assert len(set(palette.values())) == len(palette)
    assert not set(AREA_COLOURS.values()) & set(CLASS_COLOURS.values())


def test_an_unknown_class_is_grey_and_an_own_variant_has_a_colour_of_its_own() -> None:
    assert class_colour("both") == class_colour(None) not in CLASS_COLOURS.values()
    known = ["baseline", "mine", "yours"]
    colours = [variant_colour(name, known) for name in known]
    assert len(set(colours)) == 3
    assert variant_label("neurn") == "NeuRN" and variant_label("mine") == "mine"


def test_neither_pyplot_nor_the_pdf_library_is_imported_with_the_reports() -> None:
    code = "import sys, reports; print([m for m in ('matplotlib.pyplot', 'weasyprint') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_paths_are_rounded_and_placements_are_not() -> None:
    svg = draw().decode()
    paths = re.findall(r' d="([^"]*)"', svg)
    assert paths and not any(re.search(r"\.\d{3}", path) for path in paths)
    assert "scale(0.08 -0.08)" in svg or re.search(r"scale\(0\.\d+ -0\.\d+\)", svg)


def test_rounding_moves_nothing_that_can_be_seen() -> None:
    exact = io.BytesIO()
    with style():
        figure = new_figure("A title", 3, 2)
        figure.subplots().plot(np.linspace(0, 1, 50), np.sin(np.linspace(0, 9, 50)))
        figure.savefig(exact, format="svg")
    numbers = [
        np.array([float(n) for path in re.findall(r' d="([^"]*)"', text) for n in re.findall(r"-?\d+\.?\d*", path)])
        for text in (exact.getvalue().decode(), to_svg(figure).decode())
    ]
    assert len(numbers[0]) == len(numbers[1]) and np.abs(numbers[0] - numbers[1]).max() < 0.01
