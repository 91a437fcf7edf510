"""The decisions of one board for a loop that is not adaptoff's: question in, row and clock out."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from adaptoff.adopting import Adoption
from adaptoff.controller import Controller
from adaptoff.errors import Malformed
from adaptoff.local_messages import Answer, Ask, Measured
from adaptoff.messages import Decision, FleetFigures, Source, Telemetry
from adaptoff.testbed.rig import Done, Rig
from adaptoff.wall_clock import StepWatch
from adaptoff.ways import Ways

log = logging.getLogger(__name__)

REASONS: dict[Source, str] = {
    "policy": "the policy's row",
    "planner": "the policy's row was out of the question: the cheapest one instead",
    "kept": "figures that do not fit: the last row is kept",
    "native": "native",
}


class Fleet(Protocol):
    """Where figures come from: a ``FleetLink`` or, alone, a ``LoneFleet``."""

    round: int
    """that the loop is in"""
    why: str
    """there were no figures when there were none"""
    adoption: Adoption | None
    """what takes the policies that a server hands out"""

    @property
    def heard_s(self) -> float | None:
        """When its server was last heard, by ``time.monotonic()``."""

    def tend(self) -> None:
        """Hear what is new; called often, and never waits."""

    def report(self, seen: Telemetry, server_speed: float | None) -> FleetFigures | None:
        """Figures of the round that is over; None if none came in time."""

    def decided(self, decision: Decision) -> None:
        """Tell the row as applied."""


class Control:
    """Answers the loop of one device; what it knew last may be read at any time."""

    def __init__(
        self, controller: Controller, rig: Rig, fleet: Fleet,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._controller, self._rig = controller, rig
        self._ways = Ways(controller.profile, controller.scenario.workload)
        self._fleet, self._monotonic = fleet, monotonic
        self.guards = rig.guards
        self._wall_clock = StepWatch(rig.guards)
        self.done: Done | None = None
        """the round before the last answer, if it was measured"""
        self.decision = self._native()
        """the last one, as asked for; ``opp`` is what the board made of it"""
        self.opp = rig.board.opp
        self._decision_s: float | None = None
        self._complaint = ""

    def answer(self, ask: Ask) -> Answer:
        """The next row, with its clock set. Raises Malformed for a cut that cannot be."""
        if ask.measured:
            self._check(ask.measured)
        self._wall_clock.look()
        self._fleet.tend()
        if ask.measured:
            reason = self._decide(ask.measured)
        else:
            reason = "nothing was measured: native"
            self.done, self.decision = None, self._native()
        self._take()
        self._rig.begin(self._monotonic())
        return self._said(ask.number, reason)

    def _take(self) -> None:
        """Set the clock, and tell the fleet what the board made of it."""
        asked = self.decision.row
        self.opp = self._rig.board.set_opp(asked.opp)
        self._fleet.decided(replace(self.decision, row=replace(asked, opp=self.opp)))

    def _said(self, number: int, reason: str) -> Answer:
        return Answer(
            number=number,
            round=self.decision.round,
            cut=self.decision.row.cut,
            depth=self.decision.row.depth,
            codec=self.decision.row.codec,
            opp=self.opp,
            mhz=self._controller.board.opps[self.opp].mhz,
            source=self.decision.source,
            reason=reason[:1000],
        )

    def _decide(self, measured: Measured) -> str:
        """Report the round and choose the next row; returns why it is that one."""
        seen = self._read(measured)
        self.done = Done(seen, self.decision, self._decision_s)
        figures = self._fleet.report(seen, measured.server_speed)
        round_ = figures.round + 1 if figures else seen.round + 1
        start_s = time.perf_counter()
        self.decision = self._controller.next(round_, figures)
        self._decision_s = time.perf_counter() - start_s
        return REASONS[self.decision.source] + self._missing(figures)

    def _native(self) -> Decision:
        """For a round of which nothing is known."""
        controller = self._controller
        controller.row, self._decision_s = controller.native, None
        return Decision(
            device=controller.device, round=self._fleet.round, row=controller.row, source="native"
        )

    def _missing(self, figures: FleetFigures | None) -> str:
        """Why there are no figures; logged when it is another reason than before."""
        complaint = "" if figures else self._fleet.why
        if complaint not in ("", self._complaint):
            log.warning("no figures: %s", complaint)
        elif self._complaint and not complaint:
            log.warning("there are figures again")
        self._complaint = complaint
        return complaint and f": {complaint}"

    def _check(self, measured: Measured) -> None:
        if measured.cut is None:
            raise Malformed("measured.cut is missing: must be what was used")
        try:
            self._ways.check(measured.way)
        except ValueError as error:
            raise Malformed(f"measured: {error}") from None

    def _read(self, measured: Measured) -> Telemetry:
        """The round ends."""
        controller, work = self._controller, self._controller.scenario.workload
        return self._rig.read(
            measured, self._monotonic(), controller.device, self._fleet.round, self.opp,
            work.batches * work.batch_size,
        )  # fmt: skip
