"""Methods at play, all on the same fleets and links, and what of it is judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from adaptoff.agents.baselines import native
from adaptoff.agents.hindsight import Oracle
from adaptoff.agents.method import Method, play_round
from adaptoff.envs.emulator import EmulatedFleet, Source
from adaptoff.envs.episode import Episode, Round
from adaptoff.fleet import Fleet, Floats, Outcome


@dataclass(frozen=True)
class Episodes:
    """What a method did in E episodes of T rounds; the warm-up is not counted."""

    cost: Floats  # (E,) mean over rounds, as all but the last
    energy_j: Floats  # (E,)
    hot: Floats  # (E,) share of device-rounds that end above the heat limit
    changes: Floats  # (E,) share of clusters whose row, as applied, is not that of the round before
    rounds_s: Floats  # (T, E)

    @property
    def round_s(self) -> Floats:
        """(E,)."""
        return self.rounds_s.mean(0)


Played = dict[str, Episodes]
"""by method, all on the same fleets and links"""


def play_seed(
    methods: Sequence[Method],
    source: Source,
    seed: int,
    rounds: int,
    tell: Callable[[str], object] = str,
) -> Played:
    """Play the methods, native and the oracle; ``tell`` hears of each before it is played."""
    by_name: dict[str, Method] = {m.name: m for m in (native(), Oracle(), *methods)}
    played = {}
    for name, method in by_name.items():
        tell(name)
        played[name] = _play(method, EmulatedFleet(source), seed, rounds)
    return played


def _play(method: Method, backend: EmulatedFleet, seed: int, rounds: int) -> Episodes:
    episode = Episode(backend)
    warm_up = episode.reset(seed)
    method.reset(backend, seed)
    return episodes_of(episode.fleet, warm_up, [play_round(method, episode) for _ in range(rounds)])


def episodes_of(fleet: Fleet, warm_up: Outcome, done: Sequence[Round]) -> Episodes:
    """What came of the rounds ``done`` after the native ``warm_up``."""
    seen = [warm_up, *(each.outcome for each in done)]
    return Episodes(
        cost=np.mean([each.cost for each in done], 0),
        energy_j=np.mean([each.energy_j.sum(1) for each in seen[1:]], 0),
        hot=np.mean([too_hot(fleet, each) for each in seen[1:]], 0),
        changes=np.mean([changed(fleet, *pair) for pair in pairwise(seen)], 0),
        rounds_s=np.array([each.round_s for each in seen[1:]]),
    )


def too_hot(fleet: Fleet, seen: Outcome) -> Floats:
    """Share (F,) of a fleet's devices that end the round above the heat limit."""
    devices = np.where(fleet.active, fleet.count, 0.0)
    hot = seen.temp_c > fleet.heat_limit_c[:, None]
    return (devices * hot).sum(1) / devices.sum(1)


def changed(fleet: Fleet, before: Outcome, after: Outcome) -> Floats:
    """Share (F,) of a fleet's clusters that applied another row than the round before."""
    moved = (before.way != after.way) | (before.opp != after.opp)
    return (moved & fleet.active).sum(1) / fleet.active.sum(1)


def together(parts: Sequence[Played]) -> Played:
    """The episodes of several sources as those of one."""

    def joined(name: str) -> Episodes:
        each = [vars(part[name]) for part in parts]
        return Episodes(**{key: np.concatenate([one[key] for one in each], -1) for key in each[0]})

    return {name: joined(name) for name in parts[0]}
