"""The batched emulator against a null environment of the same shapes, in training and by itself.

``python benchmarks/stepping.py [--fleets 64] [--steps 8192] [--json]``. The first ratio says which
part of the reachable training speed is left when the emulator takes its time; ratios are what
carries over to other machines. Repeats of both sides are interleaved, figures are medians.
"""

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
import torch

from adaptoff.agents.train import TrainConfig, make_model
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.fleet_env import Arrays
from adaptoff.envs.sampler import RandomFleets
from adaptoff.envs.vec_env import FleetVecEnv

ROUNDS = 32
REPEATS = 3


class NullVecEnv(FleetVecEnv):
    """Same shapes, no work: every step gives a copy of the first observation."""

    def reset(self) -> Arrays:
        """The real first observation, kept."""
        self._first = super().reset()
        return self._first

    def step_wait(self) -> tuple[Arrays, Any, Any, list[dict[str, Any]]]:
        """No reward, never done."""
        copied = {name: values.copy() for name, values in self._first.items()}
        blank = np.zeros(self.num_envs, np.float32)
        return copied, blank, np.zeros(self.num_envs, bool), [{} for _ in range(self.num_envs)]


def stepping(env: FleetVecEnv, steps: int) -> float:
    """Fleet steps per second without learning."""
    env.reset()
    action = np.zeros((env.num_envs, env.shape.clusters), np.int64)
    start = time.perf_counter()
    for _ in range(steps // env.num_envs):
        env.step(action)
    return steps / (time.perf_counter() - start)


def training(env: FleetVecEnv, steps: int) -> float:
    """Fleet steps per second with PPO."""
    model = make_model(TrainConfig(n_fleets=env.num_envs), env)
    start = time.perf_counter()
    model.learn(steps)
    return model.num_timesteps / (time.perf_counter() - start)


def measure(fleets: int, steps: int) -> dict[str, float]:
    """Medians of interleaved repeats, the ratios first."""
    torch.set_num_threads(1)
    runs: dict[tuple[str, str], list[float]] = {}
    for _ in range(REPEATS):
        for how in (training, stepping):
            for kind in (FleetVecEnv, NullVecEnv):
                env = kind(EmulatedFleet(RandomFleets(fleets, ROUNDS)), ROUNDS)
                runs.setdefault((how.__name__, kind.__name__), []).append(how(env, steps))
    median = {key: statistics.median(rates) for key, rates in runs.items()}
    ratios = {
        f"{how}_over_null": median[how, "FleetVecEnv"] / median[how, "NullVecEnv"]
        for how in ("training", "stepping")
    }
    rates = {f"{how}_{kind}_steps_per_s": rate for (how, kind), rate in median.items()}
    return {**ratios, **rates, "fleets": fleets, "steps": steps}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8192)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.fleets, options.steps)
    if options.json:
        print(json.dumps(figures))
    else:
        print(*(f"{name:40s}{value:12.4g}" for name, value in figures.items()), sep="\n")


if __name__ == "__main__":
    main()
