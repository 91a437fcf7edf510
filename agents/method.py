"""What every method of choosing rows has in common, so that all meet the same rounds.

Axes as in ``adaptoff.fleet``: F fleets, G clusters, V options of all clusters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from adaptoff import candidates
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode, Round
from adaptoff.fleet import Fleet, FleetState, Floats, Ints, Outcome, Rows
from adaptoff.table import Table


class Method(Protocol):
    """Chooses the rows of the coming round, and sees what came of it."""

    name: str

    def reset(self, backend: EmulatedFleet, seed: int) -> None:
        """Start an episode on ``backend``; only an oracle or hindsight looks into it."""

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""

    def see(self, outcome: Outcome, cost: Floats) -> None:
        """The round as measured, and its cost (F,)."""


class Forgetful:
    """Base of methods that need not know when an episode starts, or what came of a round."""

    def reset(self, backend: EmulatedFleet, seed: int) -> None:
        """Nothing to forget."""

    def see(self, outcome: Outcome, cost: Floats) -> None:
        """Nothing to learn."""


@dataclass
class Stateless(Forgetful):
    """A method that is a function of fleet and estimates."""

    name: str
    function: Callable[[Fleet, FleetState], Rows]

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        return self.function(fleet, state)


def play(method: Method, backend: EmulatedFleet, seed: int, rounds: int) -> list[Round]:
    """One episode of a method from its start."""
    episode = Episode(backend)
    episode.reset(seed)
    method.reset(backend, seed)
    return [play_round(method, episode) for _ in range(rounds)]


def play_round(method: Method, episode: Episode) -> Round:
    """The method chooses, the backend runs, the method sees."""
    done = episode.run(method.choose(episode.fleet, episode.state))
    method.see(done.outcome, done.cost)
    return done


def rounds_of(backend: EmulatedFleet, seed: int) -> int:
    """How many rounds after the warm-up the backend's source draws conditions for."""
    return len(backend.source.draw(seed)[1].speed) - 1


def top_clock(fleet: Fleet, state: FleetState) -> Table:
    """The candidates of a method without DVFS: possible only at each cluster's fastest OPP.

    Native is always one of them.
    """
    return _at_top(fleet, candidates.build(fleet, state))


def every_way(fleet: Fleet) -> Table:
    """The same with all depths and codecs of each cut, whatever the state."""
    return _at_top(fleet, candidates.Grid(fleet).table)


def _at_top(fleet: Fleet, table: Table) -> Table:
    return Table(table.rows, table.valid & (table.rows.opp == fleet.n_opps[..., None] - 1))


def lowest(table: Table, score: Floats) -> Rows:
    """Of each cluster's options the one of lowest ``score`` (V,), the first of equals; (F, G)."""
    return table.options.rows(table.at_least(score))


def or_native(fleet: Fleet, rows: Rows) -> Rows:
    """The rows (F, G), with native's where a cluster cannot take its own."""
    table, native = candidates.Grid(fleet).table, fleet.native()
    _, possible = table.find(rows)
    return Rows(np.where(possible, rows.way, native.way), np.where(possible, rows.opp, native.opp))


def of_each(choices: list[Rows], best: Ints) -> Rows:
    """Of several rows (F, G) those numbered ``best`` (F,) for each fleet."""
    each = np.arange(len(best))
    way, opp = (np.stack([getattr(rows, name) for rows in choices]) for name in ("way", "opp"))
    return Rows(way[best, each], opp[best, each])
