"""What came of a round before anything is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from adaptoff.messages import Decision, Row, Telemetry
from adaptoff.testbed.cpu import Busy
from adaptoff.testbed.session import Session
from adaptoff.testbed.split import State

TOLERANCE = 0.02
"""of a round may be this host's own fault"""
TINY_S = 1e-9


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
        """Whether this host kept the emulated pace, but for a small share of the round.

        What counts are the seconds that computing took beyond those asked for, at the server and
        on each device: a block of some milliseconds may well take twice as long.
        """
        shares = [_beyond(self.server.wall_s, self.server.error) / max(self.round_s, TINY_S)]
        shares += [
            _beyond(t.device_s, t.pace_error) / max(t.total_s, TINY_S) for t in self.telemetry
        ]
        return max(shares) <= TOLERANCE


def _beyond(seconds: float, error: float) -> float:
    """Of ``seconds``, those that were not asked for; ``error`` is actual over asked."""
    return seconds * (1 - 1 / max(error, 1.0))
