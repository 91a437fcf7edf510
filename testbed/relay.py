"""Delay, jitter and loss without netem: a cable between two interfaces that is slow to hand over.

``python relay.py NEAR FAR DELAY_S JITTER_S LOSS`` joins them, in the namespace that it is started
in, prints a line once it does, and goes on until it is killed. Each direction delays a frame by
DELAY_S give or take JITTER_S (uniform, each frame for itself) and loses it with probability LOSS.
Frames never overtake each other: one with a short delay waits for the one before it.

Imports the standard library alone, so that it starts quickly with ``-S``. Headers of the kernel's
offloading travel with the frames (PACKET_VNET_HDR), so nothing needs to be turned off.
"""

import math
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
MAX_FRAME_BYTES = 10 + 14 + (1 << 16)
BUFFER_BYTES = 4 << 20
"""what may arrive while this process waits for its turn; less where only root may ask for it"""
MAX_FRAMES = 1 << 16
"""under way at a time; more are lost. At 100 ms that is 7.6 Gbit/s of full frames"""
REST_S = 0.0005
"""after frames came: more of them are up to this late to be seen, and go up to this early"""
TURN_FRAMES = 128
"""taken in a row before others are handed over"""


class Way:
    """One direction: what ``source`` gets is sent from ``sink``, by whose errors it is lost."""

    def __init__(
        self, source: socket.socket, sink: socket.socket,
        delay_s: float, jitter_s: float, loss: float,
        draw: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self.source, self._sink = source, sink
        self._delay_s, self._jitter_s, self._loss = delay_s, jitter_s, loss
        self._draw = draw
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._last_s = -math.inf

    @property
    def due_s(self) -> float:
        """When to hand over next; infinity if nothing waits."""
        return self._waiting[0][0] if self._waiting else math.inf

    def take(self, now_s: float) -> None:
        """Frames that have arrived, TURN_FRAMES at most."""
        with suppress(OSError):  # none is left, or the cable was cut
            for _ in range(TURN_FRAMES):
                frame = self.source.recv(MAX_FRAME_BYTES)
                if self._draw() >= self._loss and len(self._waiting) < MAX_FRAMES:
                    self._waiting.append((self._when(now_s), frame))

    def give(self, now_s: float) -> None:
        """All that is due."""
        while self.due_s <= now_s:
            _, frame = self._waiting.popleft()
            with suppress(OSError):  # a full queue behind it, or a cut cable
                self._sink.send(frame)

    def _when(self, now_s: float) -> float:
        strays_s = self._jitter_s * (2 * self._draw() - 1)
        self._last_s = max(self._last_s, now_s + self._delay_s + strays_s)
        return self._last_s


def tap(interface: str) -> socket.socket:
    """All frames that arrive at an interface of this namespace; raises OSError."""
    tapped = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        tapped.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        tapped.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        tapped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        with suppress(PermissionError):
            tapped.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        tapped.settimeout(0)
        tapped.bind((interface, ETH_P_ALL))
    except BaseException:
        tapped.close()
        raise
    return tapped


def relay(ways: tuple[Way, Way]) -> None:
    """For ever."""
    sources = [way.source for way in ways]
    while True:
        due_s = min(way.due_s for way in ways)
        wait_s = None if due_s == math.inf else max(due_s - time.monotonic(), 0.0)
        ready, _, _ = select.select(sources, [], [], wait_s)
        now_s = time.monotonic()
        for way in ways:
            way.take(now_s)
            way.give(now_s + REST_S)
        if ready:
            time.sleep(REST_S)


def main() -> None:
    """Both directions alike."""
    near, far = (tap(name) for name in sys.argv[1:3])
    delay_s, jitter_s, loss = (float(word) for word in sys.argv[3:])
    ways = [Way(*ends, delay_s, jitter_s, loss) for ends in ((near, far), (far, near))]
    print(flush=True)  # noqa: T201
    relay((ways[0], ways[1]))


if __name__ == "__main__":
    main()
