"""What came of a round before anything is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from adaptoff.messages import Decision, Row, Telemetry
from adaptoff.testbed.cpu import Busy
from adaptoff.testbed.session import Session
from adaptoff.testbed.split import State

PACE_TOLERANCE = 1.02


@dataclass(frozen=True)
class Played:
    """A round that is over; what is not complete now is late."""

    sessions: Mapping[int, Session]
    """by device, ascending"""
    round_s: float
    """emulated"""
    server: Busy

    @property
    def done(self) -> list[Session]:
        """Of those that made it."""
        return [session for session in self.sessions.values() if session.done]

    @property
    def late(self) -> dict[int, Row | None]:
        """Rows, as far as known, of the devices that did not."""
        return {d: session.row for d, session in self.sessions.items() if not session.done}

    @property
    def telemetry(self) -> list[Telemetry]:
        """Of those that made it."""
        return [session.telemetry for session in self.done if session.telemetry]

    @property
    def states(self) -> list[State]:
        """Weights of those that made it."""
        return [session.state for session in self.done if session.state]

    @property
    def decisions(self) -> list[Decision]:
        """Of all who said what they would do."""
        return [session.decision for session in self.sessions.values() if session.decision]

    @property
    def valid(self) -> bool:
        """Whether this host kept the emulated pace."""
        errors = [self.server.error, *(seen.pace_error for seen in self.telemetry)]
        return max(errors) <= PACE_TOLERANCE
