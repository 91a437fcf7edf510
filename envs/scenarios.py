"""A scenario as a source for the emulator: one cluster per device group, its links by round."""

import numpy as np

from adaptoff import fleet as fleets
from adaptoff.envs.links import Course, free_share
from adaptoff.errors import InputError
from adaptoff.fleet import Fleet, Floats
from adaptoff.messages import MAX_CLUSTERS
from adaptoff.profile import Profile
from adaptoff.scenario import Link, Scenario
from adaptoff.schedule import Schedule

STEADY_RTT_S = 1e-3


class ScenarioFleet:
    """One fleet as its scenario says; ``loaded`` adds hidden background load by the seed.

    The warm-up round sees the links of round 0, the n-th round after it those of round n.
    Raises InputError for more groups than clusters can be, TraceError for a broken trace.
    """

    def __init__(
        self, scenario: Scenario, profile: Profile, rounds: int, *, loaded: bool = True
    ) -> None:
        groups = scenario.devices
        if len(groups) > MAX_CLUSTERS:
            raise InputError(f"{scenario.name}: devices: at most {MAX_CLUSTERS} groups")
        boards = [scenario.boards[group.board] for group in groups]
        self._fleet = fleets.build(profile, scenario, boards, [g.count for g in groups])
        self._speed = np.array([[board.speed for board in boards]])
        self._server_speed = np.array([scenario.server.speed])
        rates = [link_rates(scenario.links[g.link], rounds + 1) for g in groups]
        self._up_bps, self._down_bps = np.moveaxis(np.array(rates), 0, 2)[:, :, None]
        self._loaded = loaded

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        """The fleet, and its conditions with the background load of ``seed``."""
        rng = np.random.default_rng(seed)
        rounds = len(self._up_bps)
        return self._fleet, Course(
            speed=self._speed * self._free(rng, self._speed.shape),
            up_bps=self._up_bps,
            down_bps=self._down_bps,
            rtt_s=np.full((rounds, *self._speed.shape), STEADY_RTT_S),
            server_speed=self._server_speed * self._free(rng, self._server_speed.shape),
        )

    def _free(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        rounds = len(self._up_bps)
        return free_share(rng, rounds, shape) if self._loaded else np.ones((rounds, *shape))


def link_rates(link: Link, rounds: int) -> Floats:
    """Up and down (2, rounds) in bits per second at the start of each round."""
    schedule = Schedule(link)
    return np.array([schedule.rates_bps(i) for i in range(rounds)]).T
