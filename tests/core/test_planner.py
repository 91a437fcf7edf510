"""The planner against trying everything."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from adaptoff import candidates, cost, planner
from adaptoff.fleet import Fleet, FleetState, Rows, take

World = tuple[Fleet, FleetState]
MakeWorld = Callable[..., World]
N = 60


def regrets(world: MakeWorld, **size: int) -> np.ndarray:
    """Cost over the lowest possible, of ``N`` random fleets."""
    ratios = []
    for seed in range(N):
        fleet, state = world(seed, span=0.5, **size)
        mine = planner.joint_cost(fleet, state, planner.plan(fleet, state))
        best = planner.joint_cost(fleet, state, planner.enumerate_best(fleet, state))
        ratios.append(float(mine[0] / best[0]))
    return np.array(ratios)


def test_it_finds_the_best_joint_rows_of_small_fleets(world: MakeWorld) -> None:
    """Two clusters that would both have to move at once can hold it back; that is rare."""
    for size in ({"clusters": 3, "cuts": 4, "opps": 2}, {"clusters": 2, "cuts": 5, "opps": 3}):
        found = regrets(world, **size)
        assert (found >= 1 - 1e-9).all()
        assert (found < 1 + 1e-6).mean() > 0.9
        assert (found < 1.02).mean() > 0.95
        assert found.mean() < 1.01


def test_a_lone_cluster_is_exact(world: MakeWorld) -> None:
    for seed in range(10):
        fleet, state = world(seed, clusters=1)
        mine, best = planner.plan(fleet, state), planner.enumerate_best(fleet, state)
        assert planner.joint_cost(fleet, state, mine) == planner.joint_cost(fleet, state, best)


def test_two_alike_stragglers_both_offload(world: MakeWorld) -> None:
    """Native is slow for both and offloading quick, but one alone has no reason to be quicker."""
    fleet, state = two_alike(world)
    rows = planner.plan(fleet, state)
    best = planner.enumerate_best(fleet, state)
    np.testing.assert_allclose(
        planner.joint_cost(fleet, state, rows), planner.joint_cost(fleet, state, best)
    )
    assert (rows.way < fleet.n_ways[0] - 1).all()
    seconds = cost.round_s(fleet, cost.joint(fleet, state, rows))
    assert seconds < 0.6 * cost.round_s(fleet, cost.joint(fleet, state, fleet.native()))


def two_alike(world: MakeWorld) -> World:
    one, alone = world(4, clusters=1, cuts=4, opps=2)
    one = replace(one, count=np.ones((1, 1)), energy_weight=np.zeros(1))
    fleet = replace(one, **{n: both(v) for n, v in vars(one).items() if v.shape[:2] == (1, 1)})
    state = replace(
        alone,
        **{n: both(v) for n, v in vars(alone).items() if v.shape == (1, 1)},
    )
    state = replace(
        state,
        speed=np.full((1, 2), 0.05),
        server_speed=np.array([4.0]),
        up_bps=np.full((1, 2), 1e9),
        down_bps=np.full((1, 2), 1e9),
        way=fleet.native().way,
        opp=fleet.native().opp,
    )
    return fleet, state


def both(values: np.ndarray) -> np.ndarray:
    return np.repeat(values, 2, 1)


def test_many_fleets_are_planned_as_each_alone(world: MakeWorld) -> None:
    fleet, state = world(9, fleets=5)
    together = planner.plan(fleet, state)
    for i in range(5):
        alone = planner.plan(*(pick(x, i) for x in (fleet, state)))
        assert together.way[i].tolist() == alone.way[0].tolist()
        assert together.opp[i].tolist() == alone.opp[0].tolist()


def pick(arrays: Any, i: int) -> Any:
    return type(arrays)(**{name: v[i : i + 1] for name, v in vars(arrays).items()})


def test_its_rows_are_possible_and_no_worse_than_its_starts(world: MakeWorld) -> None:
    for seed in range(20):
        fleet, state = world(seed, clusters=4, span=1.0, padded=True)
        table = candidates.build(fleet, state)
        rows = planner.plan(fleet, state, table)
        same = (table.rows.way == rows.way[..., None]) & (table.rows.opp == rows.opp[..., None])
        assert (same & table.valid).any(2).all()
        native = planner.joint_cost(fleet, state, fleet.native())
        assert planner.joint_cost(fleet, state, rows) <= native


def test_joint_cost_of_native_is_one_and_its_weight(world: MakeWorld) -> None:
    fleet, state = world(5)
    state = replace(state, temp_c=fleet.ambient_c)
    fleet = replace(fleet, heat_limit_c=np.array([200.0]))
    value = planner.joint_cost(fleet, state, fleet.native())
    np.testing.assert_allclose(value, 1 + fleet.energy_weight)


def test_a_fleet_taken_again_costs_the_same(world: MakeWorld) -> None:
    fleet, state = world(6)
    again = np.zeros(3, int)
    rows = Rows(state.way[again], state.opp[again])
    costs = planner.joint_cost(take(fleet, again), take(state, again), rows)
    np.testing.assert_array_equal(costs, planner.joint_cost(fleet, state, state.rows)[0])
