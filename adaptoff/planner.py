"""Model-based choice: the joint rows with the lowest predicted cost.

With estimates it is the planner, with the true conditions of the coming round the oracle.
"""

import numpy as np

from adaptoff import candidates, cost, heat, lookup, objective
from adaptoff.fleet import Fleet, FleetState, Floats, Rows, take
from adaptoff.table import Table

SWEEPS = 3


def plan(
    fleet: Fleet, state: FleetState, table: Table | None = None, haste: float = 0.0
) -> Rows:  # fmt: skip
    """Rows (F, G) by coordinate descent on the joint cost, from several starts; the best one wins.

    The starts are each cluster's fastest row, the rows in use, and native. ``state`` gives
    conditions, the rows in use and the native reference; ``haste`` as in ``joint_cost``.
    """
    table = table or candidates.build(fleet, state)
    starts = _starts(fleet, state, table)
    settled = [_respond(fleet, state, table, start, haste) for start in starts]
    best = np.stack([joint_cost(fleet, state, rows, haste) for rows in settled]).argmin(0)
    way = np.stack([rows.way for rows in settled])
    opp = np.stack([rows.opp for rows in settled])
    each = np.arange(len(best))
    return Rows(way[best, each], opp[best, each])


def joint_cost(fleet: Fleet, state: FleetState, rows: Rows, haste: float = 0.0) -> Floats:
    """Predicted cost (F,) when the clusters take ``rows`` (F, G).

    ``haste`` is the weight of the mean cluster's seconds, beside the slowest one's: who has slack
    should keep some for what is not foreseen. The objective itself has none.
    """
    columns = cost.joint(fleet, state, rows)
    seconds = cost.round_s(fleet, columns)
    joules = cost.energy_j(fleet, columns, seconds)
    device_j = columns.active_j + fleet.idle_w * seconds[:, None]
    temp_c = heat.after(
        fleet, state.temp_c, device_j, np.repeat(seconds[:, None], fleet.shape[1], 1)
    )
    excess_c = np.where(fleet.active, temp_c, -np.inf).max(1) - fleet.heat_limit_c
    mean_s = np.where(fleet.active, columns.total_s, 0.0).sum(1) / fleet.active.sum(1)
    return haste * mean_s / state.native_s + objective.cost(
        seconds, joules.sum(1), excess_c, state.native_s, state.native_j, fleet.energy_weight
    )


def enumerate_best(fleet: Fleet, state: FleetState, table: Table | None = None) -> Rows:
    """The best joint rows of one small fleet (F = 1) by trying all; (1, G)."""
    table = table or candidates.build(fleet, state)
    options = [np.flatnonzero(valid) for valid in table.valid[0]]
    index = np.stack(np.meshgrid(*options, indexing="ij"), -1).reshape(-1, len(options))
    each = np.arange(len(options))
    way, opp = table.rows.way[0][each, index], table.rows.opp[0][each, index]
    best = joint_cost(fleet, state, Rows(way, opp)).argmin()  # the one fleet broadcasts
    return Rows(way[best][None], opp[best][None])


def _starts(fleet: Fleet, state: FleetState, table: Table) -> list[Rows]:
    current = cost.joint(fleet, state, state.rows)
    columns = cost.alternatives(fleet, state, table.options, current)
    fastest = table.spread(columns.total_s, np.inf).argmin(2)
    return [table.take(fastest), state.rows, fleet.native()]


def _respond(
    fleet: Fleet, state: FleetState, table: Table, rows: Rows, haste: float
) -> Rows:  # fmt: skip
    """Each cluster in turn takes the row that is best for all, while the others keep theirs.

    The joint cost counts what a cluster's row does to the others at the shared server, which its
    own columns do not show.
    """
    turns = [table.options.take(table.options.cluster == k) for k in range(fleet.shape[1])]
    wide = [(take(fleet, mine.fleet), take(state, mine.fleet)) for mine in turns]
    for _ in range(SWEEPS):
        for mine, (fleets, states) in zip(turns, wide, strict=True):
            joint = mine.beside(rows)
            costs = joint_cost(fleets, states, joint, haste)
            best = lookup.first_least(costs, mine.fleet)
            rows = Rows(joint.way[best], joint.opp[best])
    return rows
