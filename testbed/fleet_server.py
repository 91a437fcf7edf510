"""A server without any training: telemetry of devices that control themselves in, figures out.

Devices join as in the testbed (Hello, Welcome) and are told the round that is on (RoundStart). Each
reports when its loop is done with a round, and says which row it takes next. What ends a round is
in ``fleet_rounds``; the figures then go to everyone with the next RoundStart.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from adaptoff.errors import Deadline, LinkError, Malformed
from adaptoff.messages import (
    AnyMessage,
    Bye,
    Decision,
    Fault,
    Hello,
    PolicyAnswer,
    Report,
    Welcome,
)  # fmt: skip
from adaptoff.policy_store import PolicyStore
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.fleet_rounds import FleetRound, FleetRounds
from adaptoff.testbed.joining import complaint
from adaptoff.testbed.keys import ServerKeys
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.rollout import Rollout
from adaptoff.testbed.tracker import Clusterer, OwnCluster
from adaptoff.testbed.wire import Array

log = logging.getLogger(__name__)

DEADLINE_S = 20.0
IDLE_S = 5.0
"""between two looks when nothing comes"""


class FleetServer:
    """Serves the devices of one scenario; a context manager."""

    def __init__(
        self, scenario: Scenario, profile: Profile,
        endpoint: str | Sequence[str] = "tcp://127.0.0.1:*",
        clusterer: Callable[[], Clusterer] = OwnCluster, keys: ServerKeys | None = None,
        deadline_s: float = DEADLINE_S, policies: PolicyStore | None = None,
    ) -> None:  # fmt: skip
        """``deadline_s``: from the first report of a round, for the others.

        The policy in use in ``policies`` is handed out to the devices. Raises LinkError.
        """
        self._welcome = Welcome(scenario=scenario, profile=profile, dilation=1.0, paced=False)
        self._count = len(scenario.each_device())
        self._rounds = FleetRounds(scenario, profile, clusterer(), deadline_s)
        self._devices: dict[int, int] = {}
        """device -> peer"""
        self._rollout = Rollout(policies, self._hand) if policies else None
        self.on_round: Callable[[FleetRound], None] = lambda _: None
        """hears of each round that is over"""
        self._link = Link.bind(endpoint, keys=keys)

    @property
    def endpoint(self) -> str:
        """Where devices connect to."""
        return self._link.endpoint

    @property
    def present(self) -> frozenset[int]:
        """Devices that are here; any thread may ask."""
        return frozenset(self._devices)

    @property
    def refused(self) -> int:
        """How often somebody was not let in."""
        return self._link.refused

    def serve(self) -> None:
        """Without end: what ends it is an interrupt, or LinkError when it is closed."""
        while True:
            self.turn(IDLE_S)

    def turn(self, timeout_s: float) -> None:
        """Hear one word, if it comes in time, and close the round if it is over."""
        left_s = self._rounds.left_s()
        with suppress(Deadline):
            self._handle(self._link.recv(timeout_s if left_s is None else min(timeout_s, left_s)))
        if self._rounds.is_over():
            self.on_round(self._rounds.close())
            if self._rollout:
                self._rollout.tend(self._devices.values())
            for peer in self._devices.values():
                self._hand(peer, self._rounds.start)

    def close(self) -> None:
        """Send everybody home; a second call does nothing."""
        self._link.close()

    def __enter__(self) -> Self:
        """The server itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Close it."""
        self.close()

    def _handle(self, got: Received) -> None:
        message = got.message
        device = next((d for d, peer in self._devices.items() if peer == got.peer), None)
        if isinstance(message, Hello) and device is None:
            with suppress(LinkError):  # gone before it was welcome, or it does not listen
                self._join(got.peer, message, got.who)
        elif device is None:
            log.info("ignored: %s of peer %d", type(message).__name__, got.peer)
        elif got.lost or isinstance(message, Bye | Fault):
            log.warning("device %d is gone: %s", device, message)
            self._forget(device)
        else:
            self._hear(device, got)

    def _hear(self, device: int, got: Received) -> None:
        """Take its word; a device that says what cannot be is sent away."""
        try:
            if isinstance(got.message, Report):
                self._rounds.report(device, got.message.telemetry)
            elif isinstance(got.message, Decision):
                self._rounds.decided(device, got.message)
            elif isinstance(got.message, PolicyAnswer) and self._rollout:
                self._rollout.heard(got.peer, got.message)
        except Malformed as error:
            log.warning("device %d is sent away: %s", device, error)
            self._forget(device)
            self._hand(got.peer, Fault(reason=str(error)[:1000]))

    def _join(self, peer: int, hello: Hello, who: str | None) -> None:
        if wrong := self._complaint(hello, who):
            log.warning("peer %d refused: %s", peer, wrong)
            self._link.refuse(peer, wrong)
            return
        self._link.send(self._welcome, to=peer)
        self._link.send(self._rounds.start, to=peer)
        self._devices[hello.device] = peer
        self._rounds.admit(hello.device)

    def _complaint(self, hello: Hello, who: str | None) -> str | None:
        wrong = complaint(hello, who, count=self._count, present=self._devices)
        if wrong is None and hello.role == "driver":
            return "there is nothing to drive: this server has figures only"
        return wrong

    def _hand(self, peer: int, message: AnyMessage, arrays: Sequence[Array] = ()) -> None:
        with suppress(LinkError):  # comes as news of its own
            self._link.send(message, arrays, to=peer)

    def _forget(self, device: int) -> None:
        del self._devices[device]
        self._rounds.forget(device)
