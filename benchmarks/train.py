"""How fast training is, where its time goes, and how soon the policy is near the oracle.

``python benchmarks/train.py [--parts null dummy random trial] [--repeats 5] [--json]``

null    training against the same network, batch and epochs on an environment that costs nothing
dummy   training against DummyVecEnv of such fleets, all else as Stable-Baselines3 has it, network
        and batch too
random  steps and seconds until the regret on the validation fleets is 5 %, and the best of 100,000
        steps, seed by seed
trial   the same on fleets of VGG-5 on measured boards, which training does not draw

It takes a quarter of an hour, most of it for the last two. All seconds are process time, of one
thread, so that what else runs on the machine counts less. What is compared is repeated in turns;
figures are medians over the turns. Ratios are what carries over to other machines.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from adaptoff import config
from adaptoff.agents.settings import TrainConfig
from adaptoff.agents.train import TrainingEnv, make_model, train
from adaptoff.agents.validation import Validation
from adaptoff.envs.emulator import EmulatedFleet, Source
from adaptoff.envs.fleet_env import Arrays, FleetEnv
from adaptoff.envs.sampler import RandomFleets
from adaptoff.envs.trials import DrawnTrial
from adaptoff.policy import Policy

Figures = dict[str, Any]

CONFIG = TrainConfig()
TURN = 4 * CONFIG.leg
DUMMIES = 4
STEPS, NEAR, JUDGED_EVERY = 100_000, 0.05, 2 * CONFIG.leg
TRIAL_FLEETS, TRIAL_ROUNDS, TRIAL_WEIGHT = 64, 24, 0.3


class NullVecEnv(TrainingEnv):
    """Same spaces, no work: every step gives the same arrays."""

    def reset(self) -> Arrays:
        """The real first observation, kept."""
        self._same = super().reset()
        return self._same

    def step_wait(self) -> tuple[Arrays, Any, Any, list[dict[str, Any]]]:
        """No row is worth anything, never done."""
        nothing = np.zeros((self.num_envs, self.shape.clusters * self.shape.rows), np.float32)
        return self._same, nothing, np.zeros(self.num_envs, bool), [{}] * self.num_envs


def seconds(work: Callable[[], object]) -> float:
    """Process seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(models: dict[str, tuple[PPO, int]], repeats: int) -> Figures:
    """Steps per second of models that learn so many steps a turn; the first one's over the others'.

    A ratio is the median of the turns' ratios.
    """
    for model, _ in models.values():
        model.learn(1)  # a whole update, to warm up
    turns = [{name: rate(*each) for name, each in models.items()} for _ in range(repeats)]
    first, *others = models
    ratios = {
        f"{first} over {name}": statistics.median(turn[first] / turn[name] for turn in turns)
        for name in others
    }
    return ratios | {name: statistics.median(turn[name] for turn in turns) for name in models}


def rate(model: PPO, steps: int) -> float:
    """Steps per second of more training."""
    return steps / seconds(lambda: model.learn(steps, reset_num_timesteps=False))


def ours(kind: type[TrainingEnv] = TrainingEnv) -> PPO:
    """The model that ``adaptoff train`` trains."""
    source = RandomFleets(CONFIG.n_fleets, CONFIG.rounds, CONFIG.limits)
    return make_model(CONFIG, kind(source, CONFIG.rounds))


def dummy() -> PPO:
    """Single fleets, and everything else as Stable-Baselines3 has it."""

    def make() -> FleetEnv:
        return FleetEnv(EmulatedFleet(RandomFleets(1, CONFIG.rounds)), CONFIG.rounds)

    return PPO("MultiInputPolicy", DummyVecEnv([make] * DUMMIES), device="cpu")


def part_null(repeats: int) -> Figures:
    """Steps per second, and what 1000 steps spend milliseconds on."""
    model = ours()
    found = compare({"training": (model, TURN), "null env": (ours(NullVecEnv), TURN)}, repeats)
    update_s = statistics.median(seconds(model.train) for _ in range(repeats))
    whole_ms, without_ms = 1e6 / found["training"], 1e6 / found["null env"]
    update_ms = 1e6 * update_s / (CONFIG.n_fleets * CONFIG.n_steps)
    return found | {
        "environment, ms": whole_ms - without_ms,
        "update, ms": update_ms,
        "choices and buffer, ms": without_ms - update_ms,
    }


def part_dummy(repeats: int) -> Figures:
    """Steps per second."""
    model = dummy()
    both = {"training": (ours(), TURN), "dummy": (model, model.n_steps * DUMMIES)}
    return compare(both, repeats)


def part_random(repeats: int) -> Figures:
    """On fleets like those of training."""
    source = RandomFleets(CONFIG.validation_fleets, CONFIG.validation_rounds, CONFIG.limits)
    return near_oracle(Watched(source, CONFIG.validation_rounds), repeats)


def part_trial(repeats: int) -> Figures:
    """On a DNN and boards that training has not seen, on links drawn in another way."""
    vgg5 = config.find_profile("vgg5")
    source = DrawnTrial([vgg5], TRIAL_FLEETS, TRIAL_ROUNDS, TRIAL_WEIGHT)
    return near_oracle(Watched(source, TRIAL_ROUNDS), repeats)


class Watched(Validation):
    """Keeps when each judging ended, and what it found; and the seconds that judging took."""

    def __init__(self, source: Source, rounds: int) -> None:
        self.curve: list[tuple[float, float]] = []
        self.oracle_s = seconds(lambda: super(Watched, self).__init__(source, rounds))

    def regret(self, policy: Policy) -> float:
        """As any validation's."""
        start = time.process_time()
        found = super().regret(policy)
        self.judging_s += time.process_time() - start
        self.curve.append((time.process_time() - self.begun, found))
        return found

    def begin(self) -> None:
        """Start anew, with the oracle's costs as they are."""
        self.curve, self.judging_s, self.begun = [], 0.0, time.process_time()


def near_oracle(watched: Watched, repeats: int) -> Figures:
    """Training of one seed after the other."""
    runs = [trained(seed, watched) for seed in range(repeats)]
    reached = [run for run in runs if run["s until near"] is not None]
    whole = ("regret at first", "best regret", "s in all", "of which judging, s")
    return {
        "near the oracle": f"{len(reached)} of {len(runs)}",
        **{name: statistics.median(run[name] for run in runs) for name in whole},
        "oracle, once, s": watched.oracle_s,
        "seed": runs,
    }


def trained(seed: int, watched: Watched) -> Figures:
    """When one seed came near the oracle, None if never; 0 steps is before any training."""
    chosen = replace(CONFIG, steps=STEPS, evaluate_every=JUDGED_EVERY, seed=seed)
    watched.begin()
    with tempfile.TemporaryDirectory() as folder:
        train(chosen, Path(folder), progress=False, validation=watched)
    near = [i for i, (_, regret) in enumerate(watched.curve) if regret <= NEAR]
    steps = [min(i * JUDGED_EVERY, chosen.legs_to(STEPS)) for i in range(len(watched.curve))]
    return {
        "steps until near": steps[near[0]] if near else None,
        "s until near": watched.curve[near[0]][0] if near else None,
        "regret at first": watched.curve[0][1],
        "best regret": min(regret for _, regret in watched.curve),
        "s in all": watched.curve[-1][0],
        "of which judging, s": watched.judging_s,
    }


def show(figures: Figures, indent: str = "") -> None:
    """Print, nested figures further in."""
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "  ")
        elif isinstance(value, list):
            show({f"{name} {i}": each for i, each in enumerate(value)}, indent)
        else:
            text = f"{value:.4g}" if isinstance(value, float) else value
            print(f"{indent}{name:30s} {text}")


PARTS = {"null": part_null, "dummy": part_dummy, "random": part_random, "trial": part_trial}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: PARTS[name](options.repeats) for name in options.parts}
    if options.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
