"""The rounds of devices that control themselves, without sockets: reports in, figures out.

A round is over when all that are awaited have reported, or ``deadline_s`` after its first report.
Who has not reported by then was late, and is not awaited again before it reports. A device that
reports twice in a round is believed the second time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from adaptoff.errors import Malformed
from adaptoff.messages import Decision, FleetFigures, RoundStart, Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.server_speed import estimated
from adaptoff.testbed.tracker import Clusterer, Tracker
from adaptoff.ways import Levers, Ways


@dataclass(frozen=True)
class FleetRound:
    """A round that is over."""

    round: int
    round_s: float
    telemetry: list[Telemetry]
    """of those that reported in time"""
    late: list[int]
    decisions: list[Decision]
    """the newest of each device, as applied"""
    figures: FleetFigures
    accuracy: float | None = None
    """nobody has looked"""
    valid: bool = True
    """nothing is emulated"""


class FleetRounds:
    """Who is there, who has reported, and what was."""

    def __init__(
        self, scenario: Scenario, profile: Profile, clusterer: Clusterer, deadline_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._scenario, self._profile, self._deadline_s = scenario, profile, deadline_s
        self._tracker = Tracker(scenario, profile, clusterer)
        self._ways = Ways(profile, scenario.workload)
        self._server_speed, self._monotonic = scenario.server.speed, monotonic
        self._round = 0
        self._awaited: set[int] = set()
        self._seen: dict[int, Telemetry] = {}
        """of this round"""
        self._first_s = 0.0
        """when the first of them came"""
        self._decisions: dict[int, Decision] = {}
        self.last: FleetRound | None = None

    @property
    def start(self) -> RoundStart:
        """What a device is to know of the round that is on."""
        figures = self.last.figures if self.last else None
        return RoundStart(round=self._round, seed=0, row=None, figures=figures)

    def admit(self, device: int) -> None:
        """It is there, and awaited."""
        self._awaited.add(device)

    def forget(self, device: int) -> None:
        """It is gone; what it reported counts."""
        self._awaited.discard(device)
        self._decisions.pop(device, None)

    def decided(self, device: int, decision: Decision) -> None:
        """The row that a device takes. Raises Malformed."""
        _require(decision.device == device, "a decision of another device")
        self._check(device, decision.row, decision.row.opp)
        self._decisions[device] = decision

    def report(self, device: int, seen: Telemetry) -> None:
        """What a device measured; of an earlier round it shows only that the device is back.

        Raises Malformed.
        """
        work = self._scenario.workload
        samples = work.batches * work.batch_size
        _require(seen.device == device, "telemetry of another device")
        _require(seen.samples == samples, f"{seen.samples} samples, a round has {samples}")
        self._check(device, seen, seen.opp)
        self._awaited.add(device)
        if seen.round == self._round:
            self._first_s = self._first_s if self._seen else self._monotonic()
            self._seen[device] = seen

    def left_s(self) -> float | None:
        """Until the round is over whoever is missing; None while nobody has reported."""
        return max(self._first_s + self._deadline_s - self._monotonic(), 0) if self._seen else None

    def is_over(self) -> bool:
        """Whether all that are awaited have reported, or the time is up."""
        return self.left_s() == 0 or (bool(self._seen) and self._awaited <= self._seen.keys())

    def close(self) -> FleetRound:
        """Figures from what was reported; the next round begins."""
        seen, late = list(self._seen.values()), sorted(self._awaited - self._seen.keys())
        waited_s = self._monotonic() - self._first_s if late else 0.0
        round_s = min(max(t.total_s for t in seen) + waited_s, 1e7)
        told = estimated(self._scenario.workload, self._profile, seen)
        self._server_speed = told or self._server_speed
        rows = {d: self._decisions[d].row if d in self._decisions else None for d in late}
        figures = self._tracker.update(self._round, seen, rows, round_s, self._server_speed)
        decisions = [decision for _, decision in sorted(self._decisions.items())]
        self.last = FleetRound(self._round, round_s, seen, late, decisions, figures)
        self._awaited -= set(late)
        self._round += 1
        self._seen = {}
        return self.last

    def _check(self, device: int, levers: Levers, opp: int) -> None:
        n_opps = len(self._scenario.board_of(device).opps)
        try:
            self._ways.check(levers)
        except ValueError as error:
            raise Malformed(str(error)) from None
        _require(opp < n_opps, f"OPP {opp}: {n_opps} exist")


def _require(fine: bool, complaint: str) -> None:
    if not fine:
        raise Malformed(complaint)
