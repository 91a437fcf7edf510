"""Messages between processes: what the application calls.

A ``Link`` runs one thread, ``pump``, that owns one ZeroMQ socket: ROUTER at the server, DEALER at
devices and the driver. The protocol itself is in ``peers``, without sockets. One lock guards it:
the application takes it for a call, the thread for a multipart.

Rates and times are those of the local clock: an application that dilates time divides by itself.
"""

import contextlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Self

from adaptoff import notify
from adaptoff.closing import Closing
from adaptoff.errors import Deadline, LinkError, PeerLost
from adaptoff.messages import AnyMessage, Fault
from adaptoff.testbed import wire
from adaptoff.testbed.keys import ClientKeys, ServerKeys
from adaptoff.testbed.pace import RateAt
from adaptoff.testbed.peer import SERVER, Received
from adaptoff.testbed.peers import Peers
from adaptoff.testbed.pump import Pump
from adaptoff.testbed.transfer import Config
from adaptoff.testbed.wire import Array

__all__ = ["SERVER", "Config", "Link", "Rates", "Received", "Ticket"]


class Ticket(NamedTuple):
    """A message on its way; see ``Link.wait_sent``."""

    peer: int
    number: int


class Rates(NamedTuple):
    """Payload bits per second, None where nothing was measured."""

    in_bps: float | None
    out_bps: float | None


class Link(Closing):
    """One end of the data plane; a context manager. Made by ``bind`` or ``connect``.

    Arrays that are sent must not change until the message was acknowledged. On a server, ``to`` is
    the ``peer`` of what was received; elsewhere the only peer is ``SERVER``.
    """

    def __init__(
        self, endpoints: Sequence[str], config: Config | None,
        keys: ServerKeys | ClientKeys | None, *, server: bool,
    ) -> None:  # fmt: skip
        config = config or Config()
        session = secrets.randbelow(2**63 - 1) + 1
        self._peers = Peers(config, session, time.monotonic(), server=server)
        self._state = threading.Condition()
        self._waiting = 0
        self._touched_s = time.monotonic()
        self._watchdog = notify.Watchdog()
        self._pump = Pump(self._peers, self._state, self._alive, keys)
        self.endpoints = [self._pump.attach(endpoint) for endpoint in endpoints]
        self._pump.start()

    @classmethod
    def bind(
        cls, endpoint: str | Sequence[str] = "tcp://127.0.0.1:*", config: Config | None = None,
        keys: ServerKeys | None = None,
    ) -> Self:  # fmt: skip
        """A server at one or several endpoints, all of them plain or all with ``keys``.

        ``endpoints`` have the ports that were taken. Raises LinkError.
        """
        endpoints = [endpoint] if isinstance(endpoint, str) else endpoint
        return cls(endpoints, config, keys, server=True)

    @classmethod
    def connect(
        cls, endpoint: str, config: Config | None = None, keys: ClientKeys | None = None
    ) -> Self:
        """A device or driver; the server may come later. Raises LinkError for a bad endpoint."""
        return cls([endpoint], config, keys, server=False)

    @property
    def endpoint(self) -> str:
        """The first one."""
        return self.endpoints[0]

    def send(
        self,
        message: AnyMessage,
        arrays: Iterable[Array] = (),
        to: int = SERVER,
        timeout_s: float = 0.0,
    ) -> Ticket:
        """Queue a message. If the peer's queue is full, wait up to ``timeout_s`` for room.

        Raises PeerLost, Deadline (still full), BadTensor or Oversize.
        """
        encoded = wire.encode(message, arrays, self._peers.config.limits)
        end_s = time.monotonic() + timeout_s
        with self._application():
            self._wait(lambda: self._peers.has_room(to, encoded.total_bytes), end_s, "room to send")
            ticket = Ticket(to, self._peers.push(to, encoded, time.monotonic()))
        self._pump.wake()
        return ticket

    def wait_sent(self, ticket: Ticket, timeout_s: float) -> None:
        """Wait until the message has wholly arrived. Raises PeerLost or Deadline."""
        end_s = time.monotonic() + timeout_s
        with self._application():
            self._wait(
                lambda: self._peers[ticket.peer].sender.acked_messages > ticket.number,
                end_s,
                f"acknowledgement of message {ticket.number}",
            )

    def recv(self, timeout_s: float) -> Received:
        """The next message. Raises Deadline; and PeerLost, but on a server that is an item."""
        end_s = time.monotonic() + timeout_s
        with self._application():
            self._wait(lambda: bool(self._peers.items), end_s, "message")
            return self._peers.take()

    def refuse(self, peer: int, reason: str) -> None:
        """Tell a peer that it may not take part, and count it as refused. Raises PeerLost."""
        with self._application():
            self._peers.refused += 1
        self.send(Fault(reason=reason), to=peer)

    def rates(self, peer: int = SERVER) -> Rates:
        """Of what was lately measured in each direction. Raises PeerLost."""
        with self._application():
            state = self._peers[peer]
            return Rates(state.receiver.rate_bps, state.sender.rate_bps)

    def take_rates(self, peer: int = SERVER) -> Rates:
        """Mean over all bytes measured since the last call. Raises PeerLost."""
        with self._application():
            state = self._peers[peer]
            return Rates(state.total_in.take(), state.total_out.take())

    def shape(self, peer: int, rate: float | RateAt | None) -> None:
        """Pace data to ``peer``, in payload bits/s or as a function of ``time.monotonic()``.

        None ends it. Acknowledgements and beats are not paced. Raises PeerLost.
        """
        with self._application():
            self._peers.shape(peer, rate, time.monotonic())
        self._pump.wake()

    def touch(self) -> None:
        """Say that the application is alive; every other call does so too."""
        self._touched_s = time.monotonic()

    def nap(self, seconds: float) -> None:
        """Sleep and stay alive: what paces long blocks of computing."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.touch()
            time.sleep(min(left_s, 1.0))

    def set_dilation(self, dilation: float) -> None:
        """Multiply all times by ``dilation`` from now on (a device learns it after connecting)."""
        with self._application():
            self._peers.config.dilation = dilation

    @property
    def heard_s(self) -> float | None:
        """When the server was last heard, by ``time.monotonic()``; None before, and once lost."""
        with self._state:
            try:
                heard_s = self._peers[SERVER].heard_s
            except PeerLost:
                return None
        return heard_s if heard_s < math.inf else None

    @property
    def malformed(self) -> int:
        """How often something arrived that broke the protocol."""
        return self._peers.malformed

    @property
    def refused(self) -> int:
        """How often somebody was not let in, or not as whom it said it was."""
        return self._peers.refused

    def close(self) -> None:
        """Tell the peers, end the thread, close the socket; what is queued is dropped."""
        self._pump.stop()

    # --- the application's side of the lock

    @contextlib.contextmanager
    def _application(self) -> Iterator[None]:
        self.touch()
        with self._state:
            self._check_open()
            yield
        self.touch()

    def _check_open(self) -> None:
        if self._pump.failure is not None:
            raise LinkError("the link failed") from self._pump.failure
        if self._pump.closing:
            raise LinkError("the link is closed")

    def _wait(self, ready: Callable[[], bool], end_s: float, what: str) -> None:
        self._waiting += 1
        try:
            while not ready():
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    raise Deadline(f"no {what} in time")
                self._state.wait(min(left_s, threading.TIMEOUT_MAX))
                self._check_open()
        finally:
            self._waiting -= 1

    def _alive(self, now_s: float) -> bool:
        """Whether the application is, which a service manager is told as well."""
        config = self._peers.config
        alive = self._waiting > 0 or now_s - self._touched_s < config.hang_s * config.dilation
        if alive:
            self._watchdog.alive()
        return alive
