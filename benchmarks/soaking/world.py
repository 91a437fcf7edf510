"""What a board and its fleet really are, which nobody but the benchmark knows.

A round is the cost model's under conditions that move, and that faults change; heat is of first
order, with constants other than the scenario's. Time goes only where it is told to.
"""

import math

import numpy as np

from adaptoff import cost, heat
from adaptoff import fleet as fleets
from adaptoff.cost import Columns
from adaptoff.fleet import Conditions, Floats, Rows
from adaptoff.profile import Profile
from benchmarks.soaking import drawn
from benchmarks.soaking.drawn import LIMIT_C, Truth

MOVES = {"speed": 0.05, "up_bps": 0.3, "down_bps": 0.3, "server_speed": 0.1}
"""standard deviations of logarithms"""
RHO = 0.98
NOISE = 0.05
FAR_C = 2.0
NEW_ROWS = 0.01
"""how often the other devices take other rows"""


class Body:
    """Something warm; first order."""

    def __init__(self, truth: Truth) -> None:
        self.c_per_w, self.tau_s, self.ambient_c = truth.c_per_w, truth.tau_s, truth.ambient_c
        self.temp_c = self.most_c = truth.ambient_c
        self.seconds = self.above_s = self.far_above_s = 0.0

    def go_on(self, seconds: float, watts: float) -> None:
        """At this power; counts where that ends above the limit."""
        settled_c = self.ambient_c + self.c_per_w * watts
        keep = math.exp(-seconds / self.tau_s)
        self.temp_c = settled_c + (self.temp_c - settled_c) * keep
        self.most_c = max(self.most_c, self.temp_c)
        self.seconds += seconds
        self.above_s += seconds * (self.temp_c > LIMIT_C)
        self.far_above_s += seconds * (self.temp_c > LIMIT_C + FAR_C)


class World:
    """Device 0 in truth, and its fleet."""

    def __init__(self, profile: Profile, period_s: float, seed: int) -> None:
        """Rounds take about ``period_s``."""
        self.rng, self.profile = np.random.default_rng(seed), profile
        self.scenario, truth = drawn.fleet(self.rng, profile, period_s)
        self.board, self.usual_ambient_c = self.scenario.board_of(0), truth.ambient_c
        self.body, self.native = Body(truth), Body(truth)
        self.fleet = fleets.of_devices(profile, self.scenario)
        self.n_devices = len(self.scenario.devices)
        self.now_s, self.wall_off_s = 1000.0, 0.0
        self.link, self.free = np.ones(self.n_devices), np.ones(self.n_devices)
        """shares of their links and processors that devices have"""
        self.server_free = 1.0
        names = ("mhz", "relative_speed", "dynamic_w")
        self._table = [[getattr(opp, name) for opp in self.board.opps] for name in names]
        self._usual = self._nominal()
        self._logs = {name: np.zeros(self.n_devices) for name in MOVES}
        self._others = self._drawn_rows()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.now_s

    def wall_s(self) -> float:
        """The wall clock, which may jump."""
        return 1.7e9 + self.now_s + self.wall_off_s

    def nap(self, seconds: float) -> None:
        """In place of sleeping."""
        self.body.go_on(seconds, self.board.idle_w)
        self.now_s += seconds

    @property
    def steps_khz(self) -> list[int]:
        """Of the hardware: the OPPs, and a step between two of them."""
        mhz = self._table[0]
        places = np.linspace(0, len(mhz) - 1, 2 * len(mhz) - 1)
        return [round(1000 * step) for step in np.interp(places, range(len(mhz)), mhz)]

    def room(self, ambient_c: float) -> None:
        """The air around both boards."""
        self.body.ambient_c = self.native.ambient_c = ambient_c

    def at_khz(self, khz: int) -> tuple[float, float]:
        """Relative speed and dynamic watts at a clock that may lie between OPPs."""
        mhz, speeds, watts = self._table
        return float(np.interp(khz / 1e3, mhz, speeds)), float(np.interp(khz / 1e3, mhz, watts))

    def warm(self, seconds: float, khz: int, busy: float, link: float = 0.0) -> None:
        """Time passes; ``busy`` and ``link`` are shares of it, background load comes on top."""
        busy += (1 - busy) * (1 - float(self.free[0]))
        dynamic_w = self.at_khz(khz)[1] * busy + self.board.radio_w * link
        self.body.go_on(seconds, self.board.idle_w + dynamic_w)
        self.now_s += seconds

    def warm_native(self, seconds: float) -> None:
        """The same time in the same room for a board that is native at the fastest clock."""
        board, free = self.board, float(self.free[0])
        opp = board.opps[int(heat.throttled(len(board.opps) - 1, self.native.temp_c, board.trip_c))]
        own_s = 1 / (board.speed * free * opp.relative_speed)
        busy = own_s / max(own_s, *(1 / self._usual["speed"]))
        busy += (1 - busy) * (1 - free)
        self.native.go_on(seconds, board.idle_w + opp.dynamic_w * busy)

    def conditions(self) -> Conditions:
        """Of the coming round."""
        for name, sd in MOVES.items():
            moves = self.rng.standard_normal(self.n_devices)
            self._logs[name] = RHO * self._logs[name] + sd * math.sqrt(1 - RHO**2) * moves
        now = {name: self._usual[name] * np.exp(logs) for name, logs in self._logs.items()}
        return Conditions(
            speed=(now["speed"] * self.free)[None],
            up_bps=(now["up_bps"] * self.link)[None],
            down_bps=(now["down_bps"] * self.link)[None],
            rtt_s=np.zeros((1, self.n_devices)),
            temp_c=np.full((1, self.n_devices), 40.0),
            server_speed=now["server_speed"][:1] * self.server_free,
        )

    def columns(self, at: Conditions, cut: int, opp: int) -> tuple[Rows, Columns]:
        """Rows and columns (1, devices) of a round; the others' rows change now and then."""
        if self.rng.random() < NEW_ROWS:
            self._others = self._drawn_rows()
        rows = Rows(self._others.way.copy(), self._others.opp.copy())
        rows.way[0, 0], rows.opp[0, 0] = cut, opp
        return rows, cost.joint(self.fleet, at, rows)

    def noisy(self, value: float) -> float:
        """As measured."""
        return value * math.exp(NOISE * self.rng.standard_normal())

    def _drawn_rows(self) -> Rows:
        cut = self.rng.integers(drawn.MIDDLE, self.fleet.n_ways[0], self.n_devices)
        return Rows(cut[None], self.rng.integers(0, self.fleet.n_opps))

    def _nominal(self) -> dict[str, Floats]:
        """Usual conditions, (devices,)."""
        scenario = self.scenario
        steps = [scenario.links[group.link].steps[0] for group in scenario.devices]
        return {
            "speed": np.array([scenario.boards[g.board].speed for g in scenario.devices]),
            "up_bps": np.array([step.up_mbps * 1e6 for step in steps]),
            "down_bps": np.array([step.down_mbps * 1e6 for step in steps]),
            "server_speed": np.array([scenario.server.speed]),
        }
