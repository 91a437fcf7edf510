"""Fleet figures: what is broadcast is what every device reads."""

from dataclasses import fields

import msgspec
import numpy as np
import pytest

from adaptoff import estimate
from adaptoff.controller import decide
from adaptoff.figures import clusters_of, outcome_of, prior_of, regroup, state_of, view
from adaptoff.fleet import FleetState
from adaptoff.messages import FleetFigures
from adaptoff.observation import FEATURES
from adaptoff.policy import Policy
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.ways import Ways


def same(mine: FleetState, other: FleetState) -> None:
    for f in fields(FleetState):
        a, b = getattr(mine, f.name), getattr(other, f.name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def over_the_wire(figures: FleetFigures) -> FleetFigures:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(figures), type=FleetFigures)


def test_state_and_prior_are_inverse(figures: FleetFigures) -> None:
    state = state_of(figures.prior)
    assert prior_of(state) == figures.prior
    same(state_of(prior_of(state)), state)


def test_nothing_changes_on_the_wire(figures: FleetFigures) -> None:
    told = over_the_wire(figures)
    assert told == figures
    same(state_of(told.prior), state_of(figures.prior))


def test_clusters_stand_as_their_slowest_member(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    fleet = clusters_of(scenario, profile, figures)
    assert fleet.count.tolist() == [[2, 1]]
    assert fleet.n_opps.tolist() == [[2, 3]]
    np.testing.assert_allclose(fleet.relative_speed[0], [[0.5, 1, 1], [0.4, 0.7, 1]])


def test_the_view_blends_the_telemetry_into_the_prior(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    state = view(scenario, profile, figures).state
    measured = 4 * 0.05 * 0.5 / 0.5  # four batches of cut 2 in half a second
    gain = estimate.SPEED_GAIN
    assert state.speed[0, 0] == pytest.approx(0.2 ** (1 - gain) * measured**gain)
    shared = estimate.SHARED_FATE  # the downlink was not measured: it goes with the uplink
    step = (state.up_bps[0, 1] / 9e6) ** shared
    assert state.down_bps[0, 1] == pytest.approx(18e6 * step)
    assert state.down_age[0] == pytest.approx([0, 4 - shared])
    assert (state.server_speed, state.way.tolist()) == (1.8, [[2, 1]])
    assert state.native_s == figures.prior["native_s"]


def test_the_same_figures_give_the_same_decision(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    weight = np.random.default_rng(0).standard_normal((len(FEATURES), 1)).astype(np.float32)
    policy = Policy([(weight, np.zeros(1, np.float32))])
    mine, other = (
        decide(seen.fleet, seen.state, policy)
        for seen in (view(scenario, profile, f) for f in (figures, over_the_wire(figures)))
    )
    np.testing.assert_array_equal(mine.rows.way, other.rows.way)
    np.testing.assert_array_equal(mine.rows.opp, other.rows.opp)


def test_regrouped_clusters_take_their_estimates_along(figures: FleetFigures) -> None:
    state = state_of(figures.prior)
    grouped = regroup(state, [1, 0, 1])
    assert grouped.speed.tolist() == [[0.9, 0.2, 0.9]]
    assert grouped.way.tolist() == [[*state.way[0, [1, 0, 1]]]]
    assert grouped.native_s == state.native_s


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"speed": None}, KeyError),
        ({"volatility": [0.2]}, ValueError),
        ({"speed": [0.0, 1.0]}, ValueError),
        ({"up_bps": [-1.0, 1.0]}, ValueError),
        ({"native_s": [0.0]}, ValueError),
        ({"native_s": [1.0, 1.0]}, ValueError),
        ({"way": [-1, 0]}, ValueError),
        ({"opp": []}, ValueError),
    ],
)
def test_an_odd_prior_is_refused(
    figures: FleetFigures, change: dict[str, list[float] | None], error: type[Exception]
) -> None:
    prior = {k: v for k, v in (figures.prior | change).items() if v is not None}
    with pytest.raises(error, match=next(iter(change))):
        state_of(prior)


@pytest.mark.parametrize(("left", "taken"), [(0, 0), (1, 1), (None, 1), (63, 1)])
def test_the_opp_left_is_at_most_the_one_applied(
    figures: FleetFigures, scenario: Scenario, profile: Profile, left: int | None, taken: int
) -> None:
    seen = msgspec.structs.replace(figures.telemetry[0], opp=1, opp_left=left)
    found = outcome_of(Ways(profile, scenario.workload), [seen], 2.0, 1.8)
    assert (found.opp, found.opp_left) == (1, taken)
    assert found.opp_left.dtype == np.int64
