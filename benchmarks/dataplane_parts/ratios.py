"""Medians over the turns of what one kind of transport does beside another, and the goals."""

from dataclasses import dataclass
from statistics import median

from dataplane_parts.pair import BARE, BARE_CURVE, LINK, LINK_CURVE, PICKLE, RAW

GOODPUT, CPU, ROUND_TRIP = "goodput", "CPU per GB", "round trip"
BOTH_WAYS = "goodput both ways"
MOST = "the most"
"""payload that a shaped link can carry in full frames: 1448/1514 of its rate"""
GOALS = [
    (GOODPUT, LINK, RAW, ">= 0.7"),
    (GOODPUT, LINK, PICKLE, ">= 2"),
    (GOODPUT, RAW, PICKLE, ""),
    (GOODPUT, BARE, RAW, ""),
    (GOODPUT, LINK_CURVE, BARE_CURVE, ">= 0.8"),
    (CPU, LINK, RAW, "<= 1.5"),
    (CPU, LINK, PICKLE, ""),
    (CPU, LINK, BARE, ""),
    (CPU, BARE, RAW, ""),
    (CPU, LINK_CURVE, BARE_CURVE, ""),
    (ROUND_TRIP, LINK, RAW, "<= 2"),
    (ROUND_TRIP, LINK, PICKLE, ""),
    (ROUND_TRIP, LINK, BARE, ""),
    (ROUND_TRIP, BARE, RAW, ""),
    (ROUND_TRIP, LINK_CURVE, BARE_CURVE, ""),
]
SHARE_GOALS = {
    (GOODPUT, LINK_CURVE): ">= 0.95",
    (GOODPUT, LINK): "",
    (GOODPUT, RAW): "",
    (BOTH_WAYS, LINK_CURVE): ">= 0.95",
    (BOTH_WAYS, LINK): "",
}
HEADS = {
    GOODPUT: "goodput of 3.2 MB tensors, GB/s",
    CPU: "CPU of both processes, s per GB",
    ROUND_TRIP: "round trip of 100 bytes, ms",
}
UNITS = {GOODPUT: 8e9, CPU: 1.0, ROUND_TRIP: 1e-3}

Turn = dict[tuple[str, str], float]
"""a figure by what it is and by the kind of transport; bits per second, seconds"""


@dataclass(frozen=True)
class Row:
    """``ours`` over ``other``: the median of the turns' ratios, the least and the most."""

    head: str
    ours: str
    other: str
    ratio: float
    least: float
    most: float
    goal: str
    met: bool | None
    measured: tuple[float, float]
    """medians of the two, in the unit that ``head`` names"""


def ratios(turns: list[Turn]) -> list[Row]:
    """All of GOALS."""
    return [_row(turns, HEADS[what], UNITS[what], what, *rest) for what, *rest in GOALS]


def shares(turns: list[Turn], mbps: float, cut: str) -> list[Row]:
    """What is made of a shaped link that carries ``mbps`` of payload at most."""
    head = f"at {mbps:g} Mbit/s of payload, {cut}, Mbit/s"
    return [
        _row(turns, f"{what} {head}", 1e6, what, kind, MOST, goal)
        for (what, kind), goal in SHARE_GOALS.items()
    ]


def _row(
    turns: list[Turn], head: str, unit: float, what: str, ours: str, other: str, goal: str
) -> Row:
    each = sorted(turn[what, ours] / turn[what, other] for turn in turns)
    ratio = median(each)
    met = _meets(ratio, goal) if goal else None
    sides = [median(turn[what, kind] for turn in turns) / unit for kind in (ours, other)]
    return Row(head, ours, other, ratio, each[0], each[-1], goal, met, (sides[0], sides[1]))


def _meets(ratio: float, goal: str) -> bool:
    sign, wanted = goal.split()
    return ratio >= float(wanted) if sign == ">=" else ratio <= float(wanted)
