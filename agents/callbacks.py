"""What happens between two legs of training: the policy is judged, kept, and maybe good enough."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from adaptoff.agents.checkpoint import Checkpoint, save
from adaptoff.agents.freeze import layers_of
from adaptoff.agents.settings import TrainConfig
from adaptoff.agents.validation import Judged, Validation
from adaptoff.policy import Policy

BEST, LAST = "best.safetensors", "last.safetensors"


class Keeper(BaseCallback):
    """Judges and saves between legs, stops when it is enough, and shows progress."""

    def __init__(
        self,
        config: TrainConfig,
        out_dir: Path,
        judged: Judged | None,
        validation: Validation | None,
        *,
        show: bool,
    ) -> None:
        super().__init__()
        self.config, self.out_dir, self.judged = config, out_dir, judged
        self._validation = validation
        self.snapshot: Checkpoint | None = None
        self.enough = ""
        self.bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[regret]} {task.fields[cost]}"),
            console=Console(stderr=True), disable=not show,
        )  # fmt: skip
        self._saved_at = 0

    def save(self) -> Path | None:
        """Write the state after the last whole leg; None if there is none yet."""
        if self.snapshot is None:
            return None
        save(self.out_dir / LAST, self.snapshot)
        self._saved_at = self.snapshot.facts["steps"]
        return self.out_dir / LAST

    def _on_training_start(self) -> None:
        total = self.config.legs_to(self.config.steps)
        self._task = self.bar.add_task("", total=total, cost="", regret="")
        self._saved_at = self.model.num_timesteps
        self._regret = (self._validation or Validation.of(self.config)).regret

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps % self.config.leg == 0:
            self._between_legs(last=False)

    def _on_step(self) -> bool:
        return not self.enough

    def _on_rollout_end(self) -> None:
        cost = self.training_env.get_attr("mean_cost", 0)[0]
        self.logger.record("rollout/cost_mean", cost)
        worth = float(np.mean(self.locals["rollout_buffer"].rewards))
        self.logger.record("rollout/worth_mean", worth)
        self.bar.update(self._task, completed=self.model.num_timesteps, cost=f"cost {cost:.3f}")

    def _on_training_end(self) -> None:
        if not self.enough:
            self._between_legs(last=True)
        self.save()

    def _between_legs(self, *, last: bool) -> None:
        judged = self._judge() if self._due(last=last) or not self.judged else self.judged
        better = judged is not self.judged and judged.waited == 0
        self.judged, self.enough = judged, judged.enough(self.config)
        self.snapshot = Checkpoint.of(self.model, self.config, validation=asdict(judged))
        if better:
            save(self.out_dir / BEST, self.snapshot)
        if self.model.num_timesteps >= self._saved_at + self.config.checkpoint_every:
            self.save()

    def _due(self, *, last: bool) -> bool:
        since = self.model.num_timesteps - (self.judged.steps if self.judged else 0)
        return since > 0 if last else since >= self.config.evaluate_every

    def _judge(self) -> Judged:
        layers = layers_of(self.model.policy.get_submodule("actor").state_dict())
        regret = self._regret(Policy(layers))
        judged = Judged.after(self.judged, self.model.num_timesteps, regret)
        self.logger.record("validation/regret", regret)
        self.logger.dump(judged.steps)
        self.bar.update(self._task, regret=f"regret {regret:.2%}, best {judged.best_regret:.2%}")
        return judged
