"""The rollout buffer of training."""

from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples
from torch import Tensor

PER_CLUSTER = ("rewards", "returns", "episode_starts", "values", "log_probs", "advantages")


class Rollouts(DictRolloutBuffer):
    """SB3's buffer with rewards, values and probabilities cluster by cluster.

    Within, F fleets of G clusters count as F * G environments that share observations; a minibatch
    has log probabilities and advantages (B, G), and values and returns (B * G,). There is one copy
    of an observation in a minibatch instead of two, and none before. It shuffles by torch, whose
    random state is thus the only one of training.
    """

    def reset(self) -> None:
        """Empty, in the shapes of the class above: all but observations per cluster."""
        super().reset()
        shape = self.buffer_size, self.n_envs * self.action_dim
        for name in PER_CLUSTER:
            setattr(self, name, np.zeros(shape, np.float32))

    def add(  # type: ignore[override]  # as in the class above it
        self,
        obs: dict[str, npt.NDArray[Any]],
        action: npt.NDArray[Any],
        reward: npt.NDArray[Any],
        episode_start: npt.NDArray[Any],
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """One step; rewards, values and log probabilities are (F, G)."""
        starts = np.repeat(episode_start, self.action_dim)
        super().add(obs, action, reward.ravel(), starts, value, log_prob.flatten())

    def compute_returns_and_advantage(self, last_values: Tensor, dones: npt.NDArray[Any]) -> None:
        """As SB3's; ``last_values`` (F, G), ``dones`` (F,)."""
        super().compute_returns_and_advantage(last_values, np.repeat(dones, self.action_dim))

    def get(  # type: ignore[override]  # as in the class above it
        self, batch_size: int | None = None
    ) -> Generator[DictRolloutBufferSamples, None, None]:
        """Minibatches of all steps, in an order drawn anew."""
        observations = {name: _steps(values) for name, values in self.observations.items()}
        actions = _steps(self.actions)
        values, log_probs, advantages, returns = (
            torch.from_numpy(array).reshape(-1, self.action_dim)
            for array in (self.values, self.log_probs, self.advantages, self.returns)
        )
        order = torch.randperm(self.buffer_size * self.n_envs)
        for at in torch.split(order, batch_size or len(order)):
            batch = {name: array.index_select(0, at) for name, array in observations.items()}
            yield DictRolloutBufferSamples(
                batch, actions[at], values[at].flatten(), log_probs[at], advantages[at],
                returns[at].flatten(),
            )  # fmt: skip


def _steps(values: npt.NDArray[Any]) -> Tensor:
    """Arrays (steps, fleets, ...) as one axis of steps, nothing copied."""
    return torch.from_numpy(values).flatten(0, 1)
