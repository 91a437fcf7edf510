"""The server's side of one round: what devices say, until all are done or the time is up."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from adaptoff.errors import Deadline, PeerLost, WireError
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
    Weights,
)  # fmt: skip
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.session import Array, Session
from adaptoff.testbed.split import State

log = logging.getLogger(__name__)


@dataclass
class ServerRound:
    """One round of the devices in ``peers``; messages of earlier rounds are ignored."""

    number: int
    link: Link
    cpu: PacedCpu
    dilation: float
    work_s: Sequence[float]
    """(cuts,) of the server's half of a batch, in seconds of a reference core"""
    weights: State
    """global, at the start"""
    sessions: dict[int, Session]
    """by device"""
    peers: dict[int, int]
    """device -> peer; shrinks as they are lost"""
    other: Callable[[Received], None]
    """takes what is not about the round"""

    def run(self, starts: dict[int, RoundStart], deadline_s: float) -> None:
        """Start everybody and serve them until ``deadline_s`` of the wall clock at the latest."""
        begun = dict(self.peers)
        for device, peer in begun.items():
            self._send(starts[device], to=peer)
        while any(self.peers.get(d) == begun[d] and not s.done for d, s in self.sessions.items()):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:  # what is queued now is late, however much it is
                return
            try:
                self._dispatch(self.link.recv(left_s))
            except Deadline:
                return

    def _dispatch(self, got: Received) -> None:
        device = next((d for d, peer in self.peers.items() if peer == got.peer), None)
        session = None if device is None else self.sessions.get(device)
        if device is None or session is None or got.lost or isinstance(got.message, PolicyAnswer):
            self.other(got)
            return
        try:
            self._handle(got, session)
        except WireError as error:
            log.warning("device %d is sent away: %s", device, error)
            self._send(Fault(reason=str(error)[:1000]), to=got.peer)
            del self.peers[device]

    def _handle(self, got: Received, session: Session) -> None:
        message = got.message
        match message:
            case Decision() if message.round == self.number:
                weights = session.begin(message, self.weights)
                answer = Weights(round=self.number, cut=message.row.cut)
                self._send(answer, weights, to=got.peer)
            case Activations() if message.round == self.number:
                self._train(got, message, session)
            case RoundDone() if message.round == self.number:
                session.finish(message.cut, got.arrays)
            case Report() if message.telemetry.round == self.number:
                session.report(message.telemetry)
            case _:
                log.info("ignored: %s", type(message).__name__)

    def _train(self, got: Received, message: Activations, session: Session) -> None:
        gradient = session.train(message.batch, got.arrays, self._pace)
        answer = Gradient(
            round=self.number,
            batch=message.batch,
            server_s=max(time.monotonic() - got.finished_s, 0) / self.dilation,
        )
        self._send(answer, [] if gradient is None else [gradient], to=got.peer)

    def _pace(self, cut: int) -> AbstractContextManager[None]:
        return self.cpu.block(self.work_s[cut])

    def _send(self, message: AnyMessage, arrays: Sequence[Array] = (), *, to: int) -> None:
        """Send to a device; that it is gone comes as news of its own."""
        with suppress(PeerLost):
            self.link.send(message, arrays, to=to)
