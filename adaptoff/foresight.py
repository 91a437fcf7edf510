"""What is foreseen of a round before rows are chosen, worked out once for all who need it."""

from dataclasses import dataclass
from functools import cached_property

from adaptoff import candidates, cost, objective, risk
from adaptoff.best_response import HASTE, Game, Standing
from adaptoff.cost import Columns
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints, Rows
from adaptoff.ground import Ground, Scene, scene
from adaptoff.risk import Outlook
from adaptoff.table import Table


@dataclass(frozen=True)
class Foresight:
    """Options (V,) beside the rows that a joint plan gives the other clusters."""

    scene: Scene
    game: Game
    plan: Standing
    planned: Columns  # (F, G)
    outlook: Outlook
    """in S scenarios and as estimated, arrays (S + 1, V)"""
    slowed_s: Floats
    """(V,) seconds by which the slowest other cluster is slower than with the planned row"""

    @property
    def fleet(self) -> Fleet:
        """Whose rows are foreseen."""
        return self.scene.ground.fleet

    @property
    def state(self) -> FleetState:
        """Its state."""
        return self.scene.state

    @property
    def table(self) -> Table:
        """Its candidate rows."""
        return self.scene.ground.table

    @property
    def rows(self) -> Rows:
        """The planned rows, (F, G)."""
        return self.table.options.rows(self.plan.at)

    @cached_property
    def sure(self) -> Outlook:
        """As estimated, arrays (V,)."""
        return self.outlook.part(-1)

    @cached_property
    def maybe(self) -> Outlook:
        """In scenarios, arrays (S, V)."""
        return self.outlook.part(slice(-1))

    @property
    def costs(self) -> Floats:
        """Cost (V,) of each option as estimated."""
        return self._costs[-1]

    @cached_property
    def mean_costs(self) -> Floats:
        """Mean cost (V,) over the scenarios, and some more for an option's own seconds."""
        own_s = risk.mean(self.maybe.totals_s) / self.scene.native_s
        return risk.mean(self._costs[:-1]) + HASTE * own_s

    @cached_property
    def hot(self) -> Bools:
        """Options (V,) that may break the heat limit, and need not be taken."""
        return risk.too_hot(self.table, self._excess_c[:-1])

    @property
    def round_s(self) -> Floats:
        """Seconds (V,) of the round for each option, the others in their planned rows."""
        return self._rounds_s[-1]

    @cached_property
    def _costs(self) -> Floats:
        return self.outlook.costs(self._rounds_s, self._excess_c, self.planned)

    @cached_property
    def _excess_c(self) -> Floats:
        return self.outlook.excess_c(self._rounds_s)

    @cached_property
    def _rounds_s(self) -> Floats:
        others_s = risk.slowest_other(self.fleet, self.outlook.totals_s.take(self.plan.at, -1))
        return self.outlook.seconds(others_s, self.slowed_s)

    def expected(self, at: Ints) -> Floats:
        """Mean cost (..., F) where the clusters take the options ``at`` (..., F, G)."""
        columns = cost.together(self.game.maybe.columns.take(at), self.scene.ground.devices)
        longer_s = columns.total_s - self.sure.totals_s.take(at)
        return self.game.mean_cost(at, self.maybe.totals_s.take(at, 1) + longer_s)


def foresee(fleet: Fleet, state: FleetState, table: Table | None = None) -> Foresight:
    """The outlook for a fleet in this state."""
    return looked_at(scene(Ground(fleet, table or candidates.build(fleet, state)), state))


def looked_at(at: Scene) -> Foresight:
    """The outlook from a scene."""
    ground = at.ground
    alone = cost.predicted(ground.facts, at.at)
    outlook = risk.as_it_may_be(risk.alone(at, alone))
    maybe = outlook.part(slice(-1))
    game = Game(maybe, _heat(maybe))
    plan = game.plan()
    planned = cost.together(alone.take(plan.at), ground.devices)
    columns = cost.beside(alone, ground.siblings, ground.table.whose, planned, ground.devices)
    slowed_s = game.slowed(plan, ground.table.every, columns.total_s, columns.server_s)
    slowed_s -= ground.spread(slowed_s.take(plan.at))
    return Foresight(at, game, plan, planned, outlook.beside(columns), slowed_s)


def _heat(maybe: Outlook) -> Floats:
    """Mean penalty (V,) for the heat of a round where the others hurry."""
    return risk.mean(objective.heat_penalty(maybe.excess_c(maybe.hurried())))
