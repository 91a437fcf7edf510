"""Boards, links and a scenario, drawn so that a board can be kept cool but is not by itself.

The lowest clock of device 0, native and without a pause, settles ``SPARE_C`` below the heat limit
in the hottest room; its fastest one settles above the limit in a usual room. What the scenario
believes of its heat is off by up to a factor of two, and by degrees.
"""

from dataclasses import dataclass

import numpy as np
from msgspec import structs

from adaptoff.profile import Profile
from adaptoff.scenario import Board, Devices, Link, Objective, Opp, Scenario, Server, Step, Workload

LIMIT_C, TRIP_C = 75.0, 85.0
HOT_C = 12.0
"""that a hot room is warmer"""
SPARE_C = 5.0
BATCHES, BATCH_SIZE = 4, 10
MIDDLE = 4
"""a cut whose bytes take a share of the period"""
NATIVE = (0.25, 0.45)
"""shares of the period, at the fastest clock: what is hot or faulty takes longer"""


@dataclass(frozen=True)
class Truth:
    """How device 0 really warms."""

    c_per_w: float
    tau_s: float
    ambient_c: float


def fleet(rng: np.random.Generator, profile: Profile, period_s: float) -> tuple[Scenario, Truth]:
    """3 to 5 unlike devices, a board and a link each, whose rounds take about ``period_s``."""
    boards = [_board(rng, profile, period_s) for _ in range(int(rng.integers(3, 6)))]
    truth = _truth(rng, boards[0])
    boards[0] = structs.replace(boards[0], **_believed(rng, truth))
    bits = 8 * BATCHES * profile.column("up_bytes", BATCH_SIZE)[MIDDLE]
    mbps = [bits / 1e6 / (rng.uniform(0.02, 0.2) * period_s) for _ in boards]
    server_s = BATCHES * profile.column("server_s", BATCH_SIZE)[0]
    return Scenario(
        name="soak",
        workload=Workload(batch_size=BATCH_SIZE, batches=BATCHES),
        objective=Objective(heat_limit_c=LIMIT_C),
        server=Server(speed=server_s / (0.05 * period_s)),
        boards={f"b{i}": board for i, board in enumerate(boards)},
        links={f"l{i}": Link(steps=[Step(up_mbps=m, down_mbps=m)]) for i, m in enumerate(mbps)},
        devices=[Devices(board=f"b{i}", link=f"l{i}") for i in range(len(boards))],
    ), truth


def _board(rng: np.random.Generator, profile: Profile, period_s: float) -> Board:
    n_opps, top_mhz = int(rng.integers(3, 6)), rng.integers(12, 21) * 100.0
    clock, bound = np.linspace(rng.uniform(0.3, 0.45), 1, n_opps), rng.uniform(0, 0.4)
    share = rng.uniform(*NATIVE)
    watts = rng.uniform(6, 10) * clock ** rng.uniform(1.6, 2.6)
    opps = [
        Opp(mhz=round(c * top_mhz), relative_speed=1 / (bound + (1 - bound) / c), dynamic_w=w)
        for c, w in zip(clock.tolist(), watts.tolist(), strict=True)
    ]
    return Board(
        speed=BATCHES * profile.column("device_s", BATCH_SIZE)[-1] / (share * period_s),
        opps=opps,
        idle_w=rng.uniform(1.5, 3),
        radio_w=rng.uniform(0.5, 1),
        trip_c=TRIP_C,
    )


def _truth(rng: np.random.Generator, board: Board) -> Truth:
    ambient_c = float(rng.uniform(15, 28))
    lowest_w = board.idle_w + max(board.opps[0].dynamic_w, board.radio_w)
    c_per_w = (LIMIT_C - SPARE_C - ambient_c - HOT_C) / lowest_w
    return Truth(c_per_w, float(rng.uniform(25, 90)), ambient_c)


def _believed(rng: np.random.Generator, truth: Truth) -> dict[str, float]:
    return {
        "heat_c_per_w": truth.c_per_w * float(np.exp(rng.uniform(-0.5, 0.5))),
        "heat_tau_s": truth.tau_s * float(np.exp(rng.uniform(-0.7, 0.7))),
        "ambient_c": truth.ambient_c + float(rng.uniform(-8, 8)),
    }
