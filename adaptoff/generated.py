"""Generated traces: links of a named kind, drawn by a seed where no recorded trace is at hand.

They move as the real traces do that their process was fitted to (``fitted``), about a level that is
assumed: the recorded links are slower than those of today.
"""

from dataclasses import dataclass, replace

import numpy as np

from adaptoff import fitted
from adaptoff.fitted import FAMILIES, STEP_S, Family
from adaptoff.traces import FLOOR_BPS, Trace

STEPS = 720
"""an hour, then it repeats"""


@dataclass(frozen=True)
class Kind:
    """How downlinks of one kind move; uplinks move with them."""

    family: Family
    up_over_down: float


KINDS = {
    # 3G while travelling, raised to 20 Mbit/s in the median
    "lte-drive": Kind(replace(FAMILIES["hsdpa"], level_bps=20e6), 0.4),
    # video sessions, raised to 60 Mbit/s in the median
    "wifi-office": Kind(replace(FAMILIES["oboe"], level_bps=60e6), 1.0),
}
"""levels and ``up_over_down`` are assumed, everything else is fitted"""


def trace(kind: str, seed: int) -> Trace:
    """The trace of a kind in ``KINDS`` that ``seed`` draws, always the same."""
    how = KINDS[kind]
    down_bps = fitted.links(np.random.default_rng(seed), how.family, STEPS, 1)[:, 0]
    return Trace(
        t_s=STEP_S * np.arange(STEPS, dtype=np.float64),
        up_bps=np.maximum(down_bps * how.up_over_down, FLOOR_BPS),
        down_bps=np.maximum(down_bps, FLOOR_BPS),
        period_s=STEPS * STEP_S,
    )
