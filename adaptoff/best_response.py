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
from adaptoff.risk import Outlook, ranked, slowest_other

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


class Game:
    """The choice among a fleet's options, seen as if each were alone at the server."""

    def __init__(self, maybe: Outlook, heat: Floats) -> None:
        """``maybe`` in S scenarios, (S, V), and the penalty (V,) that heat adds to an option."""
        self.maybe, self.heat = maybe, heat
        fleet, columns = maybe.fleet, maybe.columns
        self.total_s = np.maximum(columns.total_s, NOTHING_S)
        in_turn_s = np.maximum(columns.in_turn_s, NOTHING_S)
        self.slope = columns.server_s * columns.total_s / in_turn_s
        self.devices = np.where(fleet.active, fleet.count, 0.0)
        siblings = lookup.of_cluster(np.maximum(self.devices - 1, 0.0), maybe.table.options)
        self.siblings_met = siblings * np.minimum(columns.server_s / self.total_s, 1.0)
        self.idle_w = (fleet.idle_w * self.devices).sum(1)
        self.active_j = maybe.active_j.mean(0)

    def plan(self) -> Standing:
        """Each cluster in turn takes its best response."""
        table, fleet = self.maybe.table, self.maybe.fleet
        at = table.at_least(self.total_s)
        rank = ranked(fleet, self.total_s[at])
        turn, now = rank[table.options.fleet, table.options.cluster], self.stand(at)
        clusters = fleet.active.sum(1)[:, None]
        for k in reversed(range(fleet.shape[1])):
            mine = np.flatnonzero(turn == k)
            best = lookup.first_least(self.costs(now, mine), table.options.fleet[mine])
            at = np.where(rank == k, mine[best][:, None], at)
            now = self.stand(at, np.where(k < clusters, now.met.sum(1), 0.0))
        return now

    def stand(self, at: Ints, others: Floats | float = 0.0) -> Standing:
        """The clusters in the rows ``at`` (F, G); each meets about as many ``others`` (F, G)."""
        totals_s, total_s, server_s = self._shared(at, others)
        met = meetings(self.devices * server_s, total_s)
        each = np.arange(met.shape[1])
        met[:, each, each] = 0.0
        return Standing(at, totals_s, total_s, server_s, self.slope[at], met)

    def costs(self, now: Standing, which: Ints) -> Floats:
        """Mean cost (n,) of the options ``which`` (n,) while the other clusters keep theirs."""
        options = self.maybe.table.options
        fleet, whose = options.fleet[which], (options.fleet[which], options.cluster[which])
        own_s, others_s = self._seconds(now, which, whose)
        round_s = np.maximum(own_s, others_s).mean(0)
        joules = self.devices[whose] * self.active_j[which] + self.idle_w[fleet] * round_s
        return self._priced(round_s + HASTE * own_s.mean(0), joules, fleet) + self.heat[which]

    def _seconds(
        self, now: Standing, which: Ints, whose: tuple[Ints, Ints]
    ) -> tuple[Floats, Floats]:
        """Of a cluster with an option, and of the slowest other one beside it, (S, n)."""
        own_s, total_s, server_s = self._shared(which, now.met.sum(1)[whose])
        others_s = slowest_other(self.maybe.fleet, now.totals_s)[(..., *whose)]
        return own_s, others_s + self.slowed(now, which, total_s, server_s)

    def _shared(self, at: Ints, others: Floats | float) -> tuple[Floats, Floats, Floats]:
        """Seconds in scenarios (S, ...), as estimated, and at the server, of options (...).

        Each meets its siblings there, and so many ``others`` (...).
        """
        met, slope = others + self.siblings_met[at], self.slope[at]
        server_s = self.maybe.columns.server_s[at] * (1 + met)
        return self.maybe.totals_s[:, at] + slope * met, self.total_s[at] + slope * met, server_s

    def slowed(self, now: Standing, which: Ints, total_s: Floats, server_s: Floats) -> Floats:
        """Seconds (n,) by which the slowest other cluster is slower, if options are taken.

        The options ``which`` (n,) take ``total_s`` (n,) and of it ``server_s`` (n,) at the server.
        """
        options, active = self.maybe.table.options, self.maybe.fleet.active
        fleet, whose = options.fleet[which], (options.fleet[which], options.cluster[which])
        theirs_s, busy_s = now.total_s[fleet], self.devices[whose] * server_s
        met = busy_s[:, None] / np.maximum(total_s[:, None], theirs_s)
        more_s = now.slope[fleet] * (met - now.met[whose])
        other = active[fleet] & (options.cluster[which][:, None] != np.arange(active.shape[1]))
        before_s = np.where(other, theirs_s, 0.0).max(1)
        return np.where(other, theirs_s + more_s, 0.0).max(1) - before_s

    def mean_cost(self, at: Ints, totals_s: Floats) -> Floats:
        """Mean cost (F,) of the rows ``at`` (F, G), which take ``totals_s`` (S, F, G)."""
        active = self.maybe.fleet.active
        round_s = np.where(active, totals_s, 0.0).max(2).mean(0)
        joules = (self.devices * self.active_j[at]).sum(1) + self.idle_w * round_s
        heat = np.where(active, self.heat[at], 0.0).max(1)
        return self._priced(round_s, joules, slice(None)) + heat

    def _priced(self, seconds: Floats, joules: Floats, fleet: Ints | slice) -> Floats:
        state, weight = self.maybe.state, self.maybe.fleet.energy_weight
        return seconds / state.native_s[fleet] + weight[fleet] * joules / state.native_j[fleet]
