"""PPO on randomly drawn fleets: ``train`` gives a checkpoint, which ``freeze`` makes a policy of.

A checkpoint is one safetensors file: weights, the optimiser's moments and the random state as
tensors, everything else as JSON in its header. Nothing is pickled or unpickled.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from adaptoff.agents.checkpoint import Checkpoint, restore
from adaptoff.agents.checkpoint import save as save_checkpoint
from adaptoff.agents.scorer import RowScorer
from adaptoff.envs.emulator import EmulatedFleet, Source
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.envs.vec_env import FleetVecEnv
from adaptoff.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Hyper-parameters; a step is one round of one fleet."""

    steps: int = 600_000
    seed: int = 0
    n_fleets: int = 64
    """fleets stepped at once"""
    rounds: int = 32
    """rounds of an episode, after which all fleets are drawn anew"""
    n_steps: int = 16
    """rounds between two updates"""
    batch_size: int = 256
    epochs: int = 4
    learning_rate: float = 2e-3
    """at the start; falls linearly to zero"""
    gamma: float = 0.3
    """low, as links change by themselves; what is left to foresee is heat, and what is measured"""
    gae_lambda: float = 0.9
    clip: float = 0.2
    entropy: float = 0.0
    max_grad_norm: float = 0.5
    clusters: int = 5
    """most clusters of a drawn fleet, as cuts and opps below"""
    cuts: int = 9
    opps: int = 4
    checkpoint_every: int = 100_000
    """steps between checkpoints, rounded up to whole updates"""

    def __post_init__(self) -> None:
        """Raises InputError naming field and allowed range."""
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} = {getattr(self, name)}: must be {low} to {high}")
        if self.batch_size > self.n_fleets * self.n_steps:
            raise InputError(f"batch_size = {self.batch_size}: at most n_fleets x n_steps")

    @property
    def limits(self) -> Limits:
        """Sizes of the drawn fleets."""
        return Limits(self.clusters, self.cuts, self.opps)


_RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 1e10), "seed": (0, 2**31 - 1), "n_fleets": (1, 4096), "rounds": (1, 10_000),
    "n_steps": (2, 4096), "batch_size": (2, 1 << 20), "epochs": (1, 100),
    "learning_rate": (1e-7, 1.0), "gamma": (0.0, 1.0), "gae_lambda": (0.0, 1.0),
    "clip": (0.01, 1.0), "entropy": (0.0, 1.0), "max_grad_norm": (1e-3, 1e3),
    "clusters": (1, 8), "cuts": (3, 64), "opps": (1, 8), "checkpoint_every": (1, 1e10),
}  # fmt: skip


def train(
    config: TrainConfig,
    out_dir: Path,
    resume: Path | None = None,
    *,
    progress: bool = True,
    source: Source | None = None,
) -> Path:
    """Train and return the last checkpoint's path; TensorBoard logs go to ``out_dir`` too.

    ``resume`` continues from a checkpoint up to ``config.steps``: weights, moments and schedule go
    on, episodes start anew. ``source`` replaces the random fleets. Raises InputError.
    """
    torch.set_num_threads(1)
    out_dir.mkdir(parents=True, exist_ok=True)
    source = source or RandomFleets(config.n_fleets, config.rounds, config.limits)
    env = FleetVecEnv(EmulatedFleet(source), config.rounds, config.seed)
    model = make_model(config, env)
    done = restore(model, resume) if resume else 0
    if done >= config.steps:
        raise InputError(f"{resume}: has {done} steps, steps = {config.steps}: nothing left to do")
    if done:
        env.seed(np.random.SeedSequence([config.seed, done]).generate_state(1)[0].item())
    model.set_logger(configure(str(out_dir), ["tensorboard"]))
    saver = Saver(config, out_dir, show=progress)
    model.learn(config.steps - done, saver, log_interval=10, reset_num_timesteps=not done)
    env.close()
    return saver.save()


def make_model(config: TrainConfig, env: FleetVecEnv) -> PPO:
    """PPO with the row scorer."""
    return PPO(
        RowScorer,
        env,
        learning_rate=lambda left: config.learning_rate * left,
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip,
        ent_coef=config.entropy,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        device="cpu",
    )


class Saver(BaseCallback):
    """Writes checkpoints and shows progress."""

    def __init__(self, config: TrainConfig, out_dir: Path, *, show: bool) -> None:
        super().__init__()
        self.config, self.out_dir = config, out_dir
        self._bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[cost]}"), console=Console(stderr=True), disable=not show,
        )  # fmt: skip
        self._due = 0

    def save(self) -> Path:
        """Write a checkpoint of the model as it is; returns its path."""
        path = self.out_dir / f"checkpoint-{self.model.num_timesteps:09d}.safetensors"
        save_checkpoint(path, Checkpoint.of(self.model, asdict(self.config)))
        return path

    def _on_training_start(self) -> None:
        self._task = self._bar.add_task("", total=self.config.steps, cost="")
        self._bar.start()
        self._due = self.num_timesteps + self.config.checkpoint_every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._due:
            self._due += self.config.checkpoint_every
            log.info("wrote %s", self.save())

    def _on_rollout_end(self) -> None:
        cost = -float(np.mean(self.locals["rollout_buffer"].rewards))
        self.logger.record("rollout/cost_mean", cost)
        self._bar.update(self._task, completed=self.num_timesteps, cost=f"cost {cost:.3f}")

    def _on_training_end(self) -> None:
        self._bar.stop()


def config_of(fields: dict[str, Any]) -> TrainConfig:
    """A config from a checkpoint's JSON; raises InputError for unknown fields."""
    try:
        return TrainConfig(**fields)
    except TypeError as error:
        raise InputError(f"config: {error}: {json.dumps(fields)[:200]}") from None
