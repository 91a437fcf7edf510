"""Kinds of faults: how often, for how long, and which guard must act."""

from collections import Counter
from dataclasses import dataclass, field

from adaptoff.guards import Cause
from benchmarks.soaking import board_faults, clock_faults, fleet_faults
from benchmarks.soaking.site import Fault

GAP_S, RARE_S, RAREST_S = 300.0, 900.0, 1800.0
"""from the end of a fault to the next of its kind, on average"""


@dataclass
class Kind:
    """One kind of faults."""

    name: str
    begin: Fault
    lasts_s: float
    """on average"""
    causes: tuple[Cause, ...] = ()
    """of which guard acts there must be some"""
    clocks: bool = False
    """whether a start may be refused for it"""
    gap_s: float = GAP_S
    times: int = 0
    acted: Counter[Cause] = field(default_factory=Counter)
    """of these causes, during such faults"""


def all_kinds() -> list[Kind]:
    """All of them."""
    return [*_of_clocks(), *_of_the_board(), *_of_the_fleet()]


def _of_clocks() -> list[Kind]:
    return [
        Kind("file missing", clock_faults.files_missing, 5, clocks=True),
        Kind("EACCES", clock_faults.not_allowed, 5, ("opp-refused",), clocks=True),
        Kind("EINVAL", clock_faults.not_valid, 5, ("opp-refused",), clocks=True),
        Kind("other table", clock_faults.other_table, 10, clocks=True),
        Kind("clock snaps", clock_faults.snapping, 10, clocks=True),
        Kind("clock capped", clock_faults.capped, 10, ("opp-refused",)),
        Kind("no userspace", clock_faults.no_userspace, 30, clocks=True, gap_s=RAREST_S),
        Kind("governor taken", clock_faults.governor_taken, 1),
    ]


def _of_the_board() -> list[Kind]:
    return [
        Kind("sensor 0", board_faults.sensor("0", "0"), 10, ("sensor",), gap_s=RARE_S),
        Kind("sensor 255", board_faults.sensor("255", "255000"), 10, ("sensor",), gap_s=RARE_S),
        Kind(
            "sensor negative",
            board_faults.sensor("negative", "-40000"),
            10,
            ("sensor",),
            gap_s=RARE_S,
        ),
        Kind(
            "sensor jumps",
            board_faults.sensor("jumps", "120000"),
            3,
            ("sensor",),
            gap_s=RARE_S,
        ),
        Kind("sensor stuck", board_faults.stuck, 20, gap_s=RAREST_S),
        Kind(
            "sensor absent",
            board_faults.sensor("absent", None),
            40,
            ("sensor",),
            gap_s=RARE_S,
        ),
        Kind("load", board_faults.load, 20),
        Kind("hot room", board_faults.hot_room, 100, ("too-hot",)),
        Kind("wall clock", board_faults.wall_step, 20, ("clock-step",)),
        Kind("kill -9", board_faults.killed, 1, clocks=True, gap_s=RAREST_S),
    ]


def _of_the_fleet() -> list[Kind]:
    return [
        Kind("stale figures", fleet_faults.stale, 5, ("stale",)),
        Kind("broken figures", fleet_faults.broken, 5, ("broken",)),
        Kind("server gone", fleet_faults.server_gone, 20, ("server-gone",)),
        Kind("taken for late", fleet_faults.late, 5),
        Kind("peer gone", fleet_faults.peer_gone, 20),
        Kind("regrouped", fleet_faults.regrouped, 20),
        Kind("link / 100", fleet_faults.link_drops, 10),
        Kind("bad policy", fleet_faults.bad_policy, 5, ("policy-refused",)),
        Kind("silly policy", fleet_faults.silly_policy, 5, ("replaced",)),
        Kind("good policy", fleet_faults.good_policy, 1),
    ]
