"""The batched adapter for Stable-Baselines3: F fleets of one backend as F environments.

All fleets end their episode at the same step; the next one starts at once, with a new seed and,
from a random source, with newly drawn fleets.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from adaptoff.envs.episode import Episode, Live
from adaptoff.envs.fleet_env import LIVE, Arrays, Shape, action_space, observation_space, padded
from adaptoff.fleet import Floats, Ints
from adaptoff.protocols import FleetBackend


class FleetVecEnv(VecEnv):
    """SB3's vectorised environment over the F fleets of a backend: of constant shape, or live."""

    def __init__(self, backend: FleetBackend, rounds: int, seed: int = 0) -> None:
        self.episode, self.rounds = Episode(backend), rounds
        live = isinstance(backend, Live)  # it has no fleet before its first reset
        self.shape = LIVE if live else Shape.of(backend.fleet)
        self.render_mode = None
        self._episode_seeds = np.random.default_rng(seed)
        self._action: Ints = np.zeros((0, 0), np.int64)
        n_fleets = 1 if live else backend.fleet.shape[0]
        self._round, self._returns = 0, np.zeros(n_fleets)
        super().__init__(n_fleets, observation_space(self.shape), action_space(self.shape))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the episodes from the next reset on; each fleet's share follows from it."""
        self._episode_seeds = np.random.default_rng(seed)
        return [seed] * self.num_envs

    def reset(self) -> Arrays:
        """Start an episode of all fleets."""
        self.episode.reset(int(self._episode_seeds.integers(2**31)))
        self._round, self._returns = 0, np.zeros(self.num_envs)
        return self._observe()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Note the row indices (F, G)."""
        self._action = np.asarray(actions, np.int64)

    def step_wait(self) -> tuple[Arrays, Any, Any, list[dict[str, Any]]]:
        """Run a round: observations (F, ...), rewards as of ``play``, dones (F,), infos."""
        rewards, costs = self.play(self._action)
        self._round += 1
        self._returns -= costs
        observation = self._observe()
        done = self._round >= self.rounds
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done:
            infos = [self.last(observation, fleet) for fleet in range(self.num_envs)]
            observation = self.reset()
        return observation, rewards.astype(np.float32), np.full(self.num_envs, done), infos

    def play(self, index: Ints) -> tuple[Floats, Floats]:
        """One round with these rows (F, G): rewards (F,), minus the costs (F,)."""
        costs = self.episode.step(index).cost
        return -costs, costs

    def last(self, observation: Arrays, fleet: int) -> dict[str, Any]:
        """What SB3 wants to know of a fleet's last round."""
        return {
            "terminal_observation": {name: array[fleet] for name, array in observation.items()},
            "TimeLimit.truncated": True,
            "episode": {"r": float(self._returns[fleet]), "l": self._round, "t": 0.0},
        }

    def close(self) -> None:
        """Release the backend."""
        self.episode.backend.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of this adapter, once per asked fleet."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:  # noqa: ANN401, ARG002
        """Set an attribute; it holds for all fleets."""
        setattr(self, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *args: Any,  # noqa: ANN401
        indices: VecEnvIndices = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Any]:
        """Call a method of this adapter once; the result stands for each asked fleet."""
        result = getattr(self, method_name)(*args, **kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:  # noqa: ANN401, ARG002
        """No fleet is wrapped."""
        return [False for _ in self._get_indices(indices)]

    def _observe(self) -> Arrays:
        return padded(self.episode.observe(), self.episode.table.valid, self.shape)
