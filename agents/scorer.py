"""The row scorer as a Stable-Baselines3 policy: one small MLP scores every row of every cluster.

Only possible rows are computed. A padded cluster has one possible row, thus probability 1 and no
gradient. There is no critic: rewards tell what every row was worth (``credit``).
"""

from typing import Any

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from adaptoff.observation import FEATURES
from adaptoff.policy import MASKED

HIDDEN = 64
PRIOR_FEATURE = "expected_cost_over_best"
PRIOR_SLOPE = 64.0
"""logits that a row loses at first for each factor e of predicted cost"""
IMPOSSIBLE = -50.0
"""log probability below which a row is none"""
PRIOR_SCALE = 0.25
"""keeps the prior's hidden units in the near-linear part of tanh"""


def make_actor() -> nn.Sequential:
    """The scorer: rows (..., N) -> scores (..., 1), starting from the cost model's preference."""
    first, second = nn.Linear(len(FEATURES), HIDDEN), nn.Linear(HIDDEN, HIDDEN)
    last = nn.Linear(HIDDEN, 1)
    for layer, gain in ((first, 2**0.5), (second, 2**0.5), (last, 0.01)):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        first.weight[0] = 0.0
        first.weight[0, FEATURES.index(PRIOR_FEATURE)] = PRIOR_SCALE
        second.weight[0] = 0.0
        second.weight[0, 0] = 1.0
        last.weight[0, 0] = -PRIOR_SLOPE / PRIOR_SCALE
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), last)


class RowScorer(ActorCriticPolicy):
    """Logits (B, G, R) from one shared MLP over rows: each cluster is an agent of its own."""

    def _build(self, lr_schedule: Schedule) -> None:
        self.actor = make_actor()
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def rows(self, obs: PyTorchObs) -> tuple[Tensor, Tensor]:
        """Features (B, G, R, N) and mask (B, G, R) of flat observations."""
        nvec = self.action_space.nvec  # type: ignore[attr-defined]
        size = (-1, len(nvec), int(nvec[0]))
        features, mask = obs["features"], obs["mask"]  # type: ignore[index]
        return features.reshape(*size, len(FEATURES)), mask.reshape(size).bool()

    def logits(self, obs: PyTorchObs) -> Tensor:
        """Scores (B, G, R) of all rows, -1e8 where impossible."""
        features, mask = self.rows(obs)
        scores = self.actor(features[mask])[:, 0]
        return torch.full(mask.shape, float(MASKED)).masked_scatter(mask, scores)

    def forward(
        self, obs: PyTorchObs, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B, G), values (B, 1), log probabilities of all rows (B, G * R)."""
        log_p = self.logits(obs).log_softmax(-1)
        actions = log_p.argmax(-1) if deterministic else sample(log_p)
        return actions, self.predict_values(obs), flat(log_p)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG002
        """Values (B, 1), log probabilities (B, G * R) of all rows, and entropies (B,)."""
        log_p = self.logits(obs).log_softmax(-1)
        entropy = -(log_p.exp() * log_p).sum((1, 2))
        return self.predict_values(obs), flat(log_p), entropy

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Zeros (B, 1)."""
        return torch.zeros(len(obs["mask"]), 1)  # type: ignore[index]

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """SB3's distribution over all clusters' rows."""
        return self.action_dist.proba_distribution(action_logits=self.logits(obs).flatten(1))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
        }


def sample(log_p: Tensor) -> Tensor:
    """Row indices (B, G) drawn from log probabilities (B, G, R)."""
    drawn = log_p.exp().flatten(0, 1).multinomial(1)
    return drawn.reshape(log_p.shape[:2])


def flat(log_p: Tensor) -> Tensor:
    """Log probabilities (B, G, R) as (B, G * R); what is next to impossible is all the same."""
    return log_p.clamp(min=IMPOSSIBLE).flatten(1)
