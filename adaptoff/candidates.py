"""Levers -> rows: every (cut, OPP) that a cluster could use next round.

The table is padded to the same number of rows for all clusters. Beyond ``R_MAX`` rows only the
Pareto front in (round seconds, joules, uplink bytes) is kept, with the native and the current row.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from adaptoff import cost, lookup
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints, Options, Rows

R_MAX = 64


@dataclass(frozen=True)
class Table:
    """Candidate rows, (F, G, R), and which of them are possible."""

    rows: Rows
    valid: Bools

    @cached_property
    def options(self) -> Options:
        """The possible rows, in order: every cluster has at least one."""
        fleet, cluster, _ = np.nonzero(self.valid)
        return Options(fleet, cluster, *(v[self.valid] for v in (self.rows.cut, self.rows.opp)))

    @cached_property
    def whose(self) -> Ints:
        """Cluster of each option, numbered over all fleets, (V,)."""
        return self.options.fleet * self.valid.shape[1] + self.options.cluster

    @cached_property
    def every(self) -> Ints:
        """Positions of all options, (V,)."""
        return np.arange(len(self.whose))

    @cached_property
    def _place(self) -> Ints:
        """Where the options are among all rows, (V,)."""
        return np.flatnonzero(self.valid)

    @cached_property
    def _starts(self) -> Ints:
        """Where each cluster's options begin, (F * G,)."""
        n_rows = self.valid.sum(2).ravel()
        return np.cumsum(n_rows) - n_rows

    @cached_property
    def _first(self) -> Ints:
        """Where each cluster's rows begin among all rows, (F, G)."""
        n_fleets, n_clusters, n_rows = self.valid.shape
        return (np.arange(n_fleets * n_clusters) * n_rows).reshape(n_fleets, n_clusters)

    @cached_property
    def _positions(self) -> Ints:
        """Where each row is among the options, or the possible one before it, (F * G * R,)."""
        before = np.maximum(np.cumsum(self.valid, 2) - 1, 0)
        return (before + self._starts.reshape(*self.valid.shape[:2], 1)).ravel()

    def find(self, rows: Rows) -> tuple[Ints, Bools]:
        """Where ``rows`` (F, G) are, 0 if they are impossible, and which are possible."""
        same = (self.rows.cut == rows.cut[..., None]) & (self.rows.opp == rows.opp[..., None])
        same &= self.valid
        index = same.argmax(2)
        return index, same.take(index + self._first)

    def position(self, index: Ints) -> Ints:
        """Where the possible rows at ``index`` (F, G) are among the options."""
        return self._positions.take(index + self._first)

    def spread(self, values: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        """Values (V, ...) of the options as (F, G, R, ...), ``fill`` in impossible rows."""
        padded = np.full((self.valid.size, *values.shape[1:]), fill, values.dtype)
        padded[self._place] = values
        return padded.reshape(*self.valid.shape, *values.shape[1:])

    def least(self, values: Floats) -> Floats:
        """Smallest of the options' values (..., V) in each cluster, (..., F, G)."""
        least = np.minimum.reduceat(values, self._starts, -1)
        return least.reshape(*values.shape[:-1], *self.valid.shape[:2])

    def at_least(self, values: Floats) -> Ints:
        """Position (F, G) among the options (V,) of each cluster's first smallest value."""
        least = np.minimum.reduceat(values, self._starts).take(self.whose)
        place = np.where(values == least, self.every, len(values))
        return np.minimum.reduceat(place, self._starts).reshape(self.valid.shape[:2])

    def take(self, index: Ints) -> Rows:
        """The rows at ``index`` (F, G)."""
        at = index + self._first
        return Rows(self.rows.cut.take(at), self.rows.opp.take(at))


def build(fleet: Fleet, state: FleetState) -> Table:
    """All possible rows; a padded cluster has one, its native."""
    return whole(fleet) or _bounded(fleet, state, _grid(fleet))


def whole(fleet: Fleet) -> Table | None:
    """The same where it does not depend on the state, as ``R_MAX`` rows or fewer are all kept."""
    return _grid(fleet) if lasting(fleet) else None


def lasting(fleet: Fleet) -> bool:
    """Whether the table is the same in every state."""
    return fleet.up_bytes.shape[1] * fleet.relative_speed.shape[2] <= R_MAX


def _grid(fleet: Fleet) -> Table:
    (n_fleets, n_clusters), n_opps = fleet.shape, fleet.relative_speed.shape[2]
    n_cuts = fleet.up_bytes.shape[1]
    shape = (n_fleets, n_clusters, n_cuts * n_opps)
    cut = np.broadcast_to(np.repeat(np.arange(n_cuts), n_opps), shape)
    opp = np.broadcast_to(np.tile(np.arange(n_opps), n_cuts), shape)
    return Table(Rows(cut, opp), _possible(fleet, Rows(cut, opp)))


def _possible(fleet: Fleet, rows: Rows) -> Bools:
    """A row must exist, respect ``min_cut`` and fit the memory; native is always possible."""
    last = fleet.n_cuts[:, None, None] - 1
    exists = (rows.cut <= last) & (rows.opp < fleet.n_opps[..., None])
    memory = lookup.pick_cut(fleet.memory_bytes, rows.cut)
    allowed = (rows.cut >= fleet.min_cut[:, None, None]) & (
        memory <= fleet.memory_limit_bytes[..., None]
    )
    native = (rows.cut == last) & (rows.opp == fleet.n_opps[..., None] - 1)
    return (exists & allowed & fleet.active[..., None]) | native


def _bounded(fleet: Fleet, state: FleetState, table: Table) -> Table:
    """The R_MAX most useful rows of each cluster, in the grid's order."""
    options, current = table.options, cost.joint(fleet, state, state.rows)
    columns = cost.alternatives(fleet, state, options, current)
    up_bytes = lookup.of_cut(fleet.up_bytes, options)
    goals = table.spread(np.stack([columns.total_s, columns.active_j, up_bytes], -1), np.inf)
    rank = np.where(_front(goals, table.valid), 1.0, 2.0) - 1 / (1 + goals[..., 0])
    for rows in (fleet.native(), state.rows):
        rank[_same(table.rows, rows)] = 0.0
    keep = np.sort(np.argsort(np.where(table.valid, rank, 9.0), 2, kind="stable")[..., :R_MAX], 2)
    rows = Rows(*(np.take_along_axis(v, keep, 2) for v in (table.rows.cut, table.rows.opp)))
    return Table(rows, np.take_along_axis(table.valid, keep, 2))


def _same(table: Rows, rows: Rows) -> Bools:
    return (table.cut == rows.cut[..., None]) & (table.opp == rows.opp[..., None])


def _front(goals: Floats, valid: Bools) -> Bools:
    """Which rows (F, G, R) no other valid row beats in all goals (F, G, R, 3)."""
    no_worse = np.ones((*valid.shape, valid.shape[2]), bool)
    better = np.zeros_like(no_worse)
    for goal in np.moveaxis(goals, -1, 0):
        no_worse &= goal[..., None, :] <= goal[..., None]
        better |= goal[..., None, :] < goal[..., None]
    return valid & ~(no_worse & better).any(-1)
