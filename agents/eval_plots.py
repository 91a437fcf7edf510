"""Figures of an evaluation: how far methods are from the oracle, and the front that they span."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adaptoff.agents.drawing import BLUE, GREEN, GREY, INK, LINES, ORANGE, new_figure
from adaptoff.agents.results import Json
from adaptoff.agents.words import share

COLOURS = {"policy": BLUE, "planner": ORANGE, "oracle": GREEN, "native": GREY}
COLUMNS = 3
NEAR = 0.01
"""regret below which the axis is linear"""
TICKS = (-1.0, -0.1, -0.01, 0.0, 0.01, 0.1, 1.0, 10.0, 100.0)


def _panels(names: Sequence[str], height_in: float, **options: bool) -> tuple[Figure, list[Axes]]:
    """A panel for each name, in rows; those left over are not shown."""
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(0.5 + height_in * rows, rows, columns, **options)
    for name, panel in zip(names, axes, strict=False):
        panel.set_title(name)
    for panel in axes[len(names) :]:
        panel.set_visible(False)
    return figure, axes[: len(names)]


def regret(result: Json) -> Figure:
    """Regret of each method with both intervals, all classes together and one by one."""
    everything = sorted(result["methods"].items(), key=lambda item: item[1]["regret"]["mean"])
    order = [name for name, _ in everything if name != "oracle"] or ["oracle"]
    classes = {"all classes": result, **result["classes"]}
    if len(result["classes"]) == 1:
        classes = result["classes"]
    figure, panels = _panels(list(classes), 0.6 + 0.36 * len(order))
    for panel, part in zip(panels, classes.values(), strict=True):
        _regrets(panel, [part["methods"][name]["regret"] for name in order], order)
    _scale(panels[0], [part["methods"][n]["regret"] for part in classes.values() for n in order])
    for panel in panels[-COLUMNS:]:
        panel.tick_params(axis="x", labelbottom=True, labelsize=8)
    return figure


def _regrets(axes: Axes, figures: list[Json], names: list[str]) -> None:
    for row, (name, figure) in enumerate(zip(names, figures, strict=True)):
        colour = COLOURS.get(name, INK)
        for key, width in (("ci95_episodes", 5), ("ci95", 1.8)):
            if figure[key][0] is not None:
                pale = 0.3 if width > 2 else 1.0
                axes.plot(figure[key], [row, row], color=colour, linewidth=width, alpha=pale)
        axes.plot(figure["mean"], row, "o", color=colour, markersize=5)
        axes.annotate(
            share(figure["mean"]), (figure["mean"], row), (0, 5), textcoords="offset points",
            ha="center", fontsize=8, annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.grid(visible=True, axis="x")


def _scale(axes: Axes, figures: list[Json]) -> None:
    """Linear about 0, logarithmic beyond; all panels share it."""
    ends = [end for f in figures for end in (f["mean"], *f["ci95"], *f["ci95_episodes"])]
    known = [end for end in ends if end is not None]
    low, high = min(0.0, *known), max(2 * NEAR, *known)
    axes.set_xscale("symlog", linthresh=NEAR)
    axes.set_xlim(1.5 * low - 0.1 * NEAR, 1.6 * high)
    axes.set_xticks([tick for tick in TICKS if 1.5 * low <= tick <= 1.6 * high])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")


def front(result: Json) -> Figure:
    """Mean energy against mean round time, over native's: with native, then close up."""
    found = result["front"]["classes"]
    panels = {"all classes, and native": found["all"], "all classes": _close(found["all"])}
    if len(found) > 2:
        panels |= {name: _close(lines) for name, lines in found.items() if name != "all"}
    figure, axes = _panels(list(panels), 2.7, sharex=False, sharey=False)
    for panel, lines in zip(axes, panels.values(), strict=True):
        _front(panel, lines)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), loc="outside upper left")
    figure.supxlabel("round time / native", fontsize=10)
    figure.supylabel("energy / native", fontsize=10)
    return figure


def _close(lines: Json) -> Json:
    return {name: points for name, points in lines.items() if name != "native"}


def _front(axes: Axes, lines: Json) -> None:
    for i, (name, points) in enumerate(lines.items()):
        x, y = ([p[key] for p in points] for key in ("round_time_ratio", "energy_ratio"))
        colour = COLOURS.get(name, LINES[i % len(LINES)])
        axes.plot(x, y, "o-", linewidth=1.5, markersize=4, color=colour, label=name)
        if "native" not in lines:
            for end, point in ((0, (4, 4)), (-1, (4, -9))):
                axes.annotate(
                    f"{points[end]['energy_weight']:g}", (x[end], y[end]), point,
                    textcoords="offset points", fontsize=8, color=colour,
                )  # fmt: skip
    axes.margins(0.15)
    axes.grid(visible=True, axis="both")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
