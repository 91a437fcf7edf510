"""A live fleet as an environment that rewards every row: what telemetry says stands for the truth.

What other rows would have cost is not known of a live round, but its telemetry tells how fast
links, devices and server were in it. Under these conditions, as measured where they were and as
estimated where not, the cost model says what every row was worth (``credit``). What is learnt is
thus how conditions move from one round to the next; where the model is wrong, ``calibrate`` helps.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from adaptoff import estimate
from adaptoff.agents.credit import worth
from adaptoff.envs.episode import Round
from adaptoff.envs.fleet_env import Arrays
from adaptoff.envs.vec_env import FleetVecEnv
from adaptoff.fleet import Conditions, Fleet, FleetState, Floats, Ints, Outcome, Rows
from adaptoff.protocols import FleetBackend


def conditions(fleet: Fleet, before: FleetState, seen: Outcome, after: FleetState) -> Conditions:
    """How fast devices, links and server were in a round, from the estimates around it.

    As measured in it, and as estimated ``after`` it where nothing was; ``before`` has the
    temperatures at its start.
    """
    unknown = np.full(before.speed.shape, estimate.MAX_AGE)
    # the first measurement of a state that had none counts whole
    alone = estimate.update(fleet, replace(before, speed_age=unknown), seen)

    def known(values: Floats, otherwise: Floats) -> Floats:
        return np.where(np.isfinite(values) & (values > 0), values, otherwise)

    return Conditions(
        speed=np.where(alone.speed_age == 0, alone.speed, after.speed),
        up_bps=known(seen.up_bps, after.up_bps),
        down_bps=known(seen.down_bps, after.down_bps),
        rtt_s=after.rtt_s,
        temp_c=before.temp_c,
        server_speed=seen.server_speed,
    )


class LiveEnv(FleetVecEnv):
    """Every row is rewarded for what it would have been worth, as far as the round tells.

    Rows out of the question are left to the guard, as in deployment.
    """

    def __init__(
        self, backend: FleetBackend, rounds: int, tell: Callable[[Round], bool] = lambda _: True
    ) -> None:
        """``tell`` hears of every round, and answers whether its measurements can be trusted."""
        super().__init__(backend, rounds)
        self.episode.guard = True
        self.tell = tell
        self.costs: list[float] = []
        self.most = 2**63
        """rounds, after which no episode begins any more"""

    def reset(self) -> Arrays:
        """Start an episode, but for the one that would follow the last round."""
        return super().reset() if len(self.costs) < self.most else self._observe()

    def play(self, index: Ints) -> tuple[Floats, Floats]:
        """One round with these rows (1, G): rewards of all rows (1, G * R) and costs (1,)."""
        ground, before = self.episode.ground, self.episode.state
        done = self.episode.step(index)
        self.costs.append(float(done.cost[0]))
        seen, rewards = done.outcome, np.zeros((1, self.shape.clusters, self.shape.rows))
        same = seen.way.shape == before.way.shape  # no device came or went
        if self.tell(done) and same:
            at = before.under(conditions(ground.fleet, before, seen, self.episode.state))
            found = worth(ground, at, Rows(seen.way, seen.opp))
            rewards[:, : found.shape[1], : found.shape[2]] = found
        return rewards.reshape(1, -1).astype(np.float32), done.cost

    def last(self, observation: Arrays, fleet: int) -> dict[str, Any]:
        """The return alone: no advantage reaches beyond a round, so nothing is cut off."""
        return {"episode": super().last(observation, fleet)["episode"]}
