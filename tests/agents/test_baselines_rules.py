"""Threshold, tiers and the tuned planners on fleets made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from adaptoff import planner
from adaptoff.agents import tuned
from adaptoff.agents.heuristics import Threshold, Tiers
from adaptoff.agents.method import play
from adaptoff.fleet import Fleet
from tests.agents.steady import backend_of, small_fleet, state_of


@pytest.fixture
def fleet(profile, scenario) -> Fleet:
    return small_fleet(profile, scenario)


def test_threshold_follows_the_link(fleet) -> None:
    method = Threshold()
    method.reset(None, 0)
    state = state_of(fleet)
    cuts = []
    for bps in (1e9, 2e7, 1e5):
        link = np.full(fleet.shape, bps)
        cuts.append(method.choose(fleet, replace(state, up_bps=link, down_bps=link)).way[0, 0])
    assert cuts == [1, 2, 3]  # the slow device: much, little, nothing to the server


def test_threshold_ignores_load_server_and_the_other_clusters(fleet) -> None:
    method = Threshold()
    method.reset(None, 0)
    state = state_of(fleet)
    first = method.choose(fleet, state)
    assert first.way[0, 0] < 3
    loaded = replace(state, speed=state.speed / 50, server_speed=state.server_speed / 50)
    assert method.choose(fleet, loaded).way.tolist() == first.way.tolist()
    crowd = replace(fleet, count=np.array([[1.0, 500.0]]))
    assert method.choose(crowd, state).way.tolist() == first.way.tolist()
    method.reset(None, 0)
    assert method.choose(fleet, loaded).way.tolist() != first.way.tolist()


def test_tiers_speed_up_the_straggler_and_leave_the_rest_on_the_device(fleet) -> None:
    rows = play(Tiers(), backend_of(fleet), 0, 5)[-1].outcome
    assert rows.way[0, 0] < 3  # ten times slower than the other
    assert rows.way[0, 1] == 3
    assert rows.opp.tolist() == [[1, 2]]


def test_tiers_follow_measured_times_by_moving_averages(fleet) -> None:
    """The fast device becomes as slow as the other: only measured times can tell."""
    backend = backend_of(fleet)
    backend.source.later, backend.source.change = {"speed": [[0.1, 0.05]]}, 4
    cuts = [done.outcome.way[0, 1] for done in play(Tiers(), backend, 0, 10)]
    assert cuts[:4] == [3, 3, 3, 3]
    assert cuts[-1] < 3


def test_tiers_take_two_thirds_of_each_round_s_news(fleet) -> None:
    slow = backend_of(fleet, speed=[[0.1, 0.05]]).apply(fleet.native())
    method, state = Tiers(), state_of(fleet)
    method.reset(None, 0)
    method.choose(fleet, state)
    paces = []
    for _ in range(3):
        method.see(slow, np.zeros(1))
        paces.append(method._device_pace[0, 1])
    np.testing.assert_allclose(paces, [20 - 19 / 3**n for n in (1, 2, 3)])


def test_tiers_keep_the_server_pace_that_they_last_measured(fleet) -> None:
    method, state = Tiers(), state_of(fleet)
    method.reset(None, 0)
    method.choose(fleet, state)
    before = method._server_pace.copy()
    native = backend_of(fleet).apply(fleet.native())
    method.see(native, np.zeros(1))
    np.testing.assert_array_equal(method._server_pace, before)


def test_without_volatility_the_cautious_planner_is_the_planner(world) -> None:
    for seed in range(10):
        fleet, state = world(seed, fleets=3)
        zeros = np.zeros(fleet.shape)
        calm = replace(state, volatility=zeros, speed_volatility=zeros)
        mine, its = tuned.plan_cautiously(fleet, calm), planner.plan(fleet, calm)
        np.testing.assert_array_equal(mine.way, its.way)
        np.testing.assert_array_equal(mine.opp, its.opp)


def test_the_cautious_planner_shuns_a_volatile_link(fleet) -> None:
    """Offloading is a little quicker if the link holds, and far slower if it does not."""
    fleet = replace(fleet, energy_weight=np.zeros(1), sync_bytes=np.zeros((1, 4)))
    rates = np.array([[32e6, 1e9]])
    state = replace(state_of(fleet), up_bps=rates, down_bps=rates)
    calm = replace(state, volatility=np.zeros(fleet.shape))
    wild = replace(state, volatility=np.full(fleet.shape, 1.5))
    assert planner.plan(fleet, wild).way[0, 0] == tuned.plan_cautiously(fleet, calm).way[0, 0] == 2
    assert tuned.plan_cautiously(fleet, wild).way[0, 0] == 3


def test_the_steady_planner_moves_only_for_more_than_its_margin(world) -> None:
    moved = 0
    for seed in range(30):
        fleet, state = world(seed, span=0.5)
        zeros = np.zeros(fleet.shape)
        state = replace(state, volatility=zeros, speed_volatility=zeros)
        best = planner.plan(fleet, state)
        now, then = (planner.joint_cost(fleet, state, r)[0] for r in (state.rows, best))
        rows = tuned.plan_steadily(fleet, state)
        if then < (1 - tuned.MARGIN) * now * 0.999:
            moved += 1
            assert rows.way.tolist() == best.way.tolist()
        near = replace(state, way=best.way, opp=best.opp)
        nearer = replace(near, up_bps=state.up_bps * 1.001)
        assert tuned.plan_steadily(fleet, nearer).way.tolist() == best.way.tolist()
    assert moved > 10


def test_the_steady_planner_never_keeps_a_row_that_heat_left(fleet) -> None:
    """A throttled native row that its memory would forbid to ask for."""
    tight = replace(fleet, memory_limit_bytes=np.ones(fleet.shape))
    state = replace(state_of(tight), way=tight.native().way, opp=np.zeros(fleet.shape, np.int64))
    assert tuned.plan_steadily(tight, state).opp.tolist() == tight.native().opp.tolist()
