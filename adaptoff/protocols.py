"""The seams: what can be swapped without the rest noticing."""

from typing import Literal, Protocol

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


class Board(Actuator, Protocol):
    """A device's board, emulated or real: its clock, and what it makes of the work done.

    ``now_s`` are emulated seconds since some moment.
    """

    @property
    def speed(self) -> float:
        """In reference cores, at the OPP applied."""

    @property
    def opp(self) -> int:
        """The operating point applied."""

    @property
    def opp_left(self) -> int | None:
        """The one that still ran when it was last told of work; None if that is not known."""

    @property
    def temp_c(self) -> float:
        """Degrees when it was last told the time."""

    @property
    def temp_source(self) -> Literal["modelled", "measured"]:
        """Who says so."""

    def reset(self, now_s: float) -> None:
        """As at the start of an episode, at the fastest OPP."""

    def idle_until(self, now_s: float) -> None:
        """Nothing was done until ``now_s``."""

    def work_until(self, now_s: float, device_s: float, link_s: float) -> float:
        """That many seconds were computed and sent since the last call; returns modelled joules."""


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
