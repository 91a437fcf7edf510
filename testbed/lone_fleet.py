"""The figures of a device that has no fleet: it keeps its own estimates.

How fast its server is, the loop says, or how long it waited for it does (``server_speed``); until
either is known it is what the scenario says.
"""

from adaptoff.adopting import Adoption
from adaptoff.messages import Decision, FleetFigures, Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed.server_speed import bounded, estimated
from adaptoff.testbed.tracker import OwnCluster, Tracker


class LoneFleet:
    """A fleet of one; ``Control`` asks it as it asks a ``FleetLink``."""

    why = "nothing was measured yet"
    """there are no figures"""
    heard_s = None
    """there is no server"""
    adoption: Adoption | None = None
    """nobody hands out policies"""

    def __init__(self, scenario: Scenario, profile: Profile) -> None:
        self._scenario, self._profile = scenario, profile
        self._tracker = Tracker(scenario, profile, OwnCluster())
        self._server_speed = scenario.server.speed
        self.round = 0

    def tend(self) -> None:
        """Nobody is to be looked after."""

    def report(self, seen: Telemetry, server_speed: float | None) -> FleetFigures:
        """The figures of the round ``seen``, which is over."""
        told = server_speed or estimated(self._scenario.workload, self._profile, [seen])
        self._server_speed = bounded(told or self._server_speed)
        self.round = seen.round + 1
        return self._tracker.update(seen.round, [seen], {}, seen.total_s, self._server_speed)

    def decided(self, decision: Decision) -> None:
        """Nobody is to be told."""
