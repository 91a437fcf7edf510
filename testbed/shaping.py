"""What makes links as slow as the scenario has them: the sending ends, or the kernel.

Wall seconds are ``dilation`` times emulated ones, and rates so much lower.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from adaptoff.schedule import Schedule
from adaptoff.testbed.link import Link
from adaptoff.testbed.netcontrol import Control
from adaptoff.testbed.netorders import LEAST_BPS, MAX_STEPS, MOST_BPS

Steps = list[tuple[float, float, float]]
"""(wall seconds after a round's start, up, down in wall bits per second)"""
STEP_S = 0.5


class Shaper:
    """One direction of one link; ``rate_at`` is handed to the sending end."""

    def __init__(self, schedule: Schedule, dilation: float, *, up: bool) -> None:
        self._schedule, self._dilation, self._direction = schedule, dilation, 0 if up else 1
        self._round, self._start_s = 0, 0.0

    def begin(self, round_: int, now_s: float) -> None:
        """A round starts."""
        self._round, self._start_s = round_, now_s

    def rate_at(self, now_s: float) -> float:
        """Wall bits per second at a wall-clock moment."""
        elapsed_s = max(now_s - self._start_s, 0.0) / self._dilation
        return self._schedule.rates_bps(self._round, elapsed_s)[self._direction] / self._dilation


class Shaping(Protocol):
    """What the server does about links."""

    def admit(self, link: Link, device: int, peer: int) -> None:
        """A device has joined."""

    def begin(self, round_: int, now_s: float, most_s: float) -> None:
        """A round starts, which lasts ``most_s`` emulated seconds at most."""


class Pacing:
    """In user space: this end paces the downlinks, and each device its uplink."""

    def __init__(self, schedules: Sequence[Schedule], dilation: float) -> None:
        self._shapers = [Shaper(schedule, dilation, up=False) for schedule in schedules]

    def admit(self, link: Link, device: int, peer: int) -> None:
        """Pace what is sent to it."""
        link.shape(peer, self._shapers[device].rate_at)

    def begin(self, round_: int, now_s: float, most_s: float) -> None:  # noqa: ARG002
        """Rates go on from the round's start."""
        for shaper in self._shapers:
            shaper.begin(round_, now_s)


class Kernel:
    """In the kernel: the network's broker is told what both directions are to be."""

    def __init__(self, schedules: Sequence[Schedule], dilation: float, control: Control) -> None:
        self._schedules, self._dilation, self._control = schedules, dilation, control

    def admit(self, link: Link, device: int, peer: int) -> None:
        """It is in its namespace."""

    def begin(self, round_: int, now_s: float, most_s: float) -> None:
        """Hand over the rates of this round; the last ones stay until the next."""
        for device, schedule in enumerate(self._schedules):
            self._control.play(device, now_s, steps(schedule, round_, most_s, self._dilation))


class AsTheyAre:
    """Links that need no shaping: real ones."""

    def admit(self, link: Link, device: int, peer: int) -> None:
        """Nothing to do."""

    def begin(self, round_: int, now_s: float, most_s: float) -> None:
        """Nothing to do."""


def steps(schedule: Schedule, round_: int, most_s: float, dilation: float) -> Steps:
    """A round's rates, looked up each ``STEP_S`` emulated seconds, without what stays the same."""
    found: Steps = []
    for i in range(min(math.ceil(most_s / STEP_S) + 1, MAX_STEPS)):
        asked = (rate / dilation for rate in schedule.rates_bps(round_, i * STEP_S))
        up, down = (min(max(rate, LEAST_BPS), MOST_BPS) for rate in asked)
        if not found or found[-1][1:] != (up, down):
            found.append((i * STEP_S * dilation, up, down))
    return found
