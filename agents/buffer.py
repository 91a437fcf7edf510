"""The rollout buffer of training."""

from collections.abc import Generator
from typing import Any

import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples
from torch import Tensor


class Rollouts(DictRolloutBuffer):
    """SB3's buffer, with one copy of an observation in a minibatch instead of two, and none before.

    It shuffles by torch, whose random state is thus the only one of training.
    """

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
