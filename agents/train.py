"""PPO on randomly drawn fleets: ``train`` gives checkpoints, which ``freeze`` makes policies of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure

from adaptoff.agents import checkpoint
from adaptoff.agents.buffer import Rollouts
from adaptoff.agents.callbacks import BEST, Keeper
from adaptoff.agents.credit import worth
from adaptoff.agents.scorer import RowScorer
from adaptoff.agents.settings import TrainConfig
from adaptoff.agents.validation import Judged, Validation
from adaptoff.envs.emulator import EmulatedFleet, Source
from adaptoff.envs.fleet_env import Arrays
from adaptoff.envs.sampler import RandomFleets
from adaptoff.envs.vec_env import FleetVecEnv
from adaptoff.errors import InputError, PolicyError
from adaptoff.fleet import Floats, Ints, Rows

LOG_EVERY = 10
"""updates"""


class Interrupted(KeyboardInterrupt):
    """Training was interrupted; it can go on from ``checkpoint``."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.checkpoint = path


class TrainingEnv(FleetVecEnv):
    """Every row is rewarded for what it would have been worth (``credit``).

    The seeds of episodes follow from the seed and their number, wherever training begins.
    """

    _seed, next_episode, mean_cost = 0, 0, 0.0

    def __init__(self, source: Source, rounds: int) -> None:
        self.emulated = EmulatedFleet(source)
        super().__init__(self.emulated, rounds)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Start with episode 0 of this seed at the next reset."""
        self._seed, self.next_episode = seed or 0, 0
        return [seed] * self.num_envs

    def reset(self) -> Arrays:
        """Start the next episode of all fleets."""
        drawn = np.random.SeedSequence([self._seed, self.next_episode]).generate_state(1)
        super().seed(int(drawn[0]))
        self.next_episode += 1
        return super().reset()

    def play(self, index: Ints) -> tuple[Floats, Floats]:
        """One round with these rows (F, G): rewards of all rows (F, G * R) and costs (F,)."""
        ground = self.episode.ground
        true = self.episode.state.under(self.emulated.truth())
        done = self.episode.step(index)
        self.mean_cost = float(done.cost.mean())
        rows = Rows(done.outcome.way, done.outcome.opp)
        rewards = worth(ground, true, rows).reshape(len(done.cost), -1)
        return rewards.astype(np.float32), done.cost

    def last(self, observation: Arrays, fleet: int) -> dict[str, Any]:
        """The fleet's return alone: no advantage reaches beyond a round, so nothing is cut off."""
        return {"episode": super().last(observation, fleet)["episode"]}


def train(
    config: TrainConfig,
    out_dir: Path,
    resume: Path | None = None,
    *,
    progress: bool = True,
    source: Source | None = None,
    validation: Validation | None = None,
) -> Path:
    """Train and return the path of the checkpoint with the lowest validation regret.

    ``out_dir`` gets that one, the last one, ``last.safetensors``, and what TensorBoard shows.
    ``resume`` goes on from a checkpoint up to ``config.steps``, with the same bits as if training
    had never stopped if ``config`` is the same, and ``out_dir`` has the best one so far.
    ``source`` replaces the random fleets of training, ``validation`` those that judge. Raises
    InputError, and Interrupted after Ctrl-C.
    """
    torch.set_num_threads(1)
    out_dir.mkdir(parents=True, exist_ok=True)
    source = source or RandomFleets(config.n_fleets, config.rounds, config.limits)
    env = TrainingEnv(source, config.rounds)
    model = make_model(config, env)
    judged = _resumed(model, env, config, out_dir, resume) if resume else None
    _learn(model, config, Keeper(config, out_dir, judged, validation, show=progress))
    return out_dir / BEST


def make_model(config: TrainConfig, env: FleetVecEnv, buffer: type[Rollouts] = Rollouts) -> PPO:
    """PPO with the row scorer; seeds ``env`` too."""
    return PPO(
        RowScorer,
        env,
        learning_rate=lambda left: config.learning_rate * left,
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        clip_range=config.clip,
        ent_coef=config.entropy,
        max_grad_norm=config.max_grad_norm,
        rollout_buffer_class=buffer,
        seed=config.seed,
        device="cpu",
    )


def _resumed(
    model: PPO, env: TrainingEnv, config: TrainConfig, out_dir: Path, resume: Path
) -> Judged | None:
    """Go on from a checkpoint; how it was judged, if ``out_dir`` has the best one so far."""
    saved = checkpoint.restore(model, resume)
    done = model.num_timesteps
    if done >= config.steps:
        raise InputError(f"{resume}: has {done} steps, steps = {config.steps}: nothing left to do")
    if done % config.leg:
        raise InputError(
            f"{resume}: has {done} steps, no multiple of n_fleets x lcm(rounds, n_steps) = "
            f"{config.leg}: keep these three"
        )
    env.next_episode = done // (config.n_fleets * config.rounds)
    judged, best = _judged(resume, saved), out_dir / BEST
    known = best.exists() and _judged(best, checkpoint.load(best)).steps == judged.best_steps
    return judged if known else None


def _judged(path: Path, saved: checkpoint.Checkpoint) -> Judged:
    try:
        return msgspec.convert(saved.facts["validation"], Judged)
    except msgspec.ValidationError as error:
        raise PolicyError(f"{path}: field validation: {error}") from None


def _learn(model: PPO, config: TrainConfig, keeper: Keeper) -> None:
    model.set_logger(configure(str(keeper.out_dir), ["tensorboard"]))
    steps = config.legs_to(config.steps) - model.num_timesteps
    try:
        with keeper.bar:
            model.learn(steps, keeper, log_interval=LOG_EVERY, reset_num_timesteps=False)
    except KeyboardInterrupt:
        saved = keeper.save()
        if saved is None:
            raise
        raise Interrupted(saved) from None
    finally:
        model.logger.close()
    if keeper.enough:
        keeper.bar.console.print(f"stopped: {keeper.enough}")
