"""The server's side of one round: what devices say, until all are done or the time is up."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

from adaptoff.errors import Deadline, Malformed, PeerLost, WireError
from adaptoff.messages import (
    Activations,
    AnyMessage,
    Decision,
    Fault,
    Gradient,
    PolicyAnswer,
    Report,
    RoundDone,
    RoundStart,
    Row,
    Weights,
)  # fmt: skip
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.session import Array, Session
from adaptoff.testbed.split import State
from adaptoff.testbed.turns import Place, Turns

log = logging.getLogger(__name__)

DRAIN = 256
"""messages taken in at one go before a micro-batch gets its turn"""


@dataclass
class ServerRound:
    """One round of the devices in ``peers``; messages of earlier rounds are ignored."""

    number: int
    link: Link
    cpu: PacedCpu
    dilation: float
    work_s: Callable[[Row], float]
    """of the server's half of a batch, in seconds of a reference core"""
    weights: State
    """global, at the start"""
    sessions: dict[int, Session]
    """by device"""
    peers: dict[int, int]
    """device -> peer; shrinks as they are lost"""
    other: Callable[[Received], None]
    """takes what is not about the round"""
    _turns: Turns = field(default_factory=Turns)
    _answered_s: dict[int, float] = field(default_factory=dict)
    """when each device got its last gradient, wall clock"""

    def run(self, starts: dict[int, RoundStart], deadline_s: float) -> None:
        """Start everybody and serve them until ``deadline_s`` of the wall clock at the latest."""
        begun = dict(self.peers)
        for device, peer in begun.items():
            with self._sent_away(device):
                self._send(starts[device], to=peer)
        while any(self.peers.get(d) == begun[d] and not s.done for d, s in self.sessions.items()):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:  # what is queued now is late, however much it is
                return
            try:
                self._hear(left_s)
                if self._turns:
                    self._serve()
            except Deadline:
                return

    def _hear(self, left_s: float) -> None:
        """Take in what has come; wait for something only where no micro-batch waits for us."""
        if not self._turns:
            self._dispatch(self.link.recv(left_s))
        for got in self._arrived():
            self._dispatch(got)

    def _arrived(self) -> Iterator[Received]:
        with suppress(Deadline):
            for _ in range(DRAIN):
                yield self.link.recv(0.0)

    def _dispatch(self, got: Received) -> None:
        device = next((d for d, peer in self.peers.items() if peer == got.peer), None)
        session = None if device is None else self.sessions.get(device)
        if device is None or session is None or got.lost or isinstance(got.message, PolicyAnswer):
            self.other(got)
            return
        with self._sent_away(device):
            self._handle(got, session)

    @contextmanager
    def _sent_away(self, device: int) -> Iterator[None]:
        """Do without a device that broke the protocol inside."""
        try:
            yield
        except WireError as error:
            log.warning("device %d is sent away: %s", device, error)
            with suppress(WireError):
                self._send(Fault(reason=str(error)[:1000]), to=self.peers.pop(device))

    def _handle(self, got: Received, session: Session) -> None:
        message = got.message
        match message:
            case Decision() if message.round == self.number:
                weights = session.begin(message, self.weights)
                answer = Weights(round=self.number, cut=message.row.cut)
                self._send(answer, weights, to=got.peer)
            case Activations() if message.round == self.number:
                session.arrive(Place(message.batch, message.part), got.arrays)
                self._turns.add(session.device, got)
            case RoundDone() if message.round == self.number:
                session.finish(message.cut, got.arrays)
            case Report() if message.telemetry.round == self.number:
                session.report(message.telemetry)
            case _:
                log.info("ignored: %s", type(message).__name__)

    def _serve(self) -> None:
        """One micro-batch, if its device is still there."""
        device, got = self._turns.take()
        if self.peers.get(device) == got.peer and isinstance(got.message, Activations):
            with self._sent_away(device):
                self._train(got, got.message, self.sessions[device])

    def _train(self, got: Received, message: Activations, session: Session) -> None:
        place, device = Place(message.batch, message.part), session.device
        gradient = session.train(place, got.arrays, self._pace)
        self._turns.served(device, self.cpu.charged_s)
        since_s = max(got.finished_s, self._answered_s.get(device, 0.0))
        now_s = self._answered_s[device] = time.monotonic()
        answer = Gradient(
            round=self.number,
            batch=message.batch,
            part=message.part,
            uplink_s=got.transfer_s / self.dilation,
            server_s=max(now_s - since_s, 0.0) / self.dilation,
        )
        self._send(answer, gradient, to=got.peer)

    def _pace(self, row: Row, share: float) -> AbstractContextManager[None]:
        return self.cpu.block(self.work_s(row) * share)

    def _send(self, message: AnyMessage, arrays: Sequence[Array] = (), *, to: int) -> None:
        """Send to a device; that it is gone comes as news of its own.

        Raises Malformed where it has not taken what was sent for so long that no more is queued.
        """
        try:
            with suppress(PeerLost):
                self.link.send(message, arrays, to=to)
        except Deadline as error:
            raise Malformed(f"it takes nothing: {error}") from None
