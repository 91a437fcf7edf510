"""Kinds of boards as measured, for the fleets of evaluation; training's ranges lie around them.

Sources, by letter in the table:
(a) sbc-bench runs: OPPs, core voltages, temperatures, 7-zip speed at several clocks, and on the
    Pi 5 board power; (b) sbc-bench's walk through the OPPs of an Odroid HC2, the XU4's sibling:
    speed and watts at each; (c) the Pi Dramble's power benchmarks; (d) assumed, as are all watts
    of the radios.
Where watts are known at the fastest clock alone, the others follow clock x voltage squared (Pi) or
clock to the power 1.6 (d), the XU4's own mean exponent above 500 MHz being 1.3 and at its top 2.

Speeds at lower clocks, where not measured, are 1 / (b + (1 - b) f_max / f) with the memory-bound
share b from two clocks of the same board: Pi 5 0.32 (2.4 to 3 GHz), Pi 4 0.27 (1.5 to 1.8 GHz),
Jetson Nano 0.39 (1.48 to 2 GHz), all (a).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptoff.fleet import Floats, Ints


@dataclass(frozen=True)
class BoardType:
    """One kind of board; OPPs slowest first."""

    mhz: tuple[float, ...]
    relative_speed: tuple[float, ...]
    dynamic_w: tuple[float, ...]
    """above idle, all cores busy"""
    idle_w: float
    radio_w: float
    heat_c_per_w: float
    heat_tau_s: float
    trip_c: float
    memory_mb: float


BOARDS = {
    # OPPs and volts (1.2 and 1.32) (a); speeds at 600, 1000 and 1200 MHz from a Zero 2, the same
    # chip (a); watts (c); 58 C at rest, 80-84 C throttling at about 3.3 W (a); tau of a Pi 2 (a).
    "pi3": BoardType(
        (600, 1000, 1200), (0.52, 0.83, 1.0), (0.95, 1.92, 2.3), 1.4, 0.7, 13.0, 56.0, 80.0, 1024
    ),
    # One voltage at all clocks (a), so watts follow the clock; watts (c); bare board: settles at
    # 82.7 C with tau 67 s (a), at 6.4 W in a room of about 25 C.
    "pi4": BoardType(
        (600, 1000, 1500), (0.48, 0.73, 1.0), (1.48, 2.47, 3.7), 2.7, 0.8, 9.0, 67.0, 80.0, 4096
    ),
    # 0.72, 0.785, 0.825 and 0.865 V, idle 2.7 W, 5.6 W in cpuminer, 9 C more for 2.6 W more, tau 27
    # to 48 s, all (a) and with its cooler.
    "pi5": BoardType(
        (1500, 1800, 2100, 2400), (0.71, 0.82, 0.92, 1.0), (1.26, 1.79, 2.31, 2.9),
        2.7, 0.8, 3.5, 40.0, 80.0, 8192,
    ),
    # OPPs, 15 C more in cpuminer and tau about 200 s (a); watts and trip point (d).
    "jetson_nano": BoardType(
        (614, 921, 1224, 1479), (0.54, 0.73, 0.89, 1.0), (0.93, 1.78, 2.81, 3.8),
        1.9, 0.9, 4.0, 200.0, 95.0, 4096,
    ),
    # Speed and watts at each OPP less 3.9 W at rest (b); 34 C more for 7.7 W more under its fan
    # (b); throttles at 80 to 82 C (a); tau (d).
    "odroid_xu4": BoardType(
        (500, 1000, 1400, 2000), (0.35, 0.65, 0.85, 1.0), (1.6, 2.86, 4.6, 9.3),
        3.9, 0.9, 4.4, 45.0, 80.0, 2048,
    ),
    # OPPs, 14 C more in cpuminer (a); watts, b as the Pi 4, tau and trip point (d).
    "odroid_n2": BoardType(
        (667, 1000, 1398, 1896), (0.44, 0.61, 0.79, 1.0), (0.68, 1.29, 2.21, 3.6),
        1.7, 0.9, 4.0, 20.0, 85.0, 4096,
    ),
}  # fmt: skip

MOST_OPPS = max(len(board.mhz) for board in BOARDS.values())


def columns(kind: Ints) -> dict[str, Any]:
    """Board fields of a Fleet for kinds (F, G), indices into ``BOARDS``; OPPs padded."""
    boards = list(BOARDS.values())

    def each(name: str) -> Floats:
        return np.array([getattr(board, name) for board in boards], float)[kind]

    def opps(name: str) -> Floats:
        tables = [getattr(board, name) for board in boards]
        padded = [table + table[-1:] * (MOST_OPPS - len(table)) for table in tables]
        return np.array(padded, float)[kind]

    scalars = ("idle_w", "radio_w", "heat_c_per_w", "heat_tau_s", "trip_c")
    return {
        **{name: each(name) for name in scalars},
        "memory_limit_bytes": each("memory_mb") * 1e6,
        "n_opps": np.array([len(board.mhz) for board in boards])[kind],
        "relative_speed": opps("relative_speed"),
        "dynamic_w": opps("dynamic_w"),
    }
