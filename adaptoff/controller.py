"""Who decides: estimates -> candidates -> observe -> score -> guard -> rows.

``decide`` is a pure function of fleet, state and policy, the same on the server and on a device.
``Controller`` wraps it with what a device must never get wrong: stale or broken figures keep the
last row, a silent server means native.
"""

import logging
from dataclasses import dataclass

import numpy as np

from adaptoff import objective
from adaptoff.figures import view
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints, Rows
from adaptoff.foresight import Foresight, foresee
from adaptoff.messages import Decision, FleetFigures, Row, Source
from adaptoff.observation import observe
from adaptoff.policy import Policy
from adaptoff.profile import Profile
from adaptoff.scenario import Board, Scenario

GUARD_RATIO = 2.0
LEAST_GAIN = 0.005
"""of the predicted cost, for which a fleet changes its rows"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Rows (F, G) and where the guard replaced the policy's."""

    rows: Rows
    guarded: Bools


def decide(fleet: Fleet, state: FleetState, policy: Policy) -> Choice:
    """The policy's row of every cluster, guarded; a fleet with too little to gain keeps its rows.

    Without that threshold measurement noise alone would change rows again and again.
    """
    sight = foresee(fleet, state)
    table, costs = sight.table, _costs(sight)
    new, guarded = _guarded(sight, costs, policy.choose(observe(sight), table.valid))
    old, known = table.find(state.rows)
    old = np.where(known, old, new)
    _, replaced = _guarded(sight, costs, old)
    before, after = (sight.expected(table.position(index)) for index in (old, new))
    fine = (known & ~replaced | ~fleet.active).all(1)
    stay = (fine & (after > (1 - LEAST_GAIN) * before))[:, None]
    return Choice(table.take(np.where(stay, old, new)), guarded & ~stay)


def guard(sight: Foresight, index: Ints) -> Choice:
    """Replace rows (F, G) that are out of the question by the cluster's cheapest one.

    That is a row predicted to cost over ``GUARD_RATIO`` times as much, and one that may break the
    heat limit where keeping it costs less than breaking it does.
    """
    index, guarded = _guarded(sight, _costs(sight), index)
    return Choice(sight.table.take(index), guarded)


def _costs(sight: Foresight) -> Floats:
    """Predicted costs (F, G, R) beside the planned rows; those that may be too hot cost more."""
    costs = sight.costs + objective.HEAT_BROKEN * sight.hot
    return sight.table.spread(costs, np.inf)


def _guarded(sight: Foresight, costs: Floats, index: Ints) -> tuple[Ints, Bools]:
    """Indices (F, G) with those out of the question replaced, and which were."""
    hot = sight.hot[sight.table.position(index)]
    allowed = np.where(hot, 1.0, GUARD_RATIO) * costs.min(2)
    bad = np.take_along_axis(costs, index[..., None], 2)[..., 0] > allowed
    return np.where(bad, costs.argmin(2), index), bad


class Controller:
    """The decisions of one device."""

    def __init__(self, device: int, scenario: Scenario, profile: Profile, policy: Policy) -> None:
        """``device`` is its id in the scenario's order."""
        self.device, self.scenario, self.profile, self.policy = device, scenario, profile, policy
        self.board = scenario.board_of(device)
        self.row = self.native

    @property
    def native(self) -> Row:
        """Everything on the device, at its fastest."""
        return Row(cut=self.profile.native, opp=len(self.board.opps) - 1)

    def next(self, round_: int, figures: FleetFigures | None) -> Decision:
        """The row for ``round_``; ``None`` for the figures means that the server is gone."""
        if figures is None:
            return self._say(round_, self.native, "native")
        try:
            row, source = self._choose(round_, figures)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            log.warning("figures of round %d not usable, row kept: %s", figures.round, error)
            row, source = self.row, "kept"
        return self._say(round_, row, source)

    def _choose(self, round_: int, figures: FleetFigures) -> tuple[Row, Source]:
        if figures.round + 1 != round_:
            raise ValueError(f"stale: round {round_} is next")
        seen = view(self.scenario, self.profile, figures)
        choice = decide(seen.fleet, seen.state, self.policy)
        cluster = figures.clusters[self.device]
        row = Row(cut=int(choice.rows.cut[0, cluster]), opp=int(choice.rows.opp[0, cluster]))
        like = self.scenario.board_of(figures.telemetry[cluster].device)
        return translate(row, like, self.board), self._source(figures, choice, cluster)

    def _source(self, figures: FleetFigures, choice: Choice, cluster: int) -> Source:
        if not choice.guarded[0, cluster]:
            return "policy"
        log.warning("round %d: the guard replaced the policy's row", figures.round)
        return "planner"

    def _say(self, round_: int, row: Row, source: Source) -> Decision:
        self.row = row
        return Decision(device=self.device, round=round_, row=row, source=source)


def translate(row: Row, like: Board, board: Board) -> Row:
    """A row meant for a board ``like`` this, with ``board``'s OPP of nearest relative speed."""
    wanted = like.opps[min(row.opp, len(like.opps) - 1)].relative_speed
    gaps = [abs(opp.relative_speed - wanted) for opp in board.opps]
    return Row(cut=row.cut, opp=gaps.index(min(gaps)))
