"""A device's word to a fleet server that may come and go: reports up, figures down.

The messages are those of the testbed: Hello and Welcome, Report and Decision up, RoundStart with
the figures down. The server counts the rounds. Whenever the link is lost it is made anew, from
``tend``, which is called often and never waits; meanwhile there are no figures.
"""

import logging
import time

from adaptoff import __version__
from adaptoff.adopting import Adoption
from adaptoff.errors import Deadline, LinkError, RunError
from adaptoff.messages import (
    PROTOCOL,
    AnyMessage,
    Bye,
    Decision,
    Fault,
    FleetFigures,
    Hello,
    NewPolicy,
    Report,
    Reset,
    RoundStart,
    Telemetry,
    UsePolicy,
    Welcome,
)  # fmt: skip
from adaptoff.testbed.keys import ClientKeys
from adaptoff.testbed.link import Link, Received

log = logging.getLogger(__name__)

JOIN_S = 60.0
RETRY_S = 1.0
"""from the loss of a link to the next"""
WRONG_S = 30.0
"""the same, where the server is not the one that is wanted"""
TRAINS = "it trains a model of its own: figures alone come from adaptoff serve --figures-only"


class FleetLink:
    """The fleet of one device; ``close`` it at the end."""

    def __init__(
        self, endpoint: str, device: int, keys: ClientKeys | None, patience_s: float
    ) -> None:
        """``patience_s``: how long to wait for the figures of a round."""
        self._endpoint, self._device, self._keys = endpoint, device, keys
        self._patience_s = patience_s
        self._link: Link | None = None
        self._welcome: Welcome | None = None
        """the first one: a task that changes is another one"""
        self._start: RoundStart | None = None
        """the newest; None while this device is not in"""
        self._retry_at_s = 0.0
        self.round, self.why = 0, "not in the fleet yet"
        self.adoption: Adoption | None = None

    @property
    def heard_s(self) -> float | None:
        """When the server was last heard, by ``time.monotonic()``; None if it is not there."""
        link = self._link  # another thread may ask
        return link.heard_s if link else None

    def join(self) -> Welcome:
        """Wait for the task and its round. Raises Deadline if none comes, RunError if refused."""
        until_s = time.monotonic() + JOIN_S
        self._open()
        while self._welcome is None or self._start is None:
            if self._link is None:
                raise RunError(f"device {self._device}: {self.why}")
            if not self._hear(max(until_s - time.monotonic(), 0.0)) and self._link:
                raise Deadline(f"device {self._device}: {self._endpoint} {self._missing()}")
        return self._welcome

    def _missing(self) -> str:
        """What did not come within JOIN_S."""
        if self._welcome:
            return f"began no round within {JOIN_S:g} s: {TRAINS}"
        return f"did not answer within {JOIN_S:g} s: is the server up, and is server.pub its own?"

    def tend(self) -> None:
        """Hear what has come; make the link anew when it is time to."""
        if self._link is None and time.monotonic() >= self._retry_at_s:
            self._open()
        while self._link and self._hear(0.0):
            pass

    def report(self, seen: Telemetry, server_speed: float | None) -> FleetFigures | None:  # noqa: ARG002
        """The figures of the round ``seen``, for which others are waited for; None: none came.

        ``server_speed`` is not told: the server knows it from all devices.
        """
        until_s = time.monotonic() + self._patience_s
        if self._start and self._say(Report(telemetry=seen)):
            while self._start and self._start.round <= seen.round:
                if not self._hear(max(until_s - time.monotonic(), 0.0)) and self._start:
                    self.why = f"the server said nothing within {self._patience_s:g} s"
                    return None
        if self._start is None:
            self.round = seen.round + 1
            return None
        return self._start.figures

    def decided(self, decision: Decision) -> None:
        """Tell the row as applied."""
        if self._start:
            self._say(decision)

    def close(self) -> None:
        """Tell the server, and close."""
        if self._link:
            self._link.close()
            self._link = None

    def _open(self) -> None:
        self._link = Link.connect(self._endpoint, keys=self._keys)
        self._say(Hello(protocol=PROTOCOL, version=__version__, role="device", device=self._device))

    def _say(self, message: AnyMessage) -> bool:
        """Whether it could be sent."""
        try:
            if self._link:
                self._link.send(message)
        except LinkError as error:
            self._lose(str(error))
        return self._link is not None

    def _hear(self, timeout_s: float) -> bool:
        """Whether something came; a link that is lost is let go of."""
        try:
            if self._link:
                self._take(self._link.recv(timeout_s))
        except Deadline:
            return False
        except LinkError as error:
            self._lose(str(error))
        return self._link is not None

    def _take(self, got: Received) -> None:
        message = got.message
        match message:
            case Welcome():
                self._enter(message)
            case RoundStart():
                self._start, self.round = message, message.round
            case NewPolicy() if self.adoption:
                self._say(self.adoption.check(message, got.arrays))
            case UsePolicy() if self.adoption:
                self.adoption.use(message)
            case Reset():
                self._lose(TRAINS, WRONG_S)
            case Fault():
                self._lose(f"the server refused: {message.reason}")
            case Bye():
                self._lose("the server said goodbye")
            case _:
                log.info("ignored: %s", type(message).__name__)

    def _enter(self, welcome: Welcome) -> None:
        if welcome.paced or welcome.dilation != 1:
            self._lose(TRAINS, WRONG_S)
        elif self._welcome and self._welcome != welcome:
            another = "the server has another task than before: start adaptoff control anew"
            self._lose(another, WRONG_S)
        else:
            self._welcome = welcome

    def _lose(self, why: str, retry_s: float | None = None) -> None:
        self.close()
        self._start, self.why = None, why
        self._retry_at_s = time.monotonic() + (RETRY_S if retry_s is None else retry_s)
