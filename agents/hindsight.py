"""Methods that know more than a controller can: how an episode will end, or what comes next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adaptoff import planner
from adaptoff.agents.exact import best_rows
from adaptoff.agents.method import Forgetful, Method, of_each, play, rounds_of
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.fleet import Fleet, FleetState, Floats, Outcome, Rows


@dataclass
class Oracle(Forgetful):
    """The best joint rows under the true conditions of the coming round; myopic in heat.

    The best of three searches, then all that could be better where few enough rows are left to try.
    """

    name: str = "oracle"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """Remember where the truth is."""
        self._backend = backend

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        true = state.under(self._backend.truth())
        return best_rows(fleet, true, search(fleet, state, true))


def search(fleet: Fleet, state: FleetState, true: FleetState) -> Rows:
    """The best of planner searches under the ``true`` conditions, from several starts."""
    native = replace(true, way=fleet.native().way, opp=fleet.native().opp)
    guess = planner.plan(fleet, state)
    informed = replace(true, way=guess.way, opp=guess.opp)
    tries = [planner.plan(fleet, start) for start in (true, native, informed)]
    return of_each(tries, np.stack([planner.joint_cost(fleet, true, r) for r in tries]).argmin(0))


@dataclass
class Hindsight:
    """For each fleet the cheapest of several methods over this very episode.

    No controller can know it: every option is first played on a copy of the episode, over all the
    rounds that the source has drawn. It flatters the options, the more so the more there are.
    """

    name: str
    options: Callable[[Fleet], Sequence[Method]]

    def reset(self, backend: EmulatedFleet, seed: int) -> None:
        """Play every option on fresh fleets of the same source and seed."""
        options = self.options(backend.fleet)
        rounds = rounds_of(backend, seed)
        costs = [_mean_cost(option, backend, seed, rounds) for option in options]
        self.best = np.stack(costs).argmin(0)
        self._used = [options[i] for i in np.unique(self.best)]
        self._which = np.searchsorted(np.unique(self.best), self.best)
        for option in self._used:
            option.reset(backend, seed)

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        return of_each([option.choose(fleet, state) for option in self._used], self._which)

    def see(self, outcome: Outcome, cost: Floats) -> None:
        """Pass it on."""
        for option in self._used:
            option.see(outcome, cost)


def _mean_cost(method: Method, backend: EmulatedFleet, seed: int, rounds: int) -> Floats:
    """(F,) over the rounds of the episode."""
    fresh = EmulatedFleet(backend.source, backend.noise)
    return np.mean([done.cost for done in play(method, fresh, seed, rounds)], 0)
