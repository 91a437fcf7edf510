"""The edge server: who is there, and what the driver asks for.

One thread does everything in the order in which it arrives: it is the emulated server core which
the devices share. All seconds reported are emulated (wall / dilation).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from adaptoff.errors import Deadline, LinkError, PeerLost, RunError
from adaptoff.messages import (
    AnyMessage,
    Bye,
    Fault,
    Hello,
    PolicyAnswer,
    Reset,
    RoundReport,
    RunRound,
    Welcome,
)  # fmt: skip
from adaptoff.policy_store import PolicyStore
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.hub import Hub
from adaptoff.testbed.joining import complaint
from adaptoff.testbed.keys import ServerKeys
from adaptoff.testbed.link import Config, Link, Received
from adaptoff.testbed.rounds import MakeShaping, Rounds
from adaptoff.testbed.shaping import Pacing
from adaptoff.testbed.tracker import Clusterer, OwnCluster

log = logging.getLogger(__name__)

JOIN_S = 120.0
"""for all devices to say hello, and to answer a reset"""
NO_DRIVER_S = 600.0
GOODBYE_S = 0.2
IDLE_S = 3600.0
"""without a word of anybody the server gives up"""


class Server(Hub):
    """Serves one driver and the devices of one scenario."""

    def __init__(
        self, scenario: Scenario, profile: Profile, dilation: float = 1.0,
        endpoint: str | Sequence[str] = "tcp://127.0.0.1:*",
        clusterer: Callable[[], Clusterer] = OwnCluster, keys: ServerKeys | None = None,
        shaping: MakeShaping = Pacing, policies: PolicyStore | None = None,
    ) -> None:  # fmt: skip
        """``policies``: a directory whose policy is handed out to the devices."""
        super().__init__(Link.bind(endpoint, Config(dilation=dilation), keys), policies)
        self._welcome = Welcome(
            scenario=scenario, profile=profile, dilation=dilation, paced=shaping is Pacing
        )
        self._expected = len(scenario.each_device())
        self._rounds = Rounds(scenario, profile, dilation, self._link, clusterer, shaping)
        self._driver: int | None = None
        self._commands: deque[Reset | RunRound] = deque()
        self._command = 0
        """the one that is being carried out"""
        self._asker: int | None = None
        """the driver whose it is"""
        self._stays = False
        self._waiting: set[int] = set()
        """peers that have yet to answer its reset"""
        self.on_round: Callable[[RoundReport], None] = lambda _: None
        """hears of each round, before the driver does"""

    def serve(self, *, stay: bool = False) -> None:
        """Work until the driver leaves; with ``stay`` for one driver after another, without end.

        Raises Deadline if a driver says nothing for long, and without ``stay`` if none comes, and
        PeerLost if it vanishes.
        """
        self._stays = stay
        while True:
            while self._commands:
                self._attempt(self._commands.popleft())
            got = self._next()
            if got is None:
                continue
            if isinstance(got.message, Bye) and got.peer == self._driver and not stay:
                self._dismiss()
                return
            self._handle(got)

    def _next(self) -> Received | None:
        """The next word of anybody; None when it is time to look again."""
        thinking = self._driver is not None and not self._stays
        patience_s = IDLE_S if thinking else NO_DRIVER_S
        try:
            return self._link.recv(patience_s * self._welcome.dilation)
        except Deadline:
            if not self._stays:
                raise
        # a device that hears nothing for long takes it that the server hangs
        self._tell_devices(Reset(command=self._command, seed=0, restart=False))
        return None

    def _attempt(self, command: Reset | RunRound) -> None:
        """What fails is told to the driver; the server lives on."""
        self._command, self._asker = command.command, self._driver
        try:
            if isinstance(command, Reset):
                self._reset(command)
            else:
                self._run(command)
        except PeerLost:
            raise
        except RunError as error:
            log.warning("%s", error)
            self._answer(Fault(reason=str(error)[:1000], command=command.command))

    def _run(self, command: RunRound) -> None:
        self._hand_out()
        report = self._rounds.run(self._devices, command, self._handle)
        self.on_round(report)
        self._answer(report)

    def _reset(self, command: Reset) -> None:
        """All devices present and rewound, then the native warm-up."""
        everyone = set(range(self._expected))
        self._gather(lambda: everyone - self._devices.keys(), "join")
        self._waiting = set(self._devices.values())
        self._tell_devices(command)
        self._gather(lambda: {d for d, p in self._devices.items() if p in self._waiting}, "reset")
        if command.restart:
            self._rounds.restart(command.seed)
        self._rounds.rewind(command.seed)
        self._run(RunRound(command=command.command))

    def _gather(self, missing: Callable[[], set[int]], what: str) -> None:
        """Wait until no device is ``missing``; raises RunError that names them."""
        patience_s = JOIN_S * self._welcome.dilation
        until_s = time.monotonic() + patience_s
        while late := missing():
            left_s = until_s - time.monotonic()
            try:
                if left_s <= 0:  # whoever keeps talking must not keep us waiting
                    raise Deadline("the time is up")
                self._handle(self._link.recv(left_s))
            except Deadline:
                which = ", ".join(str(device) for device in sorted(late))
                raise RunError(f"devices {which} did not {what} within {patience_s:g} s") from None

    def _handle(self, got: Received) -> None:
        """Joining, leaving and what the driver asks for; anything else is out of place."""
        if got.lost or isinstance(got.message, Bye | Fault):
            self._leave(got)
        elif isinstance(got.message, Hello):
            with suppress(LinkError):  # gone before it was welcome, or it does not listen
                self._join(got.peer, got.message, got.who)
        elif isinstance(got.message, PolicyAnswer):
            if self._rollout:
                self._rollout.heard(got.peer, got.message)
        elif isinstance(got.message, Reset | RunRound) and got.peer == self._driver:
            self._commands.append(got.message)  # a driver that gave up waiting may be early
        elif isinstance(got.message, Reset) and got.message.command == self._command:
            self._waiting.discard(got.peer)
        else:
            log.info("ignored: %s of peer %d", type(got.message).__name__, got.peer)

    def _join(self, peer: int, hello: Hello, who: str | None) -> None:
        if wrong := self._complaint(hello, who):
            self._refuse(peer, wrong)
            return
        self._link.send(self._welcome, to=peer)
        if hello.role == "driver":
            self._driver = peer
        else:
            self._rounds.admit(hello.device, peer)
            self._devices[hello.device] = peer

    def _complaint(self, hello: Hello, who: str | None) -> str | None:
        wrong = complaint(hello, who, count=self._expected, present=self._devices)
        if wrong is None and hello.role == "driver" and self._driver is not None:
            return "there is a driver already"
        return wrong

    def _leave(self, got: Received) -> None:
        if got.peer == self._driver:
            if not self._stays:
                raise PeerLost("the driver is gone")
            self._driver = None
            self._commands.clear()
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

    def _answer(self, message: AnyMessage) -> None:
        """To the driver that asked; another one may be there by now."""
        if self._driver is None or self._driver != self._asker:
            return
        try:
            self._link.send(message, to=self._driver)
        except PeerLost:  # comes as news of its own
            if not self._stays:
                raise
