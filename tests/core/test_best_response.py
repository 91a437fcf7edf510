"""The joint plan: nobody who moved last can gain, and two do not crowd a server for one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import cost, planner
from adaptoff.best_response import HASTE
from adaptoff.fleet import Fleet, FleetState, Floats, Ints, Rows
from adaptoff.foresight import Foresight, foresee
from adaptoff.risk import slowest_other
from tests.worlds import calm, of_clusters

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)
CLUSTERS = st.integers(2, 4)


def plain(fleet: Fleet) -> Fleet:
    """One device in each cluster, one stage after another."""
    return replace(fleet, count=np.ones(fleet.shape), depth=np.ones(fleet.depth.shape))


def quickest(sight: Foresight) -> Ints:
    """Position (F, G) of each cluster's quickest option, as if alone at the server."""
    return sight.table.at_least(sight.game.total_s)


@given(seed=SEEDS, clusters=CLUSTERS)
def test_who_moved_last_cannot_gain(world: MakeWorld, seed: int, clusters: int) -> None:
    sight = foresee(*world(seed, clusters=clusters))
    last = sight.game.total_s[quickest(sight)][0].argmax()
    mine = np.flatnonzero(sight.table.options.cluster == last)
    costs = sight.game.costs(sight.plan, mine)
    planned = costs[mine == sight.plan.at[0, last]]
    assert planned <= 1.01 * costs.min()


@given(seed=SEEDS, clusters=CLUSTERS)
def test_a_plan_costs_hardly_more_than_the_quickest_rows(
    world: MakeWorld, seed: int, clusters: int
) -> None:
    """Hardly: it also counts each cluster's own seconds, which the round may not."""
    sight = foresee(*calm(*world(seed, clusters=clusters)))
    fast = quickest(sight)
    before = sight.expected(fast)
    assert sight.expected(sight.plan.at) <= 1.1 * before


def test_a_plan_often_costs_far_less_than_the_quickest_rows(world: MakeWorld) -> None:
    sight = foresee(*calm(*world(0, fleets=200)))
    fast = quickest(sight)
    before = sight.expected(fast)
    assert (sight.expected(sight.plan.at) < 0.9 * before).mean() > 0.1


def test_a_plan_is_near_the_planners_though_it_tries_less(world: MakeWorld) -> None:
    fleet, state = calm(*world(1, fleets=100))
    sight = foresee(fleet, state)
    mine = planner.joint_cost(fleet, state, sight.rows)
    best = planner.joint_cost(fleet, state, planner.plan(fleet, state, sight.table))
    assert (mine / best).mean() < 1.03


@given(seed=SEEDS, order=st.permutations(range(4)))
def test_the_order_of_clusters_does_not_matter(
    world: MakeWorld, seed: int, order: list[int]
) -> None:
    fleet, state = world(seed, clusters=4)
    one = foresee(fleet, state).rows
    other = foresee(of_clusters(fleet, order), of_clusters(state, order)).rows
    np.testing.assert_array_equal(other.way, one.way[:, order])
    np.testing.assert_array_equal(other.opp, one.opp[:, order])


@given(seed=SEEDS, place=st.integers(0, 3))
def test_padding_does_not_change_the_plan_of_the_others(
    world: MakeWorld, seed: int, place: int
) -> None:
    fleet, state = world(seed, clusters=4)
    there = [k for k in range(4) if k != place]
    padded = replace(fleet, active=np.arange(4)[None] != place)
    one = foresee(of_clusters(fleet, there), of_clusters(state, there))
    other = foresee(padded, state)
    np.testing.assert_array_equal(other.rows.way[:, there], one.rows.way)
    np.testing.assert_array_equal(other.rows.opp[:, there], one.rows.opp)
    costs = (each.expected(each.plan.at) for each in (one, other))
    np.testing.assert_allclose(*costs)


def test_many_fleets_are_planned_as_each_alone(world: MakeWorld) -> None:
    fleet, state = world(2, fleets=8, padded=True)
    together = foresee(fleet, state).rows
    for i in range(8):
        alone = foresee(*(one_of(arrays, i) for arrays in (fleet, state))).rows
        assert together.way[i].tolist() == alone.way[0].tolist()
        assert together.opp[i].tolist() == alone.opp[0].tolist()


def one_of(arrays: Any, i: int) -> Any:
    return replace(arrays, **{name: value[i : i + 1] for name, value in vars(arrays).items()})


@given(seed=SEEDS)
def test_a_lone_device_takes_its_quickest_row(world: MakeWorld, seed: int) -> None:
    fleet, state = calm(*world(seed, clusters=1))
    sight = foresee(replace(plain(fleet), energy_weight=np.zeros(1)), state)
    np.testing.assert_array_equal(sight.plan.at, quickest(sight))


@given(seed=SEEDS)
def test_a_lone_device_pays_the_objective_and_for_its_seconds(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, clusters=1)
    sight = foresee(plain(fleet), state)
    costs = sight.game.costs(sight.plan, np.arange(len(sight.table.options.way)))
    np.testing.assert_allclose(costs, sight.mean_costs, rtol=1e-9)
    own_s = sight.maybe.totals_s[:, sight.plan.at[0]].mean(0)
    whole = sight.expected(sight.plan.at)
    np.testing.assert_allclose(whole, costs.min() - HASTE * own_s / state.native_s, rtol=1e-9)


@given(seed=SEEDS, clusters=CLUSTERS)
def test_where_the_server_is_no_bottleneck_nobody_dawdles(
    world: MakeWorld, seed: int, clusters: int
) -> None:
    """Nor do those who have slack: a round may turn out longer than foreseen."""
    fleet, state = calm(*world(seed, clusters=clusters))
    state = replace(state, server_speed=np.array([1e12]))
    sight = foresee(replace(plain(fleet), energy_weight=np.zeros(1)), state)
    own_s = sight.game.total_s[sight.plan.at]
    np.testing.assert_allclose(own_s, sight.game.total_s[quickest(sight)], rtol=1e-9)


def test_a_price_of_energy_or_the_heat_limit_may_ask_for_another(world: MakeWorld) -> None:
    """Or the tests above say nothing."""
    fleet, state = calm(*world(0, fleets=100, clusters=1))
    dear = foresee(replace(fleet, energy_weight=np.full(100, 3.0)), state)
    assert (dear.plan.at != quickest(dear)).mean() > 0.1
    free = replace(fleet, energy_weight=np.zeros(100))
    warm = foresee(replace(free, heat_limit_c=np.full(100, 60.0)), state)
    assert (warm.plan.at != quickest(warm)).mean() > 0.05


def slowed_in_truth(fleet: Fleet, state: FleetState, sight: Foresight) -> Floats:
    """As ``slowed_s`` (V,) of one fleet, by the cost model of all rows at once."""
    options, rows = sight.table.options, sight.rows
    wide = Rows(*(np.repeat(v, len(options.way), 0) for v in (rows.way, rows.opp)))
    each = np.arange(len(options.way))
    wide.way[each, options.cluster], wide.opp[each, options.cluster] = options.way, options.opp
    after_s = slowest_other(fleet, cost.joint(fleet, state, wide).total_s)
    before_s = slowest_other(fleet, sight.planned.total_s)[0]
    return after_s[each, options.cluster] - before_s[options.cluster]


def errors(world: MakeWorld, make: Callable[[Fleet], Fleet]) -> Floats:
    """Of ``slowed_s``, as shares of the planned round."""
    found = []
    for seed in range(60):
        fleet, state = calm(*world(seed))
        sight = foresee(make(fleet), state)
        round_s = cost.round_s(sight.fleet, sight.planned)
        found.append((sight.slowed_s - slowed_in_truth(sight.fleet, state, sight)) / round_s)
    return np.abs(np.concatenate(found))


def test_the_others_are_slowed_about_as_the_cost_model_says(world: MakeWorld) -> None:
    """Not quite: the others' figures are of one step of the sharing, the model's of four."""
    alone, members = errors(world, plain), errors(world, lambda fleet: fleet)
    assert (alone < 0.01).mean() > 0.95
    assert alone.mean() < 0.005
    assert (members < 0.05).mean() > 0.95
    assert members.mean() < 0.02


def test_whoever_is_not_at_the_server_slows_nobody(world: MakeWorld) -> None:
    for seed in range(20):
        sight = foresee(*world(seed))
        native = sight.table.options.way == sight.fleet.n_ways[0] - 1
        assert (sight.slowed_s[native] <= 0).all()


@given(seed=SEEDS, clusters=CLUSTERS)
def test_where_nothing_moves_a_plan_costs_what_the_planner_says(
    world: MakeWorld, seed: int, clusters: int
) -> None:
    """Up to the steps of the server's sharing, which are fewer here."""
    fleet, state = calm(*world(seed, clusters=clusters))
    fleet = plain(fleet)
    sight = foresee(fleet, state)
    whole = planner.joint_cost(fleet, state, sight.rows)
    np.testing.assert_allclose(sight.expected(sight.plan.at), whole, rtol=1e-6)


@pytest.fixture
def alike(world: MakeWorld) -> tuple[Fleet, FleetState]:
    """Two clusters that are the same, and a server that has room for one of them."""
    fleet, state = calm(*world(4, clusters=1, cuts=2, opps=1))
    fleet = replace(plain(fleet), energy_weight=np.zeros(1), min_cut=np.zeros(1, np.int64))
    speed, instant = np.ones((1, 1)), np.full((1, 1), 1e15)
    state = replace(
        state, speed=speed, up_bps=instant, down_bps=instant, rtt_s=0 * speed,
        server_speed=np.array([1.5]), way=fleet.native().way, opp=fleet.native().opp,
    )  # fmt: skip
    fleet = replace(fleet, relative_speed=np.ones((1, 1, 1)))
    return of_clusters(fleet, [0, 0]), of_clusters(state, [0, 0])


def offloading(sight: Foresight) -> int:
    return int((sight.rows.way < sight.fleet.n_ways[0] - 1).sum())


def test_of_two_alike_one_goes_where_there_is_room_for_one(
    alike: tuple[Fleet, FleetState],
) -> None:
    """Either one alone would go, and both together would be slower than none."""
    fleet, state = alike
    first = Rows(np.array([[0, 1]]), np.zeros((1, 2), np.int64))
    both_s, one_s = (
        cost.round_s(fleet, cost.joint(fleet, state, rows))
        for rows in (Rows(0 * first.way, first.opp), first)
    )
    assert both_s > 1.2 * one_s
    assert offloading(foresee(of_clusters(fleet, [0]), of_clusters(state, [0]))) == 1
    assert foresee(fleet, state).rows.way.tolist() == [[0, 1]]  # by its place, as they are alike


@pytest.mark.parametrize("slower", [0, 1])
def test_of_two_nearly_alike_the_one_with_more_to_do_goes(
    alike: tuple[Fleet, FleetState], slower: int
) -> None:
    """The other one makes room for it."""
    fleet, state = alike
    batches = fleet.batches.copy()
    batches[0, slower] *= 1.1
    sight = foresee(replace(fleet, batches=batches), state)
    assert (sight.rows.way[0] == 0).nonzero()[0].tolist() == [slower]


def test_of_two_alike_both_go_where_there_is_room_for_both(
    alike: tuple[Fleet, FleetState],
) -> None:
    fleet, state = alike
    assert offloading(foresee(fleet, replace(state, server_speed=np.array([20.0])))) == 2
