"""A server without any training: telemetry of devices that control themselves in, figures out.

Devices join as in the testbed (Hello, Welcome) and are told the round that is on (RoundStart). Each
reports when its loop is done with a round, and says which row it takes next. What ends a round is
in ``fleet_rounds``; the figures then go to everyone with the next RoundStart.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from adaptoff.errors import Deadline, LinkError, Malformed
from adaptoff.messages import (
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
from adaptoff.testbed.hub import Hub
from adaptoff.testbed.joining import complaint
from adaptoff.testbed.keys import ServerKeys
from adaptoff.testbed.link import Link, Received
from adaptoff.testbed.tracker import Clusterer, OwnCluster

log = logging.getLogger(__name__)

DEADLINE_S = 20.0
IDLE_S = 5.0
"""between two looks when nothing comes"""


class FleetServer(Hub):
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
        self.on_round: Callable[[FleetRound], None] = lambda _: None
        """hears of each round that is over"""
        super().__init__(Link.bind(endpoint, keys=keys), policies)

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
            self._hand_out()
            self._tell_devices(self._rounds.start)

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
            self._refuse(peer, wrong)
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

    def _forget(self, device: int) -> None:
        del self._devices[device]
        self._rounds.forget(device)
