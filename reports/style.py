"""One look for every figure: type, colours, the SIMULATED mark, and SVG whose bytes depend on the data alone.

Figures use matplotlib's objects directly and never pyplot, so that no state is shared between threads or
notebooks.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "AREA_COLOURS",
    "CLASS_COLOURS",
    "INK",
    "METHOD_COLOURS",
    "MUTED",
    "PAGE_WIDTH",
    "VARIANT_COLOURS",
    "Drawing",
    "class_colour",
    "new_figure",
    "style",
    "to_png",
    "to_svg",
    "variant_colour",
    "variant_label",
]

PAGE_WIDTH = 7.0
"""Width of a figure that fills the page between its margins, in inches."""

INK = "#1d2733"
MUTED = "#66727f"
GRID = "#dde3e8"
ALARM = "#b3261e"

# Okabe and Ito's blue and vermilion: told apart in all common forms of colour blindness, and in grey by
# their lightness.
CLASS_COLOURS = {"excitatory": "#0072b2", "inhibitory": "#d55e00"}
BOTH_CLASSES = "#5b6670"

# Paul Tol's "muted" scheme: safe for colour blindness, and none of them close to the two class colours.
AREA_COLOURS = {
    "VISp": "#332288",
    "VISl": "#6bb8dc",
    "VISal": "#44aa99",
    "VISpm": "#117733",
    "VISam": "#999933",
    "VISrl": "#aa4499",
}

VARIANT_COLOURS = {
    "baseline": "#7a8691",
    "neurn": "#00856f",
    "lrn": "#56a0d3",
    "lcn": "#e0a100",
    "lcn_divisive": "#c45a9a",
    "standardise": "#5d4fa2",
    "sobel": "#a6611a",
    "neurn_raw": "#1d2733",
}
METHOD_COLOURS = {
    "randconv": "#4477aa",
    "augmix": "#882255",
    "randaugment": "#6d8b00",
    "mixstyle": "#bb5566",
    "adversarial": "#88661a",
}
"""Ways of training that are compared with a layer in front."""
_VARIANT_LABELS = {
    "baseline": "baseline",
    "neurn": "NeuRN",
    "lrn": "LRN",
    "lcn": "LCN",
    "lcn_divisive": "LCN, divisive",
    "standardise": "standardised",
    "sobel": "Sobel",
    "neurn_raw": "NeuRN without c",
    "randconv": "after RandConv",
    "augmix": "after AugMix",
    "randaugment": "RandAugment",
    "mixstyle": "MixStyle",
    "adversarial": "domain-adversarial",
}
_SPARE_COLOURS = ("#aa3377", "#2a7f9e", "#7a4fbf", "#228833", "#c2571a", "#66757f")
VARIANT_MARKERS = {
    "baseline": "o",
    "neurn": "D",
    "lrn": "s",
    "lcn": "^",
    "lcn_divisive": "v",
    "standardise": "P",
    "randconv": "p",
    "augmix": "h",
    "randaugment": "<",
    "mixstyle": ">",
    "adversarial": "*",
}

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "text.color": INK,
    # Names come from studies and data: a dollar sign in one is a dollar sign, not the start of a formula.
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 100.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "neural-alignment",
    "svg.image_inline": True,
    "path.simplify": True,
    "hatch.linewidth": 0.5,
}
_RASTER_DPI = 170
_PATHS = re.compile(rb' d="[^"]*"')
_DECIMALS = re.compile(rb"(\.\d\d)\d+")


@dataclass(frozen=True)
class Drawing:
    """A finished figure with the words that go with it.

    Parameters
    ----------
    name : str
        File name without its ending.
    figure : matplotlib.figure.Figure
        The figure.
    caption : str
        What is shown, with units and n.
    alt : str
        What a reader who cannot see it should know.
    """

    name: str
    figure: Figure
    caption: str
    alt: str


@contextmanager
def style() -> Iterator[None]:
    """Draw within this context so that a user's own matplotlib settings do not change a report."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # rcdefaults would also forget the backend that a notebook has chosen; rc_context brings it back on
        # leaving.
        matplotlib.rcParams.update(_RC)
        yield


def new_figure(
    title: str, width: float, height: float, *, mark: str | None = None, layout: str = "constrained"
) -> Figure:
    """Start a figure with a strip on top for its title and, where due, the mark of its data's origin.

    Parameters
    ----------
    title : str
        Short title, drawn in the figure itself.
    width, height : float
        Size in inches; the strip (0.3 in) is part of the height.
    mark : str, optional
        Words drawn in a frame at the top right, such as ``"SIMULATED"``.
    layout : {"constrained", "compressed"}
        How axes are arranged; ``"compressed"`` keeps grids of pictures together.

    Returns
    -------
    matplotlib.figure.Figure
        With constrained layout below the strip.
    """
    figure = Figure(figsize=(width, height), layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    strip = 0.3 / height
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0.0, 0.0, 1.0, 1.0 - strip), w_pad=0.06, h_pad=0.06)  # type: ignore[call-arg]
    y = 1.0 - 0.15 / height
    inset = 0.08 / width
    text = figure.text(inset, y, title, ha="left", va="center", fontsize=9.5, fontweight="bold")
    text.set_in_layout(False)
    if mark:
        alarm = mark.isupper()
        badge = figure.text(
            1.0 - inset * 1.4,
            y,
            mark,
            ha="right",
            va="center",
            fontsize=8.0 if alarm else 7.0,
            fontweight="bold" if alarm else "normal",
            color="white" if alarm else MUTED,
            bbox={
                "boxstyle": "round,pad=0.32",
                "facecolor": ALARM if alarm else "white",
                "edgecolor": ALARM if alarm else GRID,
                "linewidth": 0.7,
            },
        )
        badge.set_in_layout(False)
    return figure


def to_svg(figure: Figure) -> bytes:
    """Render a figure as SVG; the same figure always gives the same bytes (no date, no random ids)."""
    stream = io.BytesIO()
    with style():
        metadata = {"Date": None, "Creator": "neural-alignment"}
        figure.savefig(stream, format="svg", dpi=_RASTER_DPI, metadata=metadata)
    # Six decimals of a point are a third of the file; two (a tenth of a hair's breadth) are more than any
    # printer draws.
    return _PATHS.sub(lambda path: _DECIMALS.sub(rb"\1", path.group()), stream.getvalue())


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """Render a figure as PNG at ``dpi`` dots an inch."""
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def class_colour(neuron_class: object) -> str:
    """Return the colour of a neuron class; grey for a group that holds both or an unknown one."""
    return CLASS_COLOURS.get(str(neuron_class), BOTH_CLASSES)


def variant_colour(variant: str, known: Sequence[str] = ()) -> str:
    """Return the colour of a layer variant; a user's own take spare colours by their place in ``known``."""
    if variant in VARIANT_COLOURS:
        return VARIANT_COLOURS[variant]
    own = [name for name in known if name not in VARIANT_COLOURS]
    place = own.index(variant) if variant in own else 0
    return _SPARE_COLOURS[place % len(_SPARE_COLOURS)]


def variant_label(variant: str) -> str:
    """Return how a layer variant is called in figures and tables."""
    return _VARIANT_LABELS.get(variant, variant)


def quiet_grid(axes: Axes, axis: str = "y") -> None:
    """Draw faint grid lines behind the data along one axis."""
    axes.grid(True, axis=axis)  # type: ignore[arg-type]
    axes.tick_params(length=0, axis=axis)  # type: ignore[arg-type]
