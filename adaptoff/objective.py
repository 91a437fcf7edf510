"""What a round costs: the one place. Reward is minus this; evaluation and report read it too."""

import numpy as np

from adaptoff.fleet import Floats

HEAT_SCALE_C = 10.0
HEAT_BROKEN = 1.0
"""what it costs to break the heat limit at all, in native rounds"""


def cost(
    seconds: Floats,
    joules: Floats,
    excess_c: Floats,
    native_s: Floats,
    native_j: Floats,
    energy_weight: Floats,
) -> Floats:
    """T/T_native + energy_weight * E/E_native + heat penalty; any shapes that broadcast.

    ``joules`` are the whole fleet's; ``excess_c`` degrees above the heat limit, at the hottest
    cluster: breaking it costs a native round, and each 10 degrees another. Without the step it
    would pay to stay a degree above.
    """
    cost = seconds / native_s + energy_weight * joules / native_j
    return cost + heat_penalty(excess_c) if (excess_c > 0).any() else cost


def heat_penalty(excess_c: Floats) -> Floats:
    """What ``excess_c`` degrees above the heat limit cost."""
    return np.maximum(excess_c, 0.0) / HEAT_SCALE_C + HEAT_BROKEN * (excess_c > 0)
