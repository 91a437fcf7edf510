"""What all figures share: colours, style, and matplotlib -> SVG text; no display, no files.

Colours are Okabe and Ito's, which colour-blind readers can tell apart. Labels are plain text: a
dollar sign in a name starts no formula.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY, PALE, INK = "#8A8F98", "#D5D8DC", "#22262B"
LINES = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#000000", "#B8A800")
MARKS = "osD^vP*X"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#B6BBC2",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": "#E6E8EB",
    "xtick.color": "#5A616B",
    "ytick.color": "#5A616B",
    "legend.frameon": False,
    "lines.linewidth": 2,
    "svg.hashsalt": "adaptoff",
}
WIDTH_IN = 10.4


def render(draw: Callable[[], Figure]) -> str:
    """The figure that ``draw`` makes, as an SVG element."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script it lacks
        text = io.StringIO()
        draw().savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        return text.getvalue()[text.getvalue().index("<svg") :]


def new_figure(
    height_in: float,
    rows: int = 1,
    columns: int = 1,
    **options: Any,  # noqa: ANN401
) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width, and its axes row by row."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    shared = {"sharex": True, "sharey": True} | options
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    return figure, list(axes.ravel())


def shade(share: float) -> Any:  # noqa: ANN401
    """A blue, the darker the larger the share."""
    return mpl.colormaps["Blues"](0.12 + 0.45 * share)


def logarithmic(axes: Axes, between: Sequence[float] = (1.5, 2, 3, 5, 7)) -> None:
    """A logarithmic axis with plain numbers at powers of ten and some multiples ``between``."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(LogLocator(subs=between))
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    axes.yaxis.set_minor_formatter(lambda rate, _: f"{rate:g}")
