"""What a service tells systemd: that it is ready, what it does, that it lives (``sd_notify(3)``).

Datagrams to the socket that $NOTIFY_SOCKET names; without it, as in a terminal, nothing is said.
A message that cannot be delivered is no reason to fail: a service manager that hears nothing acts.
"""

import logging
import os
import socket
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

MAX_STATUS_CHARACTERS = 200


def ready(status: str = "") -> None:
    """The start is over: what is local (policy, keys, clocks) is in order."""
    _say("READY=1", *_status(status))


def status(text: str) -> None:
    """What it does now: one line of ``systemctl status``."""
    _say(*_status(text))


def stopping() -> None:
    """The end has begun, on purpose."""
    _say("STOPPING=1")


class Watchdog:
    """Says that the loop which calls ``alive`` makes progress; systemd ends it when it does not.

    Never call it from a thread of its own: that would only tell that the thread lives.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Silent unless $WATCHDOG_USEC asks this process ($WATCHDOG_PID) to speak."""
        self._monotonic = monotonic
        self.interval_s = _watchdog_s() / 2
        """seconds between two messages, half of what systemd waits; 0 if it does not"""
        self._due_s = monotonic()

    def alive(self) -> None:
        """The loop has come by: at least every ``interval_s``, better twice as often."""
        now_s = self._monotonic()
        if self.interval_s and now_s >= self._due_s:
            self._due_s = now_s + self.interval_s
            _say("WATCHDOG=1")


def _status(text: str) -> list[str]:
    """On one line: another would be another message."""
    line = " ".join(text.split())
    return [f"STATUS={line[:MAX_STATUS_CHARACTERS]}"] if line else []


def _watchdog_s() -> float:
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0


def _say(*lines: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not lines or not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # Linux's abstract sockets are written so
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
            speaker.sendto("\n".join(lines).encode(errors="replace"), socket.MSG_DONTWAIT, address)
    except OSError as error:
        log.debug("NOTIFY_SOCKET: %s", error.strerror)
