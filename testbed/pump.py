"""The thread that owns the socket; with keys, ``guard`` has some more in the same thread.

It reads multiparts, feeds them and the time to ``Peers``, writes what comes back, and sleeps until
something arrives, the application calls, or the next chunk is due.
"""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from adaptoff.errors import LinkError
from adaptoff.testbed.guard import guard
from adaptoff.testbed.keys import ClientKeys, ServerKeys
from adaptoff.testbed.pace import MAX_CHUNK_BYTES
from adaptoff.testbed.peers import Multipart, Peers
from adaptoff.testbed.transfer import Config

HIGH_WATER = 2048
"""multiparts in ZeroMQ's own queues, per peer: more than a window of chunks and its answers"""
DRAIN = 256
"""multiparts read in one go before others get their turn"""
CURVE_BYTES = 64
"""more than encryption adds to a frame (33), which counts in ZeroMQ's own bound"""
LINGER_MS = 100
"""for the last acknowledgements: without it they die with the socket"""
READABLE = int(zmq.POLLIN)
NOW, NOW_AND_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
"""plain integers: to combine pyzmq's flags for each frame costs nearly as much as to send it"""


class Pump(threading.Thread):
    """Moves multiparts between ``peers`` and a socket; holds ``state`` whenever it is in ``peers``.

    ``alive(now_s)`` says whether the application deserves beats; ``state`` is notified of news.
    """

    def __init__(
        self, peers: Peers, state: threading.Condition, alive: Callable[[float], bool],
        keys: ServerKeys | ClientKeys | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name="adaptoff-link", daemon=True)
        self.closing = False
        self.failure: Exception | None = None
        self._peers = peers
        self._state = state
        self._alive = alive
        self._context = zmq.Context()
        self._socket = _open(self._context, peers.config, server=peers.server)
        self._guard = guard(self._context, self._socket, keys)
        self._named = isinstance(keys, ServerKeys)
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.settimeout(0)
        self._wake_out.settimeout(0)

    def attach(self, endpoint: str) -> str:
        """Bind or connect before the start; returns the endpoint with its port, or LinkError.

        May be called again for a further endpoint; after a failure all is closed.
        """
        try:
            if not self._peers.server:
                self._socket.connect(endpoint)
                return endpoint
            self._socket.bind(endpoint)
            return self._socket.get_string(zmq.LAST_ENDPOINT)
        except zmq.ZMQError as error:
            self._shut()
            raise LinkError(f"{endpoint}: {error}") from None

    def wake(self) -> None:
        """Have the thread look at ``peers`` now."""
        # a full pipe wakes as well, and a closed one needs no waking
        with contextlib.suppress(OSError):
            self._wake_in.send(b"w")

    def stop(self) -> None:
        """End the thread and wait for it; may be called again."""
        with self._state:
            self.closing = True
            self._state.notify_all()
        self.wake()
        self.join()

    def run(self) -> None:
        """Until ``stop``; an unexpected error ends it and is left in ``failure``."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_out.fileno(), zmq.POLLIN)
        for guarding in self._guard.sockets if self._guard else ():
            poller.register(guarding, zmq.POLLIN)
        try:
            while not self.closing:
                if self._wake_out.fileno() in _sleep_until(self._turn(), poller):
                    self._wake_out.recv(4096)
            with self._state:
                self._peers.leave()
                last = list(self._peers.outgoing(time.monotonic()))
            self._transmit(last)
        except Exception as error:
            self.failure = error
        finally:
            self._shut()

    def _shut(self) -> None:
        with self._state:
            self.closing = True
            self._state.notify_all()
        if self._guard:
            self._guard.close()
        self._socket.close()
        self._context.term()
        self._wake_in.close()
        self._wake_out.close()

    def _turn(self) -> float:
        """Read, think, write; returns when to do so again at the latest."""
        if self._guard and (reasons := self._guard.refusals()):
            with self._state:
                self._peers.shut_out(reasons)
        drained = self._receive()
        with self._state:
            now_s = time.monotonic()
            if drained:  # else a sign of life may still be in the socket
                self._peers.check(now_s, alive=self._alive(now_s))
            frames = list(self._peers.outgoing(now_s))
            wake_s = self._peers.wake_s(now_s) if drained else now_s
            if self._peers.news:
                self._peers.news = False
                self._state.notify_all()
        self._transmit(frames)
        return wake_s

    def _receive(self) -> bool:
        """Take what has come; returns whether that was all."""
        for _ in range(DRAIN):
            if not int(self._socket.get(zmq.EVENTS)) & READABLE:
                return True
            self._take()
        return False

    def _take(self) -> None:
        most = self._peers.config.limits.tensors + 3
        frames, whole = _read(self._socket, most)
        who = str(frames[0].get("User-Id")) if self._named else None
        route = frames.pop(0).bytes if self._peers.server else b""
        with self._state:
            if whole:
                parts = [frame.buffer for frame in frames]
                self._peers.receive(route, parts, time.monotonic(), who)
            else:
                self._peers.refuse(route, f"more than {most} frames")

    def _transmit(self, multiparts: list[Multipart]) -> None:
        for route, frames in multiparts:
            *first, last = [route, *frames] if self._peers.server else frames
            # what is not taken (queue full, route gone) is resent, or its peer found silent
            with contextlib.suppress(zmq.ZMQError):
                for frame in first:
                    self._socket.send(frame, NOW_AND_MORE, copy=False)
                self._socket.send(last, NOW, copy=False)


def _open(context: zmq.Context[Any], config: Config, *, server: bool) -> zmq.Socket[Any]:
    made: zmq.Socket[Any] = context.socket(zmq.ROUTER if server else zmq.DEALER)
    made.set(zmq.SNDHWM, HIGH_WATER)
    made.set(zmq.RCVHWM, HIGH_WATER)
    frame_bytes = max(MAX_CHUNK_BYTES, config.limits.header_bytes)
    made.set(zmq.MAXMSGSIZE, frame_bytes + CURVE_BYTES)
    # before bind: ZeroMQ's listener copies it for peers that leave while the socket closes, and
    # with the default of -1 the context would wait for them forever (libzmq issue 3252)
    made.set(zmq.LINGER, LINGER_MS)
    if server:
        made.set(zmq.ROUTER_MANDATORY, 1)
    return made


def _read(source: zmq.Socket[Any], most: int) -> tuple[list[zmq.Frame], bool]:
    """The multipart that is there, cut off after ``most`` frames, and whether it is whole."""
    frames: list[zmq.Frame] = []
    more = True
    while more:
        frame = source.recv(NOW, copy=False)
        more = frame.more
        if len(frames) <= most:
            frames.append(frame)
    return frames[:most], len(frames) <= most


def _sleep_until(wake_s: float, poller: zmq.Poller) -> dict[Any, int]:
    """Until ``wake_s`` or until something comes, which is returned.

    Polls are coarse: the last ms is slept.
    """
    left_s = wake_s - time.monotonic()
    if 0 < left_s < 0.001:
        time.sleep(left_s)
    return dict(poller.poll(None if left_s == math.inf else int(max(left_s, 0.0) * 1000)))
