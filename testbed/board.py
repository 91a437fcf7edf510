"""An emulated board: clock steps, energy and heat, modelled from what was really computed and sent.

All seconds are emulated seconds. The temperature lives from round to round: busy it heats by the
mean power of the round, waiting it cools at idle power.
"""

import math
from typing import Literal

from adaptoff import heat
from adaptoff.scenario import Board


class EmulatedBoard:
    """The Actuator of an emulated device, and its thermometer."""

    def __init__(self, board: Board, now_s: float) -> None:
        """``now_s`` starts the thermometer's clock."""
        self._board = board
        self.reset(now_s)

    def reset(self, now_s: float) -> None:
        """Cool, idle and at the fastest OPP."""
        self.opp = len(self._board.opps) - 1
        self.temp_c = self._board.ambient_c + self._board.heat_c_per_w * self._board.idle_w
        self._since_s = now_s

    @property
    def opp_left(self) -> int:
        """The OPP applied: its clock does not change within a round."""
        return self.opp

    @property
    def temp_source(self) -> Literal["modelled"]:
        """There is no sensor."""
        return "modelled"

    @property
    def speed(self) -> float:
        """In reference cores, at the OPP applied."""
        return self._board.speed * self._board.opps[self.opp].relative_speed

    def set_opp(self, opp: int) -> int:
        """Apply ``opp``, or what heat leaves of it above the trip point; returns it."""
        possible = min(opp, len(self._board.opps) - 1)
        self.opp = int(heat.throttled(possible, self.temp_c, self._board.trip_c))
        return self.opp

    def idle_until(self, now_s: float) -> None:
        """Cool down until ``now_s``."""
        self._settle(self._board.idle_w, now_s)

    def work_until(self, now_s: float, device_s: float, link_s: float) -> float:
        """Heat up until ``now_s`` from that much work since the last call; returns its joules."""
        elapsed_s = max(now_s - self._since_s, 1e-9)
        dynamic_w = self._board.opps[self.opp].dynamic_w
        busy_j = dynamic_w * device_s + self._board.radio_w * link_s
        joules = busy_j + self._board.idle_w * elapsed_s
        self._settle(joules / elapsed_s, now_s)
        return joules

    def _settle(self, power_w: float, now_s: float) -> None:
        """First-order heat: towards ambient + R * P with the board's time constant."""
        target_c = self._board.ambient_c + self._board.heat_c_per_w * power_w
        decay = math.exp(-max(now_s - self._since_s, 0.0) / self._board.heat_tau_s)
        self.temp_c = target_c + (self.temp_c - target_c) * decay
        self._since_s = now_s
