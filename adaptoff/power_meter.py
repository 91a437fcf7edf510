"""Energy that a board used: measured, or modelled where there is no sensor or it was not heard."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

from adaptoff.background import repeated
from adaptoff.power import MAX_W, Source


@dataclass(frozen=True)
class Energy:
    """Joules over seconds, and whether a sensor or a model says so."""

    joules: float
    seconds: float
    source: Literal["measured", "modelled"]


class PowerMeter:
    """Energy from one ``take`` to the next."""

    def __init__(self, source: Source | None, monotonic: Callable[[], float]) -> None:
        """``monotonic``: seconds since some moment; real ones, whatever time is emulated."""
        self._source, self._monotonic = source, monotonic
        self._lock = threading.Lock()
        self._since_s = monotonic()
        self._joules: float | None = 0.0
        if source:
            source.joules_since_last(self._since_s)

    @property
    def has_sensor(self) -> bool:
        """Whether anything is there to measure with."""
        return self._source is not None

    def sample(self) -> None:
        """Look at the sensor; for current monitors at least every MAX_GAP_S."""
        with self._lock:
            self._add(self._monotonic())

    def take(self, modelled_j: float) -> Energy:
        """Since the last call: measured, or ``modelled_j`` if a sample was missed."""
        with self._lock:
            now_s = self._monotonic()
            self._add(now_s)
            joules, seconds = self._joules, now_s - self._since_s
            self._joules, self._since_s = 0.0, now_s
        if joules is None or joules > MAX_W * seconds:
            return Energy(modelled_j, seconds, "modelled")
        return Energy(joules, seconds, "measured")

    def _add(self, now_s: float) -> None:
        joules = self._source.joules_since_last(now_s) if self._source else None
        self._joules = None if joules is None or self._joules is None else self._joules + joules


@contextmanager
def metered(
    source: Source | None, monotonic: Callable[[], float], every_s: float = 0.1
) -> Iterator[PowerMeter]:
    """A meter, whose sensor is sampled in a thread of its own for as long as the context lasts."""
    meter = PowerMeter(source, monotonic)
    with repeated(meter.sample, every_s, "power") if source else nullcontext():
        yield meter
