"""User-space shaping: when a chunk's last byte would leave a link of a given rate.

A chunk is held back until its last byte would have left and is then sent at once, so that the
receiver's spacing of chunks is that of the link. Latency of the link is not modelled here.
Pure: the caller brings the time.
"""

import math
from collections.abc import Callable

MIN_CHUNK_BYTES = 64 << 10
MAX_CHUNK_BYTES = 4 << 20
CHUNK_S = 0.05
STEP_S = 0.01
"""a rate that varies by time is read this often"""
LATE_S = 0.02
"""a sender that comes this much late still loses no time of the link"""

RateAt = Callable[[float], float]


def choose_chunk_bytes(rate_bps: float | None, total_bytes: int) -> int:
    """50 ms of the rate within 64 KB and 4 MB; at least 4 chunks above 256 KB (for dispersion)."""
    wish = CHUNK_S * (rate_bps or 0.0) / 8
    return max(MIN_CHUNK_BYTES, int(min(wish, MAX_CHUNK_BYTES, total_bytes / 4)))


class Pacer:
    """The virtual clock of one direction of one link; it carries one chunk at a time.

    ``rate`` is in payload bits per second of the caller's clock: a number, or a function of the
    time. A rate of 0 holds the chunk back until the rate changes.
    """

    def __init__(self, rate: float | RateAt) -> None:
        self._rate = rate
        self._at_s = -math.inf
        self._bits = 0.0

    def set_rate(self, rate: float | RateAt, now_s: float) -> None:
        """Change the rate from ``now_s`` on; what has left of the present chunk stays gone."""
        self._advance(now_s)
        self._rate = rate

    def start(self, nbytes: int, ready_s: float, now_s: float) -> None:
        """Begin a chunk that has waited since ``ready_s``, after the one before has left."""
        self._advance(now_s)
        self._at_s = max(self._at_s, ready_s, now_s - LATE_S)
        self._bits = 8.0 * nbytes

    def due_s(self, now_s: float) -> float:
        """When the chunk's last byte leaves, if the present rate lasts; infinity at rate 0."""
        self._advance(now_s)
        if self._bits <= 0:
            return self._at_s
        rate_bps = self._rate_bps(self._at_s)
        return self._at_s + self._bits / rate_bps if rate_bps > 0 else math.inf

    def wake_s(self, now_s: float) -> float:
        """When to ask again: when due, or sooner where the rate may change until then."""
        due_s = self.due_s(now_s)
        return min(due_s, now_s + STEP_S) if callable(self._rate) else due_s

    def _rate_bps(self, at_s: float) -> float:
        return self._rate(at_s) if callable(self._rate) else self._rate

    def _advance(self, now_s: float) -> None:
        """Let bits leave until ``now_s``; stops at the moment when the last one is out."""
        while self._bits > 0 and self._at_s < now_s:
            step_s = now_s - self._at_s
            if callable(self._rate):
                step_s = min(step_s, STEP_S)
            rate_bps = self._rate_bps(self._at_s)
            if rate_bps * step_s >= self._bits:
                self._at_s += self._bits / rate_bps
                self._bits = 0.0
                return
            self._bits -= rate_bps * step_s
            self._at_s += step_s
