"""Rows: which are possible, and which survive when there are too many."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import candidates, cost, lookup
from adaptoff.candidates import R_MAX
from adaptoff.fleet import Fleet, FleetState, Floats, Ints, Options, Rows
from adaptoff.table import Table

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)


def pairs(table: Table, fleet: int = 0, cluster: int = 0) -> set[tuple[int, int]]:
    at = fleet, cluster
    valid = table.valid[at]
    return set(zip(table.rows.way[at][valid], table.rows.opp[at][valid], strict=True))


def has(table: Table, rows: Rows) -> bool:
    same = (table.rows.way == rows.way[..., None]) & (table.rows.opp == rows.opp[..., None])
    return bool((same & table.valid).any(2).all())


def test_all_cuts_times_all_opps(world: MakeWorld) -> None:
    fleet, state = world(0, clusters=1, cuts=3, opps=2)
    fleet = replace(
        fleet,
        min_cut=np.array([0]),
        n_opps=np.array([[2]]),
        memory_limit_bytes=np.full((1, 1), 1e15),
    )
    assert pairs(candidates.build(fleet, state)) == {(c, k) for c in range(3) for k in range(2)}


def test_each_mask(world: MakeWorld) -> None:
    fleet, state = world(0, clusters=1, cuts=4, opps=3)
    fleet = replace(
        fleet,
        min_cut=np.array([1]),
        n_opps=np.array([[2]]),
        memory_bytes=np.array([[0.0, 5.0, 20.0, 30.0]]),
        memory_limit_bytes=np.array([[10.0]]),
    )
    # cut 0 is below min_cut, 2 needs too much memory, 3 too, but native must always be possible
    assert pairs(candidates.build(fleet, state)) == {(1, 0), (1, 1), (3, 1)}


@given(seed=SEEDS)
def test_native_is_always_possible_and_all_that_padding_has(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, fleets=3, clusters=4, padded=True, span=2.0)
    table = candidates.build(fleet, state)
    assert has(table, fleet.native())
    assert (table.valid.sum(2)[~fleet.active] == 1).all()


def test_a_smaller_dnn_beside_a_bigger_one(world: MakeWorld) -> None:
    fleet, state = world(3, fleets=2, clusters=1, cuts=5, opps=2)
    fleet = replace(fleet, n_ways=np.array([3, 5]), min_cut=np.array([0, 0]))
    fleet = replace(fleet, memory_limit_bytes=np.full((2, 1), 1e15))
    state = replace(state, way=np.minimum(state.way, 2))
    table = candidates.build(fleet, state)
    assert {cut for cut, _ in pairs(table, 0)} == {0, 1, 2}
    assert {cut for cut, _ in pairs(table, 1)} == {0, 1, 2, 3, 4}
    assert has(table, fleet.native())


def test_take_picks_by_index(world: MakeWorld) -> None:
    fleet, state = world(1)
    table = candidates.build(fleet, state)
    rows = table.take(np.array([[4, 0, 7]]))
    assert rows.way.tolist() == [[1, 0, 2]]
    assert rows.opp.tolist() == [[1, 0, 1]]


def test_options_are_the_possible_rows(world: MakeWorld) -> None:
    fleet, state = world(4, fleets=3, padded=True)
    table = candidates.build(fleet, state)
    options = table.options
    assert len(options.way) == table.valid.sum()
    np.testing.assert_array_equal(table.spread(options.way, -1)[table.valid], options.way)
    assert (table.spread(options.way, -1)[~table.valid] == -1).all()
    values = np.random.default_rng(0).random(len(options.way))
    wide = table.spread(values, np.inf)
    np.testing.assert_array_equal(table.least(values), wide.min(2))
    np.testing.assert_array_equal(values[table.at_least(values)], wide.min(2))
    at = table.at_least(np.zeros_like(values))  # the first of equals
    np.testing.assert_array_equal(options.way[at], table.take(table.valid.argmax(2)).way)


def goals(fleet: Fleet, state: FleetState, cluster: int, levers: Ints) -> Floats:
    """(seconds, joules, uplink bytes) of (cut, OPP) pairs, beside what the others do now."""
    whose = np.full(len(levers), cluster)
    rows = Options(np.zeros_like(whose), whose, *levers.T)
    columns = cost.alternatives(fleet, state, rows, cost.joint(fleet, state, state.rows))
    up_bytes = lookup.of_way(fleet.up_bytes, rows)
    return np.stack([columns.total_s, columns.active_j, up_bytes], -1)


def undominated(points: Floats) -> list[int]:
    def beaten(point: Floats) -> bool:
        return any((other <= point).all() and (other < point).any() for other in points)

    return [i for i, point in enumerate(points) if not beaten(point)]


@given(seed=SEEDS)
def test_of_too_many_the_useful_ones_stay(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, clusters=2, cuts=16, opps=8)
    fleet = replace(fleet, memory_limit_bytes=np.full((1, 2), 1e15), n_opps=np.full((1, 2), 8))
    table = candidates.build(fleet, state)
    assert table.valid.shape == (1, 2, R_MAX)
    assert has(table, fleet.native())
    assert has(table, state.rows)
    everything = np.array([(c, k) for c in range(fleet.min_cut[0], 16) for k in range(8)])
    for cluster in range(2):
        front = undominated(goals(fleet, state, cluster, everything))
        assert len(front) <= R_MAX - 2
        kept = pairs(table, 0, cluster)
        assert len(kept) == R_MAX
        assert {tuple(everything[i]) for i in front} <= kept
