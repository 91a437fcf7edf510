"""Federated rounds: start the devices, average what comes in time, and say what it was."""

import time
from collections.abc import Callable, Mapping

import numpy as np

from adaptoff import cost, schedule
from adaptoff import fleet as fleets
from adaptoff.errors import RunError
from adaptoff.messages import FleetFigures, RoundReport, RoundStart, RunRound
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed import data, federate, models
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.orders import row_of
from adaptoff.testbed.server_round import ServerRound
from adaptoff.testbed.session import Session, Shapes
from adaptoff.testbed.shaping import Shaper
from adaptoff.testbed.split import State, export_state, load_state, rehearse
from adaptoff.testbed.tracker import Clusterer, Tracker

DEADLINE_FACTOR = 4.0
DEADLINE_MARGIN_S = 2.0
"""a round may take so many times its nominal native one, and this"""
PACE_TOLERANCE = 1.02


class Rounds:
    """The model and the rounds that train it."""

    def __init__(
        self, scenario: Scenario, profile: Profile, dilation: float, link: Link,
        clusterer: Callable[[], Clusterer],
    ) -> None:  # fmt: skip
        work = scenario.workload
        self._scenario, self._profile, self._link = scenario, profile, link
        self._dilation, self._clusterer = dilation, clusterer
        self._schedules = schedule.of_devices(scenario)
        self._shapers = [Shaper(s, dilation, up=False) for s in self._schedules]
        self._cpu = PacedCpu(scenario.server.speed, dilation, sleep=link.nap)
        rehearse(models.build(work.model, 0), work.batch_size, models.INPUT_SHAPE)
        self._test = data.load(work.dataset)[1]
        self._server_work_s = profile.column("server_s", work.batch_size)
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
        """Shape what is sent to a device."""
        self._link.shape(peer, self._shapers[device].rate_at)

    def run(
        self, peers: dict[int, int], command: RunRound, other: Callable[[Received], None]
    ) -> RoundReport:
        """One round of the devices in ``peers`` (device -> peer), which shrinks as they are lost.

        What is not about the round goes to ``other``. Raises RunError for rows that cannot be, and
        when no device is left.
        """
        starts = {device: self._start(device, command) for device in peers}
        sessions = {device: self._session(device) for device in peers}
        # a late device's chunks may still be on their way when the weights change
        weights = [array.copy() for array in export_state(self._model)]
        self._cpu.take()
        start_s = time.monotonic()
        for device in peers:
            self._shapers[device].begin(self._round, start_s)
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
        ).run(starts, start_s + self._deadline_s() * self._dilation)
        if not peers:
            raise RunError(f"round {self._round}: no device is left")
        round_s = (time.monotonic() - start_s) / self._dilation
        return self._close(command.command, peers, sessions, round_s)

    def _start(self, device: int, command: RunRound) -> RoundStart:
        return RoundStart(
            round=self._round,
            seed=self._seed,
            row=row_of(device, command, self._figures, self._scenario, self._profile),
            figures=self._figures,
        )

    def _session(self, device: int) -> Session:
        work, n_opps = self._scenario.workload, len(self._scenario.board_of(device).opps)
        return Session(device, n_opps, models.build(work.model, 0), self._shapes, work)

    def _deadline_s(self) -> float:
        """From the native round under the rates that the scenario names for this round."""
        boards = [self._scenario.board_of(device) for device in range(len(self._schedules))]
        fleet = fleets.build(self._profile, self._scenario, boards, [1] * len(boards))
        at = schedule.nominal(self._scenario, self._schedules, self._round)
        native_s = cost.round_s(fleet, cost.joint(fleet, at, fleet.native()))[0]
        return float(native_s) * DEADLINE_FACTOR + DEADLINE_MARGIN_S

    def _close(
        self, command: int, peers: Mapping[int, int], sessions: Mapping[int, Session],
        round_s: float,
    ) -> RoundReport:  # fmt: skip
        """Average, evaluate and tell; what is not complete now is late."""
        done = {d: s for d, s in sorted(sessions.items()) if s.done}
        late = {d: s.row for d, s in sorted(sessions.items()) if d not in done}
        alive = {d: row for d, row in late.items() if d in peers}
        seen = [s.telemetry for s in done.values() if s.telemetry is not None]
        self._average(done)
        busy = self._measure_server(sessions)
        if not self._figures and (alive or not seen):
            raise RunError(f"devices {list(late)} did not finish the warm-up round in time")
        if seen or self._tracker.knows_any(alive):
            self._figures = self._tracker.update(
                self._round, seen, alive, round_s, self._server_speed
            )
        report = RoundReport(
            command=command,
            round=self._round,
            round_s=round_s,
            telemetry=seen,
            late=list(late),
            decisions=[s.decision for s in sessions.values() if s.decision],
            figures=self._known_figures(),
            accuracy=federate.accuracy(self._model, self._test),
            valid=max([busy, *(t.pace_error for t in seen)]) <= PACE_TOLERANCE,
        )
        self._round += 1
        return report

    def _known_figures(self) -> FleetFigures:
        if self._figures is None:
            raise RunError("no figures before the warm-up round")
        return self._figures

    def _average(self, done: Mapping[int, Session]) -> None:
        states: list[State] = [s.state for s in done.values() if s.state is not None]
        if states:  # all trained the same number of samples: the scenario's, not what they claim
            load_state(self._model, federate.average(states, [1] * len(states)))

    def _measure_server(self, sessions: Mapping[int, Session]) -> float:
        """Update the measured speed; returns the pace error."""
        busy = self._cpu.take()
        work_s = sum(s.batches * self._server_work_s[s.row.cut] for s in sessions.values() if s.row)
        if busy.wall_s > 0 and work_s > 0:
            self._server_speed = float(np.clip(work_s / busy.wall_s, 1e-3, 1e5))
        return busy.error
