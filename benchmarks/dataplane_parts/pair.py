"""A sender and a receiver, each in a process of its own, as the benchmark drives them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self, cast

HERE = Path(__file__).parents[1]
BARE, BARE_CURVE, LINK, LINK_CURVE = "zmq", "zmq curve", "link", "link curve"
PICKLE, RAW = "pickle", "raw"
KINDS = RAW, PICKLE, BARE, LINK, BARE_CURVE, LINK_CURVE


class Streamed(NamedTuple):
    """``nbytes`` of tensors went from one application to the other."""

    nbytes: int
    time_s: float
    cpu_s: float
    """of both processes"""

    @property
    def goodput_bps(self) -> float:
        """Bits per second."""
        return 8 * self.nbytes / self.time_s

    @property
    def cpu_s_per_gb(self) -> float:
        """CPU seconds per 10^9 bytes."""
        return self.cpu_s / self.nbytes * 1e9


class Pair:
    """Ends of one kind at ``address``; ``inside`` has what is put before the command of each."""

    def __init__(
        self, kind: str, keys: Path, address: str = "127.0.0.1",
        inside: tuple[Sequence[str], Sequence[str]] = ((), ()), *, fresh: bool = False,
    ) -> None:  # fmt: skip
        sender, receiver = inside
        heap = "fresh" if fresh else "grown"
        self._receiver = _start(receiver, kind, "receive", address, keys, heap)
        self._sender = _start(sender, kind, "send", _answer(self._receiver)[0], keys, heap)

    def stream(self, count: int, nbytes: int) -> Streamed:
        """``count`` tensors, one right after the other."""
        self._order(f"stream {count} {nbytes}")
        begun_s, sender_cpu_s = map(float, _answer(self._sender))
        ended_s, receiver_cpu_s = map(float, _answer(self._receiver))
        return Streamed(count * nbytes, ended_s - begun_s, sender_cpu_s + receiver_cpu_s)

    def exchange_bps(self, count: int, nbytes: int) -> float:
        """``count`` tensors each way at once: bits per second of the slower way."""
        self._order(f"exchange {count} {nbytes}")
        (up_s, had_down_s), (down_s, had_up_s) = (
            map(float, _answer(end)) for end in (self._sender, self._receiver)
        )
        return 8 * count * nbytes / max(had_up_s - up_s, had_down_s - down_s)

    def ping(self, count: int) -> list[float]:
        """Seconds of each round trip."""
        self._order(f"ping {count}")
        _answer(self._receiver)
        return [float(word) for word in _answer(self._sender)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for end in (self._sender, self._receiver):
            with end:
                if error:
                    end.kill()

    def _order(self, order: str) -> None:
        for end in (self._receiver, self._sender):
            stdin = cast(IO[str], end.stdin)
            stdin.write(order + "\n")
            stdin.flush()


def _start(inside: Sequence[str], *arguments: str | Path) -> subprocess.Popen[str]:
    command = [*inside, sys.executable, "-m", "dataplane_parts", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=HERE, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _answer(end: subprocess.Popen[str]) -> list[str]:
    line = cast(IO[str], end.stdout).readline()
    if not line:
        raise SystemExit("an end of the benchmark ended; it said why above")
    return line.split()
