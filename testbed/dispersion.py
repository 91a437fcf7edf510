"""How fast a link is, seen from where its chunks arrive.

The rate is that of chunks that followed the one before without a pause: all chunks of a message but
the first, and the first one as well if its message was queued before the chunk before it had
arrived. So the micro-batches of a batch tell the rate together, where each alone is too short.

The clocks of sender and receiver differ. The least time from the queueing of a message to its first
chunk's arrival is that difference and the way through an idle link, or more than that: so no pause
is taken for work of the link.
"""

import math

from adaptoff.testbed.wire import LEAST_BPS, MOST_BPS, Data

MIN_DISPERSION_BYTES = 32 << 10
"""fewer bytes give no rate"""
MIN_FIRST_BYTES = 8 << 10
"""a first chunk shorter than that takes programs more time than the link"""
MIN_RUN_BYTES = 16 << 10
"""between two pauses: both ends of a shorter run are timed too badly"""
CLOCKS_S = 10.0
"""for so long two clocks run alike and the way through a link remains what it is"""
ROUNDING_S = 1e-6
RECENT_S = 0.25
"""of transfers make a rate to rely on: after a loss TCP gives nothing for a while, then much"""


class Least:
    """The least of what was added within 10 to 20 seconds (``CLOCKS_S``)."""

    def __init__(self) -> None:
        self._before = self._now = math.inf
        self._since_s = -math.inf

    @property
    def value(self) -> float:
        """Infinity if there is none."""
        return min(self._before, self._now)

    def add(self, value: float, now_s: float) -> None:
        """Count it in."""
        if now_s - self._since_s > 2 * CLOCKS_S:
            self._now = math.inf
        if now_s - self._since_s > CLOCKS_S:
            self._before, self._now, self._since_s = self._now, math.inf, now_s
        self._now = min(self._now, value)


class Recent:
    """The mean rate of about the last ``RECENT_S`` that were measured."""

    def __init__(self) -> None:
        self._nbytes = self._time_s = 0.0

    def add(self, nbytes: int, rate_bps: float) -> float:
        """Count in ``nbytes``, more than 0, that went at ``rate_bps``; returns the mean, bit/s."""
        self._nbytes += nbytes
        self._time_s += 8 * nbytes / rate_bps
        mean_bps = 8 * self._nbytes / self._time_s
        kept = min(1.0, RECENT_S / self._time_s)
        self._nbytes, self._time_s = kept * self._nbytes, kept * self._time_s
        return mean_bps


class Dispersion:
    """Bytes without a pause before them, and the time that they took, until they make a rate."""

    def __init__(self) -> None:
        self._nbytes, self._time_s = 0, 0.0
        self._run_bytes, self._run_s = 0, 0.0
        """since the last pause"""
        self._last_s: float | None = None
        """when the last chunk arrived, None until a message begins undisturbed"""
        self._way_s = Least()

    def disturb(self) -> None:
        """Something was lost or comes again: what was counted is void, and so is this message."""
        self._nbytes = self._run_bytes = 0
        self._time_s = self._run_s = 0.0
        self._last_s = None

    def add(self, data: Data, nbytes: int, now_s: float) -> None:
        """The chunk that was due has arrived, with ``nbytes``."""
        if data.queued_s is None:
            self.disturb()
            return
        if self._last_s is not None and self._follows(data, data.queued_s, nbytes, self._last_s):
            self._run_bytes += nbytes
            self._run_s += now_s - self._last_s
        else:
            self._pause()
        if data.offset == 0:
            self._way_s.add(now_s - data.queued_s, now_s)
        if data.offset == 0 or self._last_s is not None:
            self._last_s = now_s

    def take(self) -> tuple[int, float] | None:
        """Bytes and their rate in bit/s, if they are enough; they are counted once."""
        if self._run_bytes >= MIN_RUN_BYTES:
            self._pause()
        if self._nbytes < MIN_DISPERSION_BYTES or self._time_s <= 0:
            return None
        nbytes, rate_bps = self._nbytes, 8 * self._nbytes / self._time_s
        self._nbytes, self._time_s = 0, 0.0
        return nbytes, min(max(rate_bps, LEAST_BPS), MOST_BPS)

    def _pause(self) -> None:
        if self._run_bytes >= MIN_RUN_BYTES:
            self._nbytes += self._run_bytes
            self._time_s += self._run_s
        self._run_bytes, self._run_s = 0, 0.0

    def _follows(self, data: Data, queued_s: float, nbytes: int, last_s: float) -> bool:
        if data.offset > 0:
            return True
        there_s = queued_s + self._way_s.value
        return nbytes >= MIN_FIRST_BYTES and there_s <= last_s + ROUNDING_S
