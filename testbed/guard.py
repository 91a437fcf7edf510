"""Who is let in: requests of ZAP (ZeroMQ's RFC 27) and failed handshakes of an encrypted link.

Everything happens in the thread of the link, between two reads. pyzmq's Authenticator wants a
thread or an event loop of its own, and cannot say who was refused.
"""

import collections
import logging
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

from adaptoff.errors import KeysError
from adaptoff.testbed.keyfiles import AUTHORIZED, read_authorized
from adaptoff.testbed.keys import ClientKeys, ServerKeys

log = logging.getLogger(__name__)

EVENT = struct.Struct("=Hi")
"""of a monitor: number and value; pyzmq's own reader would load asyncio and ssl on a board"""
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
LOG_S = 1.0
"""between two lines about refusals: whoever knocks must not fill the log"""
FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
"""at a server: of plain text, whoever notices first hangs up, and each event tells of one side"""
UNKNOWN = "a client without keys, with another server's, or one that hung up"
WHY_NOT: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: f"the server's {AUTHORIZED} does not list this key",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the server was started without keys",
}
"""what a client is to think of a failed handshake"""


class AllowList:
    """Names by public key, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._names: dict[str, str] = {}

    def name_of(self, public: str) -> str | None:
        """The name that a public key (Z85) is listed under; None if the file cannot be used."""
        try:
            self._refresh()
        except (KeysError, OSError) as error:
            log.warning("nobody is let in: %s", error)
            self._stamp, self._names = None, {}
        return self._names.get(public)

    def _refresh(self) -> None:
        found = self._path.stat()
        stamp = found.st_mtime_ns, found.st_ino, found.st_size
        if stamp != self._stamp:
            self._names = {key: name for name, key in read_authorized(self._path).items()}
            self._stamp = stamp


class ServerGuard:
    """Lets in whom the allow-list names, and counts the others."""

    def __init__(
        self, context: zmq.Context[Any], router: zmq.Socket[Any], keys: ServerKeys
    ) -> None:
        self._allowed = AllowList(keys.authorized)
        self._events = Events(router, FAILED)
        self._zap: zmq.Socket[Any] = context.socket(zmq.REP)
        self._zap.set(zmq.LINGER, 0)
        self._zap.bind(ZAP_ENDPOINT)
        self.sockets = [self._zap, self._events.socket]
        self._logged_s = 0.0

    def refusals(self) -> list[str]:
        """Answer who wants in; returns why somebody was not let in, for each who was not."""
        reasons = [f"not in {AUTHORIZED}: {who}" for who in self._answered()]
        reasons += [UNKNOWN for _ in self._events.drain()]
        now_s = time.monotonic()
        if reasons and now_s - self._logged_s >= LOG_S:
            self._logged_s = now_s
            log.warning("%d refused, the last: %s", len(reasons), reasons[-1])
        return reasons

    def close(self) -> None:
        """Close its sockets; from then on nobody is let in."""
        self._events.close()
        self._zap.close()

    def _answered(self) -> Iterator[str]:
        """Answer all requests; yields those that were refused."""
        while True:
            try:
                request = self._zap.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            _version, number, _domain, address, _identity, mechanism, *credentials = request
            key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" else ""
            name = self._allowed.name_of(key)
            verdict = [b"200", b"OK", name.encode()] if name else [b"400", b"not listed", b""]
            self._zap.send_multipart([b"1.0", number, *verdict, b""])
            if name is None:
                yield f"{key} from {address.decode(errors='replace') or 'this machine'}"


class ClientGuard:
    """Notices that the server does not let this end in: ZeroMQ alone would wait forever."""

    def __init__(self, dealer: zmq.Socket[Any]) -> None:
        self._events = Events(dealer, sum(WHY_NOT))
        self.sockets = [self._events.socket]

    def refusals(self) -> list[str]:
        """Why the server did not let this end in, for each time."""
        return [WHY_NOT[event] for event in self._events.drain()]

    def close(self) -> None:
        """Close its socket."""
        self._events.close()


class Events:
    """Events of a socket, read by the thread that owns it."""

    def __init__(self, watched: zmq.Socket[Any], events: int) -> None:
        self._watched = watched
        self.socket = watched.get_monitor_socket(events)

    def drain(self) -> Iterator[int]:
        """What has happened since the last time."""
        while True:
            try:
                said = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield EVENT.unpack(said[0])[0]

    def close(self) -> None:
        """End the watch; before the watched socket is closed."""
        # ZeroMQ's own thread holds the lock of the watch while it waits for room in a full queue
        collections.deque(self.drain(), maxlen=0)
        self._watched.disable_monitor()
        self.socket.close(linger=0)


def guard(
    context: zmq.Context[Any], made: zmq.Socket[Any], keys: ServerKeys | ClientKeys | None
) -> ServerGuard | ClientGuard | None:
    """The guard of a socket before it is bound or connected, with CURVE set; None without keys."""
    if keys is None:
        return None
    keys.secure(made)
    return ServerGuard(context, made, keys) if isinstance(keys, ServerKeys) else ClientGuard(made)
