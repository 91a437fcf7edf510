"""Keeps a board below its heat limit within a round: it is clocked down in time, and up again.

Rows are chosen between rounds, and a round may last minutes. The guard is told the temperature each
second. An alpha-beta filter follows it and its rate; between readings, and ahead, both go on as
first-order heat does, and a change of clock changes the rate by what it changes in watts:

    c(t) = c + tau rate (1 - exp(-t / tau)),  rate += R (P_new - P_old) / tau

Down it goes a step a reading, as soon as the limit would be reached before the slowest clock is. Up
it goes ``HOLD_S`` after the last step at the earliest: to the fastest clock that never leads near
the limit, else by one step that does not for as long. From one raise to the next there are thus
``HOLD_S`` at least.
"""

import math
from collections.abc import Sequence

from adaptoff.guards import Guards
from adaptoff.heat_fit import Heat
from adaptoff.sensors import MAX_AGE_S

EVERY_S = 1.0
"""between readings"""
MARGIN_C = 1.0
"""below the limit, where no faster clock may lead"""
ROOM_C = 3.0
"""and this much further below it the board must be for one to be tried"""
SILENCE_C = 10.0
"""below the limit, which counts once a sensor has gone silent: the room may get warmer"""
START_C = 10.0
"""below the limit, where nobody knows yet how fast it gets warmer"""
HOLD_S = 30.0
RETRY_S = 120.0
"""after this long one step up is tried whatever the constants say: they may be wrong"""
LAG_S = 2.0
"""that the filter is behind"""
ALPHA, BETA = 0.64, 0.16
"""critically damped: 1 - x^2 and (1 - x)^2 for x = 0.6"""


class HeatGuard:
    """Says which OPP a board is to run at; ``opp`` is the one it said last."""

    def __init__(self, watts: Sequence[float], limit_c: float, heat: Heat, guards: Guards) -> None:
        """``watts``: (OPPs,) drawn while computing; the fastest is asked for until another is."""
        self.heat = heat
        self.opp = self._asked = self._cap = self._top = len(watts) - 1
        self._watts, self._limit_c, self._guards = watts, limit_c, guards
        self._temp_c, self._rate = -math.inf, 0.0
        self._told_s = self._heard_s = self._changed_s = -math.inf

    def start(self, now_s: float, temp_c: float) -> None:
        """It is so warm at the start: near the limit the slowest clock comes first."""
        if temp_c > self._limit_c - START_C:
            self._guards.act("too-hot", f"{temp_c:.0f} C at the start: OPP 0")
            self._cap, self._changed_s = 0, now_s
            self._run(0)

    def ask(self, opp: int) -> int:
        """An OPP is wanted from now on; returns what heat allows of it."""
        self._asked = opp
        return self._run(min(opp, self._cap))

    def assume(self, now_s: float, temp_c: float) -> None:
        """It is so warm, says a model; that counts where the sensor says nothing."""
        if self._is_deaf(now_s):
            self._temp_c, self._told_s = temp_c, now_s

    def sample(self, now_s: float, temp_c: float | None) -> int:
        """The temperature, None where there is none to be believed; returns the OPP to run at.

        Without a sensor the board is taken to compute without a pause.
        """
        self._go_on(now_s)
        if temp_c is not None:
            self._hear(now_s, temp_c)
        self._told_s = now_s
        if self._is_too_hot():
            self._lower(now_s)
        elif self._cap < self._top and self._has_waited(now_s, HOLD_S):
            self._raise(now_s)
        return self.opp

    def _go_on(self, now_s: float) -> None:
        """Temperature and rate as the time since the last reading makes them."""
        if not math.isfinite(self._temp_c):
            return
        if self._is_deaf(now_s):
            settled_c = self.heat.ambient_c + self.heat.c_per_w * self._watts[self.opp]
            self._rate = (settled_c - self._temp_c) / self.heat.tau_s
        self._temp_c = self._ahead_c(now_s - self._told_s)
        self._rate *= math.exp(-(now_s - self._told_s) / self.heat.tau_s)

    def _is_deaf(self, now_s: float) -> bool:
        return now_s - self._heard_s > MAX_AGE_S

    def _hear(self, now_s: float, temp_c: float) -> None:
        seconds, off_c = now_s - self._heard_s, temp_c - self._temp_c
        if self._is_deaf(now_s):
            self._temp_c = temp_c
        elif seconds > 0:
            self._temp_c += ALPHA * off_c
            self._rate += BETA * off_c / seconds
        self._heard_s = now_s

    def _ahead_c(self, seconds: float, more_w: float = 0.0) -> float:
        """Degrees after ``seconds`` in which the board draws ``more_w`` than now."""
        rise_c = self.heat.tau_s * self._rate + self.heat.c_per_w * more_w
        return self._temp_c - rise_c * math.expm1(-seconds / self.heat.tau_s)

    def _is_too_hot(self) -> bool:
        """Whether it may be at the limit before it could run at its slowest."""
        soon_c = self._temp_c + self._rate * ((self.opp + 1) * EVERY_S + LAG_S)
        return self.opp > 0 and soon_c >= self._goal_c

    @property
    def _goal_c(self) -> float:
        is_silent = math.isfinite(self._heard_s) and self._is_deaf(self._told_s)
        return self._limit_c - (SILENCE_C if is_silent else 0.0)

    def _lower(self, now_s: float) -> None:
        self._guards.act("too-hot", f"{self._temp_c:.0f} C: OPP {self.opp - 1} after {self.opp}")
        self._cap, self._changed_s = self.opp - 1, now_s
        self._run(self._cap)

    def _raise(self, now_s: float) -> None:
        if self._temp_c > self._goal_c - MARGIN_C - ROOM_C:
            return
        higher = range(self._cap + 1, self._top + 1)
        cool = [cap for cap in higher if self._stays_cool(cap, math.inf)]
        if not cool and (self._stays_cool(higher[0], HOLD_S) or self._has_waited(now_s, RETRY_S)):
            cool = [higher[0]]
        if cool:
            self._cap, self._changed_s = cool[-1], now_s
            self._run(min(self._asked, self._cap))

    def _stays_cool(self, cap: int, seconds: float) -> bool:
        more_w = self._watts[min(cap, self._asked)] - self._watts[self.opp]
        return self._ahead_c(seconds, more_w) < self._goal_c - MARGIN_C

    def _has_waited(self, now_s: float, seconds: float) -> bool:
        return now_s - self._changed_s >= seconds

    def _run(self, opp: int) -> int:
        more_w = self._watts[opp] - self._watts[self.opp]
        self._rate += self.heat.c_per_w * more_w / self.heat.tau_s
        self.opp = opp
        return opp
