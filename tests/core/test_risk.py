"""What may happen before a round: a balanced design, costs on average, rows that may be too hot."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import candidates, controller, cost, estimate, risk
from adaptoff.cost import Columns
from adaptoff.fleet import Fleet, FleetState, Floats, Ints
from adaptoff.foresight import Foresight, foresee
from adaptoff.ground import Ground, scene
from adaptoff.risk import Outlook

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)


def outlook(fleet: Fleet, state: FleetState) -> Outlook:
    table = candidates.build(fleet, state)
    return risk.alone(scene(Ground(fleet, table), state), cost.solo(fleet, state, table.options))


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
    costs = [costs_of(each, cost.joint(fleet, state, state.rows)) for each in (sure, maybe)]
    np.testing.assert_allclose(costs[1][3], costs[0], rtol=1e-9)


def costs_of(outlook: Outlook, others: Columns) -> Floats:
    seconds = outlook.hurried()
    return outlook.costs(seconds, outlook.excess_c(seconds), others)


@pytest.mark.parametrize("direction", ["up", "down"])
@given(seed=SEEDS)
def test_the_age_of_a_direction_widens_its_own_seconds_alone(
    world: MakeWorld, direction: str, seed: int
) -> None:
    """Where the other direction is instant, its age does not matter."""
    fleet, state = world(seed)
    other = "down" if direction == "up" else "up"
    none, old = np.zeros(fleet.shape), np.full(fleet.shape, 5.0)
    quiet = {"volatility": none + 0.3, "speed_volatility": none, "up_age": none, "down_age": none}
    state = replace(state, **quiet, rtt_s=none, **{f"{other}_bps": none + 1e18})
    fresh, aged, apart = (
        np.ptp(risk.as_it_may_be(outlook(fleet, replace(state, **ages))).totals_s, 0)
        for ages in ({}, {f"{direction}_age": old}, {f"{other}_age": old})
    )
    np.testing.assert_allclose(apart, fresh, rtol=1e-6, atol=1e-9)
    sends = fresh > 1e-9
    assert sends.any()
    assert (aged > fresh)[sends].all()


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


def top_row(sight: Foresight) -> Ints:
    return sight.table.valid.nonzero()[2][None, -1:]


def test_the_guard_leaves_no_row_that_breaks_the_limit(hot: tuple[Fleet, FleetState]) -> None:
    fleet, state = hot
    sight = foresee(fleet, state)
    assert sight.hot.tolist() == [False, False, True]  # 20, 40 and 100 degrees
    choice = controller.guard(sight, top_row(sight))
    assert choice.guarded.all()
    assert choice.rows.opp[0, 0] < 2


def test_the_guard_leaves_no_row_that_breaks_the_limit_by_little(
    hot: tuple[Fleet, FleetState],
) -> None:
    """Though it costs less than twice as much as the best one."""
    fleet, state = hot
    fleet = replace(
        fleet, relative_speed=np.array([[[0.3, 0.5, 1.0]]]), energy_weight=np.zeros(1),
        heat_limit_c=np.array([99.0]),
    )  # fmt: skip
    sight = foresee(fleet, estimate.with_reference(fleet, state))
    assert sight.costs == pytest.approx([1 / 0.3, 2.0, 2.1], rel=1e-3)
    choice = controller.guard(sight, top_row(sight))
    assert (choice.guarded.all(), choice.rows.opp) == (True, 1)


def test_the_guard_leaves_no_row_that_may_break_the_limit(hot: tuple[Fleet, FleetState]) -> None:
    """Though as estimated it does not, and would be the best one."""
    fleet, state = hot
    fleet = replace(
        fleet, relative_speed=np.array([[[0.3, 0.8, 1.0]]]), energy_weight=np.zeros(1),
        heat_tau_s=state.native_s[:, None],
    )  # fmt: skip
    state = replace(state, temp_c=np.zeros((1, 1)), speed_volatility=np.full((1, 1), 0.3))
    state = estimate.with_reference(fleet, replace(state, speed_age=np.zeros((1, 1))))
    sure = foresee(fleet, state).sure
    limit_c = sure.temp_c(sure.totals_s)[2:] + 1.0
    sight = foresee(replace(fleet, heat_limit_c=limit_c), state)
    assert sight.costs.argmin() == 2
    assert sight.hot.tolist() == [False, False, True]
    choice = controller.guard(sight, top_row(sight))
    assert (choice.guarded.all(), choice.rows.opp) == (True, 1)


def test_where_nothing_is_cool_enough_no_row_is_singled_out(hot: tuple[Fleet, FleetState]) -> None:
    fleet, state = hot
    assert not foresee(replace(fleet, heat_limit_c=np.array([5.0])), state).hot.any()


@pytest.mark.parametrize(("scenarios", "hot"), [(0, False), (2, False), (3, True), (16, True)])
def test_a_row_is_too_hot_where_it_breaks_the_limit_in_more_than_one_of_eight(
    world: MakeWorld, scenarios: int, hot: bool
) -> None:
    table = candidates.build(*world(0, clusters=1))
    excess_c = np.full((risk.POINTS, len(table.options.way)), -1.0)
    excess_c[:scenarios, 1] = 1.0
    assert risk.too_hot(table, excess_c)[1] == hot
    assert risk.too_hot(table, excess_c).sum() == hot


@given(seed=SEEDS)
def test_the_order_of_clusters_does_not_matter(world: MakeWorld, seed: int) -> None:
    seconds = np.random.default_rng(seed).random((2, 3, 4))
    fleet, _ = world(seed, fleets=3, clusters=4)
    turned = replace(fleet, active=fleet.active[:, ::-1])
    one = risk.slowest_other(fleet, seconds)
    np.testing.assert_array_equal(risk.slowest_other(turned, seconds[..., ::-1]), one[..., ::-1])
    for i in range(4):
        np.testing.assert_array_equal(one[..., i], np.delete(seconds, i, -1).max(-1))
