"""Federated rounds: start the devices, average what comes in time, and say what it was."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from adaptoff import cost, schedule
from adaptoff import fleet as fleets
from adaptoff.errors import RunError
from adaptoff.messages import FleetFigures, RoundReport, RoundStart, Row, RunRound
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.schedule import Schedule
from adaptoff.testbed import data, federate, models
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.orders import row_of
from adaptoff.testbed.played import Played
from adaptoff.testbed.rehearsal import rehearse
from adaptoff.testbed.server_round import ServerRound
from adaptoff.testbed.session import Session
from adaptoff.testbed.shapes import Shapes
from adaptoff.testbed.shaping import Pacing, Shaping
from adaptoff.testbed.split import export_state, load_state
from adaptoff.testbed.tracker import Clusterer, Tracker
from adaptoff.ways import Ways, server_s, way_of

log = logging.getLogger(__name__)

DEADLINE_FACTOR = 4.0
DEADLINE_MARGIN_S = 2.0
"""a round may take so many times its nominal native one, and this"""
ATTEMPTS = 3
"""at a round, as long as this host is too busy for it"""
MakeShaping = Callable[[Sequence[Schedule], float], Shaping]


class Rounds:
    """The model and the rounds that train it."""

    def __init__(
        self, scenario: Scenario, profile: Profile, dilation: float, link: Link,
        clusterer: Callable[[], Clusterer], shaping: MakeShaping = Pacing,
    ) -> None:  # fmt: skip
        work = scenario.workload
        self._scenario, self._profile, self._link = scenario, profile, link
        self._dilation, self._clusterer = dilation, clusterer
        self._schedules, self._ways = schedule.of_devices(scenario), Ways(profile, work)
        self._shaping = shaping(self._schedules, dilation)
        self._cpu = PacedCpu(scenario.server.speed, dilation, sleep=link.nap)
        rehearse(work)
        self._test = data.load(work.dataset, work.data_dir)[1]
        self.restart(seed=0)
        self.rewind(seed=0)

    def restart(self, seed: int) -> None:
        """Fresh weights."""
        work = self._scenario.workload
        self._model = models.build(work.model, seed)
        self._shapes = Shapes(self._model, work.batch_size)

    def rewind(self, seed: int) -> None:
        """Back to round 0; ``seed`` draws the devices' batches."""
        self._tracker = Tracker(self._scenario, self._profile, self._clusterer())
        self._figures: FleetFigures | None = None
        self._round, self._seed = 0, seed
        self._server_speed = self._scenario.server.speed

    def admit(self, device: int, peer: int) -> None:
        """A device has joined."""
        self._shaping.admit(self._link, device, peer)

    def run(
        self, peers: dict[int, int], command: RunRound, other: Callable[[Received], None]
    ) -> RoundReport:
        """One round of the devices in ``peers`` (device -> peer), which shrinks as they are lost.

        When this host was too busy for the emulated pace, and nobody late for it, it is run again
        from the same weights. What is not about the round goes to ``other``. Raises RunError for
        rows that cannot be, and when no device is left.
        """
        for attempt in range(1, ATTEMPTS + 1):
            played = self._play(peers, command, other)
            if played.valid or played.late or attempt == ATTEMPTS:
                break
            log.warning("round %d: this host was overloaded: once more", self._round)
        return self._close(command.command, peers, played, attempt)

    def _play(
        self, peers: dict[int, int], command: RunRound, other: Callable[[Received], None]
    ) -> Played:
        starts = {device: self._start(device, command) for device in peers}
        sessions = {device: self._session(device) for device in sorted(peers)}
        # a late device's chunks may still be on their way when the weights change
        weights = [array.copy() for array in export_state(self._model)]
        self._cpu.take()
        most_s = self._deadline_s()
        start_s = time.monotonic()
        self._shaping.begin(self._round, start_s, most_s)
        ServerRound(
            number=self._round,
            link=self._link,
            cpu=self._cpu,
            dilation=self._dilation,
            work_s=self._server_work_s,
            weights=weights,
            sessions=sessions,
            peers=peers,
            other=other,
        ).run(starts, start_s + most_s * self._dilation)
        if not peers:
            raise RunError(f"round {self._round}: no device is left")
        return Played(sessions, (time.monotonic() - start_s) / self._dilation, self._cpu.take())

    def _start(self, device: int, command: RunRound) -> RoundStart:
        return RoundStart(
            round=self._round,
            seed=self._seed,
            row=row_of(device, command, self._figures, self._scenario, self._profile),
            figures=self._figures,
        )

    def _session(self, device: int) -> Session:
        work, n_opps = self._scenario.workload, len(self._scenario.board_of(device).opps)
        return Session(device, n_opps, models.build(work.model, 0), self._shapes, self._ways)

    def _server_work_s(self, row: Row) -> float:
        return server_s(self._profile, way_of(row), self._scenario.workload.batch_size)

    def _deadline_s(self) -> float:
        """From the native round under the rates that the scenario names for this round."""
        fleet = fleets.of_devices(self._profile, self._scenario)
        at = schedule.nominal(self._scenario, self._schedules, self._round)
        native_s = cost.round_s(fleet, cost.joint(fleet, at, fleet.native()))[0]
        return float(native_s) * DEADLINE_FACTOR + DEADLINE_MARGIN_S

    def _close(
        self, command: int, peers: Mapping[int, int], played: Played, attempts: int
    ) -> RoundReport:
        """Average, evaluate and tell."""
        seen = played.telemetry
        alive = {device: row for device, row in played.late.items() if device in peers}
        if played.states:  # all trained as many samples: the scenario's, not what they claim
            ones = [1] * len(played.states)
            load_state(self._model, federate.average(played.states, ones))
        self._measure_server(played)
        if not self._figures and (alive or not seen):
            late = list(played.late)
            raise RunError(f"devices {late} did not finish the warm-up round in time")
        if seen or self._tracker.knows_any(alive):
            self._figures = self._tracker.update(
                self._round, seen, alive, played.round_s, self._server_speed
            )
        report = RoundReport(
            command=command,
            round=self._round,
            round_s=played.round_s,
            telemetry=seen,
            late=list(played.late),
            decisions=played.decisions,
            figures=self._known_figures(),
            accuracy=federate.accuracy(self._model, self._test),
            valid=played.valid,
            attempts=attempts,
        )
        self._round += 1
        return report

    def _known_figures(self) -> FleetFigures:
        if self._figures is None:
            raise RunError("no figures before the warm-up round")
        return self._figures

    def _measure_server(self, played: Played) -> None:
        work_s = sum(
            session.batches * self._server_work_s(session.row)
            for session in played.sessions.values()
            if session.row
        )
        if played.server.wall_s > 0 and work_s > 0:
            self._server_speed = float(np.clip(work_s / played.server.wall_s, 1e-3, 1e5))
