"""FedAdapt's own PPO, with its settings.

Gaussian actions around a sigmoid's mean, with a deviation that is given, not learnt; normalised
Monte Carlo returns; updates on the whole batch. Its entropy bonus is left out, as a deviation that
is given has no gradient.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from adaptoff.agents.fedadapt_actor import SIZES
from adaptoff.fleet import Bools, Floats

EPOCHS, LEARNING_RATE, GAMMA, CLIP = 50, 3e-4, 0.9, 0.2
STD, STD_DECAY, PARTS, STEADY_PARTS = 0.5, 0.9, 50, 20
"""the deviation falls by STD_DECAY in each of PARTS parts of the training but the first"""


@dataclass(frozen=True)
class Credit:
    """What a round gave."""

    reward: Floats  # (F,)
    ended: Bools  # (F,) no later reward counts for this round
    kept: Bools  # (F,) not a native round for a new baseline


class Learner:
    """Actor, critic and the experience since the last update."""

    def __init__(self, seed: int) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.actor = nn.Sequential(*_hidden(), nn.Linear(SIZES[2], SIZES[3]), nn.Sigmoid())
            self.critic = nn.Sequential(*_hidden(), nn.Linear(SIZES[2], 1))
        self._rng = np.random.default_rng([seed, 3])
        weights = [*self.actor.parameters(), *self.critic.parameters()]
        self._optimizer = torch.optim.Adam(weights, LEARNING_RATE)
        self._seen: list[tuple[Tensor, Tensor]] = []
        self.set_std(0.0)

    def set_std(self, progress: float) -> None:
        """The deviation of actions at a share of the whole training."""
        self.std = STD * STD_DECAY ** max(progress * PARTS - STEADY_PARTS, 0)

    def explore(self, state: Floats) -> Floats:
        """Actions (F, GROUPS) drawn for states (F, 2 * GROUPS), and remembered."""
        states = torch.as_tensor(state, dtype=torch.float32)
        with torch.no_grad():
            mean = self.actor(states)
        noise = self._rng.standard_normal(mean.shape).astype(np.float32)
        actions = mean + self.std * torch.from_numpy(noise)
        self._seen.append((states, actions))
        return actions.numpy().astype(np.float64)

    def improve(self, credits_: list[Credit]) -> None:
        """One update on what was seen since the last one, a credit for each round of it."""
        kept = torch.from_numpy(np.stack([each.kept for each in credits_]))
        states, actions = (torch.stack(part)[kept] for part in zip(*self._seen, strict=True))
        gained = torch.as_tensor(returns(credits_), dtype=torch.float32)[kept]
        self._seen.clear()
        if len(gained) > 1:
            self._fit(states, actions, (gained - gained.mean()) / (gained.std() + 1e-5))

    def _fit(self, states: Tensor, actions: Tensor, gained: Tensor) -> None:
        """EPOCHS steps on FedAdapt's loss."""
        before = self._log_p(states, actions).detach()
        for _ in range(EPOCHS):
            ratio = (self._log_p(states, actions) - before).exp()
            value = self.critic(states)[:, 0]
            advantage = gained - value.detach()
            clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
            loss = 0.5 * nn.functional.mse_loss(value, gained)
            loss = loss - torch.min(ratio * advantage, clipped * advantage).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def _log_p(self, states: Tensor, actions: Tensor) -> Tensor:
        """Log density (N,) of the actions, less what does not depend on the network."""
        return -(((actions - self.actor(states)) / self.std) ** 2).sum(1) / 2


def _hidden() -> list[nn.Module]:
    return [nn.Linear(SIZES[0], SIZES[1]), nn.Tanh(), nn.Linear(SIZES[1], SIZES[2]), nn.Tanh()]


def returns(credits_: list[Credit]) -> Floats:
    """Discounted sums (T, F) of the rewards from each round to its episode's end."""
    out, after = [], np.zeros_like(credits_[-1].reward)
    for each in reversed(credits_):
        after = np.where(each.kept, each.reward + GAMMA * np.where(each.ended, 0.0, after), 0.0)
        out.append(after)
    return np.stack(out[::-1])
