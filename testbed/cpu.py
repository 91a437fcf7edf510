"""Emulated clocks: a block of computing is stretched to what a slower core would take.

A block of ``work_s`` reference seconds is slept on until ``t0 + work_s * dilation / speed``. Work
that nobody has profiled counts as the CPU seconds it took, which neighbours on the host inflate.
Only the calling thread is measured: torch must compute in one thread. When a fleet asks for more
cores than there are, *dilation* stretches the whole experiment and figures are divided by it.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

USABLE_SHARE = 0.85
"""of the free cores: the rest is for sockets, copies and the system"""

Clock = Callable[[], float]


class Busy(NamedTuple):
    """What was computed since the last ``take``."""

    cpu_s: float
    """on the host"""
    wall_s: float
    """emulated: already divided by the dilation"""
    error: float
    """actual wall seconds over those asked: above 1.02 the host was overloaded"""


class PacedCpu:
    """A core of ``speed`` reference cores, ``dilation`` times slowed down.

    ``speed`` may be set at any time and holds from the next block on.
    """

    def __init__(
        self,
        speed: float,
        dilation: float = 1.0,
        clock: Clock = time.perf_counter,
        cpu_clock: Clock = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.speed = speed
        self._dilation = dilation
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._sleep = sleep
        self.charged_s = self._overslept_s = 0.0
        self._cpu_s = self._asked_s = self._actual_s = 0.0

    @contextmanager
    def block(self, work_s: float | None = None) -> Iterator[None]:
        """Pace what runs inside, in this thread; a block that raises is not stretched.

        Sleeps end late by some tenths of a millisecond, which the next block makes up for.

        It is charged with ``work_s`` seconds of a reference core, or else with the CPU seconds it
        took here; ``charged_s`` tells.
        """
        start_s, cpu_start_s = self._clock(), self._cpu_clock()
        yield
        cpu_s = self._cpu_clock() - cpu_start_s
        self.charged_s = cpu_s if work_s is None else work_s
        asked_s = self.charged_s * self._dilation / self.speed
        end_s = start_s + asked_s - self._overslept_s
        left_s = end_s - self._clock()
        if left_s > 0:
            self._sleep(left_s)
            self._overslept_s = self._clock() - end_s
        else:  # what was made up for is owed no more
            self._overslept_s = min(self._overslept_s, -left_s)
        self._cpu_s += cpu_s
        self._asked_s += asked_s
        self._actual_s += self._clock() - start_s

    def take(self) -> Busy:
        """Sums since the last call; without a block the error is 1."""
        error = self._actual_s / self._asked_s if self._asked_s > 0 else 1.0
        busy = Busy(self._cpu_s, self._actual_s / self._dilation, error)
        self._cpu_s = self._asked_s = self._actual_s = 0.0
        return busy


def choose_dilation(total_speed: float, server_speed: float, cores: float) -> float:
    """How much to slow down for a fleet and its server to fit into ``cores``; at least 1."""
    return max(1.0, (total_speed + server_speed) / (USABLE_SHARE * cores))


def free_cores(sample_s: float = 0.5) -> float:
    """Cores that this process may use and that were idle for ``sample_s``; at least half of them.

    A burst of others' work must not slow a whole experiment down: overload is seen, and told.
    """
    import psutil  # noqa: PLC0415 - an extra, needed here alone

    busy_share = psutil.cpu_percent(interval=sample_s) / 100.0
    return _usable_cores() * max(1.0 - busy_share, 0.5)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # macOS has none
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
