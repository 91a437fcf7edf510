"""The edge server: who is there, and what the driver asks for.

One thread does everything in the order in which it arrives: it is the emulated server core which
the devices share. All seconds reported are emulated (wall / dilation).
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from adaptoff import __version__
from adaptoff.errors import Deadline, LinkError, PeerLost, RunError
from adaptoff.messages import PROTOCOL, AnyMessage, Bye, Fault, Hello, Reset, RunRound, Welcome
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.link import Config, Link, Received
from adaptoff.testbed.rounds import Rounds
from adaptoff.testbed.tracker import Clusterer, OwnCluster

log = logging.getLogger(__name__)

JOIN_S = 120.0
"""for all devices to say hello, and to answer a reset"""
NO_DRIVER_S = 600.0
GOODBYE_S = 0.2
IDLE_S = 3600.0
"""without a word of anybody the server gives up"""


class Server:
    """Serves one driver and the devices of one scenario."""

    def __init__(
        self, scenario: Scenario, profile: Profile, dilation: float = 1.0,
        endpoint: str = "tcp://127.0.0.1:*", clusterer: Callable[[], Clusterer] = OwnCluster,
    ) -> None:  # fmt: skip
        self._link = Link.bind(endpoint, Config(dilation=dilation))
        self._welcome = Welcome(scenario=scenario, profile=profile, dilation=dilation)
        self._expected = len(scenario.each_device())
        self._rounds = Rounds(scenario, profile, dilation, self._link, clusterer)
        self._devices: dict[int, int] = {}
        self._driver: int | None = None
        self._waiting: set[int] = set()

    @property
    def endpoint(self) -> str:
        """Where devices and the driver connect to."""
        return self._link.endpoint

    def __enter__(self) -> Self:
        """The server itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Say goodbye and close."""
        self.close()

    def close(self) -> None:
        """Send everybody home; a second call does nothing."""
        self._link.close()

    def serve(self) -> None:
        """Work until the driver leaves; raises PeerLost if it vanishes, Deadline if none comes."""
        while True:
            patience_s = IDLE_S if self._driver is not None else NO_DRIVER_S
            got = self._link.recv(patience_s * self._welcome.dilation)
            match got.message:
                case Bye() if got.peer == self._driver:
                    self._dismiss()
                    return
                case Reset() if got.peer == self._driver:
                    self._attempt(partial(self._reset, got.message))
                case RunRound() if got.peer == self._driver:
                    self._attempt(partial(self._run, got.message))
                case _:
                    self._membership(got)

    def _attempt(self, work: Callable[[], None]) -> None:
        """What fails is told to the driver; the server lives on."""
        try:
            work()
        except RunError as error:
            if isinstance(error, PeerLost):
                raise
            log.warning("%s", error)
            self._answer(Fault(reason=str(error)[:1000]))

    def _run(self, command: RunRound) -> None:
        self._answer(self._rounds.run(self._devices, command.rows, self._membership))

    def _reset(self, command: Reset) -> None:
        """All devices present and rewound, then the native warm-up."""
        self._gather(lambda: len(self._devices) < self._expected, "to join")
        self._waiting = set(self._devices.values())
        self._tell_devices(command)
        self._gather(lambda: bool(self._waiting), "to reset")
        if command.restart:
            self._rounds.restart(command.seed)
        self._rounds.rewind(command.seed)
        self._run(RunRound(rows=None))

    def _gather(self, missing: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + JOIN_S * self._welcome.dilation
        while missing():
            try:
                if time.monotonic() >= until_s:
                    raise Deadline("a peer keeps talking")
                self._membership(self._link.recv(max(until_s - time.monotonic(), 0)))
            except Deadline:
                there = sorted(self._devices)
                raise RunError(
                    f"waited {JOIN_S:g} s for {self._expected} devices {what}; here: {there}"
                ) from None

    def _membership(self, got: Received) -> None:
        """Joining, resetting and leaving; anything else is out of place and ignored."""
        if got.lost or isinstance(got.message, Bye | Fault):
            self._leave(got)
        elif isinstance(got.message, Hello):
            with suppress(PeerLost):  # gone before it was welcome
                self._join(got.peer, got.message)
        elif isinstance(got.message, Reset):
            self._waiting.discard(got.peer)
        else:
            log.info("ignored: %s of peer %d", type(got.message).__name__, got.peer)

    def _join(self, peer: int, hello: Hello) -> None:
        if complaint := self._complaint(hello):
            log.warning("peer %d refused: %s", peer, complaint)
            self._link.send(Fault(reason=complaint), to=peer)
            return
        self._link.send(self._welcome, to=peer)
        if hello.role == "driver":
            self._driver = peer
        else:
            self._rounds.admit(hello.device, peer)
            self._devices[hello.device] = peer

    def _complaint(self, hello: Hello) -> str | None:
        if hello.protocol != PROTOCOL:
            return f"protocol {hello.protocol}, this server ({__version__}) speaks {PROTOCOL}"
        if hello.role == "driver":
            return "there is a driver already" if self._driver is not None else None
        if hello.device >= self._expected:
            return f"device {hello.device}: the scenario has 0 to {self._expected - 1}"
        return f"device {hello.device} is here already" if hello.device in self._devices else None

    def _leave(self, got: Received) -> None:
        if got.peer == self._driver:
            raise PeerLost("the driver is gone")
        for device, peer in list(self._devices.items()):
            if peer == got.peer:
                log.warning("device %d is gone: %s", device, got.message)
                del self._devices[device]
                self._waiting.discard(peer)

    def _dismiss(self) -> None:
        """Say goodbye and wait a moment until it was heard."""
        for peer in self._devices.values():
            with suppress(LinkError):
                self._link.wait_sent(self._link.send(Bye(), to=peer), GOODBYE_S)

    def _tell_devices(self, message: AnyMessage) -> None:
        for peer in self._devices.values():
            with suppress(PeerLost):  # comes as news of its own
                self._link.send(message, to=peer)

    def _answer(self, message: AnyMessage) -> None:
        if self._driver is not None:
            self._link.send(message, to=self._driver)
