"""Telemetry -> estimates: what is measured counts, what is not keeps and ages."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import cost, estimate
from adaptoff import fleet as fleets
from adaptoff.estimate import (
    HIGHEST,
    LINK_GAIN,
    LINK_VOLATILITY,
    LOWEST,
    MAX_AGE,
    SHARED_FATE,
    SPEED_GAIN,
    SPEED_VOLATILITY,
    USUAL_GAIN,
    VOLATILITY_GAIN,
)
from adaptoff.fleet import Fleet, Outcome
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario


@pytest.fixture(scope="module")
def fleet(scenario: Scenario, profile: Profile) -> Fleet:
    return fleets.build(profile, scenario, [scenario.boards["slow"]], [2])


def outcome(**changes: Any) -> Outcome:
    """A native round of the slow board at its fastest: 0.16 s of work in 0.8 s."""
    usual = {
        "way": 3, "opp": 1, "opp_left": 1, "device_s": 0.8, "uplink_s": 0.0, "server_s": 0.0,
        "downlink_s": 0.0, "sync_s": 1.0, "total_s": 1.8, "energy_j": 9.0, "temp_c": 40.0,
        "up_bps": 20e6, "down_bps": np.nan, "rtt_s": np.nan, "late": 0,
    }  # fmt: skip
    arrays: dict[str, Any] = {k: np.array([[v]]) for k, v in (usual | changes).items()}
    return Outcome(**arrays, round_s=np.array([1.8]), server_speed=np.array([1.5]))


def test_the_first_measurement_counts_whole(fleet: Fleet) -> None:
    state = estimate.initial(fleet, outcome())
    assert state.speed == pytest.approx(0.16 / 0.8)
    assert state.up_bps == pytest.approx(20e6)
    assert (state.speed_age, state.up_age) == (0, 0)
    assert (state.down_bps, state.down_age) == (state.up_bps, MAX_AGE)  # a guess, and no more
    assert (state.temp_c, state.server_speed) == (40, 1.5)
    assert (state.volatility, state.speed_volatility) == (LINK_VOLATILITY, SPEED_VOLATILITY)
    assert state.usual_speed == pytest.approx(state.speed)
    assert state.usual_up_bps == pytest.approx(state.up_bps)
    assert state.usual_server_speed == pytest.approx(state.server_speed)
    assert (state.way, state.opp) == (3, 1)


def test_later_ones_move_the_logarithm_by_the_gain(fleet: Fleet) -> None:
    first = estimate.initial(fleet, outcome())
    state = estimate.update(fleet, first, outcome(device_s=0.4, up_bps=80e6))
    assert state.speed == pytest.approx(0.2 * 2**SPEED_GAIN)
    assert state.up_bps == pytest.approx(20e6 * 4**LINK_GAIN)
    kept = 1 - VOLATILITY_GAIN
    assert state.volatility == pytest.approx(kept * LINK_VOLATILITY + VOLATILITY_GAIN * np.log(4))
    assert state.speed_volatility == pytest.approx(
        kept * SPEED_VOLATILITY + VOLATILITY_GAIN * np.log(2)
    )
    assert state.usual_speed == pytest.approx(0.2 * 2**USUAL_GAIN)
    assert state.usual_up_bps == pytest.approx(20e6 * 4**USUAL_GAIN)


def test_estimates_tend_to_what_is_measured_again_and_again(fleet: Fleet) -> None:
    state = estimate.initial(fleet, outcome(device_s=8.0, up_bps=1e6))
    for _ in range(20):
        state = estimate.update(fleet, state, outcome())
    assert state.speed == pytest.approx(0.2, rel=1e-3)
    assert state.up_bps == pytest.approx(20e6, rel=1e-3)


def test_a_slower_operating_point_is_no_slower_device(fleet: Fleet) -> None:
    state = estimate.initial(fleet, outcome(opp=0, device_s=1.6))
    assert state.speed == pytest.approx(0.2)


def test_what_was_not_measured_keeps_and_ages(fleet: Fleet) -> None:
    first = estimate.initial(fleet, outcome(down_bps=30e6, rtt_s=0.02))
    state = first
    for age in (1, 2, 3):
        state = estimate.update(fleet, state, outcome(way=0, device_s=0.0, up_bps=np.nan))
        assert (state.speed_age, state.up_age, state.down_age) == (age, age, age)
    kept = ("speed", "up_bps", "down_bps", "rtt_s", "volatility", "speed_volatility")
    for name in (*kept, "usual_speed", "usual_up_bps", "usual_down_bps"):
        assert getattr(state, name) == getattr(first, name)
    old = replace(state, up_age=np.full((1, 1), MAX_AGE))
    assert estimate.update(fleet, old, outcome(up_bps=np.nan)).up_age == MAX_AGE
    assert estimate.update(fleet, state, outcome()).up_age == 0


@pytest.mark.parametrize("rate", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_rate_is_not_measured(fleet: Fleet, rate: float) -> None:
    first = estimate.initial(fleet, outcome())
    state = estimate.update(fleet, first, outcome(up_bps=rate))
    assert (state.up_bps, state.up_age) == (first.up_bps, 1)
    assert (state.down_bps, state.down_age) == (first.down_bps, MAX_AGE)
    assert (state.volatility, state.usual_up_bps) == (first.volatility, first.usual_up_bps)


def test_a_direction_that_is_not_measured_goes_part_of_the_way_with_the_other(
    fleet: Fleet,
) -> None:
    state = estimate.initial(fleet, outcome(up_bps=20e6, down_bps=30e6))
    for age in (1, 2, 3):
        last, state = state, estimate.update(fleet, state, outcome(up_bps=5e6))
        step = (state.up_bps / last.up_bps) ** SHARED_FATE
        assert step < 1
        assert state.down_bps == pytest.approx(last.down_bps * step)
        assert state.down_age == pytest.approx(age * (1 - SHARED_FATE))
    assert (state.up_age, state.usual_down_bps) == (0, pytest.approx(30e6))
    up = estimate.update(fleet, state, outcome(up_bps=np.nan, down_bps=60e6))
    step = (up.down_bps / state.down_bps) ** SHARED_FATE
    assert up.up_bps == pytest.approx(state.up_bps * step)
    assert (up.up_age, up.down_age) == (pytest.approx(1 - SHARED_FATE), 0)


def test_a_direction_never_measured_is_as_fast_as_the_other(fleet: Fleet) -> None:
    state = estimate.initial(fleet, outcome(up_bps=20e6))
    state = estimate.update(fleet, state, outcome(up_bps=5e6))
    assert (state.down_bps, state.down_age) == (state.up_bps, MAX_AGE)
    state = estimate.update(fleet, state, outcome(down_bps=60e6))
    assert (state.down_bps, state.down_age) == (pytest.approx(60e6), 0)


def test_the_first_measurement_of_the_other_direction_is_no_step(fleet: Fleet) -> None:
    first = estimate.initial(fleet, outcome(up_bps=np.nan, down_bps=30e6))
    assert (first.up_bps, first.up_age) == (first.down_bps, MAX_AGE)
    state = estimate.update(fleet, first, outcome(up_bps=1e6, down_bps=np.nan))
    assert (state.up_bps, state.down_bps) == (pytest.approx(1e6), first.down_bps)


RATES = st.sampled_from([np.nan, 0.0, 1e-300, 1e-6, 1.0, 20e6, 1e12, np.inf]) | st.floats(-1, 1e300)


@given(rounds=st.lists(st.tuples(RATES, RATES), min_size=1, max_size=12))
def test_rates_stay_numbers_whatever_is_measured(
    fleet: Fleet, rounds: list[tuple[float, float]]
) -> None:
    state = estimate.initial(fleet, outcome(up_bps=rounds[0][0], down_bps=rounds[0][1]))
    for up_bps, down_bps in rounds:
        state = estimate.update(fleet, state, outcome(up_bps=up_bps, down_bps=down_bps))
        for rate in (state.up_bps, state.down_bps):
            assert LOWEST <= rate <= HIGHEST
        for age in (state.up_age, state.down_age):
            assert 0 <= age <= MAX_AGE


@given(device_s=st.sampled_from([1e-300, 1e-9, 1e7]), bps=st.sampled_from([1e-300, 1e13]))
def test_whatever_a_first_round_claims_can_be_sent(
    fleet: Fleet, device_s: float, bps: float
) -> None:
    state = estimate.initial(fleet, outcome(device_s=device_s, up_bps=bps, down_bps=bps))
    state = estimate.update(fleet, state, outcome())
    for name, value in vars(state).items():
        assert np.isfinite(value).all(), name
        assert np.abs(value).max() <= 1e13, name  # the wire's bound


def test_the_reference_is_the_modelled_native_round(fleet: Fleet) -> None:
    state = estimate.initial(fleet, outcome(down_bps=40e6))
    seconds = 0.16 / 0.2 + 8e6 / 20e6 + 8e6 / 40e6
    assert state.native_s == pytest.approx(seconds)
    each_j = 3.0 * 0.8 + 1.0 * 0.6 + 2.0 * seconds
    assert state.native_j == pytest.approx(2 * each_j)
    columns = cost.joint(fleet, state, fleet.native())
    assert state.native_s == cost.round_s(fleet, columns)


def test_later_rounds_leave_the_reference(fleet: Fleet) -> None:
    first = estimate.initial(fleet, outcome())
    state = estimate.update(fleet, first, outcome(device_s=5.0, up_bps=1e6))
    assert (state.native_s, state.native_j) == (first.native_s, first.native_j)


def test_an_opp_that_was_lost_half_way_counts_as_the_mean_of_both(fleet: Fleet) -> None:
    usual = estimate.initial(fleet, outcome(device_s=0.8)).speed
    lost = estimate.initial(fleet, outcome(device_s=0.8, opp_left=0)).speed
    assert lost == pytest.approx(usual / math.sqrt(0.5))  # it ran at 1.0, and then at 0.5
    raised = estimate.initial(fleet, outcome(device_s=1.6, opp=0, opp_left=1)).speed
    assert raised == usual
