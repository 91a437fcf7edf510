"""What is foreseen of a round: every option beside the planned rows of the others."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import candidates, cost, heat, planner
from adaptoff.best_response import HASTE
from adaptoff.fleet import Fleet, FleetState, Floats, Ints, Rows
from adaptoff.foresight import Foresight, foresee
from tests.worlds import calm

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)


def planned_index(sight: Foresight) -> Ints:
    """Where the planned rows are in the table, (F, G)."""
    index, known = sight.table.find(sight.rows)
    assert known.all()
    return index


@given(seed=SEEDS)
def test_a_row_of_the_table_is_the_option_at_its_position(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, fleets=3, clusters=4, padded=True)
    table = candidates.build(fleet, state)
    options, drawn = table.options, np.random.default_rng(seed).random(table.valid.shape)
    index = (table.valid * drawn).argmax(2)
    at, rows = table.position(index), table.take(index)
    np.testing.assert_array_equal(options.way[at], rows.way)
    np.testing.assert_array_equal(options.opp[at], rows.opp)
    np.testing.assert_array_equal(options.fleet[at], np.arange(3)[:, None] + 0 * at)
    np.testing.assert_array_equal(options.cluster[at], np.arange(4) + 0 * at)


@given(seed=SEEDS)
def test_the_plan_is_where_its_rows_are(world: MakeWorld, seed: int) -> None:
    sight = foresee(*world(seed, fleets=2, clusters=4, padded=True))
    index = planned_index(sight)
    np.testing.assert_array_equal(sight.table.position(index), sight.plan.at)


def test_other_rows_are_expected_to_cost_something_else(world: MakeWorld) -> None:
    sight = foresee(*world(0, fleets=20))
    native, _ = sight.table.find(sight.fleet.native())
    costs = sight.expected(sight.table.position(native)), sight.expected(sight.plan.at)
    assert (costs[0] > 1.2 * costs[1]).sum() >= 10


@given(seed=SEEDS)
def test_native_rows_are_expected_to_cost_one_and_their_energy(world: MakeWorld, seed: int) -> None:
    fleet, state = calm(*world(seed, fleets=3))
    sight = foresee(fleet, state)
    native, _ = sight.table.find(fleet.native())
    np.testing.assert_allclose(
        sight.expected(sight.table.position(native)), 1 + fleet.energy_weight, rtol=1e-9
    )


@given(seed=SEEDS)
def test_a_planned_row_costs_what_the_planner_says(world: MakeWorld, seed: int) -> None:
    """Up to the server's sharing, which either finds from a start of its own."""
    fleet, state = calm(*world(seed))
    fleet = replace(fleet, count=np.ones(fleet.shape))
    sight = foresee(fleet, state)
    whole = planner.joint_cost(fleet, state, sight.rows)
    costs = sight.costs[sight.plan.at]
    np.testing.assert_allclose(costs, np.broadcast_to(whole, costs.shape), rtol=2e-2)


@given(seed=SEEDS)
def test_a_table_that_is_given_is_used(world: MakeWorld, seed: int) -> None:
    """One of native rows leaves nothing to plan."""
    fleet, state = world(seed)
    table = candidates.build(fleet, state)
    native = (table.rows.way == fleet.n_ways[0] - 1) & (
        table.rows.opp == fleet.n_opps[..., None] - 1
    )
    sight = foresee(fleet, state, replace(table, valid=native))
    assert (sight.rows.way == fleet.native().way).all()
    assert (sight.rows.opp == fleet.native().opp).all()
    np.testing.assert_array_equal(sight.slowed_s, 0)


def test_hot_options_are_those_that_break_the_limit_beside_the_plan(world: MakeWorld) -> None:
    """Where nothing moves; half a degree is left to the steps of the server's sharing."""
    n_hot = 0
    for seed in range(40):
        fleet, state = calm(*world(seed))
        fleet = replace(fleet, count=np.ones((1, 3)), heat_limit_c=np.array([60.0]))
        sight = foresee(fleet, state)
        over_c = sight.table.spread(temps_c(sight) - 60.0, np.inf)
        hot = (over_c > 0) & (over_c.min(2) < -0.5)[..., None] & sight.table.valid
        sure = (np.abs(over_c) > 0.5) & (np.abs(over_c.min(2)) > 0.5)[..., None]
        np.testing.assert_array_equal(sight.table.spread(sight.hot, fill=False)[sure], hot[sure])
        n_hot += hot[sure].sum()
    assert n_hot > 20


def temps_c(sight: Foresight) -> Floats:
    """Of each option's cluster (V,) after a round beside the planned rows, by the cost model."""
    fleet, state, options = sight.fleet, sight.state, sight.table.options
    each = np.arange(len(options.way))
    rows = Rows(*(np.repeat(v, len(each), 0) for v in (sight.rows.way, sight.rows.opp)))
    rows.way[each, options.cluster], rows.opp[each, options.cluster] = options.way, options.opp
    columns = cost.joint(fleet, state, rows)
    seconds = np.repeat(cost.round_s(fleet, columns)[:, None], fleet.shape[1], 1)
    device_j = columns.active_j + fleet.idle_w * seconds
    return heat.after(fleet, state.temp_c, device_j, seconds)[each, options.cluster]


@given(seed=SEEDS)
def test_on_average_costs_are_as_estimated_where_nothing_moves(world: MakeWorld, seed: int) -> None:
    """But for a cluster's own seconds."""
    sight = foresee(*calm(*world(seed, fleets=2, padded=True)))
    own = sight.sure.totals_s / sight.state.native_s[sight.table.options.fleet]
    np.testing.assert_allclose(sight.mean_costs, sight.costs + HASTE * own, rtol=1e-9)


def test_what_a_row_does_to_others_counts(world: MakeWorld) -> None:
    """A round is as long as its slowest device, which an option may slow down."""
    sight = foresee(*calm(*world(7, fleets=30)))
    slowed = sight.slowed_s > 0.01 * sight.state.native_s[sight.table.options.fleet]
    unlike = sight.round_s - replace(sight, slowed_s=0 * sight.slowed_s).round_s
    assert slowed.sum() > 20
    assert (unlike >= 0)[slowed].all()
    assert (unlike > 0)[slowed].mean() > 0.2
