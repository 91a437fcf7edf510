"""The scenarios that ship, played in the emulator."""

import numpy as np
import pytest

from adaptoff import config, planner
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.fleet import Rows

ROUNDS = 3
BROKEN_C = 0.01


def episode(name: str, rounds: int = ROUNDS) -> Episode:
    """At the scenario's start, without hidden load."""
    scenario = config.load(name)
    source = ScenarioFleet(scenario, config.profile_of(scenario), rounds, loaded=False)
    played = Episode(EmulatedFleet(source))
    played.reset(0)
    return played


@pytest.mark.parametrize("name", config.shipped())
def test_each_plays_and_planning_never_costs_more_than_native(name: str) -> None:
    planned, native = episode(name), episode(name)
    for _ in range(ROUNDS):
        mine = planned.run(planner.plan(planned.fleet, planned.state))
        classic = native.run(native.fleet.native())
        assert np.isfinite(mine.outcome.round_s).all()
        assert (mine.cost <= classic.cost * 1.001).all()


def test_heat_breaks_native_while_every_device_has_rows_that_hold_the_limit() -> None:
    native, slow = episode("heat", 12), episode("heat", 12)
    limit_c = native.fleet.heat_limit_c[:, None]
    rows = native.fleet.native()
    cool = Rows(rows.way, np.zeros_like(rows.opp))
    temp_c = [(native.run(rows).outcome.temp_c, slow.run(cool).outcome.temp_c) for _ in range(12)]
    broken, held = (np.array(each) for each in zip(*temp_c, strict=True))
    assert (broken[-1] > limit_c + BROKEN_C).all()
    assert (held <= limit_c + BROKEN_C).all()
