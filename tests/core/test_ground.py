"""What is worked out once of a fleet: the same as anew, and used as long as the clusters stay."""

import dataclasses
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adaptoff import candidates, cost, lookup
from adaptoff.controller import decide
from adaptoff.figures import Reader, View, view
from adaptoff.fleet import Fleet, FleetState
from adaptoff.foresight import foresee, looked_at
from adaptoff.ground import Ground, renewed, scene
from adaptoff.messages import FleetFigures
from adaptoff.observation import observe
from adaptoff.policy import Policy, default
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS)
def test_options_have_the_values_of_their_cluster_and_fleet(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, fleets=3, clusters=4, padded=True)
    ground = Ground(fleet, candidates.build(fleet, state))
    options = ground.options
    speed, server = ground.each(state.speed, state.server_speed[:, None])
    np.testing.assert_array_equal(speed, lookup.of_cluster(state.speed, options))
    np.testing.assert_array_equal(server, lookup.of_fleet(state.server_speed, options))
    several = np.random.default_rng(seed).random((2, *fleet.shape))
    wanted = several[:, options.fleet, options.cluster]
    np.testing.assert_array_equal(ground.spread(several), wanted)


@given(seed=SEEDS)
def test_columns_by_its_facts_are_those_of_the_cost_model(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, fleets=3, clusters=4, padded=True)
    table = candidates.build(fleet, state)
    at = scene(Ground(fleet, table), state)
    mine = cost.predicted(at.ground.facts, at.at)
    wanted = cost.solo(fleet, state, table.options)
    np.testing.assert_array_equal(mine.total_s, wanted.total_s)
    np.testing.assert_array_equal(mine.active_j, wanted.active_j)


@given(seed=SEEDS)
def test_a_ground_serves_every_state_of_its_fleet(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, clusters=4)
    ground = renewed(None, fleet, state)
    assert ground.grid
    assert ground.grid.lasting
    assert renewed(ground, fleet, world(seed + 1, clusters=4)[1]) is ground
    for later in (state, world(seed + 1, clusters=4)[1]):
        sight = looked_at(scene(ground, later))
        np.testing.assert_array_equal(observe(sight), observe(foresee(fleet, later)))


def test_a_table_that_the_state_cuts_short_is_not_kept(world: MakeWorld) -> None:
    fleet, state = world(0, cuts=20, opps=8)
    first = renewed(None, fleet, state)
    assert first.table.valid.shape[2] == candidates.R_MAX
    other = dataclasses.replace(state, up_bps=state.up_bps[:, ::-1], down_bps=state.down_bps * 100)
    later = renewed(first, fleet, other)
    assert later.grid is first.grid
    np.testing.assert_array_equal(later.table.rows.way, candidates.build(fleet, other).rows.way)
    assert (later.table.rows.way != first.table.rows.way).any()


def test_a_reader_works_out_clusters_once(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    reader = Reader(scenario, profile)
    first, again = reader.view(figures), reader.view(replace(figures, round_s=3.0))
    assert first.ground
    assert again.ground is first.ground
    same(first.state, view(scenario, profile, figures).state)


def same(mine: FleetState, other: FleetState) -> None:
    for name, value in vars(mine).items():
        np.testing.assert_array_equal(value, getattr(other, name))


def test_a_reader_sees_new_clusters(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    reader, policy = Reader(scenario, profile), default()
    reader.view(figures)
    for other in (moved(figures), replace(figures, clusters=[0, 1, 1]), figures):
        seen, anew = reader.view(other), view(scenario, profile, other)
        np.testing.assert_array_equal(seen.fleet.count, anew.fleet.count)
        np.testing.assert_array_equal(seen.fleet.n_opps, anew.fleet.n_opps)
        mine, wanted = rows_of(seen, policy), rows_of(anew, policy)
        assert mine == wanted


def moved(figures: FleetFigures) -> FleetFigures:
    """The same where the fast board stands for the first cluster, too."""
    first, second = figures.telemetry
    return replace(figures, telemetry=[replace(first, device=2), second])


def rows_of(seen: View, policy: Policy) -> list[list[int]]:
    rows = decide(seen.fleet, seen.state, policy, seen.ground).rows
    return [rows.way[0].tolist(), rows.opp[0].tolist()]
