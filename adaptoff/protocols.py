"""The seams: what can be swapped without the rest noticing."""

from typing import Protocol

from adaptoff.fleet import Fleet, Outcome, Rows


class Clock(Protocol):
    """Monotonic time; injected, so that no test sleeps."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Actuator(Protocol):
    """Sets a device's clock."""

    def set_opp(self, opp: int) -> int:
        """Ask for an operating point; returns the one applied."""


class FleetBackend(Protocol):
    """A fleet that can run rounds: emulated (many at once) or live (one)."""

    @property
    def fleet(self) -> Fleet:
        """The static facts, leading axes (fleets, clusters)."""

    def reset(self, seed: int) -> Outcome:
        """Rewind the links, run one native warm-up round and return it."""

    def apply(self, rows: Rows) -> Outcome:
        """Run one round with these levers."""

    def close(self) -> None:
        """Release everything; a second call does nothing."""
