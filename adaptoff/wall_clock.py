"""The wall clock is for reading only: whatever measures or waits here goes by the monotonic one.

Log lines and Prometheus' samples carry the wall clock's time all the same. When it jumps, a guard
says so, so that nobody takes the gap for the fleet's.
"""

import time
from collections.abc import Callable

from adaptoff.guards import Guards

STEP_S = 1.0
DRIFT = 0.001
"""of the time between two looks; NTP's slewing is half of that"""


class StepWatch:
    """Tells the guards when the wall clock jumped against the monotonic one.

    A machine that slept shows so as well: its monotonic clock stood still.
    """

    def __init__(
        self, guards: Guards, wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Seconds, both, since some moment."""
        self._guards, self._wall, self._monotonic = guards, wall, monotonic
        self._last = wall(), monotonic()

    def look(self) -> None:
        """Compare what both say of the time since the look before."""
        before, self._last = self._last, (self._wall(), self._monotonic())
        by_wall_s, passed_s = (now - then for now, then in zip(self._last, before, strict=True))
        step_s = by_wall_s - passed_s
        if abs(step_s) > STEP_S + DRIFT * passed_s:
            self._guards.act("clock-step", f"the wall clock jumped by {step_s:+.1f} s")
