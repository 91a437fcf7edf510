"""A real board's computing: measured, never paced."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from adaptoff.testbed.cpu import Busy, Clock


class MeasuredCpu:
    """Measures blocks of computing, in wall seconds, and makes none of them wait."""

    speed = 1.0
    charged_s = 0.0
    """both only for those who pace"""

    def __init__(
        self, clock: Clock = time.perf_counter, cpu_clock: Clock = time.thread_time
    ) -> None:
        self._clock, self._cpu_clock = clock, cpu_clock
        self._cpu_s = self._wall_s = 0.0

    @contextmanager
    def block(self, work_s: float | None = None) -> Iterator[None]:  # noqa: ARG002
        """Measure what runs inside, in this thread, whatever it was profiled at."""
        start_s, cpu_start_s = self._clock(), self._cpu_clock()
        yield
        self._cpu_s += self._cpu_clock() - cpu_start_s
        self._wall_s += self._clock() - start_s

    def take(self) -> Busy:
        """Sums since the last call; no pace was asked for, so it was kept."""
        busy = Busy(self._cpu_s, self._wall_s, 1.0)
        self._cpu_s = self._wall_s = 0.0
        return busy
