"""What is foreseen of a round before rows are chosen, worked out once for all who need it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaptoff import candidates, cost, lookup, objective, risk
from adaptoff.best_response import HASTE, Game, Standing
from adaptoff.candidates import Table
from adaptoff.cost import Columns
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints, Rows
from adaptoff.risk import Outlook


@dataclass(frozen=True)
class Foresight:
    """Options (V,) beside the rows that a joint plan gives the other clusters."""

    fleet: Fleet
    state: FleetState
    table: Table
    game: Game
    plan: Standing
    planned: Columns  # (F, G)
    sure: Outlook
    """as estimated, arrays (V,)"""
    maybe: Outlook
    """in scenarios, arrays (S, V)"""
    slowed_s: Floats
    """(V,) seconds by which the slowest other cluster is slower than with the planned row"""

    @property
    def rows(self) -> Rows:
        """The planned rows, (F, G)."""
        return self.table.options.rows(self.plan.at)

    @cached_property
    def costs(self) -> Floats:
        """Cost (V,) of each option as estimated."""
        excess_c = self.sure.excess_c(self.round_s)
        return self.sure.costs(self.round_s, excess_c, self.planned)

    @cached_property
    def mean_costs(self) -> Floats:
        """Mean cost (V,) over the scenarios, and some more for an option's own seconds."""
        costs = self.maybe.costs(self._rounds_s, self._excess_c, self.planned)
        own_s = self.maybe.totals_s.mean(0) / self.state.native_s[self.table.options.fleet]
        return costs.mean(0) + HASTE * own_s

    @cached_property
    def hot(self) -> Bools:
        """Options (V,) that may break the heat limit, and need not be taken."""
        return risk.too_hot(self.table, self._excess_c)

    @cached_property
    def _excess_c(self) -> Floats:
        return self.maybe.excess_c(self._rounds_s)

    @cached_property
    def round_s(self) -> Floats:
        """Seconds (V,) of the round for each option, the others in their planned rows."""
        return self._seconds(self.sure)

    @cached_property
    def _rounds_s(self) -> Floats:
        return self._seconds(self.maybe)

    def _seconds(self, outlook: Outlook) -> Floats:
        others_s = risk.slowest_other(self.fleet, outlook.totals_s[..., self.plan.at])
        return outlook.seconds(others_s, self.slowed_s)

    def expected(self, at: Ints) -> Floats:
        """Mean cost (F,) where the clusters take the options ``at`` (F, G)."""
        columns = cost.joint(self.fleet, self.state, self.table.options.rows(at))
        longer_s = columns.total_s - self.sure.totals_s[at]
        return self.game.mean_cost(at, self.maybe.totals_s[:, at] + longer_s)


def foresee(fleet: Fleet, state: FleetState, table: Table | None = None) -> Foresight:
    """The outlook for a fleet in this state."""
    table = table or candidates.build(fleet, state)
    options = table.options
    alone = risk.as_estimated(fleet, state, table, cost.solo(fleet, state, options))
    maybe = risk.as_it_may_be(alone)
    game = Game(maybe, objective.heat_penalty(maybe.excess_c(maybe.hurried())).mean(0))
    plan = game.plan()
    planned = cost.joint(fleet, state, options.rows(plan.at))
    columns = cost.beside(fleet, alone.columns, options, planned)
    every = np.arange(len(options.cut))
    slowed_s = game.slowed(plan, every, columns.total_s, columns.server_s)
    slowed_s -= lookup.of_cluster(slowed_s[plan.at], options)
    beside = alone.beside(columns), maybe.beside(columns)
    return Foresight(fleet, state, table, game, plan, planned, *beside, slowed_s)
