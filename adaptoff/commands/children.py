"""Child processes that end with their parent, whatever ends it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

from adaptoff.errors import PeerLost, RunError

START_S = 60.0
LEAVE_S = 5.0
GRACE_S = 1.0


class Ready(msgspec.Struct):
    """The one line that a server prints when it can be reached."""

    endpoint: str


class Children:
    """Started by name, watched by ``check``, ended on exit."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Run ``adaptoff`` with ``arguments``; one compute thread, and no Ctrl-C of its own."""
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "adaptoff", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._running[name] = child
        return child

    def start_server(self, arguments: Sequence[str]) -> str:
        """Start the server and wait for its endpoint."""
        child = self.start("the server", arguments)
        line = child.stdout.readline() if child.stdout else b""
        try:
            return msgspec.json.decode(line, type=Ready).endpoint
        except msgspec.DecodeError:
            raise RunError(f"the server did not start (exit code {child.wait(START_S)})") from None

    def check(self) -> None:
        """Raise PeerLost if one of them ended."""
        for name, child in self._running.items():
            if (code := child.poll()) is not None:
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                raise PeerLost(f"{name} ended during the run ({how}): no result")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """After a run they leave by themselves; what does not is asked to, then made to end."""
        if kind is None:
            self._wait(LEAVE_S)
        for child in self._running.values():
            child.terminate()
        self._wait(GRACE_S)
        for child in self._running.values():
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
        self._running.clear()

    def _wait(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        for child in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(until_s - time.monotonic(), 0.0))
