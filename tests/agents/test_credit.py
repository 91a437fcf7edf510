"""What every row would have been worth, and the buffer that keeps it row by row."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import candidates, planner
from adaptoff.agents.buffer import Rollouts
from adaptoff.agents.credit import MOST, worth
from adaptoff.agents.train import TrainingEnv
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.fleet import Fleet, FleetState
from adaptoff.ground import Ground

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)
CLUSTERS = 3


@given(seed=SEEDS)
def test_a_row_is_worth_what_it_saves_while_the_others_keep_theirs(
    world: MakeWorld, seed: int
) -> None:
    fleet, state = world(seed, cuts=3, opps=2)
    state = replace(state, temp_c=fleet.trip_c - 1)  # else the OPPs asked for are throttled
    table = candidates.build(fleet, state)
    rng = np.random.default_rng(seed)
    index = (table.valid * rng.random(table.valid.shape)).argmax(2)
    found = worth(Ground(fleet, table), state, table.take(index))
    for g in range(fleet.shape[1]):
        possible = np.flatnonzero(table.valid[0, g])
        others = np.tile(index, (len(possible), 1))
        others[:, g] = possible
        logs = [
            np.log(planner.joint_cost(fleet, state, table.take(one[None])))[0] for one in others
        ]
        expected = np.maximum(np.min(logs) - logs, -MOST)
        np.testing.assert_allclose(found[0, g, possible], expected, atol=1e-12)


@given(seed=SEEDS)
def test_a_cluster_has_a_best_row_and_an_impossible_one_is_the_worst(
    world: MakeWorld, seed: int
) -> None:
    fleet, state = world(seed, fleets=2, padded=True)
    table = candidates.build(fleet, state)
    found = worth(Ground(fleet, table), state, fleet.native())
    assert (found.max(2) == 0).all()
    assert (found[~table.valid] == -MOST).all()


@pytest.fixture
def env() -> TrainingEnv:
    env = TrainingEnv(RandomFleets(6, 4, Limits(CLUSTERS, 5, 3)), 4)
    env.reset()
    return env


def test_worth_is_that_under_the_conditions_of_the_round(env: TrainingEnv) -> None:
    """The emulator's own cost of the round, and that of another row in an emulator alike."""
    twin = TrainingEnv(RandomFleets(6, 4, Limits(CLUSTERS, 5, 3)), 4)
    twin.reset()
    table = env.episode.table
    native, _ = table.find(env.episode.fleet.native())
    index = native.copy()
    index[:, 0] = table.find(twin.episode.sight.rows)[0][:, 0]
    (rewards, costs), (_, others) = env.play(native), twin.play(index)
    found = np.take_along_axis(
        rewards.reshape(table.valid.shape)[:, 0], np.stack([native[:, 0], index[:, 0]], 1), 1
    )
    near = (found > -MOST).all(1)
    np.testing.assert_allclose(
        (found[:, 1] - found[:, 0])[near], np.log(costs / others)[near], atol=1e-5
    )
    assert near.any()
    assert (costs != others).any()
    assert env.mean_cost == pytest.approx(costs.mean())


def test_advantages_are_worth_above_expectation_times_probability(env: TrainingEnv) -> None:
    steps, n_fleets = 2, env.num_envs
    buffer = Rollouts(steps, env.observation_space, env.action_space, "cpu", n_envs=n_fleets)
    rng = np.random.default_rng(0)
    rows = int(env.action_space.nvec.sum())
    log_p = torch.randn(steps, n_fleets, CLUSTERS, rows // CLUSTERS).log_softmax(-1)
    rewards = rng.random((steps, n_fleets, rows)).astype(np.float32)
    start, nothing = np.zeros(n_fleets), torch.zeros(n_fleets, 1)
    for t in range(steps):
        actions = np.zeros((n_fleets, CLUSTERS))
        buffer.add(env.reset(), actions, rewards[t], start, nothing, log_p[t].flatten(1))
    buffer.compute_returns_and_advantage(nothing, start)
    batch = next(iter(buffer.get()))
    p, worths = log_p.exp().numpy(), rewards.reshape(log_p.shape)
    for f in range(n_fleets):
        for g in range(CLUSTERS):
            mean = p[0, f, g] @ worths[0, f, g]
            mine = buffer.advantages.reshape(log_p.shape)[0, f, g]
            np.testing.assert_allclose(mine, p[0, f, g] * (worths[0, f, g] - mean), atol=1e-6)
    assert batch.advantages.shape == batch.old_log_prob.shape == (steps * n_fleets, rows)
    assert (batch.returns == 0).all()
