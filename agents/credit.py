"""What each row would have been worth: the rewards of training, row by row.

The cost of a round is the whole fleet's. As a reward to all it says little about one cluster's row,
and most of it is the weather's doing. The emulator knows what the round would have cost with any
other row of a cluster, the others as they were. So nothing is left to chance but the round itself:
the gradient is the expectation over all rows, not that of a sampled one (as in Foerster et al.,
Counterfactual Multi-Agent Policy Gradients, AAAI 2018, with the truth in the place of a critic).
"""

import numpy as np

from adaptoff import heat, lookup, planner
from adaptoff.fleet import FleetState, Floats, Rows, take
from adaptoff.ground import Ground

MOST = 1.0
"""by which a row counts as worse than the best one; what is worse is never worth a closer look"""


def worth(ground: Ground, true: FleetState, rows: Rows) -> Floats:
    """log(cost with the best row / cost) of every row of the table, (F, G, R), 0 to -``MOST``.

    ``true`` are the conditions of the round, ``rows`` (F, G) what the others took in it.
    """
    table, options, wide = ground.table, ground.options, ground.wide
    wide_true = take(true, options.fleet)
    asked = options.beside(rows)
    applied = Rows(asked.way, heat.throttled(asked.opp, wide_true.temp_c, wide.trip_c))
    logs = np.log(planner.joint_cost(wide, wide_true, applied))
    least = lookup.of_cluster(table.least(logs), options)
    return table.spread(np.maximum(least - logs, -MOST), -MOST)
