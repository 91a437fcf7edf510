"""Difference rewards, and the buffer that keeps them cluster by cluster."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import planner
from adaptoff.agents.buffer import Rollouts
from adaptoff.agents.credit import MOST, difference_rewards
from adaptoff.agents.train import TrainingEnv
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.fleet import Fleet, FleetState, Rows

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)
N_FLEETS, CLUSTERS = 6, 3


def drawn(fleet: Fleet, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    cut = rng.integers(fleet.min_cut[:, None], fleet.n_cuts[:, None], fleet.shape)
    return Rows(cut, rng.integers(0, fleet.n_opps))


@given(seed=SEEDS)
def test_a_cluster_is_credited_with_what_its_own_row_changes(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, fleets=2, padded=True)
    state = replace(state, temp_c=fleet.trip_c - 1)  # else the planned OPP is throttled
    rows, planned = drawn(fleet, seed), drawn(fleet, seed + 1)
    credit = difference_rewards(fleet, state, rows, planned)
    cost = planner.joint_cost(fleet, state, rows)
    for g in range(fleet.shape[1]):
        cut, opp = rows.cut.copy(), rows.opp.copy()
        cut[:, g], opp[:, g] = planned.cut[:, g], planned.opp[:, g]
        without = planner.joint_cost(fleet, state, Rows(cut, opp))
        real = fleet.active[:, g]
        worth = np.clip(np.log(without / cost), -MOST, MOST)
        np.testing.assert_allclose(credit[real, g], worth[real], atol=1e-12)
    assert (credit[~fleet.active] == 0).all()


@given(seed=SEEDS)
def test_the_planned_row_is_worth_nothing(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, fleets=2)
    state = replace(state, temp_c=fleet.trip_c - 1)
    rows, planned = drawn(fleet, seed), drawn(fleet, seed + 1)
    rows.cut[:, 0], rows.opp[:, 0] = planned.cut[:, 0], planned.opp[:, 0]
    assert (difference_rewards(fleet, state, rows, planned)[:, 0] == 0).all()


@pytest.fixture
def env() -> TrainingEnv:
    env = TrainingEnv(RandomFleets(N_FLEETS, 4, Limits(CLUSTERS, 5, 3)), 4)
    env.reset()
    return env


def test_credit_is_given_under_the_conditions_of_the_round(env: TrainingEnv) -> None:
    """The emulator's own cost of the round, and that of another row in an emulator alike."""
    twin = TrainingEnv(RandomFleets(N_FLEETS, 4, Limits(CLUSTERS, 5, 3)), 4)
    twin.reset()
    native, _ = env.episode.table.find(env.episode.fleet.native())
    planned, _ = twin.episode.table.find(twin.episode.sight.rows)
    index = native.copy()
    index[:, 0] = planned[:, 0]
    (rewards, costs), (_, without) = env.play(native), twin.play(index)
    worth = np.clip(np.log(without / costs), -MOST, MOST)
    np.testing.assert_allclose(rewards[:, 0], worth, atol=1e-6)
    assert env.mean_cost == pytest.approx(costs.mean())
    assert np.abs(rewards).max() > 0.01


def test_advantages_are_each_clusters_own() -> None:
    env = TrainingEnv(RandomFleets(2, 4, Limits(CLUSTERS, 5, 3)), 4)
    steps, gamma, lam = 3, 0.5, 0.8
    buffer = Rollouts(
        steps, env.observation_space, env.action_space, "cpu",
        gae_lambda=lam, gamma=gamma, n_envs=2,
    )  # fmt: skip
    rng, shape = np.random.default_rng(0), (2, CLUSTERS)
    rewards, values = rng.random((steps, *shape)), torch.rand(steps + 1, *shape)
    starts = np.array([[1, 1], [0, 0], [0, 1]])  # the second fleet's episode ends after two rounds
    for t in range(steps):
        buffer.add(
            env.reset(), np.zeros(shape), rewards[t], starts[t], values[t], torch.zeros(shape)
        )
    buffer.compute_returns_and_advantage(values[-1], np.array([False, False]))
    batch = next(iter(buffer.get()))
    expected = np.zeros((steps, *shape))
    after = np.zeros(shape)
    for t in reversed(range(steps)):
        goes_on = 1.0 - (starts[t + 1] if t + 1 < steps else np.zeros(2))[:, None]
        delta = rewards[t] + gamma * goes_on * values[t + 1].numpy() - values[t].numpy()
        expected[t] = after = delta + gamma * lam * goes_on * after
    assert batch.advantages.shape == batch.old_log_prob.shape == (steps * 2, CLUSTERS)
    assert batch.returns.shape == batch.old_values.shape == (steps * 2 * CLUSTERS,)
    found = np.sort(batch.advantages.numpy(), 0)
    np.testing.assert_allclose(found, np.sort(expected.reshape(-1, CLUSTERS), 0), rtol=1e-5)
    returns = batch.returns.reshape(-1, CLUSTERS) - batch.advantages
    np.testing.assert_allclose(
        np.sort(returns, 0), np.sort(values[:-1].reshape(-1, CLUSTERS), 0), rtol=1e-5
    )
