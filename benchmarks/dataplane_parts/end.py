"""What an end can do, and how it is told: orders by standard input, answers by standard output."""

import resource
import time
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Role = Literal["send", "receive"]
SHORT_BYTES = 100
AHEAD = 4


class End(Protocol):
    """One end of a transport; either may send."""

    def send(self, array: Array) -> None:
        """Hand a C-contiguous array over."""

    def recv(self, nbytes: int) -> Array:
        """Wait for the next array, of ``nbytes``."""

    def close(self) -> None:
        """End it."""


def answer_with(*words: object) -> None:
    """One line on standard output."""
    print(*words, flush=True)


def stream(end: End, role: Role, count: int, nbytes: int) -> None:
    """``count`` tensors one way and a short answer; answers with a moment and CPU seconds.

    The moment is when the sender began, or when the receiver had all (CLOCK_MONOTONIC).
    """
    short, tensor = np.zeros(SHORT_BYTES, np.uint8), np.ones(nbytes // 4, np.float32)
    begun_cpu_s, at_s = cpu_s(), time.monotonic()
    if role == "send":
        for _ in range(count):
            end.send(tensor)
        end.recv(SHORT_BYTES)
    else:
        for _ in range(count):
            end.recv(nbytes)
        at_s = time.monotonic()
        end.send(short)
    answer_with(at_s, cpu_s() - begun_cpu_s)


def exchange(end: End, role: Role, count: int, nbytes: int) -> None:
    """``count`` tensors each way at once; answers with when it began and when it had all.

    ``AHEAD`` of them are sent before the first is received: the micro-batches of a batch.
    One each way comes first, as weights do in a round: both ends know the link then.
    """
    short, tensor = np.zeros(SHORT_BYTES, np.uint8), np.ones(nbytes // 4, np.float32)
    if role == "send":
        end.send(tensor)
        end.recv(nbytes)
        end.send(short)
    else:
        end.recv(nbytes)
        end.send(tensor)
        end.recv(SHORT_BYTES)
    begun_s = time.monotonic()
    for number in range(count):
        end.send(tensor)
        if number >= AHEAD:
            end.recv(nbytes)
    for _ in range(min(AHEAD, count)):
        end.recv(nbytes)
    answer_with(begun_s, time.monotonic())


def ping(end: End, role: Role, count: int) -> None:
    """Short messages there and back; the sender answers with the seconds of each."""
    short, times_s = np.zeros(SHORT_BYTES, np.uint8), []
    for _ in range(count):
        begun_s = time.perf_counter()
        if role == "send":
            end.send(short)
            end.recv(SHORT_BYTES)
            times_s.append(time.perf_counter() - begun_s)
        else:
            end.send(end.recv(SHORT_BYTES))
    answer_with(*times_s)


def cpu_s() -> float:
    """Seconds of CPU that all threads of this process have used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
