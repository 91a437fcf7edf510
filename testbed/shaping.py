"""A link's schedule as the pacer wants it: wall-clock bits per second at a wall-clock moment."""

from adaptoff.schedule import Schedule


class Shaper:
    """One direction of one link; ``rate_at`` is handed to the sending end."""

    def __init__(self, schedule: Schedule, dilation: float, *, up: bool) -> None:
        self._schedule, self._dilation, self._direction = schedule, dilation, 0 if up else 1
        self._round, self._start_s = 0, 0.0

    def begin(self, round_: int, now_s: float) -> None:
        """A round starts."""
        self._round, self._start_s = round_, now_s

    def rate_at(self, now_s: float) -> float:
        """Dilated rate: a slow second is ``dilation`` wall seconds."""
        elapsed_s = max(now_s - self._start_s, 0.0) / self._dilation
        return self._schedule.rates_bps(self._round, elapsed_s)[self._direction] / self._dilation
