"""A scenario as a source for the emulator: one cluster per device group, its links by round."""

import numpy as np
from msgspec import structs

from adaptoff import fleet as fleets
from adaptoff import schedule
from adaptoff.envs.links import Course, free_share
from adaptoff.errors import InputError
from adaptoff.fleet import Fleet, Floats
from adaptoff.messages import MAX_CLUSTERS
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario


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
        one_each = structs.replace(scenario, devices=[structs.replace(g, count=1) for g in groups])
        schedules = schedule.of_devices(one_each)
        self._named = [schedule.nominal(one_each, schedules, i) for i in range(rounds + 1)]
        self._loaded = loaded

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        """The fleet, and its conditions with the background load of ``seed``."""
        rng = np.random.default_rng(seed)
        speed, server_speed = self._of_rounds("speed"), self._of_rounds("server_speed")
        return self._fleet, Course(
            speed=speed * self._free(rng, speed.shape[1:]),
            up_bps=self._of_rounds("up_bps"),
            down_bps=self._of_rounds("down_bps"),
            rtt_s=self._of_rounds("rtt_s"),
            server_speed=server_speed * self._free(rng, server_speed.shape[1:]),
        )

    def _of_rounds(self, name: str) -> Floats:
        return np.stack([getattr(named, name) for named in self._named])

    def _free(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return free_share(rng, len(self._named), shape) if self._loaded else np.ones(shape)
