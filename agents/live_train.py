"""PPO that goes on with a policy on one fleet, as its rounds turn out: ``continued``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from torch import Tensor, nn

from adaptoff import policy
from adaptoff.agents import checkpoint
from adaptoff.agents.buffer import Rollouts
from adaptoff.agents.callbacks import LAST
from adaptoff.agents.checkpoint import Checkpoint
from adaptoff.agents.freeze import freeze
from adaptoff.agents.live_env import LiveEnv
from adaptoff.agents.scorer import make_actor
from adaptoff.agents.settings import TrainConfig
from adaptoff.agents.train import Interrupted, make_model
from adaptoff.errors import PolicyError, RunError
from adaptoff.policy import Layers, Policy

FROZEN = "policy.safetensors"
DEFAULTS: dict[str, Any] = {
    "steps": 64, "n_fleets": 1, "n_steps": 4, "batch_size": 4, "epochs": 8, "learning_rate": 3e-3,
}  # fmt: skip
"""beside those of ``TrainConfig``: few rounds, each gone over more often"""


class ScaledRollouts(Rollouts):
    """Advantages in units of their root mean square in all rounds so far.

    In units of the few rounds of an update alone, rows that hardly matter would count as much there
    as the loss of a link elsewhere.
    """

    _squares, _rollouts = 0.0, 0

    def compute_returns_and_advantage(self, last_values: Tensor, dones: npt.NDArray[Any]) -> None:
        """Advantages (T, F, G * R) times probabilities; returns stay 0."""
        super().compute_returns_and_advantage(last_values, dones)
        self._squares += float(np.square(self.advantages).mean())
        self._rollouts += 1
        self.advantages /= max((self._squares / self._rollouts) ** 0.5, 1e-8)


@dataclass(frozen=True)
class Start:
    """The policy to go on with: frozen, or a checkpoint with the state of its training."""

    policy: Policy | None = None
    checkpoint: Path | None = None

    def check(self) -> None:
        """Raise PolicyError for a file that is none, or has another network."""
        if self.checkpoint:
            freeze(self.checkpoint)
        else:
            self._load(make_actor())

    def into(self, model: PPO) -> dict[str, Any]:
        """Put it into a fresh model; returns its provenance. Raises PolicyError."""
        if self.checkpoint:
            return checkpoint.restore(model, self.checkpoint).facts
        return self._load(model.policy.get_submodule("actor")).provenance

    def _load(self, actor: nn.Module) -> Policy:
        chosen = self.policy or policy.default()
        try:
            actor.load_state_dict(state_of(chosen.layers))
        except RuntimeError as error:
            reason = str(error).split("\n", 1)[0]
            raise PolicyError(f"the policy does not fit this version's network: {reason}") from None
        return chosen


def state_of(layers: Layers) -> dict[str, Tensor]:
    """Layers of a frozen policy as the state of the scorer's Sequential, with tanh between."""
    state: dict[str, Tensor] = {}
    for i, (weight, bias) in enumerate(layers):
        state[f"{2 * i}.weight"] = torch.from_numpy(weight.T.copy())
        state[f"{2 * i}.bias"] = torch.from_numpy(bias.copy())
    return state


def continued(env: LiveEnv, config: TrainConfig, start: Start, out_dir: Path) -> Path:
    """Train for ``config.steps`` rounds, rounded up to whole updates; returns the last checkpoint.

    Beside it, ``out_dir`` gets the frozen policy. Both are written whatever ends the training;
    Ctrl-C raises Interrupted. Raises PolicyError before the first round, RunError.
    """
    torch.set_num_threads(1)
    out_dir.mkdir(parents=True, exist_ok=True)
    model = make_model(config, env, ScaledRollouts)
    model.normalize_advantage = False
    origin = start.into(model)
    env.most = -(-config.steps // config.n_steps) * config.n_steps
    model.set_logger(configure(str(out_dir), ["tensorboard"]))
    try:
        model.learn(config.steps, _Progress())
    except KeyboardInterrupt:
        raise Interrupted(_save(model, config, origin, out_dir)) from None
    except RunError:
        _save(model, config, origin, out_dir)
        raise
    finally:
        model.logger.close()
    return _save(model, config, origin, out_dir)


def _save(model: PPO, config: TrainConfig, origin: dict[str, Any], out_dir: Path) -> Path:
    """The checkpoint and the frozen policy as they are now."""
    path = out_dir / LAST
    checkpoint.save(path, Checkpoint.of(model, config, validation={}, origin=origin))
    policy.save(freeze(path), out_dir / FROZEN)
    return path


class _Progress(BaseCallback):
    """For TensorBoard."""

    def _on_rollout_end(self) -> None:
        recent = self.training_env.get_attr("costs")[0][-self.model.n_steps :]  # type: ignore[attr-defined]
        self.logger.record("rollout/cost_mean", float(np.mean(recent)))

    def _on_step(self) -> bool:
        return True
