"""Child processes that end with their parent, whatever ends it."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

import msgspec

from adaptoff.errors import InputError, PeerLost, RunError

SERVER = "the server"
START_S = 900.0
"""for the server to measure its model; one that dies is seen at once"""
LEAVE_S = 5.0
GRACE_S = 1.0


LEAVE_WITH_STDIN = "ADAPTOFF_LEAVE_WITH_STDIN"
"""set for children: they end when their standard input does"""


class Ready(msgspec.Struct):
    """The one line that a server prints when it can be reached."""

    endpoint: str
    metrics: str | None = None
    """URL of its metrics"""


class Children:
    """Started by name, watched by ``check``, ended on exit."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, arguments: Sequence[str], prefix: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Run ``adaptoff`` with ``arguments``; one compute thread, and no Ctrl-C of its own.

        ``prefix`` is a command that runs it.

        Its standard input is a pipe that nobody writes to: it ends when this process does.
        """
        with _uninterrupted():  # a child that was started must be known, or nobody ends it
            child = subprocess.Popen(  # noqa: S603
                [*prefix, sys.executable, "-m", "adaptoff", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ
                | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", LEAVE_WITH_STDIN: "1"},
                start_new_session=True,
            )
            self._running[name] = child
        return child

    def start_server(self, arguments: Sequence[str], prefix: Sequence[str] = ()) -> str:
        """Start the server and wait for its endpoint; raises RunError, or InputError as it did."""
        child = self.start(SERVER, arguments, prefix)
        line = _line(child, START_S)
        try:
            return msgspec.json.decode(line, type=Ready).endpoint
        except msgspec.DecodeError:
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)
            said = f"it said {line[:80]!r}, exit code {child.poll()}"
            wrong = child.poll() == InputError.exit_code
            error = InputError if wrong else RunError
            raise error(f"the server did not start: {said}") from None

    def check(self) -> None:
        """Raise PeerLost if one of them ended."""
        for name, how in self.ended().items():
            raise PeerLost(f"{name} ended during the run ({how}): no result")

    def ended(self) -> dict[str, str]:
        """Those that ended by themselves, and how."""
        codes = {name: child.poll() for name, child in self._running.items()}
        return {
            name: signal.Signals(-code).name if code < 0 else f"exit code {code}"
            for name, code in codes.items()
            if code is not None
        }

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """After a run they leave by themselves; what does not is asked to, then made to end."""
        try:
            if kind is None:
                self._wait(LEAVE_S)
        finally:
            with _uninterrupted():
                self._end()

    def _end(self) -> None:
        for child in self._running.values():
            child.terminate()
        self._wait(GRACE_S)
        for child in self._running.values():
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    pipe.close()
        self._running.clear()

    def _wait(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        for child in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(until_s - time.monotonic(), 0.0))


def _line(child: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """What the child prints first; empty if it says nothing in time."""
    if child.stdout is None or not select.select([child.stdout], [], [], timeout_s)[0]:
        return b""
    return child.stdout.readline()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP wait until the end of the block."""
    came: list[tuple[int, FrameType | None]] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda *call: came.append(call)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for caught, _ in came[:1]:
        signal.raise_signal(caught)


def leave_with_stdin() -> None:
    """End this process when its standard input ends, if its parent asked for that."""
    if os.environ.get(LEAVE_WITH_STDIN):
        threading.Thread(target=_leave_at_end_of_stdin, daemon=True).start()


def _leave_at_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
