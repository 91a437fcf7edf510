"""Hand-made fleets whose conditions never change, or change once."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adaptoff import estimate
from adaptoff import fleet as fleets
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.links import Course
from adaptoff.fleet import Fleet, FleetState
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario

Values = dict[str, Any]


@dataclass
class Steady:
    """A source of one fleet; ``later`` holds from round ``change`` on (the warm-up is round 0)."""

    fleet: Fleet
    now: Values
    later: Values | None = None
    change: int = 0
    rounds: int = 40

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        rounds = np.arange(self.rounds + 1)

        def course(name: str, shape: tuple[int, ...]) -> np.ndarray:
            before = np.broadcast_to(self.now[name], shape)
            after = np.broadcast_to((self.later or {}).get(name, before), shape)
            return np.stack([after if r >= self.change else before for r in rounds])

        each, whole = self.fleet.shape, self.fleet.shape[:1]
        return self.fleet, Course(
            speed=course("speed", each),
            up_bps=course("up_bps", each),
            down_bps=course("down_bps", each),
            rtt_s=np.zeros((len(rounds), *each)),
            server_speed=course("server_speed", whole),
        )


CONDITIONS: Values = {
    "speed": [[0.1, 1.0]],
    "up_bps": 100e6,
    "down_bps": 100e6,
    "server_speed": [4.0],
}


def small_fleet(profile: Profile, scenario: Scenario, **changes: Any) -> Fleet:
    """A slow and a fast cluster of one device each; cuts 0 to 3, two and three OPPs, 4 batches."""
    boards = [scenario.boards["slow"], scenario.boards["fast"]]
    return replace(fleets.build(profile, scenario, boards, [1, 1]), **changes)


def backend_of(fleet: Fleet, **changes: Any) -> EmulatedFleet:
    """The fleet in ``CONDITIONS`` with ``changes``, measured without noise."""
    return EmulatedFleet(Steady(fleet, CONDITIONS | changes), noise=0.0)


def state_of(fleet: Fleet, **changes: Any) -> FleetState:
    """What is estimated after the warm-up round in ``CONDITIONS`` with ``changes``."""
    backend = backend_of(fleet, **changes)
    return estimate.initial(fleet, backend.reset(0))
