"""PPO that goes on with a policy on one fleet, judged by what telemetry says of each round."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs

from adaptoff import config, policy
from adaptoff.agents import checkpoint, settings
from adaptoff.agents.baselines import of_policy
from adaptoff.agents.callbacks import LAST
from adaptoff.agents.credit import worth
from adaptoff.agents.live_env import LiveEnv, conditions
from adaptoff.agents.live_train import DEFAULTS, FROZEN, Start, continued
from adaptoff.agents.method import play
from adaptoff.agents.settings import TrainConfig
from adaptoff.agents.train import Interrupted
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Round
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.errors import PolicyError, RunError
from adaptoff.fleet import Ints, Outcome, Rows
from adaptoff.observation import FEATURES
from adaptoff.policy import Policy
from tests.worlds import TWO_DEVICES

ROUNDS = 8


class Noticed(EmulatedFleet):
    """Remembers the truth of its last round, what was seen of it, and how often it was reset."""

    resets = 0

    def reset(self, seed: int) -> Outcome:
        self.resets += 1
        return super().reset(seed)

    def apply(self, rows: Rows) -> Outcome:
        self.was = self.truth()
        self.seen = super().apply(rows)
        return self.seen


def fleet_of(scenario: str, rounds: int) -> Noticed:
    """A device of each group; links and free speeds change, what is measured is exact."""
    task = config.load(scenario)
    apart = structs.replace(task, devices=[structs.replace(d, count=1) for d in task.devices])
    return Noticed(ScenarioFleet(apart, config.profile_of(task), rounds), noise=0.0)


@pytest.fixture
def fleet() -> Noticed:
    return fleet_of("wifi-office", ROUNDS)


def config_of(**more: Any) -> TrainConfig:
    return settings.merged([("test", DEFAULTS | {"rounds": ROUNDS} | more)])


def first_of_cut(env: LiveEnv, cut: int) -> Ints:
    """Index (1, G) of each cluster's first row of a cut."""
    table = env.episode.table
    return (table.valid & (table.rows.way == cut)).argmax(2)


def test_measured_conditions_give_rows_the_worth_that_they_have(fleet: Noticed) -> None:
    env = LiveEnv(fleet, ROUNDS)
    env.reset()
    index = first_of_cut(env, 3)
    for _ in range(ROUNDS - 1):
        before, ground = env.episode.state, env.episode.ground
        rewards, _ = env.play(index)
        took = Rows(fleet.seen.way, fleet.seen.opp)
        true = worth(ground, before.under(fleet.was), took).reshape(1, -1)
        guess = worth(ground, before, took).reshape(1, -1)
        np.testing.assert_allclose(rewards, true, atol=1e-6)
        assert np.abs(guess - true).max() > 0.01  # what was estimated before is not as good


def test_what_was_not_measured_is_as_estimated(fleet: Noticed) -> None:
    env = LiveEnv(fleet, ROUNDS)
    env.reset()
    before = env.episode.state
    seen = fleet.apply(fleet.fleet.native())
    blind = with_values(seen, up_bps=np.nan, down_bps=np.nan, rtt_s=np.nan, device_s=0.0)
    env.episode.after(blind)
    found = conditions(fleet.fleet, before, blind, env.episode.state)
    for name in ("speed", "up_bps", "down_bps", "rtt_s"):
        np.testing.assert_array_equal(getattr(found, name), getattr(env.episode.state, name))
    np.testing.assert_array_equal(found.temp_c, before.temp_c)


def with_values(seen: Outcome, **values: float) -> Outcome:
    changed = {name: np.full_like(seen.total_s, value) for name, value in values.items()}
    return Outcome(**(vars(seen) | changed))


def wrong() -> Policy:
    """Likes a little what the shipped policy dislikes much."""
    layers = list(policy.default().layers)
    weight, bias = layers[-1]
    layers[-1] = (np.float32(-0.05) * weight, bias)
    return Policy(layers)


def cost(chosen: Policy, fleet: EmulatedFleet, rounds: int = ROUNDS) -> float:
    played = play(of_policy(chosen), fleet, 7, rounds)
    return float(np.mean([each.cost for each in played]))


def test_a_wrong_policy_gets_right(fleet: Noticed, tmp_path: Path) -> None:
    continued(LiveEnv(fleet, ROUNDS), config_of(steps=96), Start(wrong()), tmp_path)
    best, bad = cost(policy.default(), fleet), cost(wrong(), fleet)
    learnt = cost(policy.load(tmp_path / FROZEN), fleet)
    assert bad > 1.2 * best
    assert learnt < best + 0.3 * (bad - best)


@pytest.mark.parametrize("scenario", ["wifi-office", "fedadapt-falling"])
def test_a_good_policy_stays_good(scenario: str, tmp_path: Path) -> None:
    """Also where rows hardly differ in eleven rounds, and by far in the twelfth."""
    fleet = fleet_of(scenario, 12)
    continued(LiveEnv(fleet, 12), config_of(steps=96, rounds=12), Start(), tmp_path)
    after, before = policy.load(tmp_path / FROZEN), policy.default()
    assert cost(after, fleet, 12) < 1.03 * cost(before, fleet, 12)


def test_a_frozen_policy_is_taken_up_as_it_is(fleet: Noticed, tmp_path: Path) -> None:
    """With nothing to learn from, what comes out is what went in."""
    env = LiveEnv(fleet, ROUNDS, lambda _: False)
    continued(env, config_of(steps=8), Start(), tmp_path)
    learnt = policy.load(tmp_path / FROZEN)
    for mine, its in zip(learnt.layers, policy.default().layers, strict=True):
        np.testing.assert_array_equal(mine[0], its[0])
        np.testing.assert_array_equal(mine[1], its[1])
    assert learnt.provenance["origin"] == policy.default().provenance
    assert learnt.provenance["steps"] == 8
    assert len(env.costs) == 8


def test_a_checkpoint_is_gone_on_from_with_its_moments(fleet: Noticed, tmp_path: Path) -> None:
    first = continued(LiveEnv(fleet, ROUNDS), config_of(steps=8), Start(), tmp_path / "a")
    env = LiveEnv(fleet, ROUNDS, lambda _: False)
    again = continued(env, config_of(steps=4), Start(checkpoint=first), tmp_path / "b")
    one, other = checkpoint.load(first), checkpoint.load(again)
    step = "optimizer.0.step"
    assert other.tensors[step] > one.tensors[step]
    assert other.facts["origin"]["steps"] == 8
    assert not torch.equal(
        one.tensors["policy.actor.0.weight"],
        torch.from_numpy(policy.default().layers[0][0].T.copy()),
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, RunError])
def test_whatever_ends_it_is_kept(
    fleet: Noticed, tmp_path: Path, error: type[BaseException]
) -> None:
    left: Iterator[int] = iter(range(6))

    def tell(_: Round) -> bool:
        if next(left, None) is None:
            raise error
        return True

    with pytest.raises(Interrupted if error is KeyboardInterrupt else error):
        continued(LiveEnv(fleet, ROUNDS, tell), config_of(), Start(), tmp_path)
    assert checkpoint.load(tmp_path / LAST).facts["steps"] in {6, 7}
    policy.load(tmp_path / FROZEN)


def test_a_policy_of_other_layers_is_refused(fleet: Noticed, tmp_path: Path) -> None:
    small = Policy([(np.zeros((len(FEATURES), 1), np.float32), np.zeros(1, np.float32))])
    with pytest.raises(PolicyError, match="does not fit"):
        continued(LiveEnv(fleet, ROUNDS), config_of(), Start(small), tmp_path)


def test_no_episode_follows_the_last_round(fleet: Noticed, tmp_path: Path) -> None:
    """It would begin with a warm-up round that nobody needs."""
    env = LiveEnv(fleet, 4)
    continued(env, config_of(rounds=4, steps=6), Start(), tmp_path)
    assert len(env.costs) == 8
    assert fleet.resets == 2


def adaptoff(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adaptoff", "train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def test_a_live_fleet_trains_the_policy(tmp_path: Path) -> None:
    """Two episodes on real processes, one update."""
    scenario, out = tmp_path / "small.toml", tmp_path / "run"
    scenario.write_text(TWO_DEVICES, encoding="utf-8")
    done = adaptoff(
        "--live", "--scenario", str(scenario), "--rounds", "4", "--net", "pace",
        "--set", "workload.batches=1", "--set", "learning_rate=0.002", "--out", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["costs"]) == 4
    assert result["cost_last_quarter"] == result["costs"][-1]
    assert "round 4: cost " in done.stderr
    assert "mean cost of a round" in done.stderr
    found = policy.load(Path(result["policy"])).provenance
    assert found["config"]["learning_rate"] == 0.002
    assert found["steps"] == checkpoint.load(Path(result["checkpoint"])).facts["steps"] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rounds", "4"), ("--rounds", "--live")),
        (("--policy", "default"), ("--policy", "--live")),
        (("--live", "--steps", "4"), ("--steps", "--rounds")),
        (("--live", "--policy", "default", "--resume", "a"), ("--policy", "--resume")),
        (("--live", "--policy", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("--live", "--resume", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("--live", "--set", "workload.cut=1"), ("`cut`", "min_cut")),
        (("--live", "--set", "entrpy=1"), ("entrpy", "entropy")),
    ],
)
def test_wrong_input_is_told_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = adaptoff("--out", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words)
