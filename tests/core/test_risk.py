"""What may happen before a round: a balanced design, costs on average, rows that may be too hot."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import candidates, controller, cost, planner, risk
from adaptoff.fleet import Fleet, FleetState
from adaptoff.risk import Outlook

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)


def outlook(fleet: Fleet, state: FleetState) -> Outlook:
    table = candidates.build(fleet, state)
    current = cost.joint(fleet, state, state.rows)
    columns = cost.alternatives(fleet, state, table.options, current)
    return risk.as_estimated(fleet, state, table, current, columns)


def test_the_design_is_balanced_and_its_factors_are_apart() -> None:
    factors = np.concatenate([risk.LINK, risk.LOAD], 1)
    assert factors.shape == (risk.POINTS, 2 * risk.RANKS)
    np.testing.assert_allclose(factors.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.corrcoef(factors.T), np.eye(2 * risk.RANKS), atol=1e-12)
    np.testing.assert_allclose((factors**2).mean(0), 1, atol=0.15)


@given(seed=SEEDS)
def test_where_nothing_moves_all_is_as_estimated(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, fleets=2, padded=True)
    still = np.zeros(fleet.shape)
    sure = outlook(fleet, replace(state, volatility=still, speed_volatility=still))
    maybe = risk.as_it_may_be(sure)
    for all_, one in ((maybe.totals_s, sure.totals_s), (maybe.active_j, sure.active_j)):
        np.testing.assert_allclose(all_, np.broadcast_to(one, all_.shape), rtol=1e-9)
    costs = maybe.costs(maybe.hurried())
    np.testing.assert_allclose(costs[3], sure.costs(sure.hurried()), rtol=1e-9)


@given(seed=SEEDS)
def test_what_was_long_not_measured_may_have_moved_further(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed)
    fresh, old = (
        replace(state, up_age=np.full(fleet.shape, age), down_age=np.full(fleet.shape, age))
        for age in (0.0, 5.0)
    )
    spread = [np.ptp(risk.as_it_may_be(outlook(fleet, s)).totals_s, 0) for s in (fresh, old)]
    assert (spread[1] >= spread[0] * (1 - 1e-9)).all()


@given(seed=SEEDS)
def test_if_others_stay_the_row_in_use_costs_what_the_planner_says(
    world: MakeWorld, seed: int
) -> None:
    """Up to the server's sharing, which either finds from a start of its own."""
    fleet, state = world(seed, clusters=3, cuts=4)
    fleet = replace(fleet, count=np.ones((1, 3)), memory_limit_bytes=np.full((1, 3), 1e15))
    fleet = replace(fleet, heat_limit_c=np.full(1, 1e6))
    sure = outlook(fleet, state)
    options, costs = sure.table.options, risk.if_others_stay(sure)
    mine = (options.cut == state.cut[0, options.cluster]) & (
        options.opp == state.opp[0, options.cluster]
    )
    whole = planner.joint_cost(fleet, state, state.rows)
    np.testing.assert_allclose(costs[mine], np.full(mine.sum(), whole), rtol=2e-2)


@pytest.fixture
def hot(world: MakeWorld) -> tuple[Fleet, FleetState]:
    """One cluster that only its slower clocks keep below the limit."""
    fleet, state = world(5, clusters=1, cuts=3, opps=3)
    fleet = replace(
        fleet, n_opps=np.full((1, 1), 3), heat_tau_s=np.full((1, 1), 1e-3), min_cut=np.array([2]),
        dynamic_w=np.array([[[1.0, 3.0, 9.0]]]), idle_w=np.ones((1, 1)), ambient_c=np.zeros((1, 1)),
        heat_c_per_w=np.full((1, 1), 10.0), heat_limit_c=np.array([60.0]), radio_w=np.zeros((1, 1)),
    )  # fmt: skip
    return fleet, replace(state, up_bps=state.up_bps * 1e6, down_bps=state.down_bps * 1e6)


def test_the_guard_leaves_no_row_that_breaks_the_limit(hot: tuple[Fleet, FleetState]) -> None:
    fleet, state = hot
    sure = outlook(fleet, state)
    assert risk.too_hot(sure).tolist() == [False, False, True]  # 20, 40 and 100 degrees
    top = sure.table.valid[0, 0].nonzero()[0][2]
    choice = controller.guard(fleet, state, sure.table, np.array([[top]]))
    assert choice.guarded.all()
    assert choice.rows.opp[0, 0] < 2


def test_where_nothing_is_cool_enough_no_row_is_singled_out(hot: tuple[Fleet, FleetState]) -> None:
    fleet, state = hot
    assert not risk.too_hot(outlook(replace(fleet, heat_limit_c=np.array([5.0])), state)).any()


@given(seed=SEEDS)
def test_the_order_of_clusters_does_not_matter(world: MakeWorld, seed: int) -> None:
    seconds = np.random.default_rng(seed).random((2, 3, 4))
    fleet, _ = world(seed, fleets=3, clusters=4)
    turned = replace(fleet, active=fleet.active[:, ::-1])
    one = risk.slowest_other(fleet, seconds)
    np.testing.assert_array_equal(risk.slowest_other(turned, seconds[..., ::-1]), one[..., ::-1])
    for i in range(4):
        np.testing.assert_array_equal(one[..., i], np.delete(seconds, i, -1).max(-1))
