import subprocess
import sys
from dataclasses import fields, replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import adaptoff.envs
from adaptoff import config, estimate
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode, usable
from adaptoff.envs.fleet_env import LIVE, FleetEnv, padded
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.envs.trials import DrawnTrial
from adaptoff.envs.vec_env import FleetVecEnv
from adaptoff.errors import InputError
from adaptoff.fleet import Rows
from adaptoff.foresight import foresee
from adaptoff.observation import FEATURES, LIMIT, Observation, observe

SMALL = Limits(3, 5, 3)


def emulated(fleets: int = 1, rounds: int = 4) -> EmulatedFleet:
    return EmulatedFleet(RandomFleets(fleets, rounds, SMALL))


def test_both_checkers_are_content() -> None:
    gymnasium.register_envs(adaptoff.envs)
    env = gymnasium.make("adaptoff/Fleet-v0", rounds=5).unwrapped
    check_env(env)
    check_env_sb3(env)


def test_live_sized_observations_pass_too() -> None:
    check_env_sb3(FleetEnv(emulated(), 4, LIVE))


def test_a_shipped_scenario_can_be_made() -> None:
    env = gymnasium.make("adaptoff/Fleet-v0", scenario="demo")
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    env.close()


def test_importing_the_core_registers_nothing() -> None:
    code = "import sys, adaptoff, adaptoff.controller; assert 'gymnasium' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_episodes_are_truncated_not_terminated() -> None:
    env = FleetEnv(emulated(), 3)
    env.reset(seed=1)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    env.close()


def test_the_reward_is_minus_the_rounds_cost_by_hand() -> None:
    env = FleetEnv(emulated(), 3)
    env.reset(seed=1)
    state, fleet = env.episode.state, env.episode.fleet
    seen: list[object] = []
    apply = env.episode.backend.apply
    env.episode.backend.apply = lambda rows: seen.append(apply(rows)) or seen[0]
    _, reward, *_ = env.step(np.zeros(env.shape.clusters, np.int64))
    done = seen[0]
    excess = max(done.temp_c[fleet.active].max() - fleet.heat_limit_c[0], 0)
    cost = done.round_s[0] / state.native_s[0] + excess / 10
    cost += fleet.energy_weight[0] * done.energy_j.sum() / state.native_j[0]
    assert reward == pytest.approx(-cost)


def test_an_impossible_index_stands_for_native() -> None:
    episode = Episode(emulated(8))
    episode.reset(0)
    fleet, table = episode.fleet, episode.table
    n_rows = table.valid.shape[2]
    for wrong in (-1, n_rows):
        index, replaced = usable(fleet, table, np.full(fleet.shape, wrong))
        assert replaced.all()
        np.testing.assert_array_equal(table.take(index).way, fleet.native().way)
        np.testing.assert_array_equal(table.take(index).opp, fleet.native().opp)
    fine = table.valid.argmax(2)
    index, replaced = usable(fleet, table, fine)
    np.testing.assert_array_equal(index, fine)
    assert not replaced.any()


def test_the_guard_replaces_bad_rows_and_lowers_the_cost() -> None:
    free, guarded = Episode(emulated(64)), Episode(emulated(64), guard=True)
    for episode in (free, guarded):
        episode.reset(5)
    slowest = free.table.valid.argmax(2)
    a, b = free.step(slowest), guarded.step(slowest)
    changed = b.replaced & ~a.replaced
    assert changed.any()
    assert b.cost.mean() < a.cost.mean()


def test_padding_gives_an_absent_cluster_one_row() -> None:
    features = np.ones((2, 1, 3, len(FEATURES)), np.float32)
    out = padded(features, np.ones((2, 1, 3), bool), LIVE)
    mask = out["mask"].reshape(2, LIVE.clusters, LIVE.rows)
    assert mask.sum(2).tolist() == [[3] + [1] * 7] * 2
    assert out["features"].sum() == features.sum()
    with pytest.raises(InputError):
        padded(np.zeros((1, 9, 3, 20), np.float32), np.ones((1, 9, 3), bool), LIVE)


def test_the_batched_adapter_agrees_with_the_single_environment() -> None:
    single, batched = FleetEnv(emulated(), 4), FleetVecEnv(emulated(), 4, seed=9)
    drawn = int(np.random.default_rng(9).integers(2**31))
    first, _ = single.reset(seed=drawn)
    both = batched.reset()
    np.testing.assert_array_equal(first["features"], both["features"][0])
    action = np.ones(single.shape.clusters, np.int64)
    observation, reward, *_ = single.step(action)
    seen, rewards, _, _ = batched.step(action[None])
    np.testing.assert_array_equal(observation["features"], seen["features"][0])
    assert rewards[0] == pytest.approx(reward, rel=1e-6)


def test_all_fleets_end_together_and_start_anew() -> None:
    env = FleetVecEnv(emulated(5, rounds=3), 3)
    env.reset()
    before = env.episode.fleet
    for step in range(3):
        seen, rewards, dones, infos = env.step(np.zeros((5, 3), np.int64))
        assert rewards.shape == dones.shape == (5,)
        assert dones.all() == dones.any() == (step == 2)
    assert env.episode.fleet is not before
    for i, info in enumerate(infos):
        assert info["TimeLimit.truncated"]
        last = info["terminal_observation"]["features"]
        assert last.shape == seen["features"][i].shape
        assert (last != seen["features"][i]).any()
    assert np.abs(seen["features"]).max() <= LIMIT
    env.close()


def test_what_is_the_same_in_every_round_is_worked_out_once_an_episode() -> None:
    episode = Episode(emulated(5))
    episode.reset(0)
    first = episode.ground
    for _ in range(3):
        episode.step(np.zeros((5, 3), np.int64))
        assert episode.ground is first
        np.testing.assert_array_equal(episode.observe(), anew(episode))
    episode.reset(1)
    assert episode.ground.fleet is episode.fleet is not first.fleet
    np.testing.assert_array_equal(episode.observe(), anew(episode))


def test_rows_that_depend_on_the_state_are_found_anew_in_every_round() -> None:
    episode = Episode(EmulatedFleet(DrawnTrial([config.find_profile("mobilenetv2")], 4, 3, 0.3)))
    episode.reset(0)
    first = episode.ground
    episode.step(np.zeros(episode.fleet.shape, np.int64))
    assert episode.ground.fleet is first.fleet
    assert (episode.table.rows.way != first.table.rows.way).any()
    np.testing.assert_array_equal(episode.observe(), anew(episode))


def anew(episode: Episode) -> Observation:
    return observe(foresee(episode.fleet, episode.state))


class Shrinking:
    """A stand-in for a live fleet: from the first round on its third cluster is gone."""

    def __init__(self) -> None:
        self.whole, self.restarts, self.left = emulated(), [], False

    @property
    def fleet(self):
        return self.cut(self.whole.fleet) if self.left else self.whole.fleet

    def reset(self, seed: int, *, restart: bool = False):
        self.restarts.append(restart)
        self.left = False
        seen = self.whole.reset(seed)
        self.state = estimate.initial(self.whole.fleet, seen)
        return seen

    def apply(self, rows):
        whole = self.whole.fleet.native()
        wide = Rows(whole.way.copy(), whole.opp.copy())
        n = rows.way.shape[1]
        wide.way[:, :n], wide.opp[:, :n] = rows.way, rows.opp
        self.left = True
        seen = self.whole.apply(wide)
        self.state = estimate.update(self.whole.fleet, self.state, seen)
        return self.cut(seen)

    def estimates(self):
        return self.cut(self.state) if self.left else self.state

    def close(self) -> None:
        self.whole.close()

    @staticmethod
    def cut(arrays):
        """Without the third cluster; cuts and OPPs are not three here."""
        every = {f.name: getattr(arrays, f.name) for f in fields(arrays)}
        wide = {k: v for k, v in every.items() if v.ndim > 1 and v.shape[1] == 3}
        return replace(arrays, **{name: values[:, :2] for name, values in wide.items()})


def test_a_live_fleet_may_lose_a_cluster_between_rounds() -> None:
    backend = Shrinking()
    env = FleetEnv(backend, 3, LIVE)
    observation, _ = env.reset(seed=1)
    shown = observation["mask"].reshape(LIVE.clusters, LIVE.rows)
    for _ in range(2):
        observation, reward, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert np.isfinite(reward)
    assert env.episode.state.speed.shape == (1, 2)
    assert env.episode.ground.fleet.shape == (1, 2)
    features = observation["features"].reshape(LIVE.clusters, LIVE.rows, -1)
    assert (features[2:] == 0).all()
    assert shown.any(1).all()
    env.reset(seed=1, options={"restart": True})
    assert backend.restarts == [False, True]
