"""The oracle against trying everything."""

from collections.abc import Iterator

import numpy as np
import pytest

from adaptoff import candidates, planner
from adaptoff.agents import exact
from adaptoff.agents.hindsight import Oracle, search
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.fleet import Fleet, FleetState, Floats, Rows, take
from adaptoff.table import Table

SIZES = ((60, Limits(2, 9, 4)), (60, Limits(3, 5, 3)), (40, Limits(4, 4, 2)), (30, Limits(5, 3, 2)))
"""fleets drawn, and how large at most"""


def episodes() -> Iterator[Episode]:
    for seed, (n_fleets, limits) in enumerate(SIZES):
        episode = Episode(EmulatedFleet(RandomFleets(n_fleets, 2, limits)))
        episode.reset(40 + seed)
        yield episode


def true_state(episode: Episode) -> FleetState:
    return episode.state.under(episode.backend.truth())


def lowest_costs(fleet: Fleet, true: FleetState) -> Floats:
    """Of each fleet (F,), by trying all joint rows."""
    assert exact.joint_rows(candidates.build(fleet, true)).max() <= exact.MOST_JOINT_ROWS
    costs = []
    for i in np.arange(fleet.shape[0])[:, None]:
        alone = take(fleet, i), take(true, i)
        costs.append(planner.joint_cost(*alone, planner.enumerate_best(*alone))[0])
    return np.array(costs)


def test_the_oracle_is_exact_and_its_search_alone_seldom_wrong() -> None:
    gaps, rest = [], []
    for episode in episodes():
        fleet, true = episode.fleet, true_state(episode)
        best = lowest_costs(fleet, true)
        oracle = Oracle()
        oracle.reset(episode.backend, 0)
        mine = planner.joint_cost(fleet, true, oracle.choose(fleet, episode.state))
        rest.append(mine / best - 1)
        found = planner.joint_cost(fleet, true, search(fleet, episode.state, true))
        gaps.append(found / best - 1)
    gap = np.concatenate(gaps)
    summary = f"{len(gap)} fleets: worst gap {gap.max():.4f}, mean {gap.mean():.6f}"
    np.testing.assert_allclose(np.concatenate(rest), 0.0, atol=1e-9)
    assert (gap > -1e-9).all()
    assert (gap > 0.005).mean() < 0.02, summary
    assert gap.mean() < 5e-3, summary


def test_what_is_left_out_could_not_have_won(world) -> None:
    """Also where stages overlap, devices are hot and clusters padded."""
    left_out = 0
    for seed in range(40):
        fleet, state = world(seed, clusters=3, cuts=4, opps=2, span=0.7, padded=True)
        table = candidates.build(fleet, state)
        best = planner.enumerate_best(fleet, state)
        for known in (best, planner.plan(fleet, state), fleet.native()):
            bound = planner.joint_cost(fleet, state, known)
            kept = exact.could_win(fleet, state, table, bound)
            assert not (kept & ~table.valid).any()
            left_out += (table.valid & ~kept).sum()
            again = planner.enumerate_best(fleet, state, Table(table.rows, kept))
            assert again.way.tolist() == best.way.tolist()
            assert again.opp.tolist() == best.opp.tolist()
    assert left_out > 500


def test_large_fleets_keep_what_was_found(world, monkeypatch) -> None:
    fleet, state = world(3, fleets=4, clusters=3, cuts=4, opps=2, span=0.5)
    native = fleet.native()
    monkeypatch.setattr(exact, "MOST_JOINT_ROWS", 0)
    kept = exact.best_rows(fleet, state, native)
    np.testing.assert_array_equal(kept.way, native.way)
    monkeypatch.setattr(exact, "MOST_JOINT_ROWS", 10_000)
    better = exact.best_rows(fleet, state, Rows(native.way.copy(), native.opp.copy()))
    before = planner.joint_cost(fleet, state, native)
    assert (planner.joint_cost(fleet, state, better) < before).any()


def test_what_was_found_is_kept_where_the_table_has_nothing_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table of many ways has but the quickest of each cut: what was found may not be in it."""
    episode = next(episodes())
    fleet, state = episode.fleet, true_state(episode)
    found = search(fleet, state, state)
    table = candidates.build(fleet, state)
    poor = Table(table.rows, (table.rows.way == fleet.n_ways[:, None, None] - 1) & table.valid)
    monkeypatch.setattr(candidates, "build", lambda *_: poor)
    kept = exact.best_rows(fleet, state, found)
    better = planner.joint_cost(fleet, state, found) < planner.joint_cost(
        fleet, state, planner.plan(fleet, state, poor)
    ) * (1 - 1e-9)
    assert better.sum() > 10
    np.testing.assert_array_equal(kept.way[better], found.way[better])
    np.testing.assert_array_equal(kept.opp[better], found.opp[better])
