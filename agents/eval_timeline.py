"""Figures of one episode, round by round."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from adaptoff.agents.drawing import (
    BLUE,
    INK,
    LINES,
    ORANGE,
    RED,
    logarithmic,
    new_figure,
    shade,
)
from adaptoff.agents.eval_plots import COLOURS
from adaptoff.agents.results import Json

MOST_CLUSTERS = 6


def round_times(line: Json) -> Figure:
    """Seconds of each round: the method, native and the oracle."""
    figure, (axes,) = new_figure(2.6)
    for i, (name, seconds) in enumerate(line["round_s"].items()):
        rounds = range(1, len(seconds) + 1)
        colour = COLOURS.get(name, LINES[i % len(LINES)])
        axes.plot(rounds, seconds, color=colour, marker="o", markersize=4, label=name)
    axes.set(xlabel="round", ylabel="seconds a round", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def decisions(line: Json) -> Figure:
    """A column for each cluster: what was decided, above the links and the heat that it met."""
    clusters = line["clusters"][:MOST_CLUSTERS]
    figure, axes = new_figure(6.2, 3, len(clusters), sharey="row")
    n = len(clusters)
    for i, cluster in enumerate(clusters):
        _decided(axes[i], cluster, line["native_cut"])
        count = cluster["devices"]
        axes[i].set_title(f"cluster {i + 1}, {count} device{'s' * (count > 1)}")
        _links(axes[n + i], cluster)
        _heat(axes[2 * n + i], cluster, line["heat_limit_c"])
    for row, label in enumerate(("blocks on the device", "Mbit/s", "°C after the round")):
        axes[row * n].set_ylabel(label)
    for panel in axes[2 * n :]:
        panel.set_xlabel("round")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure)
    return figure


def _decided(axes: Axes, cluster: Json, native_cut: int) -> None:
    cut, top = cluster["cut"], max(cluster["top_opp"], 1)
    rounds = range(1, len(cut) + 1)
    colours = [shade(opp / top) for opp in cluster["opp"]]
    axes.bar(rounds, [value + 0.5 for value in cut], width=1, bottom=-0.5, color=colours)
    edges = [round_ - 0.5 for round_ in (*rounds, len(cut) + 1)]
    axes.stairs(cut, edges, baseline=None, color=INK, linewidth=1.5)
    axes.set_ylim(-0.5, native_cut + 0.6)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _links(axes: Axes, cluster: Json) -> None:
    rounds = range(1, len(cluster["cut"]) + 1)
    axes.plot(rounds, cluster["down_mbps"], color=ORANGE, linewidth=4)  # where equal, both show
    axes.plot(rounds, cluster["up_mbps"], color=BLUE, linewidth=1.5)
    logarithmic(axes, between=(3,))


def _heat(axes: Axes, cluster: Json, limit_c: float) -> None:
    axes.plot(range(1, len(cluster["cut"]) + 1), cluster["temp_c"], color=INK, linewidth=1.5)
    if limit_c < max(cluster["temp_c"]) + 30:
        axes.axhline(limit_c, color=RED, linewidth=1.2, linestyle="--")


def _legend(figure: Figure) -> None:
    handles = [
        Patch(color=shade(0.0), label="slowest clock"),
        Patch(color=shade(1.0), label="fastest clock"),
        Line2D([], [], color=BLUE, label="uplink"),
        Line2D([], [], color=ORANGE, label="downlink"),
        Line2D([], [], color=INK, label="temperature"),
        Line2D([], [], color=RED, linestyle="--", label="heat limit, where near"),
    ]
    figure.legend(handles=handles, ncols=6, loc="outside upper left")
