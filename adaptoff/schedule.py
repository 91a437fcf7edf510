"""Rates of a link, by round and by time within the round, so that every method meets the same.

A trace, from a file or generated, goes on in real time within a round, but each round starts at
``trace_round_s`` times its number: where a round starts does not depend on how long the ones before
took.
"""

import math
from bisect import bisect_right
from pathlib import Path

import numpy as np

from adaptoff import generated, traces
from adaptoff.fleet import Conditions
from adaptoff.scenario import Link, Scenario
from adaptoff.traces import Trace

SEGMENT_BITS = 1448 * 8


class Schedule:
    """What one link of a scenario can carry."""

    def __init__(self, link: Link) -> None:
        """Reads the trace, if there is one; raises TraceError."""
        self._link = link
        self._trace = trace_of(link)
        self._rounds = [step.round for step in link.steps]

    def rates_bps(self, round_: int, elapsed_s: float = 0.0) -> tuple[float, float]:
        """(up, down) payload bits per second, ``elapsed_s`` into a round."""
        if self._trace:
            return self._trace.at(round_ * self._link.trace_round_s + elapsed_s)
        step = self._link.steps[bisect_right(self._rounds, round_) - 1]
        return step.up_mbps * 1e6, step.down_mbps * 1e6


def trace_of(link: Link) -> Trace | None:
    """The trace that a link follows, if it follows one; raises TraceError."""
    if link.generated:
        return generated.trace(link.generated, link.seed)
    return traces.load(Path(link.trace)) if link.trace else None


def nominal(scenario: Scenario, schedules: list[Schedule], round_: int) -> Conditions:
    """Conditions (F = 1, one cluster a device) at a round's start, as the scenario names them.

    They are less what its calibration found.
    """
    found = scenario.calibration
    boards = [scenario.boards[group.board] for group in scenario.each_device()]
    links = [scenario.links[group.link] for group in scenario.each_device()]
    rtt_ms, most_bps = [link.rtt_ms for link in links], [_most_bps(link) for link in links]
    rates = np.array([schedule.rates_bps(round_) for schedule in schedules]) * found.link_share
    rates = np.minimum(rates, np.array(most_bps)[:, None])
    return Conditions(
        speed=np.array([[board.speed for board in boards]]) * found.device_share,
        up_bps=rates[None, :, 0],
        down_bps=rates[None, :, 1],
        rtt_s=(np.array([rtt_ms]) + found.message_ms) / 1e3,
        temp_c=np.array([[board.ambient_c for board in boards]]),
        server_speed=np.array([scenario.server.speed]) * found.server_share,
    )


def _most_bps(link: Link) -> float:
    """What one TCP connection carries at most where packets are lost.

    1.22 segments / (round trip * sqrt(loss)): Mathis et al., The macroscopic behavior of the TCP
    congestion avoidance algorithm, 1997.
    """
    if not link.loss or not link.rtt_ms:
        return math.inf
    return 1.22 * SEGMENT_BITS / (link.rtt_ms / 1e3 * math.sqrt(link.loss))


def of_devices(scenario: Scenario) -> list[Schedule]:
    """The schedule of every device's link, in device order."""
    return [Schedule(scenario.links[group.link]) for group in scenario.each_device()]
