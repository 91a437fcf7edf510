"""A joint plan, which all devices compute alike: what each may expect of the others.

From everyone's quickest row on, the clusters take in turn, the slowest last, the row that costs
least on average over the scenarios while the others keep theirs. What a row does to the others
counts, too: whoever comes to the server slows down those who are there.
"""

from dataclasses import dataclass

import numpy as np

from adaptoff import lookup
from adaptoff.cost import NOTHING_S, meetings
from adaptoff.fleet import Floats, Ints
from adaptoff.risk import Outlook, mean, slowest_other

HASTE = 0.1
"""weight of a cluster's own seconds beside the round's: who has slack should keep some"""


@dataclass(frozen=True)
class Standing:
    """The clusters' rows: where they are among the options, and how they share the server."""

    at: Ints  # (F, G)
    totals_s: Floats  # (S, F, G)
    total_s: Floats  # (F, G) as estimated
    server_s: Floats  # (F, G)
    slope: Floats  # (F, G) seconds lost to each other device that is always at the server
    met: Floats  # (F, G, G) devices of the first one at the server in a round of the second
    others: Floats  # (F, G) devices of all other clusters there


class Game:
    """The choice among a fleet's options, seen as if each were alone at the server."""

    def __init__(self, maybe: Outlook, heat: Floats) -> None:
        """``maybe`` in S scenarios, (S, V), and the penalty (V,) that heat adds to an option."""
        self.maybe, self.heat, self.ground = maybe, heat, maybe.ground
        columns = maybe.columns
        self.total_s = np.maximum(columns.total_s, NOTHING_S)
        self.slope = columns.total_with(2 * columns.server_s) - columns.total_s
        self.siblings_met = np.minimum(columns.server_s / self.total_s, 1.0)
        self.siblings_met *= self.ground.siblings_met
        self.active_j = mean(maybe.active_j)

    def plan(self) -> Standing:
        """Each cluster in turn takes its best response."""
        table, fleet = self.ground.table, self.ground.fleet
        at, rank = self.maybe.quickest, self.maybe.rank
        turn, now = rank.take(table.whose), self.stand(at)
        clusters = fleet.active.sum(1)[:, None]
        for k in reversed(range(fleet.shape[1])):
            mine = np.flatnonzero(turn == k)
            best = lookup.first_least(self.costs(now, mine), table.options.fleet.take(mine))
            at = np.where(rank == k, mine[best][:, None], at)
            now = self.stand(at, np.where(k < clusters, now.others, 0.0))
        return now

    def stand(self, at: Ints, others: Floats | float = 0.0) -> Standing:
        """The clusters in the rows ``at`` (F, G); each meets about as many ``others`` (F, G)."""
        totals_s, total_s, server_s = self._shared(at, others)
        met = meetings(self.ground.devices * server_s, total_s) * self.ground.apart
        return Standing(at, totals_s, total_s, server_s, self.slope.take(at), met, met.sum(1))

    def costs(self, now: Standing, which: Ints) -> Floats:
        """Mean cost (n,) of the options ``which`` (n,) while the other clusters keep theirs."""
        ground = self.ground
        fleet, whose = ground.options.fleet.take(which), ground.table.whose.take(which)
        own_s, others_s = self._seconds(now, which, whose)
        round_s = mean(np.maximum(own_s, others_s, out=others_s))
        joules = ground.members.take(which) * self.active_j.take(which)
        joules += ground.fleet_idle_w.take(which) * round_s
        round_s += HASTE * mean(own_s)
        return self._priced(round_s, joules, fleet) + self.heat.take(which)

    def _seconds(self, now: Standing, which: Ints, whose: Ints) -> tuple[Floats, Floats]:
        """Of a cluster with an option, and of the slowest other one beside it, (S, n)."""
        own_s, total_s, server_s = self._shared(which, now.others.take(whose))
        others_s = slowest_other(self.ground.fleet, now.totals_s)
        others_s = others_s.reshape(len(own_s), -1).take(whose, 1)
        others_s += self.slowed(now, which, total_s, server_s)
        return own_s, others_s

    def _shared(self, at: Ints, others: Floats | float) -> tuple[Floats, Floats, Floats]:
        """Seconds in scenarios (S, ...), as estimated, and at the server, of options (...).

        Each meets its siblings there, and so many ``others`` (...).
        """
        met = others + self.siblings_met.take(at)
        longer_s = self.slope.take(at) * met
        totals_s = self.maybe.totals_s.take(at, 1)
        totals_s += longer_s
        server_s = self.maybe.columns.server_s.take(at) * (1 + met)
        return totals_s, self.total_s.take(at) + longer_s, server_s

    def slowed(self, now: Standing, which: Ints, total_s: Floats, server_s: Floats) -> Floats:
        """Seconds (n,) by which the slowest other cluster is slower, if options are taken.

        The options ``which`` (n,) take ``total_s`` (n,) and of it ``server_s`` (n,) at the server.
        """
        ground, n_clusters = self.ground, self.ground.fleet.shape[1]
        if n_clusters == 1:
            return np.zeros(len(which))
        fleet, whose = ground.options.fleet.take(which), ground.table.whose.take(which)
        theirs_s = now.total_s.T.take(fleet, 1)  # (G, n)
        more_s = ground.members.take(which) * server_s / np.maximum(total_s, theirs_s)
        more_s -= now.met.reshape(-1, n_clusters).T.take(whose, 1)
        more_s *= now.slope.T.take(fleet, 1)
        more_s += theirs_s
        others = ground.others.take(which, 1)
        before_s = np.where(others, theirs_s, 0.0).max(0)
        return np.where(others, more_s, 0.0).max(0) - before_s

    def mean_cost(self, at: Ints, totals_s: Floats) -> Floats:
        """Mean cost (..., F) of the rows ``at`` (..., F, G), of ``totals_s`` (S, ..., F, G)."""
        active = self.ground.fleet.active
        round_s = mean(np.where(active, totals_s, 0.0).max(-1))
        joules = (self.ground.devices * self.active_j.take(at)).sum(-1)
        joules += self.ground.idle_all_w * round_s
        heat = np.where(active, self.heat.take(at), 0.0).max(-1)
        return self._priced(round_s, joules, slice(None)) + heat

    def _priced(self, seconds: Floats, joules: Floats, fleet: Ints | slice) -> Floats:
        state, weight = self.maybe.scene.state, self.ground.fleet.energy_weight
        return seconds / state.native_s[fleet] + weight[fleet] * joules / state.native_j[fleet]
