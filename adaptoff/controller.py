"""Who decides: estimates -> candidates -> observe -> score -> guard -> rows.

``decide`` is a pure function of fleet, state and policy, the same on the server and on a device.
``Controller`` wraps it with what a device must never get wrong: stale or broken figures keep the
last row, and a silent server means native.
"""

from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec.structs import replace

from adaptoff import objective
from adaptoff.figures import Reader
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints, Rows
from adaptoff.foresight import Foresight, foresee, looked_at
from adaptoff.ground import Ground, scene
from adaptoff.guards import Cause, Guards
from adaptoff.messages import Decision, FleetFigures, Row, Source
from adaptoff.observation import observe
from adaptoff.policy import Policy
from adaptoff.profile import Profile
from adaptoff.scenario import Board, Scenario
from adaptoff.ways import Ways

GUARD_RATIO = 2.0
LEAST_GAIN = 0.005
"""of the predicted cost, for which a fleet changes its rows"""


@dataclass(frozen=True)
class Choice:
    """Rows (F, G) and where the guard replaced the policy's."""

    rows: Rows
    guarded: Bools


def decide(fleet: Fleet, state: FleetState, policy: Policy, ground: Ground | None = None) -> Choice:
    """The policy's row of every cluster, guarded; a fleet with too little to gain keeps its rows.

    Without that threshold measurement noise alone would change rows again and again. ``ground`` is
    that of the fleet, where it is known from an earlier round.
    """
    sight = looked_at(scene(ground, state)) if ground else foresee(fleet, state)
    table, costs = sight.table, _costs(sight)
    asked = table.position(policy.choose(observe(sight), table.valid))
    index, known = table.find(state.rows)
    old = np.where(known, table.position(index), asked)
    bad = _bad(sight, costs, np.array([asked, old]))
    new = np.where(bad[0], table.at_least(costs), asked)
    fine = (known & ~bad[1] | ~fleet.active).all(1)
    stay = (fine & _gains_little(sight, old, new))[:, None]
    return Choice(table.options.rows(np.where(stay, old, new)), bad[0] & ~stay)


def guard(sight: Foresight, index: Ints) -> Choice:
    """Replace rows (F, G) that are out of the question by the cluster's cheapest one.

    That is a row predicted to cost over ``GUARD_RATIO`` times as much, and one that may break the
    heat limit where keeping it costs less than breaking it does.
    """
    costs, at = _costs(sight), sight.table.position(index)
    bad = _bad(sight, costs, at)
    return Choice(sight.table.options.rows(np.where(bad, sight.table.at_least(costs), at)), bad)


def _costs(sight: Foresight) -> Floats:
    """Predicted costs (V,) beside the planned rows; options that may be too hot cost more."""
    return sight.costs + objective.HEAT_BROKEN * sight.hot


def _bad(sight: Foresight, costs: Floats, at: Ints) -> Bools:
    """Which of the options ``at`` (..., F, G) are out of the question."""
    allowed = np.where(sight.hot.take(at), 1.0, GUARD_RATIO) * sight.table.least(costs)
    return costs.take(at) > allowed


def _gains_little(sight: Foresight, old: Ints, new: Ints) -> Bools:
    """Fleets (F,) to which the options ``new`` (F, G) bring too little in place of ``old``."""
    if (old == new).all():
        return np.ones(len(new), bool)
    before, after = sight.expected(np.array([old, new]))
    return after > (1 - LEAST_GAIN) * before


class Controller:
    """The decisions of one device."""

    def __init__(
        self, device: int, scenario: Scenario, profile: Profile, policy: Policy,
        guards: Guards | None = None,
    ) -> None:  # fmt: skip
        """``device`` is its id in the scenario's order; ``guards`` count what was kept from it."""
        self.device, self.scenario, self.profile, self.policy = device, scenario, profile, policy
        self.board, self.guards = scenario.board_of(device), guards or Guards()
        self.row, self._reader = self.native, Reader(scenario, profile)

    @property
    def native(self) -> Row:
        """Everything on the device, at its fastest."""
        return Row(cut=self.profile.native, opp=len(self.board.opps) - 1)

    def next(self, round_: int, figures: FleetFigures | None) -> Decision:
        """The row for ``round_``; ``None`` for the figures means that the server is gone."""
        if figures is None:
            self.guards.act("server-gone", f"round {round_} is native")
            return self._say(round_, self.native, "native")
        try:
            _check(figures)
            if figures.round + 1 != round_:
                return self._keep(round_, "stale", f"figures of round {figures.round}")
            row, source = self._choose(round_, figures)
        except (LookupError, ValueError, TypeError, ArithmeticError) as error:
            return self._keep(round_, "broken", f"figures: {error}")
        return self._say(round_, row, source)

    def _choose(self, round_: int, figures: FleetFigures) -> tuple[Row, Source]:
        seen = self._reader.view(figures)
        choice = decide(seen.fleet, seen.state, self.policy, seen.ground)
        cluster = figures.clusters[self.device]
        row = row_at(self._reader.ways, choice.rows, cluster)
        like = self.scenario.board_of(figures.telemetry[cluster].device)
        if choice.guarded[0, cluster]:
            self.guards.act("replaced", f"round {round_}: the policy's row was out of the question")
        source: Source = "planner" if choice.guarded[0, cluster] else "policy"
        return translate(row, like, self.board), source

    def _keep(self, round_: int, cause: Cause, detail: str) -> Decision:
        self.guards.act(cause, f"{detail}, row of round {round_ - 1} kept for {round_}")
        return self._say(round_, self.row, "kept")

    def _say(self, round_: int, row: Row, source: Source) -> Decision:
        self.row = row
        return Decision(device=self.device, round=round_, row=row, source=source)


def _check(figures: FleetFigures) -> None:
    """Raises ValueError where a figure is not a number in its range: NaN, say."""
    try:
        msgspec.convert(msgspec.to_builtins(figures), FleetFigures)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def translate(row: Row, like: Board, board: Board) -> Row:
    """A row meant for a board ``like`` this, with ``board``'s OPP of nearest relative speed."""
    wanted = like.opps[min(row.opp, len(like.opps) - 1)].relative_speed
    gaps = [abs(opp.relative_speed - wanted) for opp in board.opps]
    return replace(row, opp=gaps.index(min(gaps)))


def row_at(ways: Ways, rows: Rows, cluster: int) -> Row:
    """The levers of a cluster of one fleet (F = 1)."""
    way = ways.all[rows.way[0, cluster]]
    return Row(cut=way.cut, opp=int(rows.opp[0, cluster]), depth=way.depth, codec=way.codec)
