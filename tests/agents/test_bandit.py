"""The bandit on fleets made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from adaptoff import cost
from adaptoff.agents.bandit import LinUCB
from adaptoff.agents.method import play, top_clock
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Round
from adaptoff.fleet import Fleet, Ints, Rows
from tests.agents.steady import Values, backend_of, small_fleet, state_of

QUICK: Values = {"up_bps": 200e6, "down_bps": 200e6}
SLOW: Values = {"up_bps": 2e6, "down_bps": 2e6}


@pytest.fixture
def fleet(profile, scenario) -> Fleet:
    """Without weights to send, so that native is quick on any link."""
    return small_fleet(profile, scenario, sync_bytes=np.zeros((1, 4)))


def quickest(backend: EmulatedFleet) -> Ints:
    """Cut (G,) that is quickest for each cluster alone, in truth."""
    fleet, truth = backend.fleet, backend.truth()
    cuts = range(int(fleet.min_cut[0]), int(fleet.n_ways[0]))
    rows = [Rows(np.full(fleet.shape, cut), fleet.native().opp) for cut in cuts]
    totals = np.array([cost.solo(fleet, truth, row).total_s[0] for row in rows])
    return np.array(cuts)[totals.argmin(0)]


def unforced(method: LinUCB, done: list[Round]) -> list[list[int]]:
    """Cuts of the rounds in which the method was free."""
    return [
        each.outcome.way[0].tolist()
        for number, each in enumerate(done, 1)
        if not method.forced(number)
    ]


@pytest.mark.parametrize("conditions", [QUICK, SLOW, QUICK | {"speed": [[0.02, 0.5]]}])
def test_it_settles_on_the_best_cut_of_a_steady_fleet(fleet, conditions) -> None:
    backend, method = backend_of(fleet, **conditions), LinUCB()
    done = play(method, backend, 0, 60)
    best = quickest(backend).tolist()
    assert unforced(method, done)[-15:] == [best] * 15
    assert all((each.outcome.opp == fleet.native().opp).all() for each in done)


def test_the_cases_above_differ(fleet) -> None:
    bests = [quickest(backend_of(fleet, **each)).tolist() for each in (QUICK, SLOW)]
    assert bests == [[1, 3], [3, 3]]


def test_forced_rounds_keep_trying_to_offload(fleet) -> None:
    """Where native is best, only forced rounds leave it once that is known."""
    method = LinUCB()
    done = play(method, backend_of(fleet, **SLOW), 0, 100)
    left = [n for n, each in enumerate(done, 1) if (each.outcome.way < 3).any() and n > 10]
    assert left == [n for n in range(11, 101) if method.forced(n)]
    assert left[-1] > 90


def test_forced_rounds_become_rarer() -> None:
    forced = [n for n in range(1, 2000) if LinUCB().forced(n)]
    gaps = np.diff(forced)
    assert forced[0] == 6
    assert gaps[0] == 6  # the root of 32
    assert gaps[-1] == 32  # the root of 1024
    halves = [sum(n <= 1000 for n in forced), sum(n > 1000 for n in forced)]
    assert halves[1] < 0.8 * halves[0]
    assert len(forced) < 2 * 3 * 2000**0.5


def test_without_forced_rounds_native_is_a_trap(fleet) -> None:
    """The link is slow at first; only who tries again learns that it is not any more."""
    last = []
    for method in (LinUCB(ridge=0.01), LinUCB(ridge=0.01, phase=10**6)):
        backend = backend_of(fleet, **SLOW)
        backend.source.later, backend.source.change = QUICK, 12
        last.append(unforced(method, play(method, backend, 0, 150))[-1][0])
    assert last[0] < 3
    assert last[1] == 3


def test_every_cluster_learns_for_itself(fleet) -> None:
    """One cluster's link is quick, the other's slow; both devices are as slow as each other."""
    backend = backend_of(fleet, speed=[[0.1, 0.1]], up_bps=[[2e8, 2e6]], down_bps=[[2e8, 2e6]])
    method = LinUCB()
    assert unforced(method, play(method, backend, 0, 60))[-1] == [1, 3]


def test_episodes_start_without_what_was_learnt(fleet) -> None:
    method = LinUCB()
    first, again = (
        [each.outcome.way.tolist() for each in play(method, backend_of(fleet, **QUICK), 0, 12)]
        for _ in range(2)
    )
    assert first == again


def test_a_forced_cluster_with_native_alone_takes_it(fleet) -> None:
    tight = replace(fleet, memory_limit_bytes=np.array([[1.0, 1e12]]))
    cuts = [each.outcome.way[0].tolist() for each in play(LinUCB(), backend_of(tight), 0, 12)]
    assert {cut[0] for cut in cuts} == {3}
    assert {cut[1] for cut in cuts} != {3}


def test_three_features_suffice_for_the_time_beyond_the_device(fleet) -> None:
    """After one round at each cut, all are known, where no server is shared."""
    backend, method = backend_of(fleet, server_speed=[1e6]), LinUCB(ridge=1e-9, alpha=0.0)
    method.reset(backend, 0)
    state = state_of(fleet, server_speed=[1e6])
    method.choose(fleet, state)
    cuts = [np.full(fleet.shape, cut) for cut in (1, 2, 3)]
    seen = [backend.apply(Rows(cut, fleet.native().opp)) for cut in cuts]
    for outcome in seen:
        method.see(outcome, np.zeros(1))
    table = top_clock(fleet, state)
    guess_s = table.spread(method._optimistic(fleet, state, table), np.inf)[0]
    guess_s = guess_s[np.isfinite(guess_s)].reshape(2, 3) * method._unit_s[0][:, None]
    np.testing.assert_allclose(guess_s, np.array([each.total_s[0] for each in seen]).T, rtol=1e-3)
