"""The rollout buffer of training: what every row was worth, and how likely it was."""

from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples
from torch import Tensor


class Rollouts(DictRolloutBuffer):
    """SB3's buffer, row by row: log probabilities and rewards are (F, G, R), flattened.

    With the worth of every row known, its advantage is its worth less what the policy expects,
    times its probability: PPO's surrogate then is its expectation over the rows, and needs no
    critic. No advantage reaches into the next round, whose links come as they will.

    There is one copy of an observation in a minibatch instead of two, and none before. It shuffles
    by torch, whose random state is thus the only one of training.
    """

    def reset(self) -> None:
        """Empty."""
        super().reset()
        rows = int(self.action_space.nvec.sum())  # type: ignore[attr-defined]
        for name in ("rewards", "log_probs", "advantages"):
            setattr(self, name, np.zeros((self.buffer_size, self.n_envs, rows), np.float32))

    def compute_returns_and_advantage(self, last_values: Tensor, dones: npt.NDArray[Any]) -> None:  # noqa: ARG002
        """Advantages (T, F, G * R) times probabilities; returns stay 0."""
        shape = (*self.actions.shape, -1)
        log_p, worth = self.log_probs.reshape(shape), self.rewards.reshape(shape)
        p = np.exp(log_p)
        advantages = p * (worth - (p * worth).sum(-1, keepdims=True))
        self.advantages = advantages.reshape(self.rewards.shape)

    def get(  # type: ignore[override]  # as in the class above it
        self, batch_size: int | None = None
    ) -> Generator[DictRolloutBufferSamples, None, None]:
        """Minibatches of all steps, in an order drawn anew."""
        observations = {name: _steps(values) for name, values in self.observations.items()}
        others = (self.actions, self.values, self.log_probs, self.advantages, self.returns)
        columns = [_steps(values) for values in others]
        order = torch.randperm(self.buffer_size * self.n_envs)
        for at in torch.split(order, batch_size or len(order)):
            batch = {name: values.index_select(0, at) for name, values in observations.items()}
            yield DictRolloutBufferSamples(batch, *(column[at] for column in columns))


def _steps(values: npt.NDArray[Any]) -> Tensor:
    """Arrays (steps, fleets, ...) as one axis of steps, nothing copied."""
    return torch.from_numpy(values).flatten(0, 1)
