"""The figures of live runs: a result -> SVG text."""

import math
from collections.abc import Callable
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from adaptoff.agents.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LINES,
    MARKS,
    ORANGE,
    PALE,
    RED,
    logarithmic,
    new_figure,
    render,
    shade,
)
from adaptoff.agents.results import (
    Json,
    chosen,
    device_label,
    methods,
    numbers,
    rounds_of,
    series,
)

COLOURS = {
    "native": GREY, "adaptive": BLUE, "policy": BLUE, "constant": ORANGE, "constant_each": GREEN,
    "oracle": GREEN,
}  # fmt: skip
PARTS = {
    "device_s": ("computing", BLUE),
    "link_s": ("link", ORANGE),
    "server_s": ("server", GREEN),
    "wait_s": ("waiting for others", PALE),
}
MAX_DRAWN = 16
"""devices that fit the figures"""
MAX_NUMBERED = 30
"""rounds whose cuts fit as numbers"""


def draw(result: Json) -> dict[str, str]:
    """The figures by name, as SVG elements."""
    figures: dict[str, Callable[[], Figure]] = {
        "round_time": lambda: lines(result, "round_s", "seconds a round"),
        "decisions": lambda: decisions(result),
        "bandwidth": lambda: bandwidth(result),
        "shares": lambda: shares(result),
        "accuracy": lambda: lines(result, "accuracy_per_round", "accuracy"),
    }
    return {name: render(figure) for name, figure in figures.items()}


def _by_round(axes: Axes, run: Json) -> None:
    rounds = rounds_of(run)
    axes.set_xlim(min(rounds) - 0.5, max(rounds) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def lines(result: Json, key: str, label: str) -> Figure:
    """One figure per round and method."""
    figure, (axes,) = new_figure(3.0)
    styles = zip(cycle(MARKS), cycle(LINES), strict=False)
    for (name, run), (mark, line) in zip(methods(result).items(), styles, strict=False):
        colour = COLOURS.get(name, line)
        axes.plot(rounds_of(run), numbers(run[key]), color=colour, marker=mark, label=name)
    axes.margins(y=0.1)
    axes.set(xlabel="round", ylabel=label, ylim=(0, None))
    axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    _by_round(axes, methods(result)["native"])
    return figure


def decisions(result: Json) -> Figure:
    """Cuts of the controller as steps, operating points as shade; one row a device."""
    run, shown = methods(result)[chosen(result)], result["devices"][:MAX_DRAWN]
    figure, rows = new_figure(1.0 + 0.75 * len(shown), rows=len(shown))
    native = {d["id"]: _top(result, d["id"]) for d in shown}
    for axes, device in zip(rows, shown, strict=True):
        _decisions_of(axes, run, device, *native[device["id"]])
    rows[-1].set_xlabel("round")
    _by_round(rows[-1], run)
    shades = [
        Patch(color=shade(0.0), label="slowest clock"),
        Patch(color=shade(1.0), label="fastest clock"),
    ]
    guarded = Line2D([], [], color=RED, marker="v", linestyle="", label="not the policy's choice")
    figure.legend(handles=[*shades, guarded], ncols=3, loc="outside upper left")
    return figure


def _top(result: Json, device: Any) -> tuple[float, float]:  # noqa: ANN401
    """Highest cut and operating point that a device used in any run: those of native."""

    def highest(key: str) -> float:
        values = [v for run in methods(result).values() for v in series(run, device, key)]
        return max((v for v in values if math.isfinite(v)), default=0.0)

    return highest("cut"), highest("opp")


def _decisions_of(axes: Axes, run: Json, device: Json, last: float, top: float) -> None:
    rounds, cut, opp = rounds_of(run), *(series(run, device["id"], k) for k in ("cut", "opp"))
    known = [i for i, value in enumerate(cut) if math.isfinite(value)]
    axes.bar(
        [rounds[i] for i in known], [cut[i] + 0.5 for i in known], width=1, bottom=-0.5,
        color=[shade(opp[i] / max(top, 1)) for i in known],
    )  # fmt: skip
    edges = [round_ - 0.5 for round_ in rounds] + [rounds[-1] + 0.5]
    axes.stairs(cut, edges, baseline=None, color=INK, linewidth=1.5)
    others = [r for r, source in zip(rounds, series(run, device["id"], "source"), strict=True)
              if source not in {"policy", None}]  # fmt: skip
    axes.plot(others, [last + 0.6] * len(others), "v", color=RED, clip_on=False, in_layout=False)
    axes.set(ylim=(-0.5, last + 0.6), yticks=[0, last])
    axes.set_ylabel(device_label(device), rotation=0, ha="right", va="center")
    if len(rounds) <= MAX_NUMBERED:
        _number(axes, rounds, cut)


def _number(axes: Axes, rounds: list[int], cut: list[float]) -> None:
    """Write each cut below its step."""
    for round_, value in zip(rounds, cut, strict=True):
        if math.isfinite(value):
            axes.annotate(
                f"{value:.0f}", (round_, value), (0, -3), textcoords="offset points",
                ha="center", va="top", fontsize=8, in_layout=False,
            )  # fmt: skip


def bandwidth(result: Json) -> Figure:
    """Measured payload rates of the controller's run, one line a device."""
    run = methods(result)[chosen(result)]
    figure, pair = new_figure(3.4, columns=2)
    for axes, key, title in zip(
        pair, ("up_mbps", "down_mbps"), ("uplink", "downlink"), strict=True
    ):
        for i, device in enumerate(result["devices"][:MAX_DRAWN]):
            axes.plot(
                rounds_of(run), series(run, device["id"], key), color=LINES[i % len(LINES)],
                marker=MARKS[i % len(MARKS)], markersize=5, linewidth=1.5,
                linestyle="-" if i < len(LINES) else "--", label=device_label(device),
            )  # fmt: skip
        axes.set(title=title, xlabel="round")
        _by_round(axes, run)
        logarithmic(axes)
    pair[0].set_ylabel("Mbit/s, measured")
    figure.legend(*pair[0].get_legend_handles_labels(), ncols=5, loc="outside lower left")
    return figure


def shares(result: Json) -> Figure:
    """Where a device's mean round goes, native beside the controller, on the same scale."""
    shown = result["devices"][:MAX_DRAWN]
    figure, pair = new_figure(1.3 + 0.38 * len(shown), columns=2)
    for axes, name in zip(pair, ("native", chosen(result)), strict=True):
        _stack(axes, methods(result)[name], shown)
        axes.set(title=name, xlabel="seconds a round, mean")
        axes.grid(visible=True, axis="x")
    pair[0].set_yticks(range(len(shown)), [device_label(device) for device in shown])
    pair[0].invert_yaxis()
    handles = [Patch(color=colour, label=label) for label, colour in PARTS.values()]
    figure.legend(handles=handles, ncols=4, loc="outside upper left")
    return figure


def _stack(axes: Axes, run: Json, shown: list[Json]) -> None:
    left = [0.0] * len(shown)
    for key, (_, colour) in PARTS.items():
        means = [_mean(series(run, device["id"], key)) for device in shown]
        axes.barh(range(len(shown)), means, 0.7, left, color=colour)
        left = [a + b for a, b in zip(left, means, strict=True)]


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / max(len(known), 1)
