"""The Gymnasium environment over any backend, and the shapes of observations and actions.

Episodes never terminate, they are truncated after ``rounds`` rounds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from adaptoff import candidates, config, profile
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.envs.sampler import RandomFleets
from adaptoff.envs.scenarios import ScenarioFleet
from adaptoff.errors import InputError
from adaptoff.fleet import Bools, Fleet
from adaptoff.messages import MAX_CLUSTERS
from adaptoff.observation import FEATURES, LIMIT
from adaptoff.protocols import FleetBackend

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Shape:
    """Padded sizes of observations and actions."""

    clusters: int
    rows: int

    @staticmethod
    def of(fleet: Fleet) -> "Shape":
        """What a backend of constant shape needs."""
        rows = fleet.up_bytes.shape[1] * fleet.relative_speed.shape[2]
        return Shape(fleet.shape[1], min(rows, candidates.R_MAX))


LIVE = Shape(MAX_CLUSTERS, candidates.R_MAX)


def padded(features: npt.NDArray[np.float32], valid: Bools, shape: Shape) -> Arrays:
    """Flat observations (F, ...) padded to ``shape``; a padded cluster can take its first row.

    Raises InputError if there are more clusters or rows than fit.
    """
    n_fleets, clusters, rows = valid.shape
    if clusters > shape.clusters or rows > shape.rows:
        raise InputError(f"{clusters} clusters of {rows} rows: at most {shape}")
    mask = valid.astype(np.int8)
    if (clusters, rows) != (shape.clusters, shape.rows):
        more = ((0, 0), (0, shape.clusters - clusters), (0, shape.rows - rows))
        features, mask = np.pad(features, (*more, (0, 0))), np.pad(mask, more)
        mask[:, clusters:, 0] = 1
    return {"features": features.reshape(n_fleets, -1), "mask": mask.reshape(n_fleets, -1)}


def observation_space(shape: Shape) -> spaces.Dict:
    """Features (G * R * N,) within +-LIMIT and mask (G * R,), flat as SB3 takes them."""
    size = shape.clusters * shape.rows
    return spaces.Dict(
        {
            "features": spaces.Box(-LIMIT, LIMIT, (size * len(FEATURES),), np.float32),
            "mask": spaces.Box(0, 1, (size,), np.int8),
        }
    )


def action_space(shape: Shape) -> spaces.MultiDiscrete:
    """One row index per cluster."""
    return spaces.MultiDiscrete(np.full(shape.clusters, shape.rows, np.int64))


class FleetEnv(gymnasium.Env[Arrays, npt.NDArray[np.int64]]):
    """One fleet; reward is minus the round's cost."""

    metadata = {"render_modes": []}  # noqa: RUF012  (Gymnasium's own attribute)

    def __init__(self, backend: FleetBackend, rounds: int, shape: Shape | None = None) -> None:
        if rounds < 1:
            raise InputError(f"rounds = {rounds}: at least 1")
        self.episode, self.rounds = Episode(backend), rounds
        self.shape = shape or Shape.of(backend.fleet)
        self.observation_space = observation_space(self.shape)  # type: ignore[assignment]
        self.action_space = action_space(self.shape)
        self._round = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Run the native warm-up round; option ``restart`` also resets a live fleet's weights."""
        super().reset(seed=seed, options=options)
        drawn = int(self.np_random.integers(2**31)) if seed is None else seed
        self.episode.reset(drawn, restart=bool((options or {}).get("restart")))
        self._round = 0
        return self._observe(), {}

    def step(
        self, action: npt.NDArray[np.int64]
    ) -> tuple[Arrays, SupportsFloat, bool, bool, dict[str, Any]]:
        """Run one round."""
        done = self.episode.step(np.asarray(action)[None])
        self._round += 1
        info = {
            "round_s": float(done.outcome.round_s[0]),
            "energy_j": float(done.outcome.energy_j.sum()),
            "replaced": int(done.replaced.sum()),
        }
        return self._observe(), -float(done.cost[0]), False, self._round >= self.rounds, info

    def close(self) -> None:
        """Release the backend."""
        self.episode.backend.close()

    def _observe(self) -> Arrays:
        both = padded(self.episode.observe(), self.episode.table.valid, self.shape)
        return {name: array[0] for name, array in both.items()}


def make(
    scenario: str | None = None, profile_path: str | None = None, rounds: int | None = None
) -> FleetEnv:
    """The emulated environment of a scenario (file or shipped name), or of random fleets."""
    if scenario is None:
        rounds = rounds or 32
        return FleetEnv(EmulatedFleet(RandomFleets(1, rounds)), rounds)
    task = config.load(scenario)
    dnn = profile.load(Path(profile_path)) if profile_path else config.profile_of(task)
    rounds = rounds or task.workload.rounds
    return FleetEnv(EmulatedFleet(ScenarioFleet(task, dnn, rounds)), rounds)


def make_live(rounds: int = 10, **kwargs: Any) -> FleetEnv:  # noqa: ANN401  (LiveFleet's own)
    """The live environment; keywords go to LiveFleet, such as ``endpoint``."""
    from adaptoff.testbed.live import LiveFleet  # noqa: PLC0415  (needs the testbed's extras)

    return FleetEnv(LiveFleet(**kwargs), rounds, LIVE)
