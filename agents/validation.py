"""How good a policy in training is, on fleets that it is neither trained nor evaluated on."""

from dataclasses import dataclass

import numpy as np

from adaptoff.agents.baselines import of_policy
from adaptoff.agents.hindsight import Oracle
from adaptoff.agents.method import Method, play
from adaptoff.agents.settings import TrainConfig
from adaptoff.envs.emulator import EmulatedFleet, Source
from adaptoff.envs.sampler import RandomFleets
from adaptoff.fleet import Floats
from adaptoff.policy import Policy

VALIDATION_SEED = 2**31
"""episodes of training have lower seeds, evaluations much lower ones"""


class Validation:
    """Regret to the oracle on fleets of its own; what they cost the oracle is computed once."""

    def __init__(self, source: Source, rounds: int) -> None:
        self.source, self.rounds = source, rounds
        self.best = self._costs(Oracle())

    @staticmethod
    def of(config: TrainConfig) -> "Validation":
        """On fleets like those of training."""
        rounds = config.validation_rounds
        return Validation(RandomFleets(config.validation_fleets, rounds, config.limits), rounds)

    def regret(self, policy: Policy) -> float:
        """Mean over the fleets of cost / the oracle's cost - 1, without exploration."""
        return float((self._costs(of_policy(policy)) / self.best - 1).mean())

    def _costs(self, method: Method) -> Floats:
        played = play(method, EmulatedFleet(self.source), VALIDATION_SEED, self.rounds)
        return np.mean([each.cost for each in played], 0)


@dataclass(frozen=True)
class Judged:
    """The latest validation, and the best one."""

    steps: int
    regret: float
    best_steps: int
    best_regret: float
    waited: int
    """validations since the best one"""

    @staticmethod
    def after(before: "Judged | None", steps: int, regret: float) -> "Judged":
        """With a new validation."""
        if before is None or regret < before.best_regret:
            return Judged(steps, regret, steps, regret, 0)
        return Judged(steps, regret, before.best_steps, before.best_regret, before.waited + 1)

    def enough(self, config: TrainConfig) -> str:
        """Why training should stop, empty if it should not."""
        if config.target_regret and self.best_regret <= config.target_regret:
            return f"regret is at most {config.target_regret:.2%}"
        if config.patience and self.waited >= config.patience:
            return f"{self.waited} evaluations without a lower regret"
        return ""
