"""Training FedAdapt's agent in the emulator.

What FedAdapt does in 50 updates, each after 10 rounds of one fleet, is stretched to the budget. An
episode of a fleet ends when its slowest device is no quicker than the baseline's; as there, a
native round is then run for a new baseline, which the agent does not learn from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from adaptoff.agents.fedadapt import FedAdapt, failed, reward
from adaptoff.agents.fedadapt_actor import Actor
from adaptoff.agents.fedadapt_ppo import Credit, Learner
from adaptoff.agents.freeze import layers_of
from adaptoff.agents.method import rounds_of
from adaptoff.envs.emulator import EmulatedFleet, Source
from adaptoff.envs.episode import Episode
from adaptoff.errors import InputError
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Outcome, Rows

ROUNDS = 10
"""between two updates"""


def train_fedadapt(source: Source, steps: int, seed: int) -> FedAdapt:
    """An agent trained on the fleets of ``source``; ``steps`` counts each fleet's rounds.

    Rounded up to whole updates; the same arguments give the same agent. Raises InputError.
    """
    if steps < 1:
        raise InputError(f"steps = {steps}: at least 1")
    learner, backend = Learner(seed), EmulatedFleet(source)
    updates = -(-steps // (ROUNDS * backend.fleet.shape[0]))
    played = _play(FedAdapt(learner.explore), backend, seed)
    for update in range(updates):
        learner.set_std(update / updates)
        learner.improve(list(islice(played, ROUNDS)))
    facts = {"steps": steps, "seed": seed, "updates": updates}
    return FedAdapt(Actor(layers_of(learner.actor.state_dict()), facts))


def _play(agent: FedAdapt, backend: EmulatedFleet, seed: int) -> Iterator[Credit]:
    """Rounds without end; all fleets are drawn anew when the drawn conditions are used up."""
    for number in count():
        drawn = int(np.random.SeedSequence([seed, 4, number]).generate_state(1)[0])
        episode = Episode(backend)
        episode.reset(drawn)
        agent.reset(backend, drawn)
        again = np.zeros(backend.fleet.shape[0], bool)
        for left in reversed(range(rounds_of(backend, drawn))):
            credit = _round(agent, episode, again)
            yield Credit(credit.reward, credit.ended | (left == 0), credit.kept)
            again = credit.ended & credit.kept


def _round(agent: FedAdapt, episode: Episode, again: Bools) -> Credit:
    """One round; fleets in ``again`` (F,) run it native, for a new baseline."""
    fleet, where = episode.fleet, again[:, None]
    rows, native = agent.choose(fleet, episode.state), episode.fleet.native()
    done = episode.run(
        Rows(np.where(where, native.way, rows.way), np.where(where, native.opp, rows.opp))
    )
    agent.see(done.outcome, done.cost)
    agent.baseline_s = np.where(where, agent.seconds, agent.baseline_s)
    seen = fleet, agent.seconds, agent.baseline_s
    return Credit(reward(*seen), failed(*seen), ~again)


@dataclass
class TrainedHere:
    """FedAdapt, trained on the source that it first meets, on fleets drawn with other seeds.

    That is how its authors had it: trained on the testbed on which it was then judged.
    """

    name: str = "fedadapt"
    updates: int = 100
    """of ten rounds of all fleets"""
    seed: int = 0

    def __post_init__(self) -> None:
        """Not trained yet."""
        self._source: Source | None = None

    def reset(self, backend: EmulatedFleet, seed: int) -> None:
        """Train, if this source is a new one."""
        if self._source is not backend.source:
            self._source = backend.source
            steps = self.updates * ROUNDS * backend.fleet.shape[0]
            self._agent = train_fedadapt(backend.source, steps, self.seed)
        self._agent.reset(backend, seed)

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        return self._agent.choose(fleet, state)

    def see(self, outcome: Outcome, cost: Floats) -> None:
        """Pass it on."""
        self._agent.see(outcome, cost)
