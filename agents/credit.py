"""What a cluster's own row was worth: the rewards of training, cluster by cluster.

The cost of a round is the whole fleet's. As a reward to all it says little about any of them, and
most of it is the weather's doing. The emulator knows what the round would have cost if one cluster
had taken its planned row instead: the difference is this cluster's doing alone. Such difference
rewards (Wolpert and Tumer, Advances in Complex Systems 4, 2001) leave what is best as it is: what
is subtracted does not depend on the cluster's choice.
"""

import numpy as np

from adaptoff import cost, planner
from adaptoff.fleet import Fleet, FleetState, Floats, Ints, Rows, repeat

MOST = 0.3
"""credit and blame are cut at this: a few rounds that went wrong must not drown all others"""


def difference_rewards(fleet: Fleet, true: FleetState, rows: Rows, planned: Rows) -> Floats:
    """log(cost if it had taken its planned row / cost) of each cluster, (F, G); 0 if padded.

    ``true`` are the conditions of the round, ``rows`` (F, G) those applied in it.
    """
    n_clusters = fleet.shape[1]
    opp = cost.throttled(planned.opp, true.temp_c, fleet.trip_c)
    instead = Rows(_each(rows.cut, planned.cut), _each(rows.opp, opp))
    wide = repeat(fleet, n_clusters), repeat(true, n_clusters)
    without = planner.joint_cost(*wide, instead).reshape(fleet.shape)
    with_it = planner.joint_cost(fleet, true, rows)[:, None]
    worth = np.clip(np.log(without / with_it), -MOST, MOST)
    return np.where(fleet.active, worth, 0.0)


def _each(taken: Ints, instead: Ints) -> Ints:
    """Joint choices (F * G, G): in the g-th of each fleet, cluster g takes the other one."""
    wide = np.repeat(taken, taken.shape[1], 0)
    mine = np.tile(np.eye(taken.shape[1], dtype=bool), (len(taken), 1))
    return np.where(mine, np.repeat(instead, taken.shape[1], 0), wide)
