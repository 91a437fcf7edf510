"""Federated rounds: start the devices, train their server halves, average what comes in time."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress

import numpy as np

from adaptoff import cost, schedule
from adaptoff import fleet as fleets
from adaptoff.controller import translate
from adaptoff.errors import Deadline, PeerLost, RunError, WireError
from adaptoff.messages import (
    GONE,
    Activations,
    AnyMessage,
    Decision,
    Fault,
    FleetFigures,
    Gradient,
    Report,
    RoundDone,
    RoundReport,
    RoundStart,
    Row,
    Weights,
)  # fmt: skip
from adaptoff.profile import Profile
from adaptoff.scenario import Board, Scenario
from adaptoff.testbed import data, federate, models
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.session import Array, Session, Shapes
from adaptoff.testbed.shaping import Shaper
from adaptoff.testbed.split import State, export_state, load_state, rehearse
from adaptoff.testbed.tracker import Clusterer, Tracker

log = logging.getLogger(__name__)

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
        self, peers: dict[int, int], rows: Sequence[Row] | None,
        other: Callable[[Received], None],
    ) -> RoundReport:  # fmt: skip
        """One round of the devices in ``peers`` (device -> peer), which shrinks as they are lost.

        ``rows`` has one row a cluster; without it the devices decide. What is not about the round
        goes to ``other``. Raises RunError when no device is left.
        """
        # a late device's chunks may still be on their way when the weights change
        self._start_state = [array.copy() for array in export_state(self._model)]
        starts = {device: self._start(device, rows) for device in peers}
        sessions = {device: self._session(device) for device in peers}
        begun = dict(peers)
        self._cpu.take()
        start_s = time.monotonic()
        deadline_s = start_s + self._deadline_s() * self._dilation
        for device, peer in peers.items():
            self._shapers[device].begin(self._round, start_s)
            self._send(starts[device], to=peer)
        while any(peers.get(d) == begun[d] and not s.done for d, s in sessions.items()):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:  # what is queued now is late, however much it is
                break
            try:
                got = self._link.recv(left_s)
            except Deadline:
                break
            self._dispatch(got, peers, sessions, other)
        if not peers:
            raise RunError(f"round {self._round}: no device is left")
        return self._close(peers, sessions, (time.monotonic() - start_s) / self._dilation)

    def _session(self, device: int) -> Session:
        work, n_opps = self._scenario.workload, len(self._board(device).opps)
        return Session(device, n_opps, models.build(work.model, 0), self._shapes, work)

    def _deadline_s(self) -> float:
        """From the native round under the rates that the scenario names for this round."""
        boards = [self._board(device) for device in range(len(self._schedules))]
        fleet = fleets.build(self._profile, self._scenario, boards, [1] * len(boards))
        at = schedule.nominal(self._scenario, self._schedules, self._round)
        native_s = cost.round_s(fleet, cost.joint(fleet, at, fleet.native()))[0]
        return float(native_s) * DEADLINE_FACTOR + DEADLINE_MARGIN_S

    def _board(self, device: int) -> Board:
        return self._scenario.boards[self._scenario.each_device()[device].board]

    def _start(self, device: int, rows: Sequence[Row] | None) -> RoundStart:
        return RoundStart(
            round=self._round,
            seed=self._seed,
            row=self._row(device, rows),
            figures=self._figures,
        )

    def _row(self, device: int, rows: Sequence[Row] | None) -> Row | None:
        """The cluster's row at the device's nearest OPP; native in its own first round."""
        board = self._board(device)
        cluster = self._figures.clusters[device] if self._figures else GONE
        if self._figures is None or cluster == GONE:
            return Row(cut=self._profile.native, opp=len(board.opps) - 1)
        if rows is None:
            return None
        if cluster >= len(rows):
            raise RunError(f"{len(rows)} rows for cluster {cluster}: one a cluster is needed")
        low, cut = min(self._scenario.workload.min_cut, self._profile.native), rows[cluster].cut
        if not low <= cut <= self._profile.native:
            raise RunError(f"cut {cut}: min_cut allows {low} to {self._profile.native}")
        like = self._board(self._figures.telemetry[cluster].device)
        return translate(rows[cluster], like, board)

    def _dispatch(
        self, got: Received, peers: dict[int, int], sessions: Mapping[int, Session],
        other: Callable[[Received], None],
    ) -> None:  # fmt: skip
        device = next((d for d, peer in peers.items() if peer == got.peer), None)
        session = None if device is None else sessions.get(device)
        if device is None or session is None or got.lost:
            other(got)
            return
        try:
            self._handle(got, session)
        except WireError as error:
            log.warning("device %d is sent away: %s", device, error)
            self._send(Fault(reason=str(error)[:1000]), to=got.peer)
            del peers[device]

    def _handle(self, got: Received, session: Session) -> None:
        """One message of a device that takes part; words of earlier rounds are ignored."""
        message = got.message
        match message:
            case Decision() if message.round == self._round:
                weights = session.begin(message, self._start_state)
                answer = Weights(round=self._round, cut=message.row.cut)
                self._send(answer, weights, to=got.peer)
            case Activations() if message.round == self._round:
                self._train(got, message, session)
            case RoundDone() if message.round == self._round:
                session.finish(message.cut, got.arrays)
            case Report() if message.telemetry.round == self._round:
                session.report(message.telemetry)
            case _:
                log.info("ignored: %s", type(message).__name__)

    def _train(self, got: Received, message: Activations, session: Session) -> None:
        gradient = session.train(message.batch, got.arrays, self._pace)
        answer = Gradient(
            round=self._round,
            batch=message.batch,
            server_s=max(time.monotonic() - got.finished_s, 0) / self._dilation,
        )
        self._send(answer, [] if gradient is None else [gradient], to=got.peer)

    def _pace(self, cut: int) -> AbstractContextManager[None]:
        return self._cpu.block(self._server_work_s[cut])

    def _send(self, message: AnyMessage, arrays: Sequence[Array] = (), *, to: int) -> None:
        """Send to a device; that it is gone comes as news of its own."""
        with suppress(PeerLost):
            self._link.send(message, arrays, to=to)

    def _close(
        self, peers: Mapping[int, int], sessions: Mapping[int, Session], round_s: float
    ) -> RoundReport:
        """Average, evaluate and tell; what is not complete now is late."""
        done = {d: s for d, s in sorted(sessions.items()) if s.done}
        late = [device for device in sorted(sessions) if device not in done]
        self._average(done)
        busy = self._measure_server(sessions)
        seen = [s.telemetry for s in done.values() if s.telemetry is not None]
        alive = [device for device in late if device in peers]
        if not self._figures and (alive or not seen):
            raise RunError(f"devices {late} did not finish the warm-up round in time")
        if seen:
            self._figures = self._tracker.update(
                self._round, seen, alive, round_s, self._server_speed
            )
        report = RoundReport(
            round=self._round,
            round_s=round_s,
            telemetry=seen,
            late=late,
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
        work_s = sum(
            s.batches * self._server_work_s[s.decision.row.cut]
            for s in sessions.values()
            if s.decision
        )
        if busy.wall_s > 0 and work_s > 0:
            self._server_speed = float(np.clip(work_s / busy.wall_s, 1e-3, 1e5))
        return busy.error
