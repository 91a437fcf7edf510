"""Levers -> rows: every (cut, depth, codec, OPP) that a cluster could use next round.

The table is padded to the same number of rows for all clusters. Where it would have more than
``R_MAX``, the quickest depth and codec of each cut and OPP are kept; where these are still too
many, their Pareto front in (round seconds, joules, uplink bytes). The native and the current row
are always there.
"""

from functools import cached_property

import numpy as np

from adaptoff import cost, lookup
from adaptoff.facts import Facts, facts
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints, Rows
from adaptoff.table import Table

R_MAX = 64


class Grid:
    """All rows of a fleet, and what they come down to: worked out once."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.table = fleet, _grid(fleet)
        self.lasting = self.table.valid.shape[2] <= R_MAX
        """whether the candidates are the same in every state"""

    @cached_property
    def _facts(self) -> Facts:
        return facts(self.fleet, self.table.options)

    @cached_property
    def _group(self) -> Ints:
        """One number for options (V,) that differ in depth and codec alone."""
        fleet, options = self.fleet, self.table.options
        cuts = self.table.whose * (fleet.cut.max() + 1) + lookup.of_way(fleet.cut, options)
        return cuts * fleet.relative_speed.shape[2] + options.opp

    def candidates(self, state: FleetState) -> Table:
        """All possible rows or, of too many, the most useful ones."""
        return self.table if self.lasting else self._bounded(state)

    def _bounded(self, state: FleetState) -> Table:
        """The R_MAX most useful rows of each cluster at most, in the grid's order."""
        fleet, table = self.fleet, self.table
        current = cost.joint(fleet, state, state.rows)
        columns = cost.alternatives(fleet, state, table.options, current, self._facts)
        kept = table.spread(_quickest(self._group, columns.total_s), fill=False)
        always = _same(table.rows, fleet.native()) | _same(table.rows, state.rows) & table.valid
        at = _places(kept | always)
        left = _at(Table(table.rows, kept | always), at)
        if at.shape[2] <= R_MAX:
            return left
        up_bytes = lookup.of_way(fleet.up_bytes, table.options)
        goals = table.spread(np.stack([columns.total_s, columns.active_j, up_bytes], -1), np.inf)
        goals = np.take_along_axis(goals, at[..., None], 2)
        rank = np.where(_front(goals, left.valid), 1.0, 2.0) - 1 / (1 + goals[..., 0])
        rank[np.take_along_axis(always, at, 2)] = 0.0
        best = np.argsort(np.where(left.valid, rank, 9.0), 2, kind="stable")[..., :R_MAX]
        return _at(left, np.sort(best, 2))


def build(fleet: Fleet, state: FleetState) -> Table:
    """All possible rows or, of too many, the most useful ones; a padded cluster has its native."""
    return Grid(fleet).candidates(state)


def _grid(fleet: Fleet) -> Table:
    (n_fleets, n_clusters), n_opps = fleet.shape, fleet.relative_speed.shape[2]
    n_ways = fleet.up_bytes.shape[1]
    shape = (n_fleets, n_clusters, n_ways * n_opps)
    way = np.broadcast_to(np.repeat(np.arange(n_ways), n_opps), shape)
    opp = np.broadcast_to(np.tile(np.arange(n_opps), n_ways), shape)
    return Table(Rows(way, opp), _possible(fleet, Rows(way, opp)))


def _possible(fleet: Fleet, rows: Rows) -> Bools:
    """A row must exist, respect ``min_cut`` and fit the memory; native is always possible."""
    last = fleet.n_ways[:, None, None] - 1
    exists = (rows.way <= last) & (rows.opp < fleet.n_opps[..., None])
    memory = lookup.pick_way(fleet.memory_bytes, rows.way)
    far = lookup.pick_way(fleet.cut, rows.way) >= fleet.min_cut[:, None, None]
    allowed = far & (memory <= fleet.memory_limit_bytes[..., None])
    native = (rows.way == last) & (rows.opp == fleet.n_opps[..., None] - 1)
    return (exists & allowed & fleet.active[..., None]) | native


def _quickest(group: Ints, total_s: Floats) -> Bools:
    """Which options (V,) are the first quickest of their ``group`` (V,)."""
    order = np.lexsort((total_s, group))
    first = np.diff(group[order], prepend=-1) > 0
    quickest = np.zeros(len(group), bool)
    quickest[order[first]] = True
    return quickest


def _places(kept: Bools) -> Ints:
    """Where those that are ``kept`` (F, G, R) are, in order, padded to as many for all clusters."""
    return np.argsort(~kept, 2, kind="stable")[..., : kept.sum(2).max()]


def _at(table: Table, at: Ints) -> Table:
    """The rows at the places ``at`` (F, G, n) of a table."""
    rows = Rows(*(np.take_along_axis(v, at, 2) for v in (table.rows.way, table.rows.opp)))
    return Table(rows, np.take_along_axis(table.valid, at, 2))


def _same(table: Rows, rows: Rows) -> Bools:
    return (table.way == rows.way[..., None]) & (table.opp == rows.opp[..., None])


def _front(goals: Floats, valid: Bools) -> Bools:
    """Which rows (F, G, R) no other valid row beats in all goals (F, G, R, 3)."""
    no_worse = np.ones((*valid.shape, valid.shape[2]), bool)
    better = np.zeros_like(no_worse)
    for goal in np.moveaxis(goals, -1, 0):
        no_worse &= goal[..., None, :] <= goal[..., None]
        better |= goal[..., None, :] < goal[..., None]
    return valid & ~(no_worse & better).any(-1)
